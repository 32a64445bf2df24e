/* SPDX-License-Identifier: MIT */
/* The boot data parsers and the memory map, with good and with hostile input. Buffers are malloc'ed to the
 * byte, so that the address sanitizer sees any read beyond what was announced. */
#include <arch/boot_memory.h>
#include <arch/multiboot2.h>
#include <arch/pvh.h>
#include <kernel/base/bits.h>

#include <stdlib.h>
#include <string.h>

#include "check.h"

enum { USABLE = 1, RESERVED = 2, ACPI = 3 };
static struct boot_info info;
static const struct boot_memory_limits limits = {0x100000, 0x180000, BIT(46)};

/* ---- Building input ----------------------------------------------------------------------------------- */

static uint8_t built[65536];
static size_t built_bytes;

static void put32(uint32_t value)
{
    store_le32(built + built_bytes, value);
    built_bytes += 4;
}

static void put64(uint64_t value)
{
    store_le64(built + built_bytes, value);
    built_bytes += 8;
}

static void put_entry(uint64_t start, uint64_t bytes, uint32_t type)
{
    put64(start);
    put64(bytes);
    put32(type);
    put32(0);
}

static void begin(void)
{
    memset(&info, 0, sizeof(info));
    memset(built, 0, sizeof(built));
    built_bytes = 8;
}

static size_t tag_begin(uint32_t type)
{
    built_bytes = align_up(built_bytes, 8);
    put32(type);
    put32(0);
    return built_bytes - 8;
}

static void tag_end(size_t at)
{
    store_le32(built + at + 4, (uint32_t)(built_bytes - at));
}

static void put_text_tag(uint32_t type, const char *text)
{
    size_t at = tag_begin(type);
    memcpy(built + built_bytes, text, strlen(text) + 1);
    built_bytes += strlen(text) + 1;
    tag_end(at);
}

static size_t memory_map_begin(uint32_t stride)
{
    size_t at = tag_begin(6);
    put32(stride);
    put32(0);
    return at;
}

/* Parses what was built, as `total` bytes of which `readable` can be read. */
static void parse_as(uint32_t total, size_t readable)
{
    uint8_t *exact = malloc(readable ? readable : 1);
    store_le32(built, total);
    memcpy(exact, built, readable);
    multiboot2_parse(exact, readable, &info);
    boot_memory_finish(&info, &limits);
    free(exact);
}

static void parse(void)
{
    tag_end(tag_begin(0));
    parse_as((uint32_t)built_bytes, built_bytes);
}

static unsigned warning_count(void)
{
    unsigned count = 0;
    for (unsigned i = 0; i < 4; i++)
        count += info.warnings[i][0] != 0;
    return count;
}

static bool has_warning(const char *part)
{
    for (unsigned i = 0; i < 4; i++)
        if (strstr(info.warnings[i], part))
            return true;
    return false;
}

/* The flags at `address`: 2 usable, 1 other RAM, 0 neither. */
static int memory_at(uint64_t address)
{
    for (uint32_t i = 0; i < info.memory_count; i++)
        if (address - info.memory[i].start < info.memory[i].bytes)
            return info.memory[i].is_ram + info.memory[i].is_usable;
    return 0;
}

static void check_invariants(void)
{
    check(info.memory_count <= BOOT_MEMORY_MAX);
    for (uint32_t i = 0; i < info.memory_count; i++) {
        const struct boot_memory *m = &info.memory[i];
        check(m->bytes > 0 && m->start + m->bytes > m->start);
        check(i == 0 || m[-1].start + m[-1].bytes <= m->start);
        check(!m->is_usable || is_aligned(m->start | m->bytes, PAGE_BYTES));
        check(!m->is_usable || (m->is_ram && m->start >= MIB(1) && m->start + m->bytes <= limits.end));
    }
    for (uint64_t at = limits.kernel_start; at < limits.kernel_end; at += PAGE_BYTES)
        check(memory_at(at) == 1 || (memory_at(at) == 0 && has_warning("more than 128 ranges")));
    check(info.cmdline[BOOT_TEXT_BYTES - 1] == 0);
}

