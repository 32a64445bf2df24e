/* SPDX-License-Identifier: MIT */
/* eclipsefs export: unpacks the mounted image into a folder. The folder must be new or empty, and names are
 * unique and free of slashes (the reader has refused others), so nothing is written through a link. Modes and
 * times of directories come last, innermost first. */
#include "eclipsefs.h"

#include <fs/walk.h>
#include <kernel/string.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct made_directory {
    char *path;
    struct vfs_stat stat;
};

struct export
{
    const char *folder;
    char **first_names; /* by inode: where a file with it already is */
    uint64_t inodes;
    struct made_directory *directories;
    size_t directory_count, directory_room;
};

static int failed(const char *path, const char *what)
{
    int error = errno;
    complain(error, path, what);
    return -error;
}

static int write_content(const struct vfs_node *node, const char *path)
{
    static char chunk[65536];
    uint64_t offset = 0;
    size_t done = 0;
    int error = 0, fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(path, "create");
    do {
        error = vfs_read(node, offset, chunk, sizeof(chunk), &done);
        if (!error && done > 0 && write(fd, chunk, done) != (ssize_t)done)
            error = failed(path, "write");
        offset += done;
    } while (!error && done > 0);
    if (close(fd) != 0 && !error)
        error = failed(path, "write");
    return error;
}

/* Owner (only root may give files away), mode, times. */
static int set_attributes(const char *path, const struct vfs_stat *stat)
{
    const struct timespec times[2] = {{.tv_sec = (time_t)stat->atime}, {.tv_sec = (time_t)stat->mtime}};
    if (geteuid() == 0 && lchown(path, stat->uid, stat->gid) != 0)
        return failed(path, "owner");
    if (stat->type != VFS_LINK && chmod(path, stat->mode & 07777) != 0)
        return failed(path, "mode");
    if (utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) != 0)
        return failed(path, "times");
    return 0;
}

static int export_link(const struct vfs_node *node, const char *path)
{
    char target[VFS_PATH_MAX];
    int error = vfs_read_link(node, target, sizeof(target));
    if (error) {
        complain(error, path, "target");
        return error;
    }
    return symlink(target, path) != 0 ? failed(path, "create") : 0;
}

static int export_directory(struct export *export, const struct walk_item *item, const char *path)
{
    struct made_directory *made;
    if (item->depth > 0 && mkdir(path, 0700) != 0)
        return failed(path, "create");
    if (export->directory_count == export->directory_room) {
        export->directory_room = export->directory_room ? export->directory_room * 2 : 64;
        made = realloc(export->directories, export->directory_room * sizeof(*made));
        if (!made)
            return -ENOMEM;
        export->directories = made;
    }
    made = &export->directories[export->directory_count++];
    *made = (struct made_directory){.path = strdup(path), .stat = item->stat};
    return made->path ? 0 : -ENOMEM;
}

static int export_file(struct export *export, const struct walk_item *item, const char *path)
{
    char **first_name = &export->first_names[item->stat.inode];
    int error;
    if (*first_name)
        return linkat(AT_FDCWD, *first_name, AT_FDCWD, path, 0) != 0 ? failed(path, "link") : 0;
    error = item->stat.type == VFS_LINK ? export_link(&item->node, path) : write_content(&item->node, path);
    if (error)
        return error;
    *first_name = strdup(path);
    return set_attributes(path, &item->stat);
}

static int export_each(const struct walk_item *item, void *context)
{
    struct export *export = context;
    size_t bytes = strlen(export->folder) + strlen(item->path) + 1;
    char *path = malloc(bytes);
    int error;
    if (!path || item->stat.inode > export->inodes) {
        free(path);
        return -ENOMEM;
    }
    snprintf(path, bytes, "%s%s", export->folder, item->depth ? item->path : "");
    error = item->stat.type == VFS_DIRECTORY ? export_directory(export, item, path)
                                             : export_file(export, item, path);
    free(path);
    return error;
}

static int finish_directories(struct export *export)
{
    int first_error = 0;
    while (export->directory_count > 0) {
        struct made_directory *made = &export->directories[--export->directory_count];
        int error = first_error || !made->path ? 0 : set_attributes(made->path, &made->stat);
        first_error = first_error ? first_error : error;
        free(made->path);
    }
    free(export->directories);
    return first_error;
}

/* 0, or -1 after a message. */
static int prepare_folder(const char *folder)
{
    struct dirent *entry;
    bool is_empty = true;
    DIR *listing;
    if (mkdir(folder, 0777) != 0 && errno != EEXIST) {
        complain(errno, folder, "create");
        return -1;
    }
    listing = opendir(folder);
    if (!listing) {
        complain(errno, folder, "read");
        return -1;
    }
    while ((entry = readdir(listing)) != NULL)
        is_empty &= strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
    closedir(listing);
    if (!is_empty)
        complain(0, folder, "is not empty");
    return is_empty ? 0 : -1;
}

int export_tree(const char *folder)
{
    struct export export = {.folder = folder};
    struct vfs_usage usage;
    struct vfs_node root;
    int error, finish_error;
    if (prepare_folder(folder) != 0 || vfs_open("/", true, &root) != 0)
        return STATUS_FAILED;
    vfs_usage(&root, &usage);
    vfs_close(&root);
    export.inodes = usage.inodes;
    export.first_names = calloc(usage.inodes + 1, sizeof(*export.first_names));
    error = export.first_names ? fs_walk("/", WALK_TREE, export_each, &export) : -ENOMEM;
    finish_error = finish_directories(&export);
    for (uint64_t i = 0; export.first_names && i <= export.inodes; i++)
        free(export.first_names[i]);
    free(export.first_names);
    if (error)
        complain(error, folder, "not all of the image could be unpacked");
    return error == -EUCLEAN ? STATUS_PROBLEMS : error || finish_error ? STATUS_FAILED : STATUS_GOOD;
}
