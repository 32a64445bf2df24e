/* SPDX-License-Identifier: MIT */
/* Tree walks (fs/walk.h), without recursion: a kernel stack is small and a tree may be deep. Each directory
 * on the way down is a frame with its sorted names.
 *
 * For WALK_BY_PATH a directory's own entries wait until no sibling sorts between "name" and "name/": several
 * may wait at once, and of those the last one comes first, since its name begins with the others'. */
#include <fs/name_list.h>
#include <fs/walk.h>
#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/string.h>

#define SET_BITS_FIRST 6u

/* Inode numbers seen: open addressing, at most half full, 0 for an empty place. */
struct inode_set {
    uint64_t *slots;
    unsigned bits;
    uint64_t count;
};

struct pending {
    struct pending *next;
    const struct name_entry *entry;
};

struct frame {
    struct frame *up;
    struct name_list names;
    const struct name_entry *next; /* to be visited */
    struct pending *pending;       /* visited directories that are still to be entered, last first */
    size_t path_bytes;             /* of this directory's path, without a slash at its end */
};

struct walk {
    enum walk_order order;
    int (*each)(const struct walk_item *item, void *context);
    void *context;
    struct vfs_node root; /* referenced */
    struct frame *top;
    uint32_t depth; /* of what is in the top frame */
    struct inode_set entered;
    char path[VFS_PATH_MAX];
};

/* ---- The set of directories entered -------------------------------------------------------------------- */

static uint64_t *set_slot(uint64_t *slots, unsigned bits, uint64_t inode)
{
    assert(bits > 0 && bits < 64);
    uint64_t at = inode * 0x9e3779b97f4a7c15ull >> (64 - bits);
    while (slots[at] != 0 && slots[at] != inode)
        at = (at + 1) & ((1ull << bits) - 1);
    return &slots[at];
}

static int set_grow(struct inode_set *set)
{
    unsigned bits = set->slots ? set->bits + 1 : SET_BITS_FIRST;
    uint64_t *slots = heap_alloc_zeroed(sizeof(*slots) << bits);
    if (!slots)
        return -ENOMEM;
    for (uint64_t i = 0; set->slots && i < 1ull << set->bits; i++)
        if (set->slots[i] != 0)
            *set_slot(slots, bits, set->slots[i]) = set->slots[i];
    heap_free(set->slots);
    set->slots = slots;
    set->bits = bits;
    return 0;
}

/* -EEXIST when it is there already. */
static int set_add(struct inode_set *set, uint64_t inode)
{
    uint64_t *slot;
    assert(inode != 0);
    if (!set->slots || set->count >= 1ull << (set->bits - 1)) {
        int error = set_grow(set);
        if (error)
            return error;
    }
    assert(set->count < 1ull << (set->bits - 1)); /* an empty place ends each search */
    slot = set_slot(set->slots, set->bits, inode);
    if (*slot == inode)
        return -EEXIST;
    *slot = inode;
    set->count++;
    return 0;
}

/* ---- Frames -------------------------------------------------------------------------------------------- */

int fs_list_sorted(const struct vfs_node *directory, struct name_list *names)
{
    const struct name_entry *twice;
    int error;
    name_list_init(names);
    error = vfs_list(directory, name_list_add, names);
    if (error)
        return error;
    name_list_sort(names);
    twice = name_list_duplicate(names);
    if (!twice)
        return 0;
    log_error("vfs", "directory inode %llu: inodes %llu and %llu have the same name",
              (unsigned long long)directory->inode, (unsigned long long)twice->inode,
              (unsigned long long)twice->next->inode);
    return -EUCLEAN;
}

static void leave_directory(struct walk *walk)
{
    struct frame *frame = walk->top;
    assert(frame != NULL && walk->depth > 0);
    while (frame->pending) {
        struct pending *pending = frame->pending;
        frame->pending = pending->next;
        heap_free(pending);
    }
    name_list_free(&frame->names);
    walk->top = frame->up;
    walk->depth--;
    heap_free(frame);
}

/* Opens the directory at walk->path, `path_bytes` long, as the new top frame. */
static int enter_directory(struct walk *walk, uint64_t inode, size_t path_bytes)
{
    struct vfs_node node = {.mount = walk->root.mount, .inode = inode};
    struct frame *frame;
    int error = set_add(&walk->entered, inode);
    if (error == -EEXIST) {
        log_error("vfs", "%s: directory inode %llu has another name above or beside it: a cycle", walk->path,
                  (unsigned long long)inode);
        return -EUCLEAN;
    }
    frame = error ? NULL : heap_alloc_zeroed(sizeof(*frame));
    if (!frame)
        return -ENOMEM;
    assert(path_bytes < sizeof(walk->path));
    assert(!walk->top || path_bytes > walk->top->path_bytes); /* each lies below the one before */
    frame->up = walk->top;
    frame->path_bytes = path_bytes;
    walk->top = frame;
    walk->depth++;
    error = fs_list_sorted(&node, &frame->names);
    frame->next = frame->names.first;
    return error; /* the frame stays for fs_walk to take down */
}

