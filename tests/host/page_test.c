/* SPDX-License-Identifier: MIT */
/* The buddy allocator over a fake machine's RAM: memory maps, merging, exhaustion, misuse. */
#include <signal.h>
#include <string.h>

#include "fake_memory.h"

static struct random random_state;
static struct boot_info boot;

static void add_memory(uint64_t start, uint64_t bytes, bool is_usable)
{
    boot.memory[boot.memory_count++] =
        (struct boot_memory){.start = start, .bytes = bytes, .is_usable = is_usable};
}

static void start_with(uint64_t start, uint64_t bytes)
{
    fake_memory_reset();
    memset(&boot, 0, sizeof(boot));
    add_memory(start, bytes, true);
    page_init(&boot);
}

static uint64_t free_bytes(void)
{
    struct page_stats stats;
    page_stats(&stats);
    uint64_t listed = 0;
    for (unsigned order = 0; order <= PAGE_ORDER_MAX; order++)
        listed += stats.free_blocks[order] * (PAGE_BYTES << order);
    check_equal(listed, stats.free_bytes);
    return stats.free_bytes;
}

/* P2 and P3, frame by frame. */
static void check_invariants(void)
{
    uint64_t heads = 0, listed = 0;
    for (unsigned s = 0; s < SPAN_COUNT; s++)
        for (uint64_t frame = page.spans[s].first; frame < page.spans[s].end; frame++) {
            unsigned order = *frame_byte(frame) & ORDER_MASK;
            if ((*frame_byte(frame) & STATE_MASK) != FRAME_FREE)
                continue;
            heads++;
            check(is_aligned(frame, BIT(order)));
            check(order == PAGE_ORDER_MAX || !is_free_block(frame ^ BIT(order), order)); /* P3 */
        }
    for (unsigned order = 0; order <= PAGE_ORDER_MAX; order++)
        list_foreach (node, &page.free[order]) {
            check(is_free_block(frame_of(node), order)); /* P2 */
            listed++;
        }
    check_equal(heads, listed);
}

static void orders(void)
{
    check_equal(page_order_for(0), 0);
    check_equal(page_order_for(1), 0);
    check_equal(page_order_for(4096), 0);
    check_equal(page_order_for(4097), 1);
    check_equal(page_order_for(8192), 1);
    check_equal(page_order_for(8193), 2);
    check_equal(page_order_for(MIB(4)), 10);
}

/* Below 1 MiB nothing is taken, page 0 least of all; partial pages at the edges are left out. */
static void edges_of_the_map(void)
{
    struct page_stats stats;
    fake_memory_reset();
    memset(&boot, 0, sizeof(boot));
    add_memory(0, 0x9fc00, true);
    add_memory(0xf0000, 0x10000, false);
    add_memory(MIB(1) + 1, MIB(2) - 2, true);
    add_memory(MIB(8), MIB(4), true);
    add_memory(MIB(12), MIB(4), false);
    page_init(&boot);
    page_stats(&stats);
    check_equal(stats.total_bytes,
                MIB(2) - 2 * PAGE_BYTES + MIB(4) - PAGE_BYTES); /* one page of frame bytes */
    check_equal(free_bytes(), stats.total_bytes);
    check_invariants();
    void *block;
    while ((block = page_alloc(0)) != NULL) {
        phys_addr_t address = direct_to_phys(block);
        check((address >= MIB(1) + PAGE_BYTES && address < MIB(3) - PAGE_BYTES) ||
              (address >= MIB(8) && address < MIB(12)));
    }
    check_equal(free_bytes(), 0);
}

static void bad_maps(void)
{
    struct page_stats stats;
    fake_memory_reset();
    memset(&boot, 0, sizeof(boot));
    add_memory(MIB(16), MIB(16), true);
    add_memory(MIB(24), MIB(16), true); /* overlaps */
    add_memory(MIB(2), MIB(4), true);   /* goes back */
    add_memory(UINT64_MAX - 100, 4096, true);
    add_memory(MIB(64), 100, true);
    page_init(&boot);
    page_add_high_memory(&boot);
    page_stats(&stats);
    check(stats.total_bytes > MIB(23) && stats.total_bytes <= MIB(24));
    check_invariants();
    fake_memory_reset();
    memset(&boot, 0, sizeof(boot));
    page_init(&boot);
    check(page_alloc(0) == NULL);
}

