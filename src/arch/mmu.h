/* SPDX-License-Identifier: MIT */
/* Address space. One kernel half, shared by all CPUs; the lower half is empty.
 *
 *     0xffff800000000000  DIRECT_BASE: all of RAM, read-write, no execute, largest pages that fit
 *     0xffffc00000000000  VMAP_BASE:   stacks (a guard page below each) and device registers
 *     0xffffffff80000000  the kernel image: text r-x, rodata r--, data rw- (W^X, CR0.WP on)
 *
 * Locks: one for page tables and the vmap area. Thread or early-boot context. */
#ifndef ARCH_MMU_H
#define ARCH_MMU_H

#include <kernel/base/assert.h>

#define DIRECT_BASE 0xffff800000000000ull
#define VMAP_BASE   0xffffc00000000000ull
#define KERNEL_BASE 0xffffffff80000000ull

enum mmu_flags {
    MMU_WRITE = 1,
    MMU_EXECUTE = 2,
    MMU_UNCACHED = 4, /* device registers */
};

/* The direct map's view of a physical address of RAM. */
static always_inline void *direct_map(phys_addr_t address)
{
    return (void *)(uintptr_t)(address + DIRECT_BASE);
}

/* Builds the final page tables from boot_info's memory map and switches to them. Once, on the boot CPU,
 * after page_init() (boot.S maps the first 4 GiB for it). Above 4 GiB, RAM is reachable only after it. */
void mmu_init(void);
/* Each other CPU, once, as soon as it runs at kernel addresses: sets its PAT and moves it from
 * mmu_trampoline_root() to the kernel's root. */
void mmu_init_cpu(void);

/* Where the direct map ends, as a physical address; it may have holes where there is no RAM. */
extern uint64_t mmu_direct_bytes;

static always_inline bool is_direct_map(const void *pointer, size_t bytes)
{
    uint64_t offset = (uintptr_t)pointer - DIRECT_BASE;
    return offset < mmu_direct_bytes && bytes <= mmu_direct_bytes - offset;
}
/* The physical address behind a pointer into the direct map. Debug builds assert that it is one: so it is
 * never a stack, a vmap address or kernel data. */
static always_inline phys_addr_t direct_to_phys(const void *pointer)
{
    debug_assert(is_direct_map(pointer, 1));
    return (uintptr_t)pointer - DIRECT_BASE;
}
/* The physical address of any mapped kernel address by walking the tables; false when not mapped. Any
 * context; takes no lock. */
bool mmu_translate(const void *pointer, phys_addr_t *address);
/* The same, and how it is mapped, as a set of enum mmu_flags. */
bool mmu_query(const void *pointer, phys_addr_t *address, unsigned *flags);

/* Maps device registers at `address` (any alignment) uncached and returns a pointer to its first byte;
 * NULL without space. Stays mapped until mmu_unmap_device with the same arguments. */
must_check volatile void *mmu_map_device(phys_addr_t address, size_t bytes);
void mmu_unmap_device(volatile void *pointer, size_t bytes);
/* Address space in use for devices and firmware, guard pages included. */
uint64_t mmu_device_bytes(void);
/* Write-combining (PAT), for a framebuffer. */
must_check volatile void *mmu_map_framebuffer(phys_addr_t address, size_t bytes);
/* Reads firmware tables that may lie outside RAM: mapped read-only, cached. */
must_check const void *mmu_map_firmware(phys_addr_t address, size_t bytes);

/* A stack of `bytes` (a multiple of the page) with an unmapped page below; returns its lowest byte, or
 * NULL. Its frames come from kernel_page_alloc. */
must_check void *mmu_stack_alloc(size_t bytes);
void mmu_stack_free(void *stack, size_t bytes);
/* True for an address in a guard page of such a stack: for the page-fault report. */
bool mmu_is_guard_page(uint64_t address);

/* An identity-mapped, executable page table root below 4 GiB, for starting other CPUs (arch/smp.c). */
phys_addr_t mmu_trampoline_root(void);

/* Handles the shootdown IPI on this CPU. */
void mmu_flush_interrupt(void);

#endif
