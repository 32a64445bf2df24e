/* SPDX-License-Identifier: MIT */
/* The shell's commands over directories: ls, tree, manifest. They stay in the file system of the path that
 * they are given. Directories may be damaged: depth is bounded, and a directory that is its own ancestor ends
 * the command with -ELOOP and one line. */
#include <fs/name_list.h>
#include <fs/vfs.h>
#include <kernel/checksum.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/printf.h>
#include <kernel/shell.h>
#include <kernel/string.h>

#define DEPTH_MAX   64u
#define CHUNK_BYTES KIB(32)

/* One walk; `paths` collects what manifest sorts. */
struct tree {
    struct vfs_mount *mount;
    const char *command;
    uint64_t ancestors[DEPTH_MAX];
    uint32_t depth;
    size_t path_bytes;
    struct name_list *paths; /* NULL: print the tree */
    uint64_t files, directories;
    char path[VFS_PATH_MAX];
};

static const char *type_letter(enum vfs_type type)
{
    return type == VFS_DIRECTORY ? "d" : type == VFS_LINK ? "l" : "f";
}

static int sorted_names(const struct vfs_node *node, struct name_list *names)
{
    name_list_init(names);
    int error = vfs_list(node, name_list_add, names);
    if (error)
        name_list_free(names);
    else
        name_list_sort(names);
    return error;
}

static void print_link(const struct vfs_node *node)
{
    char *target = heap_alloc(VFS_PATH_MAX);
    if (target && vfs_read_link(node, target, VFS_PATH_MAX) == 0)
        console_printf(" -> %s", target);
    heap_free(target);
}

static int print_line(const struct vfs_node *node, const char *name, uint32_t name_bytes)
{
    struct vfs_stat stat;
    int error = vfs_stat(node, &stat);
    if (error)
        return error;
    console_printf("%s %06o %3u %5u %5u %10llu %10llu ", type_letter(stat.type), stat.mode, stat.nlink,
                   stat.uid, stat.gid, (unsigned long long)stat.size_bytes, (unsigned long long)stat.mtime);
    console_write(name, name_bytes);
    if (stat.type == VFS_LINK)
        print_link(node);
    console_printf("\n");
    return 0;
}

static int list_directory(const struct vfs_node *node)
{
    struct name_list names;
    int error = sorted_names(node, &names);
    if (error)
        return error;
    for (const struct name_entry *entry = names.first; entry && !error; entry = entry->next) {
        struct vfs_node child = {node->mount, entry->inode};
        error = print_line(&child, entry->name, entry->name_bytes);
    }
    name_list_free(&names);
    return error;
}

static int ls_run(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "/";
    struct vfs_node node;
    struct vfs_stat stat;
    int error = vfs_open(path, true, &node);
    if (!error) {
        error = vfs_stat(&node, &stat);
        if (!error)
            error = stat.type == VFS_DIRECTORY ? list_directory(&node)
                                               : print_line(&node, path, (uint32_t)strlen(path));
        vfs_close(&node);
    }
    if (error)
        console_printf("ls: %s: %s\n", path, error_name(error));
    return error;
}
SHELL_COMMAND(ls, "[PATH]", "list a directory: type, mode, links, uid, gid, bytes, mtime, name", ls_run,
              NULL);

/* ---- Walking ---------------------------------------------------------------------------------------- */

static int refuse_cycle(struct tree *tree, uint64_t inode)
{
    bool is_cycle = false;
    for (uint32_t i = 0; i < tree->depth; i++)
        is_cycle |= tree->ancestors[i] == inode;
    if (!is_cycle && tree->depth < DEPTH_MAX)
        return 0;
    console_printf("%s: %s: %s\n", tree->command, tree->path,
                   is_cycle ? "the directory is its own ancestor" : "directories are nested too deep");
    return -ELOOP;
}

static int visit(struct tree *tree, uint64_t inode, const char *name, uint32_t name_bytes);

static int visit_children(struct tree *tree, const struct vfs_node *node)
{
    struct name_list names;
    int error = refuse_cycle(tree, node->inode);
    if (!error)
        error = sorted_names(node, &names);
    if (error)
        return error;
    tree->ancestors[tree->depth++] = node->inode;
    for (const struct name_entry *entry = names.first; entry && !error; entry = entry->next) {
        size_t length = tree->path_bytes;
        bool is_root = length == 1;
        if (length + entry->name_bytes + 2 > sizeof(tree->path)) {
            error = -ENAMETOOLONG;
            break;
        }
        if (!is_root)
            tree->path[tree->path_bytes++] = '/';
        memcpy(tree->path + tree->path_bytes, entry->name, entry->name_bytes);
        tree->path_bytes += entry->name_bytes;
        tree->path[tree->path_bytes] = 0;
        error = visit(tree, entry->inode, entry->name, entry->name_bytes);
        tree->path_bytes = length;
        tree->path[length] = 0;
    }
    tree->depth--;
    name_list_free(&names);
    return error;
}

static void print_branch(const struct tree *tree, const struct vfs_node *node, const struct vfs_stat *stat,
                         const char *name, uint32_t name_bytes)
{
    for (uint32_t i = 0; i < tree->depth; i++)
        console_write("    ", 4);
    console_write(name, name_bytes);
    if (stat->type == VFS_DIRECTORY && tree->depth)
        console_write("/", 1);
    if (stat->type == VFS_LINK)
        print_link(node);
    console_write("\n", 1);
}

