/* SPDX-License-Identifier: MIT */
/* The log: lines of "[seconds] subsystem: text" in a ring of fixed size, shown on the consoles when their
 * level is at or below `loglevel=`. The ring holds every level. Callable from any context, interrupts and
 * panic included; never sleeps or allocates. */
#ifndef KERNEL_LOG_H
#define KERNEL_LOG_H

#include <kernel/base/types.h>

enum log_level { LOG_ERROR, LOG_WARNING, LOG_INFO, LOG_DEBUG, LOG_TRACE };

/* One line, without a newline. `subsystem` is a short name: "pci", "vd0". */
void log_write(enum log_level level, const char *subsystem, const char *format, ...) printf_like(3, 4);

void log_vwrite(enum log_level level, const char *subsystem, const char *format, va_list arguments)
    printf_like(3, 0);

#define log_error(subsystem, ...)   log_write(LOG_ERROR, subsystem, __VA_ARGS__)
#define log_warning(subsystem, ...) log_write(LOG_WARNING, subsystem, __VA_ARGS__)
#define log_info(subsystem, ...)    log_write(LOG_INFO, subsystem, __VA_ARGS__)
#define log_debug(subsystem, ...)   log_write(LOG_DEBUG, subsystem, __VA_ARGS__)

/* From here on not on the host. Registers a console's sink. `write` gets text with "\n" line ends, in any
 * context, interrupts off; one sink at a time, in the order in which they were added. */
struct log_sink {
    void (*write)(struct log_sink *sink, const char *text, size_t bytes);
    struct log_sink *next; /* the log's */
};
void log_sink_add(struct log_sink *sink);

void log_set_level(enum log_level level);
/* "error", "warning", "info", "debug", "trace" to a level: 0 or -EINVAL. */
int log_level_parse(const char *text, enum log_level *level);

/* Raw text to all consoles, not into the ring, no prefix: a command's output. Any context. Write whole lines
 * (at most 4095 bytes a call): a log line of another CPU may come between two calls. */
void console_write(const char *text, size_t bytes);
void console_printf(const char *format, ...) printf_like(1, 2);

/* Takes what one thread prints in the consoles' place. Embedded by its owner, who sets `write`, which may
 * sleep. */
#define CONSOLE_OUTPUT_BYTES 4096u
struct console_output {
    void (*write)(struct console_output *output, const char *text, size_t bytes);
    char text[CONSOLE_OUTPUT_BYTES]; /* console_printf's */
};
/* From now on what the caller prints where it may sleep goes there; NULL: to the consoles. Returns what was
 * there before. Log lines always go to the consoles. Thread context. */
struct console_output *console_redirect(struct console_output *output);

/* Calls `each` with every line still in the ring, oldest first (`line` is terminated, has no newline).
 * No lock is held while it runs. For dmesg and the panic report. */
void log_for_each(void (*each)(const char *line, void *context), void *context);

/* From now on, sinks write without locks: other CPUs are stopped. */
void log_enter_panic(void);
bool log_is_in_panic(void);

#endif
