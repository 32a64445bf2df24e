/* SPDX-License-Identifier: MIT */
/* Mounts and the walk of a path.
 *
 * Lock: `lock`, a mutex, covers the table of mounts and their reference counts; never held over a call of a
 * file system except mount and unmount. A vfs_node holds a reference of its mount, which unmount refuses. */
#include <fs/eclipsefs/eclipsefs.h>
#include <fs/vfs.h>
#include <kernel/base/assert.h>
#include <kernel/base/linker_set.h>
#include <kernel/cmdline.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/mutex.h>
#include <kernel/string.h>

#define MOUNTS_MAX 16u
#define DEPTH_MAX  128u /* components of a path, for ".." */

linker_set_declare(file_systems, const struct vfs_ops);

struct vfs_mount {
    const struct vfs_ops *ops; /* lock: NULL: a free place; the rest I while mounted */
    void *fs;
    struct block_device *device;
    uint32_t references;     /* lock */
    struct vfs_mount *above; /* the mount that holds the covered directory; NULL for / */
    uint64_t covered;
    char path[256];
};

#ifdef __KERNEL__
CMDLINE_KEY(root, "root", "DEV|none", "what to mount at /; default: the first eclipsefs found");
static struct mutex lock = MUTEX_INIT(lock, "vfs");
#else
static struct mutex lock;
#endif
static struct vfs_mount mounts[MOUNTS_MAX];

static void mount_get(struct vfs_mount *mount)
{
    MUTEX_SCOPED(&lock);
    mount->references++;
}

static void mount_put(struct vfs_mount *mount)
{
    MUTEX_SCOPED(&lock);
    assert(mount->references > 0);
    mount->references--;
}

/* The mount that covers a directory; `above` NULL: the root's. Referenced, or NULL. */
static struct vfs_mount *mount_at(struct vfs_mount *above, uint64_t covered)
{
    MUTEX_SCOPED(&lock);
    for (uint32_t i = 0; i < MOUNTS_MAX; i++) {
        if (mounts[i].ops && mounts[i].above == above && (!above || mounts[i].covered == covered)) {
            mounts[i].references++;
            return &mounts[i];
        }
    }
    return NULL;
}

/* ---- The walk --------------------------------------------------------------------------------------- */

struct walk {
    struct vfs_node stack[DEPTH_MAX]; /* from / to where it is; each holds a reference */
    uint32_t depth;
    uint32_t links;
};

static void walk_leave(struct walk *walk, uint32_t depth)
{
    while (walk->depth > depth)
        mount_put(walk->stack[--walk->depth].mount);
}

static struct vfs_node *walk_top(struct walk *walk)
{
    return &walk->stack[walk->depth - 1];
}

static int walk_enter(struct walk *walk, struct vfs_mount *mount, uint64_t inode)
{
    if (walk->depth == DEPTH_MAX) {
        mount_put(mount);
        return -ENAMETOOLONG;
    }
    walk->stack[walk->depth++] = (struct vfs_node){mount, inode};
    return 0;
}

static int walk_path(struct walk *walk, const char *path, bool follow_last);

static int walk_link(struct walk *walk)
{
    char *target = heap_alloc(VFS_PATH_MAX);
    int error = target ? vfs_read_link(walk_top(walk), target, VFS_PATH_MAX) : -ENOMEM;
    if (!error && ++walk->links > VFS_LINK_MAX)
        error = -ELOOP;
    walk_leave(walk, walk->depth - 1); /* the link itself */
    if (!error) {
        if (target[0] == '/')
            walk_leave(walk, 1);
        error = walk_path(walk, target, true);
    }
    heap_free(target);
    return error;
}

