/* SPDX-License-Identifier: MIT */
/* The virtio console (virtio 1.2, 5.3): found by the core. Without MULTIPORT it is one console; with it,
 * ports come as its control messages say. A device that lies about a ring, or wants a reset, is stopped for
 * good: what was on its way to a screen is not worth a replay, and the serial line is still there.
 *
 * Here: configuration, queues, screen size, the end. Thread context, but for config_changed and broken. */
#include <kernel/heap.h>

#include "virtio_console_internal.h"

#define CONFIG(field) offsetof(struct virtio_console_config, field)

static const struct virtio_feature features[] = {
    {VIRTIO_CONSOLE_F_SIZE, true, "SIZE"},
    {VIRTIO_CONSOLE_F_MULTIPORT, true, "MULTIPORT"},
    {VIRTIO_CONSOLE_F_EMERG_WRITE, true, "EMERG_WRITE"},
};

struct virtio_consoles virtio_consoles = {.mutex = MUTEX_INIT(virtio_consoles.mutex, "virtio_consoles"),
                                          .list = LIST_INIT(virtio_consoles.list)};

/* ---- Configuration ------------------------------------------------------------------------------------ */

struct size {
    uint16_t columns, rows;
};

static void read_size(struct virtio_device *device, void *context)
{
    struct size *size = context;
    size->columns = (uint16_t)virtio_config_read(device, CONFIG(cols), 2);
    size->rows = (uint16_t)virtio_config_read(device, CONFIG(rows), 2);
}

void virtio_console_read_size(struct virtio_console *console)
{
    struct size size;
    if (!virtio_has_feature(console->device, VIRTIO_CONSOLE_F_SIZE))
        return;
    if (!virtio_config_snapshot(console->device, read_size, &size, sizeof(size)))
        return;
    console->ports[0].columns = size.columns;
    console->ports[0].rows = size.rows;
    log_info(console->device->name, "screen of %u x %u characters", size.columns, size.rows);
}

/* ---- Stopping ----------------------------------------------------------------------------------------- */

static void stop(struct virtio_console *console)
{
    if (!__atomic_exchange_n(&console->is_stopped, true, __ATOMIC_ACQ_REL) && !log_is_in_panic())
        work_queue(&console->stop_work);
}

static void empty(struct virtqueue *ring)
{
    SPIN_SCOPED_IRQ(&ring->lock);
    while (virtqueue_detach(ring) != NULL)
        ;                            /* the buffers stay where they are */
    assert(virtqueue_is_idle(ring)); /* R2 */
}

static void stop_work(struct work *work)
{
    struct virtio_console *console = container_of(work, struct virtio_console, stop_work);
    int error = virtio_device_stop(console->device);
    log_error(console->device->name, "stopped for good%s", error ? ", without an answer" : "");
    for (uint32_t i = 0; i < console->device->queue_count; i++)
        empty(console->device->queues[i]);
    for (uint32_t i = 0; i < console->port_count; i++)
        wait_wake_all(&console->ports[i].room);
}

/* Ring locked, any context; its owner is a port or the console. */
static void port_broken(struct virtqueue *ring)
{
    stop(((struct virtio_console_port *)ring->config.context)->console);
}

static void control_broken(struct virtqueue *ring)
{
    stop(ring->config.context);
}

static void config_work(struct work *work)
{
    struct virtio_console *console = container_of(work, struct virtio_console, config_work);
    if (virtio_device_needs_reset(console->device))
        stop(console);
    else
        virtio_console_read_size(console);
}

/* Interrupt context; also before probe has come far. */
static void config_changed(struct virtio_device *device)
{
    struct virtio_console *console = device->driver_data;
    if (console)
        work_queue(&console->config_work);
}

/* ---- Queues ------------------------------------------------------------------------------------------- */

/* 5.3.2 */
static uint32_t receive_queue_of(uint32_t port)
{
    return port == 0 ? VIRTIO_CONSOLE_RECEIVEQ : VIRTIO_CONSOLE_CONTROL_RECEIVEQ + 2 * port;
}

static uint32_t count_ports(struct virtio_console *console)
{
    struct virtio_device *device = console->device;
    if (!console->is_multiport)
        return 1;
    uint32_t ports = virtio_config_read(device, CONFIG(max_nr_ports), 4);
    if (ports > VIRTIO_CONSOLE_PORTS_MAX)
        log_debug(device->name, "%u of %u ports can be used", VIRTIO_CONSOLE_PORTS_MAX, ports);
    return MAX(MIN(ports, VIRTIO_CONSOLE_PORTS_MAX), 1u);
}

