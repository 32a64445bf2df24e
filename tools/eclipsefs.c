/* SPDX-License-Identifier: MIT */
/* The host tool for eclipsefs images: makes, shows, checks and unpacks them with the kernel's own sources.
 *
 *     eclipsefs COMMAND IMAGE …       exit status: 0 good, 4 problems found, 8 not read or written, 16 usage
 */
#include "eclipsefs.h"
#include "host/block_file.h"

#include <fs/bcache.h>
#include <fs/eclipsefs/eclipsefs.h>
#include <fs/eclipsefs/format.h>
#include <fs/output.h>
#include <kernel/string.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define CACHE_BYTES      MIB(16)
#define DEFAULT_FS_BYTES MIB(16)

static const char usage_text[] =
    "usage: eclipsefs COMMAND IMAGE ...\n"
    "  mkfs IMAGE [--size S]               write an empty file system (default: the file's size, or 16M)\n"
    "  import IMAGE DIR [--size S] [--root-owner]\n"
    "                                      make an image of a folder; SOURCE_DATE_EPOCH limits its times\n"
    "  export IMAGE DIR                    unpack into a new or empty folder\n"
    "  ls|tree|stat IMAGE [PATH]...        show directories and files\n"
    "  cat IMAGE PATH...                   print files\n"
    "  get IMAGE PATH [FILE]               copy a file out\n"
    "  manifest IMAGE [PATH]               a line of figures for each path, sorted\n"
    "  sha256 IMAGE PATH...                SHA-256 of files\n"
    "  info IMAGE                          the header and totals\n"
    "  dump IMAGE [INODE]                  slots, records and tags as they lie there, also of bad images\n"
    "  fsck IMAGE                          check everything\n"
    "Exit status: 0 good, 4 problems left, 8 could not be read or written, 16 wrong usage.\n";

void complain(int error, const char *what, const char *text)
{
    fprintf(stderr, "eclipsefs: %s: %s%s%s\n", what, text, error ? ": " : "",
            error ? strerror(abs(error)) : "");
}

static int wrong_usage(const char *what, const char *text)
{
    complain(0, what, text);
    fputs(usage_text, stderr);
    return STATUS_USAGE;
}

static int status_of(int error)
{
    if (error == 0)
        return STATUS_GOOD;
    return error == -EUCLEAN || error == -EOPNOTSUPP || error == -EINVAL ? STATUS_PROBLEMS : STATUS_FAILED;
}

/* ---- Arguments ----------------------------------------------------------------------------------------- */

struct arguments {
    const char *command, *image;
    char **rest; /* without options */
    int rest_count;
    uint64_t size_bytes; /* 0: not given */
    bool is_root_owned;
};

static bool take_option(struct arguments *arguments, int argc, char **argv, int *at)
{
    if (strcmp(argv[*at], "--root-owner") == 0 && strcmp(arguments->command, "import") == 0) {
        arguments->is_root_owned = true;
        return true;
    }
    if (strcmp(argv[*at], "--size") != 0 || *at + 1 == argc ||
        (strcmp(arguments->command, "import") != 0 && strcmp(arguments->command, "mkfs") != 0))
        return false;
    return string_to_size(argv[++*at], &arguments->size_bytes) == 0 && arguments->size_bytes > 0;
}

static bool parse_arguments(struct arguments *arguments, int argc, char **argv)
{
    *arguments = (struct arguments){.command = argv[1], .image = NULL, .rest = argv};
    for (int i = 2; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0) {
            if (!take_option(arguments, argc, argv, &i))
                return false;
        } else if (!arguments->image) {
            arguments->image = argv[i];
        } else {
            argv[arguments->rest_count++] =
                argv[i]; /* never past i: nothing is overwritten before it is read */
        }
    }
    return arguments->image != NULL;
}

/* ---- Commands on a mounted image
 * --------------------------------------------------------------------------- */

static void write_out(const char *text, size_t bytes)
{
    fwrite(text, 1, bytes, stdout);
}

static int show_each(const struct arguments *arguments, int (*show)(struct fs_output *, const char *))
{
    struct fs_output *output = fs_output_create(write_out, NULL);
    int first_error = output ? 0 : -ENOMEM;
    for (int i = 0; output && (i < arguments->rest_count || i == 0); i++) {
        const char *path = i < arguments->rest_count ? arguments->rest[i] : "/";
        int error = show(output, path);
        if (error)
            complain(error, arguments->image, path);
        first_error = first_error ? first_error : error;
    }
    fs_output_free(output);
    if (fflush(stdout) != 0) {
        complain(errno, "standard output", "write");
        return STATUS_FAILED;
    }
    return status_of(first_error);
}

static int list_run(const struct arguments *arguments)
{
    return show_each(arguments, fs_show_list);
}

