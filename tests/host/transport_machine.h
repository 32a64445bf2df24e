/* SPDX-License-Identifier: MIT */
/* What tests of a transport share: a driver made up here, with one queue and a capacity in the device's
 * configuration; a history of register accesses; the log, counted; interrupts that are called by hand. The
 * registers are the test's. Included by one file a program. */
#ifndef TESTS_HOST_TRANSPORT_MACHINE_H
#define TESTS_HOST_TRANSPORT_MACHINE_H

#include <drivers/virtio/virtio.h>
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/cmdline.h>
#include <kernel/heap.h>

#include <sanitizer/lsan_interface.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "fake_device.h"

/* ---- History ------------------------------------------------------------------------------------------ */

static char history[4096];

static inline void note(const char *format, ...) printf_like(1, 2);
static inline void note(const char *format, ...)
{
    size_t used = strlen(history);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(history + used, sizeof(history) - used, format, arguments);
    va_end(arguments);
}

/* What was done since the last call, in order, is `expected`. */
static inline void expect_history(const char *expected)
{
    if (strcmp(history, expected) != 0)
        fprintf(stderr, "was:      %s\nexpected: %s\n", history, expected);
    check(strcmp(history, expected) == 0);
    history[0] = '\0';
}

/* ---- The log ------------------------------------------------------------------------------------------ */

static FILE *real_stderr;
static char *log_text;
static size_t log_bytes;

static inline void log_capture(void)
{
    real_stderr = stderr;
    stderr = open_memstream(&log_text, &log_bytes);
}

/* Ends the capture; how many lines contain `word`, or all with "". */
static inline unsigned log_lines(const char *word)
{
    unsigned count = 0;
    fclose(stderr);
    stderr = real_stderr;
    for (char *line = strtok(log_text, "\n"); line; line = strtok(NULL, "\n"))
        count += strstr(line, word) != NULL;
    free(log_text);
    return count;
}

/* ---- The driver --------------------------------------------------------------------------------------- */

static struct {
    struct virtio_device *device; /* that came as far as the driver */
    uint64_t capacity;            /* as last read */
    unsigned config_reads, config_changes, interrupts;
    uint64_t taken;        /* tokens, added up */
    void (*during)(void);  /* once, when the queue has just been drained */
    uint64_t *buffers;     /* one an id: where the device writes */
    struct fake_device fd; /* the test attaches it when the queue is enabled */
} t;

static inline void read_capacity(struct virtio_device *device, void *copy)
{
    t.config_reads++;
    *(uint64_t *)copy = virtio_config_read64(device, 0);
}

static inline void read_config(struct virtio_device *device)
{
    virtio_config_snapshot(device, read_capacity, &t.capacity, sizeof(t.capacity));
}

static inline void take_all(struct virtqueue *queue)
{
    struct virtqueue_used used;
    virtqueue_callbacks_disable(queue);
    while ((used = virtqueue_get(queue)).token != NULL) {
        check_equal(t.buffers[used.id], (uintptr_t)used.token);
        t.taken += (uintptr_t)used.token;
    }
}

static inline bool queue_interrupt(void *context)
{
    struct virtqueue *queue = context;
    void (*during)(void) = t.during;
    t.during = NULL;
    t.interrupts++;
    note("drain ");
    spin_lock(&queue->lock);
    do
        take_all(queue);
    while (!during && virtqueue_callbacks_enable(queue));
    spin_unlock(&queue->lock);
    if (during)
        during(); /* and no last look after it: only another interrupt will do */
    return true;
}

static inline void config_changed(struct virtio_device *device)
{
    (void)device;
    note("changed ");
    t.config_changes++;
}

static inline int test_probe(struct virtio_device *device)
{
    uint32_t size = virtio_queue_size(device, 0);
    struct virtqueue_config config = {.size = (uint16_t)size, .chain_max = 1, .interrupt = queue_interrupt};
    t.device = device;
    if (size == 0)
        return -EOPNOTSUPP;
    read_config(device);
    int error = virtio_device_create_queues(device, &config, 1);
    if (error == 0)
        virtio_device_ready(device);
    return error;
}

