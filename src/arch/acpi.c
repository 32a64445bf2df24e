/* SPDX-License-Identifier: MIT */
/* Finds the ACPI tables: RSDP from the boot loader or the BIOS areas, then RSDT or XSDT, then MADT, MCFG,
 * HPET, FADT and its DSDT. A table is mapped in two steps, header then whole, and used only when its length
 * and checksum are right. Whatever is wrong costs one warning and that table. Boot CPU, once. */
#include <arch/acpi.h>
#include <arch/boot_info.h>
#include <arch/mmu.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>
#include <kernel/base/string.h>

#include "acpi_internal.h"

#define EBDA_SEGMENT_AT 0x40eu /* BIOS data area: real-mode segment of the extended one */
#define EBDA_SCAN_BYTES 1024u
#define BIOS_START      0xe0000u
#define BIOS_BYTES      0x20000u
#define LAPIC_DEFAULT   0xfee00000u
#define TABLES_MAX      128u

struct acpi_info acpi_info = {.lapic_address = LAPIC_DEFAULT};
struct acpi_power acpi_power;

/* NULL for what the CPU cannot address. */
static const void *map(phys_addr_t address, size_t bytes)
{
    return address ? mmu_map_firmware(address, bytes) : NULL;
}

static void warn_table(const char signature[4], phys_addr_t address, const char *problem)
{
    char name[5];
    for (unsigned i = 0; i < 4; i++)
        name[i] = signature[i] >= ' ' && signature[i] <= '~' ? signature[i] : '?';
    name[4] = '\0';
    kernel_warn("acpi", "table %s at %#llx: %s", name, (unsigned long long)address, problem);
}

/* The whole table at `address`, checked, or NULL after a warning. */
static const void *map_table(phys_addr_t address, size_t *bytes)
{
    const char *header = map(address, ACPI_HEADER_BYTES);
    if (!header) {
        warn_table("????", address, "not an address of this machine");
        return NULL;
    }
    const char *problem = acpi_table_length(header, bytes);
    const void *table = problem ? NULL : map(address, *bytes);
    if (!problem)
        problem = table ? acpi_table_check(table, *bytes) : "cannot be mapped";
    if (!problem)
        return table;
    warn_table(header, address, problem);
    return NULL;
}

static bool scan_for_rsdp(phys_addr_t start, size_t bytes, struct acpi_root *root)
{
    const uint8_t *area = map(start, bytes);
    int64_t offset = area ? acpi_find_rsdp(area, bytes) : -1;
    return offset >= 0 && acpi_parse_rsdp(area + offset, bytes - (size_t)offset, root) == NULL;
}

static bool scan_bios_areas(struct acpi_root *root)
{
    const uint8_t *segment = map(EBDA_SEGMENT_AT, sizeof(uint16_t));
    phys_addr_t ebda = segment ? (phys_addr_t)load_le16(segment) << 4 : 0;
    return (ebda >= 0x400 && scan_for_rsdp(ebda, EBDA_SCAN_BYTES, root)) ||
           scan_for_rsdp(BIOS_START, BIOS_BYTES, root);
}

/* The boot loader's word first; where it is wrong or silent, the places of ACPI 6.4, 5.2.5.1. */
static bool find_root(struct acpi_root *root)
{
    const char *problem = NULL;
    if (boot_info.rsdp_copy_bytes > 0) {
        uint32_t bytes = MIN(boot_info.rsdp_copy_bytes, (uint32_t)sizeof(boot_info.rsdp_copy));
        problem = acpi_parse_rsdp(boot_info.rsdp_copy, bytes, root);
    } else if (boot_info.rsdp) {
        const void *rsdp = map(boot_info.rsdp, ACPI_RSDP_2_BYTES);
        problem = rsdp ? acpi_parse_rsdp(rsdp, ACPI_RSDP_2_BYTES, root) : "not an address of this machine";
    } else {
        return scan_bios_areas(root);
    }
    if (problem)
        kernel_warn("acpi", "the boot loader's RSDP: %s", problem);
    return !problem || scan_bios_areas(root);
}

static const char *parse_fadt(const void *table, size_t bytes)
{
    const char *problem = acpi_parse_fadt(table, bytes, &acpi_info, &acpi_power);
    size_t dsdt_bytes;
    const void *dsdt = problem || !acpi_power.dsdt ? NULL : map_table(acpi_power.dsdt, &dsdt_bytes);
    if (dsdt)
        (void)acpi_parse_s5(dsdt, dsdt_bytes, &acpi_power); /* without it, acpi_poweroff guesses */
    return problem;
}

static const char *parse_table(const char *table, size_t bytes)
{
    if (memcmp(table, "APIC", 4) == 0)
        return acpi_info.cpu_count ? "a second one" : acpi_parse_madt(table, bytes, &acpi_info);
    if (memcmp(table, "MCFG", 4) == 0)
        return acpi_parse_mcfg(table, bytes, &acpi_info);
    if (memcmp(table, "DMAR", 4) == 0)
        return acpi_parse_dmar(table, bytes, &acpi_info);
    if (memcmp(table, "HPET", 4) == 0)
        return acpi_info.hpet_address ? NULL : acpi_parse_hpet(table, bytes, &acpi_info);
    if (memcmp(table, "FACP", 4) == 0)
        return acpi_power.dsdt ? "a second one" : parse_fadt(table, bytes);
    if (memcmp(table, "SSDT", 4) == 0 && !acpi_power.has_s5)
        (void)acpi_parse_s5(table, bytes, &acpi_power);
    return NULL;
}

static void read_tables(const struct acpi_root *root)
{
    size_t root_bytes = 0;
    const void *root_table = map_table(root->address, &root_bytes);
    size_t count = root_table ? acpi_root_count(root, root_bytes) : 0;
    if (count > TABLES_MAX) {
        kernel_warn("acpi", "%llu tables: the first %u used", (unsigned long long)count, TABLES_MAX);
        count = TABLES_MAX;
    }
    for (size_t i = 0; i < count; i++) {
        phys_addr_t address = acpi_root_entry(root, root_table, i);
        size_t bytes = 0;
        const void *table = map_table(address, &bytes);
        const char *problem = table ? parse_table(table, bytes) : NULL;
        if (problem)
            warn_table(table, address, problem);
    }
}

void acpi_init(void)
{
    struct acpi_root root = {0, false};
    assert(acpi_info.cpu_count == 0);
    if (find_root(&root))
        read_tables(&root);
    else
        kernel_warn("acpi", "no RSDP: one CPU, no power control");
    if (acpi_info.lapic_address == 0)
        acpi_info.lapic_address = LAPIC_DEFAULT;
    acpi_power_init();
    kernel_info("acpi", "%u CPU%s, %u I/O APIC%s, %u ECAM%s%s%s", acpi_info.cpu_count,
                acpi_info.cpu_count == 1 ? "" : "s", acpi_info.ioapic_count,
                acpi_info.ioapic_count == 1 ? "" : "s", acpi_info.ecam_count,
                acpi_info.ecam_count == 1 ? "" : "s", acpi_info.hpet_address ? ", HPET" : "",
                acpi_power.has_s5 ? ", S5" : "");
}
