/* SPDX-License-Identifier: MIT */
/* Walking a whole tree within one file system, directories sorted. Nothing on disk can make a walk endless: a
 * directory is entered once, and a second name of it ends the walk with -EUCLEAN. Thread context; also
 * built for the host. */
#ifndef FS_WALK_H
#define FS_WALK_H

#include <fs/vfs.h>

enum walk_order {
    WALK_TREE,    /* a directory's tree comes right behind the directory */
    WALK_BY_PATH, /* sorted by the bytes of whole paths: "/a", "/a-b", "/a/c" */
};

struct walk_item {
    const char *path;     /* terminated; begins as the walk's own path does */
    const char *name;     /* the last component, within `path`; "/" for the root */
    uint32_t depth;       /* 0: where the walk begins */
    bool is_last;         /* in its directory; WALK_TREE only */
    struct vfs_node node; /* the walk's reference: not to be closed */
    struct vfs_stat stat;
};

/* Calls `each` for `path` (links followed) and all below it until it returns non-zero, which is then
 * returned. -EUCLEAN, after a line in the log, for equal names in a directory, cycles and directories with
 * two names. Other mounts are not entered. */
must_check int fs_walk(const char *path, enum walk_order order,
                       int (*each)(const struct walk_item *item, void *context), void *context);

/* The sorted names of one directory; the caller frees them also after an error. -EUCLEAN as above. */
struct name_list;
must_check int fs_list_sorted(const struct vfs_node *directory, struct name_list *names);

#endif
