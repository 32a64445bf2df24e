/* SPDX-License-Identifier: MIT */
/* Physical page frames: a binary buddy allocator over the direct map (Knuth, TAOCP vol. 1, 2.5).
 * Blocks of 2^order pages, order 0..PAGE_ORDER_MAX, naturally aligned, physically contiguous, reached
 * through the direct map: so all of them are DMA-able. Any context but interrupt; never sleeps. */
#ifndef KERNEL_PAGE_H
#define KERNEL_PAGE_H

#include <kernel/base/types.h>

#define PAGE_ORDER_MAX 10u /* 4 MiB */

struct boot_info;

/* Takes the usable RAM between 1 MiB and 4 GiB of the boot memory map. Once, early: boot.S maps no more. */
void page_init(const struct boot_info *boot);
/* Takes the usable RAM from 4 GiB on. Once, after mmu_init. */
void page_add_high_memory(const struct boot_info *boot);

/* A block, contents undefined (poisoned in debug builds), or NULL. */
must_check void *page_alloc(unsigned order);
must_check void *page_alloc_zeroed(unsigned order);
void page_free(void *block, unsigned order);

/* The smallest order whose block holds `bytes`. */
unsigned page_order_for(size_t bytes);

/* For the pools and the heap, which find what an object lies in by its address. */
struct page_block {
    void *start;
    unsigned order;
    bool is_slab;
};
/* Marks an allocated block as a pool's slab, or takes the mark away before page_free. */
void page_mark_slab(void *block, unsigned order, bool is_slab);
/* The slab around `pointer`, or the allocated block that starts at it; anything else is a panic. */
struct page_block page_block_of(const void *pointer);

struct page_stats {
    uint64_t total_bytes, free_bytes;
    uint64_t free_blocks[PAGE_ORDER_MAX + 1];
};
void page_stats(struct page_stats *stats);

#endif
