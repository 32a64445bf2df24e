/* SPDX-License-Identifier: MIT */
/* fsck for eclipsefs v2.0: reads every slot, record and entry, judges them as strictly as the reader does,
 * but goes on after a fault. Beyond single records it finds equal names in a directory, directories with two
 * names, directories that do not hang on the root (cycles among them), and records that overlap.
 *
 * Memory: 32 bytes an inode. Time: two passes over the directories and a sort of the records. */
#include <fs/eclipsefs/eclipsefs.h>
#include <fs/name_list.h>
#include "v2_internal.h"

#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/string.h>

/* What is known of an inode; in the array at its number - 1. */
struct inode_info {
    uint64_t start, end; /* its record; both 0: bad */
    uint32_t inode;
    uint32_t parent; /* the directory that named it last; 0: none */
    uint8_t type;    /* enum vfs_type; 0: bad */
    uint8_t way;     /* of a directory: enum way_up */
};

/* Whether a directory's parents lead to the root. */
enum way_up { WAY_UNKNOWN, WAY_TO_ROOT, WAY_LOST };

struct check_state {
    struct eclipsefs_check *check;
    struct v2_fs *fs;
    struct inode_info *inodes;
    uint32_t directory;        /* whose entries are being looked at */
    bool has_unread_directory; /* then what it names is not known */
};

static void count_problem(struct v2_fs *fs, const char *text, void *context)
{
    struct check_state *state = context;
    state->check->problems++;
    state->check->problem(state->check, text);
}

/* True for an error that ends the check: not for a fault of the image. */
static bool is_fatal(int error)
{
    return error != 0 && error != -EUCLEAN;
}

static int check_record(struct check_state *state, uint32_t inode)
{
    struct inode_info *info = &state->inodes[inode - 1];
    struct eclipsefs_check *check = state->check;
    struct v2_node node;
    uint64_t end = 0;
    int error = v2_record_read(state->fs, inode, &node, &end);
    info->inode = inode;
    state->has_unread_directory |= error != 0; /* it may have been one */
    if (error)
        return is_fatal(error) ? error : 0;
    info->type = (uint8_t)node.type;
    info->start = node.record_offset;
    info->end = end;
    check->end_offset = MAX(check->end_offset, end);
    check->files += node.type == VFS_FILE;
    check->directories += node.type == VFS_DIRECTORY;
    check->links += node.type == VFS_LINK;
    check->content_bytes += node.type == VFS_DIRECTORY ? 0 : node.value_bytes;
    return 0;
}

static int note_child(struct check_state *state, uint64_t inode)
{
    struct inode_info *child = &state->inodes[inode - 1];
    if (inode == V2_ROOT_INODE)
        return v2_bad(state->fs, "inode %u: an entry leads to the root", state->directory);
    if (child->parent != 0 && child->type == VFS_DIRECTORY)
        return v2_bad(state->fs, "inode %u: a directory with two names, in inodes %u and %u", child->inode,
                      child->parent, state->directory);
    child->parent = state->directory;
    return 0;
}

static int check_directory(struct check_state *state, uint32_t inode)
{
    struct name_list names;
    struct v2_node node;
    uint64_t end;
    const struct name_entry *twice;
    /* Its problems were reported by check_record: it is read again only when there were none. */
    int error = v2_record_read(state->fs, inode, &node, &end);
    if (error)
        return error;
    name_list_init(&names);
    state->directory = inode;
    error = v2_directory_list(state->fs, &node, name_list_add, &names);
    name_list_sort(&names); /* a bad entry spoils only those behind it */
    twice = name_list_duplicate(&names);
    if (twice)
        v2_bad(state->fs, "inode %u: '%.*s' stands there twice", inode, (int)twice->name_bytes, twice->name);
    for (const struct name_entry *entry = names.first; entry; entry = entry->next)
        note_child(state, entry->inode);
    name_list_free(&names);
    state->has_unread_directory |= error != 0;
    return is_fatal(error) ? error : 0;
}

/* Follows a directory up to where the way is known, and marks all on it: so each step is taken at most three
 * times in the whole check. A lost way is reported once, for the first directory found on it. */
