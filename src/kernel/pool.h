/* SPDX-License-Identifier: MIT */
/* Pools of objects of one size, on whole pages, with a free list (Bonwick, "The Slab Allocator", 1994,
 * without constructors). Objects are DMA-able. Any context but interrupt; never sleeps. */
#ifndef KERNEL_POOL_H
#define KERNEL_POOL_H

#include <kernel/base/list.h>
#include <kernel/base/types.h>
#include <kernel/spinlock.h>

struct pool {
    struct spinlock lock;
    const char *name;          /* I */
    uint32_t object_bytes;     /* I: rounded up to `alignment` */
    uint32_t stride_bytes;     /* I: object_bytes; in debug builds a red zone more */
    uint32_t first_offset;     /* I: of the first object in a slab */
    uint32_t objects_per_slab; /* I */
    uint32_t slab_order;       /* I: page order of one slab */
    bool gives_back;     /* I, false by pool_init: an empty slab goes back to the page allocator. Without it
                            a stale pointer into the pool always finds an object of the same type */
    struct list partial; /* lock: slabs with a free object */
    uint64_t slabs, objects_in_use, allocations; /* lock */
};

/* `alignment`: a power of two of at least 8. */
void pool_init(struct pool *pool, const char *name, size_t object_bytes, size_t alignment);
must_check void *pool_alloc(struct pool *pool);
/* `object` must be from `pool`. Debug builds panic on a double free and on a write after free. */
void pool_free(struct pool *pool, void *object);
/* The pool of an object that lies in the slab at `slab` (page_block_of). For the heap. */
struct pool *pool_of_slab(const void *slab);

#endif
