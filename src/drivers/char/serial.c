/* SPDX-License-Identifier: MIT */
/* The serial line COM1 as a console: output is a log sink that polls, input comes by interrupt.
 *
 * The sink runs in any context, panic included; the log calls one sink at a time (kernel/log.c), so nothing
 * here needs a lock. */
#include "char_internal.h"

#include <arch/uart.h>
#include <kernel/console.h>
#include <kernel/irq.h>
#include <kernel/log.h>
#include <kernel/base/error.h>

static bool is_present;

static void serial_write(struct log_sink *sink, const char *text, size_t bytes)
{
    uart_write(text, bytes);
}

static struct log_sink serial_sink = {.write = serial_write};

void serial_init_early(void)
{
    is_present = uart_init();
    if (is_present)
        log_sink_add(&serial_sink);
}

/* The line is edge-triggered: the handler must leave nothing in the FIFO, or no edge would ever come again.
 */
static bool serial_interrupt(void *context)
{
    int byte;
    bool was_ours = false;
    while ((byte = uart_read()) >= 0) {
        console_input((uint8_t)byte);
        was_ours = true;
    }
    return was_ours;
}

void serial_init(void)
{
    static struct irq *irq;
    int error;
    if (!is_present) {
        log_info("serial", "no UART at COM1");
        return;
    }
    error = irq_attach_isa(UART_ISA_IRQ, serial_interrupt, NULL, "serial", &irq);
    if (error) {
        log_warning("serial", "no input: the interrupt line cannot be had: %s", error_name(error));
        return;
    }
    uart_enable_receive_interrupt();
    serial_interrupt(NULL); /* what was typed before now made its edge already */
}
