/* SPDX-License-Identifier: MIT */
/* Shell commands. A command is a struct in a linker set, beside the code that it shows:
 *
 *     static int lsblk_run(int argc, char **argv) { ... return 0; }
 *     SHELL_COMMAND(lsblk, "", "list block devices", lsblk_run, NULL);
 *
 * argv[0] is the name; `--help` is answered by the shell from `usage`, `summary` and `help`. A command
 * prints with console_printf (kernel/log.h) and returns 0 or a negative errno. -EINVAL prints the usage. */
#ifndef KERNEL_SHELL_H
#define KERNEL_SHELL_H

#include <kernel/base/error.h>
#include <kernel/base/linker_set.h>
#include <kernel/base/types.h>
#include <kernel/log.h>

struct shell_command {
    const char *name, *usage, *summary;
    int (*run)(int argc, char **argv);
    const char *help; /* more lines for --help, or NULL */
};
#define SHELL_COMMAND(id, usage_text, summary_text, function, help_text)                             \
    static const struct shell_command shell_command_##id = {#id, usage_text, summary_text, function, \
                                                            help_text};                              \
    linker_set_add(shell_commands, const struct shell_command, shell_command_##id)

/* Runs one line: words, '…' and "…" quotes, `;` between commands (all are run; the first failure is
 * returned). */
int shell_execute(const char *line);

/* Runs one command by its words (argv[argc] is NULL); prints its usage at -EINVAL. */
int shell_run_words(int argc, char **argv);

/* Runs the `run=` list, each command framed by ">>> COMMAND" and "<<< STATUS", then leaves the kernel; or,
 * without `run=`, reads lines from the console for ever. Thread context. */
noreturn void shell_main(void);

/* True once ^C was typed since the last call: long commands look at it and end with -EINTR. */
bool shell_interrupted(void);

/* "key=value" options of a command: finds the word that begins with `key=` and returns its value, or NULL. */
const char *shell_option(int argc, char **argv, const char *key);
/* `--json` and other flags: true when the word stands among the arguments. */
bool shell_flag(int argc, char **argv, const char *flag);
/* 0, or -EINVAL after one line that names the key and the bad value; `value` is unchanged when not given.
 * Sizes have suffixes (4k). */
int shell_option_u64(int argc, char **argv, const char *key, uint64_t minimum, uint64_t maximum,
                     uint64_t *value);

/* "2", "0.25", "1.5s", "20ms", "300us" to nanoseconds: 0, -EINVAL or -ERANGE. */
must_check int shell_parse_duration(const char *text, uint64_t *ns);

/* 0, or -EINVAL after one line that names the first argument that is neither a flag (a word of `known`
 * without "=") nor begins with a word of `known` that ends in "=". `known` ends with NULL. */
int shell_options_check(int argc, char **argv, const char *const *known);

/* A line of output made of parts and printed at once, so that no log line comes between them. Zero it, add,
 * end (which prints it with a newline and empties it). What does not fit is cut off. */
struct shell_line {
    size_t bytes;
    char text[1536];
};
void shell_line_add(struct shell_line *line, const char *format, ...) printf_like(2, 3);
void shell_line_end(struct shell_line *line);

/* Makes everything durable before the kernel leaves (run= done, poweroff, reboot; not on a panic):
 *
 *     static const struct shutdown_hook bcache_shutdown = {cache_flush_all};
 *     linker_set_add(shutdown_hooks, const struct shutdown_hook, bcache_shutdown);
 */
struct shutdown_hook {
    void (*run)(void);
};
/* Runs them all. Thread context. */
void shell_run_shutdown_hooks(void);

/* What the `sync` command runs; 0 or a negative errno. Without any, `sync` runs the shutdown hooks. */
struct sync_hook {
    int (*run)(void);
};

#endif