static int tree_run(const struct arguments *arguments)
{
    return show_each(arguments, fs_show_tree);
}

static int stat_run(const struct arguments *arguments)
{
    return show_each(arguments, fs_show_stat);
}

static int cat_run(const struct arguments *arguments)
{
    return show_each(arguments, fs_show_content);
}

static int manifest_run(const struct arguments *arguments)
{
    return show_each(arguments, fs_show_manifest);
}

static int sha256_run(const struct arguments *arguments)
{
    return show_each(arguments, fs_show_sha256);
}

static int get_run(const struct arguments *arguments)
{
    const char *path = arguments->rest[0], *slash = strrchr(path, '/');
    const char *name = arguments->rest_count > 1 ? arguments->rest[1] : slash ? slash + 1 : path;
    struct fs_output *output;
    int error;
    if (!freopen(name, "wb", stdout)) {
        complain(errno, name, "create");
        return STATUS_FAILED;
    }
    output = fs_output_create(write_out, NULL);
    error = output ? fs_show_content(output, path) : -ENOMEM;
    fs_output_free(output);
    if (error)
        complain(error, arguments->image, path);
    if (fflush(stdout) != 0) {
        complain(errno, name, "write");
        return STATUS_FAILED;
    }
    return status_of(error);
}

static int export_run(const struct arguments *arguments)
{
    return export_tree(arguments->rest[0]);
}

/* ---- Commands on a device --------------------------------------------------------------------------------
 */

static void print_problem(struct eclipsefs_check *check, const char *text)
{
    printf("%s\n", text);
}

static void ignore_problem(struct eclipsefs_check *check, const char *text)
{
}

static void print_totals(const struct eclipsefs_check *check)
{
    printf("%llu directories, %llu files, %llu links, %llu bytes of content, %llu unnamed inodes\n",
           (unsigned long long)check->directories, (unsigned long long)check->files,
           (unsigned long long)check->links, (unsigned long long)check->content_bytes,
           (unsigned long long)check->unnamed);
}

/* 0, or an exit status after a message. */
static int check_device(struct block_device *device, const char *image, struct eclipsefs_check *check)
{
    int error = eclipsefs_check(device, check);
    if (error == -EINVAL)
        complain(0, image, "holds no eclipsefs");
    else if (error)
        complain(error, image, "check");
    return status_of(error);
}

static int fsck_run(struct block_device *device, const char *image)
{
    struct eclipsefs_check check = {.problem = print_problem};
    int status = check_device(device, image, &check);
    if (status != STATUS_GOOD)
        return status;
    if (check.problems == 0) {
        printf("%s: good; ", image);
        print_totals(&check);
        return STATUS_GOOD;
    }
    printf("%s: %llu problems\n", image, (unsigned long long)check.problems);
    return STATUS_PROBLEMS;
}

static void print_header(const uint8_t *block)
{
    struct v2_header header;
    v2_header_decode(block, &header);
    printf("version %u.%u, %u inodes, table of %llu bytes at byte %llu, records from byte %llu\n",
           header.version >> 16, header.version & 0xffff, header.inodes,
           (unsigned long long)header.table_bytes, (unsigned long long)header.table_offset,
           (unsigned long long)(header.table_offset + header.table_bytes));
    printf("header checksum 0x%08x (%s), made %llu, checked %llu (seconds since 1970), flags 0x%x\n",
           header.checksum,
           header.checksum == 0                           ? "none"
           : header.checksum == v2_header_checksum(block) ? "right"
                                                          : "wrong",
           (unsigned long long)header.creation_time, (unsigned long long)header.last_check, header.flags);
}

static int info_run(struct block_device *device, const char *image)
{
    struct eclipsefs_check check = {.problem = ignore_problem};
    struct buffer *buffer;
    enum eclipsefs_variant variant;
    int error = bcache_get(device, 0, &buffer);
    if (error) {
        complain(error, image, "read");
        return STATUS_FAILED;
    }
    variant = eclipsefs_identify(buffer_data(buffer));
    printf("%s: %s\n", image, eclipsefs_variant_text(variant));
    if (variant == ECLIPSEFS_A)
        print_header(buffer_data(buffer));
    bcache_put(buffer);
    if (variant != ECLIPSEFS_A)
        return STATUS_PROBLEMS;
    int status = check_device(device, image, &check);
    if (status != STATUS_GOOD)
        return status;
    print_totals(&check);
    printf("the last record ends at byte %llu of %llu; %llu problems\n", (unsigned long long)check.end_offset,
           (unsigned long long)(block_device_sectors(device) * BLOCK_SECTOR_BYTES),
           (unsigned long long)check.problems);
    return check.problems ? STATUS_PROBLEMS : STATUS_GOOD;
}

