/* SPDX-License-Identifier: MIT */
/* Scheduler "deadline": sweeps upwards through the sectors of one direction, BATCH requests at a time, reads
 * before writes (and ranges), but nobody waits for ever: a batch starts at the oldest request when that is
 * past its deadline, and writes get their turn after STARVED_MAX batches of reads.
 *
 * A waiting request is in two orders: the list by_deadline, and a treap by (sector, address) whose random
 * priorities are hashes of the addresses (Seidel and Aragon, "Randomized Search Trees", 1996). The links
 * need 32 bytes, which is what the driver's area of a request that waits has to offer.
 * Under device->lock; insert and take cost O(log n) but for requests with a deadline of their own. */
#include "block_internal.h"

#include <arch/clock.h>

#define BATCH          16u
#define STARVED_MAX    2u
#define READ_LIMIT_NS  (50 * NSEC_PER_MSEC)
#define WRITE_LIMIT_NS (500 * NSEC_PER_MSEC)

struct links {
    struct list by_deadline;
    struct block_request *lower, *higher;
};
_Static_assert(sizeof(struct links) <= BLOCK_DRIVER_BYTES, "the links live in the driver's area");

static struct links *links(struct block_request *request)
{
    return (struct links *)(void *)request->driver;
}

static struct block_request *by_deadline_entry(struct list *node)
{
    struct links *of = list_entry(node, struct links, by_deadline);
    return (struct block_request *)(void *)((char *)of - offsetof(struct block_request, driver));
}

/* ---- The treap -------------------------------------------------------------------------------------- */

static uint64_t rank(const struct block_request *request)
{
    return (uintptr_t)request * 0x9e3779b97f4a7c15ull >> 16;
}

static bool is_less(const struct block_request *a, const struct block_request *b)
{
    return a->sector != b->sector ? a->sector < b->sector : (uintptr_t)a < (uintptr_t)b;
}

static void treap_insert(struct block_request **link, struct block_request *request)
{
    while (*link && rank(*link) >= rank(request))
        link = is_less(request, *link) ? &links(*link)->lower : &links(*link)->higher;
    struct block_request *tree = *link, **lower = &links(request)->lower, **higher = &links(request)->higher;
    *link = request;
    while (tree) { /* split what was there at `request` */
        if (is_less(tree, request)) {
            *lower = tree;
            lower = &links(tree)->higher;
            tree = *lower;
        } else {
            *higher = tree;
            higher = &links(tree)->lower;
            tree = *higher;
        }
    }
    *lower = *higher = NULL;
}

static void treap_remove(struct block_request **link, struct block_request *request)
{
    while (*link != request) {
        assert(*link != NULL);
        link = is_less(request, *link) ? &links(*link)->lower : &links(*link)->higher;
    }
    struct block_request *lower = links(request)->lower, *higher = links(request)->higher;
    while (lower && higher) { /* join its two sides */
        if (rank(lower) >= rank(higher)) {
            *link = lower;
            link = &links(lower)->higher;
            lower = *link;
        } else {
            *link = higher;
            link = &links(higher)->lower;
            higher = *link;
        }
    }
    *link = lower ? lower : higher;
}

static struct block_request *treap_at_or_after(struct block_request *tree, uint64_t sector)
{
    struct block_request *best = NULL;
    while (tree) {
        if (tree->sector >= sector) {
            best = tree;
            tree = links(tree)->lower;
        } else {
            tree = links(tree)->higher;
        }
    }
    return best;
}

static struct block_request *treap_before(struct block_request *tree, uint64_t sector)
{
    struct block_request *best = NULL;
    while (tree) {
        if (tree->sector < sector) {
            best = tree;
            tree = links(tree)->higher;
        } else {
            tree = links(tree)->lower;
        }
    }
    return best;
}

/* ---- The scheduler ---------------------------------------------------------------------------------- */

static uint64_t deadline_of(const struct block_request *request)
{
    if (request->deadline_ns)
        return request->deadline_ns;
    uint64_t limit_ns = request->operation == BLOCK_READ ? READ_LIMIT_NS : WRITE_LIMIT_NS;
    return request->submitted_ns + (limit_ns >> MIN(request->priority, 16));
}

