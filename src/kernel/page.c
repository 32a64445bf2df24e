/* SPDX-License-Identifier: MIT */
/* The buddy allocator.
 *
 * Two spans of frames, below and from 4 GiB on, each with one byte a frame: what the frame is, and for the
 * first frame of a block its order. The bytes lie in RAM taken from the span itself. Free blocks are linked
 * through their first 16 bytes, by order; blocks of both spans share the lists.
 *
 * Boot writes to none of that, however much RAM there is: usable RAM stays a range in `untouched` until the
 * lists run out. Then the uppermost block of it is taken, so that what 32-bit devices reach goes last, and
 * its frames get their bytes.
 *
 *     P1  A frame that is not usable RAM is FRAME_RESERVED for ever, so nothing merges across it.
 *     P2  A block on the list of `order` starts with FRAME_FREE | order, and only such a block does.
 *     P3  Of two free buddies one order up is made at once: no two free buddies exist.
 *     P4  A usable frame lies in a range of `untouched` or has its byte, never both.
 *
 * Lock: page.lock, a leaf, not for interrupts. */
#include <arch/boot_info.h>
#include <arch/mmu.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/base/list.h>
#include <kernel/log.h>
#include <kernel/page.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>

#define ORDER_MASK    0x0fu
#define STATE_MASK    0x70u
#define POISONED_MASK 0x80u /* debug builds: the frame holds the free pattern, but for its first 16 bytes */

enum frame_state {
    FRAME_RESERVED = 0x00,
    FRAME_INNER = 0x10, /* not the first of its block */
    FRAME_FREE = 0x20,
    FRAME_USED = 0x30,
    FRAME_SLAB = 0x40, /* every frame of a pool's slab */
};

_Static_assert(PAGE_ORDER_MAX <= ORDER_MASK, "an order fits in its bits");

#define FIRST_FRAME   (MIB(1) >> PAGE_SHIFT) /* below: firmware data, the trampoline */
#define HIGH_FRAME    (GIB(4) >> PAGE_SHIFT)
#define SPAN_COUNT    2u
#define FREE_BYTE     0x6b
#define USED_BYTE     0xa5
#define GROWTH_ORDER  9u  /* 2 MiB: on a host with large pages the first write costs as much as all of it */
#define WASTE_DIVISOR 16u /* at most 1/16 of a span's RAM for its bytes */
/* Each span's bytes may split an entry of the boot memory map, and so may the spans' border. */
#define UNTOUCHED_MAX (BOOT_MEMORY_MAX + SPAN_COUNT + 1)

/* Legend: I constant once added; p page.lock. */
struct page_span {
    uint64_t base, end; /* I: frame numbers, multiples of the largest block; end 0: not there */
    uint64_t first;     /* p: frames have bytes from here on; moves down a largest block at a time */
    uint8_t *frames;    /* I: the array, beginning with the byte of `base`; p: what is in it */
};

struct frame_range {
    uint64_t first, end;
};

static struct {
    struct spinlock lock;
    struct page_span spans[SPAN_COUNT];          /* p */
    struct list free[PAGE_ORDER_MAX + 1];        /* p */
    uint64_t counts[PAGE_ORDER_MAX + 1];         /* p */
    struct frame_range untouched[UNTOUCHED_MAX]; /* p: ascending, none empty */
    uint32_t untouched_count;                    /* p */
    uint64_t total_frames, free_frames;          /* p: free: on a list or untouched */
} page = {.lock = SPINLOCK_INIT("page")};

static inline uint64_t frame_of(const void *pointer)
{
    return direct_to_phys(pointer) >> PAGE_SHIFT;
}

static inline void *frame_pointer(uint64_t frame)
{
    return direct_map(frame << PAGE_SHIFT);
}

/* The byte of `frame`; NULL when it has none (yet). */
static inline uint8_t *frame_byte(uint64_t frame)
{
    for (unsigned i = 0; i < SPAN_COUNT; i++) {
        const struct page_span *span = &page.spans[i];
        if (frame >= read_once(span->first) && frame < span->end)
            return &span->frames[frame - span->base];
    }
    return NULL;
}

#ifdef UMBRA_DEBUG
/* Fills the frames of a block that is being freed, and remembers that. */
static void poison_block(uint64_t frame, unsigned order)
{
    memset(frame_pointer(frame), FREE_BYTE, PAGE_BYTES << order);
    for (uint64_t f = frame; f < frame + BIT(order); f++)
        *frame_byte(f) |= POISONED_MASK;
}

