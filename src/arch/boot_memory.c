/* SPDX-License-Identifier: MIT */
/* The boot memory map: from the raw entries of firmware and boot loader, which may be unsorted, overlap,
 * overflow, and be more than there is room for, to boot_info.memory.
 *
 * M1  entries ascend, do not overlap, are not empty, and equal neighbours that touch are merged
 * M2  what any raw entry called not usable is not usable, also when the table is full: then memory gets
 *     lost, never invented
 *
 * Called by multiboot2.c and pvh.c while one CPU runs; no locks. */
#include <arch/boot_memory.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>

/* ACPI 6.4, table 15.8; all other types are neither usable nor known to be RAM. */
enum memory_type { MEMORY_USABLE = 1, MEMORY_ACPI_TABLES = 3, MEMORY_ACPI_NVS = 4 };

#define FIRST_MIB MIB(1)
/* A machine without a memory map gets this much: what any that runs this kernel has. */
#define ASSUMED_END MIB(32)

static uint64_t entry_end(const struct boot_memory *entry)
{
    return entry->start + entry->bytes;
}

static void remove_entry(struct boot_info *info, uint32_t at)
{
    assert(at < info->memory_count);
    info->memory_count--;
    for (uint32_t i = at; i < info->memory_count; i++)
        info->memory[i] = info->memory[i + 1];
}

/* False, with a warning, when the table is full. */
static bool insert_entry(struct boot_info *info, uint32_t at, struct boot_memory entry)
{
    assert(at <= info->memory_count && entry.bytes > 0);
    if (info->memory_count == BOOT_MEMORY_MAX) {
        boot_warn(info, "memory map: more than ", BOOT_MEMORY_MAX, " ranges, some memory is left out");
        return false;
    }
    for (uint32_t i = info->memory_count; i > at; i--)
        info->memory[i] = info->memory[i - 1];
    info->memory[at] = entry;
    info->memory_count++;
    return true;
}

/* Keeps of entry `at`, which holds [start, end) in its middle, both sides; the larger one if only one fits.
 */
static void split_entry(struct boot_info *info, uint32_t at, uint64_t start, uint64_t end)
{
    struct boot_memory left = info->memory[at], right = left;
    left.bytes = start - left.start;
    right.bytes = entry_end(&right) - end;
    right.start = end;
    assert(left.bytes > 0 && right.bytes > 0);
    if (insert_entry(info, at + 1, right) || left.bytes >= right.bytes)
        info->memory[at] = left;
    else
        info->memory[at] = right;
}

/* Takes [start, end) out of the table. */
static void cut_range(struct boot_info *info, uint64_t start, uint64_t end)
{
    for (uint32_t i = info->memory_count; i-- > 0;) {
        struct boot_memory *entry = &info->memory[i];
        if (entry->start >= end || entry_end(entry) <= start)
            continue;
        if (entry->start < start && entry_end(entry) > end) {
            split_entry(info, i, start, end);
        } else if (entry->start < start) {
            entry->bytes = start - entry->start;
        } else if (entry_end(entry) > end) {
            entry->bytes = entry_end(entry) - end;
            entry->start = end;
        } else {
            remove_entry(info, i);
        }
    }
}

static bool merges_with(const struct boot_memory *first, const struct boot_memory *second)
{
    return entry_end(first) == second->start && first->is_usable == second->is_usable &&
           first->is_ram == second->is_ram;
}

/* Makes [start, end) what the flags say, whatever it was. */
static void set_range(struct boot_info *info, uint64_t start, uint64_t end, bool is_usable, bool is_ram)
{
    struct boot_memory entry = {start, end - start, is_usable, is_ram};
    uint32_t at = 0;
    assert(start < end && (is_ram || !is_usable));
    cut_range(info, start, end);
    while (at < info->memory_count && info->memory[at].start < start)
        at++;
    if (at < info->memory_count && merges_with(&entry, &info->memory[at])) {
        entry.bytes += info->memory[at].bytes;
        remove_entry(info, at);
    }
    if (at > 0 && merges_with(&info->memory[at - 1], &entry))
        info->memory[at - 1].bytes += entry.bytes;
    else
        insert_entry(info, at, entry);
}

