/* SPDX-License-Identifier: MIT */
/* Page tables: four levels (SDM 3A, 4.5), one root for all CPUs, made by mmu_init from the boot memory map.
 * What lies in the VMAP window is vmap.c's.
 *
 * The top-level entries of the kernel half are all there when mmu_init is done and never change: other
 * roots (the trampoline's now, a user program's later) copy them once. Tables are never freed, so that a
 * walk needs no lock.
 *
 * X1  no page is both writable and executable
 * X2  text and read-only data are not writable through the direct map either
 * X3  device registers are never in the direct map: it has RAM only
 *
 * Lock: `m`, mmu_lock: all tables below the root. mmu_init and mmu_init_cpu run before or beside it. */
#include <arch/boot_info.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>

#include "mmu_internal.h"

#define MSR_PAT 0x277u
/* The reset value, with entry 1 write-combining instead of write-through (SDM 3A, 11.12). */
#define PAT_VALUE           0x0007040600070106ull
#define CPUID_EXT_EDX_1_GIB BIT(26)
#define LEGACY_RAM_END      0xa0000ull

extern char kernel_text_start[], kernel_text_end[], kernel_rodata_start[], kernel_rodata_end[]; /* link.ld */
extern char kernel_data_start[], kernel_data_end[];
extern uint64_t boot_root[512], boot_low_pointers[512], boot_directories[512]; /* boot.S */

uint64_t mmu_direct_bytes = GIB(4); /* what boot.S maps; mmu_init sets the final value */

static uint64_t *kernel_root;       /* I: after mmu_init */
static unsigned largest_level = 2;  /* I: 3 where the CPU has 1 GiB pages */
static unsigned physical_bits = 36; /* I */
struct arch_lock mmu_lock;

bool mmu_is_physical(phys_addr_t address, uint64_t bytes)
{
    return bytes > 0 && address < BIT(physical_bits) && bytes <= BIT(physical_bits) - address;
}

static uint64_t *table_of(uint64_t entry)
{
    return direct_map(entry & PTE_ADDRESS);
}

static uint64_t *entry_of(uint64_t *table, uint64_t virt, unsigned level)
{
    return &table[virt >> (PAGE_SHIFT + 9 * (level - 1)) & 511];
}

static bool is_leaf(uint64_t entry, unsigned level)
{
    return level == 1 || (entry & PTE_LARGE);
}

