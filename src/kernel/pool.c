/* SPDX-License-Identifier: MIT */
/* Pools. A slab is a naturally aligned block of pages: a header of one cache line, then the objects, so that
 * an object's slab is found by masking its address. Slabs with a free object are on the pool's list
 * `partial`, full ones on none.
 *
 *     O1  partial holds exactly the slabs with in_use < objects_per_slab.
 *     O2  objects_in_use is the sum of the slabs' in_use.
 *
 * Debug builds put a red zone of 8 bytes or more behind each object, whose last word says whether the object
 * is free, and fill free objects with a pattern that must be intact when they are handed out.
 * Locks: pool.lock, then page.lock. */
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/page.h>
#include <kernel/pool.h>
#include <kernel/string.h>

#define SLAB_MAGIC     0x51ab51abu
#define SLAB_ORDER_MAX 3u

struct free_object {
    struct free_object *next;
};

struct slab {
    struct list node; /* in pool->partial, while a free object is here */
    struct pool *pool;
    struct free_object *free;
    uint32_t in_use;
    uint32_t magic;
} aligned(CACHE_LINE_BYTES);

#ifdef UMBRA_DEBUG
#define FREE_BYTE  0x6b
#define ZONE_BYTE  0xbb
#define ZONE_BYTES 8u
#define USED_WORD  0x5ca1ab1e0b1ec75eull
#define FREE_WORD  0xdeadf4eedeadf4eeull

static uint64_t *state_word(const struct pool *pool, void *object)
{
    return (uint64_t *)((char *)object + pool->stride_bytes - ZONE_BYTES);
}

static bool is_filled(const void *object, size_t from, size_t to, uint8_t byte)
{
    for (const uint8_t *at = object; from < to; from++)
        if (at[from] != byte)
            return false;
    return true;
}

static void mark_free(const struct pool *pool, void *object)
{
    memset(object, FREE_BYTE, pool->object_bytes);
    memset((char *)object + pool->object_bytes, ZONE_BYTE, pool->stride_bytes - pool->object_bytes);
    *state_word(pool, object) = FREE_WORD;
}

static void mark_used(const struct pool *pool, void *object)
{
    assert(*state_word(pool, object) == FREE_WORD);
    /* else: written after pool_free */
    assert(is_filled(object, sizeof(struct free_object), pool->object_bytes, FREE_BYTE));
    *state_word(pool, object) = USED_WORD;
    memset(object, 0xa5, pool->object_bytes);
}

static void check_used(const struct pool *pool, void *object)
{
    assert(*state_word(pool, object) != FREE_WORD); /* freed twice */
    assert(*state_word(pool, object) == USED_WORD); /* written behind its end */
    assert(is_filled(object, pool->object_bytes, pool->stride_bytes - ZONE_BYTES, ZONE_BYTE));
}
#else
#define ZONE_BYTES 0u
static inline void mark_free(const struct pool *pool, void *object)
{
    (void)pool, (void)object;
}
static inline void mark_used(const struct pool *pool, void *object)
{
    (void)pool, (void)object;
}
static inline void check_used(const struct pool *pool, void *object)
{
    (void)pool, (void)object;
}
#endif

static uint32_t objects_in(const struct pool *pool, unsigned order)
{
    return (uint32_t)(((PAGE_BYTES << order) - pool->first_offset) / pool->stride_bytes);
}

/* The smallest order that holds eight objects, or the largest if none does. */
static unsigned choose_order(const struct pool *pool)
{
    unsigned order = 0;
    while (order < SLAB_ORDER_MAX &&
           ((PAGE_BYTES << order) < pool->first_offset || objects_in(pool, order) < 8))
        order++;
    return order;
}

void pool_init(struct pool *pool, const char *name, size_t object_bytes, size_t alignment)
{
    assert(is_power_of_two(alignment) && alignment >= 8 && alignment <= PAGE_BYTES);
    assert(object_bytes > 0);
    *pool = (struct pool){.name = name};
    spinlock_init(&pool->lock, "pool");
    list_init(&pool->partial);
    pool->object_bytes = (uint32_t)align_up(object_bytes, alignment);
    pool->stride_bytes = (uint32_t)align_up(pool->object_bytes + ZONE_BYTES, alignment);
    pool->first_offset = (uint32_t)align_up(sizeof(struct slab), alignment);
    pool->slab_order = choose_order(pool);
    pool->objects_per_slab = objects_in(pool, pool->slab_order);
    assert(pool->objects_per_slab > 0);
}

/* A new slab with all objects free, in ascending order, on `partial`; NULL without memory. */
static struct slab *slab_create(struct pool *pool)
{
    struct slab *slab = page_alloc(pool->slab_order);
    if (!slab)
        return NULL;
    page_mark_slab(slab, pool->slab_order, true);
    *slab = (struct slab){.pool = pool, .magic = SLAB_MAGIC};
    for (uint32_t i = pool->objects_per_slab; i > 0; i--) {
        struct free_object *object =
            (void *)((char *)slab + pool->first_offset + (i - 1) * pool->stride_bytes);
        mark_free(pool, object);
        object->next = slab->free;
        slab->free = object;
    }
    list_push_front(&pool->partial, &slab->node);
    pool->slabs++;
    return slab;
}

static void slab_destroy(struct pool *pool, struct slab *slab)
{
    assert(slab->in_use == 0);
    list_remove(&slab->node);
    slab->magic = 0;
    pool->slabs--;
    page_mark_slab(slab, pool->slab_order, false);
    page_free(slab, pool->slab_order);
}

void *pool_alloc(struct pool *pool)
{
    SPIN_SCOPED(&pool->lock);
    struct slab *slab;
    if (likely(!list_is_empty(&pool->partial)))
        slab = list_entry(pool->partial.next, struct slab, node);
    else if (!(slab = slab_create(pool)))
        return NULL;
    struct free_object *object = slab->free;
    assert(object != NULL); /* O1 */
    slab->free = object->next;
    if (!slab->free)
        list_remove(&slab->node);
    slab->in_use++;
    pool->objects_in_use++;
    pool->allocations++;
    mark_used(pool, object);
    return object;
}

void pool_free(struct pool *pool, void *object)
{
    struct slab *slab = (void *)align_down((uintptr_t)object, PAGE_BYTES << pool->slab_order);
    struct free_object *freed = object;
    SPIN_SCOPED(&pool->lock);
    assert(slab->magic == SLAB_MAGIC && slab->pool == pool);
    debug_assert(((uintptr_t)object - (uintptr_t)slab - pool->first_offset) % pool->stride_bytes == 0);
    check_used(pool, object);
    assert(slab->in_use > 0 && pool->objects_in_use > 0); /* O2 */
    mark_free(pool, object);
    if (!slab->free)
        list_push_front(&pool->partial, &slab->node);
    freed->next = slab->free;
    slab->free = freed;
    slab->in_use--;
    pool->objects_in_use--;
    /* One empty slab stays, so that an alloc and a free in turn do not go to the page allocator. */
    if (slab->in_use == 0 && pool->gives_back && slab->node.next != slab->node.prev)
        slab_destroy(pool, slab);
}

struct pool *pool_of_slab(const void *memory)
{
    const struct slab *slab = memory;
    assert(slab->magic == SLAB_MAGIC);
    return slab->pool;
}
