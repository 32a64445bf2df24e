/* SPDX-License-Identifier: MIT */
/* The buddy allocator over a fake machine's RAM: memory maps, growth, merging, exhaustion, misuse; and
 * compared with a model that knows no blocks, only which frames are free. */
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

/* P4: what is untouched ascends, and below the frames of its span that have bytes. */
static void check_untouched(void)
{
    for (uint32_t i = 0; i < page.untouched_count; i++) {
        const struct frame_range *range = &page.untouched[i];
        check(range->first < range->end);
        check(i == 0 || page.untouched[i - 1].end <= range->first);
        check(frame_byte(range->first) == NULL || *frame_byte(range->first) == FRAME_RESERVED);
        check(frame_byte(range->end - 1) == NULL || *frame_byte(range->end - 1) == FRAME_RESERVED);
    }
}

/* P2 to P4, frame by frame. */
static void check_invariants(void)
{
    check_untouched();
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

/* How many pages of the fake RAM the host had to make. */
static uint64_t resident_pages(void)
{
    uint64_t count = 0, pages = FAKE_RAM_BYTES / PAGE_BYTES;
    unsigned char *resident = malloc(pages);
    check(mincore(fake_ram, FAKE_RAM_BYTES, resident) == 0);
    for (uint64_t i = 0; i < pages; i++)
        count += resident[i] & 1;
    free(resident);
    return count;
}

/* What a boot costs does not grow with the RAM: none of it is written to, and then only what is asked for. */
static void init_touches_no_ram(void)
{
    fake_memory_reset();
    memset(&boot, 0, sizeof(boot));
    add_memory(MIB(1), GIB(3) - MIB(1), true);
    add_memory(GIB(4), GIB(7), true);
    check(mprotect(fake_ram, FAKE_RAM_BYTES, PROT_NONE) == 0);
    page_init(&boot);
    page_add_high_memory(&boot);
    check_equal(free_bytes(), GIB(10) - MIB(1) - GIB(3) / PAGE_BYTES - GIB(7) / PAGE_BYTES);
    check(mprotect(fake_ram, FAKE_RAM_BYTES, PROT_READ | PROT_WRITE) == 0);
    void *block = page_alloc(0);
    check(block && direct_to_phys(block) >= GIB(4)); /* what 32-bit devices reach goes last */
    uint64_t pages = resident_pages();
    check(pages <= PAGE_ORDER_MAX + 3); /* a list head each order, the frame bytes, the page */
    spin_lock(&page.lock);              /* page_alloc would fill the blocks with the debug build's pattern */
    for (int i = 0; i < 16; i++)
        check(find_block(PAGE_ORDER_MAX) != 0);
    spin_unlock(&page.lock);
    check(resident_pages() <= pages + 16 * BIT(PAGE_ORDER_MAX) / PAGE_BYTES + 1); /* their frame bytes only */
    check_invariants();
}

/* The uppermost eight frames are no block of eight, those below are. */
static void untouched_blocks_are_aligned(void)
{
    fake_memory_reset();
    boot.memory_count = 0;
    add_memory(MIB(2), PAGE_BYTES * 9, true); /* the largest: its last page has the frame bytes */
    add_memory(MIB(3) + PAGE_BYTES * 3, PAGE_BYTES * 8, true);
    page_init(&boot);
    check(page_alloc(3) == direct_map(MIB(2)));
    check(page_alloc(3) == NULL);
    check_equal(free_bytes(), 8 * PAGE_BYTES);
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

/* ---- The model: a state a frame ---- */

#define MODEL_FRAMES (MIB(64) >> PAGE_SHIFT)
#define MODEL_BLOCKS 600u

static struct {
    bool is_free[MODEL_FRAMES];
    struct {
        void *block;
        unsigned order;
    } blocks[MODEL_BLOCKS];
} model;

static void model_fill(uint64_t first, uint64_t end, bool is_free)
{
    for (uint64_t frame = first; frame < end; frame++) {
        check(model.is_free[frame] != is_free); /* else: handed out twice, or not RAM */
        model.is_free[frame] = is_free;
    }
}

/* Ranges of any alignment and length, from a page to half of everything, with holes between them. */
static void start_with_random_map(void)
{
    uint64_t frame = FIRST_FRAME, end;
    fake_memory_reset();
    memset(&boot, 0, sizeof(boot));
    memset(&model, 0, sizeof(model));
    do {
        frame += random_below(&random_state, 1ull << random_below(&random_state, 12)) + 1;
        end = frame + random_below(&random_state, 1ull << random_below(&random_state, 14)) + 1;
        end = MIN(end, MODEL_FRAMES);
        if (frame >= end)
            break;
        add_memory(frame << PAGE_SHIFT, (end - frame) << PAGE_SHIFT, true);
        model_fill(frame, end, true);
        frame = end;
    } while (boot.memory_count < BOOT_MEMORY_MAX / 2);
    /* What a boot finds in RAM, here what looks like the bytes of free blocks. */
    memset(direct_map(0), FRAME_FREE | (int)random_below(&random_state, PAGE_ORDER_MAX + 1),
           MODEL_FRAMES << PAGE_SHIFT);
    page_init(&boot);
}

/* The frames of the span's own bytes are nobody's. */
static void model_take_frame_bytes(void)
{
    const struct page_span *span = &page.spans[0];
    uint64_t own = direct_to_phys(span->frames) >> PAGE_SHIFT;
    if (span->end)
        model_fill(own, own + div_round_up(span->end - span->base, PAGE_BYTES), false);
}

static bool model_is_block(uint64_t frame, unsigned order)
{
    for (uint64_t i = frame; i < frame + BIT(order); i++)
        if (!model.is_free[i])
            return false;
    return true;
}

/* What is untouched ends within the block: its parts meet when the lower one is taken. */
static bool is_growing(uint64_t frame, unsigned order)
{
    uint64_t edge = page.untouched_count ? page.untouched[page.untouched_count - 1].end : 0;
    return frame < edge && edge < frame + BIT(order);
}

/* As free memory must lie on the lists when every pair of free buddies is merged. */
static void model_count(uint64_t frame, unsigned order, uint64_t counts[PAGE_ORDER_MAX + 1])
{
    if (model_is_block(frame, order) && !is_growing(frame, order)) {
        counts[order]++;
    } else if (order > 0) {
        model_count(frame, order - 1, counts);
        model_count(frame + BIT(order - 1), order - 1, counts);
    }
}

static void compare_with_model(void)
{
    struct page_stats stats;
    uint64_t counts[PAGE_ORDER_MAX + 1] = {0};
    for (uint64_t frame = 0; frame < MODEL_FRAMES; frame += BIT(PAGE_ORDER_MAX))
        model_count(frame, PAGE_ORDER_MAX, counts);
    page_stats(&stats);
    for (unsigned order = 0; order <= PAGE_ORDER_MAX; order++)
        check_equal(stats.free_blocks[order], counts[order]);
    check_equal(stats.free_bytes, free_bytes());
    check_invariants();
}

static bool model_has_block(unsigned order)
{
    for (uint64_t frame = 0; frame < MODEL_FRAMES; frame += BIT(order))
        if (model_is_block(frame, order))
            return true;
    return false;
}

static void model_alloc(uint32_t i, unsigned order)
{
    void *block = page_alloc(order);
    if (!block) {
        check(!model_has_block(order));
        return;
    }
    uint64_t frame = direct_to_phys(block) >> PAGE_SHIFT;
    check(is_aligned(frame, BIT(order)) && frame + BIT(order) <= MODEL_FRAMES);
    model_fill(frame, frame + BIT(order), false);
    model.blocks[i].block = block;
    model.blocks[i].order = order;
}

static void model_free(uint32_t i)
{
    uint64_t frame = direct_to_phys(model.blocks[i].block) >> PAGE_SHIFT;
    page_free(model.blocks[i].block, model.blocks[i].order);
    model_fill(frame, frame + BIT(model.blocks[i].order), true);
    model.blocks[i].block = NULL;
}

/* Mostly small blocks, now and then the largest. */
static unsigned random_order(void)
{
    return (unsigned)random_below(&random_state, random_below(&random_state, PAGE_ORDER_MAX + 1) + 1);
}

static void churn_model(int rounds)
{
    for (int round = 0; round < rounds; round++) {
        uint32_t i = (uint32_t)random_below(&random_state, MODEL_BLOCKS);
        if (model.blocks[i].block)
            model_free(i);
        else
            model_alloc(i, random_order());
        if (round % 500 == 0)
            compare_with_model();
    }
}

/* Takes all that is left page by page, each page holding the address of the one before, and gives it back. */
static void exhaust_model(void)
{
    void **last = NULL;
    for (void **block; (block = page_alloc(0)) != NULL; last = block) {
        uint64_t frame = direct_to_phys(block) >> PAGE_SHIFT;
        model_fill(frame, frame + 1, false);
        *block = last;
    }
    compare_with_model(); /* nothing is free, on both sides */
    check_equal(free_bytes(), 0);
    while (last) {
        void **before = *last;
        page_free(last, 0);
        model_fill(direct_to_phys(last) >> PAGE_SHIFT, (direct_to_phys(last) >> PAGE_SHIFT) + 1, true);
        last = before;
    }
    compare_with_model();
}

static void random_maps_agree_with_the_model(void)
{
    for (int map = 0; map < 20; map++) {
        struct page_stats before, after;
        start_with_random_map();
        model_take_frame_bytes();
        compare_with_model();
        page_stats(&before);
        churn_model(1500);
        exhaust_model();
        for (uint32_t i = 0; i < MODEL_BLOCKS; i++)
            if (model.blocks[i].block)
                model_free(i);
        page_stats(&after);
        check(memcmp(&before, &after, sizeof(before)) == 0);
        compare_with_model();
    }
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
    init_touches_no_ram();
    untouched_blocks_are_aligned();
    random_maps_agree_with_the_model();
    misuse_is_caught();
    blocks_are_found();
    return check_finish();
}