static void check_poison(uint64_t frame)
{
    const uint64_t *words = frame_pointer(frame);
    for (size_t i = sizeof(struct list) / 8; i < PAGE_BYTES / 8; i++)
        assert(words[i] == FREE_BYTE * 0x0101010101010101ull); /* else: written after page_free */
}

static void unpoison_block(uint64_t frame, unsigned order)
{
    for (uint64_t f = frame; f < frame + BIT(order); f++) {
        if (*frame_byte(f) & POISONED_MASK)
            check_poison(f);
        *frame_byte(f) &= (uint8_t)~POISONED_MASK;
    }
    memset(frame_pointer(frame), USED_BYTE, PAGE_BYTES << order);
}
#else
static inline void poison_block(uint64_t frame, unsigned order)
{
    (void)frame, (void)order;
}
static inline void unpoison_block(uint64_t frame, unsigned order)
{
    (void)frame, (void)order;
}
#endif

static inline void set_state(uint64_t frame, enum frame_state state, unsigned order)
{
    uint8_t *byte = frame_byte(frame);
    *byte = (uint8_t)((*byte & POISONED_MASK) | state | order);
}

static inline bool is_free_block(uint64_t frame, unsigned order)
{
    const uint8_t *byte = frame_byte(frame);
    return byte && (*byte & (STATE_MASK | ORDER_MASK)) == (FRAME_FREE | order);
}

static void list_block(uint64_t frame, unsigned order)
{
    assert_spin_locked(&page.lock);
    set_state(frame, FRAME_FREE, order);
    list_push_front(&page.free[order], frame_pointer(frame));
    page.counts[order]++;
}

static void unlist_block(uint64_t frame, unsigned order)
{
    assert(is_free_block(frame, order)); /* P2 */
    list_remove(frame_pointer(frame));
    set_state(frame, FRAME_INNER, 0);
    page.counts[order]--;
}

/* Puts a block of FRAME_INNER frames on a list, merged as far as it goes (P3). */
static void insert_block(uint64_t frame, unsigned order)
{
    assert(is_aligned(frame, BIT(order)));
    for (; order < PAGE_ORDER_MAX && is_free_block(frame ^ BIT(order), order); order++) {
        unlist_block(frame ^ BIT(order), order);
        frame &= ~BIT(order);
    }
    list_block(frame, order);
}

/* ---- Growing ------------------------------------------------------------------------------------------ */

/* The order of the largest block at the lower end of `range`. */
static unsigned first_order(struct frame_range range)
{
    unsigned order = MIN((unsigned)PAGE_ORDER_MAX, (unsigned)__builtin_ctzll(range.first));
    return MIN(order, ilog2(range.end - range.first));
}

static void insert_range(struct frame_range range)
{
    unsigned order;
    for (; range.first < range.end; range.first += BIT(order)) {
        order = first_order(range);
        insert_block(range.first, order);
    }
}

/* Gives the frames from `first` on their bytes. page_block_of reads span->first without the lock: a block
 * that somebody owns is above it before and after. */
static void extend_span(struct page_span *span, uint64_t first)
{
    assert(span->frames && first >= span->base && is_aligned(first, BIT(PAGE_ORDER_MAX)));
    if (first >= span->first)
        return;
    memset(&span->frames[first - span->base], FRAME_RESERVED, span->first - first);
    write_once(span->first, first);
}

/* The uppermost untouched frames, within one block of `order` or at least GROWTH_ORDER: now FRAME_INNER.
 * Empty: there are none. */
static struct frame_range take_untouched(unsigned order)
{
    assert_spin_locked(&page.lock);
    struct frame_range part = {0, 0};
    if (page.untouched_count == 0)
        return part;
    struct frame_range *last = &page.untouched[page.untouched_count - 1];
    uint64_t block = align_down(last->end - 1, BIT(MAX(order, GROWTH_ORDER)));
    part.first = MAX(last->first, block);
    part.end = last->end;
    last->end = part.first;
    if (last->end == last->first)
        page.untouched_count--;
    extend_span(&page.spans[block >= HIGH_FRAME], align_down(block, BIT(PAGE_ORDER_MAX)));
    memset(frame_byte(part.first), FRAME_INNER, part.end - part.first);
    return part;
}

/* ---- Taking the boot memory map --------------------------------------------------------------------- */

/* The whole frames of map entry `i` within [low, high); empty when there are none. */
static struct frame_range usable_range(const struct boot_info *boot, uint32_t i, uint64_t low, uint64_t high)
{
    const struct boot_memory *memory = &boot->memory[i];
    struct frame_range range = {0, 0};
    uint64_t end;
    if (!memory->is_usable || __builtin_add_overflow(memory->start, memory->bytes, &end))
        return range;
    range.first = MAX(low, memory->start / PAGE_BYTES + !is_aligned(memory->start, PAGE_BYTES));
    range.end = MIN(high, end >> PAGE_SHIFT);
    if (range.first >= range.end)
        range.first = range.end = 0;
    return range;
}

