/* SPDX-License-Identifier: MIT */
/* What the files of the block layer share: the device with its queue, and the scheduler's interface.
 *
 * Lock legend: I constant after registration; a atomic; q device->lock; r device->reset_mutex; t the table's.
 * Order: device->lock is a leaf. No driver call, no done and no other lock inside it.
 *
 * Invariants (architecture.md), and where they are asserted:
 *     R1 exactly one completion          queue.c account_leader, plug.c block_submit
 *     R2 idle queue, free descriptors    block.c block_device_drain
 *     R3 no allocation, no sleep         by construction: intrusive lists only
 *     R5 no lost restart                 queue.c queue_put_back, block_complete; watchdog.c as the net */
#ifndef BLOCK_INTERNAL_H
#define BLOCK_INTERNAL_H

#include <drivers/block/block.h>
#include <kernel/base/assert.h>
#include <kernel/mutex.h>
#include <kernel/timer.h>
#include <kernel/wait.h>

#define BLOCK_DEVICES_MAX  64u
#define BLOCK_WHERE_BYTES  48
#define BLOCK_SECTORS_MAX  (1u << 22) /* of one merge: its bytes fit in 32 bits */
#define BLOCK_DEADLINE_OPS 2u         /* reads; writes and ranges */
#define BLOCK_EPOCH_HELD   2u         /* of a request that fault.c holds: the watchdog does not count it */
#define BLOCK_EPOCHS       3u         /* 0 and 1 take turns: see watchdog.c */

struct block_scheduler_ops;

/* sched_none.c: a fifo. */
struct block_sched_none {
    struct fifo waiting;
};

/* sched_deadline.c: see there. */
struct block_sched_direction {
    struct list by_deadline;
    struct block_request *by_sector; /* root of a treap */
    uint32_t count;
};
struct block_sched_deadline {
    struct fifo control; /* flush, get-id, get-lifetime: at once */
    struct block_sched_direction directions[BLOCK_DEADLINE_OPS];
    uint64_t position; /* the sweep's: where the last request ended */
    uint32_t direction, batch_left, writes_starved;
};

struct block_device {
    const struct block_device_ops *ops; /* a: the driver's, fault.c's around them, or removal.c's */
    uint64_t sectors;                   /* a */
    uint32_t sector_mask;               /* I: logical block in sectors, minus 1 */
    uint32_t plain_sectors_max;         /* I: a single buffer up to this needs no look at the limits */
    bool is_read_only;                  /* I */
    bool has_flush;                     /* a, written under q: false: nothing is volatile */
    void *driver;                       /* I; NULL once it has gone */

    struct spinlock lock;
    uint32_t in_flight;                     /* q: requests (leaders) that the driver has */
    uint32_t queued;                        /* q: in `returned` and in the scheduler */
    uint32_t epoch;                         /* q: 0 or 1, written by the watchdog */
    uint32_t epoch_in_flight[BLOCK_EPOCHS]; /* q: in_flight, by request->epoch */
    uint32_t late_ticks;                    /* q: in a row, of the watchdog */
    uint32_t cache_doubts;                  /* q: how often the cache's mode became uncertain, wrapping */
    uint64_t timeout_ns;                    /* a */
    uint32_t drainers;                      /* q: threads in block_device_drain */
    bool is_watchdog_armed;                 /* q */
    struct fifo returned; /* q: goes before the scheduler's: left by the driver, or pieces */
    const struct block_scheduler_ops *scheduler; /* q */
    union {
        struct block_sched_none none;
        struct block_sched_deadline deadline;
    } sched;                                 /* q */
    struct block_stats stats;                /* q: but for queued, in_flight; kicks, interrupts: once gone */
    uint64_t latency[BLOCK_LATENCY_BUCKETS]; /* q */

    struct block_limits limits; /* I, but depth: q */
    struct timer watchdog;
    bool was_late_printed, was_stall_printed; /* the watchdog's */
    struct wait_queue idle;
    struct mutex reset_mutex;
    struct block_fault *fault;     /* r: fault.c's; NULL without */
    uint32_t references;           /* a: one is the registration's */
    bool is_gone;                  /* t; a */
    char name[BLOCK_NAME_BYTES];   /* I */
    char where[BLOCK_WHERE_BYTES]; /* I */
};

/* A scheduler decides only while more waits than the device takes. All under device->lock. It may use the
 * `driver` area of a request that it holds. */