/* One component below the top, which must be a directory. */
static int walk_component(struct walk *walk, const char *name, size_t bytes, bool follow)
{
    struct vfs_node *top = walk_top(walk);
    struct vfs_stat stat;
    uint64_t inode;
    int error = vfs_stat(top, &stat);
    if (error)
        return error;
    if (stat.type != VFS_DIRECTORY)
        return -ENOTDIR;
    if (bytes == 1 && name[0] == '.')
        return 0;
    if (bytes == 2 && name[0] == '.' && name[1] == '.') {
        walk_leave(walk, walk->depth > 1 ? walk->depth - 1 : 1);
        return 0;
    }
    if (bytes > VFS_NAME_MAX)
        return -ENAMETOOLONG;
    error = top->mount->ops->lookup(top->mount->fs, top->inode, name, bytes, &inode);
    if (error)
        return error;
    struct vfs_mount *mount = mount_at(top->mount, inode);
    if (mount) {
        inode = mount->ops->root(mount->fs);
    } else {
        mount = top->mount;
        mount_get(mount);
    }
    error = walk_enter(walk, mount, inode);
    if (!error && follow)
        error = vfs_stat(walk_top(walk), &stat);
    if (!error && follow && stat.type == VFS_LINK)
        error = walk_link(walk);
    return error;
}

static int walk_path(struct walk *walk, const char *path, bool follow_last)
{
    int error = 0;
    while (!error) {
        while (*path == '/')
            path++;
        if (*path == 0)
            return 0;
        const char *end = path;
        while (*end && *end != '/')
            end++;
        error = walk_component(walk, path, (size_t)(end - path), follow_last || *end == '/');
        if (!error && *end == '/') {
            struct vfs_stat stat;
            error = vfs_stat(walk_top(walk), &stat);
            if (!error && stat.type != VFS_DIRECTORY)
                error = -ENOTDIR;
        }
        path = end;
    }
    return error;
}

int vfs_open(const char *path, bool follow, struct vfs_node *node)
{
    if (path[0] != '/' || strnlen(path, VFS_PATH_MAX) == VFS_PATH_MAX)
        return path[0] != '/' ? -ENOENT : -ENAMETOOLONG;
    struct walk *walk = heap_alloc_zeroed(sizeof(*walk));
    if (!walk)
        return -ENOMEM;
    struct vfs_mount *root = mount_at(NULL, 0);
    int error = root ? walk_enter(walk, root, root->ops->root(root->fs)) : -ENOENT;
    if (!error)
        error = walk_path(walk, path, follow);
    if (!error) {
        *node = *walk_top(walk);
        mount_get(node->mount);
    }
    walk_leave(walk, 0);
    heap_free(walk);
    return error;
}

void vfs_close(struct vfs_node *node)
{
    mount_put(node->mount);
    node->mount = NULL;
}

int vfs_stat(const struct vfs_node *node, struct vfs_stat *stat)
{
    return node->mount->ops->stat(node->mount->fs, node->inode, stat);
}

int vfs_list(const struct vfs_node *node, int (*each)(const struct vfs_entry *entry, void *context), void *context)
{
    return node->mount->ops->list(node->mount->fs, node->inode, each, context);
}

int vfs_read(const struct vfs_node *node, uint64_t offset, void *to, size_t bytes, size_t *done)
{
    return node->mount->ops->read(node->mount->fs, node->inode, offset, to, bytes, done);
}

int vfs_read_link(const struct vfs_node *node, char *to, size_t bytes)
{
    struct vfs_stat stat;
    size_t done;
    int error = vfs_stat(node, &stat);
    if (error)
        return error;
    if (stat.type != VFS_LINK)
        return -EINVAL;
    if (stat.size_bytes >= bytes)
        return -ENAMETOOLONG;
    error = vfs_read(node, 0, to, bytes - 1, &done);
    to[error ? 0 : done] = 0;
    return error;
}

/* ---- Mounting --------------------------------------------------------------------------------------- */

static struct vfs_mount *free_place(const struct block_device *device)
{
    struct vfs_mount *found = NULL;
    for (uint32_t i = 0; i < MOUNTS_MAX; i++) {
        if (mounts[i].ops && mounts[i].device == device)
            return NULL;
        if (!mounts[i].ops && !found)
            found = &mounts[i];
    }
    return found;
}

