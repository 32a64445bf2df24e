/* SPDX-License-Identifier: MIT */
/* eclipsefs v2.0 as a mounted file system, read-only (fs/vfs.h). Thread context; any number of threads.
 *
 * Mounting reads the header and the root directory and nothing else: time and memory do not depend on the
 * image's size. The rest is checked when it is first used. */
#include <fs/eclipsefs/eclipsefs.h>
#include "v2_internal.h"

#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/string.h>

#define READ_AHEAD_BLOCKS 32u

/* The header's own sense; variant and version are settled. */
static int check_header(struct v2_fs *fs, const uint8_t *block)
{
    const struct v2_header *header = &fs->header;
    if (header->inodes == 0)
        return v2_bad(fs, "header: no inodes");
    if (header->checksum != 0 && header->checksum != v2_header_checksum(block))
        return v2_bad(fs, "header: checksum is 0x%08x, its bytes have 0x%08x", header->checksum,
                      v2_header_checksum(block));
    if (header->table_bytes < (uint64_t)V2_SLOT_BYTES * header->inodes)
        return v2_bad(fs, "header: an inode table of %llu bytes for %u inodes",
                      (unsigned long long)header->table_bytes, header->inodes);
    if (header->table_offset < V2_HEADER_BYTES || header->table_offset > fs->bytes ||
        header->table_bytes > fs->bytes - header->table_offset)
        return v2_bad(fs, "header: inode table of %llu bytes at byte %llu does not fit the device's %llu",
                      (unsigned long long)header->table_bytes, (unsigned long long)header->table_offset,
                      (unsigned long long)fs->bytes);
    return 0;
}

/* B and C differ only behind the header. */
static enum eclipsefs_variant identify_by_table(struct v2_fs *fs)
{
    struct v2_cursor cursor = v2_cursor_begin(fs);
    enum eclipsefs_variant variant = ECLIPSEFS_B_OR_C;
    uint8_t table[16];
    if (fs->header.table_offset <= fs->bytes && fs->bytes - fs->header.table_offset >= sizeof(table) &&
        v2_cursor_read(&cursor, fs->header.table_offset, table, sizeof(table)) == 0)
        variant = eclipsefs_identify_table(table);
    v2_cursor_end(&cursor);
    return variant;
}

static int check_first_block(struct v2_fs *fs, const uint8_t *block)
{
    enum eclipsefs_variant variant = eclipsefs_identify(block);
    if (variant == ECLIPSEFS_NONE)
        return -EINVAL;
    v2_header_decode(block, &fs->header);
    if (variant == ECLIPSEFS_A)
        return check_header(fs, block);
    if (variant == ECLIPSEFS_B_OR_C)
        variant = identify_by_table(fs);
    if (variant == ECLIPSEFS_OTHER_VERSION)
        v2_bad(fs, "eclipsefs version %u.%u cannot be read: only 2.0 can", fs->header.version >> 16,
               fs->header.version & 0xffff);
    else
        v2_bad(fs, "this is %s, which cannot be read: only variant A can", eclipsefs_variant_text(variant));
    return -EOPNOTSUPP;
}

int v2_open(struct block_device *device, v2_report_function *report, void *context, struct v2_fs **result)
{
    struct v2_fs *fs;
    struct buffer *buffer;
    int error = bcache_get(device, 0, &buffer);
    if (error)
        return error;
    fs = heap_alloc_zeroed(sizeof(*fs));
    if (fs) {
        fs->device = device;
        fs->bytes = block_device_sectors(device) * BLOCK_SECTOR_BYTES;
        fs->report = report;
        fs->report_context = context;
        spinlock_init(&fs->node_lock, "eclipsefs nodes");
        error = check_first_block(fs, buffer_data(buffer));
        fs->nodes_offset = fs->header.table_offset + fs->header.table_bytes;
    } else {
        error = -ENOMEM;
    }
    bcache_put(buffer);
    if (error) {
        heap_free(fs);
        return error;
    }
    assert(fs->nodes_offset <= fs->bytes);
    *result = fs;
    return 0;
}

void v2_close(struct v2_fs *fs)
{
    heap_free(fs);
}

/* ---- vfs_ops ----------------------------------------------------------------------------------------- */

