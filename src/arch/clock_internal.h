/* SPDX-License-Identifier: MIT */
/* Between clock.c and what it measures by, or what is measured by it (lapic.c). */
#ifndef ARCH_CLOCK_INTERNAL_H
#define ARCH_CLOCK_INTERNAL_H

#include <kernel/base/types.h>

/* A counter and the time-stamp counter at the same moment. */
struct clock_moment {
    uint64_t ticks;
    uint32_t count;
};
/* The tightest of a few readings, so that a host which stops us within one spoils only that one. */
struct clock_moment clock_read_moment(uint32_t (*read)(void));

/* A counter of known rate, which counts up. */
struct clock_reference {
    const char *name;
    bool (*start)(void); /* false: not there or does not count */
    uint32_t (*read)(void);
    uint64_t hz;        /* after start */
    uint32_t mask;      /* it wraps here; at least twice the window */
    uint64_t window_ns; /* long enough for 0.1 % */
};

/* Best first; a NULL name ends it. */
extern struct clock_reference clock_references[];
extern struct clock_reference clock_reference_last; /* the PIT */

/* Seconds since 1970 of the CMOS clock; 0 when it makes no sense. */
uint64_t clock_read_cmos(void);

#endif
