/* SPDX-License-Identifier: MIT */
/* The virtio console's driver against a device that is slow, forgets, or lies; over any ring format. The
 * kernel's log and console input are the test's. */
#include <host.h>
#include <kernel/console.h>
#include <kernel/log.h>

#include "virtio_peer.h"

#include "../../src/drivers/virtio/virtio_console_internal.h"

#define ALL_FEATURES                                                                \
    (RING_FEATURES | BIT(VIRTIO_CONSOLE_F_SIZE) | BIT(VIRTIO_CONSOLE_F_MULTIPORT) | \
     BIT(VIRTIO_CONSOLE_F_EMERG_WRITE))
#define CONTROL_IN  VIRTIO_CONSOLE_CONTROL_RECEIVEQ
#define CONTROL_OUT VIRTIO_CONSOLE_CONTROL_TRANSMITQ

/* ---- The kernel around it ----------------------------------------------------------------------------- */

static struct log_sink *sink;
static unsigned sinks;
static bool is_in_panic;
static char typed[256];
static size_t typed_bytes;
static char emergency[256];
static size_t emergency_bytes;

void log_sink_add(struct log_sink *new_sink)
{
    sink = new_sink;
    sinks++;
}

bool log_is_in_panic(void)
{
    return is_in_panic;
}

void console_printf(const char *format, ...)
{
    (void)format;
}

void console_input(uint8_t byte)
{
    for (uint32_t i = 0; i < peer.device.queue_count; i++)
        check(!spin_is_locked(&peer.device.queues[i]->lock)); /* it wakes threads */
    check(typed_bytes < sizeof(typed));
    typed[typed_bytes++] = (char)byte;
}

static void config_write(struct virtio_device *device, uint32_t offset, uint32_t width, uint32_t value)
{
    (void)device;
    check(offset == 8 && width == 4 && emergency_bytes < sizeof(emergency));
    emergency[emergency_bytes++] = (char)value;
}

/* ---- The device --------------------------------------------------------------------------------------- */

static struct virtio_console *console;

static void start(uint32_t ports, uint32_t queue_size, uint64_t features)
{
    peer_prepare(VIRTIO_ID_CONSOLE, VIRTQUEUES_MAX, queue_size, features);
    peer_transport.config_write = config_write;
    list_init(&virtio_consoles.list);
    store_le16(peer.config, 80);
    store_le16(peer.config + 2, 25);
    store_le32(peer.config + 4, ports);
    sink = NULL;
    sinks = 0;
    is_in_panic = false;
    typed_bytes = emergency_bytes = 0;
    check_equal(virtio_device_add(&peer.device), 0);
    run_works();
    console = peer.device.driver_data;
}

/* R2; and the memory comes back. */
static void stop(void)
{
    if (!console->is_stopped)
        check_equal(virtio_device_stop(&peer.device), 0);
    for (uint32_t i = 0; i < peer.device.queue_count; i++) {
        SPIN_SCOPED(&peer.device.queues[i]->lock);
        while (virtqueue_detach(peer.device.queues[i]) != NULL)
            ;
        check(virtqueue_is_consistent(peer.device.queues[i]));
    }
    virtio_device_destroy_queues(&peer.device);
    for (uint32_t i = 0; i < console->port_count; i++) {
        free(console->ports[i].output.bytes);
        free(console->ports[i].output.pieces);
        free(console->ports[i].input_buffers);
    }
    free(console->messages_in);
    free(console->message_out);
    free(console);
}

static uint32_t transmit_of(uint32_t port)
{
    return port == 0 ? 1 : 3 + 2 * port;
}

/* The device gives a buffer of the queue back with `bytes`, and claims a length. */
static void give_claiming(uint32_t queue, const void *bytes, size_t count, uint32_t claimed)
{
    struct fd_chain chain;
    bool is_there = peer_take(queue, &chain);
    check(is_there);
    if (!is_there)
        return;
    check(chain.count == 1 && chain.buffers[0].is_writable && chain.buffers[0].bytes >= count);
    memcpy(chain.buffers[0].data, bytes, count);
    fd_push(&peer.fds[queue], chain.id, claimed);
    peer_interrupt(queue);
}

