/* SPDX-License-Identifier: MIT */
/* The disk that lies, for the tests of iobench and stress. Thread context. */
#ifndef DRIVERS_BLOCK_TEST_BENCH_DEVICE_H
#define DRIVERS_BLOCK_TEST_BENCH_DEVICE_H

#include <drivers/block/block.h>

#define BENCH_DEVICE_BYTES MIB(1)

enum bench_lie {
    BENCH_LIE_NONE,
    BENCH_LIE_READ_ERROR,        /* the sector stays bad */
    BENCH_LIE_NOTHING_READ,      /* a read says OK and brings nothing */
    BENCH_LIE_LOST_WRITE,        /* a write says OK and stores nothing */
    BENCH_LIE_FLIPPED_BIT,       /* in the last byte of the first sector written */
    BENCH_LIE_MISDIRECTED_WRITE, /* also lands half the disk away */
    BENCH_LIE_NO_ZEROES,         /* write zeroes says OK and stores nothing */
    BENCH_LIE_FOREIGN_DISCARD,   /* what is read after a discard is a block half the disk away */
    BENCH_LIE_LONG_DISCARD,      /* a sector too many is discarded */
};

/* Its name, honest again: NULL without memory. */
const char *bench_device_get(void);
/* From now on at every `every`-th request of the lie's kind. With nothing in flight. */
void bench_device_lie(enum bench_lie lie, uint32_t every);
bool bench_device_has_lied(void);

#endif