static int v2_mount(struct block_device *device, void **result)
{
    struct v2_fs *fs;
    struct v2_node root;
    int error = v2_open(device, NULL, NULL, &fs);
    if (error)
        return error;
    error = v2_node_get(fs, V2_ROOT_INODE, &root);
    if (!error && root.type != VFS_DIRECTORY)
        error = v2_bad(fs, "inode %u: the root is not a directory", V2_ROOT_INODE);
    if (error) {
        v2_close(fs);
        return error;
    }
    *result = fs;
    return 0;
}

static void v2_unmount(void *fs)
{
    v2_close(fs);
}

static uint64_t v2_root(void *fs)
{
    return V2_ROOT_INODE;
}

static int v2_stat(void *fs, uint64_t inode, struct vfs_stat *stat)
{
    struct v2_node node;
    int error = v2_node_get(fs, inode, &node);
    if (error)
        return error;
    *stat = (struct vfs_stat){.inode = inode,
                              .type = (enum vfs_type)node.type,
                              .mode = node.mode,
                              .uid = node.uid,
                              .gid = node.gid,
                              .nlink = node.nlink,
                              .size_bytes = node.type == VFS_DIRECTORY ? 0 : node.value_bytes,
                              .atime = node.atime,
                              .mtime = node.mtime,
                              .ctime = node.ctime,
                              .entries = node.entries};
    return 0;
}

static int get_directory(struct v2_fs *fs, uint64_t inode, struct v2_node *node)
{
    int error = v2_node_get(fs, inode, node);
    if (error)
        return error;
    return node->type == VFS_DIRECTORY ? 0 : -ENOTDIR;
}

static int v2_lookup(void *fs, uint64_t directory, const char *name, size_t name_bytes, uint64_t *inode)
{
    struct v2_node node;
    int error = get_directory(fs, directory, &node);
    return error ? error : v2_directory_find(fs, &node, name, name_bytes, inode);
}

static int v2_list(void *fs, uint64_t directory, int (*each)(const struct vfs_entry *entry, void *context),
                   void *context)
{
    struct v2_node node;
    int error = get_directory(fs, directory, &node);
    return error ? error : v2_directory_list(fs, &node, each, context);
}

/* Starts reading the blocks of [offset, offset + bytes) together, and some behind them where the reader
 * comes from the bytes before; all of it within the file. */
static void read_ahead(struct v2_fs *fs, uint64_t offset, uint64_t bytes, uint64_t file_end)
{
    uint64_t first = offset / BCACHE_BLOCK_BYTES, end = offset + bytes;
    if (read_once(fs->next_read) == offset)
        end = MIN(end + READ_AHEAD_BLOCKS * BCACHE_BLOCK_BYTES, file_end);
    write_once(fs->next_read, offset + bytes);
    uint64_t blocks = div_round_up(end, BCACHE_BLOCK_BYTES) - first;
    if (blocks > 1)
        bcache_prefetch(fs->device, first, (uint32_t)MIN(blocks, 1024ull));
}

static int v2_read(void *context, uint64_t inode, uint64_t offset, void *to, size_t bytes, size_t *done)
{
    struct v2_fs *fs = context;
    struct v2_cursor cursor = v2_cursor_begin(fs);
    struct v2_node node;
    int error = v2_node_get(fs, inode, &node);
    *done = 0;
    if (error)
        return error;
    if (node.type == VFS_DIRECTORY)
        return -EISDIR;
    if (offset >= node.value_bytes || bytes == 0)
        return 0;
    bytes = MIN(bytes, node.value_bytes - offset);
    read_ahead(fs, node.value_offset + offset, bytes, node.value_offset + node.value_bytes);
    error = v2_cursor_read(&cursor, node.value_offset + offset, to, bytes);
    v2_cursor_end(&cursor);
    *done = error ? 0 : bytes;
    return error;
}

static void v2_usage(void *context, struct vfs_usage *usage)
{
    struct v2_fs *fs = context;
    *usage = (struct vfs_usage){
        .total_bytes = fs->bytes, .inodes = fs->header.inodes, .is_read_only = true, .format = "v2.0"};
}

const struct vfs_ops eclipsefs_v2_ops = {
    .name = "eclipsefs",
    .mount = v2_mount,
    .unmount = v2_unmount,
    .root = v2_root,
    .stat = v2_stat,
    .lookup = v2_lookup,
    .list = v2_list,
    .read = v2_read,
    .usage = v2_usage,
};
VFS_FILE_SYSTEM(eclipsefs_v2, eclipsefs_v2_ops);
