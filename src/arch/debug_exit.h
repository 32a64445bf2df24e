/* SPDX-License-Identifier: MIT */
/* QEMU's isa-debug-exit at port 0xf4. */
#ifndef ARCH_DEBUG_EXIT_H
#define ARCH_DEBUG_EXIT_H

#include <kernel/base/types.h>

/* Ends QEMU with status (value << 1) | 1 where the device is there; returns where it is not. */
void debug_exit(uint8_t value);

#endif
