/* SPDX-License-Identifier: MIT */
/* The ACPI parsers on good tables, on each kind of bad one, and on random damage. Every table lies in a heap
 * block of exactly its length, so that the address sanitizer sees a read beyond it. */
#include <kernel/base/bits.h>

#include <stdlib.h>
#include <string.h>

#include "../../src/arch/acpi_internal.h"
#include "check.h"

#define MADT_FIXED_BYTES 44u

struct table {
    uint8_t *at;
    size_t bytes;
};

static void fix_checksum(uint8_t *at, size_t bytes, size_t where)
{
    uint8_t sum = 0;
    at[where] = 0;
    for (size_t i = 0; i < bytes; i++)
        sum = (uint8_t)(sum + at[i]);
    at[where] = (uint8_t)-sum;
}

static struct table new_table(const char *signature, size_t bytes)
{
    struct table table = {calloc(1, bytes), bytes};
    memcpy(table.at, signature, 4);
    store_le32(table.at + 4, (uint32_t)bytes);
    return table;
}

static void append(struct table *table, const void *data, size_t bytes)
{
    uint8_t *grown = malloc(table->bytes + bytes);
    memcpy(grown, table->at, table->bytes);
    memcpy(grown + table->bytes, data, bytes);
    free(table->at);
    *table = (struct table){grown, table->bytes + bytes};
    store_le32(table->at + 4, (uint32_t)table->bytes);
}

/* ---- RSDP ---- */

static uint8_t *new_rsdp(uint8_t revision, uint32_t rsdt, uint64_t xsdt)
{
    uint8_t *rsdp = calloc(1, ACPI_RSDP_2_BYTES);
    memcpy(rsdp, "RSD PTR ", 8);
    rsdp[15] = revision;
    store_le32(rsdp + 16, rsdt);
    store_le32(rsdp + 20, ACPI_RSDP_2_BYTES);
    store_le64(rsdp + 24, xsdt);
    fix_checksum(rsdp, ACPI_RSDP_BYTES, 8);
    fix_checksum(rsdp, ACPI_RSDP_2_BYTES, 32);
    return rsdp;
}

static void test_rsdp(void)
{
    struct acpi_root root = {0, false};
    uint8_t *rsdp = new_rsdp(2, 0x1000, 0x123456789000);
    check(acpi_parse_rsdp(rsdp, ACPI_RSDP_2_BYTES, &root) == NULL);
    check(root.is_xsdt && root.address == 0x123456789000);
    check(acpi_parse_rsdp(rsdp, ACPI_RSDP_BYTES, &root) == NULL); /* a copy of the old part only */
    check(!root.is_xsdt && root.address == 0x1000);
    check(acpi_parse_rsdp(rsdp, ACPI_RSDP_BYTES - 1, &root) != NULL);
    rsdp[33]++; /* the second checksum: back to the RSDT */
    check(acpi_parse_rsdp(rsdp, ACPI_RSDP_2_BYTES, &root) == NULL && !root.is_xsdt);
    rsdp[16]++;
    check(acpi_parse_rsdp(rsdp, ACPI_RSDP_2_BYTES, &root) != NULL);
    free(rsdp);
    rsdp = new_rsdp(0, 0, 0);
    check(acpi_parse_rsdp(rsdp, ACPI_RSDP_2_BYTES, &root) != NULL);
    free(rsdp);
}

static void test_rsdp_search(void)
{
    size_t bytes = 200;
    uint8_t *area = calloc(1, bytes), *rsdp = new_rsdp(0, 0x1000, 0);
    check(acpi_find_rsdp(area, bytes) == -1);
    memcpy(area + 24, rsdp, ACPI_RSDP_BYTES); /* not on a boundary of 16 */
    check(acpi_find_rsdp(area, bytes) == -1);
    memcpy(area + 176, rsdp, ACPI_RSDP_BYTES);
    check(acpi_find_rsdp(area, bytes) == 176);
    memcpy(area + 64, "RSD PTR ", 8); /* a signature alone */
    check(acpi_find_rsdp(area, bytes) == 176);
    check(acpi_find_rsdp(area, 192) == -1); /* cut */
    check(acpi_find_rsdp(area, 0) == -1);
    free(area);
    free(rsdp);
}

/* ---- Headers and the root table ---- */

