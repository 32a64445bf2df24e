/* SPDX-License-Identifier: MIT */
/* What the benchmarks and the stress test want to know from others. */
#ifndef DRIVERS_BLOCK_BENCH_BENCH_H
#define DRIVERS_BLOCK_BENCH_BENCH_H

#include <kernel/base/types.h>

/* True while a file system uses the device: iobench and stress then write to it only with force=1. Here a
 * weak definition says false; the file system's overrides it. Thread context. */
bool block_device_is_mounted(const char *device_name);

#endif
