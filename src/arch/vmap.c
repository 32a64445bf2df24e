/* SPDX-License-Identifier: MIT */
/* The window at VMAP_BASE, under one top-level entry: stacks in its lower part, device registers and
 * firmware tables above.
 *
 *     VMAP_BASE            | guard | stack ... | guard | stack ... | never used ...
 *     VMAP_BASE + 64 GiB   | mapping ... | free page | mapping ... |
 *
 * A freed stack stays mapped and waits for the next thread that wants its size: no TLB has to be flushed on
 * other CPUs when a thread ends, and a system has as many frames in stacks as it once had threads. A device
 * mapping is flushed everywhere before its addresses are used again.
 *
 * Lock: `m`, mmu_lock, for all below. mmu_unmap_device waits for the other CPUs without it. */
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>

#include "mmu_internal.h"

#define STACKS_END   (VMAP_BASE + GIB(64))
#define DEVICES_BASE STACKS_END
#define DEVICES_END  (VMAP_BASE + GIB(512))
#define LARGE_BYTES  MIB(2)

struct free_stack { /* in the lowest bytes of the stack itself */
    struct free_stack *next;
    size_t bytes;
};
static struct free_stack *free_stacks;   /* m */
static uint64_t stacks_next = VMAP_BASE; /* m: where the next new guard page goes */

/* Free addresses for devices: [start, end) each, in no order; an empty one is unused. What does not fit in
 * when a mapping is freed is lost: addresses only, and there are 448 GiB of them. */
struct hole {
    uint64_t start, end;
};
static struct hole holes[64] = {{DEVICES_BASE, DEVICES_END}}; /* m */

/* ---- Stacks ------------------------------------------------------------------------------------------- */

static void *take_free_stack_locked(size_t bytes)
{
    for (struct free_stack **link = &free_stacks; *link; link = &(*link)->next) {
        struct free_stack *stack = *link;
        if (stack->bytes == bytes) {
            *link = stack->next;
            return stack;
        }
    }
    return NULL;
}

/* Unmaps and frees the frames in [stack, end). */
static void drop_frames_locked(uint64_t stack, uint64_t end)
{
    for (uint64_t page = stack; page < end; page += PAGE_BYTES) {
        phys_addr_t address;
        bool is_mapped = mmu_translate((void *)page, &address);
        assert(is_mapped);
        mmu_unmap_locked(page, PAGE_BYTES);
        kernel_page_free(direct_map(address));
    }
}

static void *make_stack_locked(size_t bytes)
{
    uint64_t stack = stacks_next + PAGE_BYTES;
    if (bytes > STACKS_END - stack)
        return NULL;
    for (uint64_t page = stack; page < stack + bytes; page += PAGE_BYTES) {
        void *frame = kernel_page_alloc();
        if (frame && mmu_map_locked(page, direct_to_phys(frame), PAGE_BYTES, PTE_WRITE | PTE_NO_EXECUTE))
            continue;
        if (frame)
            kernel_page_free(frame);
        drop_frames_locked(stack, page); /* nobody has seen these addresses: no other CPU to flush */
        return NULL;
    }
    stacks_next = stack + bytes;
    return (void *)stack;
}

void *mmu_stack_alloc(size_t bytes)
{
    assert(bytes > 0 && is_aligned(bytes, PAGE_BYTES));
    uint64_t flags = arch_lock_irq(&mmu_lock);
    void *stack = take_free_stack_locked(bytes);
    if (!stack)
        stack = make_stack_locked(bytes);
    arch_unlock_irq(&mmu_lock, flags);
    return stack;
}

void mmu_stack_free(void *stack, size_t bytes)
{
    uint64_t at = (uintptr_t)stack;
    struct free_stack *entry = stack;
    assert(is_aligned(at | bytes, PAGE_BYTES) && at > VMAP_BASE && bytes > 0 && at + bytes <= STACKS_END);
    assert(mmu_is_guard_page(at - 1));
    uint64_t flags = arch_lock_irq(&mmu_lock);
    *entry = (struct free_stack){free_stacks, bytes};
    free_stacks = entry;
    arch_unlock_irq(&mmu_lock, flags);
}

/* A page that is not mapped, below one that is, among the stacks: no list of them to keep. */
bool mmu_is_guard_page(uint64_t address)
{
    uint64_t page = align_down(address, PAGE_BYTES);
    phys_addr_t ignored;
    if (page == (uintptr_t)boot_stack_guard)
        return true;
    return page >= VMAP_BASE && page < STACKS_END && !mmu_translate((void *)page, &ignored) &&
           mmu_translate((void *)(page + PAGE_BYTES), &ignored);
}

