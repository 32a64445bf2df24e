/* SPDX-License-Identifier: MIT */
/* eclipsefs: makes and reads eclipsefs v2.0 images on the host, with the kernel's own reader and encoder.
 *
 *     eclipsefs import IMAGE DIR    an image that holds the tree below DIR
 *     eclipsefs fsck IMAGE          judges an image as strictly as the kernel does
 *
 * Exit status as fsck(8): 0 good, 4 problems found, 8 could not be read or written, 16 wrong usage. An image
 * is made in memory first, then written whole: a failure leaves no half of one. */
#include "host/block_file.h"

#include <fs/eclipsefs/eclipsefs.h>
#include <fs/eclipsefs/v2_write.h>
#include <kernel/base/bits.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { STATUS_GOOD = 0, STATUS_PROBLEMS = 4, STATUS_IO = 8, STATUS_USAGE = 16 };

struct bytes {
    uint8_t *data;
    size_t count, room;
};

/* One inode to be: its path, and for a directory the range of its children, which follow each other. */
struct node {
    char *path;
    struct stat stat;
    uint32_t first_child, children;
};
struct nodes {
    struct node *at;
    uint32_t count, room;
};

static noreturn void die(const char *what)
{
    perror(what);
    exit(STATUS_IO);
}

static void append(struct bytes *bytes, const void *data, size_t count)
{
    if (bytes->count + count > bytes->room) {
        bytes->room = (bytes->count + count) * 2;
        bytes->data = realloc(bytes->data, bytes->room);
        if (!bytes->data)
            die("memory");
    }
    if (count)
        memcpy(bytes->data + bytes->count, data, count);
    bytes->count += count;
}

static void add_node(struct nodes *nodes, char *path)
{
    if (nodes->count == nodes->room) {
        nodes->room = nodes->room ? nodes->room * 2 : 64;
        nodes->at = realloc(nodes->at, nodes->room * sizeof(*nodes->at));
        if (!nodes->at)
            die("memory");
    }
    struct node *node = &nodes->at[nodes->count++];
    memset(node, 0, sizeof(*node));
    node->path = path;
    if (lstat(path, &node->stat) != 0)
        die(path);
    if (!S_ISREG(node->stat.st_mode) && !S_ISDIR(node->stat.st_mode) && !S_ISLNK(node->stat.st_mode)) {
        fprintf(stderr, "eclipsefs: %s: neither file, directory nor link\n", path);
        exit(STATUS_IO);
    }
}

static int is_real_name(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

/* Children in the order of their names' bytes, so that the same tree always makes the same image. */
static void add_children(struct nodes *nodes, uint32_t index)
{
    struct dirent **entries;
    int count = scandir(nodes->at[index].path, &entries, is_real_name, by_bytes);
    if (count < 0)
        die(nodes->at[index].path);
    nodes->at[index].first_child = nodes->count;
    nodes->at[index].children = (uint32_t)count;
    for (int i = 0; i < count; i++) {
        char *path;
        if (asprintf(&path, "%s/%s", nodes->at[index].path, entries[i]->d_name) < 0)
            die("memory");
        add_node(nodes, path);
        free(entries[i]);
    }
    free(entries);
}

static void read_file(const char *path, struct bytes *content)
{
    FILE *file = fopen(path, "rb");
    uint8_t chunk[65536];
    size_t count;
    if (!file)
        die(path);
    while ((count = fread(chunk, 1, sizeof(chunk), file)) > 0)
        append(content, chunk, count);
    if (ferror(file))
        die(path);
    fclose(file);
}

static void read_link(const char *path, struct bytes *content)
{
    char target[VFS_PATH_MAX];
    ssize_t count = readlink(path, target, sizeof(target));
    if (count < 0)
        die(path);
    append(content, target, (size_t)count);
}

static void encode_entries(const struct nodes *nodes, const struct node *directory, struct bytes *value)
{
    for (uint32_t i = 0; i < directory->children; i++) {
        uint8_t head[V2_ENTRY_HEAD_BYTES];
        const char *name = strrchr(nodes->at[directory->first_child + i].path, '/') + 1;
        v2_encode_entry(directory->first_child + i + 1, (uint32_t)strlen(name), head);
        append(value, head, sizeof(head));
        append(value, name, strlen(name));
    }
}

static void encode_node(const struct nodes *nodes, uint32_t index, struct bytes *records)
{
    const struct node *node = &nodes->at[index];
    bool is_directory = S_ISDIR(node->stat.st_mode), is_link = S_ISLNK(node->stat.st_mode);
    struct bytes value = {0};
    uint8_t head[V2_RECORD_FIXED_MAX];
    if (is_directory)
        encode_entries(nodes, node, &value);
    else if (is_link)
        read_link(node->path, &value);
    else
        read_file(node->path, &value);
    const struct v2_record record = {
        .inode = index + 1,
        .type = is_directory ? VFS_DIRECTORY
                : is_link    ? VFS_LINK
                             : VFS_FILE,
        .mode = node->stat.st_mode,
        .uid = node->stat.st_uid,
        .gid = node->stat.st_gid,
        .nlink = is_directory ? 2 : 1,
        .atime = (uint64_t)node->stat.st_mtime, /* of reading it just now means nothing */
        .mtime = (uint64_t)node->stat.st_mtime,
        .ctime = (uint64_t)node->stat.st_mtime,
        .value_bytes = value.count,
    };
    if (v2_record_bytes(&record) == 0 || records->count > UINT32_MAX) {
        fprintf(stderr, "eclipsefs: %s: more than the format's 4 GiB\n", node->path);
        exit(STATUS_IO);
    }
    append(records, head, v2_encode_record(&record, head));
    append(records, value.data, value.count);
    free(value.data);
}

static void write_image(const char *path, const struct bytes *image)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(image->data, 1, image->count, file) != image->count || fclose(file) != 0)
        die(path);
}

