/* SPDX-License-Identifier: MIT */
/* Host stand-in for barriers and device registers. A register write calls host_mmio_write, if set. */
#ifndef ARCH_IO_H
#define ARCH_IO_H

#include <kernel/base/types.h>

extern void (*host_mmio_write)(volatile void *address, uint64_t value);

#define HOST_IO_DEFINE(width)                                                           \
    static inline uint##width##_t mmio_read##width(const volatile void *address)        \
    {                                                                                   \
        return *(const volatile uint##width##_t *)address;                              \
    }                                                                                   \
    static inline void mmio_write##width(volatile void *address, uint##width##_t value) \
    {                                                                                   \
        *(volatile uint##width##_t *)address = value;                                   \
        if (host_mmio_write)                                                            \
            host_mmio_write(address, value);                                            \
    }
HOST_IO_DEFINE(8)
HOST_IO_DEFINE(16)
HOST_IO_DEFINE(32)
#undef HOST_IO_DEFINE

static inline void barrier_store(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}
static inline void barrier_load(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}
static inline void barrier_full(void)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

#endif