static void deadline_init(struct block_device *device)
{
    struct block_sched_deadline *sched = &device->sched.deadline;
    *sched = (struct block_sched_deadline){.direction = BLOCK_READ};
    fifo_init(&sched->control);
    for (uint32_t i = 0; i < BLOCK_DEADLINE_OPS; i++)
        list_init(&sched->directions[i].by_deadline);
}

/* True when it became part of a waiting request. */
static bool insert_one(struct block_sched_deadline *sched, struct block_request *request)
{
    if (request->total_sectors == 0) {
        fifo_push(&sched->control, &request->node);
        return false;
    }
    bool is_read = request->operation == BLOCK_READ;
    struct block_sched_direction *direction = &sched->directions[is_read ? BLOCK_READ : BLOCK_WRITE];
    struct block_request *before = treap_before(direction->by_sector, request->sector);
    if (before && block_merge_is_back(before, request)) {
        block_merge_back(before, request);
        return true;
    }
    struct list *position = &direction->by_deadline;
    uint64_t deadline_ns = deadline_of(request);
    while (position->prev != &direction->by_deadline &&
           deadline_of(by_deadline_entry(position->prev)) > deadline_ns)
        position = position->prev;
    list_insert_before(position, &links(request)->by_deadline);
    treap_insert(&direction->by_sector, request);
    direction->count++;
    return false;
}

static uint32_t deadline_insert(struct block_device *device, struct fifo *leaders)
{
    struct fifo_node *node;
    uint32_t merges = 0;
    assert_spin_locked(&device->lock);
    while ((node = fifo_pop(leaders)) != NULL)
        merges += insert_one(&device->sched.deadline, request_of(node));
    return merges;
}

static bool is_late(const struct block_sched_direction *direction, uint64_t now_ns)
{
    return direction->count && deadline_of(by_deadline_entry(direction->by_deadline.next)) <= now_ns;
}

/* Which direction the next batch has; one of them is not empty. */
static uint32_t choose_direction(struct block_sched_deadline *sched, uint64_t now_ns)
{
    struct block_sched_direction *reads = &sched->directions[BLOCK_READ];
    struct block_sched_direction *writes = &sched->directions[BLOCK_WRITE];
    if (reads->count &&
        (!writes->count || (sched->writes_starved < STARVED_MAX && !is_late(writes, now_ns)))) {
        sched->writes_starved += writes->count != 0;
        return BLOCK_READ;
    }
    sched->writes_starved = 0;
    return BLOCK_WRITE;
}

static struct block_request *next_of_sweep(const struct block_sched_direction *direction, uint64_t position)
{
    struct block_request *next = treap_at_or_after(direction->by_sector, position);
    return next ? next : treap_at_or_after(direction->by_sector, 0);
}

static struct block_request *deadline_take(struct block_device *device)
{
    struct block_sched_deadline *sched = &device->sched.deadline;
    struct fifo_node *control = fifo_pop(&sched->control);
    struct block_request *request = NULL;
    assert_spin_locked(&device->lock);
    if (control)
        return request_of(control);
    if (sched->directions[BLOCK_READ].count + sched->directions[BLOCK_WRITE].count == 0)
        return NULL;
    if (sched->batch_left == 0 || sched->directions[sched->direction].count == 0) {
        uint64_t now_ns = clock_ns();
        sched->direction = choose_direction(sched, now_ns);
        sched->batch_left = BATCH;
        if (is_late(&sched->directions[sched->direction], now_ns))
            request = by_deadline_entry(sched->directions[sched->direction].by_deadline.next);
    }
    struct block_sched_direction *direction = &sched->directions[sched->direction];
    if (!request)
        request = next_of_sweep(direction, sched->position);
    sched->batch_left--;
    sched->position = request->sector + request->total_sectors;
    list_remove(&links(request)->by_deadline);
    treap_remove(&direction->by_sector, request);
    direction->count--;
    return request;
}

const struct block_scheduler_ops block_sched_deadline = {
    .name = "deadline",
    .init = deadline_init,
    .insert = deadline_insert,
    .take = deadline_take,
};
