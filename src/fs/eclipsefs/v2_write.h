/* SPDX-License-Identifier: MIT */
/* Encoding eclipsefs v2.0, byte for byte as its own writer lays it out: table at 4096, records behind it in
 * ascending order, all fixed tags in ascending order. Pure functions; also built for the host. */
#ifndef FS_ECLIPSEFS_V2_WRITE_H
#define FS_ECLIPSEFS_V2_WRITE_H

#include <fs/eclipsefs/format.h>

#define V2_TABLE_OFFSET     4096u
#define V2_RECORD_FIXED_MAX 117u /* head, fixed tags, and the head of content or entries */

struct v2_record {
    uint32_t inode, type; /* type: 1 file, 2 directory, 3 link */
    uint32_t mode, uid, gid, nlink;
    uint64_t atime, mtime, ctime;
    uint64_t value_bytes; /* content or entries */
};

/* The record's length with its value: 0 when the format cannot hold it (4 GiB and more). */
uint32_t v2_record_bytes(const struct v2_record *record);
/* Everything up to the value; how many bytes that are. */
size_t v2_encode_record(const struct v2_record *record, uint8_t to[V2_RECORD_FIXED_MAX]);
/* The first block, with version, table and checksum set; inodes and creation_time are the caller's. */
void v2_encode_header(uint32_t inodes, uint64_t time, uint8_t block[ECLIPSEFS_BLOCK_BYTES]);
/* `offset`: of the record, from NODES. */
void v2_encode_slot(uint32_t inode, uint32_t offset, uint8_t to[V2_SLOT_BYTES]);
/* The head of an entry; the name follows. */
void v2_encode_entry(uint32_t inode, uint32_t name_bytes, uint8_t to[V2_ENTRY_HEAD_BYTES]);

#endif
