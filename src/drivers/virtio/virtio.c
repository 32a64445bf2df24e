/* SPDX-License-Identifier: MIT */
/* Virtio devices: the way to DRIVER_OK, and back to it after a reset. See virtio.h for the six steps.
 * Thread context; nothing here is on the path of a request. */
#include <drivers/virtio/virtio.h>
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/cmdline.h>
#include <kernel/log.h>
#include <kernel/printf.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#include "virtio_internal.h"

#define RESET_WAIT_NS      (100 * NSEC_PER_USEC) /* between two looks */
#define RESET_WAITS_MAX    10000u
#define CONFIG_TRIES_MAX   100u
#define QUEUE_SIZE_DEFAULT 256u
#define STATUS_NOBODY      0xffu /* what a bus reads where no device is; no device has all these bits */

CMDLINE_KEY(virtio_queue_size, "virtio.queue_size", "2..1024", "entries of each virtqueue (default 256)");
CMDLINE_KEY(virtio_queues, "virtio.queues", "N",
            "use at most N request queues of a device (default: one a CPU)");
CMDLINE_KEY(virtio_packed, "virtio.packed", "0/1", "accept the packed ring");
CMDLINE_KEY(virtio_indirect, "virtio.indirect", "0/1", "accept indirect descriptors");
CMDLINE_KEY(virtio_event_idx, "virtio.event_idx", "0/1", "accept the event index");
CMDLINE_KEY(virtio_in_order, "virtio.in_order", "0/1", "accept completions in order, a batch at a time");
CMDLINE_KEY(virtio_notification_data, "virtio.notification_data", "0/1",
            "accept doorbells that tell how far the driver has come");
CMDLINE_KEY(virtio_msix, "virtio.msix", "0/1", "use MSI-X; without it, interrupt pins");

linker_set_declare(virtio_drivers, const struct virtio_driver);

struct virtio_settings virtio_settings = {
    .queue_size = QUEUE_SIZE_DEFAULT,
    .queues = VIRTQUEUES_MAX,
    .has_packed = true,
    .has_indirect = true,
    .has_event_idx = true,
    .has_in_order = true,
    .has_notification_data = true,
    .has_msix = true,
};

static uint32_t device_count;

void virtio_init(void)
{
    struct virtio_settings *s = &virtio_settings;
    uint64_t value;
    if (cmdline_u64("virtio.queue_size", VIRTQUEUE_SIZE_MIN, VIRTQUEUE_SIZE_MAX, &value))
        s->queue_size = (uint32_t)value;
    if (cmdline_u64("virtio.queues", 1, VIRTQUEUES_MAX, &value))
        s->queues = (uint32_t)value;
    s->has_packed = cmdline_bool("virtio.packed", true);
    s->has_indirect = cmdline_bool("virtio.indirect", true);
    s->has_event_idx = cmdline_bool("virtio.event_idx", true);
    s->has_in_order = cmdline_bool("virtio.in_order", true);
    s->has_notification_data = cmdline_bool("virtio.notification_data", true);
    s->has_msix = cmdline_bool("virtio.msix", true);
}

/* ---- The steps -------------------------------------------------------------------------------------- */

static void set_status(struct virtio_device *device, uint8_t bits)
{
    device->transport->status_write(device, device->transport->status_read(device) | bits);
}

/* A device that is not there any more need not be waited for, once it is known that it cannot come back to
 * memory either. */
static bool has_reset(struct virtio_device *device)
{
    uint8_t status;
    for (uint32_t waits = 0; (status = device->transport->status_read(device)) != 0; waits++) {
        if (waits == RESET_WAITS_MAX || (status == STATUS_NOBODY && device->transport->isolate(device)))
            return false;
        thread_sleep_ns(RESET_WAIT_NS);
    }
    return true;
}

