/* SPDX-License-Identifier: MIT */
/* The entropy device, shared by its files: virtio_rng.c drives it, virtio_rng_command.c shows it. */
#ifndef VIRTIO_RNG_INTERNAL_H
#define VIRTIO_RNG_INTERNAL_H

#include <drivers/virtio/virtio.h>
#include <kernel/completion.h>
#include <kernel/entropy.h>
#include <kernel/mutex.h>
#include <kernel/work.h>

#define VIRTIO_RNG_REQUEST_BYTES 64u

/* Somebody who wants to see the bytes of one answer: they go to him and not to the pool. */
struct virtio_rng_read {
    struct completion done;
    uint32_t bytes;
    uint8_t data[VIRTIO_RNG_REQUEST_BYTES];
};

/* Lock legend: I constant after probe; r the ring's lock; l virtio_rng_list. */
struct virtio_rng {
    struct virtio_device *device;    /* I */
    struct virtqueue *ring;          /* I */
    uint8_t *buffer;                 /* the device's while the ring is not idle */
    struct entropy_source source;    /* I: but for the pool's fields */
    struct work ask_work, stop_work; /* their own */
    struct virtio_rng_read *reader;  /* r: NULL: the pool */
    bool is_stopped;                 /* r */
    uint64_t empty;                  /* r: answers without a byte */
    struct list node;                /* l */
};

/* All of them, in the order in which they were found. Thread context. */
struct virtio_rng_list {
    struct mutex mutex;
    struct list list;
};
extern struct virtio_rng_list virtio_rng_list;

/* The next answer is for `reader`, or, with NULL, for the pool again. Any context. */
void virtio_rng_set_reader(struct virtio_rng *rng, struct virtio_rng_read *reader);
/* Gives the device the buffer, unless it has it. Thread context. */
void virtio_rng_ask(struct virtio_rng *rng);

#endif
