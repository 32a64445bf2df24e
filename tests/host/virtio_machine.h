/* SPDX-License-Identifier: MIT */
/* A virtio machine for tests: a transport and a block device made up here, around them as much of the kernel
 * and of the block layer as the virtio core and the virtio disk call. Included by one file a program. */
#ifndef TESTS_HOST_VIRTIO_MACHINE_H
#define TESTS_HOST_VIRTIO_MACHINE_H

#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/cmdline.h>

#include <stdlib.h>
#include <string.h>

#include "../../src/drivers/virtio/virtio_blk_internal.h"
#include "fake_device.h"

#define DISK_SECTORS 256u
#define QUEUES       4u /* that there is room for */

/* ---- The device behind the transport ---------------------------------------------------------------- */

static struct machine {
    struct virtio_device device;
    uint64_t offered, written_features;
    uint8_t status, history[16];
    uint32_t writes;
    bool has_features_ok, is_isolated, cannot_be_isolated;
    bool is_unplugged; /* its registers are nobody's */
    uint32_t resets;
    int reset_reads; /* reads of the status that do not show 0 yet; below 0: never */
    int resets_left; /* after so many resets it answers no more; below 0: always */
    uint8_t config[96];
    uint8_t wce_fixed; /* below 0xff: the cache mode that it keeps, whatever is written */
    uint8_t wce_after_reset;
    uint32_t config_writes;
    struct virtio_blk_range ranges[32]; /* of the last requests with one, by type */
    uint32_t range_types[32], range_count;
    uint32_t generation, config_changes; /* the configuration changes under the reader, so many times */
    uint32_t queue_sizes[QUEUES];        /* 0: no such queue */
    uint32_t enabled, connects, disconnects, notifies, data_notifies, wrong_positions;
    int connect_error, queue_reset_error;
    uint32_t queue_resets, forgotten; /* forgotten: a bit a queue, until it is enabled again */
    struct fake_device fds[QUEUES];   /* its side of each queue */
    struct held {
        uint32_t queue;
        struct fd_chain chain;
    } held[1024]; /* taken from any queue, not completed */
    uint32_t held_count;
    uint8_t answer; /* the status that it writes */
} m;
static uint8_t disk_data[DISK_SECTORS * 512];
static uint32_t completed_before_reset_ended;

static inline uint8_t status_read(struct virtio_device *device)
{
    (void)device;
    if (m.is_unplugged)
        return 0xff;
    if (m.status == 0 && m.reset_reads != 0) {
        m.reset_reads -= m.reset_reads > 0;
        return 0x80;
    }
    return m.status;
}

static inline void status_write(struct virtio_device *device, uint8_t status)
{
    (void)device;
    if (m.is_unplugged)
        return;
    m.resets += status == 0;
    if (m.writes < ARRAY_SIZE(m.history))
        m.history[m.writes++] = status;
    m.status = status;
    if (status == 0) {
        m.enabled = m.held_count = m.forgotten = 0;
        m.config[offsetof(struct virtio_blk_config, writeback)] = m.wce_after_reset;
        if (m.resets_left == 0)
            m.reset_reads = -1;
        m.resets_left -= m.resets_left > 0;
    }
    if (!m.has_features_ok)
        m.status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
}

static inline uint64_t features_read(struct virtio_device *device)
{
    (void)device;
    return m.offered;
}

static inline void features_write(struct virtio_device *device, uint64_t features)
{
    (void)device;
    m.written_features = features;
}

static inline uint32_t config_read(struct virtio_device *device, uint32_t offset, uint32_t width)
{
    uint32_t value = 0;
    check(offset + width <= sizeof(m.config));
    if (offset == offsetof(struct virtio_blk_config, writeback)) /* 5.2.5.1 */
        check(device->transport->is_legacy || m.status & VIRTIO_STATUS_FEATURES_OK);
    memcpy(&value, m.config + offset, width);
    if (m.config_changes > 0 && offset == 0) { /* between the two halves of the capacity */
        m.config_changes--;
        m.generation++;
        store_le64(m.config, load_le64(m.config) + 0x100000001ull);
    }
    return value;
}