static int visit(struct tree *tree, uint64_t inode, const char *name, uint32_t name_bytes)
{
    struct vfs_node node = {tree->mount, inode};
    struct vfs_stat stat;
    int error = shell_interrupted() ? -EINTR : vfs_stat(&node, &stat);
    if (error)
        return error;
    if (tree->paths) {
        const struct vfs_entry entry = {inode, (uint32_t)tree->path_bytes, tree->path};
        error = name_list_add(&entry, tree->paths);
    } else {
        print_branch(tree, &node, &stat, name, name_bytes);
    }
    tree->directories += stat.type == VFS_DIRECTORY;
    tree->files += stat.type != VFS_DIRECTORY;
    if (!error && stat.type == VFS_DIRECTORY)
        error = visit_children(tree, &node);
    return error;
}

static int walk(const char *command, const char *path, struct name_list *paths, struct vfs_node *node)
{
    struct tree *tree = heap_alloc_zeroed(sizeof(*tree));
    int error = tree ? vfs_open(path, true, node) : -ENOMEM;
    if (!error) {
        tree->mount = node->mount;
        tree->command = command;
        tree->paths = paths;
        tree->path_bytes = string_copy(tree->path, path, sizeof(tree->path));
        while (tree->path_bytes > 1 && tree->path[tree->path_bytes - 1] == '/')
            tree->path[--tree->path_bytes] = 0;
        error = visit(tree, node->inode, tree->path, (uint32_t)tree->path_bytes);
        if (!error && !paths)
            console_printf("%llu directories, %llu files\n", (unsigned long long)tree->directories,
                           (unsigned long long)tree->files);
        if (error)
            vfs_close(node);
    }
    if (error)
        console_printf("%s: %s: %s\n", command, path, error_name(error));
    heap_free(tree);
    return error;
}

static int tree_run(int argc, char **argv)
{
    struct vfs_node node;
    int error = walk("tree", argc > 1 ? argv[1] : "/", NULL, &node);
    if (!error)
        vfs_close(&node);
    return error;
}
SHELL_COMMAND(tree, "[PATH]", "print a tree of directories", tree_run, NULL);

/* ---- manifest --------------------------------------------------------------------------------------- */

static int hash_content(const struct vfs_node *node, char text[65])
{
    uint8_t *chunk = heap_alloc(CHUNK_BYTES), digest[32];
    struct sha256 hash;
    uint64_t offset = 0;
    size_t done = 1;
    int error = chunk ? 0 : -ENOMEM;
    sha256_init(&hash);
    while (!error && done) {
        error = vfs_read(node, offset, chunk, CHUNK_BYTES, &done);
        if (!error)
            sha256_update(&hash, chunk, done);
        offset += done;
    }
    sha256_finish(&hash, digest);
    for (unsigned i = 0; i < sizeof(digest); i++) {
        text[2 * i] = "0123456789abcdef"[digest[i] >> 4];
        text[2 * i + 1] = "0123456789abcdef"[digest[i] & 15];
    }
    text[64] = 0;
    heap_free(chunk);
    return error;
}

static void print_escaped(const char *text, uint32_t bytes)
{
    for (uint32_t i = 0; i < bytes; i++) {
        if ((unsigned char)text[i] < 32 || text[i] == '\\')
            console_printf("\\x%02x", (unsigned char)text[i]);
        else
            console_write(&text[i], 1);
    }
}

static int print_manifest_line(const struct vfs_node *node, const struct name_entry *path)
{
    struct vfs_stat stat;
    char hash[65] = "-", entries[24] = "-";
    int error = vfs_stat(node, &stat);
    if (!error && stat.type != VFS_DIRECTORY)
        error = hash_content(node, hash);
    if (error)
        return error;
    if (stat.type == VFS_DIRECTORY)
        snprintf(entries, sizeof(entries), "%llu", (unsigned long long)stat.entries);
    console_printf("%llu\t%s\t%o\t%u\t%u\t%u\t%llu\t%llu\t%llu\t%llu\t%s\t%s\t",
                   (unsigned long long)stat.inode, type_letter(stat.type), stat.mode, stat.uid, stat.gid,
                   stat.nlink, (unsigned long long)stat.size_bytes, (unsigned long long)stat.atime,
                   (unsigned long long)stat.mtime, (unsigned long long)stat.ctime, entries, hash);
    print_escaped(path->name, path->name_bytes);
    console_write("\n", 1);
    return 0;
}

static int manifest_run(int argc, char **argv)
{
    struct name_list paths;
    struct vfs_node node;
    name_list_init(&paths);
    int error = walk("manifest", argc > 1 ? argv[1] : "/", &paths, &node);
    if (!error) {
        name_list_sort(&paths);
        for (const struct name_entry *path = paths.first; path && !error; path = path->next) {
            struct vfs_node child = {node.mount, path->inode};
            error = print_manifest_line(&child, path);
        }
        vfs_close(&node);
    }
    name_list_free(&paths);
    return error;
}
SHELL_COMMAND(manifest, "[PATH]",
              "one line a path: inode, type, mode, uid, gid, nlink, size, times, entries, SHA-256, path",
              manifest_run, NULL);
