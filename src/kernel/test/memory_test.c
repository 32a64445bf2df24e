/* SPDX-License-Identifier: MIT */
/* The allocators under threads on all CPUs, and the copy functions as this compiler made them. What one
 * thread alone can show is in tests/host. */
#include <kernel/heap.h>
#include <kernel/page.h>
#include <kernel/pool.h>
#include <kernel/random.h>
#include <kernel/string.h>

#include "threads_internal.h"

#define THREADS 4u
#define ROUNDS  1500u
#define HELD    16u

struct block {
    uint64_t *words;
    unsigned order; /* or the size, for objects */
};

struct user {
    struct random random;
    struct pool *pool;
    unsigned wrong;
};

static void *take(struct user *user, unsigned kind, struct block *block)
{
    if (kind == 0) {
        block->order = (unsigned)random_below(&user->random, 4);
        return page_alloc(block->order);
    }
    return kind == 1 ? heap_alloc(16 + random_below(&user->random, 3000)) : pool_alloc(user->pool);
}

static void give(struct user *user, unsigned kind, struct block *block)
{
    if (kind == 0)
        page_free(block->words, block->order);
    else if (kind == 1)
        heap_free(block->words);
    else
        pool_free(user->pool, block->words);
    block->words = NULL;
}

/* Two words of each block say whose it is. */
static void use_allocators(void *argument)
{
    struct user *user = argument;
    struct block held[3][HELD] = {0};
    for (unsigned i = 0; i < ROUNDS + 3 * HELD; i++) {
        unsigned kind = i < ROUNDS ? (unsigned)random_below(&user->random, 3) : (i - ROUNDS) / HELD;
        struct block *block =
            &held[kind][i < ROUNDS ? random_below(&user->random, HELD) : (i - ROUNDS) % HELD];
        if (block->words) {
            user->wrong += block->words[0] != (uintptr_t)block || block->words[1] != (uintptr_t)user;
            give(user, kind, block);
        } else if (i < ROUNDS && (block->words = take(user, kind, block)) != NULL) {
            block->words[0] = (uintptr_t)block;
            block->words[1] = (uintptr_t)user;
        }
    }
}

KTEST(memory_allocators_under_threads, KTEST_FAST)
{
    static struct pool pool;
    struct user users[THREADS];
    struct thread *threads[THREADS];
    struct heap_stats before, after;
    if (!pool.name)
        pool_init(&pool, "ktest", 48, 16);
    heap_stats(&before);
    for (unsigned i = 0; i < THREADS; i++) {
        users[i] = (struct user){.pool = &pool};
        random_init(&users[i].random, ktest_random());
        threads[i] = test_spawn(use_allocators, &users[i], 0, 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        thread_join(threads[i]);
        ktest_expect_equal(users[i].wrong, 0);
    }
    heap_stats(&after);
    ktest_expect_equal(pool.objects_in_use, 0);
    ktest_expect(after.frees - before.frees >= ROUNDS / 10);
}

/* All that there is, in the largest blocks, and back. */
KTEST(memory_runs_out_and_comes_back, KTEST_FAST)
{
    struct page_stats before, after;
    struct link {
        struct link *next;
    } *blocks = NULL;
    page_stats(&before);
    for (struct link *block; (block = page_alloc(PAGE_ORDER_MAX)) != NULL; blocks = block)
        block->next = blocks;
    ktest_expect(page_alloc(PAGE_ORDER_MAX) == NULL);
    while (blocks) {
        struct link *next = blocks->next;
        page_free(blocks, PAGE_ORDER_MAX);
        blocks = next;
    }
    page_stats(&after);
    ktest_expect_equal(after.total_bytes, before.total_bytes);
    ktest_expect(before.free_blocks[PAGE_ORDER_MAX] > 0);
    ktest_expect(after.free_blocks[PAGE_ORDER_MAX] + 2 > before.free_blocks[PAGE_ORDER_MAX]);
}

KTEST(memory_heap_alignment, KTEST_FAST)
{
    static const size_t sizes[] = {0, 1, 16, 17, 100, 2048, 2049, 4096, 5000, 65536};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        void *block = heap_alloc(sizes[i]);
        ktest_expect(block && ((uintptr_t)block & (sizes[i] >= PAGE_BYTES ? PAGE_BYTES - 1 : 15)) == 0);
        heap_free(block);
    }
    ktest_expect(heap_alloc(GIB(1)) == NULL);
    heap_free(NULL);
}

static void fill(uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)ktest_random();
}

static bool bytes_are(const volatile uint8_t *a, const volatile uint8_t *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

/* Against plain loops, which `volatile` keeps plain. */
KTEST(string_moves_as_a_loop_would, KTEST_FAST)
{
    static uint8_t data[128];
    static volatile uint8_t expected[128];
    for (size_t bytes = 0; bytes <= 72; bytes++)
        for (size_t to = 0; to < 48; to += 1 + to % 5) {
            size_t from = (bytes * 7 + to) % 48;
            fill(data, sizeof(data));
            for (size_t i = 0; i < sizeof(data); i++)
                expected[i] = data[i];
            for (size_t i = 0; i < bytes; i++) {
                size_t at = to <= from ? i : bytes - 1 - i;
                expected[to + at] = expected[from + at];
            }
            memmove(data + to, data + from, bytes);
            ktest_expect(bytes_are(data, expected, sizeof(data)));
            memset(data + to, 0x5a, bytes);
            for (size_t i = 0; i < bytes; i++)
                expected[to + i] = 0x5a;
            ktest_expect(bytes_are(data, expected, sizeof(data)));
        }
}
