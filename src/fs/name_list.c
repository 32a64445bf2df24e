/* SPDX-License-Identifier: MIT */
/* Sorted directory listings (fs/name_list.h): entries packed into chunks, sorted by a merge sort on their
 * links, which needs no memory and n log n steps whatever order the directory has. */
#include <fs/name_list.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/heap.h>
#include <kernel/string.h>

#define CHUNK_BYTES 8192u

struct name_chunk {
    struct name_chunk *next;
    size_t used_bytes; /* of `space` */
    char space[] aligned(8);
};
#define CHUNK_SPACE (CHUNK_BYTES - sizeof(struct name_chunk))
_Static_assert(sizeof(struct name_entry) + VFS_PATH_MAX < CHUNK_SPACE, "the longest path fits a chunk");

void name_list_init(struct name_list *list)
{
    *list = (struct name_list){.first = NULL, .count = 0, .chunks = NULL};
}

void name_list_free(struct name_list *list)
{
    while (list->chunks) {
        struct name_chunk *chunk = list->chunks;
        list->chunks = chunk->next;
        heap_free(chunk);
    }
    name_list_init(list);
}

static void *take_space(struct name_list *list, size_t bytes)
{
    struct name_chunk *chunk = list->chunks;
    bytes = align_up(bytes, 8);
    assert(bytes <= CHUNK_SPACE);
    if (!chunk || chunk->used_bytes + bytes > CHUNK_SPACE) {
        chunk = heap_alloc(CHUNK_BYTES);
        if (!chunk)
            return NULL;
        chunk->next = list->chunks;
        chunk->used_bytes = 0;
        list->chunks = chunk;
    }
    chunk->used_bytes += bytes;
    return chunk->space + chunk->used_bytes - bytes;
}

int name_list_add(const struct vfs_entry *entry, void *context)
{
    struct name_list *list = context;
    struct name_entry *copy;
    assert(entry->name_bytes <= VFS_PATH_MAX);
    copy = take_space(list, sizeof(*copy) + entry->name_bytes);
    if (!copy)
        return -ENOMEM;
    copy->inode = entry->inode;
    copy->name_bytes = entry->name_bytes;
    memcpy(copy->name, entry->name, entry->name_bytes);
    copy->next = list->first; /* newest first: name_list_sort turns it round */
    list->first = copy;
    list->count++;
    return 0;
}

int name_compare(const char *a, size_t a_bytes, const char *b, size_t b_bytes)
{
    int order = memcmp(a, b, MIN(a_bytes, b_bytes));
    if (order != 0 || a_bytes == b_bytes)
        return order;
    return a_bytes < b_bytes ? -1 : 1;
}

/* `a` wins where they are equal. */
static struct name_entry *merge(struct name_entry *a, struct name_entry *b)
{
    struct name_entry *head = NULL, **tail = &head;
    while (a && b) {
        struct name_entry **least =
            name_compare(a->name, a->name_bytes, b->name, b->name_bytes) <= 0 ? &a : &b;
        *tail = *least;
        tail = &(*least)->next;
        *least = (*least)->next;
    }
    *tail = a ? a : b;
    return head;
}

void name_list_sort(struct name_list *list)
{
    /* runs[i] is empty or a sorted run of 2^i entries, later ones in the list's order than all above it. */
    struct name_entry *runs[48] = {NULL}, *entry = list->first;
    while (entry) {
        struct name_entry *run = entry;
        unsigned i = 0;
        entry = entry->next;
        run->next = NULL;
        for (; runs[i]; i++) {
            run = merge(run, runs[i]); /* what comes later in the list was added earlier */
            runs[i] = NULL;
        }
        assert(i < ARRAY_SIZE(runs));
        runs[i] = run;
    }
    list->first = NULL;
    for (unsigned i = 0; i < ARRAY_SIZE(runs); i++)
        list->first = merge(list->first, runs[i]);
}

const struct name_entry *name_list_duplicate(const struct name_list *list)
{
    for (const struct name_entry *entry = list->first; entry && entry->next; entry = entry->next) {
        const struct name_entry *next = entry->next;
        debug_assert(name_compare(entry->name, entry->name_bytes, next->name, next->name_bytes) <= 0);
        if (entry->name_bytes == next->name_bytes && memcmp(entry->name, next->name, entry->name_bytes) == 0)
            return entry;
    }
    return NULL;
}
