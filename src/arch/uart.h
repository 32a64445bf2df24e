/* SPDX-License-Identifier: MIT */
/* The 16550 at COM1: 115200 8N1. Output polls; input by interrupt is set up by drivers/char/serial.c. */
#ifndef ARCH_UART_H
#define ARCH_UART_H

#include <kernel/base/types.h>

#define UART_ISA_IRQ 4

/* False when there is no UART (loop-back test); the other calls then do nothing. */
bool uart_init(void);
void uart_write(const char *text, size_t bytes);
/* The next byte received, or -1. */
int uart_read(void);
void uart_enable_receive_interrupt(void);

#endif
