/* SPDX-License-Identifier: MIT */
/* The console's devices: serial line, screen, keyboard. Output goes to all that are there (as log sinks),
 * input of all of them into one queue (kernel/console.h). */
#ifndef DRIVERS_CHAR_CHAR_H
#define DRIVERS_CHAR_CHAR_H

/* The serial line as a log sink; first of all, so that everything later can be seen. Early boot. */
void console_init_early(void);

/* Screen, and input by interrupt. After irq, timer and work are up. Thread context. */
void console_init(void);

#endif
