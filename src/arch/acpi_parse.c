/* SPDX-License-Identifier: MIT */
/* ACPI tables as bytes (ACPI 6.4, 5.2). Everything here comes from firmware, so each offset is checked
 * against the bytes that there are; a length of 0 or beyond the end ends the walk. No state, no mapping, no
 * log. */
#include <kernel/base/bits.h>
#include <kernel/base/string.h>

#include "acpi_internal.h"

static uint8_t sum(const void *data, size_t bytes)
{
    const uint8_t *at = data;
    uint8_t total = 0;
    for (size_t i = 0; i < bytes; i++)
        total = (uint8_t)(total + at[i]);
    return total;
}

/* Fields at an offset; 0 beyond the table's end, as for a field that its revision did not have. */
static uint64_t field(const void *table, size_t bytes, size_t offset, size_t width)
{
    uint64_t value = 0;
    if (offset + width <= bytes)
        memcpy(&value, (const uint8_t *)table + offset, width);
    return value;
}

const char *acpi_parse_rsdp(const void *data, size_t bytes, struct acpi_root *root)
{
    const uint8_t *rsdp = data;
    if (bytes < ACPI_RSDP_BYTES || memcmp(rsdp, "RSD PTR ", 8) != 0)
        return "no signature";
    if (sum(rsdp, ACPI_RSDP_BYTES) != 0)
        return "wrong checksum";
    *root = (struct acpi_root){load_le32(rsdp + 16), false};
    if (rsdp[15] >= 2 && bytes >= ACPI_RSDP_2_BYTES && sum(rsdp, ACPI_RSDP_2_BYTES) == 0 &&
        load_le64(rsdp + 24))
        *root = (struct acpi_root){load_le64(rsdp + 24), true};
    return root->address ? NULL : "no root table";
}

int64_t acpi_find_rsdp(const void *area, size_t bytes)
{
    struct acpi_root root;
    for (size_t offset = 0; offset < bytes; offset += 16)
        if (acpi_parse_rsdp((const uint8_t *)area + offset, bytes - offset, &root) == NULL)
            return (int64_t)offset;
    return -1;
}

const char *acpi_table_length(const void *header, size_t *bytes)
{
    *bytes = load_le32((const uint8_t *)header + 4);
    if (*bytes < ACPI_HEADER_BYTES)
        return "shorter than a header";
    return *bytes > ACPI_TABLE_MAX ? "too long to be true" : NULL;
}

const char *acpi_table_check(const void *table, size_t bytes)
{
    return sum(table, bytes) == 0 ? NULL : "wrong checksum";
}

size_t acpi_root_count(const struct acpi_root *root, size_t bytes)
{
    return bytes < ACPI_HEADER_BYTES ? 0 : (bytes - ACPI_HEADER_BYTES) / (root->is_xsdt ? 8 : 4);
}

phys_addr_t acpi_root_entry(const struct acpi_root *root, const void *table, size_t index)
{
    const uint8_t *entries = (const uint8_t *)table + ACPI_HEADER_BYTES;
    return root->is_xsdt ? load_le64(entries + 8 * index) : load_le32(entries + 4 * index);
}

/* ---- MADT (5.2.12) ---- */

enum madt_type {
    MADT_LAPIC = 0,
    MADT_IOAPIC = 1,
    MADT_OVERRIDE = 2,
    MADT_LAPIC_ADDRESS = 5,
    MADT_X2APIC = 9,
};
#define MADT_ENTRIES       44u
#define MADT_IS_ENABLED    BIT(0)
#define MADT_POLARITY_LOW  3u
#define MADT_TRIGGER_LEVEL (3u << 2)

static const char *add_cpu(struct acpi_info *info, uint32_t lapic_id, uint64_t flags)
{
    if (!(flags & MADT_IS_ENABLED))
        return NULL;
    for (uint32_t i = 0; i < info->cpu_count; i++)
        if (info->cpus[i].lapic_id == lapic_id)
            return "a CPU listed twice";
    if (info->cpu_count == CPU_MAX)
        return "more CPUs than are supported";
    info->cpus[info->cpu_count++].lapic_id = lapic_id;
    return NULL;
}

static const char *add_ioapic(struct acpi_info *info, uint64_t address, uint64_t gsi_base)
{
    if (info->ioapic_count == ARRAY_SIZE(info->ioapics))
        return "too many I/O APICs";
    if (gsi_base >= ACPI_GSI_MAX)
        return "an I/O APIC with an absurd interrupt base";
    info->ioapics[info->ioapic_count++] = (struct acpi_ioapic){address, (uint32_t)gsi_base};
    return NULL;
}

