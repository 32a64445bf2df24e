/* SPDX-License-Identifier: MIT */
/* Paths, links, mounts and tree walks, over images in memory. */
#include "check.h"
#include "image.h"
#include "../../tools/host/block_file.h"

#include <fs/bcache.h>
#include <fs/name_list.h>
#include <fs/walk.h>
#include <kernel/heap.h>

#include <errno.h>

static struct image first, second;
static struct block_device *first_device, *second_device;

enum {
    ROOT = 1,
    DIR_A,
    DIR_B,
    FILE_C,
    FILE_F,
};

static void make_images(void)
{
    char longest[VFS_NAME_MAX + 1];
    char entries[1024];
    memset(longest, 'n', VFS_NAME_MAX);
    longest[VFS_NAME_MAX] = '\0';
    snprintf(entries, sizeof(entries),
             "a:2 f:5 rel:6 abs:7 loop:8 p:9 q:10 dangling:11 empty:12 dir-slash:14 %s:5 file-slash:15 "
             "chain:16 to-root:17 nul:18",
             longest);
    image_add_directory(&first, entries);            /* 1 */
    image_add_directory(&first, "b:3");              /* 2: /a */
    image_add_directory(&first, "c:4 up:13");        /* 3: /a/b */
    image_add(&first, VFS_FILE, "content of c", 12); /* 4 */
    image_add(&first, VFS_FILE, "f", 1);             /* 5 */
    image_add_link(&first, "a/b");                   /* 6: /rel */
    image_add_link(&first, "/a/b/c");                /* 7: /abs */
    image_add_link(&first, "loop");                  /* 8 */
    image_add_link(&first, "q");                     /* 9: /p */
    image_add_link(&first, "/p");                    /* 10: /q */
    image_add_link(&first, "nowhere/at/all");        /* 11 */
    image_add_link(&first, "");                      /* 12 */
    image_add_link(&first, "../../f");               /* 13: /a/b/up */
    image_add_link(&first, "a/");                    /* 14 */
    image_add_link(&first, "f/");                    /* 15 */
    image_add_link(&first, "rel/../../abs");         /* 16 */
    image_add_link(&first, "//");                    /* 17 */
    image_add(&first, VFS_LINK, "a\0b", 3);          /* 18 */
    image_finish(&first);
    image_add_directory(&second, "inner:2 out:4");
    image_add_directory(&second, "x:3");
    image_add(&second, VFS_FILE, "second", 6);
    image_add_link(&second, "../f");
    image_finish(&second);
}

/* The inode that the path leads to, or a negative errno. */
static int64_t open_inode(const char *path, bool follow)
{
    struct vfs_node node;
    int error = vfs_open(path, follow, &node);
    if (error)
        return error;
    int64_t inode = (int64_t)node.inode;
    vfs_close(&node);
    return inode;
}

static const struct {
    const char *path;
    bool follow;
    int64_t expected;
} path_cases[] = {
    {"/", true, ROOT},
    {"//", true, ROOT},
    {"/.", true, ROOT},
    {"/..", true, ROOT},
    {"/../../a", true, DIR_A},
    {"a", true, DIR_A},
    {"", true, -ENOENT},
    {"/a", true, DIR_A},
    {"/a/", true, DIR_A},
    {"/a//b///c", true, FILE_C},
    {"/a/b/../b/./c", true, FILE_C},
    {"/a/b/../../f", true, FILE_F},
    {"/nothing", true, -ENOENT},
    {"/nothing/f", true, -ENOENT},
    {"/a/nothing", true, -ENOENT},
    {"/nothing/../f", true, -ENOENT},
    {"/f/", true, -ENOTDIR},
    {"/f/x", true, -ENOTDIR},
    {"/f/.", true, -ENOTDIR},
    {"/f/..", true, -ENOTDIR},
    {"/a/b/c/", true, -ENOTDIR},
    {"/A", true, -ENOENT},
    {"/rel", true, DIR_B},
    {"/rel", false, 6},
    {"/rel/", false, DIR_B},
    {"/rel/c", false, FILE_C},
    {"/rel/../b", true, DIR_B},
    {"/rel/..", true, DIR_A}, /* the parent of what it leads to, not of the link */
    {"/abs", true, FILE_C},
    {"/abs", false, 7},
    {"/abs/", false, -ENOTDIR},
    {"/abs/x", true, -ENOTDIR},
    {"/a/b/up", true, FILE_F},
    {"/chain", true, FILE_C},
    {"/to-root", true, ROOT},
    {"/to-root/a", true, DIR_A},
    {"/dir-slash", true, DIR_A},
    {"/dir-slash/b", true, DIR_B},
    {"/file-slash", true, -ENOTDIR},
    {"/loop", true, -ELOOP},
    {"/loop", false, 8},
    {"/loop/x", true, -ELOOP},
    {"/p", true, -ELOOP},
    {"/q/x", true, -ELOOP},
    {"/dangling", true, -ENOENT},
    {"/dangling", false, 11},
    {"/empty", true, -ENOENT},
    {"/nul", true, -EUCLEAN},
};

