/* SPDX-License-Identifier: MIT */
/* Between the ACPI files: acpi_parse.c reads table bytes (pure, also on the host, where it is fuzzed), acpi.c
 * finds and maps tables, acpi_power.c uses the power registers. A parser returns NULL or what is wrong, as
 * text; what it had read by then counts. */
#ifndef ARCH_ACPI_INTERNAL_H
#define ARCH_ACPI_INTERNAL_H

#include <arch/acpi.h>

#define ACPI_RSDP_BYTES   20u /* revision 0 */
#define ACPI_RSDP_2_BYTES 36u
#define ACPI_HEADER_BYTES 36u
#define ACPI_TABLE_MAX    MIB(4)
#define ACPI_GSI_MAX      1024u

/* Generic address structure (ACPI 6.4, 5.2.3.2). */
enum { ACPI_SPACE_MEMORY = 0, ACPI_SPACE_PORT = 1 };
struct acpi_register {
    uint64_t address; /* 0: none */
    uint8_t space;
};

struct acpi_power {
    struct acpi_register pm1a_control, pm1b_control; /* SLP_TYP and SLP_EN */
    struct acpi_register sleep_control;              /* the same on hardware-reduced platforms */
    struct acpi_register reset;
    uint8_t reset_value;
    bool is_hardware_reduced;
    uint16_t smi_command_port; /* 0: always in ACPI mode */
    uint8_t acpi_enable;
    phys_addr_t dsdt;
    bool has_s5;
    uint8_t s5_type_a, s5_type_b;
};
extern struct acpi_power acpi_power;
void acpi_power_init(void);

struct acpi_root {
    phys_addr_t address;
    bool is_xsdt;
};

/* `data` begins with "RSD PTR "; `bytes` of it may be read. */
const char *acpi_parse_rsdp(const void *data, size_t bytes, struct acpi_root *root);
/* The offset of the first sound RSDP on a 16-byte boundary, or -1. */
int64_t acpi_find_rsdp(const void *area, size_t bytes);

/* A header's length: NULL and *bytes, or what is wrong with it. */
const char *acpi_table_length(const void *header, size_t *bytes);
/* A whole table of `bytes`, its own length: the checksum. */
const char *acpi_table_check(const void *table, size_t bytes);

/* Number of tables that a root lists, and the address of one. */
size_t acpi_root_count(const struct acpi_root *root, size_t bytes);
phys_addr_t acpi_root_entry(const struct acpi_root *root, const void *table, size_t index);

/* `table` is checked, `bytes` long. */
const char *acpi_parse_madt(const void *table, size_t bytes, struct acpi_info *info);
const char *acpi_parse_mcfg(const void *table, size_t bytes, struct acpi_info *info);
const char *acpi_parse_dmar(const void *table, size_t bytes, struct acpi_info *info);
const char *acpi_parse_hpet(const void *table, size_t bytes, struct acpi_info *info);
const char *acpi_parse_fadt(const void *table, size_t bytes, struct acpi_info *info,
                            struct acpi_power *power);
/* Looks for Name (\_S5, Package () {...}) in a DSDT or SSDT. */
bool acpi_parse_s5(const void *table, size_t bytes, struct acpi_power *power);

#endif