/* Where the span's bytes go: at the end of the largest range. Returns the first frame taken, 0 when nothing
 * is large enough. */
static uint64_t place_frame_bytes(const struct boot_info *boot, uint64_t low, uint64_t high, uint64_t frames)
{
    struct frame_range largest = {0, 0};
    for (uint32_t i = 0; i < boot->memory_count; i++) {
        struct frame_range range = usable_range(boot, i, low, high);
        if (range.end - range.first > largest.end - largest.first)
            largest = range;
    }
    return largest.end - largest.first > frames ? largest.end - frames : 0;
}

static void add_range(struct frame_range range)
{
    if (range.first >= range.end)
        return;
    assert(page.untouched_count < UNTOUCHED_MAX);
    assert(page.untouched_count == 0 || page.untouched[page.untouched_count - 1].end <= range.first);
    page.untouched[page.untouched_count++] = range;
    page.total_frames += range.end - range.first;
    page.free_frames += range.end - range.first;
}

/* Adds the usable RAM of [low, high) but for the frames of the span's own bytes. Entries that go back
 * behind an earlier one are cut: no frame is added twice. */
static void add_ranges(const struct boot_info *boot, uint64_t low, uint64_t high, struct frame_range own)
{
    for (uint32_t i = 0; i < boot->memory_count; i++) {
        struct frame_range range = usable_range(boot, i, low, high);
        if (range.end <= low)
            continue;
        range.first = MAX(range.first, low);
        low = range.end;
        if (own.first >= range.first && own.end <= range.end) {
            add_range((struct frame_range){range.first, own.first});
            range.first = own.end;
        }
        add_range(range);
    }
}

/* The end of the span, so that its bytes are worth it: RAM far behind a hole is left out. */
static uint64_t span_end(const struct boot_info *boot, uint64_t low, uint64_t high, uint64_t base)
{
    uint64_t usable = 0, end = 0;
    for (uint32_t i = 0; i < boot->memory_count; i++) {
        struct frame_range range = usable_range(boot, i, low, high);
        if (range.end == range.first)
            continue;
        usable += range.end - range.first;
        if ((range.end - base) / PAGE_BYTES > usable / WASTE_DIVISOR)
            log_warning("page", "%llu MiB of RAM at 0x%llx are behind too large a hole: not used",
                        (unsigned long long)((range.end - range.first) >> (20 - PAGE_SHIFT)),
                        (unsigned long long)(range.first << PAGE_SHIFT));
        else
            end = MAX(end, range.end);
    }
    return end;
}

static void add_span(const struct boot_info *boot, struct page_span *span, uint64_t low, uint64_t high)
{
    uint64_t base = align_down(low, BIT(PAGE_ORDER_MAX)), end = span_end(boot, low, high, base);
    if (end == 0)
        return;
    uint64_t own_frames = div_round_up(align_up(end, BIT(PAGE_ORDER_MAX)) - base, PAGE_BYTES);
    uint64_t own = place_frame_bytes(boot, low, end, own_frames);
    if (own == 0) {
        log_warning("page", "no RAM from 0x%llx on is large enough to be used",
                    (unsigned long long)(low << PAGE_SHIFT));
        return;
    }
    uint64_t top = align_up(end, BIT(PAGE_ORDER_MAX));
    *span = (struct page_span){.base = base, .end = top, .first = top, .frames = frame_pointer(own)};
    add_ranges(boot, low, end, (struct frame_range){own, own + own_frames});
}

void page_init(const struct boot_info *boot)
{
    assert(page.total_frames == 0);
    for (unsigned order = 0; order <= PAGE_ORDER_MAX; order++)
        list_init(&page.free[order]);
    SPIN_SCOPED(&page.lock);
    add_span(boot, &page.spans[0], FIRST_FRAME, HIGH_FRAME);
}

void page_add_high_memory(const struct boot_info *boot)
{
    assert(page.spans[1].end == 0);
    SPIN_SCOPED(&page.lock);
    add_span(boot, &page.spans[1], HIGH_FRAME, UINT64_MAX >> PAGE_SHIFT);
}

/* ---- Blocks ------------------------------------------------------------------------------------------ */

/* The smallest order from `order` on that has a block listed; above PAGE_ORDER_MAX: none has. */
static unsigned listed_order(unsigned order)
{
    while (order <= PAGE_ORDER_MAX && list_is_empty(&page.free[order]))
        order++;
    return order;
}