struct block_scheduler_ops {
    const char *name;
    void (*init)(struct block_device *device);
    /* Takes over all of `leaders`; returns how many of them it merged into others. */
    uint32_t (*insert)(struct block_device *device, struct fifo *leaders);
    /* The next request, or NULL. */
    struct block_request *(*take)(struct block_device *device);
};
extern const struct block_scheduler_ops block_sched_none, block_sched_deadline;
const struct block_scheduler_ops *block_scheduler_find(const char *name);
/* For devices registered from now on; -ENOENT. */
int block_scheduler_set_default(const char *name);

static always_inline struct block_request *request_of(struct fifo_node *node)
{
    return container_of(node, struct block_request, node);
}

/* merge.c. A batch is what one flush of a plug has for one device. */
struct block_batch {
    struct fifo leaders, refused;
    uint32_t count, merges; /* leaders; requests that became followers */
    uint32_t epoch;         /* of its leaders */
};
/* Moves what is for the first request's device from `list` to `batch`, stamped and merged. */
void block_merge_batch(struct fifo *list, struct block_batch *batch, uint64_t now_ns);
bool block_merge_is_back(const struct block_request *leader, const struct block_request *request);
void block_merge_back(struct block_request *leader, struct block_request *request);
void block_merge_front(struct block_request *leader, struct block_request *request);

/* segments.c. Shape, total_segments and the first piece of a request that is not plain; sets a status when
 * it cannot be sent at all. */
void block_segments_measure(struct block_request *request);
/* After a piece that went well: true when another one follows. */
bool block_piece_advance(struct block_request *request);

/* The same as block_segments_measure for a range. */
void block_range_measure(struct block_request *request);

/* queue.c */
struct block_plug *block_context_begin(struct block_plug *local);
void block_context_end(struct block_plug *context, struct block_plug *local);
struct block_plug **block_plug_slot(void);
void block_queue_run(struct block_plug *context, struct block_device *device, struct block_batch *batch);
/* Requests that the driver was given and did not take, back to the front, in order. `completed` is how many
 * leaders the driver had completed when it was given them. True when the caller must dispatch again since no
 * completion will (R5): nothing is in flight, and something came back meanwhile, whoever had sent it. Not
 * when nothing did: a driver that takes nothing while it has nothing is left to block_restart. */
bool block_queue_put_back(struct block_device *device, struct fifo *requests, bool took_some,
                          uint64_t completed);
/* Calls done for a list of requests whose status is set and accounted. */
void block_finish(struct fifo_node *requests);

/* plug.c */
void block_plug_flush(struct block_plug *plug);
void block_plug_flush_own(void);

/* group.c: a run of requests from `first` to `last`, linked, all of `group`. */
void block_group_add_run(struct block_group *group, struct fifo_node *first, struct fifo_node *last,
                         uint32_t count);
/* plug.c: done of block_submit_and_wait; owner is its completion. */
void block_wait_done(struct block_request *request);

/* block.c: nobody finds it any more; and, its last reference gone: its place and name are free again. */
void block_table_hide(struct block_device *device);
void block_table_remove(struct block_device *device);
/* removal.c: the last reference has gone. */
void block_device_release(struct block_device *device);
/* fault.c: from here on `ops` are the driver's, without rules. reset_mutex held. What is held or delayed goes
 * back to the queue, which the caller restarts. */
void block_fault_retire(struct block_device *device, const struct block_device_ops *ops);
void block_fault_free(struct block_device *device);

/* watchdog.c */
void block_watchdog_init(struct block_device *device);
void block_watchdog_arm(struct block_device *device);
/* For fault.c: requests in flight that no driver has yet are not late, however long it keeps them. From
 * `resume` on they are as young as any. Any context. */
void block_watchdog_suspend(struct block_device *device, struct fifo *requests);
void block_watchdog_resume(struct block_device *device, struct fifo *requests);
/* Reads the command line. */
void block_watchdog_setup(void);

/* memdisk.c. -ENOMEM when its pages cannot be had. */
must_check int block_memdisk_create(const char *prefix, uint64_t bytes, struct block_device **device);

#ifdef __KERNEL__
static always_inline bool block_in_interrupt(void)
{
    return cpu_read(interrupt_depth) != 0;
}
#else
/* Set by a test while its fake device completes. */
extern bool block_host_in_interrupt;
static inline bool block_in_interrupt(void)
{
    return block_host_in_interrupt;
}
#endif

#endif
