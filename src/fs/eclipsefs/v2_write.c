/* SPDX-License-Identifier: MIT */
/* The writer's half of eclipsefs v2.0 (eclipsefs/v2_write.h), and an empty file system on a device. */
#include <fs/bcache.h>
#include <fs/eclipsefs/eclipsefs.h>
#include <fs/eclipsefs/v2_write.h>
#include <kernel/base/assert.h>
#include <kernel/string.h>

#define FIXED_BYTES (V2_RECORD_FIXED_MAX - V2_TLV_HEAD_BYTES)

uint32_t v2_record_bytes(const struct v2_record *record)
{
    uint64_t value = record->value_bytes ? V2_TLV_HEAD_BYTES + record->value_bytes : 0;
    return value > UINT32_MAX - FIXED_BYTES ? 0 : (uint32_t)(FIXED_BYTES + value);
}

static uint8_t *put_tlv_head(uint8_t *to, uint16_t tag, uint32_t bytes)
{
    store_le16(to, tag);
    store_le32(to + 2, bytes);
    return to + V2_TLV_HEAD_BYTES;
}

static uint8_t *put_u32(uint8_t *to, uint16_t tag, uint32_t value)
{
    to = put_tlv_head(to, tag, sizeof(value));
    store_le32(to, value);
    return to + sizeof(value);
}

static uint8_t *put_u64(uint8_t *to, uint16_t tag, uint64_t value)
{
    to = put_tlv_head(to, tag, sizeof(value));
    store_le64(to, value);
    return to + sizeof(value);
}

size_t v2_encode_record(const struct v2_record *record, uint8_t to[V2_RECORD_FIXED_MAX])
{
    bool is_directory = record->type == VFS_DIRECTORY;
    uint8_t *at = to;
    assert(v2_record_bytes(record) > 0 && record->type >= VFS_FILE && record->type <= VFS_LINK);
    store_le32(at, record->inode);
    store_le32(at + 4, v2_record_bytes(record));
    at = put_tlv_head(at + V2_RECORD_HEAD_BYTES, V2_NODE_TYPE, 1);
    *at++ = (uint8_t)record->type;
    at = put_u32(at, V2_MODE, record->mode);
    at = put_u32(at, V2_UID, record->uid);
    at = put_u32(at, V2_GID, record->gid);
    at = put_u64(at, V2_SIZE, is_directory ? 0 : record->value_bytes);
    at = put_u64(at, V2_ATIME, record->atime);
    at = put_u64(at, V2_MTIME, record->mtime);
    at = put_u64(at, V2_CTIME, record->ctime);
    at = put_u32(at, V2_NLINK, record->nlink);
    assert(at == to + FIXED_BYTES);
    if (record->value_bytes > 0)
        at = put_tlv_head(at, is_directory ? V2_ENTRIES : V2_CONTENT, (uint32_t)record->value_bytes);
    return (size_t)(at - to);
}

void v2_encode_header(uint32_t inodes, uint64_t time, uint8_t block[ECLIPSEFS_BLOCK_BYTES])
{
    assert(inodes > 0);
    memset(block, 0, ECLIPSEFS_BLOCK_BYTES);
    memcpy(block, V2_MAGIC, V2_MAGIC_BYTES);
    store_le32(block + V2_AT_VERSION, V2_VERSION);
    store_le64(block + V2_AT_TABLE_OFFSET, V2_TABLE_OFFSET);
    store_le64(block + V2_AT_TABLE_BYTES, (uint64_t)V2_SLOT_BYTES * inodes);
    store_le32(block + V2_AT_INODES, inodes);
    store_le64(block + V2_AT_CREATION_TIME, time);
    store_le64(block + V2_AT_LAST_CHECK, time);
    /* Other writers leave it 0 and other readers ignore it; ours checks one that is not 0. */
    store_le32(block + V2_AT_HEADER_CHECKSUM, v2_header_checksum(block));
}

void v2_encode_slot(uint32_t inode, uint32_t offset, uint8_t to[V2_SLOT_BYTES])
{
    store_le32(to, inode);
    store_le32(to + 4, offset);
}

void v2_encode_entry(uint32_t inode, uint32_t name_bytes, uint8_t to[V2_ENTRY_HEAD_BYTES])
{
    store_le32(to, name_bytes);
    store_le32(to + 4, inode);
}

int eclipsefs_make(struct block_device *device, uint64_t time)
{
    struct v2_record root = {.inode = V2_ROOT_INODE,
                             .type = VFS_DIRECTORY,
                             .mode = 040755,
                             .nlink = 2,
                             .atime = time,
                             .mtime = time,
                             .ctime = time};
    struct buffer *buffer;
    int error;
    if (block_device_is_read_only(device))
        return -EROFS;
    if (block_device_sectors(device) * BLOCK_SECTOR_BYTES < V2_TABLE_OFFSET + ECLIPSEFS_BLOCK_BYTES)
        return -ENOSPC;
    error = bcache_get_new(device, V2_TABLE_OFFSET / BCACHE_BLOCK_BYTES, &buffer);
    if (error)
        return error;
    uint8_t *block = buffer_data(buffer);
    memset(block, 0, BCACHE_BLOCK_BYTES);
    v2_encode_slot(V2_ROOT_INODE, 0, block);
    v2_encode_record(&root, block + V2_SLOT_BYTES);
    bcache_mark_dirty(buffer);
    bcache_put(buffer);
    error = bcache_get_new(device, 0, &buffer);
    if (error)
        return error;
    v2_encode_header(1, time, buffer_data(buffer));
    bcache_mark_dirty(buffer);
    bcache_put(buffer);
    return bcache_sync(device);
}
