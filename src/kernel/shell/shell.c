/* SPDX-License-Identifier: MIT */
/* The shell: finds commands in their linker set, runs lines, and is the kernel's last act: the list of `run=`
 * and then the end, or a prompt for ever.
 *
 * Thread context. One shell thread, so the state here needs no lock; commands may be run by others through
 * shell_execute. */
#include <kernel/shell.h>

#include "shell_internal.h"

#include <kernel/base/assert.h>
#include <kernel/cmdline.h>
#include <kernel/console.h>
#include <kernel/panic.h>
#include <kernel/printf.h>
#include <kernel/string.h>

#define SHELL_PROMPT "umbra> "

CMDLINE_KEY(run, "run", "\"c1; c2; ...\"", "shell commands to execute; then leave the kernel");
CMDLINE_KEY(keep_going, "keep_going", "", "go on after a failed command of run=");

linker_set_declare(shell_commands, const struct shell_command);
linker_set_declare(shutdown_hooks, const struct shutdown_hook);

/* Tens of commands, one look a line: a loop is enough. */
static const struct shell_command *find_command(const char *name)
{
    linker_set_foreach (shell_commands, const struct shell_command, command)
        if (strcmp(command->name, name) == 0)
            return command;
    return NULL;
}

static void print_usage(const struct shell_command *command)
{
    console_printf("usage: %s%s%s\n", command->name, command->usage[0] ? " " : "", command->usage);
}

static void print_help(const struct shell_command *command)
{
    size_t bytes;
    console_printf("%s: %s\n", command->name, command->summary);
    print_usage(command);
    if (!command->help)
        return;
    bytes = strlen(command->help);
    console_write(command->help, bytes);
    if (bytes > 0 && command->help[bytes - 1] != '\n')
        console_write("\n", 1);
}

int shell_run_words(int argc, char **argv)
{
    const struct shell_command *command;
    int status;

    assert(argc > 0 && argv[argc] == NULL);
    command = find_command(argv[0]);
    if (!command) {
        console_printf("%s: unknown command; `help` lists them\n", argv[0]);
        return -ENOENT;
    }
    if (argc > 1 && strcmp(argv[1], "--help") == 0) {
        print_help(command);
        return 0;
    }
    status = command->run(argc, argv);
    if (status == -EINVAL)
        print_usage(command);
    return status;
}

static void print_syntax_error(int error)
{
    console_printf("shell: %s\n", error == -E2BIG ? "too many words, or too long" : "a quote is not closed");
}

int shell_execute(const char *line)
{
    struct shell_words words;
    const char *cursor = line;
    int result = 0, got;

    while ((got = shell_words_next(&cursor, &words)) > 0) {
        int status = shell_run_words(words.argc, words.argv);
        if (result == 0)
            result = status;
        if (status == -EINTR) /* ^C ends the whole line */
            break;
    }
    if (got < 0)
        print_syntax_error(got);
    return result != 0 ? result : got;
}

/* The console knows; commands should not need another header for it. */
bool shell_interrupted(void)
{
    return console_take_interrupt();
}

int shell_option_u64(int argc, char **argv, const char *key, uint64_t minimum, uint64_t maximum,
                     uint64_t *value)
{
    if (shell_words_number(argc, argv, key, minimum, maximum, value) != SHELL_NUMBER_BAD)
        return 0;
    console_printf("%s: %s=%s is not a number from %llu to %llu\n", argv[0], key,
                   shell_option(argc, argv, key), (unsigned long long)minimum, (unsigned long long)maximum);
    return -EINVAL;
}

static bool is_known_option(const char *word, const char *const *known)
{
    for (; *known; known++) {
        size_t bytes = strlen(*known);
        bool is_key = bytes > 0 && (*known)[bytes - 1] == '=';
        if (is_key ? strncmp(word, *known, bytes) == 0 : strcmp(word, *known) == 0)
            return true;
    }
    return false;
}

int shell_options_check(int argc, char **argv, const char *const *known)
{
    for (int i = 1; i < argc; i++) {
        if (!is_known_option(argv[i], known)) {
            console_printf("%s: unknown option '%s'\n", argv[0], argv[i]);
            return -EINVAL;
        }
    }
    return 0;
}

void shell_line_add(struct shell_line *line, const char *format, ...)
{
    size_t room = sizeof(line->text) - line->bytes; /* at least the newline's place */
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(line->text + line->bytes, room, format, arguments);
    va_end(arguments);
    assert(room > 0 && bytes >= 0);
    line->bytes += MIN((size_t)bytes, room - 1);
}

void shell_line_end(struct shell_line *line)
{
    assert(line->bytes < sizeof(line->text));
    line->text[line->bytes] = '\n'; /* in the terminator's place */
    console_write(line->text, line->bytes + 1);
    line->bytes = 0;
}

void shell_run_shutdown_hooks(void)
{
    linker_set_foreach (shutdown_hooks, const struct shutdown_hook, hook)
        hook->run();
}

/* The list of run=. True when every command succeeded. */
static bool run_list(const char *list, bool keep_going)
{
    struct shell_words words;
    const char *cursor = list;
    bool all_good = true;
    int got;

    while ((got = shell_words_next(&cursor, &words)) != 0) {
        int status = got;
        console_printf(">>> %.*s\n", (int)words.source_bytes, words.source);
        if (got < 0)
            print_syntax_error(got);
        else
            status = shell_run_words(words.argc, words.argv);
        if (status)
            console_printf("<<< %d %s\n", status, error_name(status));
        else
            console_printf("<<< 0\n");
        all_good &= status == 0;
        if (status != 0 && !keep_going)
            break;
    }
    return all_good;
}

/* The rest of the only command that begins with `word`, and a blank. */
static const char *complete_command(const char *word, size_t bytes)
{
    static char rest[32]; /* the one editor's */
    const struct shell_command *found = NULL;
    linker_set_foreach (shell_commands, const struct shell_command, command) {
        if (strncmp(command->name, word, bytes) != 0)
            continue;
        if (found)
            return NULL;
        found = command;
    }
    if (!found || strlen(found->name) - bytes + 2 > sizeof(rest))
        return NULL;
    bytes = string_copy(rest, found->name + bytes, sizeof(rest));
    rest[bytes] = ' ';
    rest[bytes + 1] = '\0';
    return rest;
}

static noreturn void run_interactive(void)
{
    /* Static: with its history larger than a stack. */
    static struct editor editor = {
        .write = console_write, .complete = complete_command, .prompt = SHELL_PROMPT};

    console_printf("Umbra's shell: `help` lists the commands.\n");
    for (;;) {
        enum editor_result result;
        editor_begin(&editor);
        do
            result = editor_feed(&editor, (uint8_t)console_read());
        while (result == EDITOR_MORE);
        if (result != EDITOR_LINE)
            continue;
        (void)console_take_interrupt(); /* a ^C from before this command is not for it */
        int status = shell_execute(editor.line);
        if (status)
            console_printf("[%d %s]\n", status, error_name(status));
    }
}

noreturn void shell_main(void)
{
    const char *list = cmdline_get("run");
    if (!list)
        run_interactive();
    bool all_good = run_list(list, cmdline_bool("keep_going", false));
    shell_run_shutdown_hooks();
    kernel_leave(all_good ? EXIT_OK : EXIT_FAILED);
}