/* Appends the entry's name to the top frame's path. */
static int extend_path(struct walk *walk, const struct name_entry *entry)
{
    size_t at = walk->top->path_bytes;
    if (at + 1 + entry->name_bytes >= sizeof(walk->path)) {
        log_error("vfs", "directory inode %llu lies deeper than a path of %u bytes",
                  (unsigned long long)entry->inode, VFS_PATH_MAX);
        return -ENAMETOOLONG;
    }
    walk->path[at] = '/';
    memcpy(walk->path + at + 1, entry->name, entry->name_bytes);
    walk->path[at + 1 + entry->name_bytes] = '\0';
    return 0;
}

static int enter_entry(struct walk *walk, const struct name_entry *entry)
{
    int error = extend_path(walk, entry);
    return error ? error : enter_directory(walk, entry->inode, strlen(walk->path));
}

static int add_pending(struct frame *frame, const struct name_entry *entry)
{
    struct pending *pending = heap_alloc(sizeof(*pending));
    if (!pending)
        return -ENOMEM;
    *pending = (struct pending){.next = frame->pending, .entry = entry};
    frame->pending = pending;
    return 0;
}

/* Whether the sibling sorts behind "directory/". */
static bool is_behind(const struct name_entry *sibling, const struct name_entry *directory)
{
    size_t common = directory->name_bytes;
    if (sibling->name_bytes <= common || memcmp(sibling->name, directory->name, common) != 0)
        return true; /* it sorts behind the name and does not begin with it */
    return (uint8_t)sibling->name[common] > '/';
}

static bool pending_is_due(const struct walk *walk, const struct frame *frame)
{
    if (!frame->pending)
        return false;
    return walk->order == WALK_TREE || !frame->next || is_behind(frame->next, frame->pending->entry);
}

/* ---- The walk ------------------------------------------------------------------------------------------ */

static int visit_entry(struct walk *walk, const struct name_entry *entry)
{
    struct walk_item item = {.path = walk->path,
                             .name = walk->path + walk->top->path_bytes + 1,
                             .depth = walk->depth,
                             .is_last = entry->next == NULL,
                             .node = {.mount = walk->root.mount, .inode = entry->inode}};
    int result = extend_path(walk, entry);
    if (result == 0)
        result = vfs_stat(&item.node, &item.stat);
    if (result == 0)
        result = walk->each(&item, walk->context);
    if (result == 0 && item.stat.type == VFS_DIRECTORY)
        result = add_pending(walk->top, entry);
    return result;
}

/* One step within the top frame. */
static int walk_step(struct walk *walk)
{
    struct frame *frame = walk->top;
    if (pending_is_due(walk, frame)) {
        struct pending *pending = frame->pending;
        const struct name_entry *entry = pending->entry;
        frame->pending = pending->next;
        heap_free(pending);
        return enter_entry(walk, entry);
    }
    if (frame->next) {
        const struct name_entry *entry = frame->next;
        frame->next = entry->next;
        return visit_entry(walk, entry);
    }
    leave_directory(walk);
    return 0;
}

static int walk_root(struct walk *walk, const char *path)
{
    size_t bytes = string_copy(walk->path, path, sizeof(walk->path));
    struct walk_item item = {.path = walk->path, .is_last = true, .node = walk->root};
    int result;
    if (bytes >= sizeof(walk->path))
        return -ENAMETOOLONG;
    while (bytes > 1 && walk->path[bytes - 1] == '/')
        walk->path[--bytes] = '\0';
    item.name = strrchr(walk->path, '/') && bytes > 1 ? strrchr(walk->path, '/') + 1 : walk->path;
    result = vfs_stat(&walk->root, &item.stat);
    if (result == 0)
        result = walk->each(&item, walk->context);
    if (result == 0 && item.stat.type == VFS_DIRECTORY)
        result = enter_directory(walk, walk->root.inode, strcmp(walk->path, "/") == 0 ? 0 : bytes);
    while (result == 0 && walk->top)
        result = walk_step(walk);
    return result;
}

int fs_walk(const char *path, enum walk_order order, int (*each)(const struct walk_item *item, void *context),
            void *context)
{
    struct walk *walk = heap_alloc_zeroed(sizeof(*walk));
    int result;
    if (!walk)
        return -ENOMEM;
    walk->order = order;
    walk->each = each;
    walk->context = context;
    result = vfs_open(path, true, &walk->root);
    if (result == 0) {
        result = walk_root(walk, path);
        while (walk->top)
            leave_directory(walk);
        assert(walk->depth == 0);
        vfs_close(&walk->root);
    }
    heap_free(walk->entered.slots);
    heap_free(walk);
    return result;
}