static void test_header(void)
{
    struct table table = new_table("APIC", ACPI_HEADER_BYTES);
    size_t bytes;
    fix_checksum(table.at, table.bytes, 9);
    check(acpi_table_length(table.at, &bytes) == NULL && bytes == ACPI_HEADER_BYTES);
    check(acpi_table_check(table.at, table.bytes) == NULL);
    table.at[20]++;
    check(acpi_table_check(table.at, table.bytes) != NULL);
    static const uint32_t bad[] = {0, 1, 8, 35, 0x00400001, 0x7fffffff, 0xffffffff};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        store_le32(table.at + 4, bad[i]);
        check(acpi_table_length(table.at, &bytes) != NULL);
    }
    free(table.at);
}

static void test_root_table(void)
{
    struct table table = new_table("XSDT", ACPI_HEADER_BYTES + 20);
    const struct acpi_root rsdt = {0x1000, false}, xsdt = {0x1000, true};
    store_le64(table.at + ACPI_HEADER_BYTES + 8, 0x1122334455667788);
    check_equal(acpi_root_count(&xsdt, table.bytes), 2); /* the half entry does not count */
    check_equal(acpi_root_count(&rsdt, table.bytes), 5);
    check_equal(acpi_root_count(&rsdt, ACPI_HEADER_BYTES - 1), 0);
    check(acpi_root_entry(&xsdt, table.at, 1) == 0x1122334455667788);
    check(acpi_root_entry(&rsdt, table.at, 2) == 0x55667788);
    free(table.at);
}

/* ---- MADT ---- */

static struct table new_madt(void)
{
    struct table madt = new_table("APIC", MADT_FIXED_BYTES);
    store_le32(madt.at + 36, 0xfee00000);
    return madt;
}

static void append_cpu(struct table *madt, uint8_t lapic_id, uint8_t flags)
{
    const uint8_t entry[8] = {0, 8, 0, lapic_id, flags, 0, 0, 0};
    append(madt, entry, sizeof(entry));
}

static void test_madt(void)
{
    static const uint8_t ioapic[12] = {1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 24, 0, 0, 0};
    static const uint8_t override_[10] = {2, 10, 0, 9, 21, 0, 0, 0, 0x0f, 0}; /* level, active low */
    static const uint8_t plain[10] = {2, 10, 0, 0, 2, 0, 0, 0, 0, 0};
    static const uint8_t address[12] = {5, 12, 0, 0, 0, 0, 0xe0, 0xfe, 1, 0, 0, 0};
    static const uint8_t x2apic[16] = {9, 16, 0, 0, 0, 1, 0, 0, 1};
    static const uint8_t unknown[6] = {0x80, 6};
    struct acpi_info info = {.cpu_count = 0};
    struct table madt = new_madt();
    append_cpu(&madt, 4, 1);
    append_cpu(&madt, 5, 0); /* disabled */
    append_cpu(&madt, 6, 2); /* could be plugged in later */
    append(&madt, ioapic, sizeof(ioapic));
    append(&madt, override_, sizeof(override_));
    append(&madt, plain, sizeof(plain));
    append(&madt, address, sizeof(address));
    append(&madt, unknown, sizeof(unknown));
    append(&madt, x2apic, sizeof(x2apic));
    check(acpi_parse_madt(madt.at, madt.bytes, &info) == NULL);
    check(info.cpu_count == 2 && info.cpus[0].lapic_id == 4 && info.cpus[1].lapic_id == 256);
    check(info.ioapic_count == 1 && info.ioapics[0].address == 0xfec00000 && info.ioapics[0].gsi_base == 24);
    check(info.override_count == 2 && info.overrides[0].isa_irq == 9 && info.overrides[0].gsi == 21);
    check(info.overrides[0].is_level && info.overrides[0].is_active_low);
    check(!info.overrides[1].is_level && !info.overrides[1].is_active_low);
    check(info.lapic_address == 0x1fee00000);
    free(madt.at);
}

static const char *parse_with_entry(const uint8_t *entry, size_t bytes, struct acpi_info *info)
{
    struct table madt = new_madt();
    *info = (struct acpi_info){.cpu_count = 0};
    append_cpu(&madt, 1, 1);
    append(&madt, entry, bytes);
    const char *problem = acpi_parse_madt(madt.at, madt.bytes, info);
    free(madt.at);
    return problem;
}

