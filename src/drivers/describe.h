/* SPDX-License-Identifier: MIT */
/* The shell's `features DEV`: who has devices with names adds a describer.
 *
 *     static int describe(const char *name) { ... }
 *     DEVICE_DESCRIBER(describe); */
#ifndef DRIVERS_DESCRIBE_H
#define DRIVERS_DESCRIBE_H

#include <kernel/base/linker_set.h>
#include <kernel/base/types.h>

/* Prints transport, features and queues of the device `name`. False: has none of that name. Thread context.
 */
struct device_describer {
    int (*describe)(const char *name);
};
#define DEVICE_DESCRIBER(function)                                                 \
    static const struct device_describer device_describer_##function = {function}; \
    linker_set_add(device_describers, const struct device_describer, device_describer_##function)

#endif
