/* SPDX-License-Identifier: MIT */
/* Mounts and open nodes (fs/vfs.h). Paths are walked in path.c.
 *
 * A mount lives while it is referenced: by the table, by each open node in it, by each mount that covers a
 * directory of it. Unmounting takes it out of the table when the table's reference is the only one.
 *
 * Locks: mount_mutex (one mount or unmount at a time; held over I/O) before table_lock (the list of mounts;
 * a few instructions) before nothing. Opening and reading take only table_lock. */
#include <fs/bcache.h>
#include "vfs_internal.h"

#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/mutex.h>
#include <kernel/string.h>

static struct mutex mount_mutex = MUTEX_INIT(mount_mutex, "vfs mount");
static struct spinlock table_lock = SPINLOCK_INIT("vfs table");
static struct list mounts = LIST_INIT(mounts); /* table_lock */

linker_set_declare(file_systems, const struct vfs_ops);

/* ---- References -------------------------------------------------------------------------------------- */

struct vfs_mount *vfs_mount_get(struct vfs_mount *mount)
{
    uint32_t before = __atomic_fetch_add(&mount->references, 1, __ATOMIC_RELAXED);
    assert(before > 0);
    return mount;
}

void vfs_mount_put(struct vfs_mount *mount)
{
    uint32_t before = __atomic_fetch_sub(&mount->references, 1, __ATOMIC_RELEASE);
    assert(before > 1); /* the last is the table's, which only vfs_unmount takes back */
}

/* The mount that lies on (mount, inode), or at "/" for NULL. */
static struct vfs_mount *find_covering_locked(const struct vfs_mount *mount, uint64_t inode)
{
    assert_spin_locked(&table_lock);
    list_foreach (node, &mounts) {
        struct vfs_mount *candidate = list_entry(node, struct vfs_mount, node);
        if (candidate->covered.mount == mount && candidate->covered.inode == inode)
            return candidate;
    }
    return NULL;
}

struct vfs_mount *vfs_root_mount(void)
{
    SPIN_SCOPED(&table_lock);
    struct vfs_mount *root = find_covering_locked(NULL, 0);
    return root ? vfs_mount_get(root) : NULL;
}

void vfs_cross_mounts(struct vfs_node *node)
{
    for (;;) {
        spin_lock(&table_lock);
        struct vfs_mount *upper = find_covering_locked(node->mount, node->inode);
        if (upper)
            vfs_mount_get(upper);
        spin_unlock(&table_lock);
        if (!upper)
            return;
        assert(upper != node->mount); /* or this loop would not end */
        vfs_mount_put(node->mount);
        *node = (struct vfs_node){.mount = upper, .inode = upper->root};
    }
}

/* ---- Mounting ---------------------------------------------------------------------------------------- */

bool vfs_device_is_mounted(const struct block_device *device)
{
    SPIN_SCOPED(&table_lock);
    list_foreach (node, &mounts)
        if (list_entry(node, struct vfs_mount, node)->device == device)
            return true;
    return false;
}

static bool is_root_path(const char *path)
{
    while (*path == '/')
        path++;
    return *path == '\0';
}

/* The directory that a mount at `path` will cover, referenced; {NULL, 0} for "/". */
static int open_mount_point(const char *path, struct vfs_node *covered)
{
    struct vfs_stat stat;
    int error;
    *covered = (struct vfs_node){.mount = NULL, .inode = 0};
    if (is_root_path(path)) {
        SPIN_SCOPED(&table_lock);
        return find_covering_locked(NULL, 0) ? -EBUSY : 0;
    }
    error = vfs_open(path, true, covered);
    if (error)
        return error;
    error = vfs_stat(covered, &stat);
    if (!error && stat.type != VFS_DIRECTORY)
        error = -ENOTDIR;
    if (!error && covered->inode == covered->mount->root)
        error = -EBUSY; /* the root of another mount */
    if (error)
        vfs_close(covered);
    return error;
}

/* Asks each known file system in turn. -EINVAL: none knows what is there. */
static int try_file_systems(struct block_device *device, const struct vfs_ops **ops, void **fs)
{
    bcache_drop(device); /* the device may have been written past the cache */
    linker_set_foreach (file_systems, const struct vfs_ops, candidate) {
        int error = candidate->mount(device, fs);
        *ops = candidate;
        if (error != -EINVAL)
            return error;
    }
    return -EINVAL;
}

static struct vfs_mount *create_mount(struct block_device *device, const char *path,
                                      const struct vfs_node *covered)
{
    size_t path_bytes = strlen(path);
    struct vfs_mount *mount = heap_alloc_zeroed(sizeof(*mount) + path_bytes + 2);
    if (!mount)
        return NULL;
    while (path_bytes > 1 && path[path_bytes - 1] == '/')
        path_bytes--;
    if (path[0] != '/')
        mount->path[0] = '/';
    memcpy(mount->path + strlen(mount->path), path, path_bytes);
    mount->device = block_device_get(device);
    mount->covered = *covered;
    mount->references = 1;
    return mount;
}

static void free_mount(struct vfs_mount *mount)
{
    if (mount->covered.mount)
        vfs_close(&mount->covered);
    block_device_put(mount->device);
    heap_free(mount);
}