static const char *add_override(struct acpi_info *info, uint64_t isa_irq, uint64_t gsi, uint64_t flags)
{
    if (info->override_count == ARRAY_SIZE(info->overrides))
        return "too many interrupt overrides";
    info->overrides[info->override_count++] = (struct acpi_override){
        .isa_irq = (uint8_t)isa_irq,
        .gsi = (uint32_t)gsi,
        .is_level = (flags & MADT_TRIGGER_LEVEL) == MADT_TRIGGER_LEVEL,
        .is_active_low = (flags & MADT_POLARITY_LOW) == MADT_POLARITY_LOW,
    };
    return NULL;
}

static const char *parse_madt_entry(const uint8_t *entry, size_t bytes, struct acpi_info *info)
{
    switch (entry[0]) {
    case MADT_LAPIC:
        return bytes < 8 ? "a CPU entry too short" : add_cpu(info, entry[3], field(entry, bytes, 4, 4));
    case MADT_X2APIC:
        return bytes < 16 ? "a CPU entry too short"
                          : add_cpu(info, load_le32(entry + 4), field(entry, bytes, 8, 4));
    case MADT_IOAPIC:
        return bytes < 12 ? "an I/O APIC entry too short"
                          : add_ioapic(info, load_le32(entry + 4), load_le32(entry + 8));
    case MADT_OVERRIDE:
        return bytes < 10 ? "an interrupt override too short"
                          : add_override(info, entry[3], load_le32(entry + 4), load_le16(entry + 8));
    case MADT_LAPIC_ADDRESS:
        if (bytes < 12)
            return "a local APIC address entry too short";
        info->lapic_address = load_le64(entry + 4);
        return NULL;
    default:
        return NULL;
    }
}

const char *acpi_parse_madt(const void *table, size_t bytes, struct acpi_info *info)
{
    const char *first_problem = NULL;
    if (bytes < MADT_ENTRIES)
        return "shorter than its fixed part";
    info->lapic_address = field(table, bytes, 36, 4);
    for (size_t offset = MADT_ENTRIES; offset < bytes;) {
        const uint8_t *entry = (const uint8_t *)table + offset;
        size_t left = bytes - offset;
        if (left < 2 || entry[1] < 2 || entry[1] > left)
            return "an entry runs past the end";
        const char *problem = parse_madt_entry(entry, entry[1], info);
        first_problem = first_problem ? first_problem : problem;
        offset += entry[1];
    }
    return first_problem;
}

/* ---- MCFG (PCI firmware specification 3.2, 4.1.2) ---- */

#define MCFG_ENTRIES 44u
#define MCFG_BYTES   16u

const char *acpi_parse_mcfg(const void *table, size_t bytes, struct acpi_info *info)
{
    for (size_t offset = MCFG_ENTRIES; offset + MCFG_BYTES <= bytes; offset += MCFG_BYTES) {
        const uint8_t *entry = (const uint8_t *)table + offset;
        struct acpi_ecam ecam = {load_le64(entry), load_le16(entry + 8), entry[10], entry[11]};
        if (ecam.bus_first > ecam.bus_last || ecam.address == 0 || !is_aligned(ecam.address, MIB(1)))
            return "a bus range or an address that makes no sense";
        if (info->ecam_count == ARRAY_SIZE(info->ecams))
            return "too many segments";
        info->ecams[info->ecam_count++] = ecam;
    }
    return bytes < MCFG_ENTRIES + MCFG_BYTES ? "no entry" : NULL;
}

/* ---- DMAR (Intel VT-d specification 4.0, 8.1 and 8.3) ---- */

#define DMAR_ENTRIES    48u
#define DMAR_UNIT       0u
#define DMAR_UNIT_BYTES 16u

static const char *add_iommu(struct acpi_info *info, phys_addr_t address)
{
    if (info->iommu_count == ARRAY_SIZE(info->iommus))
        return "too many units";
    if (address == 0 || !is_aligned(address, KIB(4)))
        return "a unit at an address that makes no sense";
    info->iommus[info->iommu_count++] = address;
    return NULL;
}

const char *acpi_parse_dmar(const void *table, size_t bytes, struct acpi_info *info)
{
    for (size_t offset = DMAR_ENTRIES; offset + 4 <= bytes;) {
        const uint8_t *entry = (const uint8_t *)table + offset;
        size_t length = load_le16(entry + 2);
        bool is_unit = load_le16(entry) == DMAR_UNIT;
        if (length < (is_unit ? DMAR_UNIT_BYTES : 4) || length > bytes - offset)
            return "an entry of a length that cannot be";
        const char *problem = is_unit ? add_iommu(info, load_le64(entry + 8)) : NULL;
        if (problem)
            return problem;
        offset += length;
    }
    return NULL;
}

/* ---- HPET (IA-PC HPET 1.0a, 3.2.4) and FADT (5.2.9) ---- */

