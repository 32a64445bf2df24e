/* SPDX-License-Identifier: MIT */
/* The virtio console, shared by its files:
 *     virtio_console.c          finding, configuration, queues, the end
 *     virtio_console_control.c  ports that come, go, open and have names (MULTIPORT)
 *     virtio_console_output.c   bytes to the host
 *     virtio_console_port.c     a port as a console: log sink, input, panic; or as a channel
 *     virtio_console_command.c  vport
 *
 * Port 0, and each port that the device calls a console, is a console beside the serial line: all output goes
 * there as well, and what is typed there is input. Other ports are channels for a command's output.
 *
 * Locks: a ring's, for all that the device answers; the producer's of an output (the log's lock, or a port's
 * writer mutex), of which the ring's lock is taken inside only by trying. Never two rings' at once. */
#ifndef VIRTIO_CONSOLE_INTERNAL_H
#define VIRTIO_CONSOLE_INTERNAL_H

#include <drivers/virtio/virtio.h>
#include <drivers/virtio/virtio_console_spec.h>
#include <kernel/log.h>
#include <kernel/mutex.h>
#include <kernel/wait.h>
#include <kernel/work.h>

#define VIRTIO_CONSOLE_PORTS_MAX     ((VIRTQUEUES_MAX - 2u) / 2u)
#define VIRTIO_CONSOLE_NAME_BYTES    32u
#define VIRTIO_CONSOLE_CONTROL_BYTES 128u /* a message with what follows it; more is cut off */
#define VIRTIO_CONSOLE_OUTPUT_PIECES 16u

/* ---- Bytes to the host (virtio_console_output.c) --------------------------------------------------- */

/* By the id of its chain: so a piece that the device never gives back keeps its place, and the next one has
 * another. */
struct virtio_console_piece {
    uint32_t end; /* position behind its last byte */
    bool is_done;
};

/* A ring of bytes that the device reads in place: [tail, sent) is the device's, in pieces; [sent, head)
 * waits. Positions count for ever and are masked at use. Lock legend: I; p the producer; r the ring's lock; a
 * atomic. */
struct virtio_console_output {
    struct virtqueue *ring;              /* I: NULL: the port has no queue */
    char *bytes;                         /* I: in the direct map; NULL until virtio_console_output_init */
    uint32_t size;                       /* I: a power of two */
    uint32_t head;                       /* a: written by the producer */
    uint32_t sent;                       /* r; a: peeked at */
    uint32_t tail;                       /* a: written under r */
    struct virtio_console_piece *pieces; /* r: by id */
    uint16_t order[VIRTIO_CONSOLE_OUTPUT_PIECES]; /* r: ids in flight: a ring, oldest first */
    uint32_t piece_first;                         /* r */
    uint32_t piece_count;                         /* r; a: peeked at */
    uint64_t bytes_sent, interrupts;              /* r */
    uint64_t dropped;                             /* p */
};

/* Thread context. 0 or -ENOMEM; nothing when it has been done. */
must_check int virtio_console_output_init(struct virtio_console_output *output, uint32_t bytes);
/* The producer, any context: copies as much as there is room for; how much that was. */
uint32_t virtio_console_output_put(struct virtio_console_output *output, const char *text, size_t bytes);
/* Sends what is worth a doorbell: everything when the device has nothing, else a quarter of the ring at
 * least; the rest goes with the next completion. Does not wait: a holder of the ring's lock does it in the
 * caller's place. Interrupts off. `is_urgent`: sends in any case. */
void virtio_console_output_push(struct virtio_console_output *output, bool is_urgent);
/* Takes back what the device has read; true: something was. Ring locked. */
bool virtio_console_output_reap(struct virtio_console_output *output);
/* Forgets what has not been sent. The producer; nobody else produces. */
void virtio_console_output_discard(struct virtio_console_output *output);
/* Also what was sent and never came back. */
void virtio_console_output_restart(struct virtio_console_output *output);
/* A quarter of the ring waits to be sent: worth a doorbell in any case. */
static inline bool virtio_console_output_is_large(const struct virtio_console_output *output)
{
    return read_once(output->head) - read_once(output->sent) >= output->size / 4;
}
static inline bool virtio_console_output_is_idle(const struct virtio_console_output *output)
{
    return __atomic_load_n(&output->tail, __ATOMIC_ACQUIRE) == read_once(output->head);
}

