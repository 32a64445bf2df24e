/* SPDX-License-Identifier: MIT */
/* The shell's commands for files: ls, tree, stat, cat, manifest, sha256 print what fs/output.h offers; mount,
 * umount, df, mkfs and fsck are about whole file systems. Thread context. */
#include <fs/bcache.h>
#include <fs/eclipsefs/eclipsefs.h>
#include <fs/output.h>
#include <kernel/shell.h>
#include <kernel/string.h>
#include <kernel/time.h>

/* Names the path; -EINVAL would print the command's usage, which is right only for wrong arguments. */
static int path_error(const char *command, const char *path, int error)
{
    if (error != 0 && error != -EINTR)
        console_printf("%s: %s: %s\n", command, path, error_name(error));
    return error == -EINVAL ? -EUCLEAN : error;
}

/* Runs `show` for each argument; without any, for "/" where `has_default`. The first error. */
static int show_each(int argc, char **argv, bool has_default,
                     int (*show)(struct fs_output *output, const char *path))
{
    struct fs_output *output;
    int first_error = 0;
    if (argc < 2 && !has_default)
        return -EINVAL;
    output = fs_output_create(console_write, shell_interrupted);
    if (!output)
        return -ENOMEM;
    for (int i = argc < 2 ? 0 : 1; i < argc && first_error != -EINTR; i++) {
        const char *path = i == 0 ? "/" : argv[i];
        int error = path_error(argv[0], path, show(output, path));
        first_error = first_error ? first_error : error;
    }
    fs_output_free(output);
    return first_error;
}

static int ls_run(int argc, char **argv)
{
    return show_each(argc, argv, true, fs_show_list);
}
SHELL_COMMAND(ls, "[PATH]...", "list directories and files", ls_run,
              "Columns: mode, links, owner, group, bytes, time written (UTC), name.");

static int tree_run(int argc, char **argv)
{
    return show_each(argc, argv, true, fs_show_tree);
}
SHELL_COMMAND(tree, "[PATH]...", "show a whole tree", tree_run, NULL);

static int cat_run(int argc, char **argv)
{
    return show_each(argc, argv, false, fs_show_content);
}
SHELL_COMMAND(cat, "PATH...", "print files, byte for byte", cat_run, NULL);

static int stat_run(int argc, char **argv)
{
    return show_each(argc, argv, false, fs_show_stat);
}
SHELL_COMMAND(stat, "PATH...", "show all that is known of a file, directory or link", stat_run, NULL);

static int manifest_run(int argc, char **argv)
{
    return show_each(argc, argv, true, fs_show_manifest);
}
SHELL_COMMAND(
    manifest, "[PATH]...", "a line of figures for each path of a tree, sorted by path", manifest_run,
    "Tab-separated: inode, type (f d l), mode, uid, gid, nlink, bytes, atime, mtime, ctime, entries,\n"
    "SHA-256 of the content, path. Bytes below 32 and backslashes in it read \\xNN.");

static int sha256_run(int argc, char **argv)
{
    return show_each(argc, argv, false, fs_show_sha256);
}
SHELL_COMMAND(sha256, "PATH...", "SHA-256 of files", sha256_run, NULL);

/* ---- Whole file systems ----------------------------------------------------------------------------------
 */

static void print_mount(const char *path, struct block_device *device, const char *type, void *context)
{
    console_printf("%s on %s type %s\n", block_device_name(device), path, type);
}

/* Referenced; NULL after a line that says so. */
static struct block_device *find_device(const char *command, const char *name)
{
    struct block_device *device = block_device_find(name);
    if (!device)
        console_printf("%s: %s: there is no such device\n", command, name);
    return device;
}

static int mount_run(int argc, char **argv)
{
    struct block_device *device;
    int error;
    if (argc == 1) {
        vfs_for_each_mount(print_mount, NULL);
        return 0;
    }
    if (argc != 3)
        return -EINVAL;
    device = find_device("mount", argv[1]);
    if (!device)
        return -ENODEV;
    error = vfs_mount(device, argv[2]);
    block_device_put(device);
    if (error)
        console_printf("mount: %s at %s: %s\n", argv[1], argv[2],
                       error == -EINVAL ? "no known file system" : error_name(error));
    return error == -EINVAL ? -EOPNOTSUPP : error;
}
SHELL_COMMAND(mount, "[DEVICE PATH]", "mount a device's file system at a directory; alone: show the mounts",
              mount_run, NULL);

