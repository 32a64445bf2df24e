/* SPDX-License-Identifier: MIT */
/* Host stand-in for barriers and device registers. Registers are memory; host_mmio_write is called after each
 * write, host_mmio_read before each read, and host_barrier at each barrier, where they are set: there, others
 * may be seen to have written. Ports are wholly the test's. */
#ifndef ARCH_IO_H
#define ARCH_IO_H

#include <kernel/base/types.h>

extern void (*host_mmio_write)(volatile void *address, uint64_t value);
extern void (*host_mmio_read)(const volatile void *address, unsigned bytes);
extern uint32_t (*host_port_read)(uint16_t port, unsigned bytes);
extern void (*host_port_write)(uint16_t port, unsigned bytes, uint32_t value);
extern void (*host_barrier)(void);

#define HOST_IO_DEFINE(width)                                                           \
    static inline uint##width##_t port_read##width(uint16_t port)                       \
    {                                                                                   \
        return (uint##width##_t)host_port_read(port, (width) / 8);                      \
    }                                                                                   \
    static inline void port_write##width(uint16_t port, uint##width##_t value)          \
    {                                                                                   \
        host_port_write(port, (width) / 8, value);                                      \
    }                                                                                   \
    static inline uint##width##_t mmio_read##width(const volatile void *address)        \
    {                                                                                   \
        if (host_mmio_read)                                                             \
            host_mmio_read(address, (width) / 8);                                       \
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

#define HOST_BARRIER_DEFINE(name, order)    \
    static inline void barrier_##name(void) \
    {                                       \
        __atomic_thread_fence(order);       \
        if (host_barrier)                   \
            host_barrier();                 \
    }
HOST_BARRIER_DEFINE(store, __ATOMIC_RELEASE)
HOST_BARRIER_DEFINE(load, __ATOMIC_ACQUIRE)
HOST_BARRIER_DEFINE(full, __ATOMIC_SEQ_CST)
#undef HOST_BARRIER_DEFINE

#endif
