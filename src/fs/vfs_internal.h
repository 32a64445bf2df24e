/* SPDX-License-Identifier: MIT */
/* What vfs.c (mounts, open nodes) and path.c (walking a path) share. */
#ifndef FS_VFS_INTERNAL_H
#define FS_VFS_INTERNAL_H

#include <fs/vfs.h>
#include <kernel/base/list.h>

/* Lock legend: I constant; t the table's spinlock; a atomic. */
struct vfs_mount {
    struct list node;            /* t: in the table, in order of mounting */
    struct block_device *device; /* I */
    const struct vfs_ops *ops;   /* I */
    void *fs;                    /* I */
    uint64_t root;               /* I: inode */
    struct vfs_node covered;     /* I: the directory it lies on; .mount NULL for "/" */
    uint32_t references;         /* a: the table's, open nodes', and mounts that lie on it */
    char path[];                 /* I: as given, without slashes at its end */
};

/* The mount at "/", referenced; NULL when there is none. */
struct vfs_mount *vfs_root_mount(void);
/* One reference more for who already has one, directly or through a node. */
struct vfs_mount *vfs_mount_get(struct vfs_mount *mount);
void vfs_mount_put(struct vfs_mount *mount);
/* While a file system is mounted on *node: moves it there, with its reference. */
void vfs_cross_mounts(struct vfs_node *node);

#endif
