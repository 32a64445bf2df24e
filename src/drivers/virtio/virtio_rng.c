/* SPDX-License-Identifier: MIT */
/* The entropy device (virtio 1.2, 5.4): one queue, on which the device fills buffers with random bytes. It is
 * a source of the kernel's pool (kernel/entropy.h) and can be looked at by itself (`rng DEV`).
 *
 *     want         the pool's lock is held: queue ask_work
 *     ask_work     a thread: one buffer to the device, unless it has it already
 *     interrupt    the bytes to the pool, or to who asked for them by name
 *
 * One buffer in flight, and the next one only when somebody wants it: a device that answers with nothing, or
 * not at all, costs nothing (R7). How many bytes came is checked by the ring; what they are worth is the
 * pool's to judge. A device that lies about its ring is stopped for good: there is nothing to replay.
 *
 * Lock: the ring's, for all that changes; nothing is called with it held. */
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/string.h>

#include "virtio_rng_internal.h"

struct virtio_rng_list virtio_rng_list = {.mutex = MUTEX_INIT(virtio_rng_list.mutex, "virtio_rngs"),
                                          .list = LIST_INIT(virtio_rng_list.list)};

/* ---- Up --------------------------------------------------------------------------------------------- */

/* The bytes of one answer, and the buffer empty again: should the device claim more than it wrote next time,
 * it is not taken for news. */
static uint32_t take(struct virtio_rng *rng, const struct virtqueue_used *used, uint8_t *data)
{
    assert(used->bytes <= VIRTIO_RNG_REQUEST_BYTES);
    memcpy(data, rng->buffer, used->bytes);
    memset(rng->buffer, 0, VIRTIO_RNG_REQUEST_BYTES);
    rng->empty += used->bytes == 0;
    return used->bytes;
}

/* Ring locked; there is at most one answer. */
static uint32_t drain(struct virtio_rng *rng, uint8_t *data)
{
    struct virtqueue_used used;
    uint32_t bytes = 0;
    do {
        virtqueue_callbacks_disable(rng->ring);
        while ((used = virtqueue_get(rng->ring)).token != NULL)
            bytes = take(rng, &used, data);
    } while (virtqueue_callbacks_enable(rng->ring));
    return bytes;
}

/* Ring locked. True: they went to a reader. */
static bool give_to_reader(struct virtio_rng *rng, const uint8_t *data, uint32_t bytes)
{
    struct virtio_rng_read *reader = rng->reader;
    if (!reader || bytes == 0)
        return false;
    rng->reader = NULL;
    memcpy(reader->data, data, bytes);
    reader->bytes = bytes;
    complete(&reader->done);
    return true;
}

static bool interrupt(void *context)
{
    struct virtqueue *ring = context;
    struct virtio_rng *rng = ring->config.context;
    uint8_t data[VIRTIO_RNG_REQUEST_BYTES];
    spin_lock_interrupts_off(&ring->lock);
    uint32_t bytes = rng->is_stopped ? 0 : drain(rng, data);
    bool is_for_pool = bytes > 0 && !give_to_reader(rng, data, bytes);
    spin_unlock_interrupts_off(&ring->lock);
    if (is_for_pool)
        entropy_add(&rng->source, data, bytes);
    memset(data, 0, sizeof(data));
    return true;
}

/* ---- Down ------------------------------------------------------------------------------------------- */

/* Ring locked. True: the doorbell must be rung. */
static bool send(struct virtio_rng *rng)
{
    struct virtqueue_buffer *buffer = virtqueue_buffers(rng->ring);
    assert(virtqueue_is_idle(rng->ring));
    buffer->address = dma_address(rng->buffer);
    buffer->bytes = VIRTIO_RNG_REQUEST_BYTES;
    int error = virtqueue_add(rng->ring, 0, 1, VIRTIO_RNG_REQUEST_BYTES, rng);
    assert(error == 0); /* it was idle */
    return virtqueue_kick_prepare(rng->ring);
}

/* A device that has the buffer already and is asked again may have missed its doorbell (hazard 48): one too
 * many is harmless. */
void virtio_rng_ask(struct virtio_rng *rng)
{
    bool must_notify = false;
    uint64_t flags = spin_lock_irq(&rng->ring->lock);
    if (!rng->is_stopped)
        must_notify = virtqueue_is_idle(rng->ring) ? send(rng) : true;
    spin_unlock_irq(&rng->ring->lock, flags);
    if (must_notify)
        virtqueue_notify(rng->ring);
}

void virtio_rng_set_reader(struct virtio_rng *rng, struct virtio_rng_read *reader)
{
    SPIN_SCOPED_IRQ(&rng->ring->lock);
    rng->reader = reader;
}