static int umount_run(int argc, char **argv)
{
    int error;
    if (argc != 2)
        return -EINVAL;
    error = vfs_unmount(argv[1]);
    if (error == -EINVAL)
        console_printf("umount: %s: nothing is mounted there\n", argv[1]);
    else if (error)
        console_printf("umount: %s: %s\n", argv[1], error_name(error));
    return error == -EINVAL ? -ENOENT : error;
}
SHELL_COMMAND(umount, "PATH", "unmount what is mounted there", umount_run, NULL);

static void print_usage(const char *path, struct block_device *device, const char *type, void *context)
{
    struct vfs_node node;
    struct vfs_usage usage;
    if (vfs_open(path, true, &node))
        return; /* covered by a later mount */
    vfs_usage(&node, &usage);
    vfs_close(&node);
    console_printf("%-8s %-9s %-6s %10llu %10llu  %-10s %s\n", block_device_name(device), type, usage.format,
                   (unsigned long long)(usage.total_bytes >> 10), (unsigned long long)usage.inodes,
                   usage.is_read_only ? "read-only" : "read-write", path);
}

static int df_run(int argc, char **argv)
{
    struct bcache_stats stats;
    console_printf("%-8s %-9s %-6s %10s %10s  %-10s %s\n", "device", "type", "format", "KiB", "inodes",
                   "access", "mounted at");
    vfs_for_each_mount(print_usage, NULL);
    bcache_stats(&stats);
    console_printf("buffer cache: %u of at most %u KiB, %u KiB referenced, %u KiB dirty\n",
                   stats.buffers * (BCACHE_BLOCK_BYTES / 1024),
                   stats.buffers_max * (BCACHE_BLOCK_BYTES / 1024),
                   stats.referenced * (BCACHE_BLOCK_BYTES / 1024), stats.dirty * (BCACHE_BLOCK_BYTES / 1024));
    console_printf("%llu hits, %llu misses, %llu evictions, %llu failed reads, %llu failed writes\n",
                   (unsigned long long)stats.hits, (unsigned long long)stats.misses,
                   (unsigned long long)stats.evictions, (unsigned long long)stats.reads_failed,
                   (unsigned long long)stats.writes_failed);
    return 0;
}
SHELL_COMMAND(df, "", "show the mounted file systems and the buffer cache", df_run, NULL);

static int mkfs_run(int argc, char **argv)
{
    struct block_device *device;
    int error;
    if (argc != 2)
        return -EINVAL;
    device = find_device("mkfs", argv[1]);
    if (!device)
        return -ENODEV;
    bool is_mounted = vfs_device_is_mounted(device);
    error = is_mounted ? -EBUSY : eclipsefs_make(device, clock_wall_seconds());
    block_device_put(device);
    if (!is_mounted)
        return path_error("mkfs", argv[1], error);
    console_printf("mkfs: %s is mounted\n", argv[1]);
    return error;
}
SHELL_COMMAND(mkfs, "DEVICE", "write an empty eclipsefs v2.0 over a device", mkfs_run,
              "What the device holds is lost.");

static void print_problem(struct eclipsefs_check *check, const char *text)
{
    console_printf("%s\n", text);
}

static int fsck_run(int argc, char **argv)
{
    struct eclipsefs_check check = {.problem = print_problem};
    struct block_device *device;
    int error;
    if (argc != 2)
        return -EINVAL;
    device = find_device("fsck", argv[1]);
    if (!device)
        return -ENODEV;
    error = eclipsefs_check(device, &check);
    block_device_put(device);
    if (error)
        return path_error("fsck", argv[1], error);
    console_printf("%s: %llu problems; %llu directories, %llu files, %llu links, %llu bytes of content\n",
                   argv[1], (unsigned long long)check.problems, (unsigned long long)check.directories,
                   (unsigned long long)check.files, (unsigned long long)check.links,
                   (unsigned long long)check.content_bytes);
    return check.problems ? -EUCLEAN : 0;
}
SHELL_COMMAND(fsck, "DEVICE", "check all of a device's eclipsefs", fsck_run, NULL);

/* ---- Leaving ------------------------------------------------------------------------------------------ */

static int sync_all(void)
{
    return bcache_sync(NULL);
}
static const struct sync_hook bcache_sync_hook = {sync_all};
linker_set_add(sync_hooks, const struct sync_hook, bcache_sync_hook);

static void sync_and_report(void)
{
    int error = sync_all();
    if (error)
        log_error("bcache", "dirty data is lost: %s", error_name(error));
}
static const struct shutdown_hook bcache_shutdown_hook = {sync_and_report};
linker_set_add(shutdown_hooks, const struct shutdown_hook, bcache_shutdown_hook);
