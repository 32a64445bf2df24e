/* SPDX-License-Identifier: MIT */
/* What the files of the host tool `eclipsefs` share. */
#ifndef TOOLS_ECLIPSEFS_H
#define TOOLS_ECLIPSEFS_H

#include <stdbool.h>
#include <stdint.h>

/* As fsck(8) has them. */
enum exit_status { STATUS_GOOD = 0, STATUS_PROBLEMS = 4, STATUS_FAILED = 8, STATUS_USAGE = 16 };

/* One line on standard error, "eclipsefs: WHAT: TEXT: strerror"; the last part unless `error` is 0. */
void complain(int error, const char *what, const char *text);

/* Each returns an enum exit_status after its own messages. */
int import_tree(const char *image, const char *folder, uint64_t size_bytes, bool is_root_owned);
/* The image is mounted at "/". */
int export_tree(const char *folder);
/* `inode` 0: all of them. */
int dump_image(const char *image, uint32_t inode);

#endif
