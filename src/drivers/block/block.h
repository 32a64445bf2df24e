/* SPDX-License-Identifier: MIT */
/* The block layer: requests, queues, devices. All that file systems and benchmarks see of a disk.
 *
 * A request is embedded by whoever submits it. Nothing is allocated and nobody sleeps between
 * block_submit and done (R3). Each submitted request completes exactly once (R1): status first, then
 * done(), in interrupt context or, when it is refused at once, in the submitter's. done must not sleep; it
 * may submit. After done the request belongs to its owner again; the owner may free it in done.
 *
 * Requests in flight at once are in no order, even where they overlap: who needs one after another waits for
 * the first one's done. So it is with ranges too: a write and a discard of the same sectors, both in flight,
 * may take effect either way round, and may again when a reset replays them; a write that is submitted after
 * the discard was done is safe from it.
 *
 * Sectors are 512 bytes, whatever the device's logical block is; sector and length must be multiples of
 * that logical block. Data must lie in the direct map (heap, pools, pages): never on a stack. The request
 * itself may lie on a stack.
 *
 * Way of a request: plug (this thread's, or the CPU's deferred one) -> merge -> the queue's scheduler ->
 * batch up to the device's depth -> ops->submit -> ... interrupt -> block_complete -> done. */
#ifndef DRIVERS_BLOCK_BLOCK_H
#define DRIVERS_BLOCK_BLOCK_H

#include <kernel/base/error.h>
#include <kernel/base/linker_set.h>
#include <kernel/base/list.h>
#include <kernel/base/types.h>
#include <kernel/completion.h>
#include <kernel/spinlock.h>

#define BLOCK_SECTOR_SHIFT 9
#define BLOCK_SECTOR_BYTES 512u
#define BLOCK_NAME_BYTES   16
#define BLOCK_DRIVER_BYTES 32 /* the driver's area in a request */
#define BLOCK_ID_BYTES     20

enum block_operation {
    BLOCK_READ,
    BLOCK_WRITE,
    BLOCK_FLUSH,  /* no data: what was completed before it is durable after it */
    BLOCK_GET_ID, /* BLOCK_ID_BYTES into the first segment */
    /* Ranges: sectors and no data. Never merged; longer than the device takes: they go down in pieces. When
     * one fails, a part of it may have been done. The device may be long at it: the timeout is for a piece.
     */
    BLOCK_DISCARD, /* the device need not keep the content; until it is written again, anything is read */
    BLOCK_WRITE_ZEROES, /* zeroes are read from it afterwards; see may_unmap */
    BLOCK_SECURE_ERASE, /* the content can be recovered by nobody; anything is read */
    BLOCK_GET_LIFETIME, /* struct block_lifetime into the first segment */
    BLOCK_OPERATIONS,
};

static inline bool block_is_range(uint8_t operation)
{
    return operation >= BLOCK_DISCARD && operation <= BLOCK_SECURE_ERASE;
}

enum block_status {
    BLOCK_OK,
    BLOCK_FAILED,         /* the device said so: EIO */
    BLOCK_RETRY,          /* not done, may work later: EAGAIN (after a reset that gave up replaying) */
    BLOCK_UNSUPPORTED,    /* EOPNOTSUPP */
    BLOCK_READ_ONLY,      /* EROFS */
    BLOCK_OUT_OF_RANGE,   /* EINVAL: past the end or not aligned to the logical block */
    BLOCK_GONE,           /* ENODEV: the device was removed or is broken for good */
    BLOCK_PENDING = 0xff, /* submitted, not completed */
};

struct block_segment {
    void *data; /* in the direct map */
    uint32_t bytes;
};

struct block_device;

/* Fields above the line are set by the owner before each submit (block_request_init does it) and constant
 * until done; below it the layer's, except `driver`. */