static void ask_work(struct work *work)
{
    virtio_rng_ask(container_of(work, struct virtio_rng, ask_work));
}

static void want(struct entropy_source *source)
{
    work_queue(&container_of(source, struct virtio_rng, source)->ask_work);
}

/* ---- Stopping --------------------------------------------------------------------------------------- */

/* Reset, the buffer is ours again (R6). */
static void stop(struct virtio_rng *rng)
{
    int error = virtio_device_stop(rng->device);
    log_info(rng->device->name, "stopped for good%s", error ? ", without an answer" : "");
    SPIN_SCOPED_IRQ(&rng->ring->lock);
    while (virtqueue_detach(rng->ring) != NULL)
        ;
    assert(virtqueue_is_idle(rng->ring)); /* R2 */
}

static void stop_work(struct work *work)
{
    struct virtio_rng *rng = container_of(work, struct virtio_rng, stop_work);
    entropy_source_remove(&rng->source);
    stop(rng);
}

/* Ring locked; any context. */
static void broken(struct virtqueue *ring)
{
    struct virtio_rng *rng = ring->config.context;
    rng->is_stopped = true;
    work_queue(&rng->stop_work);
}

/* There is no configuration: so it needs a reset (2.1.2). Interrupt context. */
static void config_changed(struct virtio_device *device)
{
    struct virtio_rng *rng = device->driver_data;
    if (!rng || !virtio_device_needs_reset(device))
        return;
    SPIN_SCOPED_IRQ(&rng->ring->lock);
    if (!rng->is_stopped)
        broken(rng->ring);
}

/* ---- Probing ---------------------------------------------------------------------------------------- */

static int create_queue(struct virtio_rng *rng)
{
    uint32_t size = virtio_queue_size(rng->device, 0);
    struct virtqueue_config config = {
        .size = (uint16_t)size, .chain_max = 1, .interrupt = interrupt, .broken = broken, .context = rng};
    int error = size ? virtio_device_create_queues(rng->device, &config, 1) : -EOPNOTSUPP;
    if (error == 0)
        rng->ring = rng->device->queues[0];
    return error;
}

static void init(struct virtio_rng *rng, struct virtio_device *device)
{
    rng->device = device;
    rng->ask_work.run = ask_work;
    rng->stop_work.run = stop_work;
    rng->source.bits_per_byte = 8;
    rng->source.want = want;
    string_copy(rng->source.name, device->name, sizeof(rng->source.name));
}

static void add_to_list(struct virtio_rng *rng)
{
    MUTEX_SCOPED(&virtio_rng_list.mutex);
    list_push_back(&virtio_rng_list.list, &rng->node);
}

static void log_ready(const struct virtio_rng *rng)
{
    char text[64];
    rng->device->transport->interrupt_text(rng->ring, text, sizeof(text));
    log_info(rng->device->name, "queue 0: %u entries, %s, %s", rng->ring->size, rng->ring->ops->name, text);
}

static int probe(struct virtio_device *device)
{
    struct virtio_rng *rng = heap_alloc_zeroed(sizeof(*rng));
    uint8_t *buffer = heap_alloc_zeroed(VIRTIO_RNG_REQUEST_BYTES);
    int error = -ENOMEM;
    if (rng && buffer) {
        init(rng, device);
        rng->buffer = buffer;
        error = create_queue(rng);
    }
    if (error) {
        heap_free(buffer);
        heap_free(rng);
        return error;
    }
    device->driver_data = rng;
    virtio_device_ready(device);
    log_ready(rng);
    add_to_list(rng);
    entropy_source_add(&rng->source);
    return 0;
}

static void remove_from_list(struct virtio_rng *rng)
{
    MUTEX_SCOPED(&virtio_rng_list.mutex); /* a reader has it as long as he waits */
    list_remove(&rng->node);
}

static void set_stopped(struct virtio_rng *rng)
{
    SPIN_SCOPED_IRQ(&rng->ring->lock);
    rng->is_stopped = true;
}

/* First nobody wants anything any more, then nothing comes, then nothing is left. */
static void remove_rng(struct virtio_device *device)
{
    struct virtio_rng *rng = device->driver_data;
    remove_from_list(rng);
    entropy_source_remove(&rng->source);
    set_stopped(rng);
    virtio_device_silence(device);
    work_flush();
    stop(rng);
    virtio_device_destroy_queues(device);
    device->driver_data = NULL;
    heap_free(rng->buffer);
    heap_free(rng);
}

static const struct virtio_driver virtio_rng_driver = {
    .name = "entropy device",
    .type = VIRTIO_ID_ENTROPY,
    .probe = probe,
    .remove = remove_rng,
    .config_changed = config_changed,
};
VIRTIO_DRIVER(virtio_rng_driver);
