/* SPDX-License-Identifier: MIT */
/* Host stand-in: physical addresses are host pointers; everything is in the direct map. */
#ifndef ARCH_MMU_H
#define ARCH_MMU_H

#include <kernel/base/types.h>

static inline void *direct_map(phys_addr_t address)
{
    return (void *)(uintptr_t)address;
}
static inline phys_addr_t direct_to_phys(const void *pointer)
{
    return (phys_addr_t)(uintptr_t)pointer;
}
static inline bool is_direct_map(const void *pointer, size_t bytes)
{
    (void)bytes;
    return pointer != NULL;
}

#endif
