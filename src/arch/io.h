/* SPDX-License-Identifier: MIT */
/* I/O ports, device registers, and memory barriers.
 *
 * Registers are reached through mmio_* only, in the width given, never torn or repeated. RAM that a device
 * shares is ordered with the barriers below; each use names the one that it pairs with. */
#ifndef ARCH_IO_H
#define ARCH_IO_H

#include <kernel/base/types.h>

#define IO_DEFINE(width, suffix)                                                               \
    static always_inline uint##width##_t port_read##width(uint16_t port)                       \
    {                                                                                          \
        uint##width##_t value;                                                                 \
        __asm__ volatile("in" suffix " %1, %0" : "=a"(value) : "Nd"(port));                    \
        return value;                                                                          \
    }                                                                                          \
    static always_inline void port_write##width(uint16_t port, uint##width##_t value)          \
    {                                                                                          \
        __asm__ volatile("out" suffix " %0, %1" : : "a"(value), "Nd"(port));                   \
    }                                                                                          \
    static always_inline uint##width##_t mmio_read##width(const volatile void *address)        \
    {                                                                                          \
        uint##width##_t value;                                                                 \
        __asm__ volatile("mov" suffix " %1, %0"                                                \
                         : "=r"(value)                                                         \
                         : "m"(*(const volatile uint##width##_t *)address)                     \
                         : "memory");                                                          \
        return value;                                                                          \
    }                                                                                          \
    static always_inline void mmio_write##width(volatile void *address, uint##width##_t value) \
    {                                                                                          \
        __asm__ volatile("mov" suffix " %0, %1"                                                \
                         :                                                                     \
                         : "r"(value), "m"(*(volatile uint##width##_t *)address)               \
                         : "memory");                                                          \
    }
IO_DEFINE(8, "b")
IO_DEFINE(16, "w")
IO_DEFINE(32, "l")
#undef IO_DEFINE

/* Stores before it are visible before stores after it. x86 keeps stores in order (SDM 3A, 9.2.2): a
 * compiler barrier. */
static always_inline void barrier_store(void)
{
    __asm__ volatile("" : : : "memory");
}
/* Loads before it are done before loads after it; the same on x86. */
static always_inline void barrier_load(void)
{
    __asm__ volatile("" : : : "memory");
}
/* Also orders a store before a later load, which x86 does reorder (SDM 3A, 9.2.3.4). */
static always_inline void barrier_full(void)
{
    __asm__ volatile("mfence" : : : "memory");
}

#endif