static void write_entry(uint64_t *entry, uint64_t value)
{
    /* One store: other CPUs walk the tables at any time. */
    __atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* The table below `entry`, made if need be; NULL without memory. */
static uint64_t *next_table(uint64_t *entry)
{
    if (!(*entry & PTE_PRESENT)) {
        void *table = kernel_page_alloc();
        if (!table)
            return NULL;
        write_entry(entry, direct_to_phys(table) | PTE_PRESENT | PTE_WRITE);
    }
    assert(!(*entry & PTE_LARGE));
    return table_of(*entry);
}

/* Maps pages of `span` bytes by `entry` and those behind it in its table: up to its end, an entry that is
 * taken, or less than a page. How many bytes. */
static uint64_t map_entries(uint64_t *entry, uint64_t span, phys_addr_t address, uint64_t bytes,
                            uint64_t bits)
{
    uint64_t done = 0;
    do {
        write_entry(entry++, (address + done) | bits | PTE_PRESENT);
        done += span;
    } while (bytes - done >= span && !is_aligned((uintptr_t)entry, PAGE_BYTES) && !(*entry & PTE_PRESENT));
    return done;
}

/* Maps pages of one size, the largest that fits, as far as one table reaches; how many bytes, or 0 without
 * memory for a table. */
static uint64_t map_some(uint64_t virt, phys_addr_t address, uint64_t bytes, uint64_t bits)
{
    uint64_t *table = kernel_root;
    for (unsigned level = MMU_ROOT_LEVEL; table; level--) {
        uint64_t *entry = entry_of(table, virt, level), span = mmu_level_bytes(level);
        bool fits = level <= largest_level && bytes >= span && is_aligned(virt | address, span);
        if (level == 1 || (fits && !(*entry & PTE_PRESENT))) {
            assert(!(*entry & PTE_PRESENT));
            return map_entries(entry, span, address, bytes, bits | (level > 1 ? PTE_LARGE : 0));
        }
        table = next_table(entry);
    }
    return 0;
}

bool mmu_map_locked(uint64_t virt, phys_addr_t address, uint64_t bytes, uint64_t bits)
{
    assert(is_aligned(virt | address | bytes, PAGE_BYTES) && mmu_is_physical(address, bytes));
    assert(!(bits & PTE_WRITE) || (bits & PTE_NO_EXECUTE)); /* X1 */
    while (bytes > 0) {
        uint64_t mapped = map_some(virt, address, bytes, bits);
        if (mapped == 0)
            return false;
        virt += mapped;
        address += mapped;
        bytes -= mapped;
    }
    return true;
}

/* The entry that maps `virt`, or the first absent one on the way; its level. */
static uint64_t *find_entry(uint64_t *root, uint64_t virt, unsigned *level)
{
    uint64_t *table = root;
    for (*level = MMU_ROOT_LEVEL;; (*level)--) {
        uint64_t *entry = entry_of(table, virt, *level);
        if (!(*entry & PTE_PRESENT) || is_leaf(*entry, *level))
            return entry;
        table = table_of(*entry);
    }
}

void mmu_unmap_locked(uint64_t virt, uint64_t bytes)
{
    assert(is_aligned(virt | bytes, PAGE_BYTES) && virt >= VMAP_BASE);
    for (uint64_t end = virt + bytes; virt < end;) {
        unsigned level;
        uint64_t *entry = find_entry(kernel_root, virt, &level);
        write_entry(entry, 0);
        mmu_flush_page(virt);
        virt = align_down(virt, mmu_level_bytes(level)) + mmu_level_bytes(level);
    }
}

static uint64_t read_root(void)
{
    uint64_t value;
    __asm__ volatile("movq %%cr3, %0" : "=r"(value));
    return value;
}

static void load_root(phys_addr_t root)
{
    __asm__ volatile("movq %0, %%cr3" : : "r"(root) : "memory");
}

/* The upper 17 bits are all equal. */
static bool is_canonical(uint64_t virt)
{
    uint64_t top = virt >> 47;
    return top == 0 || top == UINT64_MAX >> 47;
}

bool mmu_query(const void *pointer, phys_addr_t *address, unsigned *flags)
{
    uint64_t virt = (uintptr_t)pointer;
    unsigned level;
    if (!is_canonical(virt))
        return false;
    /* Every root has the same kernel half: so any CPU may ask, also before mmu_init. */
    uint64_t entry = *find_entry(table_of(read_root()), virt, &level);
    if (!(entry & PTE_PRESENT))
        return false;
    /* No table of ours restricts what is below it: the leaf decides. (A large leaf's bit 12, PAT, is 0.) */
    *address = (entry & PTE_ADDRESS) + (virt & (mmu_level_bytes(level) - 1));
    *flags = (entry & PTE_WRITE ? MMU_WRITE : 0) | (entry & PTE_NO_EXECUTE ? 0 : MMU_EXECUTE) |
             ((entry & PTE_UNCACHED) == PTE_UNCACHED ? MMU_UNCACHED : 0);
    return true;
}

bool mmu_translate(const void *pointer, phys_addr_t *address)
{
    unsigned flags;
    return mmu_query(pointer, address, &flags);
}

/* ---- mmu_init: nothing below runs without memory for the tables, so the lack of it ends the boot ------ */

static void map_or_die(uint64_t virt, phys_addr_t start, phys_addr_t end, uint64_t bits)
{
    bool is_mapped = start >= end || mmu_map_locked(virt, start, end - start, bits);
    assert(is_mapped);
}

static phys_addr_t image_to_phys(const void *pointer)
{
    assert((uintptr_t)pointer >= KERNEL_BASE);
    return (uintptr_t)pointer - KERNEL_BASE;
}

static void map_direct(phys_addr_t start, phys_addr_t end, uint64_t bits)
{
    map_or_die(DIRECT_BASE + start, start, end, bits | PTE_NO_EXECUTE);
}

/* One run of RAM, the kernel's read-only part read-only here too (X2). */
static void map_run(phys_addr_t start, phys_addr_t end)
{
    phys_addr_t low = image_to_phys(kernel_text_start), high = image_to_phys(kernel_rodata_end);
    phys_addr_t image_start = MIN(MAX(start, low), end), image_end = MAX(MIN(end, high), image_start);
    map_direct(start, image_start, PTE_WRITE);
    map_direct(image_start, image_end, 0);
    map_direct(image_end, end, PTE_WRITE);
}

/* All RAM, also what is taken: ACPI tables, boot data, this kernel. Touching entries make one run, so that
 * a boundary between them costs no large page. */
static void map_ram(const struct boot_info *boot)
{
    phys_addr_t start = 0, end = LEGACY_RAM_END; /* the trampoline's page may be called reserved */
    for (uint32_t i = 0; i < boot->memory_count; i++) {
        const struct boot_memory *memory = &boot->memory[i];
        phys_addr_t from = align_down(memory->start, PAGE_BYTES);
        phys_addr_t to = align_up(memory->start + memory->bytes, PAGE_BYTES);
        if (!memory->is_ram || to <= end)
            continue;
        if (from > end) {
            map_run(start, end);
            start = from;
        }
        end = to;
    }
    map_run(start, end);
    mmu_direct_bytes = end;
}

static void map_image_part(const char *start, const char *end, uint64_t bits)
{
    assert(is_aligned((uintptr_t)start | (uintptr_t)end, PAGE_BYTES));
    map_or_die((uintptr_t)start, image_to_phys(start), image_to_phys(end), bits);
}

static void map_image(void)
{
    map_image_part(kernel_text_start, kernel_text_end, 0);
    map_image_part(kernel_rodata_start, kernel_rodata_end, PTE_NO_EXECUTE);
    map_image_part(kernel_data_start, boot_stack_guard, PTE_WRITE | PTE_NO_EXECUTE);
    map_image_part(boot_stack_guard + PAGE_BYTES, kernel_data_end, PTE_WRITE | PTE_NO_EXECUTE);
}

/* Makes boot.S's root the one with which other CPUs start: the kernel half as it is now, and below it only
 * the first 2 MiB. The page that holds the trampoline must run while paging is being turned on: the one
 * exception to X1, and on no CPU's root once it has called mmu_init_cpu. */
static void make_trampoline_root(void)
{
    for (unsigned i = 256; i < 512; i++)
        boot_root[i] = kernel_root[i];
    for (unsigned i = 1; i < 512; i++) {
        boot_low_pointers[i] = 0;
        boot_directories[i] = 0;
    }
}

phys_addr_t mmu_trampoline_root(void)
{
    return image_to_phys(boot_root);
}

static void find_features(void)
{
    uint32_t leaves = cpu_cpuid(0x80000000, 0).eax;
    if (cpu_cpuid(0x80000001, 0).edx & CPUID_EXT_EDX_1_GIB)
        largest_level = 3;
    if (leaves >= 0x80000008)
        physical_bits = MIN(cpu_cpuid(0x80000008, 0).eax & 0xff, 52u);
}

void mmu_init_cpu(void)
{
    cpu_write_msr(MSR_PAT, PAT_VALUE);
    load_root(direct_to_phys(kernel_root)); /* also forgets what was cached with the old PAT */
}

void mmu_init(void)
{
    assert(kernel_root == NULL);
    find_features();
    kernel_root = kernel_page_alloc();
    assert(kernel_root != NULL);
    map_ram(&boot_info);
    map_image();
    uint64_t *window = next_table(entry_of(kernel_root, VMAP_BASE, MMU_ROOT_LEVEL));
    assert(window != NULL);
    mmu_init_cpu();
    make_trampoline_root();
}

void mmu_flush_interrupt(void)
{
    load_root(read_root()); /* no page is global: this forgets all */
}
