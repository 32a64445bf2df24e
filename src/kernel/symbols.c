/* SPDX-License-Identifier: MIT */
/* Looks up addresses in the table that tools/symtab.awk made: text symbols in ascending order, each as the
 * lower half of its address (the upper half is KERNEL_BASE's) and the offset of its name. The first link
 * has an empty table. */
#include <arch/mmu.h>
#include <kernel/base/assert.h>
#include <kernel/printf.h>
#include <kernel/symbols.h>

extern const uint32_t symbol_count;
extern const uint32_t symbol_end; /* lower half of where the last one ends */
extern const uint32_t symbol_addresses[];
extern const uint32_t symbol_name_offsets[];
extern const char symbol_names[];

#define UPPER_HALF (KERNEL_BASE & ~0xffffffffull)

const char *symbol_lookup(uint64_t address, uint64_t *offset_bytes)
{
    uint32_t count = read_once(symbol_count), low = 0, high = count;
    if (count == 0 || (address & ~0xffffffffull) != UPPER_HALF || (uint32_t)address < symbol_addresses[0] ||
        (uint32_t)address >= symbol_end)
        return NULL;
    while (high - low > 1) { /* symbol_addresses[low] <= address < symbol_addresses[high] */
        uint32_t middle = low + (high - low) / 2;
        if (symbol_addresses[middle] <= (uint32_t)address)
            low = middle;
        else
            high = middle;
    }
    assert(low < count);
    *offset_bytes = (uint32_t)address - symbol_addresses[low];
    return symbol_names + symbol_name_offsets[low];
}

const char *symbol_format(uint64_t address, char *to, size_t bytes)
{
    uint64_t offset;
    const char *name = symbol_lookup(address, &offset);
    if (name)
        snprintf(to, bytes, "%s+0x%llx", name, (unsigned long long)offset);
    else
        snprintf(to, bytes, "0x%llx", (unsigned long long)address);
    return to;
}