/* ---- Multiboot2 --------------------------------------------------------------------------------------- */

static void put_good_tags(void)
{
    size_t at;
    put_text_tag(1, "loglevel=debug run=\"ls\"");
    put_text_tag(2, "GRUB 2.06");
    at = memory_map_begin(24);
    put_entry(0, 0x9fc00, USABLE);
    put_entry(0x9fc00, 0x400, RESERVED);
    put_entry(0x100000, 0xfee0000, USABLE);
    put_entry(0xffe0000, 0x20000, ACPI);
    put_entry(GIB(4), GIB(2), USABLE);
    tag_end(at);
    at = tag_begin(8);
    put64(0xfd000000);
    put32(4096), put32(1024), put32(768);
    put32(32 | 1 << 8), put32(16 | 8 << 8 | 8 << 16 | 8u << 24), put32(0 | 8 << 8);
    tag_end(at);
    at = tag_begin(14);
    memcpy(built + built_bytes, "RSD PTR old old old ", 20);
    built_bytes += 20;
    tag_end(at);
    at = tag_begin(15);
    memcpy(built + built_bytes, "RSD PTR new new new new new new new ", 36);
    built_bytes += 36;
    tag_end(at);
}

static void test_good(void)
{
    begin();
    put_good_tags();
    parse();
    check_equal(warning_count(), 0);
    check(strcmp(info.cmdline, "loglevel=debug run=\"ls\"") == 0);
    check(strcmp(info.loader, "GRUB 2.06") == 0 && strcmp(info.protocol, "Multiboot2") == 0);
    check(info.rsdp_copy_bytes == 36 && memcmp(info.rsdp_copy, "RSD PTR new", 11) == 0);
    check(info.framebuffer.address == 0xfd000000 && info.framebuffer.width == 1024);
    check(info.framebuffer.red_shift == 16 && info.framebuffer.green_shift == 8);
    check(info.framebuffer.blue_shift == 0 && !info.framebuffer.is_text);
    check(memory_at(0x8000) == 1 && memory_at(0x9fc00) == 0 && memory_at(0x17ffff) == 1);
    check(memory_at(0x180000) == 2 && memory_at(0xffdffff) == 2 && memory_at(0xffe0000) == 1);
    check(memory_at(GIB(6) - 1) == 2 && memory_at(GIB(6)) == 0);
    check_invariants();
}

/* Every prefix of good data: no read beyond it (the sanitizer), one warning, sane results. */
static void test_truncated(void)
{
    size_t whole;
    begin();
    put_good_tags();
    tag_end(tag_begin(0));
    whole = built_bytes;
    for (size_t readable = 0; readable < whole; readable++) {
        memset(&info, 0, sizeof(info));
        parse_as((uint32_t)whole, readable); /* says more than there is */
        check(warning_count() >= 1);
        check_invariants();
        memset(&info, 0, sizeof(info));
        parse_as((uint32_t)readable, readable); /* the end tag is missing */
        check(warning_count() >= 1);
        check_invariants();
    }
    store_le32(built, (uint32_t)whole);
}

static void test_bad_tag_sizes(void)
{
    static const uint32_t sizes[] = {0, 1, 7, 0x7fffffff, 0xfffffff8, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(sizes); i++) {
        size_t at;
        begin();
        put_text_tag(1, "before");
        at = tag_begin(21);
        put64(0);
        store_le32(built + at + 4, sizes[i]);
        put_text_tag(2, "after");
        parse();
        check(strcmp(info.cmdline, "before") == 0);
        check(
            has_warning(sizes[i] < 8 ? "tag at byte 24 has an impossible size" : "tag at byte 24 overruns"));
        check(has_warning("memory map: none"));
        check_equal(warning_count(), 2);
        check_equal(memory_at(MIB(31)), 2);
    }
}

