/* SPDX-License-Identifier: MIT */
/* The virtio core and the virtio disk on a transport and a device made up here: negotiation, configuration,
 * limits, traffic with its data, statuses, lies, reset and replay. The block layer above is a few stubs that
 * keep what completes. */
#include <kernel/base/bits.h>
#include <kernel/base/error.h>
#include <kernel/cmdline.h>

#include <stdlib.h>
#include <string.h>

#include "../../src/drivers/virtio/virtio_blk_internal.h"
#include "fake_device.h"

#define DISK_SECTORS 256u

/* ---- The device behind the transport ---------------------------------------------------------------- */

static struct machine {
    struct virtio_device device;
    uint64_t offered, written_features;
    uint8_t status, history[16];
    uint32_t writes;
    bool has_features_ok, is_isolated;
    int reset_reads; /* reads of the status that do not show 0 yet; below 0: never */
    int resets_left; /* after so many resets it answers no more; below 0: always */
    uint8_t config[64];
    uint32_t generation, config_changes; /* the configuration changes under the reader, so many times */
    uint32_t queue_size, enabled, connects, disconnects, notifies;
    int connect_error;
    struct fake_device fd;
    struct fd_chain held[1024];
    uint32_t held_count;
    uint8_t answer; /* the status that it writes */
} m;
static uint8_t disk_data[DISK_SECTORS * 512];
static uint32_t completed_before_reset_ended;

static uint8_t status_read(struct virtio_device *device)
{
    (void)device;
    if (m.status == 0 && m.reset_reads != 0) {
        m.reset_reads -= m.reset_reads > 0;
        return 0x80;
    }
    return m.status;
}

static void status_write(struct virtio_device *device, uint8_t status)
{
    (void)device;
    if (m.writes < ARRAY_SIZE(m.history))
        m.history[m.writes++] = status;
    m.status = status;
    if (status == 0) {
        m.enabled = m.held_count = 0;
        if (m.resets_left == 0)
            m.reset_reads = -1;
        m.resets_left -= m.resets_left > 0;
    }
    if (!m.has_features_ok)
        m.status &= (uint8_t)~VIRTIO_STATUS_FEATURES_OK;
}

static uint64_t features_read(struct virtio_device *device)
{
    (void)device;
    return m.offered;
}

static void features_write(struct virtio_device *device, uint64_t features)
{
    (void)device;
    m.written_features = features;
}

static uint32_t config_read(struct virtio_device *device, uint32_t offset, uint32_t width)
{
    (void)device;
    uint32_t value = 0;
    memcpy(&value, m.config + offset, width);
    if (m.config_changes > 0 && offset == 0) { /* between the two halves of the capacity */
        m.config_changes--;
        m.generation++;
        store_le64(m.config, load_le64(m.config) + 0x100000001ull);
    }
    return value;
}

static uint32_t config_generation(struct virtio_device *device)
{
    (void)device;
    return m.generation & 0xff;
}

static uint32_t queue_size(struct virtio_device *device, uint32_t index)
{
    (void)device;
    return index == 0 ? m.queue_size : 0;
}

static int interrupts_connect(struct virtio_device *device)
{
    (void)device;
    m.connects++;
    return m.connect_error;
}

static void interrupts_disconnect(struct virtio_device *device)
{
    (void)device;
    m.disconnects++;
}

static int queue_enable(struct virtio_device *device, struct virtqueue *queue)
{
    check(device->features >> VIRTIO_F_VERSION_1 & 1);
    check(m.status & VIRTIO_STATUS_FEATURES_OK);
    check(!(m.status & VIRTIO_STATUS_DRIVER_OK));
    fd_attach(&m.fd, queue);
    check(m.fd.avail->idx == 0 && m.fd.used->idx == 0);
    m.enabled++;
    fd_sleep(&m.fd);
    return 0;
}