static void give(uint32_t queue, const void *bytes, size_t count)
{
    give_claiming(queue, bytes, count, (uint32_t)count);
}

static void say(uint32_t port, uint16_t event, uint16_t value)
{
    struct virtio_console_control message = {.id = port, .event = event, .value = value};
    give(CONTROL_IN, &message, sizeof(message));
    run_works();
}

static void say_name(uint32_t port, const char *name, size_t bytes)
{
    uint8_t message[VIRTIO_CONSOLE_CONTROL_BYTES] = {0};
    struct virtio_console_control head = {.id = port, .event = VIRTIO_CONSOLE_PORT_NAME};
    memcpy(message, &head, sizeof(head));
    memcpy(message + sizeof(head), name, bytes);
    give(CONTROL_IN, message, sizeof(head) + bytes);
    run_works();
}

/* What the driver says next; it is given back. */
static void expect_said(uint32_t port, uint16_t event, uint16_t value)
{
    struct fd_chain chain;
    struct virtio_console_control message;
    bool is_there = peer_take(CONTROL_OUT, &chain);
    check(is_there);
    if (!is_there)
        return;
    check(chain.count == 1 && !chain.buffers[0].is_writable && chain.buffers[0].bytes == sizeof(message));
    memcpy(&message, chain.buffers[0].data, sizeof(message));
    check(message.id == port && message.event == event && message.value == value);
    fd_push(&peer.fds[CONTROL_OUT], chain.id, 0);
    peer_interrupt(CONTROL_OUT);
    run_works();
}

static void expect_silence(void)
{
    struct fd_chain chain;
    check(!peer_take(CONTROL_OUT, &chain));
}