/* Step 1. Without an answer: -ETIMEDOUT when it is cut off from memory, -EBUSY when it could not be. */
static int reset(struct virtio_device *device)
{
    device->transport->status_write(device, 0);
    if (has_reset(device))
        return 0;
    bool is_cut_off = device->transport->isolate(device);
    if (is_cut_off && device->transport->status_read(device) == STATUS_NOBODY)
        return -ETIMEDOUT; /* unplugged: its slot has said so */
    log_error(device->name, "no answer to a reset: %s",
              is_cut_off ? "cut off from memory" : "it may still reach memory");
    return is_cut_off ? -ETIMEDOUT : -EBUSY;
}

/* Steps 4 and 5. */
static int accept_features(struct virtio_device *device, uint64_t features)
{
    device->features = features;
    device->transport->features_write(device, features);
    if (device->transport->is_legacy)
        return 0;
    set_status(device, VIRTIO_STATUS_FEATURES_OK);
    if (device->transport->status_read(device) & VIRTIO_STATUS_FEATURES_OK)
        return 0;
    log_error(device->name, "the device refuses the features 0x%llx of its 0x%llx",
              (unsigned long long)features, (unsigned long long)device->offered);
    return -EOPNOTSUPP;
}

static int negotiate(struct virtio_device *device)
{
    device->offered = device->transport->features_read(device);
    if (!device->transport->is_legacy && !(device->offered >> VIRTIO_F_VERSION_1 & 1)) {
        log_error(device->name, "offers no VERSION_1 at its modern interface");
        return -EOPNOTSUPP;
    }
    return accept_features(device, device->offered & virtio_features_wanted(device));
}

static const struct virtio_driver *find_driver(uint32_t type)
{
    linker_set_foreach (virtio_drivers, const struct virtio_driver, driver) {
        if (driver->type == type)
            return driver;
    }
    return NULL;
}

static void log_features(const struct virtio_device *device)
{
    char text[400];
    virtio_features_text(device, text, sizeof(text));
    log_info(device->name, "%s on %s, features %s", device->driver->name, device->where, text);
}

static int start(struct virtio_device *device)
{
    int error = reset(device);
    if (error)
        return error;
    set_status(device, VIRTIO_STATUS_ACKNOWLEDGE);
    set_status(device, VIRTIO_STATUS_DRIVER);
    error = negotiate(device);
    if (error)
        return error;
    log_features(device);
    return device->driver->probe(device);
}

int virtio_device_add(struct virtio_device *device)
{
    snprintf(device->name, sizeof(device->name), "virtio%u", device_count++);
    device->driver = find_driver(device->type);
    if (!device->driver) {
        log_info(device->name, "no driver for type %u on %s", device->type, device->where);
        return -ENODEV;
    }
    int error = start(device);
    if (error) {
        log_error(device->name, "%s on %s is not used: %s", device->driver->name, device->where,
                  error_name(error));
        if (error != -ETIMEDOUT && error != -EBUSY) /* it answers */
            set_status(device, VIRTIO_STATUS_FAILED);
    }
    return error;
}

void virtio_device_remove(struct virtio_device *device)
{
    device->driver->remove(device);
    assert(device->queue_count == 0);
}

void virtio_device_ready(struct virtio_device *device)
{
    set_status(device, VIRTIO_STATUS_DRIVER_OK);
}

/* ---- Configuration ---------------------------------------------------------------------------------- */

uint32_t virtio_config_read(struct virtio_device *device, uint32_t offset, uint32_t width)
{
    assert((width == 1 || width == 2 || width == 4) && offset % width == 0);
    return device->transport->config_read(device, offset, width);
}

void virtio_config_write(struct virtio_device *device, uint32_t offset, uint32_t width, uint32_t value)
{
    assert((width == 1 || width == 2 || width == 4) && offset % width == 0);
    device->transport->config_write(device, offset, width, value);
}

/* Not atomic: only within virtio_config_snapshot. */
uint64_t virtio_config_read64(struct virtio_device *device, uint32_t offset)
{
    uint64_t low = virtio_config_read(device, offset, 4);
    return low | (uint64_t)virtio_config_read(device, offset + 4, 4) << 32;
}