static void notify(struct virtqueue *queue)
{
    (void)queue;
    check(m.status & VIRTIO_STATUS_DRIVER_OK); /* 3.1.1: not before */
    m.notifies++;
    fd_notify(&m.fd);
}

static void isolate(struct virtio_device *device)
{
    (void)device;
    m.is_isolated = true;
}

static void interrupt_text(const struct virtqueue *queue, char *text, size_t bytes)
{
    (void)queue;
    snprintf(text, bytes, "by hand");
}

static const struct virtio_transport_ops transport = {"test",
                                                      status_read,
                                                      status_write,
                                                      features_read,
                                                      features_write,
                                                      config_read,
                                                      config_generation,
                                                      queue_size,
                                                      interrupts_connect,
                                                      interrupts_disconnect,
                                                      queue_enable,
                                                      notify,
                                                      isolate,
                                                      interrupt_text};

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

static void run_works(void)
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
void block_restart(struct block_device *device)
{
    check(device == &block);
    restarts++;
}

void block_complete(struct block_device *device, struct fifo *leaders)
{
    check(device == &block);
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
    return leader->operation == BLOCK_GET_ID ? BLOCK_ID_BYTES : leader->sectors * 512;
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

/* Not linked here: it needs threads. */
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

static void set_config(uint64_t capacity, uint32_t seg_max, uint32_t blk_size)
{
    store_le64(m.config, capacity);
    store_le32(m.config + offsetof(struct virtio_blk_config, size_max), 1u << 20);
    store_le32(m.config + offsetof(struct virtio_blk_config, seg_max), seg_max);
    store_le32(m.config + offsetof(struct virtio_blk_config, blk_size), blk_size);
}

static void prepare(uint32_t size, uint64_t offered)
{
    memset(&m, 0, sizeof(m));
    m.device.transport = &transport;
    m.device.type = VIRTIO_ID_BLOCK;
    m.offered = offered;
    m.has_features_ok = true;
    m.resets_left = -1;
    m.queue_size = size;
    set_config(DISK_SECTORS, 254, 512);
    is_registered = false;
    register_error = 0;
    restarts = 0;
    completed_before_reset_ended = 0;
    virtio_settings.queue_size = 1024;
    fifo_init(&finished);
    fifo_init(&works);
    m.answer = VIRTIO_BLK_S_OK;
}

static struct virtio_blk *start(uint32_t size, uint64_t offered)
{
    prepare(size, offered);
    check_equal(virtio_device_add(&m.device), 0);
    check(is_registered);
    run_works();
    return block.config.driver;
}

/* Everything must be free; gives the memory back. */
static void stop(struct virtio_blk *disk)
{
    check(block.config.ops->is_idle(&block)); /* R2 */
    check(virtqueue_is_consistent(disk->queue.ring));
    virtio_device_destroy_queues(&m.device);
    free(disk->queue.slots);
    free(disk->queue.bounce);
    free(disk);
}

static struct block_request make_request(enum block_operation operation, uint64_t sector, void *data,
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

static void push(struct fifo *batch, struct block_request *request)
{
    if (request->segment_count <= 1)
        request->segments = &request->one;
    request->phase = 1;
    request->status = BLOCK_PENDING;
    fifo_push(batch, &request->node);
}

static void submit(struct block_request *requests, uint32_t count)
{
    struct fifo batch;
    fifo_init(&batch);
    for (uint32_t i = 0; i < count; i++)
        push(&batch, &requests[i]);
    block.config.ops->submit(&block, &batch);
    check(fifo_is_empty(&batch));
}

static void interrupt(struct virtio_blk *disk)
{
    if (fd_must_interrupt(&m.fd))
        disk->queue.ring->config.interrupt(disk->queue.ring);
}

/* Moves `bytes` between the chain's buffers (from its `skip`th readable or writable byte on) and `flat`. */
static void transfer(const struct fd_chain *chain, bool is_writable, uint32_t skip, uint8_t *flat,
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

static uint32_t total(const struct fd_chain *chain, bool is_writable)
{
    uint32_t bytes = 0;
    for (uint32_t i = 0; i < chain->count; i++)
        bytes += chain->buffers[i].is_writable == is_writable ? chain->buffers[i].bytes : 0;
    return bytes;
}

/* Does what the chain says, whatever its framing, and gives it back with m.answer. */
static void serve(const struct fd_chain *chain)
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
    default:
        check(false);
    }
    if (m.answer != 0xff)
        transfer(chain, true, in - 1, &m.answer, 1);
    fd_push(&m.fd, chain->id, in);
}

static void device_take(void)
{
    while (m.fd.is_awake) {
        while (fd_pop(&m.fd, &m.held[m.held_count]))
            m.held_count++;
        fd_sleep(&m.fd);
    }
}

/* Completes the `index`th of what it holds. */
static void device_complete(uint32_t index)
{
    check(index < m.held_count);
    serve(&m.held[index]);
    m.held[index] = m.held[--m.held_count];
}

static void device_do_all(struct virtio_blk *disk)
{
    device_take();
    while (m.held_count > 0)
        device_complete(0);
    interrupt(disk);
}

static uint32_t count_finished(uint8_t status)
{
    uint32_t count = 0;
    struct fifo_node *node;
    while ((node = fifo_pop(&finished)) != NULL) {
        count++;
        check_equal(container_of(node, struct block_request, node)->status, status);
    }
    return count;
}

/* ---- Negotiation -------------------------------------------------------------------------------------- */

static void test_negotiation(void)
{
    char text[512];
    static const uint8_t steps[] = {0, 1, 3, 0xb, 0xf};
    struct virtio_blk *disk = start(64, ~0ull);
    check_equal(m.written_features,
                BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_F_VERSION_1) |
                    BIT(VIRTIO_F_ACCESS_PLATFORM) | BIT(VIRTIO_F_ORDER_PLATFORM) |
                    BIT(VIRTIO_BLK_F_SIZE_MAX) | BIT(VIRTIO_BLK_F_SEG_MAX) | BIT(VIRTIO_BLK_F_RO) |
                    BIT(VIRTIO_BLK_F_BLK_SIZE) | BIT(VIRTIO_BLK_F_FLUSH) | BIT(VIRTIO_BLK_F_TOPOLOGY));
    virtio_features_text(&m.device, text, sizeof(text));
    check(strstr(text, "+VERSION_1") && strstr(text, "-RING_PACKED") && strstr(text, "-BIT_50"));
    check(strstr(text, "+FLUSH") && strstr(text, "-MQ") && !strstr(text, "+BIT_"));
    check(memcmp(m.history, steps, sizeof(steps)) == 0 && m.writes == sizeof(steps));
    check(block.config.is_read_only);
    char small[8];
    virtio_features_text(&m.device, small, sizeof(small));
    check_equal(small[7], 0);
    stop(disk);

    virtio_settings.has_indirect = virtio_settings.has_event_idx = false;
    disk = start(64, ALL_OF_QEMU);
    check(!(m.written_features & (BIT(VIRTIO_F_INDIRECT_DESC) | BIT(VIRTIO_F_EVENT_IDX))));
    stop(disk);
    virtio_settings.has_indirect = virtio_settings.has_event_idx = true;
}

