/* SPDX-License-Identifier: MIT */
/* eclipsefs import: an image of a folder, in eclipsefs v2.0.
 *
 * The folder is scanned first: inode numbers in the order of a walk with sorted names, so that the same
 * folder gives the same bytes. Then everything is written in one pass, front to back, into IMAGE.partial,
 * which replaces IMAGE when it is whole. Names of one file share an inode. */
#include "eclipsefs.h"

#include <fs/eclipsefs/v2_write.h>
#include <fs/vfs.h>
#include <kernel/string.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct name {
    char *text;
    uint32_t inode;
};

struct node {
    struct v2_record record;
    char *path;   /* on the host */
    dev_t device; /* device and number: to find other names of the file */
    ino_t number;
    struct name *names; /* of a directory */
    size_t name_count;
};

struct scan {
    struct node *nodes; /* inode k at k - 1 */
    uint32_t count, room;
    uint64_t time_limit; /* no time is later */
    uint64_t newest;
    bool is_root_owned;
};

static void *must_alloc(void *old, size_t bytes)
{
    void *memory = realloc(old, bytes);
    if (!memory) {
        complain(ENOMEM, "import", "memory");
        exit(STATUS_FAILED);
    }
    return memory;
}

static char *join(const char *folder, const char *name)
{
    size_t bytes = strlen(folder) + strlen(name) + 2;
    char *path = must_alloc(NULL, bytes);
    snprintf(path, bytes, "%s/%s", folder, name);
    return path;
}

/* ---- Scanning ------------------------------------------------------------------------------------------ */

static uint64_t limited_time(const struct scan *scan, time_t seconds)
{
    uint64_t time = seconds > 0 ? (uint64_t)seconds : 0;
    return time < scan->time_limit ? time : scan->time_limit;
}

static uint32_t add_node(struct scan *scan, char *path, const struct stat *stat)
{
    uint64_t time = limited_time(scan, stat->st_mtime);
    struct node *node;
    if (scan->count == scan->room) {
        scan->room = scan->room ? scan->room * 2 : 64;
        scan->nodes = must_alloc(scan->nodes, scan->room * sizeof(*scan->nodes));
    }
    node = &scan->nodes[scan->count++];
    *node = (struct node){.path = path, .device = stat->st_dev, .number = stat->st_ino};
    node->record = (struct v2_record){.inode = scan->count,
                                      .type = S_ISDIR(stat->st_mode)   ? VFS_DIRECTORY
                                              : S_ISLNK(stat->st_mode) ? VFS_LINK
                                                                       : VFS_FILE,
                                      .mode = stat->st_mode,
                                      .uid = scan->is_root_owned ? 0 : stat->st_uid,
                                      .gid = scan->is_root_owned ? 0 : stat->st_gid,
                                      .nlink = S_ISDIR(stat->st_mode) ? 2 : 1,
                                      .atime = time,
                                      .mtime = time,
                                      .ctime = time,
                                      .value_bytes = S_ISDIR(stat->st_mode) ? 0 : (uint64_t)stat->st_size};
    scan->newest = time > scan->newest ? time : scan->newest;
    return scan->count;
}