typedef void config_reader(struct virtio_device *device, void *copy);

/* True: in one generation. */
static bool read_whole(struct virtio_device *device, config_reader *read, void *copy)
{
    uint32_t before = device->transport->config_generation(device);
    read(device, copy);
    return device->transport->config_generation(device) == before;
}

/* For want of a generation. True: the same both times. */
static bool read_twice(struct virtio_device *device, config_reader *read, void *copy, size_t bytes)
{
    uint8_t first[VIRTIO_CONFIG_COPY_MAX];
    read(device, copy);
    memcpy(first, copy, bytes);
    read(device, copy);
    return memcmp(first, copy, bytes) == 0;
}

bool virtio_config_snapshot(struct virtio_device *device, config_reader *read, void *copy, size_t bytes)
{
    bool is_legacy = device->transport->is_legacy;
    assert(bytes <= VIRTIO_CONFIG_COPY_MAX);
    memset(copy, 0, bytes); /* its padding too is compared */
    for (uint32_t tries = 0; tries < CONFIG_TRIES_MAX; tries++) {
        if (is_legacy ? read_twice(device, read, copy, bytes) : read_whole(device, read, copy))
            return true;
    }
    log_warning(device->name, "the configuration does not settle");
    return false;
}

/* ---- Queues ----------------------------------------------------------------------------------------- */

/* A split ring has a power of two (2.7), a packed one any number of entries (2.8.10.1). */
bool virtio_is_ring_size(const struct virtio_device *device, uint32_t size)
{
    return size >= VIRTQUEUE_SIZE_MIN && size <= VIRTQUEUE_SIZE_MAX &&
           (is_power_of_two(size) || virtio_has_feature(device, VIRTIO_F_RING_PACKED));
}

static uint32_t limited_size(const struct virtio_device *device, uint32_t offered)
{
    uint32_t size = MIN(MIN(offered, virtio_settings.queue_size), VIRTQUEUE_SIZE_MAX);
    if (size < VIRTQUEUE_SIZE_MIN || virtio_is_ring_size(device, size))
        return size;
    log_warning(device->name, "a split ring cannot have %u entries: %u are used", size, 1u << ilog2(size));
    return 1u << ilog2(size);
}

uint32_t virtio_queue_size(struct virtio_device *device, uint32_t index)
{
    uint32_t offered = device->transport->queue_size(device, index);
    uint32_t size = device->transport->is_queue_size_fixed ? offered : limited_size(device, offered);
    if (virtio_is_ring_size(device, size))
        return size;
    log_error(device->name, "queue %u of %u entries cannot be used: not %s from %u to %u", index, offered,
              virtio_has_feature(device, VIRTIO_F_RING_PACKED) ? "a number" : "a power of two",
              VIRTQUEUE_SIZE_MIN, VIRTQUEUE_SIZE_MAX);
    return 0;
}

static int create_queue(struct virtio_device *device, struct virtqueue_config *config, uint32_t index)
{
    snprintf(config->name, sizeof(config->name), "%s-queue%u", device->name, index);
    config->index = (uint16_t)index;
    config->has_indirect = virtio_has_feature(device, VIRTIO_F_INDIRECT_DESC);
    config->has_event_idx = virtio_has_feature(device, VIRTIO_F_EVENT_IDX);
    config->is_in_order = virtio_has_feature(device, VIRTIO_F_IN_ORDER);
    int error = virtio_has_feature(device, VIRTIO_F_RING_PACKED)
                    ? vring_packed_create(config, &device->queues[index])
                    : vring_split_create(config, &device->queues[index]);
    if (error)
        return error;
    struct virtqueue *queue = device->queues[index];
    queue->device = device;
    queue->notify = virtio_has_feature(device, VIRTIO_F_NOTIFICATION_DATA)
                        ? device->transport->notify_with_data
                        : device->transport->notify;
    assert(queue->notify);
    return 0;
}