/* The first block of `from`, but for its upper halves, down to `order`. */
static uint64_t split_block(unsigned from, unsigned order)
{
    uint64_t frame = frame_of(page.free[from].next);
    unlist_block(frame, from);
    while (from > order) {
        from--;
        list_block(frame + BIT(from), from);
    }
    return frame;
}

/* The smallest listed block that does, else untouched RAM: that is not even listed, which would write to it,
 * when it is one block as wanted. 0: none. */
static uint64_t find_block(unsigned order)
{
    unsigned from;
    while ((from = listed_order(order)) > PAGE_ORDER_MAX) {
        struct frame_range part = take_untouched(order);
        if (part.end == 0)
            return 0;
        if (part.end - part.first == BIT(order) && is_aligned(part.first, BIT(order)))
            return part.first;
        insert_range(part);
    }
    return split_block(from, order);
}

static uint64_t take_block(unsigned order)
{
    uint64_t frame = find_block(order);
    if (!frame)
        return 0;
    page.free_frames -= BIT(order);
    set_state(frame, FRAME_USED, order);
    return frame;
}

void *page_alloc(unsigned order)
{
    uint64_t frame;
    if (order > PAGE_ORDER_MAX)
        return NULL;
    spin_lock(&page.lock);
    frame = take_block(order);
    if (frame)
        unpoison_block(frame, order);
    spin_unlock(&page.lock);
    return frame ? frame_pointer(frame) : NULL;
}

void *page_alloc_zeroed(unsigned order)
{
    void *block = page_alloc(order);
    return block ? memset(block, 0, PAGE_BYTES << order) : NULL;
}

void page_free(void *block, unsigned order)
{
    uint64_t frame = frame_of(block);
    SPIN_SCOPED(&page.lock);
    const uint8_t *byte = frame_byte(frame);
    assert(is_aligned((uintptr_t)block, PAGE_BYTES) && byte);
    assert((*byte & (STATE_MASK | ORDER_MASK)) ==
           (FRAME_USED | order)); /* else: freed twice, or wrong order */
    set_state(frame, FRAME_INNER, 0);
    poison_block(frame, order);
    insert_block(frame, order);
    page.free_frames += BIT(order);
}

unsigned page_order_for(size_t bytes)
{
    return bytes <= PAGE_BYTES ? 0 : ilog2(bytes - 1) - PAGE_SHIFT + 1;
}

void page_mark_slab(void *block, unsigned order, bool is_slab)
{
    uint64_t frame = frame_of(block);
    SPIN_SCOPED(&page.lock);
    assert((*frame_byte(frame) & STATE_MASK) == (is_slab ? FRAME_USED : FRAME_SLAB));
    assert((*frame_byte(frame) & ORDER_MASK) == order);
    for (uint64_t f = frame; f < frame + BIT(order); f++)
        set_state(f, is_slab ? FRAME_SLAB : FRAME_INNER, is_slab ? order : 0);
    if (!is_slab)
        set_state(frame, FRAME_USED, order);
}

/* Without the lock: the bytes of a block that somebody owns do not change under him. */
struct page_block page_block_of(const void *pointer)
{
    const uint8_t *byte = frame_byte(frame_of(pointer));
    assert(byte != NULL);
    unsigned order = *byte & ORDER_MASK;
    bool is_slab = (*byte & STATE_MASK) == FRAME_SLAB;
    assert(is_slab || ((*byte & STATE_MASK) == FRAME_USED && is_aligned((uintptr_t)pointer, PAGE_BYTES)));
    return (struct page_block){.start = (void *)align_down((uintptr_t)pointer, PAGE_BYTES << order),
                               .order = order,
                               .is_slab = is_slab};
}

/* As the blocks that insert_range makes of it. */
static void count_blocks(struct frame_range range, uint64_t counts[PAGE_ORDER_MAX + 1])
{
    while (range.first < range.end) {
        unsigned order = first_order(range);
        uint64_t blocks = order < PAGE_ORDER_MAX ? 1 : (range.end - range.first) >> PAGE_ORDER_MAX;
        counts[order] += blocks;
        range.first += blocks << order;
    }
}

void page_stats(struct page_stats *stats)
{
    SPIN_SCOPED(&page.lock);
    stats->total_bytes = page.total_frames * PAGE_BYTES;
    stats->free_bytes = page.free_frames * PAGE_BYTES;
    memcpy(stats->free_blocks, page.counts, sizeof(page.counts));
    for (uint32_t i = 0; i < page.untouched_count; i++)
        count_blocks(page.untouched[i], stats->free_blocks);
}