/* Everything is handed out once, to the last page, and comes back as the blocks that were there first. */
static void exhaustion(void)
{
    start_with(MIB(1), MIB(15));
    struct page_stats before, after;
    page_stats(&before);
    uint64_t frames = before.free_bytes / PAGE_BYTES;
    void **blocks = calloc(frames + 1, sizeof(*blocks));
    for (uint64_t i = 0; i < frames; i++) {
        blocks[i] = page_alloc(0);
        check(blocks[i] != NULL);
        *(uint64_t *)blocks[i] = i;
    }
    check(page_alloc(0) == NULL);
    for (uint64_t i = 0; i < frames; i++)
        check_equal(*(uint64_t *)blocks[i], i);
    for (uint64_t i = 0; i < frames; i++)
        page_free(blocks[i * 7 % frames], 0); /* 7 does not divide the count: checked below */
    check(frames % 7 != 0);
    page_stats(&after);
    check(memcmp(&before, &after, sizeof(before)) == 0);
    check_invariants();
    free(blocks);
    check(page_alloc(PAGE_ORDER_MAX + 1) == NULL);
}

struct live {
    uint8_t *block;
    unsigned order;
    uint8_t mark;
};

static void take(struct live *live)
{
    live->order = (unsigned)random_below(&random_state, 6);
    live->block = random_below(&random_state, 2) ? page_alloc(live->order) : page_alloc_zeroed(live->order);
    if (!live->block)
        return;
    check(is_aligned(direct_to_phys(live->block), PAGE_BYTES << live->order));
    live->mark = (uint8_t)random_next(&random_state);
    memset(live->block, live->mark, PAGE_BYTES << live->order);
}

static void give(struct live *live)
{
    for (size_t i = 0; i < PAGE_BYTES << live->order; i += 512)
        if (live->block[i] != live->mark)
            check(!"two owners of a page");
    page_free(live->block, live->order);
    live->block = NULL;
}

static void random_mix(void)
{
    static struct live live[400];
    start_with(MIB(1), MIB(20));
    uint64_t whole = free_bytes();
    for (int i = 0; i < 20000; i++) {
        struct live *one = &live[random_below(&random_state, ARRAY_SIZE(live))];
        if (one->block)
            give(one);
        else
            take(one);
        if (i % 2000 == 0)
            check_invariants();
    }
    for (size_t i = 0; i < ARRAY_SIZE(live); i++)
        if (live[i].block)
            give(&live[i]);
    check_equal(free_bytes(), whole);
    check_invariants();
}

/* RAM from 4 GiB on, and RAM behind so large a hole that its frame bytes would cost more than it is worth. */
static void high_memory(void)
{
    struct page_stats stats;
    start_with(MIB(1), MIB(63));
    uint64_t low = free_bytes();
    add_memory(GIB(4), GIB(2), true);
    add_memory(GIB(1024), MIB(4), true);
    page_add_high_memory(&boot);
    page_stats(&stats);
    uint64_t expected = GIB(2) - GIB(2) / PAGE_BYTES;
    check_equal(free_bytes() - low, expected);
    check_invariants();
    bool has_high = false;
    for (int i = 0; i < 600; i++) {
        void *block = page_alloc(PAGE_ORDER_MAX);
        has_high |= block && direct_to_phys(block) >= GIB(4);
        check(!block || direct_to_phys(block) < GIB(6));
    }
    check(has_high);
}

static void free_twice(void *block)
{
    page_free(block, 0);
    page_free(block, 0);
}
static void free_other_order(void *block)
{
    page_free(block, 1);
}
static void free_inside(void *block)
{
    page_free((char *)block + PAGE_BYTES, 0);
}
static void free_foreign(void *block)
{
    page_free(direct_map(MIB(512)), 0);
}
static void write_after_free(void *block)
{
    page_free(block, 0);
    ((char *)block)[100] = 1;
    for (int i = 0; i < 5; i++)
        if (!page_alloc(0))
            return;
}
static void find_freed(void *block)
{
    page_free(block, 0);
    page_block_of(block);
}

static void misuse_is_caught(void)
{
    start_with(MIB(1), MIB(15));
    void *one = page_alloc(0), *four = page_alloc(2);
    check(fake_memory_aborts(free_twice, one));
    check(fake_memory_aborts(free_other_order, one));
    check(fake_memory_aborts(free_inside, four));
    check(fake_memory_aborts(free_foreign, one));
    check(fake_memory_aborts(write_after_free, one));
    check(fake_memory_aborts(find_freed, one));
    page_free(one, 0);
    page_free(four, 2);
}

static void blocks_are_found(void)
{
    start_with(MIB(1), MIB(15));
    char *block = page_alloc(2);
    struct page_block found = page_block_of(block);
    check(found.start == block && found.order == 2 && !found.is_slab);
    page_mark_slab(block, 2, true);
    for (size_t offset = 0; offset < 4 * PAGE_BYTES; offset += 1000) {
        found = page_block_of(block + offset);
        check(found.start == block && found.order == 2 && found.is_slab);
    }
    page_mark_slab(block, 2, false);
    page_free(block, 2);
    check_invariants();
}

int main(void)
{
    random_init(&random_state, 4);
    orders();
    edges_of_the_map();
    bad_maps();
    exhaustion();
    random_mix();
    high_memory();
    misuse_is_caught();
    blocks_are_found();
    return check_finish();
}
