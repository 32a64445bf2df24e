/* SPDX-License-Identifier: MIT */
/* Files by path. A file system type registers in a linker set and fills in struct vfs_ops. A path starts at
 * the root, with or without its first slash; components have up to 255 bytes; up to 32 links are followed.
 * "." and ".." mean what they do in POSIX: ".." of a directory reached through a link is its real parent.
 * Thread context. */
#ifndef FS_VFS_H
#define FS_VFS_H

#include <drivers/block/block.h>
#include <kernel/base/linker_set.h>

#define VFS_NAME_MAX 255u
#define VFS_PATH_MAX 4096u
#define VFS_LINK_MAX 32u

enum vfs_type { VFS_FILE = 1, VFS_DIRECTORY = 2, VFS_LINK = 3 };

struct vfs_stat {
    uint64_t inode;
    enum vfs_type type;
    uint32_t mode, uid, gid, nlink;
    uint64_t size_bytes, atime, mtime, ctime; /* seconds since 1970 */
    uint64_t entries;                         /* of a directory */
};

/* What a file system says of itself, for df. */
struct vfs_usage {
    uint64_t total_bytes, inodes;
    bool is_read_only;
    const char *format; /* "v2.0" */
};

struct vfs_mount; /* a mounted file system */

struct vfs_entry {
    uint64_t inode;
    uint32_t name_bytes;
    const char *name; /* not terminated; valid during the call */
};

/* What a file system provides. Inodes are numbers; `fs` is what mount returned. All return 0 or -errno. */
struct vfs_ops {
    const char *name; /* "eclipsefs" */
    /* -EINVAL when the device holds something else (silent), other errnos after one line in the log. */
    int (*mount)(struct block_device *device, void **fs);
    void (*unmount)(void *fs);
    uint64_t (*root)(void *fs);
    int (*stat)(void *fs, uint64_t inode, struct vfs_stat *stat);
    int (*lookup)(void *fs, uint64_t directory, const char *name, size_t name_bytes, uint64_t *inode);
    /* Calls `each` for all entries, in any order, until it returns non-zero, which is then returned. */
    int (*list)(void *fs, uint64_t directory, int (*each)(const struct vfs_entry *entry, void *context),
                void *context);
    /* Up to `bytes` from `offset`; what was read into *done: less only at the end of file. */
    int (*read)(void *fs, uint64_t inode, uint64_t offset, void *to, size_t bytes, size_t *done);
    void (*usage)(void *fs, struct vfs_usage *usage);
};
#define VFS_FILE_SYSTEM(id, ops) linker_set_add(file_systems, const struct vfs_ops, ops)

/* Mounts what `device` holds at `path` ("/" or an existing directory). -EBUSY when the path or the device is
 * taken; -EINVAL with one line when no file system knows it. Each try and its result is a line in the log.
 * What the cache held of the device is dropped first. */
must_check int vfs_mount(struct block_device *device, const char *path);
/* -EBUSY while something in it is open or mounted; -EINVAL when `path` is no mount's root. */
must_check int vfs_unmount(const char *path);
bool vfs_device_is_mounted(const struct block_device *device);
/* Mounts `/` by the root= option (contract); logs each try and its result. */
void vfs_mount_root(void);
/* `each` may open and read files, but not mount or unmount. */
void vfs_for_each_mount(void (*each)(const char *path, struct block_device *device, const char *type,
                                     void *context),
                        void *context);

/* An open file or directory. `follow`: a link as the last component is followed. */
struct vfs_node {
    struct vfs_mount *mount; /* referenced */
    uint64_t inode;
};
must_check int vfs_open(const char *path, bool follow, struct vfs_node *node);
void vfs_close(struct vfs_node *node);
int vfs_stat(const struct vfs_node *node, struct vfs_stat *stat);
int vfs_list(const struct vfs_node *node, int (*each)(const struct vfs_entry *entry, void *context),
             void *context);
int vfs_read(const struct vfs_node *node, uint64_t offset, void *to, size_t bytes, size_t *done);
/* A link's target, terminated, into `to`. -EINVAL when it is none. */
int vfs_read_link(const struct vfs_node *node, char *to, size_t bytes);
void vfs_usage(const struct vfs_node *node, struct vfs_usage *usage);

#endif