static void configure_port(struct virtio_console_port *port, struct virtqueue_config *configs)
{
    uint32_t receive = receive_queue_of(port->id);
    configs[receive].interrupt = virtio_console_input_interrupt;
    configs[receive + 1].interrupt = virtio_console_output_interrupt;
    configs[receive].broken = configs[receive + 1].broken = port_broken;
    configs[receive].context = configs[receive + 1].context = port;
}

static void configure_control(struct virtio_console *console, struct virtqueue_config *configs)
{
    for (uint32_t i = VIRTIO_CONSOLE_CONTROL_RECEIVEQ; i <= VIRTIO_CONSOLE_CONTROL_TRANSMITQ; i++) {
        configs[i].interrupt = virtio_console_control_interrupt;
        configs[i].broken = control_broken;
        configs[i].context = console;
    }
}

static int create_queues(struct virtio_console *console)
{
    struct virtqueue_config configs[VIRTQUEUES_MAX] = {0};
    uint32_t count = console->is_multiport ? 2 + 2 * console->port_count : 2;
    for (uint32_t i = 0; i < count; i++) {
        configs[i].size = (uint16_t)virtio_queue_size(console->device, i);
        configs[i].chain_max = 1;
        if (configs[i].size == 0)
            return -EOPNOTSUPP;
    }
    for (uint32_t i = 0; i < console->port_count; i++)
        configure_port(&console->ports[i], configs);
    if (console->is_multiport)
        configure_control(console, configs);
    return virtio_device_create_queues(console->device, configs, count);
}

static void take_queues(struct virtio_console *console)
{
    struct virtqueue **queues = console->device->queues;
    for (uint32_t i = 0; i < console->port_count; i++) {
        console->ports[i].input = queues[receive_queue_of(i)];
        console->ports[i].output.ring = queues[receive_queue_of(i) + 1];
    }
    if (!console->is_multiport)
        return;
    console->receive = queues[VIRTIO_CONSOLE_CONTROL_RECEIVEQ];
    console->transmit = queues[VIRTIO_CONSOLE_CONTROL_TRANSMITQ];
}

static int allocate_messages(struct virtio_console *console)
{
    if (!console->is_multiport)
        return 0;
    console->messages_in = heap_alloc_zeroed((size_t)console->receive->size * VIRTIO_CONSOLE_CONTROL_BYTES);
    console->message_out = heap_alloc_zeroed(console->transmit->size * sizeof(*console->message_out));
    return console->messages_in && console->message_out ? 0 : -ENOMEM;
}

/* ---- Probing ------------------------------------------------------------------------------------------ */

static void init(struct virtio_console *console, struct virtio_device *device)
{
    console->device = device;
    console->control_work.run = virtio_console_control_work;
    console->config_work.run = config_work;
    console->stop_work.run = stop_work;
    console->is_multiport = virtio_has_feature(device, VIRTIO_CONSOLE_F_MULTIPORT);
    console->port_count = count_ports(console);
    for (uint32_t i = 0; i < VIRTIO_CONSOLE_PORTS_MAX; i++) {
        struct virtio_console_port *port = &console->ports[i];
        port->console = console;
        port->id = i;
        mutex_init(&port->writer, "virtio_port");
        wait_queue_init(&port->room);
    }
}

/* Ready: ports come by themselves, or there is the one. */
static int start_ports(struct virtio_console *console)
{
    if (console->is_multiport) {
        virtio_console_control_start(console);
        return 0;
    }
    console->ports[0].is_there = console->ports[0].is_open = true;
    return virtio_console_port_start(&console->ports[0]);
}

static void add_to_list(struct virtio_console *console)
{
    MUTEX_SCOPED(&virtio_consoles.mutex);
    list_push_back(&virtio_consoles.list, &console->node);
}

static int start(struct virtio_console *console)
{
    int error = create_queues(console);
    if (error)
        return error;
    take_queues(console);
    error = allocate_messages(console);
    if (error) {
        virtio_device_destroy_queues(console->device);
        return error;
    }
    console->device->driver_data = console;
    virtio_device_ready(console->device);
    virtio_console_read_size(console);
    add_to_list(console);
    error = start_ports(console);
    if (error) /* it stays as it is, without a console */
        log_error(console->device->name, "no memory for its console");
    return 0;
}

static int probe(struct virtio_device *device)
{
    struct virtio_console *console = heap_alloc_zeroed(sizeof(*console));
    if (!console)
        return -ENOMEM;
    init(console, device);
    int error = start(console);
    if (error) {
        heap_free(console->messages_in);
        heap_free(console->message_out);
        heap_free(console);
    }
    return error;
}

static const struct virtio_driver virtio_console_driver = {
    .name = "console",
    .type = VIRTIO_ID_CONSOLE,
    .features = features,
    .feature_count = ARRAY_SIZE(features),
    .probe = probe,
    .config_changed = config_changed,
};
VIRTIO_DRIVER(virtio_console_driver);
