/* SPDX-License-Identifier: MIT */
/* The names in a directory, sorted by their bytes. In small pieces of memory, so that a directory of any size
 * can be sorted in the kernel. Thread context; the caller locks. Also built for the host. */
#ifndef FS_NAME_LIST_H
#define FS_NAME_LIST_H

#include <fs/vfs.h>

struct name_entry {
    struct name_entry *next;
    uint64_t inode;
    uint32_t name_bytes;
    char name[]; /* not terminated */
};

struct name_list {
    struct name_entry *first;
    uint64_t count;
    struct name_chunk *chunks;
};

void name_list_init(struct name_list *list);
void name_list_free(struct name_list *list);
/* 0 or -ENOMEM. Fits vfs_list's `each`, with the list as its context. */
int name_list_add(const struct vfs_entry *entry, void *list);
/* By bytes, shorter first where one begins with the other. Equal names keep their order. */
void name_list_sort(struct name_list *list);
/* In a sorted list: the first entry whose name is also the next one's; NULL. */
const struct name_entry *name_list_duplicate(const struct name_list *list);

/* The order that name_list_sort uses: below, equal to or above 0. */
int name_compare(const char *a, size_t a_bytes, const char *b, size_t b_bytes);

#endif
