/* SPDX-License-Identifier: MIT */
/* A device that keeps to the rules until the script makes it lie, and again from the next reset on. It lies
 * by writing whatever it likes to any memory that it shares with the driver: at once, or at a barrier of the
 * driver, that is between two accesses. Its honest completions may fall there as well.
 *
 * Beside it stand two witnesses: of the ring's verbs, and of what other CPUs do while the driver waits. */
#ifndef TESTS_FUZZ_VRING_LIAR_H
#define TESTS_FUZZ_VRING_LIAR_H

#include "vring_users.h"

/* The includer's, by the ring's format. */
static uint32_t driver_area_bytes(const struct virtqueue *ring);
static uint32_t device_area_bytes(const struct virtqueue *ring);

static struct virtio_blk *disk;
static bool is_honest; /* since the last reset */
static bool is_interrupt_pending;

/* ---- The witness of the ring --------------------------------------------------------------------------- */

static const struct virtqueue_ops *real_ops;
static struct {
    void *token; /* NULL: not in flight */
    uint32_t writable_bytes;
} sent[VIRTQUEUE_SIZE_MAX];
static uint32_t races_left; /* completions between the driver's last look and its question */

static inline int witness_add(struct virtqueue *ring, uint32_t shape, uint32_t writable_bytes, void *token)
{
    uint32_t id = virtqueue_next_id(ring);
    int error = real_ops->add(ring, shape, writable_bytes, token);
    check(!sent[id].token);
    if (error == 0) {
        sent[id].token = token;
        sent[id].writable_bytes = writable_bytes;
    }
    return error;
}

/* R4: what comes out went in, and fits. */
static inline struct virtqueue_used witness_get(struct virtqueue *ring)
{
    bool was_broken = ring->is_broken;
    struct virtqueue_used used = real_ops->get(ring);
    if (!used.token)
        return used;
    check(!was_broken && used.id < ring->size && used.token == sent[used.id].token);
    check(used.bytes <= sent[used.id].writable_bytes);
    sent[used.id].token = NULL;
    return used;
}

static inline void *witness_detach(struct virtqueue *ring)
{
    void *token = real_ops->detach(ring);
    for (uint32_t id = 0; token && id < ring->size; id++) {
        if (sent[id].token == token)
            sent[id].token = NULL;
    }
    return token;
}

static bool race_and_enable(struct virtqueue *ring);

static inline void watch_ring(struct virtqueue *ring)
{
    static struct virtqueue_ops ops;
    real_ops = ring->ops;
    ops = *real_ops;
    ops.add = witness_add;
    ops.get = witness_get;
    ops.detach = witness_detach;
    ops.callbacks_enable = race_and_enable;
    ring->ops = &ops;
    memset(sent, 0, ring->size * sizeof(sent[0]));
    races_left = 0;
}

/* ---- Honest work ----------------------------------------------------------------------------------------
 */

static inline bool device_works(void)
{
    return (m.status & VIRTIO_STATUS_DRIVER_OK) != 0;
}

static inline void note_answer(uint32_t which, uint8_t answer)
{
    uint32_t id = m.held[which].chain.id;
    check(sent[id].token != NULL);
    if (sent[id].token) {
        user_of(sent[id].token)->is_answered = true;
        user_of(sent[id].token)->answer = answer;
    }
}

/* In order, with all before it. */
static inline void answer_honestly(uint32_t which, uint8_t answer)
{
    for (uint32_t i = m.fds[0].is_in_order ? 0 : which; i <= which; i++)
        note_answer(i, answer);
    m.answer = answer;
    device_complete(which);
}

/* A liar looks at the ring no more, and only its own notes tell it where to write. */
static inline void answer_somehow(uint32_t which, uint8_t answer)
{
    const struct fd_chain *chain = &m.held[which].chain;
    const struct fd_buffer *last = &chain->buffers[chain->count - 1];
    last->data[last->bytes - 1] = answer;
    fd_push(&m.fds[0], chain->id, answer);
    m.held[which] = m.held[--m.held_count];
}

/* One of those that it holds; then an interrupt, if it is asked for at this moment. */
static inline void complete_one(uint32_t which, uint8_t answer)
{
    if (is_honest && device_works())
        device_take();
    if (m.held_count == 0)
        return;
    if (is_honest)
        answer_honestly(which % m.held_count, answer);
    else
        answer_somehow(which % m.held_count, answer);
    is_interrupt_pending |= is_honest && fd_must_interrupt(&m.fds[0]);
}

static inline void complete_some(void)
{
    static const uint8_t answers[] = {VIRTIO_BLK_S_OK,
                                      VIRTIO_BLK_S_OK,
                                      VIRTIO_BLK_S_OK,
                                      VIRTIO_BLK_S_OK,
                                      VIRTIO_BLK_S_IOERR,
                                      VIRTIO_BLK_S_UNSUPP,
                                      3,
                                      VIRTIO_BLK_STATUS_PRESET};
    for (uint32_t count = script_take() % 4 + 1; count > 0; count--) {
        uint32_t choice = script_take();
        complete_one(choice, answers[choice / 32]);
    }
}

/* ---- Lies ------------------------------------------------------------------------------------------------
 */

struct lie {
    uint8_t kind, part, value;
    uint16_t where;
};

