/* SPDX-License-Identifier: MIT */
/* A port in use.
 *
 * As a console: a log sink, and a receive queue whose bytes are input. What the host does not read in time is
 * dropped and counted: the log waits for nobody. In a panic the device gets what there is at once: through
 * its emergency register, which needs no queue, interrupt or lock, where it has one; else through the queue,
 * if its lock is free. The serial line was registered first, so it has each line before.
 *
 * As a channel: a thread that writes and waits for room, for STALLS_MAX looks without progress at most. */
#include <arch/clock.h>
#include <arch/cpu.h>
#include <kernel/console.h>
#include <kernel/heap.h>
#include <kernel/string.h>

#include "virtio_console_internal.h"

#define CONSOLE_OUTPUT_RING_BYTES (uint32_t) KIB(64)
#define CHANNEL_OUTPUT_RING_BYTES (uint32_t) KIB(256)
#define INPUT_BUFFERS             4u
#define INPUT_BYTES               64u
#define HOLD_NS                   (10 * NSEC_PER_MSEC) /* how long a channel's short writes are collected */
#define LOOK_NS                   (1 * NSEC_PER_SEC)
#define STALLS_MAX                5u /* looks without progress */

/* ---- Console output ----------------------------------------------------------------------------------- */

static void put(struct virtio_console_port *port, const char *text, size_t bytes)
{
    port->output.dropped += bytes - virtio_console_output_put(&port->output, text, bytes);
}

/* A terminal needs "\r\n". */
static void put_lines(struct virtio_console_port *port, const char *text, size_t bytes)
{
    const char *newline;
    while ((newline = memchr(text, '\n', bytes)) != NULL) {
        size_t length = (size_t)(newline - text);
        put(port, text, length);
        put(port, "\r\n", 2);
        text += length + 1;
        bytes -= length + 1;
    }
    put(port, text, bytes);
}

/* 5.3.4: a character a write, at any time, queues or not. */
static void write_emergency(struct virtio_console_port *port, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (text[i] == '\n')
            virtio_config_write(port->console->device, offsetof(struct virtio_console_config, emerg_wr), 4,
                                '\r');
        virtio_config_write(port->console->device, offsetof(struct virtio_console_config, emerg_wr), 4,
                            (uint8_t)text[i]);
    }
}

/* Nobody else runs, interrupts do not come, and who was stopped may have the ring's lock. */
static void write_in_panic(struct virtio_console_port *port, const char *text, size_t bytes)
{
    struct virtqueue *ring = port->output.ring;
    if (port->id == 0 && virtio_has_feature(port->console->device, VIRTIO_CONSOLE_F_EMERG_WRITE)) {
        write_emergency(port, text, bytes);
        return;
    }
    if (spin_try_lock_interrupts_off(&ring->lock)) {
        (void)virtio_console_output_reap(&port->output);
        spin_unlock_interrupts_off(&ring->lock);
    }
    put_lines(port, text, bytes);
    virtio_console_output_push(&port->output, true);
}

static void sink_write(struct log_sink *sink, const char *text, size_t bytes)
{
    struct virtio_console_port *port = container_of(sink, struct virtio_console_port, sink);
    if (!read_once(port->is_there) || virtio_console_is_stopped(port->console))
        return;
    if (log_is_in_panic()) {
        write_in_panic(port, text, bytes);
        return;
    }
    put_lines(port, text, bytes);
    virtio_console_output_push(&port->output, false);
}

bool virtio_console_output_interrupt(void *context)
{
    struct virtqueue *ring = context;
    struct virtio_console_port *port = ring->config.context;
    if (virtio_console_is_stopped(port->console) || !port->output.bytes)
        return true;
    spin_lock_interrupts_off(&ring->lock);
    /* Without a vector of its own it is called for its neighbours too. */
    bool is_any = virtio_console_output_reap(&port->output);
    port->output.interrupts += is_any;
    spin_unlock_interrupts_off(&ring->lock);
    if (is_any) {
        virtio_console_output_push(&port->output, false);
        wait_wake_all(&port->room);
    }
    return true;
}

/* ---- Console input ------------------------------------------------------------------------------------- */

/* Ring locked. */
static void give_buffer(struct virtio_console_port *port, uint8_t *buffer)
{
    struct virtqueue_buffer *to = virtqueue_buffers(port->input);
    to->address = dma_address(buffer);
    to->bytes = INPUT_BYTES;
    int error = virtqueue_add(port->input, 0, 1, INPUT_BYTES, buffer);
    assert(error == 0); /* there are as many descriptors as buffers */
}

/* Copies one answer out and gives its buffer back; false: there is none. */
static bool take_input(struct virtio_console_port *port, uint8_t *data, uint32_t *bytes, bool *must_notify)
{
    SPIN_SCOPED_IRQ(&port->input->lock);
    do {
        struct virtqueue_used used = virtqueue_get(port->input);
        if (used.token) {
            assert(used.bytes <= INPUT_BYTES);
            *bytes = used.bytes;
            memcpy(data, used.token, used.bytes);
            give_buffer(port, used.token);
            *must_notify = virtqueue_kick_prepare(port->input);
            return true;
        }
    } while (virtqueue_callbacks_enable(port->input));
    return false;
}

bool virtio_console_input_interrupt(void *context)
{
    struct virtqueue *ring = context;
    struct virtio_console_port *port = ring->config.context;
    uint8_t data[INPUT_BYTES];
    uint32_t bytes;
    bool must_notify;
    if (!port->input_buffers)
        return true;
    while (!virtio_console_is_stopped(port->console) && take_input(port, data, &bytes, &must_notify)) {
        if (must_notify)
            virtqueue_notify(ring);
        for (uint32_t i = 0; i < bytes; i++)
            console_input(data[i]);
    }
    return true;
}

