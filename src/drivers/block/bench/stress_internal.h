/* SPDX-License-Identifier: MIT */
/* stress's parts among themselves: stress.c reads options, coordinates and judges; stress_worker.c makes
 * requests; stress_range.c knows what each block of the disk must hold. */
#ifndef DRIVERS_BLOCK_BENCH_STRESS_INTERNAL_H
#define DRIVERS_BLOCK_BENCH_STRESS_INTERNAL_H

#include <drivers/block/bench/pattern.h>
#include <drivers/block/block.h>
#include <kernel/random.h>
#include <kernel/wait.h>

#define STRESS_THREADS_MAX 256u
#define STRESS_DEPTH_MAX   64u
#define STRESS_GROUP_UNITS 64u /* a request lies within one group, so one word claims it */

struct stress_config {
    struct block_device *device;
    uint64_t offset_bytes, size_bytes; /* the range */
    uint64_t seed;
    uint64_t ios;        /* of all threads; UINT64_MAX: until time is up */
    uint64_t runtime_ns; /* 0: until `ios` */
    uint32_t threads, depth, block_bytes_max;
    bool may_write, do_reset, is_json;
    bool may_discard, may_zero; /* the device has it, and may be written */
};

/* What a unit must show when it is read. */
enum stress_content {
    STRESS_UNKNOWN,   /* anything: nothing has been done yet, or what was tried failed */
    STRESS_WRITTEN,   /* the pattern of its generation */
    STRESS_ZEROES,    /* after write zeroes */
    STRESS_DISCARDED, /* no device promises anything (virtio 1.2, 5.2.6.1); but it is no block of another
                         place */
};

/* ---- stress_range.c: the disk's part under test, in units of its logical block ---- */

/* Lock legend: I constant; a atomic; u whoever has claimed the unit. */
struct stress_range {
    struct block_device *device;              /* I */
    uint64_t source;                          /* I: of the pattern */
    uint64_t first_sector;                    /* I */
    uint32_t unit_bytes, unit_sectors, units; /* I: `units` a multiple of STRESS_GROUP_UNITS or below it */
    uint64_t *claimed;                        /* a: a bit a unit, a word a group */
    uint32_t *generations;                    /* u: of the last write, wrapping */
    uint8_t *contents;                        /* u: enum stress_content */
};
must_check int stress_range_init(struct stress_range *range, const struct stress_config *config);
void stress_range_fini(struct stress_range *range);
/* Units [first, first + count) within one group, for the caller alone; false when one of them is taken. */
must_check bool stress_range_claim(struct stress_range *range, uint32_t first, uint32_t count);
void stress_range_release(struct stress_range *range, uint32_t first, uint32_t count);
/* By the claimer. Fill writes each unit's next generation into `data`; written makes that the expected one,
 * or, after a failure, unknown; became is for what has no data; check counts units that were verified and
 * reports those that are wrong. */
void stress_range_fill(const struct stress_range *range, uint32_t first, uint32_t count, void *data);
void stress_range_written(struct stress_range *range, uint32_t first, uint32_t count, bool is_good);
void stress_range_became(struct stress_range *range, uint32_t first, uint32_t count,
                         enum stress_content content);
/* How many are wrong; adds to `verified`. */
uint32_t stress_range_check(const struct stress_range *range, uint32_t first, uint32_t count,
                            const void *data, uint64_t *verified);
/* How many units are claimed: 0 when nothing is in flight. */
uint32_t stress_range_claimed(const struct stress_range *range);
/* Reads everything once more, with nothing in flight. 0 or the read's errno. */
must_check int stress_range_check_all(const struct stress_range *range, uint64_t *verified, uint64_t *wrong);

/* ---- stress_worker.c ---- */

struct stress_counts {
    uint64_t submitted, completed, reads, writes, flushes, discards, zeroes;
    uint64_t retried, failed, gone, verified, wrong;
};

struct stress_slot {
    struct block_request request;
    struct block_segment segments[3];
    uint8_t *data;         /* pages: block_bytes_max and up to 7 sectors of offset */
    uint32_t first, count; /* units claimed; count 0: a flush */
    struct fifo_node free_node;
};

struct stress;
/* One thread's; the coordinator peeks at `counts`. */
struct stress_worker {
    struct stress *stress;
    struct thread *thread;
    struct random random;
    struct block_group group;
    struct stress_slot *slots;
    uint32_t depth;
    uint64_t left; /* requests to submit */
    struct stress_counts counts;
};

/* Lock legend: I constant while threads run; a atomic; c the coordinator's. */
struct stress {
    struct stress_config config;   /* I */
    struct stress_range range;     /* see there */
    struct stress_worker *workers; /* I */
    uint32_t running;              /* a: threads that have not finished */
    bool must_stop;                /* a */
    struct wait_queue finishing;
    uint64_t resets, scheduler_changes, reset_errors; /* c */
};

must_check int stress_worker_init(struct stress_worker *worker, struct stress *stress, uint32_t index);
void stress_worker_fini(struct stress_worker *worker);
void stress_worker_main(void *worker);

#endif
