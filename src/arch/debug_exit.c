/* SPDX-License-Identifier: MIT */
/* QEMU's isa-debug-exit: the byte written ends QEMU; nothing answers at the port where it is missing. */
#include <arch/debug_exit.h>
#include <arch/io.h>

#define PORT_DEBUG_EXIT 0xf4

void debug_exit(uint8_t value)
{
    port_write8(PORT_DEBUG_EXIT, value);
}
