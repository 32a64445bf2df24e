/* SPDX-License-Identifier: MIT */
/* Records of eclipsefs v2: from an inode number to a checked struct v2_node.
 *
 * Slot -> record head -> TLVs. Heads and values lie at odd addresses and straddle block edges, so all reads
 * go through v2_cursor_read. A value is only located, not read: a file of any size costs the same.
 *
 * What is refused, each with its own line: a slot of another inode, a record or a TLV that overruns, stray
 * bytes, a known tag twice or of a wrong length, an unknown type, SIZE against CONTENT, content in a
 * directory, entries in anything else. Unknown tags are skipped; missing ones have the format's defaults. */
#include "v2_internal.h"

#include <kernel/base/assert.h>
#include <kernel/log.h>
#include <kernel/printf.h>
#include <kernel/string.h>

int v2_bad(struct v2_fs *fs, const char *format, ...)
{
    char text[200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (fs->report)
        fs->report(fs, text, fs->report_context);
    else
        log_error("eclipsefs", "%s: %s", block_device_name(fs->device), text);
    return -EUCLEAN;
}

int v2_cursor_read(struct v2_cursor *cursor, uint64_t offset, void *to, size_t bytes)
{
    uint8_t *out = to;
    assert(bytes <= cursor->fs->bytes && offset <= cursor->fs->bytes - bytes);
    while (bytes > 0) {
        uint64_t block = offset / BCACHE_BLOCK_BYTES;
        size_t within = offset % BCACHE_BLOCK_BYTES;
        size_t piece = MIN(bytes, BCACHE_BLOCK_BYTES - within);
        if (!cursor->buffer || cursor->block != block) {
            v2_cursor_end(cursor);
            int error = bcache_get(cursor->fs->device, block, &cursor->buffer);
            if (error) {
                cursor->buffer = NULL;
                return error;
            }
            cursor->block = block;
        }
        memcpy(out, (const uint8_t *)buffer_data(cursor->buffer) + within, piece);
        out += piece;
        offset += piece;
        bytes -= piece;
    }
    return 0;
}

void v2_cursor_end(struct v2_cursor *cursor)
{
    if (cursor->buffer)
        bcache_put(cursor->buffer);
    cursor->buffer = NULL;
}

/* The record's place: [*offset, *end). */
static int find_record(struct v2_cursor *cursor, uint32_t inode, uint64_t *offset, uint64_t *end)
{
    struct v2_fs *fs = cursor->fs;
    uint8_t head[8];
    uint32_t bytes;
    int error = v2_cursor_read(cursor, fs->header.table_offset + (uint64_t)V2_SLOT_BYTES * (inode - 1), head,
                               V2_SLOT_BYTES);
    if (error)
        return error;
    if (load_le32(head) != inode)
        return v2_bad(fs, "inode %u: its slot in the inode table says inode %u", inode, load_le32(head));
    *offset = fs->nodes_offset + load_le32(head + 4);
    if (*offset > fs->bytes - V2_RECORD_HEAD_BYTES)
        return v2_bad(fs, "inode %u: record at byte %llu, past the device's end", inode,
                      (unsigned long long)*offset);
    error = v2_cursor_read(cursor, *offset, head, V2_RECORD_HEAD_BYTES);
    if (error)
        return error;
    bytes = load_le32(head + 4);
    if (load_le32(head) != inode)
        return v2_bad(fs, "inode %u: the record at byte %llu says inode %u", inode,
                      (unsigned long long)*offset, load_le32(head));
    if (bytes < V2_RECORD_HEAD_BYTES || bytes > fs->bytes - *offset)
        return v2_bad(fs, "inode %u: record of %u bytes at byte %llu does not fit the device", inode, bytes,
                      (unsigned long long)*offset);
    *end = *offset + bytes;
    return 0;
}

/* The value lengths of the tags with fixed ones, by tag; 0 for the others. */
static const uint8_t fixed_bytes[V2_TAG_END] = {
    [V2_NODE_TYPE] = 1, [V2_MODE] = 4,  [V2_UID] = 4,   [V2_GID] = 4,   [V2_SIZE] = 8,
    [V2_ATIME] = 8,     [V2_MTIME] = 8, [V2_CTIME] = 8, [V2_NLINK] = 4,
};

/* What parsing a record collects besides the node. */
struct record_parse {
    struct v2_node *node;
    uint64_t size; /* of the tag SIZE */
    uint32_t seen; /* a bit a known tag */
};

static int take_fixed(struct v2_fs *fs, struct record_parse *parse, uint16_t tag, const uint8_t *value)
{
    struct v2_node *node = parse->node;
    switch (tag) {
    case V2_NODE_TYPE:
        node->type = value[0];
        if (node->type < VFS_FILE || node->type > VFS_LINK)
            return v2_bad(fs, "inode %u: unknown type %u", node->inode, node->type);
        return 0;
    case V2_MODE:
        node->mode = load_le32(value);
        return 0;
    case V2_UID:
        node->uid = load_le32(value);
        return 0;
    case V2_GID:
        node->gid = load_le32(value);
        return 0;
    case V2_SIZE:
        parse->size = load_le64(value);
        return 0;
    case V2_ATIME:
        node->atime = load_le64(value);
        return 0;
    case V2_MTIME:
        node->mtime = load_le64(value);
        return 0;
    case V2_CTIME:
        node->ctime = load_le64(value);
        return 0;
    default:
        assert(tag == V2_NLINK);
        node->nlink = load_le32(value);
        return 0;
    }
}

/* A TLV of a known tag whose value lies at [offset, offset + bytes), within its record. */
static int take_value(struct v2_cursor *cursor, struct record_parse *parse, uint16_t tag, uint64_t offset,
                      uint32_t bytes)
{
    struct v2_node *node = parse->node;
    uint8_t value[8];
    int error;
    if (parse->seen & BIT(tag))
        return v2_bad(cursor->fs, "inode %u: tag %u twice", node->inode, tag);
    parse->seen |= (uint32_t)BIT(tag);
    if (tag == V2_CONTENT || tag == V2_ENTRIES) {
        if ((parse->seen & BIT(V2_CONTENT)) && (parse->seen & BIT(V2_ENTRIES)))
            return v2_bad(cursor->fs, "inode %u: both content and directory entries", node->inode);
        node->value_offset = offset;
        node->value_bytes = bytes;
        return 0;
    }
    if (bytes != fixed_bytes[tag])
        return v2_bad(cursor->fs, "inode %u: tag %u has %u bytes, not %u", node->inode, tag, bytes,
                      fixed_bytes[tag]);
    error = v2_cursor_read(cursor, offset, value, bytes);
    return error ? error : take_fixed(cursor->fs, parse, tag, value);
}

static int parse_values(struct v2_cursor *cursor, struct record_parse *parse, uint64_t offset, uint64_t end)
{
    uint8_t head[V2_TLV_HEAD_BYTES];
    while (offset < end) {
        uint32_t bytes;
        int error;
        if (end - offset < V2_TLV_HEAD_BYTES)
            return v2_bad(cursor->fs, "inode %u: %llu stray bytes at its record's end, byte %llu",
                          parse->node->inode, (unsigned long long)(end - offset), (unsigned long long)offset);
        error = v2_cursor_read(cursor, offset, head, sizeof(head));
        if (error)
            return error;
        offset += sizeof(head);
        bytes = load_le32(head + 2);
        if (bytes > end - offset)
            return v2_bad(cursor->fs, "inode %u: tag %u with %u bytes at byte %llu overruns its record",
                          parse->node->inode, load_le16(head), bytes, (unsigned long long)offset);
        if (load_le16(head) > 0 && load_le16(head) < V2_TAG_END) {
            error = take_value(cursor, parse, load_le16(head), offset, bytes);
            if (error)
                return error;
        }
        offset += bytes;
    }
    return 0;
}

/* What the tags say of each other. */
static int check_whole(struct v2_fs *fs, const struct record_parse *parse)
{
    const struct v2_node *node = parse->node;
    bool is_directory = node->type == VFS_DIRECTORY;
    uint64_t content_bytes = parse->seen & BIT(V2_CONTENT) ? node->value_bytes : 0;
    if (is_directory && (parse->seen & BIT(V2_CONTENT)))
        return v2_bad(fs, "inode %u: a directory with content", node->inode);
    if (!is_directory && (parse->seen & BIT(V2_ENTRIES)))
        return v2_bad(fs, "inode %u: directory entries, but no directory", node->inode);
    if ((parse->seen & BIT(V2_SIZE)) && parse->size != content_bytes)
        return v2_bad(fs, "inode %u: SIZE is %llu, its content has %llu bytes", node->inode,
                      (unsigned long long)parse->size, (unsigned long long)content_bytes);
    return 0;
}

int v2_record_read(struct v2_fs *fs, uint32_t inode, struct v2_node *node, uint64_t *record_end)
{
    struct v2_cursor cursor = v2_cursor_begin(fs);
    struct record_parse parse = {.node = node};
    uint64_t offset = 0;
    int error;
    assert(inode >= 1 && inode <= fs->header.inodes);
    *node = (struct v2_node){.inode = inode, .type = VFS_FILE, .mode = 0100644, .nlink = 1};
    error = find_record(&cursor, inode, &offset, record_end);
    node->record_offset = offset;
    if (!error)
        error = parse_values(&cursor, &parse, offset + V2_RECORD_HEAD_BYTES, *record_end);
    v2_cursor_end(&cursor);
    return error ? error : check_whole(fs, &parse);
}

static int count_entry(const struct vfs_entry *entry, void *context)
{
    ++*(uint64_t *)context;
    return 0;
}

static int load_node(struct v2_fs *fs, uint32_t inode, struct v2_node *node)
{
    uint64_t record_end = 0, entries = 0;
    int error = v2_record_read(fs, inode, node, &record_end);
    if (!error && node->type == VFS_DIRECTORY)
        error = v2_directory_list(fs, node, count_entry, &entries);
    node->entries = entries;
    return error;
}

int v2_node_get(struct v2_fs *fs, uint64_t inode, struct v2_node *node)
{
    struct v2_node *cached = &fs->nodes[inode % V2_CACHED_NODES];
    int error;
    if (inode < 1 || inode > fs->header.inodes)
        return v2_bad(fs, "inode %llu asked for, there are 1 to %u", (unsigned long long)inode,
                      fs->header.inodes);
    spin_lock(&fs->node_lock);
    *node = *cached;
    spin_unlock(&fs->node_lock);
    if (node->inode == inode)
        return 0;
    error = load_node(fs, (uint32_t)inode, node);
    if (error)
        return error;
    spin_lock(&fs->node_lock);
    *cached = *node;
    spin_unlock(&fs->node_lock);
    return 0;
}
