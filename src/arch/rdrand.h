/* SPDX-License-Identifier: MIT */
/* The CPU's own random numbers: RDSEED, or RDRAND where there is only that (SDM 1, 7.3.17). Any context. */
#ifndef ARCH_RDRAND_H
#define ARCH_RDRAND_H

#include <kernel/base/types.h>

/* "rdseed" or "rdrand"; NULL: this CPU has neither. */
const char *rdrand_name(void);
/* False: it has none, or none left just now. */
must_check bool rdrand_read(uint64_t *value);

#endif
