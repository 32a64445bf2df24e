/* SPDX-License-Identifier: MIT */
/* Walking a path: vfs_open (fs/vfs.h).
 *
 * The text still to be walked stands at the end of a buffer; a link's target is written in front of it. The
 * directories passed stand on a stack, since file systems do not know a directory's parent: ".." takes one
 * off. Each step on the stack holds a reference to its mount. */
#include "vfs_internal.h"

#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/string.h>

#define TEXT_BYTES  (2 * VFS_PATH_MAX)
#define STEPS_FIRST 16u
#define STEPS_MAX   (VFS_PATH_MAX / 2)

struct path_walk {
    char *text;             /* TEXT_BYTES, terminated */
    char *rest;             /* in `text`: what is still to be walked */
    uint32_t links;         /* followed so far */
    struct vfs_node *steps; /* steps[0] is the root, the last where the walk is */
    uint32_t step_count, step_room;
};

/* Puts text in front of what is left to walk. */
static int push_text(struct path_walk *walk, const char *text, size_t bytes)
{
    assert(walk->rest >= walk->text && walk->rest < walk->text + TEXT_BYTES);
    if (bytes > (size_t)(walk->rest - walk->text))
        return -ENAMETOOLONG;
    walk->rest -= bytes;
    memcpy(walk->rest, text, bytes);
    return 0;
}

static const struct vfs_node *current_step(const struct path_walk *walk)
{
    assert(walk->step_count > 0);
    return &walk->steps[walk->step_count - 1];
}

static int grow_steps(struct path_walk *walk)
{
    uint32_t room = walk->step_room ? walk->step_room * 2 : STEPS_FIRST;
    struct vfs_node *steps;
    assert(walk->step_count == walk->step_room);
    if (walk->step_count == STEPS_MAX)
        return -ENAMETOOLONG;
    steps = heap_alloc(room * sizeof(*steps));
    if (!steps)
        return -ENOMEM;
    if (walk->steps)
        memcpy(steps, walk->steps, walk->step_count * sizeof(*steps));
    heap_free(walk->steps);
    walk->steps = steps;
    walk->step_room = room;
    return 0;
}

/* Takes over the node's reference, or drops it on an error. */
static int push_step(struct path_walk *walk, struct vfs_node node)
{
    int error = walk->step_count == walk->step_room ? grow_steps(walk) : 0;
    assert(error || walk->step_count < walk->step_room);
    if (error)
        vfs_close(&node);
    else
        walk->steps[walk->step_count++] = node;
    return error;
}

static void pop_steps(struct path_walk *walk, uint32_t keep)
{
    assert(keep <= walk->step_count);
    while (walk->step_count > keep)
        vfs_close(&walk->steps[--walk->step_count]);
}

static void skip_slashes(struct path_walk *walk)
{
    while (*walk->rest == '/')
        walk->rest++;
}

/* Goes on with the target of `link`, which the last step leads to, instead of the link. */
static int follow_link(struct path_walk *walk, const struct vfs_node *link)
{
    char *target;
    int error;
    if (++walk->links > VFS_LINK_MAX)
        return -ELOOP;
    target = heap_alloc(VFS_PATH_MAX);
    if (!target)
        return -ENOMEM;
    error = vfs_read_link(link, target, VFS_PATH_MAX);
    if (!error && target[0] == '\0')
        error = -ENOENT;
    if (!error)
        error = push_text(walk, target, strlen(target));
    if (!error && target[0] == '/')
        pop_steps(walk, 1);
    heap_free(target);
    return error;
}

/* From the directory where the walk is to one of its entries. `must_follow`: more text follows. */
static int step_into(struct path_walk *walk, const char *name, size_t name_bytes, bool must_follow)
{
    const struct vfs_node *here = current_step(walk);
    struct vfs_node child = {.mount = here->mount};
    struct vfs_stat stat;
    int error = here->mount->ops->lookup(here->mount->fs, here->inode, name, name_bytes, &child.inode);
    if (error)
        return error;
    vfs_mount_get(child.mount);
    vfs_cross_mounts(&child);
    error = vfs_stat(&child, &stat);
    if (!error && stat.type == VFS_LINK && must_follow) {
        error = follow_link(walk, &child);
        vfs_close(&child);
        return error;
    }
    if (error) {
        vfs_close(&child);
        return error;
    }
    return push_step(walk, child);
}

static int require_directory(const struct path_walk *walk)
{
    struct vfs_stat stat;
    int error = vfs_stat(current_step(walk), &stat);
    return error ? error : stat.type == VFS_DIRECTORY ? 0 : -ENOTDIR;
}

/* Walks one component; the slash behind it stays, and makes the next call ask for a directory. */
static int walk_component(struct path_walk *walk, bool follow)
{
    const char *name = walk->rest;
    size_t name_bytes = 0;
    int error = require_directory(walk);
    assert(name[0] != '\0' && name[0] != '/'); /* walk_all has skipped what lies between */
    if (error)
        return error;
    while (name[name_bytes] != '\0' && name[name_bytes] != '/')
        name_bytes++;
    walk->rest += name_bytes;
    if (name_bytes > VFS_NAME_MAX)
        return -ENAMETOOLONG;
    if (name_bytes == 1 && name[0] == '.')
        return 0;
    if (name_bytes == 2 && name[0] == '.' && name[1] == '.') {
        pop_steps(walk, MAX(walk->step_count - 1, 1u));
        return 0;
    }
    return step_into(walk, name, name_bytes, follow || *walk->rest == '/');
}

static int walk_all(struct path_walk *walk, bool follow)
{
    int error = 0;
    skip_slashes(walk);
    while (error == 0 && *walk->rest != '\0') {
        error = walk_component(walk, follow);
        bool has_slash = *walk->rest == '/';
        skip_slashes(walk);
        /* "file/" names no file; a link in front of a slash has put its target into the text. */
        if (error == 0 && has_slash && *walk->rest == '\0')
            error = require_directory(walk);
    }
    return error;
}

static int walk_begin(struct path_walk *walk, const char *path)
{
    struct vfs_mount *root;
    walk->text = heap_alloc(TEXT_BYTES);
    if (!walk->text)
        return -ENOMEM;
    walk->rest = walk->text + TEXT_BYTES - 1;
    *walk->rest = '\0';
    root = vfs_root_mount();
    if (!root)
        return -ENOENT; /* nothing is mounted */
    int error = push_step(walk, (struct vfs_node){.mount = root, .inode = root->root});
    return error ? error : push_text(walk, path, strlen(path));
}

int vfs_open(const char *path, bool follow, struct vfs_node *node)
{
    struct path_walk walk = {.text = NULL};
    int error;
    if (path[0] == '\0')
        return -ENOENT;
    if (strnlen(path, VFS_PATH_MAX) == VFS_PATH_MAX)
        return -ENAMETOOLONG;
    error = walk_begin(&walk, path);
    if (!error)
        error = walk_all(&walk, follow);
    if (!error) {
        *node = *current_step(&walk);
        walk.step_count--; /* its reference is the caller's now */
    }
    pop_steps(&walk, 0);
    heap_free(walk.steps);
    heap_free(walk.text);
    return error;
}
