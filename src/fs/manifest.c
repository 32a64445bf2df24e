/* SPDX-License-Identifier: MIT */
/* manifest and sha256: a tree as lines of text that can be compared with another's (fs/output.h). */
#include <fs/output.h>
#include <fs/walk.h>
#include <kernel/base/assert.h>
#include <kernel/checksum.h>
#include <kernel/heap.h>
#include <kernel/string.h>

#define CHUNK_BYTES 65536u

struct manifest {
    struct fs_output *output;
    uint8_t *chunk; /* CHUNK_BYTES */
};

/* The content's digest; a link's is that of its target. */
static int hash_content(struct manifest *manifest, const struct vfs_node *node, uint8_t digest[32])
{
    struct sha256 hash;
    uint64_t offset = 0;
    size_t done;
    sha256_init(&hash);
    do {
        int error = vfs_read(node, offset, manifest->chunk, CHUNK_BYTES, &done);
        if (!error)
            error = fs_output_check(manifest->output);
        if (error)
            return error;
        sha256_update(&hash, manifest->chunk, done);
        offset += done;
    } while (done == CHUNK_BYTES);
    sha256_finish(&hash, digest);
    return 0;
}

static int manifest_each(const struct walk_item *item, void *context)
{
    static const char types[] = "?fdl";
    struct manifest *manifest = context;
    struct fs_output *output = manifest->output;
    const struct vfs_stat *stat = &item->stat;
    uint8_t digest[32];
    int error = stat->type == VFS_DIRECTORY ? 0 : hash_content(manifest, &item->node, digest);
    if (error)
        return error;
    fs_output_add(output, "%llu\t%c\t%o\t%u\t%u\t%u\t%llu\t%llu\t%llu\t%llu\t",
                  (unsigned long long)stat->inode, types[stat->type & 3], stat->mode, stat->uid, stat->gid,
                  stat->nlink, (unsigned long long)stat->size_bytes, (unsigned long long)stat->atime,
                  (unsigned long long)stat->mtime, (unsigned long long)stat->ctime);
    if (stat->type == VFS_DIRECTORY) {
        fs_output_add(output, "%llu\t-\t", (unsigned long long)stat->entries);
    } else {
        fs_output_add(output, "-\t");
        fs_output_add_digest(output, digest);
        fs_output_add(output, "\t");
    }
    fs_output_add_name(output, item->path, strlen(item->path));
    fs_output_end(output);
    return fs_output_check(output);
}

int fs_show_manifest(struct fs_output *output, const char *path)
{
    struct manifest manifest = {.output = output, .chunk = heap_alloc(CHUNK_BYTES)};
    int error;
    if (!manifest.chunk)
        return -ENOMEM;
    error = fs_walk(path, WALK_BY_PATH, manifest_each, &manifest);
    heap_free(manifest.chunk);
    return error;
}

int fs_show_sha256(struct fs_output *output, const char *path)
{
    struct manifest manifest = {.output = output, .chunk = NULL};
    struct vfs_node node;
    uint8_t digest[32];
    int error = vfs_open(path, true, &node);
    if (error)
        return error;
    manifest.chunk = heap_alloc(CHUNK_BYTES);
    error = manifest.chunk ? hash_content(&manifest, &node, digest) : -ENOMEM;
    heap_free(manifest.chunk);
    vfs_close(&node);
    if (error)
        return error;
    fs_output_add_digest(output, digest);
    fs_output_add(output, "  ");
    fs_output_add_name(output, path, strlen(path));
    fs_output_end(output);
    return 0;
}