static int import_tree(const char *image_path, const char *directory)
{
    struct nodes nodes = {0};
    struct bytes image = {0}, table = {0}, records = {0};
    uint8_t block[ECLIPSEFS_BLOCK_BYTES] = {0}, slot[V2_SLOT_BYTES];
    add_node(&nodes, strdup(directory));
    if (!S_ISDIR(nodes.at[0].stat.st_mode)) {
        fprintf(stderr, "eclipsefs: %s: not a directory\n", directory);
        return STATUS_USAGE;
    }
    for (uint32_t i = 0; i < nodes.count; i++)
        if (S_ISDIR(nodes.at[i].stat.st_mode))
            add_children(&nodes, i);
    for (uint32_t i = 0; i < nodes.count; i++) {
        v2_encode_slot(i + 1, (uint32_t)records.count, slot);
        append(&table, slot, sizeof(slot));
        encode_node(&nodes, i, &records);
    }
    v2_encode_header(nodes.count, (uint64_t)nodes.at[0].stat.st_mtime, block);
    append(&image, block, sizeof(block));
    append(&image, table.data, table.count);
    append(&image, records.data, records.count);
    memset(block, 0, sizeof(block));
    append(&image, block, (size_t)(align_up(image.count, sizeof(block)) - image.count));
    write_image(image_path, &image);
    for (uint32_t i = 0; i < nodes.count; i++)
        free(nodes.at[i].path);
    free(nodes.at);
    free(image.data);
    free(table.data);
    free(records.data);
    return STATUS_GOOD;
}

static void print_problem(struct eclipsefs_check *check, const char *text)
{
    (void)check;
    fprintf(stderr, "%s\n", text);
}

static int fsck(const char *path)
{
    struct block_device *device = block_file_open(path, false);
    struct eclipsefs_check check = {.problem = print_problem};
    if (!device)
        die(path);
    int error = eclipsefs_check(device, &check);
    block_file_close(device);
    if (error) {
        fprintf(stderr, "eclipsefs: %s: %s\n", path,
                error == -EINVAL ? "holds no eclipsefs" : strerror(-error));
        return error == -EINVAL ? STATUS_PROBLEMS : STATUS_IO;
    }
    printf("%llu files, %llu directories, %llu links, %llu problems\n", (unsigned long long)check.files,
           (unsigned long long)check.directories, (unsigned long long)check.links,
           (unsigned long long)check.problems);
    return check.problems ? STATUS_PROBLEMS : STATUS_GOOD;
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "import") == 0)
        return import_tree(argv[2], argv[3]);
    if (argc == 3 && strcmp(argv[1], "fsck") == 0)
        return fsck(argv[2]);
    fprintf(stderr, "usage: eclipsefs import IMAGE DIR\n       eclipsefs fsck IMAGE\n");
    return STATUS_USAGE;
}