/* The inode of another name of the same file; 0. */
static uint32_t find_other_name(const struct scan *scan, const struct stat *stat)
{
    if (S_ISDIR(stat->st_mode) || stat->st_nlink < 2)
        return 0;
    for (uint32_t i = 0; i < scan->count; i++)
        if (scan->nodes[i].device == stat->st_dev && scan->nodes[i].number == stat->st_ino)
            return i + 1;
    return 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int scan_folder(struct scan *scan, uint32_t inode);

/* One name in the directory `inode`. */
static int scan_name(struct scan *scan, uint32_t inode, struct name *name)
{
    char *path = join(scan->nodes[inode - 1].path, name->text);
    struct stat stat;
    int status = STATUS_GOOD;
    if (lstat(path, &stat) != 0) {
        complain(errno, path, "read");
        status = STATUS_FAILED;
    } else if (!S_ISREG(stat.st_mode) && !S_ISDIR(stat.st_mode) && !S_ISLNK(stat.st_mode)) {
        complain(0, path, "is neither a file, a directory nor a link, and cannot be stored");
        status = STATUS_FAILED;
    } else if ((name->inode = find_other_name(scan, &stat)) != 0) {
        scan->nodes[name->inode - 1].record.nlink++;
    } else {
        name->inode = add_node(scan, path, &stat); /* which owns the path now */
        return S_ISDIR(stat.st_mode) ? scan_folder(scan, name->inode) : STATUS_GOOD;
    }
    free(path);
    return status;
}

static bool is_self_or_parent(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static int scan_folder(struct scan *scan, uint32_t inode)
{
    struct dirent **found;
    int status = STATUS_GOOD, count = scandir(scan->nodes[inode - 1].path, &found, NULL, by_bytes);
    struct name *names;
    size_t kept = 0;
    uint64_t bytes = 0;
    if (count < 0) {
        complain(errno, scan->nodes[inode - 1].path, "read");
        return STATUS_FAILED;
    }
    names = must_alloc(NULL, ((size_t)count + 1) * sizeof(*names));
    for (int i = 0; i < count; i++) {
        if (status == STATUS_GOOD && !is_self_or_parent(found[i]->d_name)) {
            names[kept].text = strdup(found[i]->d_name);
            status = scan_name(scan, inode, &names[kept]);
            bytes += V2_ENTRY_HEAD_BYTES + strlen(names[kept].text);
            kept++;
        }
        free(found[i]);
    }
    free(found);
    scan->nodes[inode - 1].names = names;
    scan->nodes[inode - 1].name_count = kept;
    scan->nodes[inode - 1].record.value_bytes = bytes;
    return status;
}

static int scan_tree(struct scan *scan, const char *folder)
{
    struct stat stat_root;
    if (stat(folder, &stat_root) != 0) {
        complain(errno, folder, "read");
        return STATUS_FAILED;
    }
    if (!S_ISDIR(stat_root.st_mode)) {
        complain(0, folder, "is not a directory");
        return STATUS_FAILED;
    }
    return scan_folder(scan, add_node(scan, strdup(folder), &stat_root));
}

static void scan_free(struct scan *scan)
{
    for (uint32_t i = 0; i < scan->count; i++) {
        for (size_t k = 0; k < scan->nodes[i].name_count; k++)
            free(scan->nodes[i].names[k].text);
        free(scan->nodes[i].names);
        free(scan->nodes[i].path);
    }
    free(scan->nodes);
}

/* ---- Writing ------------------------------------------------------------------------------------------- */

static int write_table(const struct scan *scan, FILE *to)
{
    uint8_t block[ECLIPSEFS_BLOCK_BYTES], slot[V2_SLOT_BYTES];
    uint64_t offset = 0;
    v2_encode_header(scan->count, scan->newest, block);
    fwrite(block, 1, sizeof(block), to);
    for (uint32_t i = 0; i < scan->count; i++) {
        uint32_t bytes = v2_record_bytes(&scan->nodes[i].record);
        if (bytes == 0 || offset > UINT32_MAX) {
            complain(0, scan->nodes[i].path,
                     "more than 4 GiB in a file, or before it: the format cannot hold it");
            return STATUS_FAILED;
        }
        v2_encode_slot(i + 1, (uint32_t)offset, slot);
        fwrite(slot, 1, sizeof(slot), to);
        offset += bytes;
    }
    return STATUS_GOOD;
}

static int write_file(const struct node *node, FILE *to)
{
    char chunk[65536];
    uint64_t left = node->record.value_bytes;
    FILE *from = fopen(node->path, "rb");
    size_t got = 0;
    if (!from) {
        complain(errno, node->path, "read");
        return STATUS_FAILED;
    }
    while (left > 0 && (got = fread(chunk, 1, left < sizeof(chunk) ? left : sizeof(chunk), from)) > 0) {
        fwrite(chunk, 1, got, to);
        left -= got;
    }
    bool has_more = left == 0 && fgetc(from) != EOF;
    fclose(from);
    if (left > 0 || has_more) {
        complain(0, node->path, "could not be read whole, or changed meanwhile");
        return STATUS_FAILED;
    }
    return STATUS_GOOD;
}

static int write_link(const struct node *node, FILE *to)
{
    char target[65536];
    ssize_t bytes = readlink(node->path, target, sizeof(target));
    if (bytes < 0 || (uint64_t)bytes != node->record.value_bytes) {
        complain(bytes < 0 ? errno : 0, node->path, "could not be read, or changed meanwhile");
        return STATUS_FAILED;
    }
    fwrite(target, 1, (size_t)bytes, to);
    return STATUS_GOOD;
}

static int write_directory(const struct node *node, FILE *to)
{
    uint8_t head[V2_ENTRY_HEAD_BYTES];
    for (size_t i = 0; i < node->name_count; i++) {
        size_t bytes = strlen(node->names[i].text);
        v2_encode_entry(node->names[i].inode, (uint32_t)bytes, head);
        fwrite(head, 1, sizeof(head), to);
        fwrite(node->names[i].text, 1, bytes, to);
    }
    return STATUS_GOOD;
}

static int write_nodes(const struct scan *scan, FILE *to)
{
    int status = STATUS_GOOD;
    for (uint32_t i = 0; i < scan->count && status == STATUS_GOOD; i++) {
        const struct node *node = &scan->nodes[i];
        uint8_t fixed[V2_RECORD_FIXED_MAX];
        size_t bytes = v2_encode_record(&node->record, fixed);
        fwrite(fixed, 1, bytes, to);
        status = node->record.type == VFS_DIRECTORY ? write_directory(node, to)
                 : node->record.type == VFS_LINK    ? write_link(node, to)
                                                    : write_file(node, to);
    }
    return status;
}

/* Whole blocks, and `size_bytes` at least. */
static int finish_file(FILE *to, const char *path, uint64_t size_bytes, bool is_regular)
{
    uint64_t bytes = align_up((uint64_t)ftello(to), ECLIPSEFS_BLOCK_BYTES);
    if (size_bytes != 0 && bytes > size_bytes) {
        complain(0, path, "--size is too small for the folder");
        return STATUS_FAILED;
    }
    bytes = size_bytes > bytes ? size_bytes : bytes;
    if (fflush(to) != 0 || ferror(to) || (is_regular && ftruncate(fileno(to), (off_t)bytes) != 0)) {
        complain(errno, path, "write");
        return STATUS_FAILED;
    }
    return STATUS_GOOD;
}

static int write_image(const struct scan *scan, const char *path, uint64_t size_bytes, bool is_regular)
{
    FILE *to = fopen(path, is_regular ? "wb" : "r+b");
    int status;
    if (!to) {
        complain(errno, path, "create");
        return STATUS_FAILED;
    }
    status = write_table(scan, to);
    if (status == STATUS_GOOD)
        status = write_nodes(scan, to);
    if (status == STATUS_GOOD)
        status = finish_file(to, path, size_bytes, is_regular);
    if (fclose(to) != 0 && status == STATUS_GOOD) {
        complain(errno, path, "write");
        status = STATUS_FAILED;
    }
    return status;
}

static int write_and_rename(const struct scan *scan, const char *image, uint64_t size_bytes)
{
    size_t bytes = strlen(image) + sizeof(".partial");
    char *partial = must_alloc(NULL, bytes);
    int status;
    snprintf(partial, bytes, "%s.partial", image);
    status = write_image(scan, partial, size_bytes, true);
    if (status == STATUS_GOOD && rename(partial, image) != 0) {
        complain(errno, image, "create");
        status = STATUS_FAILED;
    }
    if (status != STATUS_GOOD)
        unlink(partial);
    free(partial);
    return status;
}

int import_tree(const char *image, const char *folder, uint64_t size_bytes, bool is_root_owned)
{
    const char *epoch = getenv("SOURCE_DATE_EPOCH");
    struct scan scan = {.time_limit = UINT64_MAX, .is_root_owned = is_root_owned};
    struct stat there;
    int status;
    if (epoch && string_to_u64(epoch, &scan.time_limit) != 0) {
        complain(0, "SOURCE_DATE_EPOCH", "is not a number of seconds");
        return STATUS_USAGE;
    }
    status = scan_tree(&scan, folder);
    if (status == STATUS_GOOD) {
        bool is_regular = stat(image, &there) != 0 || S_ISREG(there.st_mode);
        status =
            is_regular ? write_and_rename(&scan, image, size_bytes) : write_image(&scan, image, 0, false);
    }
    scan_free(&scan);
    return status;
}
