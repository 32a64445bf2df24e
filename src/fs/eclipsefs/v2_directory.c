/* SPDX-License-Identifier: MIT */
/* Directories of eclipsefs v2: one value that holds the entries, in any order, read as a stream.
 *
 * A directory is checked whole when its record is first loaded (v2_record.c), so that a bad entry spoils it
 * for every use alike, and a lookup need not look at names of another length. Refused are entries that
 * overrun, inode numbers out of range, and names that are empty, ".", "..", longer than 255 bytes or hold a
 * '/' or a NUL. Equal names and cycles are for those who read all of a directory or tree: fs/walk.c, fsck. */
#include "v2_internal.h"

#include <kernel/base/assert.h>
#include <kernel/string.h>

/* Why a name may not be in a directory; NULL when it may. */
static const char *name_fault(const char *name, uint32_t bytes)
{
    if (bytes == 0)
        return "an empty name";
    if (name[0] == '.' && (bytes == 1 || (bytes == 2 && name[1] == '.')))
        return bytes == 1 ? "the name '.'" : "the name '..'";
    if (memchr(name, '/', bytes))
        return "a name with a '/'";
    if (memchr(name, '\0', bytes))
        return "a name with a NUL";
    return NULL;
}

/* A place in a directory's value. */
struct entry_position {
    uint64_t offset, end;
    uint32_t index;
    uint32_t name_bytes, inode; /* of the entry there, after read_head */
};

/* Reads the entry's head; `offset` moves on to the name. */
static int read_head(struct v2_cursor *cursor, const struct v2_node *directory, struct entry_position *at)
{
    struct v2_fs *fs = cursor->fs;
    uint8_t head[V2_ENTRY_HEAD_BYTES];
    int error;
    if (at->end - at->offset < sizeof(head))
        return v2_bad(fs, "inode %u: directory entry %u is cut short at byte %llu", directory->inode,
                      at->index, (unsigned long long)at->offset);
    error = v2_cursor_read(cursor, at->offset, head, sizeof(head));
    if (error)
        return error;
    at->offset += sizeof(head);
    at->name_bytes = load_le32(head);
    at->inode = load_le32(head + 4);
    if (at->name_bytes > at->end - at->offset)
        return v2_bad(fs, "inode %u: directory entry %u, a name of %u bytes at byte %llu, overruns",
                      directory->inode, at->index, at->name_bytes, (unsigned long long)at->offset);
    if (at->name_bytes > V2_NAME_MAX)
        return v2_bad(fs, "inode %u: directory entry %u has a name of %u bytes, the limit is %u",
                      directory->inode, at->index, at->name_bytes, V2_NAME_MAX);
    if (at->inode < 1 || at->inode > fs->header.inodes)
        return v2_bad(fs, "inode %u: directory entry %u leads to inode %u, there are 1 to %u",
                      directory->inode, at->index, at->inode, fs->header.inodes);
    return 0;
}

static int read_name(struct v2_cursor *cursor, const struct v2_node *directory,
                     const struct entry_position *at, char *name)
{
    const char *fault;
    int error = v2_cursor_read(cursor, at->offset, name, at->name_bytes);
    if (error)
        return error;
    fault = name_fault(name, at->name_bytes);
    if (fault)
        return v2_bad(cursor->fs, "inode %u: directory entry %u has %s", directory->inode, at->index, fault);
    return 0;
}

static struct entry_position entries_begin(const struct v2_node *directory)
{
    assert(directory->type == VFS_DIRECTORY);
    return (struct entry_position){.offset = directory->value_offset,
                                   .end = directory->value_offset + directory->value_bytes};
}

static void entries_next(struct entry_position *at)
{
    at->offset += at->name_bytes;
    at->index++;
    assert(at->offset <= at->end);
}

int v2_directory_list(struct v2_fs *fs, const struct v2_node *directory,
                      int (*each)(const struct vfs_entry *entry, void *context), void *context)
{
    struct v2_cursor cursor = v2_cursor_begin(fs);
    struct entry_position at = entries_begin(directory);
    char name[V2_NAME_MAX];
    int result = 0;
    while (result == 0 && at.offset < at.end) {
        result = read_head(&cursor, directory, &at);
        if (result == 0)
            result = read_name(&cursor, directory, &at, name);
        if (result == 0) {
            struct vfs_entry entry = {.inode = at.inode, .name_bytes = at.name_bytes, .name = name};
            result = each(&entry, context);
            entries_next(&at);
        }
    }
    v2_cursor_end(&cursor);
    return result;
}

int v2_directory_find(struct v2_fs *fs, const struct v2_node *directory, const char *name, size_t name_bytes,
                      uint64_t *inode)
{
    struct v2_cursor cursor = v2_cursor_begin(fs);
    struct entry_position at = entries_begin(directory);
    char there[V2_NAME_MAX];
    int result = -ENOENT;
    while (result == -ENOENT && at.offset < at.end) {
        int error = read_head(&cursor, directory, &at);
        if (!error && at.name_bytes == name_bytes)
            error = read_name(&cursor, directory, &at, there);
        if (error) {
            result = error;
            break;
        }
        if (at.name_bytes == name_bytes && memcmp(there, name, name_bytes) == 0) {
            *inode = at.inode;
            result = 0;
        }
        entries_next(&at);
    }
    v2_cursor_end(&cursor);
    return result;
}