static int try_types(struct block_device *device, const struct vfs_ops **ops, void **fs)
{
    int error = -EINVAL;
    linker_set_foreach(file_systems, const struct vfs_ops, type)
    {
        error = type->mount(device, fs);
        *ops = type;
        if (error != -EINVAL)
            return error;
    }
    return error;
}

static int mount_over(struct block_device *device, const char *path, struct vfs_node *covered)
{
    struct vfs_mount *place = free_place(device);
    const struct vfs_ops *ops;
    void *fs;
    if (!place || strlen(path) >= sizeof(place->path))
        return -EBUSY;
    int error = try_types(device, &ops, &fs);
    if (error)
        return error;
    *place = (struct vfs_mount){.ops = ops, .fs = fs, .device = device};
    place->above = covered ? covered->mount : NULL;
    place->covered = covered ? covered->inode : 0;
    if (covered)
        covered->mount->references++;
    string_copy(place->path, path, sizeof(place->path));
    return 0;
}

int vfs_mount(struct block_device *device, const char *path)
{
    struct vfs_node covered = {NULL, 0};
    struct vfs_mount *root = mount_at(NULL, 0);
    bool is_root = strcmp(path, "/") == 0;
    int error = 0;
    if (root)
        mount_put(root);
    if (is_root && root)
        return -EBUSY;
    if (!is_root)
        error = vfs_open(path, true, &covered);
    if (!error) {
        MUTEX_SCOPED(&lock);
        error = mount_over(device, path, is_root ? NULL : &covered);
    }
    if (covered.mount)
        vfs_close(&covered);
    if (error == -EINVAL)
        log_warning("vfs", "%s holds no file system that is known", block_device_name(device));
    else if (error == 0)
        log_info("vfs", "%s is mounted at %s", block_device_name(device), path);
    return error;
}

int vfs_unmount(const char *path)
{
    MUTEX_SCOPED(&lock);
    for (uint32_t i = 0; i < MOUNTS_MAX; i++) {
        struct vfs_mount *mount = &mounts[i];
        if (!mount->ops || strcmp(mount->path, path) != 0)
            continue;
        if (mount->references)
            return -EBUSY;
        mount->ops->unmount(mount->fs);
        if (mount->above)
            mount->above->references--;
        mount->ops = NULL;
        return 0;
    }
    return -ENOENT;
}

void vfs_for_each_mount(void (*each)(const char *path, struct block_device *device, const char *type, void *context),
                        void *context)
{
    MUTEX_SCOPED(&lock);
    for (uint32_t i = 0; i < MOUNTS_MAX; i++)
        if (mounts[i].ops)
            each(mounts[i].path, mounts[i].device, mounts[i].ops->name, context);
}

/* ---- The root --------------------------------------------------------------------------------------- */

#ifdef __KERNEL__
static bool try_root(struct block_device *device)
{
    int error = vfs_mount(device, "/");
    if (error && error != -EINVAL)
        log_warning("vfs", "%s cannot be mounted at /: %s", block_device_name(device), error_name(error));
    return error == 0;
}

static bool try_wanted_root(const char *name)
{
    struct block_device *device;
    if (strcmp(name, "none") == 0)
        return false;
    device = block_device_find(name);
    if (!device)
        log_warning("vfs", "root=%s: there is no such device", name);
    return device && try_root(device);
}

static bool try_every_root(void)
{
    struct block_device *device;
    for (uint32_t i = 0; (device = block_device_at(i)) != NULL; i++)
        if (strncmp(block_device_name(device), "ram", 3) != 0 && try_root(device))
            return true;
    return false;
}

void vfs_mount_root(void)
{
    const char *wanted = cmdline_get("root");
    struct block_device *ram0 = block_device_find("ram0");
    if (wanted ? try_wanted_root(wanted) : try_every_root())
        return;
    int error = ram0 ? eclipsefs_make(ram0, 0) : -ENODEV;
    if (error) {
        log_error("vfs", "no root: an empty eclipsefs on ram0 failed: %s", error_name(error));
        return;
    }
    log_warning("vfs", "no disk to mount at /: an empty eclipsefs on ram0 instead");
    try_root(ram0);
}
#endif
