/* SPDX-License-Identifier: MIT */
/* The address space, in the running kernel: protections read back from the tables that the CPU uses. */
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <kernel/base/bits.h>
#include <kernel/page.h>
#include <kernel/test.h>

extern char kernel_text_start[], kernel_text_end[], kernel_rodata_start[], kernel_rodata_end[]; /* link.ld */
extern char kernel_data_start[], kernel_data_end[], boot_stack_guard[];

#define STACK_BYTES (4 * PAGE_BYTES)

/* Pages in [start, end) that are not mapped with just `flags`. */
static unsigned pages_not(const char *start, const char *end, unsigned flags)
{
    unsigned wrong = 0, actual;
    phys_addr_t address;
    for (const char *page = start; page < end; page += PAGE_BYTES)
        wrong += !mmu_query(page, &address, &actual) || actual != flags;
    return wrong;
}

static const char *in_direct_map(const char *image)
{
    return direct_map((uintptr_t)image - KERNEL_BASE);
}

KTEST(mmu_image_is_write_xor_execute, KTEST_FAST)
{
    ktest_expect_equal(pages_not(kernel_text_start, kernel_text_end, MMU_EXECUTE), 0);
    ktest_expect_equal(pages_not(kernel_rodata_start, kernel_rodata_end, 0), 0);
    /* All but the guard page of the boot stack. */
    ktest_expect_equal(pages_not(kernel_data_start, kernel_data_end, MMU_WRITE), 1);
    ktest_expect(mmu_is_guard_page((uintptr_t)boot_stack_guard));
}

KTEST(mmu_direct_map_cannot_change_text, KTEST_FAST)
{
    const char *start = in_direct_map(kernel_text_start), *end = in_direct_map(kernel_rodata_end);
    ktest_expect_equal(pages_not(start, end, 0), 0);
}

KTEST(mmu_lower_half_is_empty, KTEST_FAST)
{
    static const uint64_t low[] = {0, 8, 0x8000, MIB(1), GIB(1), GIB(4), 0x00007ffffffff000};
    phys_addr_t address;
    for (unsigned i = 0; i < ARRAY_SIZE(low); i++)
        ktest_expect(!mmu_translate((void *)low[i], &address));
    ktest_expect(!mmu_translate((void *)0x0000800000000000, &address)); /* not canonical */
    ktest_expect(!mmu_translate((void *)0xffff7fffffffffff, &address));
}

KTEST(mmu_direct_map_translates, KTEST_FAST)
{
    char *page = page_alloc(0);
    phys_addr_t address = 0;
    unsigned flags = 0;
    ktest_expect(page != NULL);
    if (!page)
        return;
    ktest_expect(mmu_query(page + 5, &address, &flags));
    ktest_expect_equal(address, direct_to_phys(page) + 5);
    ktest_expect_equal(flags, MMU_WRITE);
    ktest_expect(direct_map(direct_to_phys(page)) == page);
    ktest_expect(is_direct_map(page, PAGE_BYTES));
    ktest_expect(!is_direct_map(kernel_data_start, 1));
    ktest_expect(!is_direct_map(page, ~0ull));
    page_free(page, 0);
}

KTEST(mmu_stack_has_a_guard, KTEST_FAST)
{
    char *stack = mmu_stack_alloc(STACK_BYTES);
    phys_addr_t address;
    ktest_expect(stack != NULL);
    if (!stack)
        return;
    ktest_expect_equal(pages_not(stack, stack + STACK_BYTES, MMU_WRITE), 0);
    ktest_expect(!mmu_translate(stack - 1, &address));
    ktest_expect(mmu_is_guard_page((uintptr_t)stack - 1));
    ktest_expect(mmu_is_guard_page((uintptr_t)stack - PAGE_BYTES));
    ktest_expect(!mmu_is_guard_page((uintptr_t)stack));
    ktest_expect(!is_direct_map(stack, 1));
    stack[0] = stack[STACK_BYTES - 1] = 1;
    mmu_stack_free(stack, STACK_BYTES);
    /* A freed one is used again. */
    char *again = mmu_stack_alloc(STACK_BYTES);
    ktest_expect(again != NULL);
    if (again)
        mmu_stack_free(again, STACK_BYTES);
}