static void test_madt_entries_that_lie(void)
{
    struct acpi_info info;
    for (unsigned type = 0; type < 16; type++) {
        const uint8_t length_0[8] = {(uint8_t)type, 0}, length_1[8] = {(uint8_t)type, 1};
        const uint8_t overrun[8] = {(uint8_t)type, 9}, huge[8] = {(uint8_t)type, 255},
                      half[1] = {(uint8_t)type};
        check(parse_with_entry(length_0, 8, &info) != NULL && info.cpu_count == 1);
        check(parse_with_entry(length_1, 8, &info) != NULL && info.cpu_count == 1);
        check(parse_with_entry(overrun, 8, &info) != NULL && info.cpu_count == 1);
        check(parse_with_entry(huge, 8, &info) != NULL && info.cpu_count == 1);
        check(parse_with_entry(half, 1, &info) != NULL && info.cpu_count == 1);
    }
    static const uint8_t known[] = {0, 1, 2, 5, 9};
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) { /* an entry of a known type, too short for it */
        const uint8_t entry[2] = {known[i], 2};
        check(parse_with_entry(entry, 2, &info) != NULL && info.cpu_count == 1);
    }
    static const uint8_t far_ioapic[12] = {1, 12, 0, 0, 0, 0, 0xc0, 0xfe, 0xf0, 0xff, 0xff, 0xff};
    check(parse_with_entry(far_ioapic, 12, &info) != NULL && info.ioapic_count == 0);
    struct table short_madt = new_table("APIC", MADT_FIXED_BYTES - 1);
    check(acpi_parse_madt(short_madt.at, short_madt.bytes, &info) != NULL);
    free(short_madt.at);
}

static void test_madt_with_too_many(void)
{
    static const uint8_t ioapic[12] = {1, 12}, override_[10] = {2, 10};
    struct acpi_info info = {.cpu_count = 0};
    struct table madt = new_madt();
    for (unsigned i = 0; i < 200; i++) {
        append_cpu(&madt, (uint8_t)i, 1);
        append(&madt, ioapic, sizeof(ioapic));
        append(&madt, override_, sizeof(override_));
    }
    check(acpi_parse_madt(madt.at, madt.bytes, &info) != NULL);
    check_equal(info.cpu_count, CPU_MAX);
    check_equal(info.ioapic_count, ARRAY_SIZE(info.ioapics));
    check_equal(info.override_count, ARRAY_SIZE(info.overrides));
    free(madt.at);

    madt = new_madt();
    info = (struct acpi_info){.cpu_count = 0};
    append_cpu(&madt, 3, 1);
    append_cpu(&madt, 3, 1);
    check(acpi_parse_madt(madt.at, madt.bytes, &info) != NULL && info.cpu_count == 1);
    free(madt.at);
}

/* ---- MCFG, HPET, FADT ---- */

static struct table new_mcfg(uint64_t address, uint8_t first, uint8_t last)
{
    struct table table = new_table("MCFG", 60);
    store_le64(table.at + 44, address);
    table.at[54] = first;
    table.at[55] = last;
    return table;
}

static void test_mcfg(void)
{
    struct acpi_info info = {.ecam_count = 0};
    struct table table = new_mcfg(0xb0000000, 0, 255);
    check(acpi_parse_mcfg(table.at, table.bytes, &info) == NULL && info.ecam_count == 1);
    check(info.ecams[0].address == 0xb0000000 && info.ecams[0].bus_last == 255);
    check(acpi_parse_mcfg(table.at, 59, &info) != NULL && info.ecam_count == 1);
    check(acpi_parse_mcfg(table.at, 36, &info) != NULL && info.ecam_count == 1);
    for (unsigned i = 0; i < 20; i++)
        append(&table, table.at + 44, 16);
    check(acpi_parse_mcfg(table.at, table.bytes, &info) != NULL && info.ecam_count == ARRAY_SIZE(info.ecams));
    free(table.at);
    static const struct {
        uint64_t address;
        uint8_t first, last;
    } bad[] = {{0, 0, 1}, {0xb0000001, 0, 1}, {0xb0000000, 2, 1}};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        info.ecam_count = 0;
        table = new_mcfg(bad[i].address, bad[i].first, bad[i].last);
        check(acpi_parse_mcfg(table.at, table.bytes, &info) != NULL && info.ecam_count == 0);
        free(table.at);
    }
}

