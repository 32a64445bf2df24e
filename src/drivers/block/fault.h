/* SPDX-License-Identifier: MIT */
/* Faults on demand (shell: fault DEV): what the layers above do when a disk fails, is slow, or finishes in
 * another order. Rules stand between a device's queue and its driver; a device without rules pays nothing.
 *
 * A rule sees what the device would get. Of a merge each request counts for itself, and an error ends only
 * the request that it is for: the merge is taken apart. A request that goes down in pieces counts once a
 * piece. mode=raw is below the rules. Thread context. */
#ifndef DRIVERS_BLOCK_FAULT_H
#define DRIVERS_BLOCK_FAULT_H

#include <drivers/block/block.h>

/* From weak to strong: of a merge, the strongest that any of its requests gets is done to it. */
enum block_fault_kind {
    BLOCK_FAULT_REORDER, /* goes behind the others of its batch, and the last such goes first */
    BLOCK_FAULT_DELAY,   /* reaches the driver delay_ns later */
    BLOCK_FAULT_HOLD,    /* reaches the driver after block_fault_release */
    BLOCK_FAULT_ERROR,   /* completes with `status`; never reaches the driver */
    BLOCK_FAULT_KINDS,
};

struct block_fault_rule {
    enum block_fault_kind kind;
    uint8_t operations;       /* a bit for each enum block_operation: there are as many */
    uint8_t status;           /* of an error: enum block_status, not OK */
    uint64_t sector, sectors; /* what it must touch; 0, UINT64_MAX: all, also what has no sectors */
    uint64_t every;           /* each Nth that matches; 1: all */
    uint64_t count;           /* how many times; 0: no limit */
    uint64_t delay_ns;
    uint64_t matches, hits; /* so far; block_fault_add begins at 0 */
};

#define BLOCK_FAULT_RULES 8u
struct block_fault_state {
    struct block_fault_rule rules[BLOCK_FAULT_RULES];
    uint32_t rule_count;
    uint32_t parked; /* requests that are held or delayed now; the queue counts them as in flight */
};

/* Behind the rules that are there: of several, the first that hits decides. 0, -ENOMEM, -ENOSPC. */
must_check int block_fault_add(struct block_device *device, const struct block_fault_rule *rule);
/* Sends what is held or delayed; the rules stay. */
void block_fault_release(struct block_device *device);
/* Takes all rules away and sends what is held or delayed. */
void block_fault_clear(struct block_device *device);
void block_fault_state(struct block_device *device, struct block_fault_state *state);
const char *block_fault_kind_name(enum block_fault_kind kind);

#endif