/* The one field that a driver may write, and only once features are accepted (5.2.5.1). */
static inline void config_write(struct virtio_device *device, uint32_t offset, uint32_t width, uint32_t value)
{
    check(offset == offsetof(struct virtio_blk_config, writeback) && width == 1 && value <= 1);
    check(device->transport->is_legacy || m.status & VIRTIO_STATUS_FEATURES_OK);
    check(m.held_count == 0); /* 5.2.6.2: no write is in flight meanwhile */
    m.config_writes++;
    m.config[offset] = m.wce_fixed == 0xff ? (uint8_t)value : m.wce_fixed;
}

static inline uint32_t config_generation(struct virtio_device *device)
{
    (void)device;
    return m.generation & 0xff;
}

static inline uint32_t queue_size(struct virtio_device *device, uint32_t index)
{
    (void)device;
    return index < QUEUES ? m.queue_sizes[index] : 0;
}

static inline int interrupts_connect(struct virtio_device *device)
{
    (void)device;
    m.connects++;
    return m.connect_error;
}

static inline void interrupts_disconnect(struct virtio_device *device)
{
    (void)device;
    m.disconnects++;
}

static inline int queue_enable(struct virtio_device *device, struct virtqueue *queue)
{
    check_equal(device->features >> VIRTIO_F_VERSION_1 & 1, !device->transport->is_legacy);
    check_equal((m.status & VIRTIO_STATUS_FEATURES_OK) != 0, !device->transport->is_legacy);
    check(!(m.status & VIRTIO_STATUS_DRIVER_OK) || m.forgotten >> queue->config.index & 1);
    m.forgotten &= ~(1u << queue->config.index);
    struct fake_device *fd = &m.fds[queue->config.index];
    fd_attach(fd, queue);
    check(fd_is_fresh(fd));
    m.enabled++;
    fd_sleep(fd);
    return 0;
}

/* 2.6.1 */
static inline int queue_reset(struct virtio_device *device, struct virtqueue *queue)
{
    check(virtio_has_feature(device, VIRTIO_F_RING_RESET) && virtqueue_is_idle(queue));
    m.queue_resets++;
    if (m.queue_reset_error)
        return m.queue_reset_error;
    check(m.status & VIRTIO_STATUS_DRIVER_OK);
    m.forgotten |= 1u << queue->config.index;
    m.enabled--;
    return 0;
}

static inline void notify(struct virtqueue *queue)
{
    check(m.status & VIRTIO_STATUS_DRIVER_OK); /* 3.1.1: not before */
    m.notifies++;
    fd_notify(&m.fds[queue->config.index]);
}

static inline void notify_with_data(struct virtqueue *queue)
{
    SPIN_SCOPED_IRQ(&queue->lock);
    m.data_notifies++;
    m.wrong_positions += !fd_ends_at(&m.fds[queue->config.index], virtqueue_position(queue));
    notify(queue);
}

static inline bool isolate(struct virtio_device *device)
{
    (void)device;
    m.is_isolated = !m.cannot_be_isolated;
    return m.is_isolated;
}

static inline void interrupt_text(const struct virtqueue *queue, char *text, size_t bytes)
{
    (void)queue;
    snprintf(text, bytes, "by hand");
}

static struct virtio_transport_ops transport = {
    .name = "test",
    .status_read = status_read,
    .status_write = status_write,
    .features_read = features_read,
    .features_write = features_write,
    .config_read = config_read,
    .config_write = config_write,
    .config_generation = config_generation,
    .queue_size = queue_size,
    .interrupts_connect = interrupts_connect,
    .interrupts_disconnect = interrupts_disconnect,
    .queue_enable = queue_enable,
    .queue_reset = queue_reset,
    .notify = notify,
    .notify_with_data = notify_with_data,
    .isolate = isolate,
    .interrupt_text = interrupt_text,
};

/* ---- The kernel around it ---------------------------------------------------------------------------- */

static struct fifo works = FIFO_INIT(works);

bool work_queue(struct work *work)
{
    if (work->is_queued)
        return false;
    work->is_queued = 1;
    fifo_push(&works, &work->node);
    return true;
}

/* Nothing runs between two works: a flush runs them all. */
static inline void run_works(void);
void work_flush(void)
{
    run_works();
}

static inline void run_works(void)
{
    struct fifo_node *node;
    while ((node = fifo_pop(&works)) != NULL) {
        struct work *work = container_of(node, struct work, node);
        work->is_queued = 0;
        work->run(work);
    }
}