struct block_request {
    struct fifo_node node; /* plug, queue, batch or done list: whoever holds the request */
    struct block_device *device;
    uint64_t sector;
    uint32_t sectors;
    uint8_t operation; /* enum block_operation */
    uint8_t priority;  /* 0 normal; more is more urgent */
    uint16_t segment_count;
    struct block_segment *segments; /* = &one for a single buffer */
    struct block_segment one;
    uint64_t deadline_ns; /* 0: by the scheduler's default */
    void (*done)(struct block_request *request);
    void *owner;    /* for done */
    bool may_unmap; /* of zeroes: the device may give the range's storage back, if it reads as zeroes then */
    /* ------------------------------------------------------------------ */
    uint32_t total_sectors;  /* leader's: with the followers; in pieces: what is left, this piece included */
    uint8_t status;          /* enum block_status; valid in done */
    uint8_t phase;           /* 0: the owner's; 1: submitted (R1) */
    uint8_t shape;           /* BLOCK_SHAPE_*; 0: sent as it is */
    uint8_t epoch;           /* which of the watchdog's counts it is in */
    uint16_t total_segments; /* what the device gets now: with the followers, or the piece's */
    uint16_t piece_first_segment; /* a request longer than the device takes goes down in pieces */
    uint64_t submitted_ns;        /* stamped when its plug is flushed */
    struct fifo_node *merged_head, **merged_tail;   /* followers of a merge leader, ascending sectors */
    uint32_t piece_offset_bytes;                    /* into piece_first_segment */
    uint32_t piece_bytes;                           /* 0: whole */
    uint8_t driver[BLOCK_DRIVER_BYTES] aligned(16); /* the driver's; while it waits, the scheduler's */
};

#define BLOCK_SHAPE_MERGED   1u /* it leads followers */
#define BLOCK_SHAPE_PIECES   2u
#define BLOCK_SHAPE_NO_MERGE 4u  /* no data, or split after a failed merge */
#define BLOCK_SHAPE_REFUSED  8u  /* has its status already; never reaches the driver */
#define BLOCK_SHAPE_JUDGED   16u /* fault.c has seen it; drivers never do */

/* One buffer. Flush takes NULL, 0 bytes. Once before the first submit (a zeroed request will do too); a
 * request that is done may be submitted again after changing only what differs. */
void block_request_init(struct block_request *request, struct block_device *device,
                        enum block_operation operation, uint64_t sector, void *data, uint32_t bytes,
                        void (*done)(struct block_request *));
/* The same for a range. */
void block_request_init_range(struct block_request *request, struct block_device *device,
                              enum block_operation operation, uint64_t sector, uint32_t sectors,
                              void (*done)(struct block_request *));

/* Thread or interrupt context. With an open plug of this thread: listed there. Otherwise dispatched now. */
void block_submit(struct block_request *request);

/* A thread's open plug, on its stack: collects its submits until block_unplug, which merges and dispatches
 * them with one doorbell a batch. Flushed early at BLOCK_PLUG_MAX requests and when the thread sleeps in a
 * block wait. Nests: the outermost counts. */
#define BLOCK_PLUG_MAX 256u
struct block_plug {
    struct fifo requests;
    uint32_t count, depth;
    /* The layer's, while it dispatches from here: what done submits meanwhile is only listed, so that a
     * device which completes within ops->submit makes a loop and no recursion. */
    bool is_flushing, must_rerun;
    struct block_device *dispatching;
};
void block_plug(struct block_plug *plug);
void block_unplug(struct block_plug *plug);

/* Submits and sleeps until done; 0 or the negative errno of the status. The dispatch is deferred to the
 * moment when this CPU runs out of work (kernel/sched.h), so that many threads share one doorbell. `done`
 * and `owner` are the layer's. Thread context. */
must_check int block_submit_and_wait(struct block_request *request);

/* A set of requests of which a thread reaps what is done: "sleep until k of mine are done".
 * Any number in flight; one reaping thread. Set request->done = block_group_done and owner = the group. */
struct block_group {
    struct spinlock lock;
    struct fifo done;      /* lock */
    uint32_t done_count;   /* lock */
    uint32_t wanted;       /* lock: wake the reaper at this many; 0: nobody sleeps */
    struct thread *reaper; /* lock */
};
void block_group_init(struct block_group *group);
void block_group_done(struct block_request *request);
/* Flushes the thread's plug, sleeps until at least `at_least` requests are done (0: does not sleep), moves
 * all that are done to the end of `finished` in order of completion, and returns how many. */
uint32_t block_group_reap(struct block_group *group, uint32_t at_least, struct fifo *finished);

/* Whole transfers, any length that is a multiple of the logical block; split where the device needs it.
 * 0 or a negative errno. Thread context. */
must_check int block_transfer(struct block_device *device, enum block_operation operation, uint64_t sector,
                              void *data, uint64_t bytes);
static inline int block_read(struct block_device *device, uint64_t sector, void *data, uint64_t bytes)
{
    return block_transfer(device, BLOCK_READ, sector, data, bytes);
}
static inline int block_write(struct block_device *device, uint64_t sector, void *data, uint64_t bytes)
{
    return block_transfer(device, BLOCK_WRITE, sector, data, bytes);
}
must_check int block_flush(struct block_device *device);
/* Flushes the device, or all of them for NULL, unless there is nothing to flush. The first error, but of a
 * device that is removed meanwhile when it is one of all. */
