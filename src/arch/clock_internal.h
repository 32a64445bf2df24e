/* SPDX-License-Identifier: MIT */
/* Between clock.c and what it measures by, or what is measured by it (lapic.c). */
#ifndef ARCH_CLOCK_INTERNAL_H
#define ARCH_CLOCK_INTERNAL_H

#include <kernel/base/types.h>

/* A counter and the time-stamp counter at the same moment. */
struct clock_moment {
    uint64_t ticks; /* right to half of width_ticks */
    uint64_t width_ticks;
    uint32_t count;
};
/* The tightest of a few readings, so that a host which stops us within one spoils only that one. */
struct clock_moment clock_read_moment(uint32_t (*read)(void));
/* How far a counter, which counts up to `mask`, goes from `start` on, and in how many ticks of the time-stamp
 * counter. Waits until the error of that ratio is at most 0.05 %, by the widths of the two moments, but a
 * bounded time. 0: it stands still. */
must_check uint32_t clock_count_since(struct clock_moment start, uint32_t (*read)(void), uint32_t mask,
                                      uint64_t *ticks);

/* A counter of known rate, which counts up. */
struct clock_reference {
    const char *name;
    bool (*start)(void); /* false: not there or does not count */
    uint32_t (*read)(void);
    uint64_t hz;   /* after start */
    uint32_t mask; /* it wraps here */
};

/* Best first; a NULL name ends it. */
extern struct clock_reference clock_references[];
extern struct clock_reference clock_reference_last[]; /* the PIT */

/* Seconds since 1970 of the CMOS clock; 0 when it makes no sense. */
uint64_t clock_read_cmos(void);

#endif