bool cmdline_u64(const char *key, uint64_t minimum, uint64_t maximum, uint64_t *value)
{
    (void)key, (void)minimum, (void)maximum, (void)value;
    return false;
}

bool cmdline_bool(const char *key, bool otherwise)
{
    (void)key;
    return otherwise;
}

/* ---- The block layer ---------------------------------------------------------------------------------- */

struct block_device {
    struct block_device_config config;
    uint64_t sectors;
} block;
static bool is_registered;
static void (*before_unregister)(void); /* another CPU's doing */
static unsigned restarts;
static int register_error;
static struct fifo finished = FIFO_INIT(finished);

int block_device_register(const struct block_device_config *config, struct block_device **device)
{
    if (register_error)
        return register_error;
    check(m.status & VIRTIO_STATUS_DRIVER_OK);
    block = (struct block_device){*config, config->sectors};
    is_registered = true;
    *device = &block;
    return 0;
}

void block_device_unregister(struct block_device *device)
{
    check(device == &block && is_registered && fifo_is_empty(&works));
    if (before_unregister)
        before_unregister();
    is_registered = false;
}

void *block_device_driver(struct block_device *device)
{
    return device->config.driver;
}
const char *block_device_name(const struct block_device *device)
{
    (void)device;
    return "vd0";
}
uint64_t block_device_sectors(const struct block_device *device)
{
    return device->sectors;
}
void block_device_set_sectors(struct block_device *device, uint64_t sectors)
{
    device->sectors = sectors;
}
void block_device_needs_flush(struct block_device *device)
{
    check_equal(m.status & VIRTIO_STATUS_DRIVER_OK, 0); /* before anything is sent again */
    device->config.has_flush = true;
}
int block_device_set_depth(struct block_device *device, uint32_t depth)
{
    device->config.limits.depth = depth;
    return 0;
}
void block_restart(struct block_device *device)
{
    check(device == &block);
    restarts++;
}

void block_complete(struct block_device *device, struct fifo *leaders)
{
    const struct virtio_blk *disk = device->config.driver;
    check(device == &block);
    virtio_blk_foreach_queue (disk, queue)
        check(!spin_is_locked(&queue->ring->lock)); /* it may submit: hazard 14 */
    fifo_foreach (node, leaders) {
        struct block_request *request = container_of(node, struct block_request, node);
        check(request->phase == 1 && request->status != BLOCK_PENDING); /* R1 */
        request->phase = 0;
        completed_before_reset_ended += m.status == 0 && m.reset_reads != 0 && !m.is_isolated;
    }
    fifo_append(&finished, leaders);
}

uint64_t block_request_device_sector(const struct block_request *leader)
{
    return leader->sector;
}
uint32_t block_request_device_bytes(const struct block_request *leader)
{
    return leader->operation == BLOCK_GET_ID         ? BLOCK_ID_BYTES
           : leader->operation == BLOCK_GET_LIFETIME ? sizeof(struct block_lifetime)
                                                     : leader->sectors * 512;
}
void block_segments_begin(struct block_segment_iterator *iterator, const struct block_request *leader)
{
    *iterator = (struct block_segment_iterator){.request = leader};
}
bool block_segments_next(struct block_segment_iterator *iterator, struct block_segment *segment)
{
    if (iterator->segment == iterator->request->segment_count)
        return false;
    *segment = iterator->request->segments[iterator->segment++];
    return true;
}

#ifndef VIRTIO_MACHINE_HAS_RAW /* the includer's program links virtio_blk_raw.c */
int virtio_blk_raw(struct block_device *device, struct block_raw_job *job)
{
    (void)device, (void)job;
    return -EOPNOTSUPP;
}
void virtio_blk_raw_interrupt(struct virtio_blk_queue *queue)
{
    (void)queue;
    check(false);
}
#endif
uint64_t block_device_timeout(const struct block_device *device)
{
    (void)device;
    return 30 * NSEC_PER_SEC;
}
void virtio_device_describe(struct virtio_device *device)
{
    (void)device;
}

/* ---- Helpers ------------------------------------------------------------------------------------------ */

#define ALL_OF_QEMU                                                                        \
    (BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_GEOMETRY) | BIT(VIRTIO_BLK_F_BLK_SIZE) | \
     BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_TOPOLOGY) | BIT(VIRTIO_BLK_F_CONFIG_WCE) | \
     BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1) |     \
     BIT(VIRTIO_F_RING_RESET))

