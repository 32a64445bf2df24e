/* SPDX-License-Identifier: MIT */
/* Telling apart what calls itself eclipsefs, and the v2 header (eclipsefs/format.h). Pure functions. */
#include <fs/eclipsefs/format.h>
#include <kernel/checksum.h>
#include <kernel/string.h>

enum eclipsefs_variant eclipsefs_identify(const uint8_t *block)
{
    static const uint8_t stub_magic[] = {0xec, 0x4c, 0x49, 0x50};
    struct v2_header header;
    if (memcmp(block, "ECFS", 4) == 0)
        return ECLIPSEFS_D;
    if (memcmp(block, "ECLIPSE2", 8) == 0)
        return ECLIPSEFS_E;
    if (memcmp(block, stub_magic, sizeof(stub_magic)) == 0)
        return ECLIPSEFS_F;
    if (memcmp(block, V2_MAGIC, V2_MAGIC_BYTES) != 0)
        return ECLIPSEFS_NONE;
    v2_header_decode(block, &header);
    if (header.version != V2_VERSION)
        return ECLIPSEFS_OTHER_VERSION;
    /* A and B share the header: the size of a table entry is all that differs. */
    if (header.inodes > 0 && header.table_bytes == header.inodes * 16ull)
        return ECLIPSEFS_B_OR_C;
    return ECLIPSEFS_A;
}

enum eclipsefs_variant eclipsefs_identify_table(const uint8_t *table)
{
    /* C has its root there: u8 type 1, u16 mode 0755, u32 owner 0. B's first entry is inode 1 as u64. */
    static const uint8_t root_of_c[] = {0x01, 0xed, 0x01, 0, 0, 0, 0};
    if (memcmp(table, root_of_c, sizeof(root_of_c)) == 0)
        return ECLIPSEFS_C;
    return load_le64(table) == V2_ROOT_INODE ? ECLIPSEFS_B : ECLIPSEFS_B_OR_C;
}

const char *eclipsefs_variant_text(enum eclipsefs_variant variant)
{
    switch (variant) {
    case ECLIPSEFS_NONE:
        return "not an eclipsefs";
    case ECLIPSEFS_A:
        return "eclipsefs v2.0, variant A";
    case ECLIPSEFS_B:
        return "eclipsefs variant B (16-byte inode table entries)";
    case ECLIPSEFS_C:
        return "eclipsefs variant C (mkfs-eclipsefs's 128-byte inodes over a 16-byte inode table)";
    case ECLIPSEFS_B_OR_C:
        return "eclipsefs variant B or C (16-byte inode table entries)";
    case ECLIPSEFS_D:
        return "eclipsefs variant D (the ECFS header of an older mkfs-eclipsefs)";
    case ECLIPSEFS_E:
        return "eclipsefs variant E (magic ECLIPSE2)";
    case ECLIPSEFS_F:
        return "eclipsefs variant F (magic EC 4C 49 50)";
    case ECLIPSEFS_OTHER_VERSION:
        return "an eclipsefs of another version than 2.0";
    }
    return "?";
}

void v2_header_decode(const uint8_t *block, struct v2_header *header)
{
    header->version = load_le32(block + V2_AT_VERSION);
    header->table_offset = load_le64(block + V2_AT_TABLE_OFFSET);
    header->table_bytes = load_le64(block + V2_AT_TABLE_BYTES);
    header->inodes = load_le32(block + V2_AT_INODES);
    header->checksum = load_le32(block + V2_AT_HEADER_CHECKSUM);
    header->creation_time = load_le64(block + V2_AT_CREATION_TIME);
    header->last_check = load_le64(block + V2_AT_LAST_CHECK);
    header->flags = load_le32(block + V2_AT_FLAGS);
}

uint32_t v2_header_checksum(const uint8_t *block)
{
    uint32_t crc = crc32(0, block, V2_AT_HEADER_CHECKSUM);
    return crc32(crc, block + V2_AT_CREATION_TIME, V2_HEADER_BYTES - V2_AT_CREATION_TIME);
}