static struct table new_dmar(uint64_t address)
{
    struct table table = new_table("DMAR", 48 + 8 + 24);
    table.at[48] = 1; /* reserved memory: passed over */
    table.at[50] = 8;
    table.at[58] = 24;
    store_le64(table.at + 64, address);
    return table;
}

static void test_dmar(void)
{
    struct acpi_info info = {.iommu_count = 0};
    struct table table = new_dmar(0xfed90000);
    for (uint32_t i = 0; i < ARRAY_SIZE(info.iommus); i++)
        check(acpi_parse_dmar(table.at, table.bytes, &info) == NULL && info.iommu_count == i + 1);
    check(info.iommus[0] == 0xfed90000 && info.iommus[7] == 0xfed90000);
    check(acpi_parse_dmar(table.at, table.bytes, &info) != NULL && info.iommu_count == 8);
    info.iommu_count = 0;
    check(acpi_parse_dmar(table.at, table.bytes - 1, &info) != NULL);
    check(acpi_parse_dmar(table.at, 48, &info) == NULL);
    table.at[58] = 15;
    check(acpi_parse_dmar(table.at, table.bytes, &info) != NULL);
    table.at[50] = 0; /* no way forward */
    check(acpi_parse_dmar(table.at, table.bytes, &info) != NULL);
    free(table.at);
    static const uint64_t addresses[] = {0, 0xfed90010};
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        table = new_dmar(addresses[i]);
        check(acpi_parse_dmar(table.at, table.bytes, &info) != NULL && info.iommu_count == 0);
        free(table.at);
    }
}

static void test_hpet(void)
{
    struct acpi_info info = {.hpet_address = 0};
    struct table table = new_table("HPET", 56);
    check(acpi_parse_hpet(table.at, table.bytes, &info) != NULL); /* address 0 */
    store_le64(table.at + 44, 0xfed00000);
    check(acpi_parse_hpet(table.at, 55, &info) != NULL && info.hpet_address == 0);
    check(acpi_parse_hpet(table.at, table.bytes, &info) == NULL && info.hpet_address == 0xfed00000);
    table.at[40] = ACPI_SPACE_PORT;
    check(acpi_parse_hpet(table.at, table.bytes, &info) != NULL);
    free(table.at);
}

static void test_fadt(void)
{
    struct acpi_info info = {.pm_timer_port = 0};
    struct acpi_power power = {.dsdt = 0};
    struct table table = new_table("FACP", 244);
    store_le32(table.at + 40, 0x7fe0000); /* DSDT */
    store_le32(table.at + 64, 0x604);     /* PM1a control */
    store_le32(table.at + 76, 0x608);     /* PM timer */
    store_le32(table.at + 112, 1u << 10); /* a reset register */
    table.at[116] = ACPI_SPACE_PORT;
    store_le64(table.at + 120, 0xcf9);
    table.at[128] = 0x0f;
    table.at[108] = 0x32;
    check(acpi_parse_fadt(table.at, table.bytes, &info, &power) == NULL);
    check(power.dsdt == 0x7fe0000 && power.pm1a_control.address == 0x604 && info.pm_timer_port == 0x608);
    check(power.reset.address == 0xcf9 && power.reset_value == 0x0f && info.century == 0x32);
    check(power.sleep_control.address == 0 && !power.is_hardware_reduced); /* beyond this revision's end */

    store_le64(table.at + 140, 0x123400000); /* X_DSDT and X_PM1a_CNT win */
    table.at[172] = ACPI_SPACE_PORT;
    store_le64(table.at + 176, 0xb004);
    table.at[208] = ACPI_SPACE_PORT;
    store_le64(table.at + 212, 0x10608); /* no such port */
    check(acpi_parse_fadt(table.at, table.bytes, &info, &power) == NULL);
    check(power.dsdt == 0x123400000 && power.pm1a_control.address == 0xb004 && info.pm_timer_port == 0);

    power = (struct acpi_power){.dsdt = 0};
    check(acpi_parse_fadt(table.at, 116, &info, &power) == NULL && power.dsdt == 0x7fe0000); /* revision 1 */
    check(acpi_parse_fadt(table.at, 115, &info, &power) != NULL);
    free(table.at);
}

/* ---- \_S5 ---- */

static bool find_s5(const void *aml, size_t bytes, struct acpi_power *power)
{
    struct table table = new_table("DSDT", ACPI_HEADER_BYTES);
    append(&table, aml, bytes);
    *power = (struct acpi_power){.has_s5 = false};
    bool is_found = acpi_parse_s5(table.at, table.bytes, power);
    check(is_found == power->has_s5);
    free(table.at);
    return is_found;
}

