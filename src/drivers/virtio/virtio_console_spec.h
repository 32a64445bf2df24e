/* SPDX-License-Identifier: MIT */
/* The console device (virtio 1.2, 5.3). */
#ifndef DRIVERS_VIRTIO_VIRTIO_CONSOLE_SPEC_H
#define DRIVERS_VIRTIO_VIRTIO_CONSOLE_SPEC_H

#include <kernel/base/types.h>

/* 5.3.2: port n has two queues from 2 * n on, but for port 0 two numbers further, behind the control queues.
 */
enum virtio_console_queue {
    VIRTIO_CONSOLE_RECEIVEQ = 0,
    VIRTIO_CONSOLE_TRANSMITQ = 1,
    VIRTIO_CONSOLE_CONTROL_RECEIVEQ = 2,
    VIRTIO_CONSOLE_CONTROL_TRANSMITQ = 3,
};

/* 5.3.3 */
enum virtio_console_feature_bit {
    VIRTIO_CONSOLE_F_SIZE = 0,
    VIRTIO_CONSOLE_F_MULTIPORT = 1,
    VIRTIO_CONSOLE_F_EMERG_WRITE = 2,
};

/* 5.3.4: only its offsets are used. */
struct virtio_console_config {
    uint16_t cols, rows;
    uint32_t max_nr_ports;
    uint32_t emerg_wr;
};
_Static_assert(offsetof(struct virtio_console_config, max_nr_ports) == 4, "5.3.4");
_Static_assert(offsetof(struct virtio_console_config, emerg_wr) == 8, "5.3.4");

/* 5.3.6.2 */
struct virtio_console_control {
    uint32_t id; /* of the port */
    uint16_t event, value;
};
_Static_assert(sizeof(struct virtio_console_control) == 8, "5.3.6.2");

enum virtio_console_event {
    VIRTIO_CONSOLE_DEVICE_READY = 0,
    VIRTIO_CONSOLE_DEVICE_ADD = 1,
    VIRTIO_CONSOLE_DEVICE_REMOVE = 2,
    VIRTIO_CONSOLE_PORT_READY = 3,
    VIRTIO_CONSOLE_CONSOLE_PORT = 4,
    VIRTIO_CONSOLE_RESIZE = 5,
    VIRTIO_CONSOLE_PORT_OPEN = 6,
    VIRTIO_CONSOLE_PORT_NAME = 7,
};

/* Behind the header of VIRTIO_CONSOLE_RESIZE (5.3.6.2). */
struct virtio_console_resize {
    uint16_t cols, rows;
};

#endif