KTEST(mmu_stacks_do_not_overlap, KTEST_FAST)
{
    enum { COUNT = 8 };
    uint64_t *stacks[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        stacks[i] = mmu_stack_alloc((1 + i % 3) * PAGE_BYTES);
        ktest_expect(stacks[i] != NULL);
        if (stacks[i])
            stacks[i][0] = i;
    }
    for (unsigned i = 0; i < COUNT; i++) {
        if (!stacks[i])
            continue;
        ktest_expect_equal(stacks[i][0], i);
        mmu_stack_free(stacks[i], (1 + i % 3) * PAGE_BYTES);
    }
}

/* A page of RAM stands in for a device's registers: what is written there shows in the direct map. */
KTEST(mmu_device_map_round_trip, KTEST_FAST)
{
    volatile char *ram = page_alloc_zeroed(0), *mapped;
    phys_addr_t address = 0;
    unsigned flags = 0;
    ktest_expect(ram != NULL);
    if (!ram)
        return;
    mapped = mmu_map_device(direct_to_phys((void *)ram) + 0x123, 8);
    ktest_expect(mapped != NULL);
    if (mapped) {
        mapped[1] = 77;
        ktest_expect_equal(ram[0x124], 77);
        ktest_expect(mmu_query((void *)mapped, &address, &flags));
        ktest_expect_equal(address, direct_to_phys((void *)ram) + 0x123);
        ktest_expect_equal(flags, MMU_WRITE | MMU_UNCACHED);
        mmu_unmap_device(mapped, 8);
        ktest_expect(!mmu_translate((void *)mapped, &address));
    }
    page_free((void *)ram, 0);
}

KTEST(mmu_large_device_map, KTEST_FAST)
{
    /* Not aligned, so that small and large pages mix; never touched, so what is there does not matter. */
    const phys_addr_t base = GIB(3) + MIB(1) + 0x800;
    const size_t bytes = MIB(9);
    volatile char *mapped = mmu_map_device(base, bytes);
    phys_addr_t address;
    ktest_expect(mapped != NULL);
    if (!mapped)
        return;
    for (size_t at = 0; at < bytes; at += PAGE_BYTES)
        ktest_expect(mmu_translate((void *)(mapped + at), &address) && address == base + at);
    mmu_unmap_device(mapped, bytes);
    for (size_t at = 0; at < bytes; at += PAGE_BYTES)
        ktest_expect(!mmu_translate((void *)(mapped + at), &address));
}

KTEST(mmu_refuses_impossible_addresses, KTEST_FAST)
{
    ktest_expect(mmu_map_device(BIT(52), PAGE_BYTES) == NULL);
    ktest_expect(mmu_map_device(UINT64_MAX - 1, 4) == NULL);
    ktest_expect(mmu_map_device(PAGE_BYTES, 0) == NULL);
    ktest_expect(mmu_map_firmware(UINT64_MAX, 1) == NULL);
}

KTEST(mmu_firmware_map_is_read_only_outside_ram, KTEST_FAST)
{
    const char *bios = mmu_map_firmware(0xfffff, 1); /* the last byte below 1 MiB: always ROM */
    phys_addr_t address = 0;
    unsigned flags = MMU_WRITE;
    ktest_expect(bios != NULL && mmu_query(bios, &address, &flags));
    ktest_expect_equal(address, 0xfffff);
    ktest_expect_equal(flags, 0);
    ktest_expect(mmu_map_firmware(0x40e, 2) == direct_map(0x40e));
}

/* What another CPU lives on between the trampoline and mmu_init_cpu, tried on this one. */
KTEST(mmu_trampoline_root_starts_a_cpu, KTEST_FAST)
{
    phys_addr_t root = mmu_trampoline_root(), low = 0, text = 0, ignored;
    unsigned low_flags = 0, text_flags = 0;
    ktest_expect(root < GIB(4) && is_aligned(root, PAGE_BYTES));
    uint64_t interrupts = interrupts_save();
    __asm__ volatile("movq %0, %%cr3" : : "r"(root) : "memory");
    bool has_low = mmu_query((void *)0x8000, &low, &low_flags);
    bool has_text = mmu_query(kernel_text_start, &text, &text_flags);
    bool has_rest = mmu_translate((void *)MIB(2), &ignored);
    mmu_init_cpu();
    interrupts_restore(interrupts);
    ktest_expect(has_low && low == 0x8000 && low_flags & MMU_EXECUTE);
    ktest_expect(has_text && text == (uintptr_t)kernel_text_start - KERNEL_BASE && text_flags == MMU_EXECUTE);
    ktest_expect(!has_rest);
    ktest_expect(!mmu_translate((void *)0x8000, &ignored));
}