static void load_entry(struct boot_info *info, const uint8_t *raw, bool wants_usable)
{
    uint64_t start = load_le64(raw), bytes = load_le64(raw + 8), end = start + bytes;
    uint32_t type = load_le32(raw + 16);
    bool is_usable = type == MEMORY_USABLE;
    bool is_ram = is_usable || type == MEMORY_ACPI_TABLES || type == MEMORY_ACPI_NVS;
    if (is_usable != wants_usable || bytes == 0)
        return;
    if (end < start) {
        boot_warn(info, "memory map: the range at ", start, " reaches beyond 2^64 and is cut there");
        end = UINT64_MAX;
        if (start == end)
            return;
    }
    set_range(info, start, end, is_usable, is_ram);
}

void boot_memory_load(struct boot_info *info, const uint8_t *entries, uint32_t stride, uint32_t count)
{
    assert(stride >= BOOT_MEMORY_ENTRY_BYTES);
    /* The usable ones first, so that the others, set over them, win. */
    for (uint32_t i = 0; i < count; i++)
        load_entry(info, entries + (size_t)i * stride, true);
    for (uint32_t i = 0; i < count; i++)
        load_entry(info, entries + (size_t)i * stride, false);
}

/* The first usable entry that begins below `limit`, or NULL. */
static const struct boot_memory *find_usable(const struct boot_info *info, uint64_t limit)
{
    for (uint32_t i = 0; i < info->memory_count; i++)
        if (info->memory[i].is_usable && info->memory[i].start < limit)
            return &info->memory[i];
    return NULL;
}

/* The trampoline of the other CPUs, the BIOS's data and the boot data lie there. */
static void take_first_mib(struct boot_info *info)
{
    const struct boot_memory *entry;
    while ((entry = find_usable(info, FIRST_MIB)) != NULL) /* one less each time */
        set_range(info, entry->start, MIN(entry_end(entry), FIRST_MIB), false, true);
}

static void trim_to_pages(struct boot_info *info)
{
    for (uint32_t i = info->memory_count; i-- > 0;) {
        struct boot_memory *entry = &info->memory[i];
        uint64_t end = align_down(entry_end(entry), PAGE_BYTES), start = align_up(entry->start, PAGE_BYTES);
        if (!entry->is_usable)
            continue;
        entry->start = start;
        entry->bytes = end - start;
        if (start >= end)
            remove_entry(info, i);
    }
}

static void check_order(const struct boot_info *info)
{
    for (uint32_t i = 0; i < info->memory_count; i++) {
        assert(info->memory[i].bytes > 0); /* M1 */
        assert(i == 0 || entry_end(&info->memory[i - 1]) <= info->memory[i].start);
    }
}

void boot_memory_finish(struct boot_info *info, const struct boot_memory_limits *limits)
{
    assert(is_aligned(limits->kernel_start | limits->kernel_end | limits->end, PAGE_BYTES));
    cut_range(info, limits->end, UINT64_MAX);
    if (!find_usable(info, UINT64_MAX)) {
        boot_warn(info, "memory map: none, or nothing usable in it; assuming ", ASSUMED_END >> 20, " MiB");
        set_range(info, FIRST_MIB, ASSUMED_END, true, true);
    }
    set_range(info, limits->kernel_start, limits->kernel_end, false, true);
    take_first_mib(info);
    trim_to_pages(info);
    check_order(info);
}

static size_t append(char *to, size_t at, size_t to_bytes, const char *text)
{
    while (*text && at + 1 < to_bytes)
        to[at++] = *text++;
    to[at] = '\0';
    return at;
}

void boot_warn(struct boot_info *info, const char *before, uint64_t number, const char *after)
{
    char digits[21];
    char *first = digits + sizeof(digits) - 1;
    *first = '\0';
    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    for (size_t i = 0; i < ARRAY_SIZE(info->warnings); i++) {
        char *line = info->warnings[i];
        size_t bytes = sizeof(info->warnings[i]);
        if (line[0])
            continue;
        append(line, append(line, append(line, 0, bytes, before), bytes, first), bytes, after);
        return;
    }
}

bool boot_copy_text(char *to, size_t to_bytes, const uint8_t *from, size_t limit)
{
    size_t i = 0;
    assert(to_bytes > 0);
    while (i < limit && from[i] && i + 1 < to_bytes) {
        to[i] = (char)from[i];
        i++;
    }
    to[i] = '\0';
    return i == limit || from[i] == 0;
}
