/* SPDX-License-Identifier: MIT */
/* The control queues (virtio 1.2, 5.3.6.2): ports come, go, become consoles, get names, are opened and closed
 * by the host. Messages are read by a thread, since a new console needs memory:
 *
 *     interrupt   the control work is queued
 *     work        as long as there is room for an answer: a message is copied out, its buffer goes back, and
 * then it is believed as far as it makes sense
 *
 * At most one answer a message, so a device that does not take answers is not heard any more; nobody waits
 * for it. A message that makes no sense is counted and does nothing; the first one gets a line. */
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/string.h>

#include "virtio_console_internal.h"

struct message {
    struct virtio_console_control head;
    uint32_t bytes; /* behind it */
    uint8_t data[VIRTIO_CONSOLE_CONTROL_BYTES];
};

/* ---- Sending ------------------------------------------------------------------------------------------ */

/* Ring locked: takes back what was sent; true: there is room for one more. */
static bool has_room(struct virtio_console *console)
{
    while (virtqueue_get(console->transmit).token != NULL)
        ;
    return !console->transmit->is_broken && virtqueue_can_add(console->transmit, 1);
}

int virtio_console_control_send(struct virtio_console *console, uint32_t port,
                                enum virtio_console_event event, uint16_t value)
{
    struct virtqueue *ring = console->transmit;
    uint64_t flags = spin_lock_irq(&ring->lock);
    int error = has_room(console) ? 0 : -EBUSY;
    bool must_notify = false;
    if (error == 0) {
        struct virtio_console_control *message = &console->message_out[virtqueue_next_id(ring)];
        struct virtqueue_buffer *buffer = virtqueue_buffers(ring);
        *message = (struct virtio_console_control){.id = port, .event = (uint16_t)event, .value = value};
        buffer->address = dma_address(message);
        buffer->bytes = sizeof(*message);
        error = virtqueue_add(ring, 1, 0, 0, message);
        must_notify = virtqueue_kick_prepare(ring);
    }
    spin_unlock_irq(&ring->lock, flags);
    if (must_notify)
        virtqueue_notify(ring);
    return error;
}

/* There is room: work looked. */
static void answer(struct virtio_console_port *port, enum virtio_console_event event, uint16_t value)
{
    if (virtio_console_control_send(port->console, port->id, event, value) != 0)
        log_warning(port->console->device->name, "port %u: an answer was lost", port->id);
}

/* ---- Events ------------------------------------------------------------------------------------------- */

static void add_port(struct virtio_console_port *port)
{
    port->name[0] = '\0';
    write_once(port->is_console, false);
    write_once(port->is_open, false);
    write_once(port->is_there, true);
    log_info(port->console->device->name, "port %u is there", port->id);
    answer(port, VIRTIO_CONSOLE_PORT_READY, 1);
}

/* What the device still has of it comes back when it looks at the queue: it finds no port and discards. */
static void remove_port(struct virtio_console_port *port)
{
    write_once(port->is_there, false);
    write_once(port->is_open, false);
    virtqueue_notify(port->output.ring);
    wait_wake_all(&port->room);
    log_info(port->console->device->name, "port %u is gone", port->id);
}

