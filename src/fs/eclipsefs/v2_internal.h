/* SPDX-License-Identifier: MIT */
/* The reader of eclipsefs v2.0, variant A. v2.c mounts it; v2_record.c finds and checks records;
 * v2_directory.c walks entries; v2_check.c reads everything there is. All of it reads through the buffer
 * cache and believes nothing: every offset is checked before it is used. */
#ifndef FS_ECLIPSEFS_V2_INTERNAL_H
#define FS_ECLIPSEFS_V2_INTERNAL_H

#include <fs/bcache.h>
#include <fs/eclipsefs/format.h>
#include <fs/vfs.h>
#include <kernel/spinlock.h>

#define V2_CACHED_NODES 256u /* a power of two */

/* What a record says, checked. */
struct v2_node {
    uint32_t inode; /* 0: an empty place in the cache */
    uint32_t type;  /* enum vfs_type: the disk's numbers are the same */
    uint32_t mode, uid, gid, nlink;
    uint64_t atime, mtime, ctime;
    uint64_t record_offset;
    uint64_t value_offset, value_bytes; /* CONTENT or ENTRIES, bytes from the device's start */
    uint64_t entries;                   /* of a directory, all of them checked */
};

struct v2_fs;
/* One line about something bad in the image. */
typedef void v2_report_function(struct v2_fs *fs, const char *text, void *context);

/* Lock legend: I constant after v2_open; n node_lock; a a hint, written without a lock. */
struct v2_fs {
    struct block_device *device;           /* I */
    uint64_t bytes;                        /* I: of the device */
    uint64_t nodes_offset;                 /* I: NODES */
    struct v2_header header;               /* I */
    v2_report_function *report;            /* I: NULL: to the log */
    void *report_context;                  /* I */
    uint64_t next_read;                    /* a: where the last read of content ended, for reading ahead */
    struct spinlock node_lock;             /* never held over I/O */
    struct v2_node nodes[V2_CACHED_NODES]; /* n: at inode modulo their number */
};

/* Reads and checks the header: 0; -EINVAL, silent, when it is no eclipsefs at all; -EOPNOTSUPP or -EUCLEAN
 * after a report; -EIO, -ENOMEM. */
must_check int v2_open(struct block_device *device, v2_report_function *report, void *context,
                       struct v2_fs **fs);
void v2_close(struct v2_fs *fs);

/* Reports one problem; always -EUCLEAN. */
int v2_bad(struct v2_fs *fs, const char *format, ...) printf_like(2, 3);

/* Bytes of the device in any order; keeps the buffer it was in last. End with v2_cursor_end. */
struct v2_cursor {
    struct v2_fs *fs;
    struct buffer *buffer; /* NULL: none yet */
    uint64_t block;
};
static inline struct v2_cursor v2_cursor_begin(struct v2_fs *fs)
{
    return (struct v2_cursor){.fs = fs, .buffer = NULL, .block = 0};
}
/* [offset, offset + bytes) must lie in the device: the caller has checked what it read. */
must_check int v2_cursor_read(struct v2_cursor *cursor, uint64_t offset, void *to, size_t bytes);
void v2_cursor_end(struct v2_cursor *cursor);

/* The record of `inode`, checked whole, a directory with all its entries: 0, -EUCLEAN after a report, or an
 * error of the device. */
must_check int v2_node_get(struct v2_fs *fs, uint64_t inode, struct v2_node *node);
/* The same without a look at a directory's entries, and past the cache; *record_end: offset of its end. */
must_check int v2_record_read(struct v2_fs *fs, uint32_t inode, struct v2_node *node, uint64_t *record_end);

/* Calls `each` for the entries, checking each one before. 0, what `each` returned, or as v2_node_get. */
int v2_directory_list(struct v2_fs *fs, const struct v2_node *directory,
                      int (*each)(const struct vfs_entry *entry, void *context), void *context);
/* -ENOENT. The directory must have been checked: v2_node_get did. */
must_check int v2_directory_find(struct v2_fs *fs, const struct v2_node *directory, const char *name,
                                 size_t name_bytes, uint64_t *inode);

#endif