must_check int block_sync(struct block_device *device);

/* Whole ranges, of any length. 0 or a negative errno: -EOPNOTSUPP, and nothing was done, when the device has
 * no such operation. Thread context. */
must_check int block_discard(struct block_device *device, uint64_t sector, uint64_t sectors);
must_check int block_write_zeroes(struct block_device *device, uint64_t sector, uint64_t sectors,
                                  bool may_unmap);
must_check int block_secure_erase(struct block_device *device, uint64_t sector, uint64_t sectors);

/* How worn the device is, by JESD84-B50. What it says: some values are reserved. */
struct block_lifetime {
    uint16_t
        pre_eol_info; /* of the reserved blocks 1: less than 80 %, 2: 80 %, 3: 90 % are used; 0: unknown */
    uint16_t slc_used, mlc_used; /* 1: up to 10 % of the life, .. 10: up to 100 %, 11: more; 0: unknown */
};
must_check int block_get_lifetime(struct block_device *device, struct block_lifetime *lifetime);

/* ---- For drivers ------------------------------------------------------------------------------------ */

/* What the device takes of a kind of range. */
struct block_range_limit {
    uint32_t max_sectors;       /* a request, whole blocks; 0: the device has no such operation */
    uint32_t alignment_sectors; /* ranges are cut at multiples of it, where they can be */
};

struct block_limits {
    uint32_t logical_block_bytes; /* 512 .. 65536, a power of two */
    uint32_t physical_block_bytes;
    uint32_t depth;             /* requests that the driver can hold at once */
    uint16_t max_segments;      /* a request; at least 1 */
    uint32_t max_segment_bytes; /* longer segments reach the driver split by block_segments_next */
    uint32_t max_sectors;       /* a request */
    uint32_t optimal_bytes;     /* transfers are best multiples of it; 0: it does not say */
    struct block_range_limit discard, write_zeroes, secure_erase;
    bool has_lifetime;
};

struct block_raw_job;
struct block_recovery;
struct block_ring_entries {
    uint32_t now, least, most;
};

struct block_device_ops {
    /* Takes requests (merge leaders) from the front of `batch` as long as they fit, with one doorbell for
     * all; leaves the rest there: the layer restarts the queue at the next completion (R5). Any context,
     * no lock held, preemption off: so it can be waited for when the device goes away. The driver never
     * refuses a request in another way: it completes it with a status. */
    void (*submit)(struct block_device *device, struct fifo *batch);
    /* Looks for completions without an interrupt; preemption off. Optional. */
    void (*poll)(struct block_device *device);
    /* Between these the driver does without completion interrupts. Optional; for mode=poll. */
    void (*set_polling)(struct block_device *device, bool is_polling);
    /* Resets the device; what was in flight is replayed or completes with a status. 0 or errno. Thread
     * context. Optional. */
    int (*reset)(struct block_device *device);
    /* Makes the device's write cache write back or write through and sees that it did, with no request in
     * flight across the change. 0 or errno. Thread context. Optional. */
    int (*set_writeback)(struct block_device *device, bool is_writeback);
    /* The entries of its rings: now, the fewest and the most. Optional, with the next one. */
    void (*ring_entries)(struct block_device *device, struct block_ring_entries *entries);
    /* Changes them. 0; -EBUSY: something is in flight; -EINVAL: not so many; or another errno. Thread
     * context. */
    int (*set_ring_entries)(struct block_device *device, uint32_t entries);
    /* Looks at the ring for a request that is late (lost interrupt or doorbell). Called by the watchdog when
     * something has been in flight for more than BLOCK_LATE_NS. Interrupt context. Optional. */
    void (*late)(struct block_device *device);
    /* Something is in flight for longer than the device's timeout, and looking did not help: resets the
     * device, from a thread; what was in flight is replayed a bounded number of times, or completes with a
     * status. Interrupt context. Optional. */
    void (*timed_out)(struct block_device *device);
    /* The bare device without this layer, for mode=raw; the queue is idle meanwhile. 0 or errno. Optional. */
    int (*raw)(struct block_device *device, struct block_raw_job *job);
    /* Prints transport and features (shell: features DEV). Optional. */
    void (*describe)(struct block_device *device);
    /* Prints the driver's state for debugging. Optional. */
    void (*dump)(struct block_device *device);
    /* Doorbells and interrupts since boot. Optional. */
    void (*counts)(struct block_device *device, uint64_t *kicks, uint64_t *interrupts);
    /* What had to be mended since boot. Optional. */
    void (*recovery)(struct block_device *device, struct block_recovery *recovery);
    /* True when all of the driver's descriptors are free (R2); asserted when the queue is idle. Optional. */
    bool (*is_idle)(struct block_device *device);
};