static inline void set_config(uint64_t capacity, uint32_t seg_max, uint32_t blk_size)
{
    store_le64(m.config, capacity);
    store_le32(m.config + offsetof(struct virtio_blk_config, size_max), 1u << 20);
    store_le32(m.config + offsetof(struct virtio_blk_config, seg_max), seg_max);
    store_le32(m.config + offsetof(struct virtio_blk_config, blk_size), blk_size);
}

#define ALL_RANGES \
    (BIT(VIRTIO_BLK_F_DISCARD) | BIT(VIRTIO_BLK_F_WRITE_ZEROES) | BIT(VIRTIO_BLK_F_SECURE_ERASE))

/* After prepare: limits of ranges that can be. */
static inline void set_good_ranges(void)
{
    store_le32(m.config + offsetof(struct virtio_blk_config, max_discard_sectors), 100);
    store_le32(m.config + offsetof(struct virtio_blk_config, max_discard_seg), 1);
    store_le32(m.config + offsetof(struct virtio_blk_config, discard_sector_alignment), 8);
    store_le32(m.config + offsetof(struct virtio_blk_config, max_write_zeroes_sectors), 0xffffffff);
    store_le32(m.config + offsetof(struct virtio_blk_config, max_write_zeroes_seg), 1);
    store_le32(m.config + offsetof(struct virtio_blk_config, max_secure_erase_sectors), 64);
    store_le32(m.config + offsetof(struct virtio_blk_config, max_secure_erase_seg), 9);
    store_le32(m.config + offsetof(struct virtio_blk_config, secure_erase_sector_alignment), 16);
}

static inline void prepare(uint32_t size, uint64_t offered)
{
    memset(&m, 0, offsetof(struct machine, held)); /* not megabytes of chains */
    m.held_count = 0;
    transport.is_legacy = transport.is_queue_size_fixed = false;
    transport.config_generation = config_generation;
    m.device.transport = &transport;
    m.device.type = VIRTIO_ID_BLOCK;
    m.offered = offered;
    m.has_features_ok = true;
    m.resets_left = -1;
    m.wce_fixed = 0xff;
    m.wce_after_reset = 1;
    m.queue_sizes[0] = size;
    set_config(DISK_SECTORS, 254, 512);
    is_registered = false;
    register_error = 0;
    restarts = 0;
    completed_before_reset_ended = 0;
    virtio_settings.queue_size = 1024;
    virtio_settings.queues = VIRTQUEUES_MAX;
    host_cpu_id = 0;
    host_cpu_count = 1;
    fifo_init(&finished);
    fifo_init(&works);
    m.answer = VIRTIO_BLK_S_OK;
}

static inline struct virtio_blk *start_prepared(void)
{
    check_equal(virtio_device_add(&m.device), 0);
    check(is_registered);
    run_works();
    return block.config.driver;
}

static inline struct virtio_blk *start(uint32_t size, uint64_t offered)
{
    prepare(size, offered);
    return start_prepared();
}

/* A device of several queues of `size`, on as many CPUs. */
static inline void prepare_queues(uint32_t count, uint32_t size, uint64_t offered)
{
    prepare(size, offered | BIT(VIRTIO_BLK_F_MQ));
    for (uint32_t i = 0; i < count; i++)
        m.queue_sizes[i] = size;
    m.config[offsetof(struct virtio_blk_config, num_queues)] = (uint8_t)count;
    host_cpu_count = count;
}

static inline struct virtio_blk *start_queues(uint32_t count, uint32_t size, uint64_t offered)
{
    prepare_queues(count, size, offered);
    struct virtio_blk *disk = start_prepared();
    check(disk->queue_count == count && m.enabled == count);
    return disk;
}

/* The interface of before 1.0, with the features that it can have. */
static inline void prepare_legacy(uint32_t size, uint64_t offered)
{
    prepare(size, (uint32_t)offered);
    transport.is_legacy = true;
    transport.config_generation = NULL;
}

