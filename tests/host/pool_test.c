/* SPDX-License-Identifier: MIT */
/* Pools and the heap over the page allocator and a fake machine's RAM. */
#include <signal.h>
#include <string.h>

#include "fake_memory.h"

#define pool_init         own_pool_init
#define pool_alloc        own_pool_alloc
#define pool_free         own_pool_free
#define heap_alloc        own_heap_alloc
#define heap_alloc_zeroed own_heap_alloc_zeroed
#define heap_free         own_heap_free
#include "../../src/kernel/pool.c"
#undef FREE_BYTE
#include "../../src/kernel/heap.c"

static struct random random_state;

static void start(void)
{
    static struct boot_info boot;
    fake_memory_reset();
    boot.memory[0] = (struct boot_memory){.start = MIB(1), .bytes = MIB(31), .is_usable = true};
    boot.memory_count = 1;
    page_init(&boot);
    is_ready = false;
    large_bytes = large_allocations = large_frees = 0;
}

static uint64_t free_bytes(void)
{
    struct page_stats stats;
    page_stats(&stats);
    return stats.free_bytes;
}

struct live {
    uint8_t *object;
    size_t bytes;
    uint8_t mark;
};

static void fill_live(struct live *live, size_t bytes)
{
    live->bytes = bytes;
    live->mark = (uint8_t)random_next(&random_state);
    memset(live->object, live->mark, bytes);
}

static void check_live(const struct live *live)
{
    for (size_t i = 0; i < live->bytes; i++)
        if (live->object[i] != live->mark) {
            check(!"two owners of an object");
            break;
        }
}

/* O1 and O2. */
static void check_pool(struct pool *pool)
{
    uint64_t partial_in_use = 0, partial = 0;
    list_foreach (node, &pool->partial) {
        const struct slab *slab = list_entry(node, struct slab, node);
        check(slab->in_use < pool->objects_per_slab && slab->free); /* O1 */
        partial_in_use += slab->in_use;
        partial++;
    }
    check_equal(pool->objects_in_use,
                partial_in_use + (pool->slabs - partial) * pool->objects_per_slab); /* O2 */
}

static void mix(size_t bytes, size_t alignment)
{
    static struct live live[500];
    struct pool pool;
    start();
    pool_init(&pool, "test", bytes, alignment);
    for (int i = 0; i < 5000; i++) {
        struct live *one = &live[random_below(&random_state, ARRAY_SIZE(live))];
        if (one->object) {
            check_live(one);
            pool_free(&pool, one->object);
            one->object = NULL;
        } else {
            one->object = pool_alloc(&pool);
            check(one->object && is_aligned((uintptr_t)one->object, alignment));
            fill_live(one, bytes);
        }
    }
    check_pool(&pool);
    for (size_t i = 0; i < ARRAY_SIZE(live); i++)
        if (live[i].object) {
            check_live(&live[i]);
            pool_free(&pool, live[i].object);
            live[i].object = NULL;
        }
    check_pool(&pool);
    check_equal(pool.objects_in_use, 0);
}

static void pools_of_many_shapes(void)
{
    static const size_t sizes[] = {1, 8, 24, 100, 512, 1000, 2048, 4096, 5000};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        mix(sizes[i], 8);
        mix(sizes[i], 64);
    }
    mix(512, 512);
    mix(100, PAGE_BYTES);
}

/* Slabs stay with a pool, unless it gives them back. */
static void slabs_stay_or_go(void)
{
    for (int gives_back = 0; gives_back < 2; gives_back++) {
        static void *objects[2000];
        struct pool pool;
        start();
        uint64_t whole = free_bytes();
        pool_init(&pool, "test", 200, 8);
        pool.gives_back = gives_back;
        for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
            objects[i] = pool_alloc(&pool);
        uint64_t slabs = pool.slabs;
        check(slabs > 50);
        for (size_t i = 0; i < ARRAY_SIZE(objects); i++)
            pool_free(&pool, objects[i]);
        check_equal(pool.slabs, gives_back ? 1 : slabs);
        check_equal(whole - free_bytes(), pool.slabs * (PAGE_BYTES << pool.slab_order));
    }
}