static void expect_refused(int error)
{
    check_equal(-virtio_device_add(&m.device), error);
    check(!is_registered);
    check(error == ETIMEDOUT || m.status & VIRTIO_STATUS_FAILED);
}

static void test_refusals(void)
{
    prepare(64, ALL_OF_QEMU & ~BIT(VIRTIO_F_VERSION_1));
    expect_refused(EOPNOTSUPP);
    prepare(64, ALL_OF_QEMU);
    m.has_features_ok = false;
    expect_refused(EOPNOTSUPP);
    prepare(64, ALL_OF_QEMU);
    m.reset_reads = -1;
    expect_refused(ETIMEDOUT);
    check(m.is_isolated && m.writes == 1);
    prepare(64, ALL_OF_QEMU);
    m.connect_error = -ENODEV;
    expect_refused(ENODEV);
    check(m.enabled == 0 && m.disconnects == 1);
    prepare(1, ALL_OF_QEMU); /* a queue of one entry */
    expect_refused(EOPNOTSUPP);
    prepare(0, ALL_OF_QEMU);
    expect_refused(EOPNOTSUPP);
    prepare(64, ALL_OF_QEMU | BIT(VIRTIO_BLK_F_SIZE_MAX));
    store_le32(m.config + offsetof(struct virtio_blk_config, size_max), 0);
    expect_refused(EOPNOTSUPP);
    prepare(64, ALL_OF_QEMU);
    m.device.type = 99;
    check_equal(-virtio_device_add(&m.device), ENODEV);
    prepare(64, ALL_OF_QEMU);
    register_error = -ENOMEM;
    expect_refused(ENOMEM);
    check_equal(m.disconnects, 1);
    prepare(64, ALL_OF_QEMU);
    m.reset_reads = 5; /* slow, but it comes */
    uint64_t before = host_clock_ns;
    check_equal(virtio_device_add(&m.device), 0);
    check(host_clock_ns > before);
    stop(block.config.driver);
}

