/* SPDX-License-Identifier: MIT */
/* Block devices over host files (block_file.h): the calls of drivers/block/block.h that file systems use. */
#include "block_file.h"

#include <kernel/base/assert.h>
#include <kernel/base/bits.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct block_device {
    char name[64];
    int fd;         /* -1: memory */
    uint8_t *data;  /* memory */
    uint64_t bytes; /* as the file has them; the device rounds up to sectors */
    bool is_read_only;
    struct block_limits limits;
    uint64_t fail_sector, fail_count;
    enum block_status fail_status;
    uint64_t requests[4];
};

static struct block_device *create(const char *name, uint64_t bytes)
{
    struct block_device *device = calloc(1, sizeof(*device));
    if (!device)
        return NULL;
    snprintf(device->name, sizeof(device->name), "%s", name);
    device->fd = -1;
    device->bytes = bytes;
    device->limits = (struct block_limits){.logical_block_bytes = BLOCK_SECTOR_BYTES,
                                           .physical_block_bytes = BLOCK_SECTOR_BYTES,
                                           .depth = 1,
                                           .max_segments = 1,
                                           .max_segment_bytes = UINT32_MAX,
                                           .max_sectors = UINT32_MAX};
    return device;
}

struct block_device *block_file_open(const char *path, bool is_writable)
{
    const char *slash = strrchr(path, '/');
    struct block_device *device = NULL;
    off_t end;
    int fd = open(path, (is_writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
    if (fd < 0)
        return NULL;
    end = lseek(fd, 0, SEEK_END); /* also a block device's size, which fstat does not tell */
    if (end >= 0)
        device = create(slash ? slash + 1 : path, (uint64_t)end);
    if (!device) {
        close(fd);
        return NULL;
    }
    device->fd = fd;
    device->is_read_only = !is_writable;
    return device;
}

struct block_device *block_memory_create(const char *name, void *data, size_t bytes)
{
    struct block_device *device = create(name, bytes);
    if (device)
        device->data = data;
    return device;
}

void block_file_close(struct block_device *device)
{
    if (device->fd >= 0)
        close(device->fd);
    free(device);
}

void block_file_fail(struct block_device *device, uint64_t sector, uint64_t count, enum block_status status)
{
    device->fail_sector = sector;
    device->fail_count = count;
    device->fail_status = status;
}

uint64_t block_file_requests(const struct block_device *device, enum block_operation operation)
{
    return device->requests[operation];
}

/* Moves bytes that exist in the file; false on an error or an early end. */
static bool move_bytes(struct block_device *device, bool is_write, uint64_t offset, uint8_t *data,
                       size_t bytes)
{
    if (device->fd < 0) {
        memcpy(is_write ? device->data + offset : data, is_write ? data : device->data + offset, bytes);
        return true;
    }
    while (bytes > 0) {
        ssize_t moved = is_write ? pwrite(device->fd, data, bytes, (off_t)offset)
                                 : pread(device->fd, data, bytes, (off_t)offset);
        if (moved < 0 && errno == EINTR)
            continue;
        if (moved <= 0)
            return false;
        data += moved;
        offset += (uint64_t)moved;
        bytes -= (size_t)moved;
    }
    return true;
}

static enum block_status transfer(struct block_device *device, enum block_operation operation,
                                  uint64_t sector, uint8_t *data, uint64_t bytes)
{
    uint64_t offset = sector * BLOCK_SECTOR_BYTES;
    uint64_t sectors = bytes / BLOCK_SECTOR_BYTES;
    uint64_t existing;
    if (bytes % BLOCK_SECTOR_BYTES || sector + sectors > block_device_sectors(device))
        return BLOCK_OUT_OF_RANGE;
    if (sector < device->fail_sector + device->fail_count && device->fail_sector < sector + sectors)
        return device->fail_status;
    existing = offset < device->bytes ? MIN(bytes, device->bytes - offset) : 0;
    if (operation == BLOCK_READ)
        memset(data + existing, 0, bytes - existing);
    return move_bytes(device, operation == BLOCK_WRITE, offset, data, existing) ? BLOCK_OK : BLOCK_FAILED;
}

static enum block_status serve(struct block_request *request)
{
    struct block_device *device = request->device;
    device->requests[request->operation]++;
    switch (request->operation) {
    case BLOCK_READ:
        break;
    case BLOCK_WRITE:
        if (device->is_read_only)
            return BLOCK_READ_ONLY;
        break;
    case BLOCK_FLUSH:
        return device->fd >= 0 && fdatasync(device->fd) != 0 && errno != EINVAL ? BLOCK_FAILED : BLOCK_OK;
    default:
        return BLOCK_UNSUPPORTED;
    }
    assert(request->segment_count == 1);
    return transfer(device, request->operation, request->sector, request->segments->data,
                    request->segments->bytes);
}

void block_request_init(struct block_request *request, struct block_device *device,
                        enum block_operation operation, uint64_t sector, void *data, uint32_t bytes,
                        void (*done)(struct block_request *))
{
    memset(request, 0, sizeof(*request));
    request->device = device;
    request->operation = (uint8_t)operation;
    request->sector = sector;
    request->sectors = bytes / BLOCK_SECTOR_BYTES;
    request->one = (struct block_segment){data, bytes};
    request->segments = &request->one;
    request->segment_count = bytes > 0;
    request->done = done;
}

void block_submit(struct block_request *request)
{
    request->status = (uint8_t)serve(request);
    request->done(request);
}

int block_submit_and_wait(struct block_request *request)
{
    request->status = (uint8_t)serve(request);
    return block_status_to_error(request->status);
}

int block_transfer(struct block_device *device, enum block_operation operation, uint64_t sector, void *data,
                   uint64_t bytes)
{
    struct block_request request;
    assert(bytes <= UINT32_MAX);
    block_request_init(&request, device, operation, sector, data, (uint32_t)bytes, NULL);
    return block_submit_and_wait(&request);
}

int block_flush(struct block_device *device)
{
    return block_transfer(device, BLOCK_FLUSH, 0, NULL, 0);
}

int block_sync(struct block_device *device)
{
    return device && !device->is_read_only ? block_flush(device) : 0;
}

void block_plug(struct block_plug *plug)
{
    (void)plug;
}

void block_unplug(struct block_plug *plug)
{
    (void)plug;
}

const char *block_device_name(const struct block_device *device)
{
    return device->name;
}

uint64_t block_device_sectors(const struct block_device *device)
{
    return div_round_up(device->bytes, BLOCK_SECTOR_BYTES);
}

const struct block_limits *block_device_limits(const struct block_device *device)
{
    return &device->limits;
}

bool block_device_is_read_only(const struct block_device *device)
{
    return device->is_read_only;
}

/* Its opener's, until block_file_close. */
struct block_device *block_device_get(struct block_device *device)
{
    return device;
}

void block_device_put(struct block_device *device)
{
    (void)device;
}

bool block_device_is_gone(const struct block_device *device)
{
    (void)device;
    return false;
}

struct block_device *block_device_next(struct block_device *previous)
{
    (void)previous;
    return NULL;
}

struct block_device *block_device_find(const char *name)
{
    (void)name;
    return NULL;
}

int block_status_to_error(uint8_t status)
{
    static const int errors[] = {0, -EIO, -EAGAIN, -EOPNOTSUPP, -EROFS, -EINVAL, -ENODEV};
    return status < ARRAY_SIZE(errors) ? errors[status] : -EIO;
}
