/* SPDX-License-Identifier: MIT */
/* Scheduler "none": first come, first served; a request that continues the last one waiting joins it.
 * Under device->lock. */
#include "block_internal.h"

static void none_init(struct block_device *device)
{
    fifo_init(&device->sched.none.waiting);
}

static uint32_t none_insert(struct block_device *device, struct fifo *leaders)
{
    struct fifo *waiting = &device->sched.none.waiting;
    struct block_request *first = request_of(leaders->head);
    uint32_t merges = 0;
    assert_spin_locked(&device->lock);
    if (!fifo_is_empty(waiting)) {
        struct block_request *last = request_of(container_of(waiting->tail, struct fifo_node, next));
        if (block_merge_is_back(last, first)) {
            fifo_pop(leaders);
            block_merge_back(last, first);
            merges = 1;
        }
    }
    fifo_append(waiting, leaders);
    return merges;
}

static struct block_request *none_take(struct block_device *device)
{
    struct fifo_node *node = fifo_pop(&device->sched.none.waiting);
    return node ? request_of(node) : NULL;
}

const struct block_scheduler_ops block_sched_none = {
    .name = "none",
    .init = none_init,
    .insert = none_insert,
    .take = none_take,
};