static void test_limits(void)
{
    struct virtio_blk *disk = start(256, ALL_OF_QEMU);
    check_equal(block.config.limits.max_segments, 64);
    check_equal(block.config.limits.depth, 256);
    check(block.config.has_flush && !block.config.is_read_only);
    stop(disk);
    disk = start(4, ALL_OF_QEMU);
    check_equal(block.config.limits.max_segments, 2);
    stop(disk);
    disk = start(100, ALL_OF_QEMU & ~BIT(VIRTIO_F_INDIRECT_DESC)); /* no power of two */
    check_equal(disk->queue.ring->size, 64);
    check_equal(block.config.limits.depth, 21);
    stop(disk);
    disk = start(64, ALL_OF_QEMU & ~BIT(VIRTIO_BLK_F_SEG_MAX));
    check_equal(block.config.limits.max_segments, 1);
    stop(disk);

    /* Hazard 34: the capacity is in sectors of 512 bytes, whatever the block is. And it is read whole. */
    prepare(64, ALL_OF_QEMU);
    set_config(1000003, 10, 4096);
    m.config[offsetof(struct virtio_blk_config, physical_block_exp)] = 2;
    m.config_changes = 3;
    check_equal(virtio_device_add(&m.device), 0);
    run_works();
    check_equal(block.sectors, (1000003 + 3 * 0x100000001ull) & ~7ull);
    check_equal(block.config.limits.logical_block_bytes, 4096);
    check_equal(block.config.limits.physical_block_bytes, 16384);
    check_equal(block.config.limits.max_segments, 10);
    stop(block.config.driver);
    prepare(64, ALL_OF_QEMU);
    set_config(1000, 0, 12345);
    check_equal(virtio_device_add(&m.device), 0);
    check_equal(block.config.limits.logical_block_bytes, 512);
    check_equal(block.config.limits.max_segments, 1);
    stop(block.config.driver);
}

/* ---- Traffic ------------------------------------------------------------------------------------------ */

#define REQUESTS 64u

struct client {
    struct block_request request;
    struct block_segment segments[64];
    uint8_t data[4096];
    bool is_busy;
} clients[REQUESTS];

