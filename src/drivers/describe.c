/* SPDX-License-Identifier: MIT */
/* The shell's `features DEV`, which asks whoever has devices. Thread context. */
#include <drivers/describe.h>
#include <kernel/shell.h>

linker_set_declare(device_describers, const struct device_describer);

static int features_run(int argc, char **argv)
{
    if (argc != 2)
        return -EINVAL;
    linker_set_foreach (device_describers, const struct device_describer, describer) {
        int error = describer->describe(argv[1]);
        if (error != -ENODEV)
            return error;
    }
    console_printf("features: no device named '%s'\n", argv[1]);
    return -ENODEV;
}
SHELL_COMMAND(features, "DEV", "transport, features, queues and limits of a device, and how worn it is",
              features_run, "DEV: a disk (vd0), or another virtio device (virtio1).");