static void test_s5(void)
{
    static const uint8_t ones[] = {8, '_', 'S', '5', '_', 0x12, 6, 4, 1, 1, 0, 0};
    static const uint8_t bytes[] = {0, 8, '\\', '_', 'S', '5', '_', 0x12, 0x08, 4, 0xa, 5, 0xa, 6, 0, 0};
    static const uint8_t long_length[] = {8, '_', 'S', '5', '_', 0x12, 0x46, 0, 4, 0xa, 7, 0, 0, 0};
    static const uint8_t one_element[] = {8, '_', 'S', '5', '_', 0x12, 4, 1, 0xa, 5, 0x5b, 0};
    struct acpi_power power;
    check(find_s5(ones, sizeof(ones), &power) && power.s5_type_a == 1 && power.s5_type_b == 1);
    check(find_s5(bytes, sizeof(bytes), &power) && power.s5_type_a == 5 && power.s5_type_b == 6);
    check(find_s5(long_length, sizeof(long_length), &power) && power.s5_type_a == 7 && power.s5_type_b == 0);
    check(find_s5(one_element, sizeof(one_element), &power) && power.s5_type_a == 5 && power.s5_type_b == 5);
    for (size_t cut = 0; cut < 9; cut++) /* the first value is never whole */
        check(!find_s5(ones, cut, &power));
    static const uint8_t not_a_name[] = {0, '_', 'S', '5', '_', 0x12, 6, 4, 1, 1, 0, 0};
    static const uint8_t not_a_package[] = {8, '_', 'S', '5', '_', 0x11, 6, 4, 1, 1, 0, 0};
    static const uint8_t too_large[] = {8, '_', 'S', '5', '_', 0x12, 6, 4, 0xa, 8, 0, 0};
    check(!find_s5(not_a_name, sizeof(not_a_name), &power));
    check(!find_s5(not_a_package, sizeof(not_a_package), &power));
    check(!find_s5(too_large, sizeof(too_large), &power));
}

/* ---- Damage ---- */

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005ull + 1442695040888963407ull;
    return *state >> 33;
}

/* Whatever the bytes are: no read outside, and no count beyond its array. */
static void test_random_tables(void)
{
    uint64_t state = 1;
    for (unsigned round = 0; round < 20000; round++) {
        struct table table = new_table("APIC", ACPI_HEADER_BYTES + next_random(&state) % 300);
        struct acpi_info info = {.cpu_count = 0};
        struct acpi_power power = {.dsdt = 0};
        struct acpi_root root;
        for (size_t i = ACPI_HEADER_BYTES; i < table.bytes; i++)
            table.at[i] = (uint8_t)(next_random(&state) % (round % 2 ? 256 : 16)); /* small: likely types */
        (void)acpi_parse_madt(table.at, table.bytes, &info);
        (void)acpi_parse_mcfg(table.at, table.bytes, &info);
        (void)acpi_parse_dmar(table.at, table.bytes, &info);
        (void)acpi_parse_hpet(table.at, table.bytes, &info);
        (void)acpi_parse_fadt(table.at, table.bytes, &info, &power);
        (void)acpi_parse_rsdp(table.at, table.bytes, &root);
        if (table.bytes > ACPI_HEADER_BYTES + 8)
            memcpy(table.at + table.bytes - 8 + round % 4, "\x08_S5_\x12\xff", 8 - round % 4);
        (void)acpi_parse_s5(table.at, table.bytes, &power);
        if (info.cpu_count > CPU_MAX || info.ioapic_count > ARRAY_SIZE(info.ioapics) ||
            info.override_count > ARRAY_SIZE(info.overrides) || info.ecam_count > ARRAY_SIZE(info.ecams) ||
            info.iommu_count > ARRAY_SIZE(info.iommus))
            check(!"a count beyond its array");
        free(table.at);
    }
}

int main(void)
{
    test_rsdp();
    test_rsdp_search();
    test_header();
    test_root_table();
    test_madt();
    test_madt_entries_that_lie();
    test_madt_with_too_many();
    test_mcfg();
    test_dmar();
    test_hpet();
    test_fadt();
    test_s5();
    test_random_tables();
    return check_finish();
}
