/* SPDX-License-Identifier: MIT */
/* iobench's parts among themselves: iobench.c reads options and runs, iobench_worker.c does the I/O,
 * iobench_raw.c drives the bare ring, iobench_report.c prints. */
#ifndef DRIVERS_BLOCK_BENCH_IOBENCH_INTERNAL_H
#define DRIVERS_BLOCK_BENCH_IOBENCH_INTERNAL_H

#include <drivers/block/bench/iobench_histogram.h>
#include <drivers/block/block.h>
#include <kernel/random.h>
#include <kernel/wait.h>

enum bench_mode { BENCH_IRQ, BENCH_POLL, BENCH_RAW };

#define BENCH_NAME_BYTES 32u
#define BENCH_DEPTH_MAX  1024u
#define BENCH_JOBS_MAX   256u

struct bench_config {
    char name[BENCH_NAME_BYTES];
    struct block_device *device;
    enum bench_mode mode;
    bool is_random, is_trim, is_json, verify;
    uint32_t read_share; /* of 65536: 65536 only reads, 0 only writes */
    uint32_t block_bytes, depth, jobs;
    uint32_t batch;                /* I/Os that must be done before the thread wakes */
    uint32_t submit_batch;         /* I/Os in one plug */
    uint32_t fsync_every;          /* writes; 0: never */
    uint64_t first_sector, blocks; /* the range */
    uint64_t ios;                  /* a job; UINT64_MAX: until runtime_ns */
    uint64_t warmup_ios;           /* a job */
    uint64_t runtime_ns;           /* 0: until `ios` */
    uint64_t seed;
};

/* The measured window: what the counters said around it. */
struct bench_counters {
    uint64_t ns, busy_ns, switches;
    struct block_stats block;
};
struct bench_result {
    uint64_t ios, errors, verify_errors, verified;
    uint64_t errors_failed, errors_out_of_range; /* of `errors` */
    struct bench_counters start, end;
    struct histogram latency;
};

/* The job's threads go through the phases together. A thread begins a phase when `phase` has reached it and
 * adds itself to `arrived` at its end. */
enum bench_phase { BENCH_CREATED, BENCH_WARMUP, BENCH_MEASURE, BENCH_VERIFY, BENCH_DONE };

struct bench_worker;

/* Lock legend: I constant while threads run; a atomic; c the coordinator's only. */
struct bench_run {
    const struct bench_config *config; /* I */
    struct bench_worker *workers;      /* I */
    struct wait_queue starting, arriving;
    uint32_t phase;       /* a: enum bench_phase */
    uint32_t arrived;     /* a */
    bool must_stop;       /* a */
    bool was_interrupted; /* c */
    bool is_device_gone;  /* a: set by the worker that was told so */
};

/* 0, -ENOMEM, -EINTR, -EOPNOTSUPP. Verification and I/O errors are counted in the result, not returned. */
must_check int bench_run_workers(const struct bench_config *config, struct bench_result *result);
must_check int bench_run_raw(const struct bench_config *config, struct bench_result *result);

void bench_report(const struct bench_config *config, const struct bench_result *result);
/* `count` a second, without overflow. */
uint64_t bench_per_second(uint64_t count, uint64_t ns);

/* Around the measured window: counters outermost, then the clock, the marker instruction innermost. */
void bench_window_start(struct bench_result *result);
void bench_window_end(struct bench_result *result);
/* Before bench_window_start: the device whose counters are taken. */
void bench_window_set_device(struct block_device *device);

/* ---- iobench_worker.c ---- */

struct bench_slot {
    struct block_request request;
};
/* One thread's: all fields its own. */
struct bench_worker {
    struct bench_run *run;
    const struct bench_config *config;
    struct thread *thread;
    struct bench_slot *slots;                 /* config->depth of them */
    uint64_t first_block, blocks, next_block; /* its part of the range; sequential: the next one */
    uint32_t block_sectors;
    uint32_t writes_since_flush;
    uint64_t random;          /* the generator's state */
    uint64_t random_at_start; /* of the measured phase, for the verification */
    uint64_t next_block_at_start;
    uint64_t ios, errors, verified, verify_errors;
    uint64_t errors_failed, errors_out_of_range; /* of `errors` */
    bool has_extras;                             /* mixed operations, verify or fsync: off the short path */
    struct block_group group;
    struct histogram latency;
};

must_check int bench_worker_init(struct bench_worker *worker, struct bench_run *run, uint32_t index);
void bench_worker_fini(struct bench_worker *worker);
void bench_worker_main(void *worker);

#endif
