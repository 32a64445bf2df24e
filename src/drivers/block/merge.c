/* SPDX-License-Identifier: MIT */
/* Merging: requests of one operation whose sectors touch become one device request, a leader with followers.
 *
 *     leader->merged_head -> follower -> follower       ascending sectors, linked by node.next
 *     leader->merged_tail  = &last follower's next
 *
 * The pass over a plug tries each request only against the leader before it: two comparisons, which find
 * every sequential stream, up or down, and cost random I/O next to nothing. Followers have no shape of their
 * own: whoever becomes one hands its followers on. Callers own the lists; no lock. */
#include "block_internal.h"

#include <arch/clock.h>
#include <kernel/trace.h>

static always_inline bool is_mergeable(const struct block_request *a, const struct block_request *b)
{
    const struct block_limits *limits = &a->device->limits;
    return a->operation == b->operation && ((a->shape | b->shape) & ~BLOCK_SHAPE_MERGED) == 0 &&
           a->total_sectors + b->total_sectors <= limits->max_sectors &&
           a->total_segments + b->total_segments <= limits->max_segments;
}

static always_inline bool continues(const struct block_request *leader, const struct block_request *request)
{
    return leader->sector + leader->total_sectors == request->sector && is_mergeable(leader, request);
}

/* `request`, and what follows it, go behind all that follows `leader`. */
static always_inline void append(struct block_request *leader, struct block_request *request)
{
    if (!(leader->shape & BLOCK_SHAPE_MERGED)) {
        leader->shape |= BLOCK_SHAPE_MERGED;
        leader->merged_head = NULL;
        leader->merged_tail = &leader->merged_head;
    }
    *leader->merged_tail = &request->node;
    leader->merged_tail = &request->node.next;
    request->node.next = NULL;
    if (request->shape & BLOCK_SHAPE_MERGED) {
        request->node.next = request->merged_head;
        leader->merged_tail = request->merged_tail;
        request->merged_head = NULL;
        request->shape = 0;
    }
    leader->total_sectors += request->total_sectors;
    leader->total_segments += request->total_segments;
    trace(TRACE_BLOCK_MERGE, (uintptr_t)request, (uintptr_t)leader);
}

bool block_merge_is_back(const struct block_request *leader, const struct block_request *request)
{
    return continues(leader, request);
}

void block_merge_back(struct block_request *leader, struct block_request *request)
{
    assert(leader->device == request->device && leader->sector + leader->total_sectors == request->sector);
    append(leader, request);
}

/* `request` becomes the leader of `leader` and of what followed that. */
void block_merge_front(struct block_request *leader, struct block_request *request)
{
    block_merge_back(request, leader);
}

/* The pass. `link` is where the address of the newest leader stands, for putting another one before it. */
void block_merge_batch(struct fifo *list, struct block_batch *batch, uint64_t now_ns)
{
    struct fifo others = FIFO_INIT(others);
    struct fifo_node *next = list->head, **tail = &batch->leaders.head, **link = tail;
    struct block_request *leader = NULL;
    struct block_device *device = request_of(next)->device;
    uint32_t count = 0, merges = 0, epoch = read_once(device->epoch);

    fifo_init(&batch->refused);
    batch->epoch = epoch;
    while (next) {
        struct block_request *request = request_of(next);
        next = next->next;
        if (unlikely(request->device != device)) {
            fifo_push(&others, &request->node);
            continue;
        }
        request->submitted_ns = now_ns;
        request->epoch = (uint8_t)epoch;
        if (unlikely(request->shape & BLOCK_SHAPE_REFUSED)) {
            fifo_push(&batch->refused, &request->node);
            continue;
        }
        if (leader) {
            if (unlikely(continues(leader, request))) {
                append(leader, request);
                merges++;
                continue;
            }
            if (unlikely(continues(request, leader))) {
                block_merge_front(leader, request);
                merges++;
                *link = &request->node;
                tail = &request->node.next;
                leader = request;
                continue;
            }
        }
        link = tail;
        *tail = &request->node;
        tail = &request->node.next;
        leader = request;
        count++;
    }
    *tail = NULL;
    batch->leaders.tail = tail;
    batch->count = count;
    batch->merges = merges;
    *list = others;
    if (fifo_is_empty(&others))
        fifo_init(list);
}