/* Everything must be free; gives the memory back. */
static inline void stop(struct virtio_blk *disk)
{
    check(block.config.ops->is_idle(&block)); /* R2 */
    virtio_blk_foreach_queue (disk, queue)
        check(virtqueue_is_idle(queue->ring) && virtqueue_is_consistent(queue->ring));
    virtio_device_destroy_queues(&m.device);
    virtio_blk_free_queues(disk);
    free(disk);
}

static inline struct block_request make_request(enum block_operation operation, uint64_t sector, void *data,
                                                uint32_t bytes)
{
    return (struct block_request){.device = &block,
                                  .sector = sector,
                                  .sectors = bytes / 512,
                                  .operation = (uint8_t)operation,
                                  .segment_count = data ? 1 : 0,
                                  .one = {data, bytes},
                                  .status = BLOCK_PENDING,
                                  .phase = 1,
                                  .total_segments = data ? 1 : 0,
                                  .shape = operation <= BLOCK_WRITE ? 0 : BLOCK_SHAPE_NO_MERGE};
}

static inline void push(struct fifo *batch, struct block_request *request)
{
    if (request->segment_count <= 1)
        request->segments = &request->one;
    request->phase = 1;
    request->status = BLOCK_PENDING;
    fifo_push(batch, &request->node);
}

static inline void submit(struct block_request *requests, uint32_t count)
{
    struct fifo batch;
    fifo_init(&batch);
    for (uint32_t i = 0; i < count; i++)
        push(&batch, &requests[i]);
    block.config.ops->submit(&block, &batch);
    check(fifo_is_empty(&batch));
}

/* Of the queues that ask for it. */
static inline void interrupt(struct virtio_blk *disk)
{
    for (uint32_t i = 0; i < disk->queue_count; i++) {
        struct virtqueue *ring = disk->queues[i].ring;
        if (fd_must_interrupt(&m.fds[i]))
            ring->config.interrupt(ring);
    }
}

/* Moves `bytes` between the chain's buffers (from its `skip`th readable or writable byte on) and `flat`. */
static inline void transfer(const struct fd_chain *chain, bool is_writable, uint32_t skip, uint8_t *flat,
                            uint32_t bytes)
{
    for (uint32_t i = 0; i < chain->count && bytes > 0; i++) {
        const struct fd_buffer *buffer = &chain->buffers[i];
        if (buffer->is_writable != is_writable)
            continue;
        uint32_t from = MIN(skip, buffer->bytes), take = MIN(buffer->bytes - from, bytes);
        skip -= from;
        if (is_writable)
            memcpy(buffer->data + from, flat, take);
        else
            memcpy(flat, buffer->data + from, take);
        flat += take;
        bytes -= take;
    }
    check_equal(bytes, 0);
}

static inline uint32_t total(const struct fd_chain *chain, bool is_writable)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < chain->count; i++)
        bytes += chain->buffers[i].is_writable == is_writable ? chain->buffers[i].bytes : 0;
    return bytes;
}

#define DISCARDED 0xdd /* what is read after a discard or a secure erase */

/* 5.2.6: one range, behind a header without a sector; only zeroes may have the flag. */
static inline void serve_range(const struct fd_chain *chain, uint32_t type, uint32_t out)
{
    struct virtio_blk_range range;
    check_equal(out, sizeof(struct virtio_blk_req_header) + sizeof(range));
    transfer(chain, false, sizeof(struct virtio_blk_req_header), (uint8_t *)&range, sizeof(range));
    check(range.num_sectors > 0 && (range.sector + range.num_sectors) * 512 <= sizeof(disk_data));
    check(range.flags <= (type == VIRTIO_BLK_T_WRITE_ZEROES ? VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP : 0u));
    memset(disk_data + range.sector * 512, type == VIRTIO_BLK_T_WRITE_ZEROES ? 0 : DISCARDED,
           range.num_sectors * 512);
    m.range_types[m.range_count % ARRAY_SIZE(m.ranges)] = type;
    m.ranges[m.range_count++ % ARRAY_SIZE(m.ranges)] = range;
}

