/* SPDX-License-Identifier: MIT */
/* The shell's own commands, and those that only steer the machine. Thread context. */
#include <kernel/shell.h>

#include "shell_internal.h"

#include <arch/acpi.h>
#include <arch/clock.h>
#include <kernel/base/assert.h>
#include <kernel/panic.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define COMMANDS_MAX  128u
#define SLEEP_STEP_NS (50 * NSEC_PER_MSEC) /* how soon ^C ends a sleep */

linker_set_declare(shell_commands, const struct shell_command);
linker_set_declare(sync_hooks, const struct sync_hook);

/* The linker's order is that of the files; people look for names. */
static size_t sorted_commands(const struct shell_command *sorted[COMMANDS_MAX])
{
    size_t count = 0;
    linker_set_foreach (shell_commands, const struct shell_command, command) {
        size_t at = count;
        if (count == COMMANDS_MAX)
            break;
        for (; at > 0 && strcmp(sorted[at - 1]->name, command->name) > 0; at--)
            sorted[at] = sorted[at - 1];
        sorted[at] = command;
        count++;
    }
    return count;
}

static int help_run(int argc, char **argv)
{
    const struct shell_command *sorted[COMMANDS_MAX];
    if (argc > 1) {
        char *words[] = {argv[1], (char[]){"--help"}, NULL};
        return shell_run_words(2, words);
    }
    size_t count = sorted_commands(sorted);
    for (size_t i = 0; i < count; i++)
        console_printf("%-10s %s\n", sorted[i]->name, sorted[i]->summary);
    console_printf("COMMAND --help tells more; `;` separates commands; '...' and \"...\" quote.\n");
    return 0;
}
SHELL_COMMAND(help, "[CMD]", "list the commands, or explain one", help_run, NULL);

static int echo_run(int argc, char **argv)
{
    struct shell_line line = {0};
    for (int i = 1; i < argc; i++)
        shell_line_add(&line, "%s%s", i > 1 ? " " : "", argv[i]);
    shell_line_end(&line);
    return 0;
}
SHELL_COMMAND(echo, "[WORD...]", "print the words", echo_run, NULL);

/* In steps, so that ^C ends it. */
static int sleep_run(int argc, char **argv)
{
    uint64_t ns;
    if (argc != 2 || shell_parse_duration(argv[1], &ns))
        return -EINVAL;
    uint64_t deadline_ns = clock_ns() + ns, now_ns;
    while ((now_ns = clock_ns()) < deadline_ns) {
        if (shell_interrupted())
            return -EINTR;
        thread_sleep_until(MIN(deadline_ns, now_ns + SLEEP_STEP_NS));
    }
    return 0;
}
SHELL_COMMAND(sleep, "TIME", "wait", sleep_run,
              "TIME is in seconds (2, 0.25) or has a unit: 20ms, 300us, 1.5s, 2m.");

static int repeat_run(int argc, char **argv)
{
    uint64_t times;
    if (argc < 3 || string_to_u64(argv[1], &times))
        return -EINVAL;
    for (uint64_t i = 0; i < times; i++) {
        int status = shell_run_words(argc - 2, argv + 2);
        if (status) {
            console_printf("repeat: stopped by run %llu of %llu\n", (unsigned long long)i + 1,
                           (unsigned long long)times);
            /* The usage that is missing is not repeat's. */
            return status == -EINVAL ? -ECANCELED : status;
        }
        if (shell_interrupted())
            return -EINTR;
    }
    return 0;
}
SHELL_COMMAND(repeat, "N CMD [WORD...]", "run a command N times, up to the first failure", repeat_run, NULL);

static int sync_run(int argc, char **argv)
{
    int result = 0;
    bool is_any = false;
    if (argc != 1)
        return -EINVAL;
    linker_set_foreach (sync_hooks, const struct sync_hook, hook) {
        int error = hook->run();
        result = result != 0 ? result : error;
        is_any = true;
    }
    if (!is_any)
        shell_run_shutdown_hooks();
    return result;
}
SHELL_COMMAND(sync, "", "write back everything that is dirty", sync_run, NULL);

static int panic_run(int argc, char **argv)
{
    panic("%s", argc > 1 ? argv[1] : "asked for by the shell");
}
SHELL_COMMAND(panic, "[TEXT]", "panic, to see what that looks like", panic_run, NULL);

/* A machine without ACPI power-off at least stops. */
static int poweroff_run(int argc, char **argv)
{
    shell_run_shutdown_hooks();
    acpi_poweroff();
    kernel_leave(EXIT_OK);
}
SHELL_COMMAND(poweroff, "", "flush and switch the machine off", poweroff_run, NULL);

static int reboot_run(int argc, char **argv)
{
    shell_run_shutdown_hooks();
    acpi_reboot();
}
SHELL_COMMAND(reboot, "", "flush and restart the machine", reboot_run, NULL);