static void test_paths(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(path_cases); i++) {
        int64_t inode = open_inode(path_cases[i].path, path_cases[i].follow);
        if (inode != path_cases[i].expected)
            fprintf(stderr, "%s: %lld instead of %lld\n", path_cases[i].path, (long long)inode,
                    (long long)path_cases[i].expected);
        check(inode == path_cases[i].expected);
    }
}

static void test_long_paths(void)
{
    char path[VFS_PATH_MAX + 2];
    path[0] = '/';
    memset(path + 1, 'n', VFS_NAME_MAX + 1);
    path[VFS_NAME_MAX + 1] = '\0';
    check(open_inode(path, true) == FILE_F);
    path[VFS_NAME_MAX + 1] = 'n';
    path[VFS_NAME_MAX + 2] = '\0';
    check(open_inode(path, true) == -ENAMETOOLONG);
    for (size_t i = 0; i + 1 < VFS_PATH_MAX; i += 2)
        memcpy(path + i, "/.", 2);
    path[VFS_PATH_MAX - 1] = '\0';
    check(open_inode(path, true) == ROOT);
    memcpy(path + VFS_PATH_MAX - 1, "/", 2);
    check(open_inode(path, true) == -ENAMETOOLONG);
    /* Down and up again: only the depth is limited, not the number of steps. */
    for (size_t i = 0; i + 5 < VFS_PATH_MAX; i += 5)
        memcpy(path + i, "/a/..", 6);
    check(open_inode(path, true) == ROOT);
}

static void test_read(void)
{
    struct vfs_node node;
    char text[64];
    size_t done;
    check_equal(vfs_open("/abs", true, &node), 0);
    check_equal(vfs_read(&node, 0, text, sizeof(text), &done), 0);
    check(done == 12 && memcmp(text, "content of c", 12) == 0);
    check(vfs_read(&node, 8, text, 2, &done) == 0 && done == 2 && memcmp(text, "of", 2) == 0);
    check(vfs_read(&node, 12, text, 5, &done) == 0 && done == 0);
    check(vfs_read(&node, UINT64_MAX, text, 5, &done) == 0 && done == 0);
    check(vfs_read_link(&node, text, sizeof(text)) == -EINVAL);
    vfs_close(&node);
    check_equal(vfs_open("/abs", false, &node), 0);
    check(vfs_read_link(&node, text, sizeof(text)) == 0 && strcmp(text, "/a/b/c") == 0);
    check(vfs_read_link(&node, text, 7) == 0 && vfs_read_link(&node, text, 6) == -ENAMETOOLONG);
    vfs_close(&node);
    check_equal(vfs_open("/a", true, &node), 0);
    check(vfs_read(&node, 0, text, 1, &done) == -EISDIR);
    vfs_close(&node);
    check_equal(vfs_open("/f", true, &node), 0);
    check(vfs_list(&node, NULL, NULL) == -ENOTDIR);
    vfs_close(&node);
}

static void test_mounts(void)
{
    struct vfs_node node;
    check(vfs_mount(first_device, "/a") == -EBUSY); /* the device */
    check(vfs_mount(second_device, "/") == -EBUSY); /* the path */
    check(vfs_mount(second_device, "/f") == -ENOTDIR);
    check(vfs_mount(second_device, "/nothing") == -ENOENT);
    check(!vfs_device_is_mounted(second_device));
    check_equal(vfs_mount(second_device, "/rel"), 0); /* on /a/b */
    check(vfs_device_is_mounted(second_device));
    check(open_inode("/a/b", true) == 1 && open_inode("/rel/inner/x", true) == 3);
    check(open_inode("/a/b/c", true) == -ENOENT);
    check(open_inode("/a/b/..", true) == DIR_A);
    check(open_inode("/a/b/inner/../../b/inner", true) == 2);
    check(open_inode("/a/b/out", true) == -ENOENT); /* /a/f */
    check(vfs_mount(second_device, "/a") == -EBUSY && vfs_mount(first_device, "/a/b") == -EBUSY);
    check(vfs_unmount("/") == -EBUSY); /* one lies on it */
    check(vfs_unmount("/a") == -EINVAL && vfs_unmount("/a/b/inner") == -EINVAL);
    check_equal(vfs_open("/a/b/inner", true, &node), 0);
    check(vfs_unmount("/a/b") == -EBUSY); /* open */
    vfs_close(&node);
    check_equal(vfs_unmount("/a/b/"), 0);
    check(open_inode("/a/b", true) == DIR_B && vfs_unmount("/a/b") == -EINVAL);
}

/* ---- Walks --------------------------------------------------------------------------------------------- */

struct seen {
    char text[1024];
};

static int note_path(const struct walk_item *item, void *context)
{
    struct seen *seen = context;
    size_t at = strlen(seen->text);
    snprintf(seen->text + at, sizeof(seen->text) - at, "%s ", item->path);
    return 0;
}

static int stop_at_second(const struct walk_item *item, void *context)
{
    return ++*(int *)context == 2 ? 77 : 0;
}

