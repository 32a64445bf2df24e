/* SPDX-License-Identifier: MIT */
/* rng: what an entropy device says, before it is hashed. Thread context; the list's mutex makes it one reader
 * at a time. */
#include <arch/clock.h>
#include <drivers/describe.h>
#include <kernel/shell.h>
#include <kernel/string.h>

#include "virtio_rng_internal.h"

#define READ_WAIT_NS (2 * NSEC_PER_SEC)

/* virtio_rng_list.mutex held. */
static struct virtio_rng *find(const char *name)
{
    list_foreach (node, &virtio_rng_list.list) {
        struct virtio_rng *rng = list_entry(node, struct virtio_rng, node);
        if (strcmp(rng->device->name, name) == 0)
            return rng;
    }
    return NULL;
}

/* 0; -ETIMEDOUT: no answer with a byte in it. */
static int read_once_from(struct virtio_rng *rng, struct virtio_rng_read *reader)
{
    completion_init(&reader->done);
    virtio_rng_set_reader(rng, reader);
    virtio_rng_ask(rng);
    int error = completion_wait_until(&reader->done, clock_ns() + READ_WAIT_NS);
    if (error)
        virtio_rng_set_reader(rng, NULL); /* from here on nobody writes there */
    return completion_is_done(&reader->done) ? 0 : error;
}

static int rng_run(int argc, char **argv)
{
    struct virtio_rng_read reader = {0};
    struct shell_line line = {0};
    if (argc != 2)
        return -EINVAL;
    MUTEX_SCOPED(&virtio_rng_list.mutex);
    struct virtio_rng *rng = find(argv[1]);
    if (!rng) {
        console_printf("rng: no entropy device named '%s'\n", argv[1]);
        return -ENODEV;
    }
    int error = read_once_from(rng, &reader);
    if (error) {
        console_printf("rng: no answer\n");
        return error;
    }
    for (uint32_t i = 0; i < reader.bytes; i++)
        shell_line_add(&line, "%02x", reader.data[i]);
    shell_line_end(&line);
    return 0;
}
SHELL_COMMAND(rng, "DEV", "print what an entropy device gives, past the pool", rng_run,
              "DEV: as in `entropy`. At most 64 bytes, which then do not go into the pool.");

static int describe(const char *name)
{
    MUTEX_SCOPED(&virtio_rng_list.mutex);
    struct virtio_rng *rng = find(name);
    if (!rng)
        return -ENODEV;
    virtio_device_describe(rng->device);
    return 0;
}
DEVICE_DESCRIBER(describe);