static void make_client(struct client *client, uint32_t index)
{
    /* Each has its own sectors, so that what is read can be foretold. */
    uint32_t sectors = 1 + fd_random(3), kind = fd_random(10);
    uint32_t pieces = 1 + fd_random(MIN(sectors, (uint32_t)block.config.limits.max_segments));
    if (kind == 0) {
        client->request = make_request(BLOCK_FLUSH, 0, NULL, 0);
        return;
    }
    client->request =
        make_request(kind < 5 ? BLOCK_READ : BLOCK_WRITE, index * 4, client->data, sectors * 512);
    if (kind < 5)
        memset(client->data, 0xee, sizeof(client->data));
    else
        for (uint32_t i = 0; i < sectors * 512; i++)
            client->data[i] = (uint8_t)fd_random(256);
    client->request.segments = client->segments;
    client->request.segment_count = client->request.total_segments = (uint16_t)pieces;
    for (uint32_t i = 0; i < pieces; i++)
        client->segments[i] =
            (struct block_segment){client->data + i * 512, i + 1 < pieces ? 512 : (sectors - i) * 512};
    if (pieces == 1)
        client->request.one = client->segments[0];
}

static void check_finished(uint64_t *done)
{
    struct fifo_node *node;
    while ((node = fifo_pop(&finished)) != NULL) {
        struct block_request *request = container_of(node, struct block_request, node);
        struct client *client = container_of(request, struct client, request);
        check(client->is_busy);
        check_equal(request->status, BLOCK_OK);
        if (request->operation != BLOCK_FLUSH)
            check(memcmp(client->data, disk_data + request->sector * 512, request->sectors * 512) == 0);
        client->is_busy = false;
        (*done)++;
    }
}

/* Random submits, completions in any order, an interrupt only where asked for. */
static void run_traffic(uint32_t size, uint64_t offered, uint64_t limit)
{
    struct virtio_blk *disk = start(size, offered);
    struct fifo waiting;
    uint64_t done = 0, idle = 0;
    fifo_init(&waiting);
    while (done < limit && idle++ < 1000) {
        uint64_t before = done;
        for (uint32_t i = fd_random(8); i > 0; i--) {
            uint32_t index = fd_random(REQUESTS);
            if (clients[index].is_busy)
                continue;
            make_client(&clients[index], index);
            clients[index].is_busy = true;
            push(&waiting, &clients[index].request);
        }
        struct fifo_node *head = waiting.head;
        if (head) {
            block.config.ops->submit(&block, &waiting);
            check(waiting.head != head || disk->queue.ring->free_count <
                                              disk->queue.ring->size); /* or nobody would ever restart it */
        }
        device_take();
        for (uint32_t i = fd_random(m.held_count + 1); i > 0; i--)
            device_complete(fd_random(m.held_count));
        interrupt(disk);
        check_finished(&done);
        idle = done != before ? 0 : idle;
    }
    check(done >= limit);
    while (idle++ < 2000 &&
           (disk->queue.ring->free_count < disk->queue.ring->size || !fifo_is_empty(&waiting))) {
        block.config.ops->submit(&block, &waiting);
        device_do_all(disk);
        check_finished(&done);
    }
    for (uint32_t i = 0; i < REQUESTS; i++)
        check(!clients[i].is_busy); /* R1: each came back */
    check_equal(disk->queue.bad_statuses, 0);
    stop(disk);
}

static void test_traffic(void)
{
    static const uint32_t sizes[] = {2, 4, 8, 64, 256};
    for (size_t s = 0; s < ARRAY_SIZE(sizes); s++) {
        run_traffic(sizes[s], ALL_OF_QEMU, 3000);
        run_traffic(sizes[s], ALL_OF_QEMU & ~BIT(VIRTIO_F_INDIRECT_DESC), 3000);
        run_traffic(sizes[s], ALL_OF_QEMU & ~BIT(VIRTIO_F_EVENT_IDX), 3000);
        run_traffic(sizes[s], ALL_OF_QEMU & ~BIT(VIRTIO_F_EVENT_IDX) & ~BIT(VIRTIO_F_INDIRECT_DESC), 3000);
    }
}