/* The walk's result over a device of its own. */
static int walk_image(struct image *image, const char *path, enum walk_order order, struct seen *seen)
{
    struct block_device *device = block_memory_create("walk", image->bytes, image->size);
    int error = vfs_mount(device, "/");
    seen->text[0] = '\0';
    if (!error) {
        error = fs_walk(path, order, note_path, seen);
        check_equal(vfs_unmount("/"), 0);
    }
    block_file_close(device);
    return error;
}

static void test_walk_orders(void)
{
    struct image image = {0};
    struct seen seen;
    int calls = 0;
    image_add_directory(&image, "d-x:5 d:2 d0:4 d-:6 e:3");
    image_add_directory(&image, "y:4 x:4");
    image_add_directory(&image, "");
    image_add(&image, VFS_FILE, "", 0);
    image_add_directory(&image, "k:4");
    image_add_directory(&image, "z:4");
    image_finish(&image);
    check_equal(walk_image(&image, "/", WALK_BY_PATH, &seen), 0);
    check(strcmp(seen.text, "/ /d /d- /d-/z /d-x /d-x/k /d/x /d/y /d0 /e ") == 0);
    check_equal(walk_image(&image, "/", WALK_TREE, &seen), 0);
    check(strcmp(seen.text, "/ /d /d/x /d/y /d- /d-/z /d-x /d-x/k /d0 /e ") == 0);
    check_equal(walk_image(&image, "/d//", WALK_TREE, &seen), 0);
    check(strcmp(seen.text, "/d /d/x /d/y ") == 0);
    check_equal(walk_image(&image, "/d0", WALK_TREE, &seen), 0);
    check(strcmp(seen.text, "/d0 ") == 0);
    check(walk_image(&image, "/no", WALK_TREE, &seen) == -ENOENT);
    struct block_device *device = block_memory_create("walk", image.bytes, image.size);
    check_equal(vfs_mount(device, "/"), 0);
    check(fs_walk("/", WALK_TREE, stop_at_second, &calls) == 77 && calls == 2);
    check_equal(vfs_unmount("/"), 0);
    block_file_close(device);
    image_free(&image);
}

static void test_walk_refusals(void)
{
    static const struct {
        const char *root, *sub, *subsub;
    } cases[] = {
        {"a:2", "back:1", ""},    /* a cycle through the root */
        {"a:2", "self:2", ""},    /* a directory in itself */
        {"a:2", "b:3", "back:2"}, /* a cycle below */
        {"a:2 b:2", "", ""},      /* two names of one directory */
        {"a:2 b:3", "c:3", ""},   /* the same at two depths */
        {"a:3 a:2", "", ""},      /* equal names */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct image image = {0};
        struct seen seen;
        image_add_directory(&image, cases[i].root);
        image_add_directory(&image, cases[i].sub);
        image_add_directory(&image, cases[i].subsub);
        image_finish(&image);
        check(walk_image(&image, "/", WALK_BY_PATH, &seen) == -EUCLEAN);
        check(walk_image(&image, "/", WALK_TREE, &seen) == -EUCLEAN);
        image_free(&image);
    }
}

static void test_name_list(void)
{
    struct name_list list;
    char name[8];
    uint64_t count = 0;
    name_list_init(&list);
    for (uint32_t i = 0; i < 5000; i++) {
        uint32_t scattered = i * 2791 % 5000; /* 2791 and 5000 have no common factor: each number once */
        int bytes = snprintf(name, sizeof(name), "%u", scattered);
        struct vfs_entry entry = {.inode = scattered, .name_bytes = (uint32_t)bytes, .name = name};
        check_equal(name_list_add(&entry, &list), 0);
    }
    name_list_sort(&list);
    check(name_list_duplicate(&list) == NULL);
    for (const struct name_entry *e = list.first; e; e = e->next) {
        count++;
        check(!e->next || name_compare(e->name, e->name_bytes, e->next->name, e->next->name_bytes) < 0);
    }
    check(count == 5000 && list.count == 5000);
    check(name_compare("a", 1, "a", 1) == 0 && name_compare("a", 1, "ab", 2) < 0 &&
          name_compare("b", 1, "ab", 2) > 0);
    check(name_compare("\xff", 1, "a", 1) > 0);
    name_list_free(&list);
}

int main(void)
{
    make_images();
    check(bcache_configure(MIB(1)));
    check(open_inode("/", true) == -ENOENT); /* nothing is mounted */
    test_walk_orders();
    test_walk_refusals();
    test_name_list();
    first_device = block_memory_create("first", first.bytes, first.size);
    second_device = block_memory_create("second", second.bytes, second.size);
    check_equal(vfs_mount(first_device, "/"), 0);
    test_paths();
    test_long_paths();
    test_read();
    test_mounts();
    check_equal(vfs_unmount("/"), 0);
    block_file_close(first_device);
    block_file_close(second_device);
    bcache_shutdown();
    image_free(&first);
    image_free(&second);
    return check_finish();
}