static inline uint8_t *shared_part(uint8_t part, uint32_t *bytes)
{
    struct virtqueue *ring = disk->queues[0].ring;
    switch (part % 6) {
    case 0:
        *bytes = device_area_bytes(ring);
        return direct_map(ring->device_area);
    case 1:
        *bytes = driver_area_bytes(ring);
        return direct_map(ring->driver_area);
    case 2:
        *bytes = ring->size * 16u;
        return direct_map(ring->descriptor_area);
    case 3:
        *bytes = ring->size * ring->buffer_stride * 16u;
        return (uint8_t *)ring->buffers;
    case 4:
        *bytes = ring->size * (uint32_t)sizeof(struct virtio_blk_slot);
        return (uint8_t *)disk->queues[0].slots;
    default:
        *bytes = disk->queues[0].bounce ? ring->size * VIRTIO_BLK_BOUNCE_STRIDE : 0;
        return disk->queues[0].bounce;
    }
}

/* Of a header, which the driver writes once and for all: whoever writes there confuses only himself. */
static inline bool is_reserved(const uint8_t *at)
{
    uintptr_t offset = (uintptr_t)at - (uintptr_t)disk->queues[0].slots;
    return offset < disk->queues[0].ring->size * sizeof(struct virtio_blk_slot) &&
           offset % sizeof(struct virtio_blk_slot) / 4 == 1;
}

static inline void write_somewhere(const struct lie *lie)
{
    uint32_t bytes;
    uint8_t *at = shared_part(lie->part, &bytes);
    if (bytes == 0)
        return;
    at += lie->where * 2u % bytes;
    if (is_reserved(at))
        return;
    if (lie->kind & 1)
        store_le16(at, (uint16_t)(load_le16(at) + (int8_t)lie->value));
    else
        store_le16(at, (uint16_t)(lie->value * 0x0101u));
}

static inline void tell(const struct lie *lie)
{
    if (m.is_isolated)
        return;
    is_honest = is_trusted = false;
    if (lie->kind & 2)
        fd_push(&m.fds[0], lie->part == 0xff ? lie->where * 256u : lie->part % (m.fds[0].size + 1u),
                lie->value);
    else
        write_somewhere(lie);
}

static inline struct lie take_lie(void)
{
    struct lie lie = {.kind = (uint8_t)script_take()};
    lie.part = (uint8_t)script_take();
    lie.value = (uint8_t)script_take();
    lie.where = (uint16_t)script_take16();
    return lie;
}

static inline void lie_now(void)
{
    struct lie lie = take_lie();
    tell(&lie);
}

/* ---- At the driver's barriers ----------------------------------------------------------------------------
 */

static struct plan {
    uint32_t barriers; /* to go; 0: none is planned */
    bool is_honest;    /* to complete one */
    struct lie lie;
} plans[4];

static inline void plan_something(void)
{
    uint32_t choice = script_take();
    struct plan *plan = &plans[choice % ARRAY_SIZE(plans)];
    plan->barriers = choice / 8 % 8 + 1;
    plan->is_honest = choice & 4;
    if (!plan->is_honest)
        plan->lie = take_lie();
}

static inline void at_barrier(void)
{
    for (size_t i = 0; i < ARRAY_SIZE(plans); i++) {
        if (plans[i].barriers == 0 || --plans[i].barriers > 0)
            continue;
        if (plans[i].is_honest)
            complete_one(0, VIRTIO_BLK_S_OK);
        else
            tell(&plans[i].lie);
    }
}

static bool race_and_enable(struct virtqueue *ring)
{
    at_barrier();
    if (races_left > 0) {
        races_left--;
        complete_one(0, VIRTIO_BLK_S_OK);
    }
    return real_ops->callbacks_enable(ring);
}

/* ---- Resets ----------------------------------------------------------------------------------------------
 */

/* What another CPU does, and 4 for each look at the status before; below 4: nothing. */
static uint32_t intrusion;

/* Wanted or not. */
static inline void call_interrupt(void)
{
    is_interrupt_pending = false;
    disk->queues[0].ring->config.interrupt(disk->queues[0].ring);
}

static inline uint8_t status_read_among_others(struct virtio_device *device)
{
    if (intrusion >= 4 && (intrusion -= 4) < 4) {
        uint32_t what = intrusion;
        intrusion = 0;
        if (what == 0)
            call_interrupt();
        else if (what == 1)
            submit_some();
        else if (what == 2)
            block.config.ops->poll(&block);
        else
            block.config.ops->late(&block);
    }
    return status_read(device);
}

/* Resets that take long, fail, or bring back another device. */
static inline void misbehave(void)
{
    switch (script_take() % 8) {
    case 0:
        m.resets_left = 0;
        break;
    case 1:
        m.offered &= ~BIT(VIRTIO_F_EVENT_IDX);
        break;
    case 2:
        m.has_features_ok = false;
        break;
    case 3:
        m.connect_error = -ENOMEM;
        break;
    case 4:
        m.status |= VIRTIO_STATUS_NEEDS_RESET;
        break;
    case 5:
        set_config(script_take() % DISK_SECTORS, script_take(), 512);
        m.generation++;
        break;
    default:
        m.reset_reads = (int)(script_take() % 4);
    }
    m.device.driver->config_changed(&m.device);
}

static inline void behave(uint64_t offered)
{
    memset(plans, 0, sizeof(plans));
    intrusion = 0;
    m.resets_left = -1;
    m.reset_reads = m.connect_error = 0;
    m.offered = offered;
    m.has_features_ok = true;
}

static inline int enable_honest(struct virtio_device *device, struct virtqueue *queue)
{
    is_honest = true;
    return queue_enable(device, queue);
}

#endif
