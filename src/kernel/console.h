/* SPDX-License-Identifier: MIT */
/* Console input: bytes from the serial line and the keyboard, in one queue. */
#ifndef KERNEL_CONSOLE_H
#define KERNEL_CONSOLE_H

#include <kernel/base/types.h>

/* From a driver, in any context. ^C (3) is remembered for shell_interrupted and drops what was typed ahead.
 * What does not fit is dropped. */
void console_input(uint8_t byte);
/* Sleeps for the next byte. Thread context. */
int console_read(void);

/* True once ^C came since the last call; a ^C that is next to be read is then dropped. Any context. */
bool console_take_interrupt(void);

#endif
