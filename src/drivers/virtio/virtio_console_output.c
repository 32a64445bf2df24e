/* SPDX-License-Identifier: MIT */
/* Bytes to the host. The producer may be the log: in any context, with any lock held. So it only copies into
 * a ring of bytes and tries to send; it takes no lock that anybody might hold while he logs.
 *
 *     put     producer: bytes, then head
 *     push    while there is something to send: try the ring's lock; who has it looks again after he let it
 * go, so the one who fails may leave reap    interrupt: what the device has read is room again, in order;
 * then push
 *
 * What comes while the device is busy waits for its completion or until a quarter of the ring is full: lines
 * of a slow talker go at once, and those of a fast one in large pieces. A device that takes nothing makes the
 * ring full, and what does not fit is the producer's to drop or to wait for.
 *
 * R5: if bytes wait, something is in flight whose interrupt sends them; can_send is all that keeps them back.
 */
#include <arch/io.h>
#include <arch/mmu.h>
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/heap.h>
#include <kernel/page.h>
#include <kernel/string.h>

#include "virtio_console_internal.h"

int virtio_console_output_init(struct virtio_console_output *output, uint32_t bytes)
{
    assert(is_power_of_two(bytes) && bytes >= PAGE_BYTES);
    if (output->bytes)
        return 0;
    char *memory = page_alloc(page_order_for(bytes));
    struct virtio_console_piece *pieces = heap_alloc_zeroed(output->ring->size * sizeof(*pieces));
    if (!memory || !pieces) {
        if (memory)
            page_free(memory, page_order_for(bytes));
        heap_free(pieces);
        return -ENOMEM;
    }
    output->size = bytes;
    output->pieces = pieces;
    __atomic_store_n(&output->bytes, memory, __ATOMIC_RELEASE);
    return 0;
}

/* ---- Down ------------------------------------------------------------------------------------------- */

static void copy_in(struct virtio_console_output *output, uint32_t at, const char *text, uint32_t bytes)
{
    uint32_t offset = at & (output->size - 1), first = MIN(bytes, output->size - offset);
    memcpy(output->bytes + offset, text, first);
    memcpy(output->bytes, text + first, bytes - first);
}

uint32_t virtio_console_output_put(struct virtio_console_output *output, const char *text, size_t bytes)
{
    uint32_t head = output->head;
    uint32_t room = output->size - (head - __atomic_load_n(&output->tail, __ATOMIC_ACQUIRE));
    uint32_t taken = (uint32_t)MIN(bytes, (size_t)room);
    assert(room <= output->size);
    copy_in(output, head, text, taken);
    __atomic_store_n(&output->head, head + taken, __ATOMIC_RELEASE); /* pairs with can_send's acquire */
    return taken;
}

static bool can_send(const struct virtio_console_output *output, bool is_urgent)
{
    uint32_t waiting = __atomic_load_n(&output->head, __ATOMIC_ACQUIRE) - read_once(output->sent);
    uint32_t pieces = read_once(output->piece_count);
    return waiting > 0 && pieces < VIRTIO_CONSOLE_OUTPUT_PIECES && read_once(output->ring->free_count) > 0 &&
           (pieces == 0 || waiting >= output->size / 4 || is_urgent);
}

/* The next piece: what waits, up to the end of the memory. */
static void send_piece(struct virtio_console_output *output)
{
    struct virtqueue_buffer *buffer = virtqueue_buffers(output->ring);
    uint32_t id = virtqueue_next_id(output->ring);
    uint32_t last = (output->piece_first + output->piece_count) % VIRTIO_CONSOLE_OUTPUT_PIECES;
    uint32_t offset = output->sent & (output->size - 1);
    uint32_t bytes = MIN(output->head - output->sent, output->size - offset);
    buffer->address = dma_address(output->bytes + offset);
    buffer->bytes = bytes;
    int error = virtqueue_add(output->ring, 1, 0, 0, &output->pieces[id]);
    assert(error == 0); /* can_send: a descriptor is free */
    output->order[last] = (uint16_t)id;
    output->pieces[id] = (struct virtio_console_piece){.end = output->sent + bytes};
    write_once(output->piece_count, output->piece_count + 1);
    write_once(output->sent, output->sent + bytes);
    output->bytes_sent += bytes;
}

/* Ring locked. True: the doorbell must be rung. */
static bool send(struct virtio_console_output *output, bool is_urgent)
{
    assert_spin_locked(&output->ring->lock);
    while (can_send(output, is_urgent))
        send_piece(output);
    return virtqueue_kick_prepare(output->ring);
}

void virtio_console_output_push(struct virtio_console_output *output, bool is_urgent)
{
    struct virtqueue *ring = output->ring;
    for (;;) {
        /* After the bytes were put, and after the lock was let go: both sides write, then look. */
        barrier_full();
        if (!can_send(output, is_urgent) || !spin_try_lock_interrupts_off(&ring->lock))
            return;
        bool must_notify = send(output, is_urgent);
        spin_unlock_interrupts_off(&ring->lock);
        if (must_notify)
            virtqueue_notify(ring);
    }
}

void virtio_console_output_discard(struct virtio_console_output *output)
{
    SPIN_SCOPED_IRQ(&output->ring->lock);
    output->head = output->sent;
}

/* The device only reads: should it still come to a piece that was given up, it reads other bytes there. */
void virtio_console_output_restart(struct virtio_console_output *output)
{
    SPIN_SCOPED_IRQ(&output->ring->lock);
    output->piece_first = output->piece_count = 0;
    output->head = output->tail = output->sent;
}

/* ---- Up --------------------------------------------------------------------------------------------- */

/* The device may answer in any order; room comes back in the order of the bytes. */
static void release(struct virtio_console_output *output)
{
    while (output->piece_count > 0 && output->pieces[output->order[output->piece_first]].is_done) {
        uint32_t end = output->pieces[output->order[output->piece_first]].end;
        output->piece_first = (output->piece_first + 1) % VIRTIO_CONSOLE_OUTPUT_PIECES;
        write_once(output->piece_count, output->piece_count - 1);
        __atomic_store_n(&output->tail, end, __ATOMIC_RELEASE); /* pairs with put's acquire */
    }
}

bool virtio_console_output_reap(struct virtio_console_output *output)
{
    struct virtqueue_used used;
    bool is_any = false;
    do {
        virtqueue_callbacks_disable(output->ring);
        while ((used = virtqueue_get(output->ring)).token != NULL) {
            ((struct virtio_console_piece *)used.token)->is_done = true;
            is_any = true;
        }
    } while (virtqueue_callbacks_enable(output->ring));
    release(output);
    assert(output->sent - output->tail <= output->size);
    return is_any;
}