static int start_input(struct virtio_console_port *port)
{
    uint8_t *buffers = heap_alloc_zeroed((size_t)INPUT_BUFFERS * INPUT_BYTES);
    if (!buffers)
        return -ENOMEM;
    uint64_t flags = spin_lock_irq(&port->input->lock);
    port->input_buffers = buffers;
    for (uint32_t i = 0; i < MIN(INPUT_BUFFERS, (uint32_t)port->input->size); i++)
        give_buffer(port, buffers + (size_t)i * INPUT_BYTES);
    bool must_notify = virtqueue_kick_prepare(port->input);
    spin_unlock_irq(&port->input->lock, flags);
    if (must_notify)
        virtqueue_notify(port->input);
    return 0;
}

int virtio_console_port_start(struct virtio_console_port *port)
{
    int error = virtio_console_output_init(&port->output, CONSOLE_OUTPUT_RING_BYTES);
    if (error == 0 && !port->input_buffers)
        error = start_input(port);
    if (error)
        return error;
    write_once(port->is_console, true);
    if (!port->is_sink) {
        port->is_sink = true;
        port->sink.write = sink_write;
        log_sink_add(&port->sink);
    }
    return 0;
}

/* ---- A channel ----------------------------------------------------------------------------------------- */

static void push(struct virtio_console_port *port)
{
    uint64_t flags = interrupts_save();
    virtio_console_output_push(&port->output, false);
    interrupts_restore(flags);
}

/* An interrupt or a doorbell may have been lost (hazard 48). */
static void look(struct virtio_console_port *port)
{
    uint64_t flags = spin_lock_irq(&port->output.ring->lock);
    (void)virtio_console_output_reap(&port->output);
    spin_unlock_irq(&port->output.ring->lock, flags);
    virtqueue_notify(port->output.ring);
    push(port);
}

static int state_of(const struct virtio_console_port *port)
{
    if (!read_once(port->is_there) || virtio_console_is_stopped(port->console))
        return -ENODEV;
    return read_once(port->is_open) ? 0 : -EPIPE;
}

static uint32_t tail_of(const struct virtio_console_port *port)
{
    return __atomic_load_n(&port->output.tail, __ATOMIC_ACQUIRE);
}

/* Until the host has read something since `tail`, which was taken before the look that found nothing to do
 * (R5): 0, or why it will not. */
static int wait_for_progress(struct virtio_console_port *port, uint32_t tail)
{
    for (uint32_t stalls = 0; stalls < STALLS_MAX; stalls++) {
        if (wait_event_until(&port->room, tail_of(port) != tail || state_of(port) != 0,
                             clock_ns() + LOOK_NS) == 0)
            return state_of(port);
        look(port);
    }
    return -ETIMEDOUT;
}

/* An earlier command may have left something with the device, which has had time to give it back: QEMU loses
 * a piece when its host leaves in the middle of it. */
static void settle(struct virtio_console_port *port)
{
    virtio_console_output_discard(&port->output);
    if (!virtio_console_output_is_idle(&port->output))
        look(port);
    (void)wait_event_until(&port->room, virtio_console_output_is_idle(&port->output), clock_ns() + LOOK_NS);
    virtio_console_output_restart(&port->output);
}

int virtio_console_port_open(struct virtio_console_port *port)
{
    assert(mutex_is_held(&port->writer) && !port->is_console);
    int error = state_of(port);
    if (error) {
        console_printf("vport: %s\n", error == -EPIPE ? "the host does not listen" : "the port is gone");
        return error;
    }
    error = virtio_console_output_init(&port->output, CHANNEL_OUTPUT_RING_BYTES);
    if (error)
        return error;
    settle(port);
    port->pushed_ns = clock_ns();
    return virtio_console_control_send(port->console, port->id, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

/* Lines of a fast talker go to the host in large pieces; those of a slow one, each with the next. */
static bool is_worth_pushing(struct virtio_console_port *port)
{
    uint64_t now_ns = clock_ns();
    if (!virtio_console_output_is_large(&port->output) && now_ns - port->pushed_ns < HOLD_NS)
        return false;
    port->pushed_ns = now_ns;
    return true;
}

int virtio_console_port_write(struct virtio_console_port *port, const char *text, size_t bytes)
{
    int error = state_of(port);
    while (error == 0) {
        uint32_t tail = tail_of(port);
        uint32_t taken = virtio_console_output_put(&port->output, text, bytes);
        text += taken;
        bytes -= taken;
        if (bytes > 0 || is_worth_pushing(port))
            push(port);
        if (bytes == 0)
            return 0;
        error = wait_for_progress(port, tail);
    }
    return error;
}

int virtio_console_port_flush(struct virtio_console_port *port)
{
    int error = 0;
    push(port);
    while (error == 0) {
        uint32_t tail = tail_of(port);
        if (virtio_console_output_is_idle(&port->output))
            return 0;
        error = wait_for_progress(port, tail);
    }
    return error;
}

void virtio_console_port_close(struct virtio_console_port *port)
{
    int error = virtio_console_control_send(port->console, port->id, VIRTIO_CONSOLE_PORT_OPEN, 0);
    if (error)
        log_warning(port->console->device->name, "port %u: the host cannot be told that it is closed",
                    port->id);
}
