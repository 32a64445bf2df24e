/* SPDX-License-Identifier: MIT */
/* The clock for layers that may not include arch: clock_ns(), clock_wall_seconds(). Any context. */
#ifndef KERNEL_TIME_H
#define KERNEL_TIME_H

#include <arch/clock.h>

#endif
