/* SPDX-License-Identifier: MIT */
/* PVH's start information, as QEMU's -kernel hands it over: one fixed struct of physical addresses. Each is
 * compared with the memory that can be read before anything there is. Layout, little-endian:
 *
 *     0 magic  4 version  8 flags  12 modules  16 module list  24 command line  32 RSDP
 *     version 1 and later: 40 memory map  48 its entries (32 bits)  52 reserved */
#include <arch/boot_memory.h>
#include <arch/pvh.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>

#define INFO_BYTES     56u
#define MEMORY_MAP_MAX 1024u /* entries; bounds the walk */

struct view {
    const uint8_t *memory;
    uint64_t bytes;
};

static bool view_has(const struct view *view, phys_addr_t address, uint64_t bytes)
{
    return address <= view->bytes && bytes <= view->bytes - address;
}

static void parse_cmdline(struct boot_info *info, const struct view *view, phys_addr_t address)
{
    if (address == 0)
        return;
    if (!view_has(view, address, 1))
        boot_warn(info, "PVH: command line at ", address, ", where nothing can be read, left out");
    else if (!boot_copy_text(info->cmdline, sizeof(info->cmdline), view->memory + address,
                             view->bytes - address))
        boot_warn(info, "PVH: command line cut to ", sizeof(info->cmdline) - 1, " bytes");
}

static void parse_memory_map(struct boot_info *info, const struct view *view, phys_addr_t address,
                             uint32_t count)
{
    if (count > MEMORY_MAP_MAX) {
        /* Not a part of it: a reserved range could be among the rest. */
        boot_warn(info, "PVH: memory map with ", count, " entries, left out");
        return;
    }
    if (!view_has(view, address, (uint64_t)count * BOOT_MEMORY_ENTRY_BYTES)) {
        boot_warn(info, "PVH: memory map at ", address, ", where it cannot be read, left out");
        return;
    }
    boot_memory_load(info, view->memory + address, BOOT_MEMORY_ENTRY_BYTES, count);
}

static void parse_rsdp(struct boot_info *info, const struct view *view, phys_addr_t address)
{
    if (address == 0)
        return;
    if (!view_has(view, address, 20) || __builtin_memcmp(view->memory + address, "RSD PTR ", 8) != 0)
        boot_warn(info, "PVH: no ACPI RSDP at ", address, ", where it should be");
    else
        info->rsdp = address;
}

void pvh_parse(const uint8_t *memory, uint64_t memory_bytes, phys_addr_t start, struct boot_info *info)
{
    const struct view view = {memory, memory_bytes};
    const uint8_t *fields = memory + start;
    info->protocol = "PVH";
    info->loader = "PVH";
    if (!view_has(&view, start, INFO_BYTES) || load_le32(fields) != PVH_MAGIC) {
        boot_warn(info, "PVH: no start information at ", start, "");
        return;
    }
    parse_cmdline(info, &view, load_le64(fields + 24));
    parse_rsdp(info, &view, load_le64(fields + 32));
    if (load_le32(fields + 4) >= 1)
        parse_memory_map(info, &view, load_le64(fields + 40), load_le32(fields + 48));
}
