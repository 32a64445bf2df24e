/* SPDX-License-Identifier: MIT */
/* Builds eclipsefs v2.0 images in memory for tests: nodes are added in the order of their inode numbers, the
 * first one is the root. A directory's entries are given as one text: "name:inode name:inode". */
#ifndef TESTS_HOST_IMAGE_H
#define TESTS_HOST_IMAGE_H

#include <fs/eclipsefs/v2_write.h>
#include <fs/vfs.h>
#include <kernel/base/assert.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMAGE_NODES_MAX 64u
#define IMAGE_TIME      1000000000u

struct image {
    uint8_t *bytes; /* of the whole image, after image_finish */
    size_t size;
    uint32_t nodes_offset;
    uint32_t count;
    uint32_t record_offset[IMAGE_NODES_MAX]; /* from the image's start, after image_finish */
    uint8_t *record[IMAGE_NODES_MAX];
    uint32_t record_bytes[IMAGE_NODES_MAX];
};

static inline uint32_t image_add(struct image *image, uint32_t type, const void *value, size_t bytes)
{
    struct v2_record record = {.inode = ++image->count,
                               .type = type,
                               .mode = type == VFS_DIRECTORY ? 040755
                                       : type == VFS_LINK    ? 0120777
                                                             : 0100644,
                               .nlink = type == VFS_DIRECTORY ? 2 : 1,
                               .atime = IMAGE_TIME,
                               .mtime = IMAGE_TIME,
                               .ctime = IMAGE_TIME,
                               .value_bytes = bytes};
    uint32_t size = v2_record_bytes(&record);
    assert(image->count <= IMAGE_NODES_MAX);
    uint8_t *to = malloc(size);
    size_t fixed = v2_encode_record(&record, to);
    memcpy(to + fixed, value, bytes);
    image->record[image->count - 1] = to;
    image->record_bytes[image->count - 1] = size;
    return image->count;
}

static inline uint32_t image_add_link(struct image *image, const char *target)
{
    return image_add(image, VFS_LINK, target, strlen(target));
}

/* Appends one entry to `to`; the new length. */
static inline size_t image_put_entry(uint8_t *to, size_t at, const char *name, size_t name_bytes,
                                     uint32_t inode)
{
    v2_encode_entry(inode, (uint32_t)name_bytes, to + at);
    memcpy(to + at + V2_ENTRY_HEAD_BYTES, name, name_bytes);
    return at + V2_ENTRY_HEAD_BYTES + name_bytes;
}

static inline uint32_t image_add_directory(struct image *image, const char *entries)
{
    uint8_t value[4096];
    size_t at = 0;
    while (*entries) {
        size_t name_bytes = strcspn(entries, ":");
        char *end;
        uint32_t inode = (uint32_t)strtoul(entries + name_bytes + 1, &end, 10);
        at = image_put_entry(value, at, entries, name_bytes, inode);
        entries = end + strspn(end, " ");
    }
    return image_add(image, VFS_DIRECTORY, value, at);
}

/* Lays everything out; a multiple of 4096 bytes. */
static inline void image_finish(struct image *image)
{
    uint32_t offset;
    image->nodes_offset = offset = V2_TABLE_OFFSET + V2_SLOT_BYTES * image->count;
    for (uint32_t i = 0; i < image->count; i++) {
        image->record_offset[i] = offset;
        offset += image->record_bytes[i];
    }
    image->size = align_up(offset, 4096);
    image->bytes = calloc(1, image->size);
    v2_encode_header(image->count, IMAGE_TIME, image->bytes);
    for (uint32_t i = 0; i < image->count; i++) {
        v2_encode_slot(i + 1, image->record_offset[i] - image->nodes_offset,
                       image->bytes + V2_TABLE_OFFSET + V2_SLOT_BYTES * i);
        memcpy(image->bytes + image->record_offset[i], image->record[i], image->record_bytes[i]);
        free(image->record[i]);
    }
}

static inline void image_free(struct image *image)
{
    free(image->bytes);
    memset(image, 0, sizeof(*image));
}

#endif
