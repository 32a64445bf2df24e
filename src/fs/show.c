/* SPDX-License-Identifier: MIT */
/* ls, tree, stat and cat, for the shell and the host tool (fs/output.h). */
#include <fs/name_list.h>
#include <fs/output.h>
#include <fs/walk.h>
#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/string.h>

#define CHUNK_BYTES 65536u
#define YEAR_10000  253402300800ull /* its first second */

static void add_mode(struct fs_output *output, const struct vfs_stat *stat)
{
    static const char types[] = "?-dl";
    uint32_t mode = stat->mode;
    char text[11];
    text[0] = types[stat->type & 3];
    for (int i = 0; i < 9; i++)
        text[1 + i] = mode & 0400 >> i ? "rwx"[i % 3] : '-';
    if (mode & 04000)
        text[3] = mode & 0100 ? 's' : 'S';
    if (mode & 02000)
        text[6] = mode & 0010 ? 's' : 'S';
    if (mode & 01000)
        text[9] = mode & 0001 ? 't' : 'T';
    text[10] = '\0';
    fs_output_add(output, "%s", text);
}

/* Seconds since 1970 as a date in UTC. The year begins in March here, so that the leap day is its last. */
static void add_time(struct fs_output *output, uint64_t seconds)
{
    uint64_t days = seconds / 86400 + 719468; /* since the first of March of year 0 */
    uint64_t era = days / 146097, day_of_era = days % 146097;
    uint64_t year = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    uint64_t day = day_of_era - (365 * year + year / 4 - year / 100);
    uint64_t month = (5 * day + 2) / 153;
    uint64_t rest = seconds % 86400;
    if (seconds >= YEAR_10000) {
        fs_output_add(output, "@%llu", (unsigned long long)seconds);
        return;
    }
    day -= (153 * month + 2) / 5;
    year += era * 400 + (month >= 10);
    month = month < 10 ? month + 3 : month - 9;
    fs_output_add(output, "%04u-%02u-%02u %02u:%02u:%02u", (unsigned)year, (unsigned)month, (unsigned)day + 1,
                  (unsigned)(rest / 3600), (unsigned)(rest / 60 % 60), (unsigned)(rest % 60));
}

static void add_link_target(struct fs_output *output, const struct vfs_node *node)
{
    char *target = heap_alloc(VFS_PATH_MAX);
    if (!target)
        return;
    if (vfs_read_link(node, target, VFS_PATH_MAX) == 0) {
        fs_output_add(output, " -> ");
        fs_output_add_name(output, target, strlen(target));
    }
    heap_free(target);
}

/* ---- ls ------------------------------------------------------------------------------------------------ */

static int list_one(struct fs_output *output, const struct vfs_node *node, const char *name,
                    size_t name_bytes)
{
    struct vfs_stat stat;
    int error = vfs_stat(node, &stat);
    if (error)
        return error;
    add_mode(output, &stat);
    fs_output_add(output, " %2u %5u %5u %10llu ", stat.nlink, stat.uid, stat.gid,
                  (unsigned long long)stat.size_bytes);
    add_time(output, stat.mtime);
    fs_output_add(output, " ");
    fs_output_add_name(output, name, name_bytes);
    if (stat.type == VFS_LINK)
        add_link_target(output, node);
    fs_output_end(output);
    return fs_output_check(output);
}

static int list_directory(struct fs_output *output, const struct vfs_node *directory)
{
    struct name_list names;
    int error = fs_list_sorted(directory, &names);
    for (const struct name_entry *entry = names.first; entry && !error; entry = entry->next) {
        struct vfs_node child = {.mount = directory->mount, .inode = entry->inode};
        error = list_one(output, &child, entry->name, entry->name_bytes);
    }
    name_list_free(&names);
    return error;
}

int fs_show_list(struct fs_output *output, const char *path)
{
    struct vfs_node node;
    struct vfs_stat stat;
    int error = vfs_open(path, true, &node);
    if (error)
        return error;
    error = vfs_stat(&node, &stat);
    if (!error)
        error = stat.type == VFS_DIRECTORY ? list_directory(output, &node)
                                           : list_one(output, &node, path, strlen(path));
    vfs_close(&node);
    return error;
}

/* ---- tree ---------------------------------------------------------------------------------------------- */

struct tree {
    struct fs_output *output;
    uint64_t directories, files, links;
    uint8_t is_last[VFS_PATH_MAX / 2]; /* by depth: no line goes on below it */
};