#define BLOCK_LATE_NS             (500 * NSEC_PER_MSEC)
#define BLOCK_TIMEOUT_SECONDS_MAX 3600u

struct block_raw_job {
    enum block_operation operation; /* READ or WRITE */
    uint32_t block_bytes, depth, batch;
    uint64_t ios;                   /* to do */
    uint64_t sector_first, sectors; /* the range */
    bool is_random;
    uint64_t seed;
    void *data;                                      /* depth * block_bytes, direct map */
    void (*window_start)(void), (*window_end)(void); /* called right around the measured loop */
    uint64_t done, errors, kicks, interrupts;        /* results */
};

struct block_device_config {
    const char *prefix; /* "vd": the device becomes vd0, vd1, …: the lowest that no device has */
    const char *where;  /* "modern PCI 00:03.0", copied; or NULL */
    const struct block_device_ops *ops;
    void *driver;     /* block_device_driver() gives it back */
    uint64_t sectors; /* capacity, 512-byte units */
    struct block_limits limits;
    bool is_read_only;
    bool
        has_flush; /* false: a flush succeeds at once (the device has no volatile cache, or writes through) */
};
must_check int block_device_register(const struct block_device_config *config, struct block_device **device);
void *block_device_driver(struct block_device *device);
/* For a driver whose device goes away. All that it had in flight is completed, and it completes what it is
 * still given with BLOCK_GONE. Afterwards nothing calls it any more, nobody finds the device by name, and
 * whoever has it open gets BLOCK_GONE from here. Sleeps. */
void block_device_unregister(struct block_device *device);

/* Completes what the driver drained, in order; each has its status in request->status. A leader stands
 * for its followers. Interrupt or thread context, no lock held; call it once for all that one interrupt
 * brought. */
void block_complete(struct block_device *device, struct fifo *leaders);

/* Iterates a leader's data: its own segments and the followers', in order, cut to max_segment_bytes and to
 * the current piece. */
struct block_segment_iterator {
    const struct block_request *request;
    struct fifo_node *next_follower;
    uint32_t segment, offset_bytes, left_bytes, max_bytes;
};
void block_segments_begin(struct block_segment_iterator *iterator, const struct block_request *leader);
bool block_segments_next(struct block_segment_iterator *iterator, struct block_segment *segment);
/* The first sector and the length of what goes to the device now (the piece, or the whole merge). */
uint64_t block_request_device_sector(const struct block_request *leader);
uint32_t block_request_device_bytes(const struct block_request *leader);
/* True for the common case: leader->segments[0] at leader->sector is all of it, with no need of an iterator.
 */
static inline bool block_request_is_plain(const struct block_request *leader)
{
    return leader->shape == 0 && leader->total_segments == 1;
}

/* For a driver that could not take requests with nothing in flight (it was resetting): now it can. Any
 * context, no lock held. block_device_reset does it by itself. */
void block_restart(struct block_device *device);
/* The device's new size. What is in flight past the end is the device's business. Any context. */
void block_device_set_sectors(struct block_device *device, uint64_t sectors);
/* From here on flushes go to the device: it turned out to write back. Any context. */
void block_device_needs_flush(struct block_device *device);

/* ---- Devices ---------------------------------------------------------------------------------------- */

/* Constant after registration but for the capacity, the cache and the depth. */
const char *block_device_name(const struct block_device *device);
const char *block_device_where(const struct block_device *device); /* "": it did not say */
uint64_t block_device_sectors(const struct block_device *device);
const struct block_limits *block_device_limits(const struct block_device *device);
bool block_device_is_read_only(const struct block_device *device);
/* It has a volatile write cache: what was written is durable only after a flush. */
bool block_device_is_writeback(const struct block_device *device);
/* What the device takes of that kind of range. */
const struct block_range_limit *block_range_limit(const struct block_device *device, uint8_t operation);
const struct block_device_ops *block_device_ops(const struct block_device *device);

/* A device may be removed at any time; its struct, and its name, stay as long as somebody holds a reference.
 * Whoever submits to a device, or asks it anything, holds one meanwhile. One an open user (a command, a
 * mount), never one a request. */
struct block_device *block_device_get(struct block_device *device);
/* The last one may sleep, until every CPU has come out of this device's queue. */
void block_device_put(struct block_device *device);
/* By name, referenced; NULL: there is none. */
must_check struct block_device *block_device_find(const char *name);
/* The one after `previous` in order of registration, referenced, and `previous` put; NULL: the first, and
 * past the end. So a loop that is left early has one to put. */
