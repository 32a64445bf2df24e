/* SPDX-License-Identifier: MIT */
/* eclipsefs for others than the VFS: making and checking one. Thread context; also built for the host. */
#ifndef FS_ECLIPSEFS_ECLIPSEFS_H
#define FS_ECLIPSEFS_ECLIPSEFS_H

#include <fs/vfs.h>

extern const struct vfs_ops eclipsefs_v2_ops;

/* Writes an empty file system over `device`, through the buffer cache, and makes it durable. Nothing may be
 * mounted from it. -ENOSPC when it is too small, -EROFS, or an error of the device. */
must_check int eclipsefs_make(struct block_device *device, uint64_t time);

/* Looks at everything on `device` that can be reached from the header. One call of `problem` for each
 * fault, with a line that names inode, byte and field. */
struct eclipsefs_check {
    void (*problem)(struct eclipsefs_check *check, const char *text);
    uint64_t problems, files, directories, links, content_bytes;
    uint64_t unnamed;    /* inodes that no directory names: unused, not a fault */
    uint64_t end_offset; /* where the last record ends */
};
/* 0 when it could look, whatever it found; -EINVAL when the device holds something else; -ENOMEM; or an error
 * of the device. */
must_check int eclipsefs_check(struct block_device *device, struct eclipsefs_check *check);

#endif