static void test_statuses(void)
{
    static const struct {
        uint8_t answer, expected;
    } cases[] = {
        {0, BLOCK_OK}, {1, BLOCK_FAILED}, {2, BLOCK_UNSUPPORTED}, {3, BLOCK_FAILED}, {0xff, BLOCK_FAILED}};
    static uint8_t data[512];
    for (unsigned size = 2; size <= 64; size += 62) {
        struct virtio_blk *disk = start(size, ALL_OF_QEMU);
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            struct block_request request = make_request(BLOCK_READ, 1, data, 512);
            submit(&request, 1);
            m.answer = cases[i].answer;
            device_do_all(disk);
            check_equal(count_finished(cases[i].expected), 1);
        }
        check_equal(disk->queue.bad_statuses, 2);
        m.answer = 0;
        struct block_request id = make_request(BLOCK_GET_ID, 0, data, BLOCK_ID_BYTES);
        submit(&id, 1);
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), 1);
        check(memcmp(data, "serial-0123456789abc", 20) == 0);
        stop(disk);
    }
    /* Each its own, whatever the order (hazard 45). */
    struct virtio_blk *disk = start(64, ALL_OF_QEMU);
    static struct block_request requests[8];
    for (uint32_t i = 0; i < 8; i++)
        requests[i] = make_request(BLOCK_READ, i, data, 512);
    submit(requests, 8);
    device_take();
    for (uint32_t left = 8; left > 0; left--) {
        struct virtio_blk_req_header *header = (void *)m.held[left / 2].buffers[0].data;
        m.answer = header->sector % 3 == 0;
        device_complete(left / 2);
    }
    interrupt(disk);
    for (uint32_t i = 0; i < 8; i++)
        check_equal(requests[i].status, i % 3 == 0 ? BLOCK_FAILED : BLOCK_OK);
    check_equal(disk->queue.interrupts, 1);
    stop(disk);
}

/* One doorbell a batch, one interrupt for several completions, none while polling. */
static void test_batches(void)
{
    static uint8_t data[512];
    static struct block_request requests[40];
    struct virtio_blk *disk = start(64, ALL_OF_QEMU);
    for (uint32_t i = 0; i < 40; i++)
        requests[i] = make_request(BLOCK_READ, i, data, 512);
    submit(requests, 40);
    check_equal(m.notifies, 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 40);
    uint64_t kicks, interrupts;
    block.config.ops->counts(&block, &kicks, &interrupts);
    check(kicks == 1 && interrupts == 1);

    block.config.ops->set_polling(&block, true);
    submit(requests, 1); /* the interrupt that had been asked for already may still come */
    device_do_all(disk);
    block.config.ops->poll(&block);
    check_equal(count_finished(BLOCK_OK), 1);
    interrupts = disk->queue.interrupts;
    for (unsigned i = 0; i < 3; i++) {
        submit(requests, 1);
        device_do_all(disk);
        check_equal(count_finished(BLOCK_OK), 0);
        block.config.ops->poll(&block);
        check_equal(count_finished(BLOCK_OK), 1);
    }
    check_equal(disk->queue.interrupts, interrupts);
    submit(requests, 1);
    device_do_all(disk);
    block.config.ops->set_polling(&block, false); /* what came meanwhile is not lost (R5) */
    check_equal(count_finished(BLOCK_OK), 1);
    submit(requests, 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);

    /* A lost interrupt, then a lost doorbell. */
    submit(requests, 1);
    device_take();
    device_complete(0);
    block.config.ops->late(&block);
    check_equal(count_finished(BLOCK_OK), 1);
    check(disk->queue.late_found == 1 && disk->queue.late_bells == 0);
    submit(requests, 1);
    m.fd.is_awake = false;
    uint32_t before = m.notifies;
    block.config.ops->late(&block);
    check_equal(m.notifies, before + 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);
    before = m.notifies;
    block.config.ops->late(&block); /* nothing in flight: nothing to do */
    check_equal(m.notifies, before);
    stop(disk);
}

static const struct virtqueue_ops *real_ops;
static unsigned races_left;

