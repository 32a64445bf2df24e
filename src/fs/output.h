/* SPDX-License-Identifier: MIT */
/* Lines of output, built whole and then written at once, and the views of files that print them: shared by
 * the shell's commands and the host tool. Thread context. */
#ifndef FS_OUTPUT_H
#define FS_OUTPUT_H

#include <fs/vfs.h>

#define FS_LINE_BYTES \
    (4 * VFS_PATH_MAX + 1024) /* the longest path with every byte escaped, and its figures */

struct fs_output {
    void (*write)(const char *text, size_t bytes);
    bool (*is_interrupted)(void); /* ends long commands with -EINTR; may be NULL */
    size_t bytes;
    char line[FS_LINE_BYTES];
};

/* NULL without memory. */
must_check struct fs_output *fs_output_create(void (*write)(const char *text, size_t bytes),
                                              bool (*is_interrupted)(void));
void fs_output_free(struct fs_output *output);

/* Add to the line; what does not fit is cut off. */
void fs_output_add(struct fs_output *output, const char *format, ...) printf_like(2, 3);
/* A name or path as the manifests have it: bytes below 32 and backslashes as \xNN. */
void fs_output_add_name(struct fs_output *output, const char *name, size_t bytes);
/* 32 bytes as 64 hexadecimal digits. */
void fs_output_add_digest(struct fs_output *output, const uint8_t digest[32]);
/* Writes the line with a newline behind it. */
void fs_output_end(struct fs_output *output);
/* 0 or -EINTR. */
int fs_output_check(const struct fs_output *output);

/* A directory's entries, or one file, a line each: mode, links, owner, group, bytes, time (UTC), name. */
int fs_show_list(struct fs_output *output, const char *path);
int fs_show_tree(struct fs_output *output, const char *path);
/* All that vfs_stat tells, of a link itself. */
int fs_show_stat(struct fs_output *output, const char *path);
int fs_show_content(struct fs_output *output, const char *path);
/* Tab-separated: inode, type, mode, uid, gid, nlink, size, atime, mtime, ctime, entries, SHA-256 of the
 * content (of a link: of its target), path; sorted by path. */
int fs_show_manifest(struct fs_output *output, const char *path);
/* "DIGEST  PATH". */
int fs_show_sha256(struct fs_output *output, const char *path);

#endif