static struct acpi_register generic_address(const void *table, size_t bytes, size_t offset)
{
    return (struct acpi_register){field(table, bytes, offset + 4, 8),
                                  (uint8_t)field(table, bytes, offset, 1)};
}

const char *acpi_parse_hpet(const void *table, size_t bytes, struct acpi_info *info)
{
    struct acpi_register base = generic_address(table, bytes, 40);
    if (bytes < 56 || base.space != ACPI_SPACE_MEMORY || base.address == 0)
        return "no usable address";
    info->hpet_address = base.address;
    return NULL;
}

#define FADT_BYTES_MIN        116u /* revision 1 */
#define FADT_RESET_SUPPORTED  BIT(10)
#define FADT_HARDWARE_REDUCED BIT(20)

/* The 64-bit form of a register where there is one, else the 32-bit port. */
static struct acpi_register fadt_register(const void *table, size_t bytes, size_t extended, size_t port)
{
    struct acpi_register reg = generic_address(table, bytes, extended);
    if (reg.address == 0)
        reg = (struct acpi_register){field(table, bytes, port, 4), ACPI_SPACE_PORT};
    if (reg.space == ACPI_SPACE_PORT && reg.address > UINT16_MAX)
        reg.address = 0;
    return reg;
}

const char *acpi_parse_fadt(const void *table, size_t bytes, struct acpi_info *info, struct acpi_power *power)
{
    if (bytes < FADT_BYTES_MIN)
        return "shorter than its fixed part";
    uint64_t flags = field(table, bytes, 112, 4);
    power->is_hardware_reduced = (flags & FADT_HARDWARE_REDUCED) != 0;
    power->dsdt = field(table, bytes, 140, 8);
    if (power->dsdt == 0)
        power->dsdt = field(table, bytes, 40, 4);
    if (flags & FADT_RESET_SUPPORTED) {
        power->reset = generic_address(table, bytes, 116);
        power->reset_value = (uint8_t)field(table, bytes, 128, 1);
    }
    power->sleep_control = generic_address(table, bytes, 244);
    info->century = (uint8_t)field(table, bytes, 108, 1);
    if (power->is_hardware_reduced)
        return NULL;
    power->smi_command_port = (uint16_t)field(table, bytes, 48, 4);
    power->acpi_enable = (uint8_t)field(table, bytes, 52, 1);
    power->pm1a_control = fadt_register(table, bytes, 172, 64);
    power->pm1b_control = fadt_register(table, bytes, 184, 68);
    struct acpi_register timer = fadt_register(table, bytes, 208, 76);
    if (timer.space == ACPI_SPACE_PORT)
        info->pm_timer_port = (uint16_t)timer.address;
    return NULL;
}

/* ---- \_S5: Name (_S5, Package () { SLP_TYPa, SLP_TYPb, ... }) in AML (20.2.5.1, 20.2.5.4) ---- */

enum aml { AML_ZERO = 0, AML_ONE = 1, AML_NAME = 8, AML_BYTE = 0xa, AML_PACKAGE = 0x12, AML_ROOT = '\\' };

/* One small constant at *offset, which moves behind it. */
static bool aml_integer(const uint8_t *aml, size_t bytes, size_t *offset, uint8_t *value)
{
    if (*offset + 2 > bytes)
        return false;
    uint8_t prefix = aml[(*offset)++];
    if (prefix == AML_ZERO || prefix == AML_ONE)
        *value = prefix;
    else if (prefix == AML_BYTE)
        *value = aml[(*offset)++];
    else
        return false;
    return *value <= 7; /* SLP_TYP has three bits */
}

/* The package behind the name whose last byte is at `offset - 1`. */
static bool parse_s5_package(const uint8_t *aml, size_t bytes, size_t offset, struct acpi_power *power)
{
    if (offset + 3 > bytes || aml[offset] != AML_PACKAGE)
        return false;
    offset += 1 + 1 + (aml[offset + 1] >> 6) + 1; /* opcode, length of 1 to 4 bytes, element count */
    if (!aml_integer(aml, bytes, &offset, &power->s5_type_a))
        return false;
    if (!aml_integer(aml, bytes, &offset, &power->s5_type_b))
        power->s5_type_b = power->s5_type_a;
    return true;
}

bool acpi_parse_s5(const void *table, size_t bytes, struct acpi_power *power)
{
    const uint8_t *aml = table;
    for (size_t offset = ACPI_HEADER_BYTES; offset + 4 <= bytes; offset++) {
        if (load_le32(aml + offset) != load_le32("_S5_"))
            continue;
        bool is_named =
            aml[offset - 1] == AML_NAME || (aml[offset - 1] == AML_ROOT && aml[offset - 2] == AML_NAME);
        if (is_named && parse_s5_package(aml, bytes, offset + 4, power)) {
            power->has_s5 = true;
            return true;
        }
    }
    return false;
}