/* Does what the chain says, whatever its framing, and answers with m.answer; how much it wrote. */
static inline uint32_t perform(const struct fd_chain *chain)
{
    struct virtio_blk_req_header header;
    uint32_t in = total(chain, true), out = total(chain, false);
    uint8_t preset = chain->buffers[chain->count - 1].data[chain->buffers[chain->count - 1].bytes - 1];
    check_equal(preset, 0xff); /* hazard 39 */
    check(in >= 1 && out >= sizeof(header));
    transfer(chain, false, 0, (uint8_t *)&header, sizeof(header));
    check_equal(header.reserved, 0);
    switch (header.type) {
    case VIRTIO_BLK_T_IN:
        check(header.sector * 512 + in - 1 <= sizeof(disk_data) && out == sizeof(header));
        transfer(chain, true, 0, disk_data + header.sector * 512, in - 1);
        break;
    case VIRTIO_BLK_T_OUT:
        check(header.sector * 512 + out - 16 <= sizeof(disk_data) && in == 1);
        transfer(chain, false, 16, disk_data + header.sector * 512, out - 16);
        break;
    case VIRTIO_BLK_T_FLUSH:
        check(header.sector == 0 && in == 1 && out == 16);
        break;
    case VIRTIO_BLK_T_GET_ID:
        check(in == 21 && out == 16 && header.sector == 0);
        transfer(chain, true, 0, (uint8_t *)"serial-0123456789abc", 20);
        break;
    case VIRTIO_BLK_T_GET_LIFETIME:
        check(in == 7 && out == 16 && header.sector == 0);
        transfer(chain, true, 0, (uint8_t *)"\x01\0\x02\0\x0b", 6);
        break;
    case VIRTIO_BLK_T_DISCARD:
    case VIRTIO_BLK_T_WRITE_ZEROES:
    case VIRTIO_BLK_T_SECURE_ERASE:
        check(header.sector == 0 && in == 1);
        serve_range(chain, header.type, out);
        break;
    default:
        check(false);
    }
    if (m.answer != 0xff)
        transfer(chain, true, in - 1, &m.answer, 1);
    return in;
}

/* The same, and gives it back. */
static inline void serve(struct fake_device *fd, const struct fd_chain *chain)
{
    fd_push(fd, chain->id, perform(chain));
}

static inline void take_from(uint32_t queue)
{
    struct fake_device *fd = &m.fds[queue];
    while (fd->is_awake) {
        while (fd_pop(fd, &m.held[m.held_count].chain))
            m.held[m.held_count++].queue = queue;
        fd_sleep(fd);
    }
}

static inline void device_take(void)
{
    for (uint32_t i = 0; i < QUEUES; i++)
        take_from(i);
}

/* Lets go of the first `count` of a queue's; the others keep their order. */
static inline void drop_first(uint32_t queue, uint32_t count)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < m.held_count; i++) {
        if (m.held[i].queue == queue && count > 0)
            count--;
        else if (kept++ < i)
            m.held[kept - 1] = m.held[i];
    }
    m.held_count = kept;
    check_equal(count, 0);
}

/* VIRTIO_F_IN_ORDER: completes the first `count` of a queue's at once. */
static inline void device_complete_batch(uint32_t queue, uint32_t count)
{
    uint16_t ids[ARRAY_SIZE(m.held)];
    uint32_t served = 0, in = 0;
    for (uint32_t i = 0; i < m.held_count && served < count; i++) {
        if (m.held[i].queue != queue)
            continue;
        in = perform(&m.held[i].chain);
        ids[served++] = m.held[i].chain.id;
    }
    fd_push_batch(&m.fds[queue], ids, served, in);
    drop_first(queue, served);
}

/* Completes the `index`th of what it holds; in order, all of its queue up to it. */
static inline void device_complete(uint32_t index)
{
    check(index < m.held_count);
    struct held *held = &m.held[index];
    struct fake_device *fd = &m.fds[held->queue];
    if (fd->is_in_order) {
        uint32_t count = 1;
        for (uint32_t i = 0; i < index; i++)
            count += m.held[i].queue == held->queue;
        device_complete_batch(held->queue, count);
        return;
    }
    serve(fd, &held->chain);
    *held = m.held[--m.held_count];
}

static inline void device_do_all(struct virtio_blk *disk)
{
    device_take();
    while (m.held_count > 0)
        device_complete(0);
    interrupt(disk);
}

static inline uint32_t count_finished(uint8_t status)
{
    uint32_t count = 0;
    struct fifo_node *node;
    while ((node = fifo_pop(&finished)) != NULL) {
        count++;
        check_equal(container_of(node, struct block_request, node)->status, status);
    }
    return count;
}

#endif
