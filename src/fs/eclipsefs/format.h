/* SPDX-License-Identifier: MIT */
/* eclipsefs on disk. Variant A ("v2.0"), little-endian, byte-packed and unaligned:
 *
 *     header         V2_HEADER_BYTES at 0, the rest of the first 4096 bytes unused
 *     inode table    at table_offset: 8 bytes an inode: its number, and its record's offset from NODES
 *     NODES          = table_offset + table_bytes: records, anywhere behind it
 *
 *     record         u32 inode, u32 bytes (these 8 included), then TLVs: u16 tag, u32 length, value
 *     entry          u32 name bytes, u32 inode, name: the value of the tag V2_ENTRIES, one after another
 *
 * Inode numbers start at 1, which is the root; slot k of the table belongs to inode k + 1. */
#ifndef FS_ECLIPSEFS_FORMAT_H
#define FS_ECLIPSEFS_FORMAT_H

#include <kernel/base/bits.h>

#define ECLIPSEFS_BLOCK_BYTES 4096u

#define V2_MAGIC             "ECLIPSEFS" /* 9 bytes, without the terminator */
#define V2_MAGIC_BYTES       9u
#define V2_VERSION           0x00020000u
#define V2_HEADER_BYTES      65u
#define V2_ROOT_INODE        1u
#define V2_SLOT_BYTES        8u
#define V2_RECORD_HEAD_BYTES 8u
#define V2_TLV_HEAD_BYTES    6u
#define V2_ENTRY_HEAD_BYTES  8u
#define V2_NAME_MAX          255u

/* Where the header's fields lie. */
enum v2_header_offset {
    V2_AT_VERSION = 9,
    V2_AT_TABLE_OFFSET = 13,
    V2_AT_TABLE_BYTES = 21,
    V2_AT_INODES = 29,
    V2_AT_HEADER_CHECKSUM = 33,
    V2_AT_CREATION_TIME = 45,
    V2_AT_LAST_CHECK = 53,
    V2_AT_FLAGS = 61,
};

enum v2_tag {
    V2_NODE_TYPE = 1,
    V2_MODE,
    V2_UID,
    V2_GID,
    V2_SIZE,
    V2_ATIME,
    V2_MTIME,
    V2_CTIME,
    V2_NLINK,
    V2_CONTENT,
    V2_ENTRIES,
    V2_TAG_END, /* unknown from here on: skipped */
};

struct v2_header {
    uint32_t version;
    uint64_t table_offset, table_bytes;
    uint32_t inodes;
    uint32_t checksum; /* 0: none */
    uint64_t creation_time, last_check;
    uint32_t flags;
};

/* The layouts that went by the name; only A can be read. */
enum eclipsefs_variant {
    ECLIPSEFS_NONE,          /* something else */
    ECLIPSEFS_A,             /* 8-byte inode table, TLV records */
    ECLIPSEFS_B,             /* 16-byte inode table, TLV records */
    ECLIPSEFS_C,             /* declares a 16-byte table, has 128-byte inodes over it */
    ECLIPSEFS_B_OR_C,        /* a 16-byte table of neither look */
    ECLIPSEFS_D,             /* magic ECFS */
    ECLIPSEFS_E,             /* magic ECLIPSE2 */
    ECLIPSEFS_F,             /* bytes EC 4C 49 50 */
    ECLIPSEFS_OTHER_VERSION, /* magic ECLIPSEFS, version not 2.0 */
};

/* `header` has ECLIPSEFS_BLOCK_BYTES bytes. B, C and B_OR_C all come as B_OR_C: only the table tells. */
enum eclipsefs_variant eclipsefs_identify(const uint8_t *header);
/* Which of B and C it is, by the first 16 bytes of the table. */
enum eclipsefs_variant eclipsefs_identify_table(const uint8_t *table);
/* "variant C: mkfs-eclipsefs's layout, …", for "… is not supported". */
const char *eclipsefs_variant_text(enum eclipsefs_variant variant);

void v2_header_decode(const uint8_t *block, struct v2_header *header);
/* The checksum that the bytes of a header should carry. */
uint32_t v2_header_checksum(const uint8_t *block);

#endif
