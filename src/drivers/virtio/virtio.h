/* SPDX-License-Identifier: MIT */
/* The virtio core: devices that a transport finds, drivers by device type, and the initialisation between.
 *
 * A transport fills in a struct virtio_device and calls virtio_device_add, which goes through the steps of
 * virtio 1.2, 3.1.1:
 *     1 reset, and wait until the status reads 0      4 features: what is offered, known and wanted
 *     2 ACKNOWLEDGE                                   5 FEATURES_OK, which must read back
 *     3 DRIVER, if there is one for the type          6 the driver's probe: configuration, queues; DRIVER_OK
 * A legacy interface, from before 1.0, has no step 5. A step that fails leaves the device FAILED and alone,
 * with one line in the log.
 *
 * After a reset at run time: virtio_device_stop, detach what was in flight, virtio_device_resume.
 * All calls: thread context, but where said otherwise. */
#ifndef DRIVERS_VIRTIO_VIRTIO_H
#define DRIVERS_VIRTIO_VIRTIO_H

#include <drivers/virtio/virtio_spec.h>
#include <drivers/virtio/virtqueue.h>
#include <kernel/base/linker_set.h>
#include <kernel/base/types.h>

#define VIRTQUEUES_MAX 16u /* of one device */

struct virtio_device;

/* What a transport does. The order of the calls is the core's; each is one access to the device or a few. */
struct virtio_transport_ops {
    const char *name; /* "modern PCI" */
    /* From before 1.0: 32 feature bits, no FEATURES_OK, no configuration generation; and a queue is one block
     * (VIRTQ_LEGACY_ALIGN). */
    bool is_legacy;
    bool is_queue_size_fixed; /* a ring has exactly queue_size entries */
    uint8_t (*status_read)(struct virtio_device *device);
    void (*status_write)(struct virtio_device *device, uint8_t status); /* 0: reset */
    uint64_t (*features_read)(struct virtio_device *device);
    void (*features_write)(struct virtio_device *device, uint64_t features);
    /* One field, `width` 1, 2 or 4 bytes, at an offset that is a multiple of it; 0 past the end. */
    uint32_t (*config_read)(struct virtio_device *device, uint32_t offset, uint32_t width);
    void (*config_write)(struct virtio_device *device, uint32_t offset, uint32_t width, uint32_t value);
    uint32_t (*config_generation)(struct virtio_device *device); /* not if it is_legacy */
    /* Entries that the device has for queue `index`; 0: no such queue. */
    uint32_t (*queue_size)(struct virtio_device *device, uint32_t index);
    /* Connects device->queues to interrupts, the best way that there is; again after each reset. */
    int (*interrupts_connect)(struct virtio_device *device);
    void (*interrupts_disconnect)(struct virtio_device *device);
    /* Tells the device where the queue is. */
    int (*queue_enable)(struct virtio_device *device, struct virtqueue *queue);
    /* Makes the device forget a queue (RING_RESET), and waits until it has. 0 or an errno. Optional. */
    int (*queue_reset)(struct virtio_device *device, struct virtqueue *queue);
    void (*notify)(struct virtqueue *queue); /* any context */
    /* The same with VIRTIO_F_NOTIFICATION_DATA. Not if it is_legacy. */
    void (*notify_with_data)(struct virtqueue *queue);
    /* The device does not answer: cut it off from memory. False: nothing can. */
    bool (*isolate)(struct virtio_device *device);
    /* "MSI-X, vector 34 on CPU 0": how this queue interrupts. */
    void (*interrupt_text)(const struct virtqueue *queue, char *text, size_t bytes);
};

/* A bit and its name in the specification, without the prefix. */
struct virtio_feature {
    uint8_t bit;
    bool is_wanted; /* accepted where offered */
    const char *name;
};

struct virtio_driver {
    const char *name;
    uint32_t type;
    const struct virtio_feature *features; /* of its device type: all that the specification has */
    uint32_t feature_count;
    /* After step 5. 0: driven, DRIVER_OK set. Otherwise the driver has said why. */
    int (*probe)(struct virtio_device *device);
    /* The device goes away, or has gone already; the reverse of probe. NULL: it is kept, come what may. */
    void (*remove)(struct virtio_device *device);
    /* The configuration changed, or the device needs a reset. Interrupt context. */
    void (*config_changed)(struct virtio_device *device);
};
#define VIRTIO_DRIVER(object) linker_set_add(virtio_drivers, const struct virtio_driver, object)

/* Lock legend: I constant after virtio_device_add; p after probe. */
struct virtio_device {
    const struct virtio_transport_ops *transport; /* I: the transport's to fill in, as the next two */
    uint32_t type;                                /* I: enum virtio_device_type */
    char where[48];                               /* I: "modern PCI 00:03.0" */
    char name[12];                                /* I: "virtio0" */
    const struct virtio_driver *driver;           /* I: NULL: none for the type */
    void *driver_data;                            /* p: the driver's */
    uint64_t offered, features;                   /* I: all, and those accepted */
    struct virtqueue *queues[VIRTQUEUES_MAX];     /* p */
    uint32_t queue_count;                         /* p */
};