/* ---- Devices and firmware ------------------------------------------------------------------------------ */

static void add_hole_locked(struct hole hole)
{
    struct hole *unused = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(holes); i++) {
        struct hole *other = &holes[i];
        bool touches = other->end == hole.start || hole.end == other->start;
        if (other->start != other->end && touches) {
            hole.start = MIN(hole.start, other->start);
            hole.end = MAX(hole.end, other->end);
            *other = (struct hole){0, 0};
        }
        if (other->start == other->end)
            unused = other;
    }
    if (unused && hole.start != hole.end)
        *unused = hole;
}

/* `bytes` of addresses and a free page behind them; congruent to `address` by 2 MiB if that is worth large
 * pages. 0: no room. */
static uint64_t take_addresses_locked(phys_addr_t address, uint64_t bytes)
{
    uint64_t step = bytes >= LARGE_BYTES ? LARGE_BYTES : PAGE_BYTES;
    for (unsigned i = 0; i < ARRAY_SIZE(holes); i++) {
        struct hole hole = holes[i];
        uint64_t start = hole.start + ((address - hole.start) & (step - 1));
        uint64_t end = start + bytes + PAGE_BYTES;
        if (hole.start == hole.end || start > hole.end || hole.end - start < bytes + PAGE_BYTES)
            continue;
        holes[i] = (struct hole){end, hole.end};
        if (start > hole.start)
            add_hole_locked((struct hole){hole.start, start});
        return start;
    }
    return 0;
}

static void *map_window(phys_addr_t address, size_t bytes, uint64_t bits)
{
    phys_addr_t first = align_down(address, PAGE_BYTES);
    if (!mmu_is_physical(address, bytes))
        return NULL;
    uint64_t whole = align_up(address + bytes, PAGE_BYTES) - first;
    uint64_t flags = arch_lock_irq(&mmu_lock);
    uint64_t start = take_addresses_locked(first, whole);
    if (start != 0 && !mmu_map_locked(start, first, whole, bits | PTE_NO_EXECUTE)) {
        mmu_unmap_locked(start, whole); /* as with stacks: nobody has used them */
        add_hole_locked((struct hole){start, start + whole + PAGE_BYTES});
        start = 0;
    }
    arch_unlock_irq(&mmu_lock, flags);
    return start != 0 ? (void *)(start + (address - first)) : NULL;
}

volatile void *mmu_map_device(phys_addr_t address, size_t bytes)
{
    return map_window(address, bytes, PTE_WRITE | PTE_UNCACHED);
}

volatile void *mmu_map_framebuffer(phys_addr_t address, size_t bytes)
{
    return map_window(address, bytes, PTE_WRITE | PTE_WRITE_COMBINING);
}

static bool is_all_mapped(const uint8_t *pointer, size_t bytes)
{
    phys_addr_t ignored;
    uint64_t page = align_down((uintptr_t)pointer, PAGE_BYTES);
    for (; page < (uintptr_t)pointer + bytes; page += PAGE_BYTES)
        if (!mmu_translate((void *)page, &ignored))
            return false;
    return true;
}

const void *mmu_map_firmware(phys_addr_t address, size_t bytes)
{
    if (!mmu_is_physical(address, bytes))
        return NULL;
    const uint8_t *direct = direct_map(address);
    if (is_direct_map(direct, bytes) && is_all_mapped(direct, bytes))
        return direct;
    return map_window(address, bytes, 0);
}

uint64_t mmu_device_bytes(void)
{
    uint64_t free = 0, flags = arch_lock_irq(&mmu_lock);
    for (unsigned i = 0; i < ARRAY_SIZE(holes); i++)
        free += holes[i].end - holes[i].start;
    arch_unlock_irq(&mmu_lock, flags);
    return DEVICES_END - DEVICES_BASE - free;
}

void mmu_unmap_device(volatile void *pointer, size_t bytes)
{
    uint64_t start = align_down((uintptr_t)pointer, PAGE_BYTES);
    uint64_t whole = align_up((uintptr_t)pointer + bytes, PAGE_BYTES) - start;
    assert(start >= DEVICES_BASE && start + whole < DEVICES_END && bytes > 0);
    uint64_t flags = arch_lock_irq(&mmu_lock);
    mmu_unmap_locked(start, whole);
    arch_unlock_irq(&mmu_lock, flags);
    if (cpu_count() > 1)
        smp_flush_tlb_others();
    flags = arch_lock_irq(&mmu_lock);
    add_hole_locked((struct hole){start, start + whole + PAGE_BYTES});
    arch_unlock_irq(&mmu_lock, flags);
}