must_check struct block_device *block_device_next(struct block_device *previous);
#define block_device_foreach(device) \
    for (struct block_device *device = NULL; ((device) = block_device_next(device)) != NULL;)
/* It was removed: every request ends with BLOCK_GONE. */
bool block_device_is_gone(const struct block_device *device);

/* Called when the last reference has gone, for whoever remembers a device without one (caches). */
struct block_release_hook {
    void (*released)(struct block_device *device);
};
#define BLOCK_RELEASE_HOOK(id, function)                                         \
    static const struct block_release_hook block_release_hook_##id = {function}; \
    linker_set_add(block_release_hooks, const struct block_release_hook, block_release_hook_##id)

/* Sleeps until nothing is queued or in flight. */
void block_device_drain(struct block_device *device);
/* Resets through the driver: 0, -EOPNOTSUPP, or the driver's errno. */
int block_device_reset(struct block_device *device);
/* Switches the write cache. 0, -EOPNOTSUPP, or the driver's errno; whatever happens, what was written can be
 * made durable by a flush. To write through, all that was written before is durable too when this returns 0.
 * Thread context. */
must_check int block_device_set_writeback(struct block_device *device, bool is_writeback);
/* The bare device: 0, -EOPNOTSUPP, or the driver's errno. */
must_check int block_device_raw(struct block_device *device, struct block_raw_job *job);
/* The driver's ops of these names, if it has them. */
void block_device_poll(struct block_device *device);
void block_device_set_polling(struct block_device *device, bool is_polling);
int block_device_describe(struct block_device *device); /* -EOPNOTSUPP */
bool block_device_is_idle(struct block_device *device); /* true without */

/* For a driver whose rings change: limits.depth. -EBUSY: more are in flight just now. Any context. */
must_check int block_device_set_depth(struct block_device *device, uint32_t depth);
/* -EOPNOTSUPP, or what the driver says. Thread context. */
must_check int block_device_ring_entries(struct block_device *device, struct block_ring_entries *entries);
must_check int block_device_set_ring_entries(struct block_device *device, uint32_t entries);

/* How long a request may be in flight before the device is reset, in steps of BLOCK_LATE_NS; 0: for ever.
 * Among younger ones that are stuck too, it may take twice as long. Any context. */
void block_device_set_timeout(struct block_device *device, uint64_t ns);
uint64_t block_device_timeout(const struct block_device *device);

int block_status_to_error(uint8_t status);
const char *block_status_name(uint8_t status);
const char *block_operation_name(uint8_t operation);

/* What a device did wrong, or seemed to. */
struct block_recovery {
    uint64_t interrupts_mended; /* completions that a late look found */
    uint64_t doorbells_again;   /* rung by a late look: perhaps lost, perhaps the disk is only slow */
    uint64_t resets;            /* whoever wanted them */
    uint64_t replays;           /* requests sent again after one */
    uint64_t given_up;          /* requests not sent again: they failed with RETRY or GONE */
};

struct block_stats {
    /* Completed requests by operation, before merging. */
    uint64_t ios[BLOCK_OPERATIONS], sectors[BLOCK_OPERATIONS];
    uint64_t errors;
    uint64_t merges, device_requests, batches; /* batches: calls of ops->submit that took something */
    uint64_t kicks, interrupts;                /* from ops->counts */
    uint64_t late, timeouts;                   /* the watchdog's looks, and the resets that it asked for */
    struct block_recovery recovery;            /* from ops->recovery */
    uint32_t queued, in_flight, in_flight_max;
};
void block_device_stats(struct block_device *device, struct block_stats *stats);

/* Latency histogram: bucket i counts completions of [2^i, 2^(i+1)) ns from submit to done. */
#define BLOCK_LATENCY_BUCKETS 40
void block_device_latency(struct block_device *device, uint64_t buckets[BLOCK_LATENCY_BUCKETS]);

/* Schedulers, by name ("none", "deadline"); -ENOENT for an unknown one. Thread context; safe under load. */
int block_device_set_scheduler(struct block_device *device, const char *name);
const char *block_device_scheduler(const struct block_device *device);

/* Whether a file system has it; the file systems' layer says so. Without one: false. */
bool block_device_is_mounted(const char *device_name);

/* Writes queue, counters and the driver's state to the log. Any context. */
void block_dump(struct block_device *device);

/* Sets up the layer, the watchdog and ram0. After work_init. */
void block_init(void);

#endif
