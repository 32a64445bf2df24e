/* SPDX-License-Identifier: MIT */
/* The heap: eight pools of 16 to 2048 bytes; larger blocks are whole page blocks. heap_free asks the page
 * allocator what lies at an address, so that a block has no header.
 * Locks: those of the pool or of the page allocator; none here. */
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/heap.h>
#include <kernel/page.h>
#include <kernel/pool.h>
#include <kernel/string.h>

#define CLASS_FIRST_SHIFT 4u  /* 16 bytes */
#define CLASS_LAST_SHIFT  11u /* 2048 */
#define CLASS_COUNT       (CLASS_LAST_SHIFT - CLASS_FIRST_SHIFT + 1)

static struct pool classes[CLASS_COUNT];
static bool is_ready;                                        /* set by the boot CPU, alone */
static uint64_t large_bytes, large_allocations, large_frees; /* a */

/* At the first allocation, which the boot CPU makes before the others run. */
static cold void init_classes(void)
{
    static const char *const names[CLASS_COUNT] = {"heap-16",  "heap-32",  "heap-64",   "heap-128",
                                                   "heap-256", "heap-512", "heap-1024", "heap-2048"};
    for (unsigned i = 0; i < CLASS_COUNT; i++) {
        pool_init(&classes[i], names[i], BIT(CLASS_FIRST_SHIFT + i), BIT(CLASS_FIRST_SHIFT));
        classes[i].gives_back = true;
    }
    is_ready = true;
}

static void *alloc_large(size_t bytes)
{
    unsigned order = page_order_for(bytes);
    void *block = page_alloc(order);
    if (block) {
        __atomic_fetch_add(&large_bytes, PAGE_BYTES << order, __ATOMIC_RELAXED);
        __atomic_fetch_add(&large_allocations, 1, __ATOMIC_RELAXED);
    }
    return block;
}

void *heap_alloc(size_t bytes)
{
    if (unlikely(!is_ready))
        init_classes();
    if (bytes > BIT(CLASS_LAST_SHIFT))
        return alloc_large(bytes);
    unsigned index = bytes <= BIT(CLASS_FIRST_SHIFT) ? 0 : ilog2(bytes - 1) + 1 - CLASS_FIRST_SHIFT;
    assert(index < CLASS_COUNT && bytes <= classes[index].object_bytes);
    return pool_alloc(&classes[index]);
}

void *heap_alloc_zeroed(size_t bytes)
{
    void *block = heap_alloc(bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

void heap_free(void *memory)
{
    if (!memory)
        return;
    struct page_block block = page_block_of(memory);
    if (block.is_slab) {
        struct pool *pool = pool_of_slab(block.start);
        assert(pool >= classes && pool < classes + CLASS_COUNT); /* else: a pool's own object */
        pool_free(pool, memory);
        return;
    }
    __atomic_fetch_sub(&large_bytes, PAGE_BYTES << block.order, __ATOMIC_RELAXED);
    __atomic_fetch_add(&large_frees, 1, __ATOMIC_RELAXED);
    page_free(memory, block.order);
}

void heap_stats(struct heap_stats *stats)
{
    stats->allocated_bytes = __atomic_load_n(&large_bytes, __ATOMIC_RELAXED);
    stats->allocations = __atomic_load_n(&large_allocations, __ATOMIC_RELAXED);
    stats->frees = __atomic_load_n(&large_frees, __ATOMIC_RELAXED);
    for (unsigned i = 0; is_ready && i < CLASS_COUNT; i++) {
        SPIN_SCOPED(&classes[i].lock);
        stats->allocated_bytes += classes[i].objects_in_use * classes[i].object_bytes;
        stats->allocations += classes[i].allocations;
        stats->frees += classes[i].allocations - classes[i].objects_in_use;
    }
}
