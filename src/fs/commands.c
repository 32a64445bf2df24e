/* SPDX-License-Identifier: MIT */
/* The shell's file commands: mount, umount, df, mkfs, ls, cat, stat, tree, manifest, sha256. Thread context;
 * what they hold of a path is bounded by VFS_PATH_MAX and TREE_DEPTH_MAX. */
#include <fs/bcache.h>
#include <fs/eclipsefs/eclipsefs.h>
#include <fs/name_list.h>
#include <fs/vfs.h>
#include <kernel/checksum.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/shell.h>
#include <kernel/string.h>

#define CHUNK_BYTES    KIB(32)
#define TREE_DEPTH_MAX 64u

static const char *path_argument(int argc, char **argv)
{
    return argc > 1 ? argv[1] : "/";
}

static int fail(const char *command, const char *path, int error)
{
    if (error)
        console_printf("%s: %s: %s\n", command, path, error_name(error));
    return error;
}

static struct block_device *device_argument(int argc, char **argv)
{
    struct block_device *device = argc > 1 ? block_device_find(argv[1]) : NULL;
    if (!device)
        console_printf("%s: no device named '%s'\n", argv[0], argc > 1 ? argv[1] : "");
    return device;
}

static int mount_run(int argc, char **argv)
{
    struct block_device *device = device_argument(argc, argv);
    if (!device)
        return -ENODEV;
    return fail("mount", argv[1], vfs_mount(device, argc > 2 ? argv[2] : "/"));
}
SHELL_COMMAND(mount, "DEV [PATH]", "mount what a device holds", mount_run, NULL);

static int umount_run(int argc, char **argv)
{
    return fail("umount", path_argument(argc, argv), vfs_unmount(path_argument(argc, argv)));
}
SHELL_COMMAND(umount, "PATH", "unmount", umount_run, NULL);

static int mkfs_run(int argc, char **argv)
{
    struct block_device *device = device_argument(argc, argv);
    return device ? fail("mkfs", argv[1], eclipsefs_make(device, 0)) : -ENODEV;
}
SHELL_COMMAND(mkfs, "DEV", "write an empty eclipsefs over a device", mkfs_run, NULL);

static void print_mount(const char *path, struct block_device *device, const char *type, void *context)
{
    (void)context;
    console_printf("%-6s %8llu KiB  %s  %s\n", block_device_name(device),
                   (unsigned long long)(block_device_sectors(device) / 2), type, path);
}

static int df_run(int argc, char **argv)
{
    struct bcache_stats stats;
    (void)argc, (void)argv;
    vfs_for_each_mount(print_mount, NULL);
    bcache_stats(&stats);
    console_printf("cache: %u of %u buffers, %u dirty, %llu hits, %llu misses, %llu evictions\n",
                   stats.buffers, stats.buffers_max, stats.dirty, (unsigned long long)stats.hits,
                   (unsigned long long)stats.misses, (unsigned long long)stats.evictions);
    return 0;
}
SHELL_COMMAND(df, "", "list mounts and the buffer cache", df_run, NULL);

/* ---- One file --------------------------------------------------------------------------------------- */

/* Calls `each` with the content, a chunk at a time. */
static int for_each_chunk(const struct vfs_node *node,
                          void (*each)(const void *data, size_t bytes, void *context), void *context)
{
    uint8_t *chunk = heap_alloc(CHUNK_BYTES);
    uint64_t offset = 0;
    size_t done = 1;
    int error = chunk ? 0 : -ENOMEM;
    while (!error && done) {
        error = vfs_read(node, offset, chunk, CHUNK_BYTES, &done);
        if (!error && done)
            each(chunk, done, context);
        offset += done;
        if (!error && shell_interrupted())
            error = -EINTR;
    }
    heap_free(chunk);
    return error;
}

static void print_chunk(const void *data, size_t bytes, void *context)
{
    (void)context;
    console_write(data, bytes);
}

static void hash_chunk(const void *data, size_t bytes, void *context)
{
    sha256_update(context, data, bytes);
}

static int hash_node(const struct vfs_node *node, char text[65])
{
    struct sha256 hash;
    uint8_t digest[32];
    sha256_init(&hash);
    int error = for_each_chunk(node, hash_chunk, &hash);
    sha256_finish(&hash, digest);
    for (unsigned i = 0; i < sizeof(digest); i++) {
        text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    text[64] = 0;
    return error;
}

static int open_file(const char *path, struct vfs_node *node)
{
    struct vfs_stat stat;
    int error = vfs_open(path, true, node);
    if (error)
        return error;
    error = vfs_stat(node, &stat);
    if (!error && stat.type == VFS_DIRECTORY)
        error = -EISDIR;
    if (error)
        vfs_close(node);
    return error;
}

static int cat_run(int argc, char **argv)
{
    struct vfs_node node;
    if (argc < 2)
        return -EINVAL;
    int error = open_file(argv[1], &node);
    if (!error) {
        error = for_each_chunk(&node, print_chunk, NULL);
        vfs_close(&node);
    }
    return fail("cat", argv[1], error);
}
SHELL_COMMAND(cat, "PATH", "print a file", cat_run, NULL);

static int sha256_run(int argc, char **argv)
{
    struct vfs_node node;
    char text[65];
    if (argc < 2)
        return -EINVAL;
    int error = open_file(argv[1], &node);
    if (!error) {
        error = hash_node(&node, text);
        vfs_close(&node);
    }
    if (!error)
        console_printf("%s  %s\n", text, argv[1]);
    return fail("sha256", argv[1], error);
}
SHELL_COMMAND(sha256, "PATH", "SHA-256 of a file", sha256_run, NULL);

static int stat_run(int argc, char **argv)
{
    struct vfs_node node;
    struct vfs_stat stat;
    const char *path = path_argument(argc, argv);
    int error = vfs_open(path, false, &node);
    if (!error) {
        error = vfs_stat(&node, &stat);
        vfs_close(&node);
    }
    if (!error)
        console_printf("%s: inode %llu, %s, mode %o, uid %u, gid %u, %u links, %llu bytes, atime %llu, mtime "
                       "%llu, ctime "
                       "%llu\n",
                       path, (unsigned long long)stat.inode,
                       stat.type == VFS_FILE        ? "file"
                       : stat.type == VFS_DIRECTORY ? "directory"
                                                    : "link",
                       stat.mode, stat.uid, stat.gid, stat.nlink, (unsigned long long)stat.size_bytes,
                       (unsigned long long)stat.atime, (unsigned long long)stat.mtime,
                       (unsigned long long)stat.ctime);
    return fail("stat", path, error);
}
SHELL_COMMAND(stat, "PATH", "what the file system says of a path", stat_run, NULL);