/* A console at port 0, and channels behind it, that the host listens to. */
static void start_ports(uint32_t ports, uint32_t queue_size)
{
    start(ports, queue_size, ALL_FEATURES);
    expect_said(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    for (uint32_t i = 0; i < ports; i++) {
        say(i, VIRTIO_CONSOLE_DEVICE_ADD, 1);
        expect_said(i, VIRTIO_CONSOLE_PORT_READY, 1);
        say(i, VIRTIO_CONSOLE_PORT_OPEN, 1);
    }
    say(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    expect_said(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

/* Output that the device has taken and not given back, and what it has given back. */
static struct fd_chain held[64];
static void *seen[64]; /* what was there when it was taken */
static uint32_t held_count;
static char *got;
static size_t got_bytes;

static bool take_output(uint32_t port)
{
    if (!peer_take(transmit_of(port), &held[held_count]))
        return false;
    const struct fd_buffer *buffer = &held[held_count].buffers[0];
    check(held[held_count].count == 1 && !buffer->is_writable);
    seen[held_count] = memcpy(malloc(buffer->bytes), buffer->data, buffer->bytes);
    held_count++;
    return true;
}

/* Reads the `index`th of what it holds and gives it back. */
static void read_output(uint32_t port, uint32_t index)
{
    struct fd_buffer *buffer = &held[index].buffers[0];
    check(memcmp(buffer->data, seen[index], buffer->bytes) == 0); /* nobody wrote over it */
    free(seen[index]);
    got = realloc(got, got_bytes + buffer->bytes + 1);
    memcpy(got + got_bytes, buffer->data, buffer->bytes);
    got_bytes += buffer->bytes;
    got[got_bytes] = '\0';
    fd_push(&peer.fds[transmit_of(port)], held[index].id, 0);
    held_count--;
    memmove(&held[index], &held[index + 1], (held_count - index) * sizeof(held[0]));
    memmove(&seen[index], &seen[index + 1], (held_count - index) * sizeof(seen[0]));
}

static void read_all(uint32_t port)
{
    do {
        while (held_count > 0)
            read_output(port, 0);
        peer_interrupt(transmit_of(port));
    } while (take_output(port));
}

static void forget_output(void)
{
    while (held_count > 0)
        free(seen[--held_count]);
    got_bytes = 0;
}

/* As the log does it: its lock would be held. */
static void print(const char *text)
{
    sink->write(sink, text, strlen(text));
}

/* ---- Tests -------------------------------------------------------------------------------------------- */

static void test_single_port(void)
{
    start(31, 16, RING_FEATURES);
    check(peer.device.queue_count == 2 && sinks == 1 && console->ports[0].is_console);
    check_equal(console->ports[0].columns, 0); /* without SIZE */
    print("one\ntwo");
    read_all(0);
    check(strcmp(got, "one\r\ntwo") == 0);
    give(0, "ls\r", 3);
    check(typed_bytes == 3 && memcmp(typed, "ls\r", 3) == 0);
    forget_output();
    stop();
}

static void test_ports(void)
{
    start(3, 16, ALL_FEATURES);
    check_equal(peer.device.queue_count, 8);
    check(console->ports[0].columns == 80 && console->ports[0].rows == 25);
    expect_said(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    check(sinks == 0 && !console->ports[0].is_there);
    say(1, VIRTIO_CONSOLE_DEVICE_ADD, 1);
    expect_said(1, VIRTIO_CONSOLE_PORT_READY, 1);
    say_name(1, "org.bulk\0", 9);
    check(strcmp(console->ports[1].name, "org.bulk") == 0 && !console->ports[1].is_open);
    say_name(1, "no end \"\\\n", 10);
    check(strcmp(console->ports[1].name, "no?end?\?\?\?") == 0);
    say(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    check(console->ports[1].is_open && sinks == 0);
    say(0, VIRTIO_CONSOLE_DEVICE_ADD, 1);
    expect_said(0, VIRTIO_CONSOLE_PORT_READY, 1);
    say(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    expect_said(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
    check_equal(sinks, 1);
    store_le16(peer.config, 132);
    peer.device.driver->config_changed(&peer.device);
    run_works();
    check_equal(console->ports[0].columns, 132);

    /* Gone, and back as something else. */
    say(0, VIRTIO_CONSOLE_DEVICE_REMOVE, 1);
    print("nobody sees this\n");
    check(!take_output(0) && !console->ports[0].is_there);
    say(0, VIRTIO_CONSOLE_DEVICE_ADD, 1);
    expect_said(0, VIRTIO_CONSOLE_PORT_READY, 1);
    say(0, VIRTIO_CONSOLE_CONSOLE_PORT, 1);
    expect_said(0, VIRTIO_CONSOLE_PORT_OPEN, 1);
    check_equal(sinks, 1); /* one sink a port, for good */
    print("here again\n");
    read_all(0);
    check(strcmp(got, "here again\r\n") == 0);
    expect_silence();
    forget_output();
    stop();
}

/* What makes no sense does nothing: nothing is read beyond its end, nobody is answered, and it goes on. */
static void test_nonsense(void)
{
    static const struct virtio_console_control bad[] = {{1, VIRTIO_CONSOLE_PORT_OPEN, 1}, /* not there */
                                                        {1, VIRTIO_CONSOLE_CONSOLE_PORT, 1},
                                                        {1, VIRTIO_CONSOLE_DEVICE_REMOVE, 1},
                                                        {0, VIRTIO_CONSOLE_DEVICE_ADD, 1}, /* there already */
                                                        {0, VIRTIO_CONSOLE_DEVICE_READY, 1},
                                                        {0, VIRTIO_CONSOLE_RESIZE, 1}, /* cut off */
                                                        {0, 77, 1},
                                                        {7, VIRTIO_CONSOLE_PORT_NAME, 1},
                                                        {0xffffffff, VIRTIO_CONSOLE_PORT_OPEN, 1}};
    host_log_level = -1;
    start(3, 16, ALL_FEATURES);
    expect_said(0, VIRTIO_CONSOLE_DEVICE_READY, 1);
    say(0, VIRTIO_CONSOLE_DEVICE_ADD, 1);
    expect_said(0, VIRTIO_CONSOLE_PORT_READY, 1);
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        say(bad[i].id, bad[i].event, bad[i].value);
    check_equal(console->bad_messages, ARRAY_SIZE(bad));
    for (uint32_t bytes = 0; bytes < sizeof(struct virtio_console_control); bytes++) {
        give(CONTROL_IN, &(struct virtio_console_control){1, VIRTIO_CONSOLE_DEVICE_ADD, 1}, bytes);
        run_works();
    }
    check_equal(console->bad_messages, ARRAY_SIZE(bad) + sizeof(struct virtio_console_control));
    expect_silence();
    check(!console->ports[1].is_there && !console->is_stopped);
    /* Ports that there are no queues for are refused. */
    say(3, VIRTIO_CONSOLE_DEVICE_ADD, 1);
    expect_said(3, VIRTIO_CONSOLE_PORT_READY, 0);
    say(0xffffffff, VIRTIO_CONSOLE_DEVICE_ADD, 1);
    expect_said(0xffffffff, VIRTIO_CONSOLE_PORT_READY, 0);
    char name[VIRTIO_CONSOLE_CONTROL_BYTES - sizeof(struct virtio_console_control)];
    memset(name, 'x', sizeof(name));
    say_name(0, name, sizeof(name));
    check_equal(strlen(console->ports[0].name), VIRTIO_CONSOLE_NAME_BYTES - 1);
    stop();
    host_log_level = LOG_WARNING;
}

/* A device that takes no answers is not heard any more, until it does. */
static void test_answers_not_taken(void)
{
    host_log_level = -1;
    start(7, 4, ALL_FEATURES);
    struct fd_chain chain, first;
    check(peer_take(CONTROL_OUT, &first));
    for (uint32_t i = 0; i < 4; i++)
        say(i, VIRTIO_CONSOLE_DEVICE_ADD, 1);
    check(console->ports[2].is_there &&
          !console->ports[3].is_there); /* four descriptors: READY and three answers */
    check(peer_take(CONTROL_OUT, &chain));
    fd_push(&peer.fds[CONTROL_OUT], first.id, 0);
    peer_interrupt(CONTROL_OUT);
    run_works();
    check(console->ports[3].is_there);
    stop();
    host_log_level = LOG_WARNING;
}

static void test_input(void)
{
    static const char line[] = "0123456789012345678901234567890123456789012345678901234567890123";
    start_ports(1, 16);
    for (int round = 0; round < 3; round++) {
        typed_bytes = 0;
        for (size_t bytes = 0; bytes <= 4; bytes++)
            give(0, line, bytes);
        check(typed_bytes == 10 && memcmp(typed, "0010120123", 10) == 0);
    }
    typed_bytes = 0;
    give(0, line, 64);
    check(typed_bytes == 64 && memcmp(typed, line, 64) == 0);
    stop();
}

/* The first line goes at once; what comes while the device is busy goes together, by the next completion. */
static void test_lines_are_collected(void)
{
    start_ports(1, 16);
    forget_output();
    uint32_t before = peer.notifies;
    print("first\n");
    check(take_output(0) && held[0].buffers[0].bytes == 7);
    for (int i = 0; i < 100; i++)
        print("more\n");
    check(!take_output(0));
    check(peer.notifies <= before + 1);
    read_output(0, 0);
    peer_interrupt(0 + 1);
    check(take_output(0) && held[0].buffers[0].bytes == 600);
    check(peer.notifies <= before + 2);
    read_all(0);
    check_equal(got_bytes, 607);
    forget_output();
    stop();
}

/* More than it has room for: dropped and counted, whole and in order before that, and it goes on afterwards.
 */
static void test_device_that_keeps_all(void)
{
    static char line[1000];
    memset(line, 'a', sizeof(line) - 1);
    start_ports(1, 16);
    struct virtio_console_output *output = &console->ports[0].output;
    forget_output();
    for (int i = 0; i < 100; i++) {
        line[0] = (char)('0' + i % 10);
        print(line);
        take_output(0);
    }
    check_equal(output->dropped, 100 * 999 - output->size);
    check(output->head - output->tail == output->size);
    check(held_count > 1 && held_count <= 6); /* in quarters */
    read_all(0);
    check_equal(got_bytes, output->size);
    for (size_t i = 0; i < got_bytes; i++)
        check(got[i] == (i % 999 == 0 ? '0' + (char)(i / 999 % 10) : 'a'));
    check(virtio_console_output_is_idle(output) && virtqueue_is_idle(output->ring)); /* R2 */
    forget_output();
    print("and on\n");
    read_all(0);
    check(strcmp(got, "and on\r\n") == 0);
    forget_output();
    stop();
}

/* Given back in any order: room comes back in the order of the bytes, so nothing is overwritten early. */
static void test_any_order(void)
{
    start_ports(1, 16);
    struct virtio_console_output *output = &console->ports[0].output;
    forget_output();
    static char line[998]; /* does not divide the ring */
    uint64_t printed = 0;
    for (int round = 0; round < 3000; round++) {
        memset(line, 'a' + round % 26, sizeof(line) - 1);
        if (output->size - (output->head - output->tail) >= sizeof(line)) {
            print(line);
            printed += sizeof(line) - 1;
        }
        take_output(0);
        if (held_count > 0 && fd_random(40) == 0) {
            read_output(0, fd_random(held_count));
            peer_interrupt(1);
        }
        check(output->head - output->tail <= output->size);
    }
    check_equal(output->dropped, 0);
    read_all(0);
    check_equal(got_bytes, printed);
    check(virtqueue_is_idle(output->ring));
    forget_output();
    stop();
}

/* Whoever holds the ring's lock sends in the place of who logs meanwhile; nobody waits (R5). */
static char meanwhile[20000];
static void log_while_locked(struct spinlock *lock)
{
    if (lock != &console->ports[0].output.ring->lock || !meanwhile[0])
        return;
    char text[sizeof(meanwhile)];
    memcpy(text, meanwhile, sizeof(text));
    meanwhile[0] = '\0';
    lock->is_locked = true; /* not yet let go */
    print(text);
    lock->is_locked = false;
}

static void test_lock_is_held(void)
{
    start_ports(1, 16);
    forget_output();
    host_unlocked = log_while_locked;
    memset(meanwhile, 'm', sizeof(meanwhile) - 1); /* enough for a piece of its own */
    print("first\n");
    check(take_output(0) && take_output(0));
    check(held_count == 2 && held[1].buffers[0].bytes == sizeof(meanwhile) - 1);
    strcpy(meanwhile, "from another CPU\n"); /* while the interrupt takes back */
    read_output(0, 0);
    read_output(0, 0);
    got_bytes = 0;
    peer_interrupt(1);
    host_unlocked = NULL;
    check_equal(meanwhile[0], 0);
    read_all(0);
    check(strcmp(got, "from another CPU\r\n") == 0);
    forget_output();
    stop();
}

static void test_panic(void)
{
    start_ports(1, 16);
    is_in_panic = true;
    console->ports[0].output.ring->lock.is_locked = true; /* of a CPU that was stopped */
    uint32_t before = peer.notifies;
    print("PANIC: x\n");
    console->ports[0].output.ring->lock.is_locked = false;
    check(emergency_bytes == 10 && memcmp(emergency, "PANIC: x\r\n", 10) == 0);
    check_equal(peer.notifies, before);
    stop();

    /* Without the register: by the queue, each line at once, unless its lock is taken. */
    start(1, 16, RING_FEATURES);
    forget_output();
    is_in_panic = true;
    for (int i = 0; i < 3; i++)
        print("x\n");
    read_all(0);
    check(strcmp(got, "x\r\nx\r\nx\r\n") == 0 && emergency_bytes == 0);
    for (int i = 0; i < 1000; i++) {
        print("a line of the report\n"); /* reaped without interrupts */
        if (take_output(0))
            read_output(0, 0);
    }
    check_equal(console->ports[0].output.dropped, 0);
    console->ports[0].output.ring->lock.is_locked = true;
    for (int i = 0; i < 10000; i++)
        print("nobody takes it\n");
    console->ports[0].output.ring->lock.is_locked = false;
    check(console->ports[0].output.dropped > 0);
    forget_output();
    stop();
}

/* ---- A channel ---------------------------------------------------------------------------------------- */

static unsigned idles;
static void device_reads(void)
{
    assert(++idles < 10000); /* it stands still */
    take_output(1);
    read_all(1);
    struct fd_chain chain;
    if (peer_take(CONTROL_OUT, &chain))
        fd_push(&peer.fds[CONTROL_OUT], chain.id, 0);
}

/* The host is there and reads nothing: time passes. */
static void device_idles(void)
{
    assert(++idles < 100);
    host_clock_ns += NSEC_PER_SEC;
}

static void test_channel(void)
{
    static char data[1 << 20];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (char)fd_random(256);
    start_ports(2, 16);
    struct virtio_console_port *port = &console->ports[1];
    forget_output();
    idles = 0;
    host_idle = device_reads;
    mutex_lock(&port->writer);
    check_equal(virtio_console_port_open(port), 0);
    expect_said(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
    uint64_t before = port->output.ring->kicks;
    for (size_t at = 0, bytes; at < sizeof(data); at += bytes) {
        bytes = MIN(sizeof(data) - at, (size_t)1 + fd_random(3000));
        check_equal(virtio_console_port_write(port, data + at, bytes), 0);
    }
    check_equal(virtio_console_port_flush(port), 0);
    check(got_bytes == sizeof(data) && memcmp(got, data, sizeof(data)) == 0);
    check(port->output.ring->kicks - before <= sizeof(data) / KIB(16));
    virtio_console_port_close(port);
    expect_said(1, VIRTIO_CONSOLE_PORT_OPEN, 0);

    /* Nothing is read: an end, and an errno. What was left behind does not go to the next one. */
    idles = 0;
    host_idle = device_idles;
    check_equal(virtio_console_port_open(port), 0);
    check_equal(-virtio_console_port_write(port, data, sizeof(data)), ETIMEDOUT);
    check_equal(-virtio_console_port_flush(port), ETIMEDOUT);
    while (take_output(1))
        ;
    forget_output(); /* lost, as by QEMU when its host leaves */
    check_equal(virtio_console_port_open(port), 0);
    check_equal(virtio_console_port_write(port, "again", 5), 0);
    host_idle = device_reads;
    check_equal(virtio_console_port_flush(port), 0);
    check(got_bytes == 5 && memcmp(got, "again", 5) == 0);

    /* Closed by the host, and gone. */
    say(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
    check_equal(-virtio_console_port_write(port, "x", 1), EPIPE);
    check_equal(-virtio_console_port_open(port), EPIPE);
    say(1, VIRTIO_CONSOLE_DEVICE_REMOVE, 1);
    check_equal(-virtio_console_port_write(port, "x", 1), ENODEV);
    mutex_unlock(&port->writer);
    forget_output();
    host_idle = NULL;
    stop();
}

/* A device that has read everything before the doorbell returns: whoever then waited for it to read would
 * wait for ever (R5). host_idle is not set: to sleep is a failed assertion. */
static void read_at_once(uint32_t queue)
{
    if (queue == transmit_of(1))
        read_all(1);
}

static void test_device_that_is_faster(void)
{
    static char data[1 << 20];
    start_ports(2, 16);
    struct virtio_console_port *port = &console->ports[1];
    forget_output();
    mutex_lock(&port->writer);
    check_equal(virtio_console_port_open(port), 0);
    read_all(1); /* and it sleeps */
    peer.notified = read_at_once;
    check_equal(virtio_console_port_write(port, data, sizeof(data)), 0);
    check_equal(virtio_console_port_flush(port), 0);
    check_equal(got_bytes, sizeof(data));
    mutex_unlock(&port->writer);
    forget_output();
    stop();
}

/* ---- Lies --------------------------------------------------------------------------------------------- */

static void expect_stopped(void)
{
    run_works();
    check(console->is_stopped && peer.status == 0);
    print("after the end\n"); /* dropped without a word */
    check_equal(-virtio_console_port_write(&console->ports[1], "x", 1), ENODEV);
    stop();
}

static void test_lies(void)
{
    struct fd_chain chain;
    host_log_level = -1;
    start_ports(2, 16);
    forget_output();
    print("x\n");
    check(take_output(0));
    fd_push(&peer.fds[1], held[0].id, 1); /* it wrote into what it may only read */
    peer_interrupt(1);
    expect_stopped();
    start_ports(2, 16);
    forget_output();
    print("x\n");
    check(take_output(0));
    fd_push(&peer.fds[1], (held[0].id + 1) % 16, 0);
    peer_interrupt(1);
    expect_stopped();
    start_ports(2, 16);
    typed_bytes = 0;
    give_claiming(0, "ls", 2, 65);
    check_equal(typed_bytes, 0);
    expect_stopped();
    start_ports(2, 16);
    give_claiming(CONTROL_IN, "x", 1, 1000);
    expect_stopped();
    start_ports(2, 16);
    check_equal(virtio_console_control_send(console, 1, VIRTIO_CONSOLE_PORT_OPEN, 1), 0);
    check(peer_take(CONTROL_OUT, &chain));
    fd_push(&peer.fds[CONTROL_OUT], 15, 0);
    check_equal(-virtio_console_control_send(console, 1, VIRTIO_CONSOLE_PORT_OPEN, 1), EBUSY);
    expect_stopped();
    start_ports(2, 16);
    peer.status |= VIRTIO_STATUS_NEEDS_RESET;
    peer.device.driver->config_changed(&peer.device);
    expect_stopped();
    forget_output();
    host_log_level = LOG_WARNING;
}

/* How many ports it says it has is only a wish. */
static void test_port_counts(void)
{
    static const uint32_t named[] = {0, 1, 2, 7, 8, 31, 0xffffffff};
    static const uint32_t used[] = {1, 1, 2, 7, 7, 7, 7};
    for (size_t i = 0; i < ARRAY_SIZE(named); i++) {
        start(named[i], 16, ALL_FEATURES);
        check(console->port_count == used[i] && peer.device.queue_count == 2 + 2 * used[i]);
        stop();
    }
    host_log_level = -1;
    peer_prepare(VIRTIO_ID_CONSOLE, 3, 16, ALL_FEATURES); /* a queue is missing */
    store_le32(peer.config + 4, 31);
    check_equal(-virtio_device_add(&peer.device), EOPNOTSUPP);
    check(peer.status & VIRTIO_STATUS_FAILED && peer.device.driver_data == NULL);
    host_log_level = LOG_WARNING;
}

static int test_all(void)
{
    test_single_port();
    test_ports();
    test_nonsense();
    test_answers_not_taken();
    test_input();
    test_lines_are_collected();
    test_device_that_keeps_all();
    test_any_order();
    test_lock_is_held();
    test_panic();
    test_channel();
    test_device_that_is_faster();
    test_lies();
    test_port_counts();
    free(got);
    return check_finish();
}