/* The device completes another one just before callbacks are on again. */
static bool enable_with_race(struct virtqueue *queue)
{
    if (races_left > 0) {
        races_left--;
        device_complete(0);
    }
    return real_ops->callbacks_enable(queue);
}

/* R5: what completes between the last look and the question is found without another interrupt. */
static void test_race(void)
{
    static uint8_t data[512];
    static struct block_request requests[4];
    for (unsigned has_event_idx = 0; has_event_idx < 2; has_event_idx++) {
        struct virtio_blk *disk =
            start(64, has_event_idx ? ALL_OF_QEMU : ALL_OF_QEMU & ~BIT(VIRTIO_F_EVENT_IDX));
        struct virtqueue *ring = disk->queue.ring;
        struct virtqueue_ops ops = *ring->ops;
        real_ops = ring->ops;
        ops.callbacks_enable = enable_with_race;
        for (uint32_t i = 0; i < 4; i++)
            requests[i] = make_request(BLOCK_READ, i, data, 512);
        submit(requests, 4);
        device_take();
        device_complete(0);
        races_left = 3;
        ring->ops = &ops;
        interrupt(disk);
        ring->ops = real_ops;
        check_equal(count_finished(BLOCK_OK), 4);
        check_equal(disk->queue.interrupts, 1);
        stop(disk);
    }
}

/* ---- Reset ----------------------------------------------------------------------------------------------
 */

static uint8_t reset_data[512];
static struct block_request in_flight[8];

static void submit_eight(void)
{
    for (uint32_t i = 0; i < 8; i++)
        in_flight[i] = make_request(BLOCK_READ, i, reset_data, 512);
    submit(in_flight, 8);
}

static void check_order(uint64_t first, uint32_t count)
{
    check_equal(m.held_count, count);
    for (uint32_t i = 0; i < m.held_count; i++)
        check(((struct virtio_blk_req_header *)m.held[i].buffers[0].data)->sector >= first + i);
}

static void test_reset(void)
{
    struct virtio_blk *disk =
        start(16, ALL_OF_QEMU & ~BIT(VIRTIO_F_INDIRECT_DESC) & ~BIT(VIRTIO_BLK_F_FLUSH));
    /* Ids in no order: the free list has been through something. */
    for (unsigned round = 0; round < 5; round++) {
        static struct block_request few[4];
        for (uint32_t i = 0; i < 4; i++)
            few[i] = make_request(BLOCK_READ, i, reset_data, 512);
        submit(few, 4);
        device_take();
        while (m.held_count > 0)
            device_complete(fd_random(m.held_count));
        interrupt(disk);
        check_equal(count_finished(BLOCK_OK), 4);
    }
    stop(disk);

    disk = start(64, ALL_OF_QEMU);
    submit_eight();
    device_take();
    device_complete(2); /* in the used ring, its interrupt not taken */
    m.reset_reads = 3;
    check_equal(block.config.ops->reset(&block), 0);
    check_equal(completed_before_reset_ended, 0); /* R6 */
    check(in_flight[2].status == BLOCK_OK && count_finished(BLOCK_OK) == 1);
    check(restarts == 1 && m.enabled == 1 && m.connects == 2);
    device_take();
    check_order(0, 7);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 7);

    submit_eight(); /* replayed three times, then not again */
    for (unsigned i = 0; i < 3; i++) {
        check_equal(block.config.ops->reset(&block), 0);
        check_equal(count_finished(BLOCK_OK), 0);
    }
    device_take();
    check_order(0, 8);
    check_equal(block.config.ops->reset(&block), 0);
    check_equal(count_finished(BLOCK_RETRY), 8);
    stop(disk);
}

