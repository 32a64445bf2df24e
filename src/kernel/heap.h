/* SPDX-License-Identifier: MIT */
/* The kernel heap, over size-class pools; what is larger than half a page comes straight from page_alloc.
 * All of it is physically contiguous and DMA-able. Freed memory is poisoned and checked in debug builds.
 * Thread or early-boot context; never sleeps. */
#ifndef KERNEL_HEAP_H
#define KERNEL_HEAP_H

#include <kernel/base/types.h>

/* At least 16-byte aligned; from 4096 bytes on, page-aligned. NULL when there is no memory. */
must_check void *heap_alloc(size_t bytes);
must_check void *heap_alloc_zeroed(size_t bytes);
/* `block` may be NULL. */
void heap_free(void *block);

/* Not on the host. */
struct heap_stats {
    uint64_t allocated_bytes, allocations, frees;
};
void heap_stats(struct heap_stats *stats);

#endif