static uint64_t epoch_or_now(void)
{
    const char *text = getenv("SOURCE_DATE_EPOCH");
    uint64_t seconds;
    return text && string_to_u64(text, &seconds) == 0 ? seconds : (uint64_t)time(NULL);
}

static int mkfs_run(struct block_device *device, const char *image)
{
    int error = eclipsefs_make(device, epoch_or_now());
    if (error)
        complain(error, image, "mkfs");
    return error ? STATUS_FAILED : STATUS_GOOD;
}

/* Gives the file its size before it is opened as a device. */
static int prepare_file(const char *image, uint64_t size_bytes)
{
    int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : -1;
    if (size_bytes == 0 && end == 0)
        size_bytes = DEFAULT_FS_BYTES;
    if (end < 0 || (size_bytes != 0 && ftruncate(fd, (off_t)size_bytes) != 0)) {
        complain(errno, image, "create");
        if (fd >= 0)
            close(fd);
        return STATUS_FAILED;
    }
    close(fd);
    return STATUS_GOOD;
}

/* ---- Dispatch ---------------------------------------------------------------------------------------- */

struct command {
    const char *name;
    int rest_min, rest_max;
    int (*on_files)(const struct arguments *arguments); /* mounted at "/" */
    int (*on_device)(struct block_device *device, const char *image);
};
static const struct command commands[] = {
    {"ls", 0, 1000, list_run, NULL},
    {"tree", 0, 1000, tree_run, NULL},
    {"stat", 0, 1000, stat_run, NULL},
    {"cat", 1, 1000, cat_run, NULL},
    {"get", 1, 2, get_run, NULL},
    {"manifest", 0, 1, manifest_run, NULL},
    {"sha256", 1, 1000, sha256_run, NULL},
    {"export", 1, 1, export_run, NULL},
    {"fsck", 0, 0, NULL, fsck_run},
    {"info", 0, 0, NULL, info_run},
    {"mkfs", 0, 0, NULL, mkfs_run},
    {"import", 1, 1, NULL, NULL},
    {"dump", 0, 1, NULL, NULL},
};

static int run_on_files(const struct command *command, const struct arguments *arguments,
                        struct block_device *device)
{
    int status, error = vfs_mount(device, "/");
    if (error) {
        complain(error == -EINVAL ? 0 : error, arguments->image,
                 error == -EINVAL ? "holds no eclipsefs" : "cannot be read");
        return status_of(error);
    }
    status = command->on_files(arguments);
    if (vfs_unmount("/"))
        return STATUS_FAILED;
    return status;
}

static int run_on_image(const struct command *command, const struct arguments *arguments)
{
    struct block_device *device;
    bool is_mkfs = command->on_device == mkfs_run;
    int status = is_mkfs ? prepare_file(arguments->image, arguments->size_bytes) : STATUS_GOOD;
    if (status != STATUS_GOOD)
        return status;
    device = block_file_open(arguments->image, is_mkfs);
    if (!device || !bcache_configure(CACHE_BYTES)) {
        complain(errno, arguments->image, "open");
        return STATUS_FAILED;
    }
    if (block_device_sectors(device) == 0) {
        complain(0, arguments->image, "is empty");
        status = STATUS_PROBLEMS;
    } else {
        status = command->on_files ? run_on_files(command, arguments, device)
                                   : command->on_device(device, arguments->image);
    }
    bcache_shutdown();
    block_file_close(device);
    return status;
}

static int run_command(const struct command *command, const struct arguments *arguments)
{
    uint64_t inode = 0;
    if (strcmp(command->name, "import") == 0)
        return import_tree(arguments->image, arguments->rest[0], arguments->size_bytes,
                           arguments->is_root_owned);
    if (strcmp(command->name, "dump") != 0)
        return run_on_image(command, arguments);
    if (arguments->rest_count > 0 &&
        (string_to_u64(arguments->rest[0], &inode) != 0 || inode == 0 || inode > UINT32_MAX))
        return wrong_usage(arguments->rest[0], "not an inode number");
    return dump_image(arguments->image, (uint32_t)inode);
}

int main(int argc, char **argv)
{
    struct arguments arguments;
    if (argc >= 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "help") == 0)) {
        fputs(usage_text, stdout);
        return STATUS_GOOD;
    }
    if (argc < 2)
        return wrong_usage("COMMAND", "missing");
    for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
        const struct command *command = &commands[i];
        if (strcmp(argv[1], command->name) != 0)
            continue;
        if (!parse_arguments(&arguments, argc, argv) || arguments.rest_count < command->rest_min ||
            arguments.rest_count > command->rest_max)
            return wrong_usage(argv[1], "wrong arguments");
        return run_command(command, &arguments);
    }
    return wrong_usage(argv[1], "unknown command");
}