/* ---- Ports ------------------------------------------------------------------------------------------- */

struct virtio_console;

/* Lock legend: I; w written by the control work only, read by anyone; r the receive ring's lock. */
struct virtio_console_port {
    struct virtio_console *console;       /* I */
    uint32_t id;                          /* I */
    struct virtio_console_output output;  /* its producer: the log's lock, or `writer` */
    struct virtqueue *input;              /* I */
    uint8_t *input_buffers;               /* w: of input; NULL: not a console so far */
    struct log_sink sink;                 /* the log's */
    struct mutex writer;                  /* of a channel: one command at a time */
    uint64_t pushed_ns;                   /* `writer` */
    struct wait_queue room;               /* of output */
    bool is_there, is_console, is_open;   /* w: is_open: the host listens */
    bool is_sink;                         /* w: registered, for good */
    uint16_t columns, rows;               /* w: 0: not known */
    char name[VIRTIO_CONSOLE_NAME_BYTES]; /* w: "" if it has none */
};

/* Becomes a console: memory, log sink, input. Control work. 0 or -ENOMEM. */
must_check int virtio_console_port_start(struct virtio_console_port *port);
/* Interrupts of its queues. */
bool virtio_console_output_interrupt(void *ring);
bool virtio_console_input_interrupt(void *ring);
/* As a channel. `open`: 0, or an errno after one line; write: 0, -ENODEV (removed, or its device stopped),
 * -EPIPE (the host closed it), -ETIMEDOUT (the host reads nothing for seconds). Thread context, by one at a
 * time. */
must_check int virtio_console_port_open(struct virtio_console_port *port);
must_check int virtio_console_port_write(struct virtio_console_port *port, const char *text, size_t bytes);
/* Waits until the host has everything: as write. */
must_check int virtio_console_port_flush(struct virtio_console_port *port);
void virtio_console_port_close(struct virtio_console_port *port);

/* ---- The device -------------------------------------------------------------------------------------- */

/* Lock legend: I constant after probe; r the receive ring's lock, t the transmit ring's; a atomic; l
 * virtio_consoles. */
struct virtio_console {
    struct virtio_device *device; /* I */
    uint32_t port_count;          /* I: that there are queues for */
    bool is_multiport;            /* I */
    bool is_stopped;              /* a: lied, or wanted a reset */
    struct work control_work, config_work, stop_work;
    struct virtqueue *receive, *transmit;       /* I: the control queues; NULL unless is_multiport */
    uint8_t *messages_in;                       /* r: of VIRTIO_CONSOLE_CONTROL_BYTES each */
    struct virtio_console_control *message_out; /* t: by id */
    uint64_t bad_messages;                      /* the control work's */
    struct list node;                           /* l */
    struct virtio_console_port ports[VIRTIO_CONSOLE_PORTS_MAX];
};

struct virtio_consoles {
    struct mutex mutex;
    struct list list;
};
extern struct virtio_consoles virtio_consoles;

static inline bool virtio_console_is_stopped(const struct virtio_console *console)
{
    return __atomic_load_n(&console->is_stopped, __ATOMIC_ACQUIRE);
}
/* The size of the screen, port 0's, from the configuration. Thread context. */
void virtio_console_read_size(struct virtio_console *console);
/* The control queues' interrupts. */
bool virtio_console_control_interrupt(void *ring);
void virtio_console_control_work(struct work *work);
/* Gives the device its receive buffers and says that the driver is ready. After DRIVER_OK. */
void virtio_console_control_start(struct virtio_console *console);
/* 0; -EBUSY: the device does not take messages any more. Thread context. */
must_check int virtio_console_control_send(struct virtio_console *console, uint32_t port,
                                           enum virtio_console_event event, uint16_t value);

#endif
