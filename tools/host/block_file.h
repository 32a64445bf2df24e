/* SPDX-License-Identifier: MIT */
/* Block devices over a host file or over memory, for programs on the host that use the kernel's file-system
 * code: they link block_file.c in place of the block layer. Every request completes in block_submit. */
#ifndef TOOLS_HOST_BLOCK_FILE_H
#define TOOLS_HOST_BLOCK_FILE_H

#include <drivers/block/block.h>

/* Opens a file or a host block device; a last sector that is cut short reads as padded with zeros. NULL with
 * errno set. The device's name is the path's last component. */
struct block_device *block_file_open(const char *path, bool is_writable);
/* Over `bytes` bytes that stay the caller's and outlive it. */
struct block_device *block_memory_create(const char *name, void *data, size_t bytes);
void block_file_close(struct block_device *device);

/* For tests: the next requests whose sectors touch [sector, sector + count) complete with `status`; a count
 * of 0 ends it. Requests served so far, by operation. */
void block_file_fail(struct block_device *device, uint64_t sector, uint64_t count, enum block_status status);
uint64_t block_file_requests(const struct block_device *device, enum block_operation operation);

#endif