/* While it is down nothing is taken; when it comes back, the layer is told. */
static void test_reset_refuses_meanwhile(void)
{
    struct virtio_blk *disk = start(64, ALL_OF_QEMU);
    struct block_request request = make_request(BLOCK_READ, 0, reset_data, 512);
    struct fifo batch;
    fifo_init(&batch);
    push(&batch, &request);
    disk->queue.state = VIRTIO_BLK_DOWN;
    block.config.ops->submit(&block, &batch);
    check(batch.head == &request.node && virtqueue_is_idle(disk->queue.ring));
    check(disk->queue.ring->config.interrupt(disk->queue.ring));
    check_equal(block.config.ops->reset(&block), 0);
    block.config.ops->submit(&block, &batch);
    check(fifo_is_empty(&batch));
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 1);
    stop(disk);
}

static void test_gone(void)
{
    struct virtio_blk *disk = start(64, ALL_OF_QEMU);
    submit_eight();
    m.resets_left = 0; /* it answers no more */
    check_equal(-block.config.ops->reset(&block), ETIMEDOUT);
    check(m.is_isolated);
    check_equal(count_finished(BLOCK_GONE), 8);
    submit_eight();
    check_equal(count_finished(BLOCK_GONE), 8);
    check_equal(-block.config.ops->reset(&block), ENODEV);
    m.reset_reads = 0;
    m.resets_left = -1;
    stop(disk);

    disk = start(64, ALL_OF_QEMU); /* it comes back without a feature in use */
    submit_eight();
    m.offered &= ~BIT(VIRTIO_F_INDIRECT_DESC);
    check_equal(-block.config.ops->reset(&block), EIO);
    check_equal(count_finished(BLOCK_GONE), 8);
    stop(disk);
}

/* A lie: reset and replay; again and again: an end. */
static void test_lies(void)
{
    struct virtio_blk *disk = start(64, ALL_OF_QEMU);
    submit_eight();
    device_take();
    fd_push(&m.fd, 63, 1);
    interrupt(disk);
    check_equal(count_finished(BLOCK_OK), 0);
    check_equal(disk->queue.state, VIRTIO_BLK_DOWN);
    run_works();
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 8);
    check_equal(disk->resets, 1);

    uint32_t rounds = 0, retried = 0, gone = 0;
    while (disk->queue.state == VIRTIO_BLK_UP && rounds++ < 100) {
        if (virtqueue_is_idle(disk->queue.ring))
            submit_eight();
        device_take();
        fd_push(&m.fd, 63, 1);
        interrupt(disk);
        run_works();
        struct fifo_node *node;
        while ((node = fifo_pop(&finished)) != NULL) {
            uint8_t status = container_of(node, struct block_request, node)->status;
            retried += status == BLOCK_RETRY;
            gone += status == BLOCK_GONE;
        }
    }
    check(rounds < 20 && retried > 0 && gone > 0 && disk->queue.state == VIRTIO_BLK_GONE);
    stop(disk);
}

static void test_config_change(void)
{
    struct virtio_blk *disk = start(64, ALL_OF_QEMU);
    m.device.driver->config_changed(&m.device);
    set_config(DISK_SECTORS * 2, 254, 512);
    m.generation++;
    run_works();
    check_equal(block.sectors, DISK_SECTORS * 2);
    check_equal(disk->resets, 0);
    submit_eight();
    m.status |= VIRTIO_STATUS_NEEDS_RESET;
    m.device.driver->config_changed(&m.device);
    run_works();
    check_equal(disk->resets, 1);
    device_do_all(disk);
    check_equal(count_finished(BLOCK_OK), 8);
    stop(disk);
    m.device.driver_data = NULL;
    m.device.driver->config_changed(&m.device); /* after a failed probe */
}

int main(void)
{
    for (uint32_t i = 0; i < sizeof(disk_data); i++)
        disk_data[i] = (uint8_t)fd_random(256);
    test_negotiation();
    test_refusals();
    test_limits();
    test_traffic();
    test_statuses();
    test_batches();
    test_race();
    test_reset();
    test_reset_refuses_meanwhile();
    test_gone();
    test_lies();
    test_config_change();
    return check_finish();
}