static void make_console(struct virtio_console_port *port)
{
    int error = virtio_console_port_start(port);
    if (error)
        log_error(port->console->device->name, "port %u is no console: %s", port->id, error_name(error));
    else
        answer(port, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

/* What the device held back for a host that did not read, it neither gives back when the host goes nor sends
 * when another one comes, unless it is told to look. */
static void open_port(struct virtio_console_port *port, bool is_open)
{
    write_once(port->is_open, is_open);
    virtqueue_notify(port->output.ring);
    wait_wake_all(&port->room);
}

/* Not always terminated; and it goes into lines and JSON. */
static void name_port(struct virtio_console_port *port, const struct message *message)
{
    size_t length = MIN((size_t)message->bytes, sizeof(port->name) - 1);
    for (size_t i = 0; i < length; i++) {
        uint8_t c = message->data[i];
        port->name[i] = c == '\0' || (c > ' ' && c < 0x7f && c != '"' && c != '\\') ? (char)c : '?';
    }
    port->name[length] = '\0';
    log_info(port->console->device->name, "port %u is '%s'", port->id, port->name);
}

static bool resize(struct virtio_console_port *port, const struct message *message)
{
    if (message->bytes < sizeof(struct virtio_console_resize))
        return false;
    port->columns = load_le16(message->data + offsetof(struct virtio_console_resize, cols));
    port->rows = load_le16(message->data + offsetof(struct virtio_console_resize, rows));
    return true;
}

/* False: it makes no sense. */
static bool handle_for(struct virtio_console_port *port, const struct message *message)
{
    uint16_t event = message->head.event;
    if (event == VIRTIO_CONSOLE_DEVICE_ADD && !port->is_there) {
        add_port(port);
        return true;
    }
    if (!port->is_there)
        return false;
    switch (event) {
    case VIRTIO_CONSOLE_DEVICE_REMOVE:
        remove_port(port);
        return true;
    case VIRTIO_CONSOLE_CONSOLE_PORT:
        make_console(port);
        return true;
    case VIRTIO_CONSOLE_RESIZE:
        return resize(port, message);
    case VIRTIO_CONSOLE_PORT_OPEN:
        open_port(port, message->head.value != 0);
        return true;
    case VIRTIO_CONSOLE_PORT_NAME:
        name_port(port, message);
        return true;
    default:
        return false;
    }
}

/* A port that there are no queues for here is refused, as the specification wants it. */
static bool refuse(struct virtio_console *console, const struct message *message)
{
    if (message->head.event != VIRTIO_CONSOLE_DEVICE_ADD)
        return false;
    log_warning(console->device->name, "port %u is not used: there are queues for %u", message->head.id,
                console->port_count);
    return virtio_console_control_send(console, message->head.id, VIRTIO_CONSOLE_PORT_READY, 0) == 0;
}

static void handle(struct virtio_console *console, const struct message *message)
{
    bool has_port = message->head.id < console->port_count;
    if (has_port ? handle_for(&console->ports[message->head.id], message) : refuse(console, message))
        return;
    if (console->bad_messages++ == 0)
        log_warning(console->device->name,
                    "a control message that makes no sense: port %u, event %u, value %u", message->head.id,
                    message->head.event, message->head.value);
}

/* ---- Receiving ---------------------------------------------------------------------------------------- */

/* Ring locked. */
static void give_buffer(struct virtio_console *console, uint8_t *buffer)
{
    struct virtqueue_buffer *to = virtqueue_buffers(console->receive);
    to->address = dma_address(buffer);
    to->bytes = VIRTIO_CONSOLE_CONTROL_BYTES;
    int error = virtqueue_add(console->receive, 0, 1, VIRTIO_CONSOLE_CONTROL_BYTES, buffer);
    assert(error == 0); /* there are as many descriptors as buffers */
}

/* Too short is no message: an event that is none. */
static void copy_out(struct message *message, const uint8_t *from, uint32_t bytes)
{
    assert(bytes <= VIRTIO_CONSOLE_CONTROL_BYTES);
    memset(message, 0xff, sizeof(*message));
    message->bytes = 0;
    if (bytes < sizeof(message->head))
        return;
    memcpy(&message->head, from, sizeof(message->head));
    message->bytes = bytes - (uint32_t)sizeof(message->head);
    memcpy(message->data, from + sizeof(message->head), message->bytes);
}

/* False: there is none; an interrupt comes with the next. */
static bool take(struct virtio_console *console, struct message *message)
{
    struct virtqueue *ring = console->receive;
    struct virtqueue_used used;
    bool must_notify = false;
    uint64_t flags = spin_lock_irq(&ring->lock);
    do
        used = virtqueue_get(ring);
    while (!used.token && virtqueue_callbacks_enable(ring));
    if (used.token) {
        copy_out(message, used.token, used.bytes);
        give_buffer(console, used.token);
        must_notify = virtqueue_kick_prepare(ring);
    }
    spin_unlock_irq(&ring->lock, flags);
    if (must_notify)
        virtqueue_notify(ring);
    return used.token != NULL;
}

/* Else it asks to be told when there is: the transmit queue's interrupt brings the work back (R5). */
static bool may_answer(struct virtio_console *console)
{
    SPIN_SCOPED_IRQ(&console->transmit->lock);
    while (!has_room(console)) {
        if (!virtqueue_callbacks_enable(console->transmit))
            return false;
    }
    virtqueue_callbacks_disable(console->transmit);
    return true;
}

void virtio_console_control_work(struct work *work)
{
    struct virtio_console *console = container_of(work, struct virtio_console, control_work);
    struct message message;
    while (!virtio_console_is_stopped(console) && may_answer(console) && take(console, &message))
        handle(console, &message);
}

bool virtio_console_control_interrupt(void *context)
{
    struct virtqueue *ring = context;
    struct virtio_console *console = ring->config.context;
    if (virtqueue_has_more(ring)) /* it may have been another queue's, on a shared vector */
        work_queue(&console->control_work);
    return true;
}

void virtio_console_control_start(struct virtio_console *console)
{
    struct virtqueue *ring = console->receive;
    uint64_t flags = spin_lock_irq(&ring->lock);
    for (uint32_t i = 0; i < ring->size; i++)
        give_buffer(console, console->messages_in + (size_t)i * VIRTIO_CONSOLE_CONTROL_BYTES);
    bool must_notify = virtqueue_kick_prepare(ring);
    spin_unlock_irq(&ring->lock, flags);
    if (must_notify)
        virtqueue_notify(ring);
    int error = virtio_console_control_send(console, 0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    assert(error == 0); /* the first message */
}