static void test_total_size(void)
{
    begin();
    put_good_tags();
    tag_end(tag_begin(0));
    parse_as(0xffffffff, built_bytes);
    check(has_warning("impossible size of 4294967295 bytes"));
    check_equal(memory_at(0x180000), 2); /* what can be read counts */
    begin();
    parse_as(0, 8);
    check(has_warning("impossible size of 0 bytes"));
    check_invariants();
}

static void test_texts(void)
{
    static char big[4000];
    size_t at;
    memset(big, 'x', sizeof(big) - 1);
    begin();
    put_text_tag(1, big);
    at = tag_begin(2); /* a name without a terminator */
    memcpy(built + built_bytes, "NAME", 4);
    built_bytes += 4;
    tag_end(at);
    parse();
    check_equal(strlen(info.cmdline), BOOT_TEXT_BYTES - 1);
    check(has_warning("command line cut to 2047 bytes"));
    check(strcmp(info.loader, "NAME") == 0);
}

static void test_bad_memory_map_tag(void)
{
    static const uint32_t strides[] = {0, 8, 23, 25, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_SIZE(strides); i++) {
        size_t at;
        begin();
        at = memory_map_begin(strides[i]);
        put_entry(MIB(1), MIB(64), USABLE);
        tag_end(at);
        parse();
        check(has_warning("memory map with entries of"));
        check_invariants();
    }
    begin();
    tag_end(tag_begin(6)); /* without even its own fields */
    tag_end(tag_begin(8));
    tag_end(tag_begin(14));
    parse();
    check(has_warning("memory map with entries of 0 bytes"));
    check(has_warning("framebuffer of type 0") && has_warning("ACPI tag with only 0 bytes"));
}

static void test_wide_entries(void)
{
    size_t at;
    begin();
    at = memory_map_begin(32);
    put_entry(MIB(1), MIB(64), USABLE);
    put64(~0ull);
    put_entry(MIB(100), MIB(1), USABLE);
    tag_end(at);
    parse(); /* the second entry is not whole */
    check_equal(memory_at(MIB(64)), 2);
    check_equal(memory_at(MIB(100)), 0);
    check_invariants();
}

static void test_bad_framebuffer(void)
{
    static const struct {
        uint64_t address;
        uint32_t pitch, width, height, depth;
    } bad[] = {
        {0, 4096, 1024, 768, 32},          {0xfd000000, 4095, 1024, 768, 32},
        {0xfd000000, 4096, 0, 768, 32},    {0xfd000000, 4096, 1024, 0, 32},
        {0xfd000000, 4096, 1024, 768, 15}, {0xfd000000, 0xffffffff, 0x40000000, 768, 32},
        {~0ull - 5, 4096, 1024, 768, 32},  {0xfd000000, 4096, 1024, 0xffffffff, 32},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        begin();
        size_t at = tag_begin(8);
        put64(bad[i].address);
        put32(bad[i].pitch), put32(bad[i].width), put32(bad[i].height);
        put32(bad[i].depth | 1 << 8), put64(0);
        tag_end(at);
        parse();
        check(has_warning("impossible figures"));
        check_equal(info.framebuffer.address, 0);
    }
    begin();
    size_t at = tag_begin(8); /* RGB, but without the colours' fields: the data ends there */
    put64(0xfd000000);
    put32(4096), put32(1024), put32(768);
    put32(32 | 1 << 8);
    tag_end(at);
    parse_as((uint32_t)built_bytes, built_bytes);
    check(has_warning("framebuffer of type 1"));
}

/* ---- The memory map ----------------------------------------------------------------------------------- */

static void load_built(uint32_t count)
{
    uint8_t *exact = malloc(count * 24u + 1);
    memcpy(exact, built + 8, count * 24u);
    boot_memory_load(&info, exact, 24, count);
    boot_memory_finish(&info, &limits);
    free(exact);
    check_invariants();
}