static int tree_each(const struct walk_item *item, void *context)
{
    struct tree *tree = context;
    struct fs_output *output = tree->output;
    assert(item->depth < sizeof(tree->is_last));
    tree->is_last[item->depth] = item->is_last;
    for (uint32_t depth = 1; depth < item->depth; depth++)
        fs_output_add(output, "%s", tree->is_last[depth] ? "    " : "|   ");
    if (item->depth > 0)
        fs_output_add(output, "%s", item->is_last ? "`-- " : "|-- ");
    fs_output_add_name(output, item->name, strlen(item->name));
    if (item->stat.type == VFS_DIRECTORY && item->name[0] != '/')
        fs_output_add(output, "/");
    if (item->stat.type == VFS_LINK)
        add_link_target(output, &item->node);
    fs_output_end(output);
    tree->directories += item->stat.type == VFS_DIRECTORY;
    tree->files += item->stat.type == VFS_FILE;
    tree->links += item->stat.type == VFS_LINK;
    return fs_output_check(output);
}

int fs_show_tree(struct fs_output *output, const char *path)
{
    struct tree *tree = heap_alloc_zeroed(sizeof(*tree));
    int error;
    if (!tree)
        return -ENOMEM;
    tree->output = output;
    error = fs_walk(path, WALK_TREE, tree_each, tree);
    if (!error) {
        fs_output_add(output, "%llu directories, %llu files, %llu links",
                      (unsigned long long)tree->directories, (unsigned long long)tree->files,
                      (unsigned long long)tree->links);
        fs_output_end(output);
    }
    heap_free(tree);
    return error;
}

/* ---- stat ---------------------------------------------------------------------------------------------- */

static void show_time(struct fs_output *output, const char *name, uint64_t seconds)
{
    fs_output_add(output, "%-8s", name);
    add_time(output, seconds);
    fs_output_add(output, " UTC");
    fs_output_end(output);
}

static void show_stat(struct fs_output *output, const struct vfs_node *node, const struct vfs_stat *stat)
{
    static const char *const types[] = {"?", "file", "directory", "link"};
    if (stat->type == VFS_LINK)
        add_link_target(output, node);
    fs_output_end(output);
    fs_output_add(output, "inode   %llu, %s, ", (unsigned long long)stat->inode, types[stat->type & 3]);
    if (stat->type == VFS_DIRECTORY)
        fs_output_add(output, "%llu entries", (unsigned long long)stat->entries);
    else
        fs_output_add(output, "%llu bytes", (unsigned long long)stat->size_bytes);
    fs_output_add(output, ", %u links to it", stat->nlink);
    fs_output_end(output);
    fs_output_add(output, "mode    %o ", stat->mode);
    add_mode(output, stat);
    fs_output_add(output, ", uid %u, gid %u", stat->uid, stat->gid);
    fs_output_end(output);
    show_time(output, "read", stat->atime);
    show_time(output, "written", stat->mtime);
    show_time(output, "changed", stat->ctime);
}

int fs_show_stat(struct fs_output *output, const char *path)
{
    struct vfs_node node;
    struct vfs_stat stat;
    int error = vfs_open(path, false, &node);
    if (error)
        return error;
    error = vfs_stat(&node, &stat);
    if (!error) {
        fs_output_add(output, "%-8s", "path");
        fs_output_add_name(output, path, strlen(path));
        show_stat(output, &node, &stat);
    }
    vfs_close(&node);
    return error;
}

/* ---- cat ----------------------------------------------------------------------------------------------- */

static int copy_content(struct fs_output *output, const struct vfs_node *node, char *chunk)
{
    uint64_t offset = 0;
    size_t done;
    int error;
    do {
        error = vfs_read(node, offset, chunk, CHUNK_BYTES, &done);
        if (!error && done > 0)
            output->write(chunk, done);
        offset += done;
        if (!error)
            error = fs_output_check(output);
    } while (!error && done > 0);
    return error;
}

int fs_show_content(struct fs_output *output, const char *path)
{
    struct vfs_node node;
    char *chunk;
    int error = vfs_open(path, true, &node);
    if (error)
        return error;
    chunk = heap_alloc(CHUNK_BYTES);
    error = chunk ? copy_content(output, &node, chunk) : -ENOMEM;
    heap_free(chunk);
    vfs_close(&node);
    return error;
}
