/* SPDX-License-Identifier: MIT */
/* The 16550 at COM1 (National Semiconductor PC16550D). Used by arch_start, the log's console and a panic:
 * so it takes no lock and needs no memory; whoever prints keeps lines together. Only uart_init may run
 * before the others.
 *
 * Output polls "transmitter empty" once for each 16 bytes that its FIFO takes: under emulation the register
 * reads are what costs. A receiver that reads nothing holds the UART up; the wait is bounded by seconds,
 * and once it has run out by a glance, so that nobody hangs for ever on a dead line. */
#include <arch/cpu.h>
#include <arch/io.h>
#include <arch/uart.h>

#define COM1 0x3f8

enum uart_register {
    UART_DATA = 0,             /* divisor's low byte while UART_LINE_DIVISOR is set */
    UART_INTERRUPT_ENABLE = 1, /* divisor's high byte */
    UART_FIFO = 2,             /* written */
    UART_IDENTIFY = 2,         /* read */
    UART_LINE = 3,
    UART_MODEM = 4,
    UART_STATUS = 5,
};
#define UART_LINE_8N1          0x03
#define UART_LINE_DIVISOR      0x80
#define UART_FIFO_ON_AND_CLEAR 0x07
#define UART_FIFO_IS_ON        0xc0
#define UART_MODEM_ON          0x0b /* DTR, RTS, and OUT2, which lets the interrupt through on a PC */
#define UART_MODEM_LOOP        0x1e
#define UART_STATUS_DATA       0x01
#define UART_STATUS_EMPTY      0x20
#define UART_RECEIVE_INTERRUPT 0x01
#define DIVISOR_115200         1

#define FIFO_BYTES       16u
#define WAIT_POLLS_LONG  10000000u /* seconds, at a microsecond or so a port access */
#define WAIT_POLLS_SHORT 1000u

static bool is_present;
static bool is_stuck;           /* the last wait ran out */
static unsigned fifo_bytes = 1; /* how many an empty transmitter takes */

static uint8_t read_register(enum uart_register index)
{
    return port_read8((uint16_t)(COM1 + index));
}

static void write_register(enum uart_register index, uint8_t value)
{
    port_write8((uint16_t)(COM1 + index), value);
}

/* What is sent in loop-back mode comes back, or there is no UART. */
static bool passes_loop_back(void)
{
    bool came_back = false;
    write_register(UART_MODEM, UART_MODEM_LOOP);
    write_register(UART_DATA, 0xa5);
    for (unsigned i = 0; i < WAIT_POLLS_SHORT && !came_back; i++)
        came_back = read_register(UART_STATUS) != 0xff && read_register(UART_STATUS) & UART_STATUS_DATA;
    return came_back && read_register(UART_DATA) == 0xa5;
}

bool uart_init(void)
{
    write_register(UART_INTERRUPT_ENABLE, 0);
    write_register(UART_LINE, UART_LINE_DIVISOR);
    write_register(UART_DATA, DIVISOR_115200);
    write_register(UART_INTERRUPT_ENABLE, 0);
    write_register(UART_LINE, UART_LINE_8N1);
    write_register(UART_FIFO, UART_FIFO_ON_AND_CLEAR);
    is_present = passes_loop_back();
    write_register(UART_MODEM, UART_MODEM_ON);
    if ((read_register(UART_IDENTIFY) & UART_FIFO_IS_ON) == UART_FIFO_IS_ON)
        fifo_bytes = FIFO_BYTES;
    return is_present;
}

static void wait_until_empty(void)
{
    unsigned polls = is_stuck ? WAIT_POLLS_SHORT : WAIT_POLLS_LONG;
    while (!(read_register(UART_STATUS) & UART_STATUS_EMPTY) && --polls > 0)
        cpu_relax();
    is_stuck = polls == 0;
}

/* `room`: how many bytes the FIFO still takes unasked. */
static void write_byte(char byte, unsigned *room)
{
    if (*room == 0) {
        wait_until_empty();
        *room = fifo_bytes;
    }
    (*room)--;
    write_register(UART_DATA, (uint8_t)byte);
}

void uart_write(const char *text, size_t bytes)
{
    unsigned room = 0; /* how much of the last text has left the FIFO is unknown */
    if (!is_present)
        return;
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n')
            write_byte('\r', &room);
        write_byte(text[i], &room);
    }
}

int uart_read(void)
{
    if (!is_present || !(read_register(UART_STATUS) & UART_STATUS_DATA))
        return -1;
    return read_register(UART_DATA);
}

void uart_enable_receive_interrupt(void)
{
    if (is_present)
        write_register(UART_INTERRUPT_ENABLE, UART_RECEIVE_INTERRUPT);
}