/* The command line's virtio.* keys. */
struct virtio_settings {
    uint32_t queue_size, queues;
    bool has_packed, has_indirect, has_event_idx, has_in_order, has_notification_data, has_msix;
};
extern struct virtio_settings virtio_settings;

/* Reads the settings. Before pci_init. */
void virtio_init(void);
/* Finds the devices that are on no bus. After pci_init. */
void virtio_mmio_init(void);

/* For transports: names it, negotiates, finds and starts its driver. 0, or an errno after one line. */
must_check int virtio_device_add(struct virtio_device *device);
/* The reverse, for one that is driven. Afterwards nothing of the core or the driver knows it. */
void virtio_device_remove(struct virtio_device *device);

static inline bool virtio_has_feature(const struct virtio_device *device, unsigned bit)
{
    return device->features >> bit & 1;
}

/* A request's bytes may be cut into buffers anyhow (2.7.4). Otherwise each part, as the header, must be a
 * buffer of its own (2.7.4.3). */
static inline bool virtio_has_any_layout(const struct virtio_device *device)
{
    return virtio_has_feature(device, VIRTIO_F_VERSION_1) || virtio_has_feature(device, VIRTIO_F_ANY_LAYOUT);
}

/* ---- For drivers ------------------------------------------------------------------------------------ */

/* Calls `read`, which reads with virtio_config_read into `copy`, until no change of the configuration fell in
 * between (2.5.3); a bounded number of times. False, after one line: the copy is of no one moment. Any
 * context. */
#define VIRTIO_CONFIG_COPY_MAX 64u
bool virtio_config_snapshot(struct virtio_device *device, void (*read)(struct virtio_device *, void *copy),
                            void *copy, size_t bytes);
uint32_t virtio_config_read(struct virtio_device *device, uint32_t offset, uint32_t width);
uint64_t virtio_config_read64(struct virtio_device *device, uint32_t offset);
/* One field that the driver may write; what the device makes of it is to be read. Past the end: nothing. */
void virtio_config_write(struct virtio_device *device, uint32_t offset, uint32_t width, uint32_t value);

/* The size that queue `index` will get, a power of two unless its ring is a packed one: the least of the
 * device's, the setting, and what rings may have; where the device fixes it, its own, and the setting can
 * only limit what is in flight. 0 after one line: no such queue, or one that cannot be used. */
uint32_t virtio_queue_size(struct virtio_device *device, uint32_t index);
/* Creates queues 0..count - 1 and connects their interrupts. The core fills in the configs' names, indices
 * and negotiated features. 0, or an errno after one line. */
must_check int virtio_device_create_queues(struct virtio_device *device, struct virtqueue_config *configs,
                                           uint32_t count);
/* The reverse, for a driver's remove, or a probe that fails later. Resets the device. */
void virtio_device_destroy_queues(struct virtio_device *device);
/* DRIVER_OK: from here on the device works. */
void virtio_device_ready(struct virtio_device *device);

/* No interrupt of the device runs or will run; until interrupts_connect, or for ever. */
void virtio_device_silence(struct virtio_device *device);

/* Resets it and waits until the status reads 0: afterwards the device touches no memory (R6). -ETIMEDOUT: it
 * did not answer, or is not there any more, and was cut off from memory instead. Sleeps; without end if it
 * neither answers nor can be cut off. */
must_check int virtio_device_stop(struct virtio_device *device);
/* After stop, all queues empty: starts it again with the same features and queues. 0 or errno; not ready yet.
 */
must_check int virtio_device_resume(struct virtio_device *device);
/* Gives all queues other numbers of entries, at most what they were created with. The driver sees to it that
 * nothing is in flight and nothing is added: a queue's reset ends no request (QEMU's disk goes on writing to
 * its memory, R6), and that of a device loses it. Queue by queue where RING_RESET was negotiated, otherwise,
 * or if that fails, by stop and resume. 0: to be made ready; or an errno, as resume. */
must_check int virtio_device_resize_queues(struct virtio_device *device, uint32_t entries);
/* May a ring of this device have so many? */
bool virtio_is_ring_size(const struct virtio_device *device, uint32_t size);
/* The device asked for a reset itself (2.1.2). Any context. */
bool virtio_device_needs_reset(struct virtio_device *device);

/* "+VERSION_1 +FLUSH -RING_RESET": what was accepted and what refused, by name. */
void virtio_features_text(const struct virtio_device *device, char *text, size_t bytes);
/* Transport, features and queues for the shell (`features DEV`). */
void virtio_device_describe(struct virtio_device *device);

#endif
