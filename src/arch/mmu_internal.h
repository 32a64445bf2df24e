/* SPDX-License-Identifier: MIT */
/* Between mmu.c (page tables) and vmap.c (what lies at VMAP_BASE). */
#ifndef ARCH_MMU_INTERNAL_H
#define ARCH_MMU_INTERNAL_H

#include <arch/arch_lock.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <kernel/base/bits.h>

/* Page table entries (SDM 3A, 4.5). PWT alone selects PAT entry 1, which mmu_init_cpu makes
 * write-combining; PWT and PCD together are PAT entry 3, uncached from reset on. */
#define PTE_PRESENT         BIT(0)
#define PTE_WRITE           BIT(1)
#define PTE_WRITE_COMBINING BIT(3)
#define PTE_UNCACHED        (BIT(3) | BIT(4))
#define PTE_LARGE           BIT(7)
#define PTE_NO_EXECUTE      BIT(63)
#define PTE_ADDRESS         0x000ffffffffff000ull

/* A table's level is what one entry of it spans: 1: 4 KiB, 2: 2 MiB, 3: 1 GiB, 4: 512 GiB. */
#define MMU_ROOT_LEVEL 4u
static inline uint64_t mmu_level_bytes(unsigned level)
{
    return PAGE_BYTES << (9 * (level - 1));
}

extern char boot_stack_guard[]; /* boot.S: the page below the boot stack */

/* The one lock (legend `m` in mmu.c and vmap.c). The kernel's page lock may be taken inside it, and nothing
 * waits for another CPU. */
extern struct arch_lock mmu_lock;

/* Maps [address, address + bytes), whole pages, with the bits `bits` besides PTE_PRESENT, in the largest
 * pages that fit. False without memory for a table; then a part is mapped, for mmu_unmap to take back. */
must_check bool mmu_map_locked(uint64_t virt, phys_addr_t address, uint64_t bytes, uint64_t bits);
/* Clears what is mapped there; tables stay for the next one. The caller flushes. */
void mmu_unmap_locked(uint64_t virt, uint64_t bytes);
/* Forgets one page's translation on this CPU. */
static inline void mmu_flush_page(uint64_t virt)
{
    __asm__ volatile("invlpg (%0)" : : "r"(virt) : "memory");
}
/* True when the CPU can form the addresses and there is no overflow: a set reserved bit would fault. */
bool mmu_is_physical(phys_addr_t address, uint64_t bytes);

#endif