static void check_way_to_root(struct check_state *state, uint32_t inode)
{
    struct inode_info *inodes = state->inodes;
    uint8_t way;
    uint32_t at = inode, steps = 0;
    while (at != 0 && inodes[at - 1].way == WAY_UNKNOWN && steps++ <= state->fs->header.inodes)
        at = inodes[at - 1].parent;
    way = at == 0 ? WAY_LOST : inodes[at - 1].way;
    if (at == 0)
        v2_bad(state->fs, "inode %u: a directory that does not hang on the root", inode);
    if (way == WAY_UNKNOWN) {
        v2_bad(state->fs, "inode %u: a directory that hangs on a cycle, not on the root", inode);
        way = WAY_LOST;
    }
    for (at = inode; at != 0 && inodes[at - 1].way == WAY_UNKNOWN; at = inodes[at - 1].parent)
        inodes[at - 1].way = way;
}

static void check_tree(struct check_state *state)
{
    uint32_t count = state->fs->header.inodes;
    state->inodes[V2_ROOT_INODE - 1].way = WAY_TO_ROOT;
    if (state->inodes[V2_ROOT_INODE - 1].type != VFS_DIRECTORY)
        v2_bad(state->fs, "inode %u: the root is not a directory", V2_ROOT_INODE);
    if (state->has_unread_directory)
        return; /* what seems to hang nowhere may hang there */
    for (uint32_t inode = V2_ROOT_INODE + 1; inode <= count; inode++) {
        const struct inode_info *info = &state->inodes[inode - 1];
        if (info->type == VFS_DIRECTORY)
            check_way_to_root(state, inode);
        else
            state->check->unnamed += info->type != 0 && info->parent == 0;
    }
}

/* ---- Overlaps: a heap sort of the records by place ------------------------------------------------------
 */

static void sift_down(struct inode_info *heap, size_t at, size_t count)
{
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        child += child + 1 < count && heap[child + 1].start > heap[child].start;
        if (heap[at].start >= heap[child].start)
            return;
        struct inode_info swap = heap[at];
        heap[at] = heap[child];
        heap[child] = swap;
    }
}

static void sort_by_start(struct inode_info *heap, size_t count)
{
    for (size_t at = count / 2; at-- > 0;)
        sift_down(heap, at, count);
    while (count-- > 1) {
        struct inode_info swap = heap[0];
        heap[0] = heap[count];
        heap[count] = swap;
        sift_down(heap, 0, count);
    }
}

/* The last look at the array: it loses its order. */
static void check_overlaps(struct check_state *state)
{
    const struct inode_info *last = NULL;
    uint32_t count = state->fs->header.inodes;
    sort_by_start(state->inodes, count);
    for (uint32_t i = 0; i < count; i++) {
        const struct inode_info *info = &state->inodes[i];
        if (info->end == 0)
            continue;
        if (last && info->start < last->end)
            v2_bad(state->fs, "inodes %u and %u: their records overlap at byte %llu", last->inode,
                   info->inode, (unsigned long long)info->start);
        if (!last || info->end > last->end)
            last = info;
    }
}

static int check_all(struct check_state *state)
{
    uint32_t count = state->fs->header.inodes;
    int error = 0;
    for (uint32_t inode = 1; inode <= count && !error; inode++)
        error = check_record(state, inode);
    for (uint32_t inode = 1; inode <= count && !error; inode++)
        if (state->inodes[inode - 1].type == VFS_DIRECTORY)
            error = check_directory(state, inode);
    if (error)
        return error;
    check_tree(state);
    check_overlaps(state);
    return 0;
}

int eclipsefs_check(struct block_device *device, struct eclipsefs_check *check)
{
    struct check_state state = {.check = check};
    int error = v2_open(device, count_problem, &state, &state.fs);
    if (error == -EUCLEAN || error == -EOPNOTSUPP)
        return 0; /* reported, and there is nothing more to look at */
    if (error)
        return error;
    state.inodes = heap_alloc_zeroed((size_t)state.fs->header.inodes * sizeof(struct inode_info));
    error = state.inodes ? check_all(&state) : -ENOMEM;
    heap_free(state.inodes);
    v2_close(state.fs);
    return error;
}
