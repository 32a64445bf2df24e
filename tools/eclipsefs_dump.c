/* SPDX-License-Identifier: MIT */
/* eclipsefs dump: what lies in an image, slot by slot and tag by tag, as far as it can be followed. It checks
 * only what it needs to stay within the file, so that it can show what the reader refuses. */
#include "eclipsefs.h"

#include <fs/eclipsefs/format.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct image {
    FILE *file;
    uint64_t bytes;
};

static const char *const tag_names[V2_TAG_END] = {
    [V2_NODE_TYPE] = "NODE_TYPE",
    [V2_MODE] = "MODE",
    [V2_UID] = "UID",
    [V2_GID] = "GID",
    [V2_SIZE] = "SIZE",
    [V2_ATIME] = "ATIME",
    [V2_MTIME] = "MTIME",
    [V2_CTIME] = "CTIME",
    [V2_NLINK] = "NLINK",
    [V2_CONTENT] = "CONTENT",
    [V2_ENTRIES] = "DIRECTORY_ENTRIES",
};

static bool read_at(const struct image *image, uint64_t offset, void *to, size_t bytes)
{
    if (bytes > image->bytes || offset > image->bytes - bytes) {
        printf("      past the end of the image at byte %llu\n", (unsigned long long)offset);
        return false;
    }
    return fseeko(image->file, (off_t)offset, SEEK_SET) == 0 && fread(to, 1, bytes, image->file) == bytes;
}

static void dump_number(const struct image *image, uint64_t offset, uint32_t bytes)
{
    uint8_t value[8] = {0};
    if (bytes <= sizeof(value) && read_at(image, offset, value, bytes))
        printf(" = %llu (0%llo)", (unsigned long long)load_le64(value), (unsigned long long)load_le64(value));
    putchar('\n');
}

static void dump_entries(const struct image *image, uint64_t offset, uint64_t end)
{
    uint8_t head[V2_ENTRY_HEAD_BYTES];
    putchar('\n');
    while (end - offset >= sizeof(head) && read_at(image, offset, head, sizeof(head))) {
        uint32_t bytes = load_le32(head);
        offset += sizeof(head);
        printf("      entry: inode %u, name of %u bytes \"", load_le32(head + 4), bytes);
        for (uint32_t i = 0; i < bytes && i < 300 && offset + i < end; i++) {
            uint8_t byte;
            if (!read_at(image, offset + i, &byte, 1))
                break;
            printf(byte < 32 || byte == '\\' ? "\\x%02x" : "%c", byte);
        }
        printf("\"\n");
        if (bytes > end - offset) {
            printf("      the name overruns the value\n");
            return;
        }
        offset += bytes;
    }
    if (offset < end)
        printf("      %llu stray bytes\n", (unsigned long long)(end - offset));
}

static void dump_values(const struct image *image, uint64_t offset, uint64_t end)
{
    uint8_t head[V2_TLV_HEAD_BYTES];
    while (end - offset >= sizeof(head) && read_at(image, offset, head, sizeof(head))) {
        uint16_t tag = load_le16(head);
        uint32_t bytes = load_le32(head + 2);
        offset += sizeof(head);
        printf("    byte %llu: tag 0x%04x %s, %u bytes", (unsigned long long)offset, tag,
               tag > 0 && tag < V2_TAG_END ? tag_names[tag] : "unknown", bytes);
        if (bytes > end - offset) {
            printf(": overruns the record\n");
            return;
        }
        if (tag == V2_ENTRIES)
            dump_entries(image, offset, offset + bytes);
        else if (tag > 0 && tag < V2_CONTENT)
            dump_number(image, offset, bytes);
        else
            putchar('\n');
        offset += bytes;
    }
    if (offset < end)
        printf("    %llu stray bytes\n", (unsigned long long)(end - offset));
}

static void dump_slot(const struct image *image, const struct v2_header *header, uint32_t slot)
{
    uint64_t nodes = header->table_offset + header->table_bytes, offset, end;
    uint8_t bytes[8];
    printf("slot %u", slot);
    if (!read_at(image, header->table_offset + (uint64_t)slot * V2_SLOT_BYTES, bytes, sizeof(bytes)))
        return;
    offset = nodes + load_le32(bytes + 4);
    printf(": inode %u, record at %llu = byte %llu\n", load_le32(bytes),
           (unsigned long long)load_le32(bytes + 4), (unsigned long long)offset);
    if (!read_at(image, offset, bytes, sizeof(bytes)))
        return;
    end = offset + load_le32(bytes + 4);
    printf("  record: inode %u, %u bytes\n", load_le32(bytes), load_le32(bytes + 4));
    if (load_le32(bytes + 4) < V2_RECORD_HEAD_BYTES)
        printf("    shorter than its head\n");
    else
        dump_values(image, offset + V2_RECORD_HEAD_BYTES, end);
}

static int dump_open(const struct image *image, const char *path, uint32_t inode)
{
    uint8_t block[ECLIPSEFS_BLOCK_BYTES] = {0};
    struct v2_header header;
    enum eclipsefs_variant variant;
    if (image->bytes < V2_HEADER_BYTES ||
        !read_at(image, 0, block, image->bytes < sizeof(block) ? image->bytes : sizeof(block))) {
        complain(0, path, "is too short for a header");
        return STATUS_PROBLEMS;
    }
    variant = eclipsefs_identify(block);
    v2_header_decode(block, &header);
    printf("%s\nheader: version 0x%08x, table of %llu bytes at %llu, %u inodes, checksum 0x%08x (computed "
           "0x%08x)\n",
           eclipsefs_variant_text(variant), header.version, (unsigned long long)header.table_bytes,
           (unsigned long long)header.table_offset, header.inodes, header.checksum,
           v2_header_checksum(block));
    if (variant == ECLIPSEFS_NONE || header.table_offset > image->bytes || header.table_bytes > image->bytes)
        return STATUS_PROBLEMS;
    /* The table bounds the slots, whatever number the header gives. */
    for (uint32_t slot = 0; slot < header.inodes && (uint64_t)slot * V2_SLOT_BYTES < header.table_bytes;
         slot++)
        if (inode == 0 || slot == inode - 1)
            dump_slot(image, &header, slot);
    return STATUS_GOOD;
}

int dump_image(const char *path, uint32_t inode)
{
    struct image image = {.file = fopen(path, "rb")};
    int status;
    if (!image.file || fseeko(image.file, 0, SEEK_END) != 0) {
        complain(errno, path, "open");
        if (image.file)
            fclose(image.file);
        return STATUS_FAILED;
    }
    image.bytes = (uint64_t)ftello(image.file);
    status = dump_open(&image, path, inode);
    fclose(image.file);
    return status;
}