static void out_of_memory(void)
{
    struct pool pool;
    start();
    pool_init(&pool, "test", 2000, 8);
    uint64_t count = 0;
    while (pool_alloc(&pool))
        count++;
    check(count > MIB(24) / 2048);
    check_pool(&pool);
    while (page_alloc(0)) /* what is too small for a slab */
        count++;
    check(heap_alloc(16) == NULL);
    check(heap_alloc(100000) == NULL);
}

static struct pool broken_pool;

static void free_twice(void *object)
{
    pool_free(&broken_pool, object);
    pool_free(&broken_pool, object);
}
static void write_behind(void *object)
{
    ((char *)object)[broken_pool.object_bytes] ^= 1;
    pool_free(&broken_pool, object);
}
static void write_after_free(void *object)
{
    pool_free(&broken_pool, object);
    ((char *)object)[20] = 1;
    pool_free(&broken_pool, pool_alloc(&broken_pool));
}
static void free_inside(void *object)
{
    pool_free(&broken_pool, (char *)object + 8);
}
static void free_to_other_pool(void *object)
{
    struct pool other;
    pool_init(&other, "other", 40, 8);
    pool_free(&other, object);
}
static void heap_free_twice(void *block)
{
    heap_free(block);
    heap_free(block);
}
static void heap_free_inside(void *block)
{
    heap_free((char *)block + 1);
}

static void misuse_is_caught(void)
{
    start();
    pool_init(&broken_pool, "broken", 40, 8);
    void *object = pool_alloc(&broken_pool);
    check(fake_memory_aborts(free_twice, object));
    check(fake_memory_aborts(write_behind, object));
    check(fake_memory_aborts(write_after_free, object));
    check(fake_memory_aborts(free_inside, object));
    check(fake_memory_aborts(free_to_other_pool, object));
    check(fake_memory_aborts(heap_free, object)); /* a pool's object is not the heap's */
    check(fake_memory_aborts(heap_free_twice, heap_alloc(30)));
    check(fake_memory_aborts(heap_free_twice, heap_alloc(30000)));
    check(fake_memory_aborts(heap_free_inside, heap_alloc(30)));
    check(fake_memory_aborts(heap_free_inside, heap_alloc(30000)));
}

static size_t random_size(void)
{
    return random_below(&random_state, 2ull << random_below(&random_state, 17));
}

static void heap_mix(void)
{
    static struct live live[300];
    struct heap_stats stats;
    start();
    for (int i = 0; i < 30000; i++) {
        struct live *one = &live[random_below(&random_state, ARRAY_SIZE(live))];
        if (one->object) {
            check_live(one);
            heap_free(one->object);
            one->object = NULL;
            continue;
        }
        size_t bytes = random_size();
        bool is_zeroed = random_below(&random_state, 2);
        one->object = is_zeroed ? heap_alloc_zeroed(bytes) : heap_alloc(bytes);
        if (!one->object)
            continue;
        check(is_aligned((uintptr_t)one->object, bytes >= PAGE_BYTES ? PAGE_BYTES : 16));
        for (size_t b = 0; is_zeroed && b < bytes; b++)
            if (one->object[b])
                check(!"not zeroed");
        fill_live(one, bytes);
    }
    for (size_t i = 0; i < ARRAY_SIZE(live); i++) {
        if (live[i].object)
            check_live(&live[i]);
        heap_free(live[i].object);
        live[i].object = NULL;
    }
    heap_stats(&stats);
    check_equal(stats.allocated_bytes, 0);
    check_equal(stats.allocations, stats.frees);
    check(stats.allocations > 10000);
    for (unsigned i = 0; i < CLASS_COUNT; i++)
        check_pool(&classes[i]);
}

int main(void)
{
    random_init(&random_state, 5);
    pools_of_many_shapes();
    slabs_stay_or_go();
    out_of_memory();
    misuse_is_caught();
    heap_mix();
    return check_finish();
}