static void test_overlaps(void)
{
    begin();
    put_entry(MIB(200), MIB(50), USABLE); /* unsorted */
    put_entry(MIB(32), MIB(1), RESERVED); /* before what it lies in */
    put_entry(MIB(1), MIB(99), USABLE);
    put_entry(MIB(90), MIB(20), USABLE); /* overlaps the one before */
    put_entry(MIB(240), MIB(20), ACPI);
    put_entry(MIB(32), 0, RESERVED);
    put_entry(MIB(50) + 100, 10, RESERVED); /* takes a page */
    load_built(7);
    check_equal(warning_count(), 0);
    check(memory_at(MIB(32) - 1) == 2 && memory_at(MIB(32)) == 0 && memory_at(MIB(33)) == 2);
    check(memory_at(MIB(110) - 1) == 2 && memory_at(MIB(110)) == 0);
    check(memory_at(MIB(239)) == 2 && memory_at(MIB(240)) == 1 && memory_at(MIB(260)) == 0);
    check(memory_at(MIB(50) - 1) == 2 && memory_at(MIB(50)) != 2 && memory_at(MIB(50) + 4095) != 2);
    check_equal(memory_at(MIB(50) + 4096), 2);
}

static void test_extremes(void)
{
    begin();
    put_entry(~0ull, 1, USABLE);
    put_entry(MIB(1), ~0ull, USABLE);
    put_entry(~0ull - 10, ~0ull, RESERVED);
    put_entry(GIB(3), ~0ull, RESERVED);
    load_built(4);
    check(has_warning("beyond 2^64"));
    check(memory_at(GIB(3) - 1) == 2 && memory_at(GIB(3)) == 0 && memory_at(GIB(9)) == 0);
    begin();
    put_entry(MIB(1), BIT(50), USABLE);
    load_built(1);
    check(memory_at(BIT(46) - 1) == 2 && memory_at(BIT(46)) == 0);
}

static void test_only_reserved(void)
{
    begin();
    put_entry(0, GIB(4), RESERVED);
    load_built(1);
    check(has_warning("assuming 32 MiB"));
    check_equal(memory_at(MIB(31)), 2);
    begin();
    put_entry(0, MIB(1), USABLE); /* all of it is taken */
    put_entry(limits.kernel_start, limits.kernel_end - limits.kernel_start, USABLE);
    load_built(2);
    check_equal(memory_at(0), 1);
}

/* More ranges than fit: memory may get lost, but what is reserved stays so (M2). */
static void test_too_many(void)
{
    begin();
    for (unsigned i = 0; i < 200; i++)
        put_entry(MIB(2) * (i + 1), MIB(1), USABLE);
    load_built(200);
    check(has_warning("more than 128 ranges"));
    check_equal(memory_at(MIB(2)), 2);
    begin();
    put_entry(MIB(1), GIB(1), USABLE);
    for (unsigned i = 0; i < 199; i++)
        put_entry(MIB(5) * (i + 1) + 4096, 8192, i % 2 ? RESERVED : ACPI);
    load_built(200);
    check(has_warning("more than 128 ranges"));
    check_equal(memory_at(MIB(1010)), 2); /* of two sides, the larger stays */
    for (unsigned i = 0; i < 199; i++)
        check(memory_at(MIB(5) * (i + 1) + 4096) != 2 && memory_at(MIB(5) * (i + 1) + 12287) != 2);
}

/* Random maps beside a plain model: a byte a page. */
static void test_random_maps(void)
{
    enum { PAGES = 4096, ENTRIES = 40 };
    static uint8_t model[PAGES];
    srand(1);
    for (unsigned round = 0; round < 300; round++) {
        memset(model, 0, sizeof(model));
        begin();
        for (unsigned i = 0; i < ENTRIES; i++) {
            uint32_t first = (uint32_t)rand() % PAGES, pages = (uint32_t)rand() % 200 + 1;
            uint32_t type = (uint32_t)rand() % 3 ? USABLE : RESERVED;
            put_entry(first * PAGE_BYTES, pages * PAGE_BYTES, type);
            for (uint32_t page = first; page < MIN(first + pages, (uint32_t)PAGES); page++)
                model[page] |= (uint8_t)type;
        }
        load_built(ENTRIES);
        for (uint32_t page = 0x180; page < PAGES; page++)
            if ((memory_at(page * PAGE_BYTES) == 2) != (model[page] == USABLE))
                check(!"as the model has it");
    }
}