void virtio_device_silence(struct virtio_device *device)
{
    device->transport->interrupts_disconnect(device);
}

void virtio_device_destroy_queues(struct virtio_device *device)
{
    /* The device may know their addresses: before they are freed, it must forget them, or be cut off (R6);
     * failing that, they are left to it. */
    bool may_write = reset(device) == -EBUSY;
    device->transport->interrupts_disconnect(device);
    for (; device->queue_count > 0; device->queue_count--) {
        if (!may_write)
            virtqueue_destroy(device->queues[device->queue_count - 1]);
    }
}

/* Interrupts first: a queue that is enabled may interrupt. */
static int connect_queues(struct virtio_device *device)
{
    int error = device->transport->interrupts_connect(device);
    for (uint32_t i = 0; error == 0 && i < device->queue_count; i++)
        error = device->transport->queue_enable(device, device->queues[i]);
    return error;
}

int virtio_device_create_queues(struct virtio_device *device, struct virtqueue_config *configs,
                                uint32_t count)
{
    assert(count > 0 && count <= VIRTQUEUES_MAX && device->queue_count == 0);
    int error = 0;
    for (uint32_t i = 0; i < count && error == 0; i++) {
        error = create_queue(device, &configs[i], i);
        device->queue_count += error == 0;
    }
    if (error == 0)
        error = connect_queues(device);
    if (error == 0)
        return 0;
    log_error(device->name, "queues cannot be set up: %s", error_name(error));
    virtio_device_destroy_queues(device);
    return error;
}

/* ---- Stop and resume -------------------------------------------------------------------------------- */

int virtio_device_stop(struct virtio_device *device)
{
    int error = reset(device);
    if (error != -EBUSY)
        return error;
    /* What is in flight may neither be failed nor sent again while the device may still write (R6). */
    while (!has_reset(device))
        ;
    return 0;
}

int virtio_device_resume(struct virtio_device *device)
{
    uint64_t features = device->features;
    set_status(device, VIRTIO_STATUS_ACKNOWLEDGE);
    set_status(device, VIRTIO_STATUS_DRIVER);
    device->offered = device->transport->features_read(device);
    if (features & ~device->offered) {
        log_error(device->name, "offers 0x%llx after the reset, without 0x%llx that are in use",
                  (unsigned long long)device->offered, (unsigned long long)(features & ~device->offered));
        return -EIO;
    }
    int error = accept_features(device, features);
    if (error)
        return error;
    for (uint32_t i = 0; i < device->queue_count; i++) {
        SPIN_SCOPED_IRQ(&device->queues[i]->lock);
        virtqueue_restart(device->queues[i]);
    }
    return connect_queues(device);
}

static int reset_queues(struct virtio_device *device)
{
    int error = virtio_has_feature(device, VIRTIO_F_RING_RESET) ? 0 : -EOPNOTSUPP;
    for (uint32_t i = 0; error == 0 && i < device->queue_count; i++)
        error = device->transport->queue_reset(device, device->queues[i]);
    return error;
}

int virtio_device_resize_queues(struct virtio_device *device, uint32_t entries)
{
    bool is_running = reset_queues(device) == 0;
    int error = is_running ? 0 : virtio_device_stop(device);
    for (uint32_t i = 0; error == 0 && i < device->queue_count; i++) {
        SPIN_SCOPED_IRQ(&device->queues[i]->lock);
        virtqueue_resize(device->queues[i], (uint16_t)entries);
    }
    if (is_running && connect_queues(device) == 0)
        return 0;
    if (is_running)
        error = virtio_device_stop(device);
    return error ? error : virtio_device_resume(device);
}

bool virtio_device_needs_reset(struct virtio_device *device)
{
    uint8_t status = device->transport->status_read(device);
    return status != STATUS_NOBODY && (status & VIRTIO_STATUS_NEEDS_RESET) != 0;
}