static const struct virtio_driver test_driver = {
    .name = "test",
    .type = VIRTIO_ID_BLOCK,
    .probe = test_probe,
    .remove = virtio_device_destroy_queues,
    .config_changed = config_changed,
};
VIRTIO_DRIVER(test_driver);

/* Forgets the last device and its history. */
static inline void begin(void)
{
    uint64_t *buffers = t.buffers ? t.buffers : heap_alloc(VIRTQUEUE_SIZE_MAX * sizeof(*buffers));
    memset(&t, 0, sizeof(t));
    t.buffers = buffers;
    history[0] = '\0';
}

/* Addresses that a legacy device's 32-bit page numbers reach: below them the heap, wherever it is. */
static inline void lower_memory(void)
{
    void *block = heap_alloc(2 * 4096);
    host_direct_base = (uintptr_t)block - (1ull << 42);
    heap_free(block);
}

/* A chain of one buffer to be written, whose token is also what the device writes there. */
static inline void send(uint64_t token)
{
    struct virtqueue *queue = t.device->queues[0];
    spin_lock(&queue->lock);
    uint64_t *buffer = &t.buffers[virtqueue_next_id(queue)];
    *buffer = 0;
    virtqueue_buffers(queue)->address = dma_address(buffer);
    virtqueue_buffers(queue)->bytes = sizeof(*buffer);
    check_equal(virtqueue_add(queue, 0, 1, sizeof(*buffer), (void *)(uintptr_t)token), 0);
    bool must_notify = virtqueue_kick_prepare(queue);
    spin_unlock(&queue->lock);
    if (must_notify)
        virtqueue_notify(queue);
}

/* The device serves all that is there, with the tokens from `token` on; how many. */
static inline unsigned serve(uint64_t token)
{
    static struct fd_chain chain;
    unsigned count = 0;
    for (; fd_pop(&t.fd, &chain); count++) {
        uint64_t value = token + count;
        check_equal(chain.buffers[0].bytes, sizeof(value));
        memcpy(chain.buffers[0].data, &value, sizeof(value));
        fd_push(&t.fd, chain.id, sizeof(value));
    }
    fd_sleep(&t.fd);
    return count;
}

/* ---- The kernel around it ------------------------------------------------------------------------------ */

struct irq {
    irq_handler *handler;
    void *context;
    bool is_used;
};
static struct irq irqs[8];
static int irq_error;
static unsigned irq_room; /* so many can be had before */

static inline int irq_new(irq_handler *handler, void *context, struct irq **irq)
{
    if (irq_error && irq_room == 0)
        return irq_error;
    irq_room -= irq_room > 0;
    for (size_t i = 0; i < ARRAY_SIZE(irqs); i++) {
        if (!irqs[i].is_used) {
            irqs[i] = (struct irq){handler, context, true};
            *irq = &irqs[i];
            return 0;
        }
    }
    return -ENOSPC;
}

static inline bool irq_call(const struct irq *irq)
{
    check(irq && irq->is_used);
    return irq->handler(irq->context);
}

void irq_free(struct irq *irq)
{
    check(irq->is_used);
    irq->is_used = false;
}
static inline unsigned irqs_in_use(void)
{
    unsigned count = 0;
    for (size_t i = 0; i < ARRAY_SIZE(irqs); i++)
        count += irqs[i].is_used;
    return count;
}
uint8_t irq_vector(const struct irq *irq)
{
    return (uint8_t)(48 + (irq - irqs));
}
uint32_t irq_cpu(const struct irq *irq)
{
    (void)irq;
    return 0;
}

bool cmdline_u64(const char *key, uint64_t minimum, uint64_t maximum, uint64_t *value)
{
    (void)key, (void)minimum, (void)maximum, (void)value;
    return false;
}
bool cmdline_bool(const char *key, bool otherwise)
{
    (void)key;
    return otherwise;
}

#endif