/* ---- PVH ---------------------------------------------------------------------------------------------- */

static uint8_t *pvh_memory;
#define PVH_MEMORY_BYTES 65536u
#define PVH_START        0x1000u

static void pvh_begin(void)
{
    uint8_t *f = pvh_memory + PVH_START;
    memset(&info, 0, sizeof(info));
    memset(pvh_memory, 0, PVH_MEMORY_BYTES);
    store_le32(f, PVH_MAGIC);
    store_le32(f + 4, 1);
    store_le64(f + 24, 0x2000);
    memcpy(pvh_memory + 0x2000, "run=\"ls\"", 9);
    store_le64(f + 32, 0x3000);
    memcpy(pvh_memory + 0x3000, "RSD PTR ", 8);
    store_le64(f + 40, 0x4000);
    store_le32(f + 48, 2);
    store_le64(pvh_memory + 0x4000 + 8, 0xa0000);
    store_le32(pvh_memory + 0x4000 + 16, USABLE);
    store_le64(pvh_memory + 0x4018, MIB(1));
    store_le64(pvh_memory + 0x4018 + 8, MIB(63));
    store_le32(pvh_memory + 0x4018 + 16, USABLE);
}

static void pvh_run(phys_addr_t start)
{
    pvh_parse(pvh_memory, PVH_MEMORY_BYTES, start, &info);
    boot_memory_finish(&info, &limits);
    check_invariants();
}

static void test_pvh_good(void)
{
    pvh_begin();
    pvh_run(PVH_START);
    check_equal(warning_count(), 0);
    check(strcmp(info.cmdline, "run=\"ls\"") == 0 && info.rsdp == 0x3000);
    check(memory_at(0x8000) == 1 && memory_at(MIB(64) - 1) == 2 && memory_at(MIB(64)) == 0);
    pvh_begin();
    store_le32(pvh_memory + PVH_START + 4, 0); /* version 0 has no memory map */
    pvh_run(PVH_START);
    check(has_warning("memory map: none"));
}

static void test_pvh_bad_fields(void)
{
    static const struct {
        unsigned offset;
        uint64_t value;
        const char *warning;
    } bad[] = {
        {0, 0, "no start information"},
        {24, PVH_MEMORY_BYTES, "command line at"},
        {24, ~0ull, "command line at"},
        {32, 0x2000, "no ACPI RSDP"},
        {32, PVH_MEMORY_BYTES - 8, "no ACPI RSDP"},
        {32, ~0ull - 4, "no ACPI RSDP"},
        {40, PVH_MEMORY_BYTES - 47, "memory map at"},
        {40, ~0ull, "memory map at"},
        {48, 0xffffffff, "memory map with 4294967295 entries"},
    };
    for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
        pvh_begin();
        store_le64(pvh_memory + PVH_START + bad[i].offset, bad[i].value);
        pvh_run(PVH_START);
        check(has_warning(bad[i].warning));
    }
    pvh_begin();
    pvh_run(PVH_MEMORY_BYTES - 55);
    check(has_warning("no start information"));
    pvh_begin();
    memset(pvh_memory + 0x8000, 'x', PVH_MEMORY_BYTES - 0x8000); /* to the very end */
    store_le64(pvh_memory + PVH_START + 24, PVH_MEMORY_BYTES - 5);
    pvh_run(PVH_START);
    check(strcmp(info.cmdline, "xxxxx") == 0);
}

int main(void)
{
    pvh_memory = malloc(PVH_MEMORY_BYTES);
    test_good();
    test_truncated();
    test_bad_tag_sizes();
    test_total_size();
    test_texts();
    test_bad_memory_map_tag();
    test_wide_entries();
    test_bad_framebuffer();
    test_overlaps();
    test_extremes();
    test_only_reserved();
    test_too_many();
    test_random_maps();
    test_pvh_good();
    test_pvh_bad_fields();
    free(pvh_memory);
    return check_finish();
}
