/* SPDX-License-Identifier: MIT */
/* Host stand-in: physical addresses are host pointers, less a base that a test may set; everything is in the
 * direct map. Device registers are the test's. */
#ifndef ARCH_MMU_H
#define ARCH_MMU_H

#include <kernel/base/types.h>

extern uintptr_t host_direct_base; /* 0 */

static inline void *direct_map(phys_addr_t address)
{
    return (void *)(uintptr_t)(host_direct_base + address);
}
static inline phys_addr_t direct_to_phys(const void *pointer)
{
    return (uintptr_t)pointer - host_direct_base;
}
static inline bool is_direct_map(const void *pointer, size_t bytes)
{
    (void)bytes;
    return pointer != NULL;
}
must_check volatile void *mmu_map_device(phys_addr_t address, size_t bytes);
void mmu_unmap_device(volatile void *pointer, size_t bytes);

#endif