static int mount_locked(struct block_device *device, const char *path)
{
    struct vfs_node covered;
    struct vfs_mount *mount;
    int error;
    assert(mutex_is_held(&mount_mutex));
    if (vfs_device_is_mounted(device))
        return -EBUSY;
    error = open_mount_point(path, &covered);
    if (error)
        return error;
    mount = create_mount(device, path, &covered);
    if (!mount) {
        if (covered.mount)
            vfs_close(&covered);
        return -ENOMEM;
    }
    error = try_file_systems(device, &mount->ops, &mount->fs);
    if (error) {
        free_mount(mount);
        return error;
    }
    assert(mount->ops->root && mount->ops->lookup && mount->ops->stat && mount->ops->list);
    mount->root = mount->ops->root(mount->fs);
    SPIN_SCOPED(&table_lock);
    list_push_back(&mounts, &mount->node);
    return 0;
}

static void log_mounted(const struct block_device *device, const char *path)
{
    struct vfs_node node;
    struct vfs_usage usage;
    if (vfs_open(path, true, &node))
        return;
    vfs_usage(&node, &usage);
    log_info("vfs", "%s mounted at %s: %s %s, %llu inodes, %s", block_device_name(device), node.mount->path,
             node.mount->ops->name, usage.format, (unsigned long long)usage.inodes,
             usage.is_read_only ? "read-only" : "read-write");
    vfs_close(&node);
}

int vfs_mount(struct block_device *device, const char *path)
{
    int error;
    mutex_lock(&mount_mutex);
    error = mount_locked(device, path);
    mutex_unlock(&mount_mutex);
    if (error == 0)
        log_mounted(device, path);
    else if (error == -EINVAL)
        log_info("vfs", "%s holds no file system that is known here", block_device_name(device));
    else
        log_warning("vfs", "%s is not mounted at %s: %s", block_device_name(device), path, error_name(error));
    return error;
}

/* Takes the mount whose root is at `path` out of the table. */
static int detach(const char *path, struct vfs_mount **result)
{
    struct vfs_node node;
    struct vfs_mount *mount;
    bool is_root;
    assert(mutex_is_held(&mount_mutex));
    int error = vfs_open(path, true, &node);
    if (error)
        return error;
    mount = node.mount;
    is_root = node.inode == mount->root;
    vfs_close(&node);
    /* mount_mutex keeps it there without the node. */
    if (!is_root)
        return -EINVAL;
    SPIN_SCOPED(&table_lock);
    /* Pairs with the release in vfs_mount_put. New references come from the table, under its lock, or from
     * older references, of which there is none. */
    if (__atomic_load_n(&mount->references, __ATOMIC_ACQUIRE) != 1)
        return -EBUSY;
    list_remove(&mount->node);
    *result = mount;
    return 0;
}

int vfs_unmount(const char *path)
{
    struct vfs_mount *mount;
    int error, sync_error;
    MUTEX_SCOPED(&mount_mutex);
    error = detach(path, &mount);
    if (error)
        return error;
    mount->ops->unmount(mount->fs);
    sync_error = bcache_sync(mount->device);
    bcache_drop(mount->device);
    if (sync_error)
        log_error("vfs", "%s: what was cached could not be written: %s", block_device_name(mount->device),
                  error_name(sync_error));
    log_info("vfs", "%s unmounted from %s", block_device_name(mount->device), mount->path);
    free_mount(mount);
    return sync_error;
}

void vfs_for_each_mount(void (*each)(const char *path, struct block_device *device, const char *type,
                                     void *context),
                        void *context)
{
    MUTEX_SCOPED(&mount_mutex); /* which keeps the list as it is */
    list_foreach (node, &mounts) {
        struct vfs_mount *mount = list_entry(node, struct vfs_mount, node);
        each(mount->path, mount->device, mount->ops->name, context);
    }
}

/* ---- Open nodes --------------------------------------------------------------------------------------- */

void vfs_close(struct vfs_node *node)
{
    assert(node->mount != NULL); /* open, and not closed already */
    vfs_mount_put(node->mount);
    node->mount = NULL;
}

int vfs_stat(const struct vfs_node *node, struct vfs_stat *stat)
{
    return node->mount->ops->stat(node->mount->fs, node->inode, stat);
}

int vfs_list(const struct vfs_node *node, int (*each)(const struct vfs_entry *entry, void *context),
             void *context)
{
    return node->mount->ops->list(node->mount->fs, node->inode, each, context);
}

int vfs_read(const struct vfs_node *node, uint64_t offset, void *to, size_t bytes, size_t *done)
{
    int error = node->mount->ops->read(node->mount->fs, node->inode, offset, to, bytes, done);
    assert(error || *done <= bytes);
    return error;
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
    error = vfs_read(node, 0, to, stat.size_bytes, &done);
    if (error)
        return error;
    assert(done < bytes);
    to[done] = '\0';
    if (strlen(to) != done) {
        log_error("vfs", "%s: inode %llu: a link whose target holds a NUL",
                  block_device_name(node->mount->device), (unsigned long long)node->inode);
        return -EUCLEAN;
    }
    return 0;
}

void vfs_usage(const struct vfs_node *node, struct vfs_usage *usage)
{
    node->mount->ops->usage(node->mount->fs, usage);
}

bool block_device_is_mounted(const char *device_name)
{
    struct block_device *device = block_device_find(device_name);
    if (!device)
        return false;
    bool is_mounted = vfs_device_is_mounted(device);
    block_device_put(device);
    return is_mounted;
}
