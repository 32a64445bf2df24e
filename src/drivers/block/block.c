/* SPDX-License-Identifier: MIT */
/* Devices: registration, names, references, and what others may ask of one. A device is in the table until
 * its last reference has gone, so that its name is nobody else's before; once it is_gone it is not found
 * there. How it goes: removal.c.
 *
 * Lock: table_lock covers the table and is_gone. device->lock as in block_internal.h. */
#include "block_internal.h"

#include <kernel/base/bits.h>
#include <kernel/cmdline.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/printf.h>
#include <kernel/string.h>

#ifdef __KERNEL__
CMDLINE_KEY(blk_sched, "blk.sched", "none|deadline", "scheduler of every queue");
CMDLINE_KEY(ram0_size, "ram0.size", "SIZE", "size of the RAM disk, default 16M");
#endif

static struct spinlock table_lock = SPINLOCK_INIT("block-table");
static struct block_device *devices[BLOCK_DEVICES_MAX]; /* table_lock; in order of registration */
static uint32_t device_count;                           /* table_lock */

static bool is_name_taken(const char *name)
{
    assert_spin_locked(&table_lock);
    for (uint32_t i = 0; i < device_count; i++)
        if (strcmp(devices[i]->name, name) == 0)
            return true;
    return false;
}

/* vd0, vd1, …: the lowest number that is free. */
static void make_name(struct block_device *device, const char *prefix)
{
    size_t length = strlen(prefix);
    unsigned number = 0;
    assert(length > 0 && length + sizeof("63") <= sizeof(device->name)); /* up to BLOCK_DEVICES_MAX - 1 */
    do
        snprintf(device->name, sizeof(device->name), "%s%u", prefix, number++);
    while (is_name_taken(device->name));
}

/* Whole blocks, cut where a block ends. */
static bool range_is_good(const struct block_range_limit *limit, uint32_t block_sectors)
{
    return limit->max_sectors == 0 ||
           (limit->max_sectors % block_sectors == 0 && limit->alignment_sectors != 0 &&
            limit->alignment_sectors % block_sectors == 0);
}

static bool ranges_are_good(const struct block_limits *limits)
{
    uint32_t block_sectors = limits->logical_block_bytes >> BLOCK_SECTOR_SHIFT;
    return range_is_good(&limits->discard, block_sectors) &&
           range_is_good(&limits->write_zeroes, block_sectors) &&
           range_is_good(&limits->secure_erase, block_sectors);
}

static bool limits_are_good(const struct block_limits *limits)
{
    return is_power_of_two(limits->logical_block_bytes) &&
           limits->logical_block_bytes >= BLOCK_SECTOR_BYTES && limits->depth > 0 &&
           limits->max_segments > 0 && limits->max_segment_bytes >= limits->logical_block_bytes &&
           limits->max_sectors >= limits->logical_block_bytes >> BLOCK_SECTOR_SHIFT &&
           ranges_are_good(limits);
}

/* So that the bytes of any request or piece fit in 32 bits. */
static void limit_sectors(struct block_limits *limits)
{
    limits->max_sectors = MIN(limits->max_sectors, BLOCK_SECTORS_MAX);
    limits->discard.max_sectors = MIN(limits->discard.max_sectors, BLOCK_SECTORS_MAX);
    limits->write_zeroes.max_sectors = MIN(limits->write_zeroes.max_sectors, BLOCK_SECTORS_MAX);
    limits->secure_erase.max_sectors = MIN(limits->secure_erase.max_sectors, BLOCK_SECTORS_MAX);
}

static const struct block_scheduler_ops *default_scheduler = &block_sched_none;

int block_scheduler_set_default(const char *name)
{
    const struct block_scheduler_ops *found = block_scheduler_find(name);
    if (!found)
        return -ENOENT;
    default_scheduler = found;
    return 0;
}

const struct block_scheduler_ops *block_scheduler_find(const char *name)
{
    static const struct block_scheduler_ops *const all[] = {&block_sched_none, &block_sched_deadline};
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        if (strcmp(all[i]->name, name) == 0)
            return all[i];
    return NULL;
}

int block_device_register(const struct block_device_config *config, struct block_device **result)
{
    assert(limits_are_good(&config->limits) && config->ops->submit);
    struct block_device *device = heap_alloc_zeroed(sizeof(*device));
    if (!device)
        return -ENOMEM;
    device->ops = config->ops;
    device->driver = config->driver;
    device->references = 1;
    snprintf(device->where, sizeof(device->where), "%s", config->where ? config->where : "");
    device->limits = config->limits;
    limit_sectors(&device->limits);
    device->sectors = config->sectors;
    device->sector_mask = (config->limits.logical_block_bytes >> BLOCK_SECTOR_SHIFT) - 1;
    device->plain_sectors_max =
        MIN(device->limits.max_sectors, config->limits.max_segment_bytes >> BLOCK_SECTOR_SHIFT);
    device->is_read_only = config->is_read_only;
    device->has_flush = config->has_flush;
    spinlock_init(&device->lock, "block-queue");
    mutex_init(&device->reset_mutex, "block-reset");
    wait_queue_init(&device->idle);
    fifo_init(&device->returned);
    device->scheduler = default_scheduler;
    device->scheduler->init(device);
    block_watchdog_init(device);
    spin_lock(&table_lock);
    bool has_room = device_count < BLOCK_DEVICES_MAX;
    if (has_room) {
        make_name(device, config->prefix);
        devices[device_count++] = device;
    }
    spin_unlock(&table_lock);
    if (!has_room) {
        heap_free(device);
        return -ENOSPC;
    }
    *result = device;
    return 0;
}

void *block_device_driver(struct block_device *device)
{
    return device->driver;
}

const char *block_device_name(const struct block_device *device)
{
    return device->name;
}

const char *block_device_where(const struct block_device *device)
{
    return device->where;
}

uint64_t block_device_sectors(const struct block_device *device)
{
    return read_once(device->sectors);
}

void block_device_set_sectors(struct block_device *device, uint64_t sectors)
{
    write_once(device->sectors, sectors);
}

const struct block_limits *block_device_limits(const struct block_device *device)
{
    return &device->limits;
}

bool block_device_is_read_only(const struct block_device *device)
{
    return device->is_read_only;
}

const struct block_device_ops *block_device_ops(const struct block_device *device)
{
    return read_once(device->ops);
}

/* ---- References -------------------------------------------------------------------------------------- */

struct block_device *block_device_get(struct block_device *device)
{
    uint32_t before = __atomic_fetch_add(&device->references, 1, __ATOMIC_RELAXED);
    assert(before > 0);
    return device;
}

void block_device_put(struct block_device *device)
{
    uint32_t before = __atomic_fetch_sub(&device->references, 1, __ATOMIC_ACQ_REL);
    assert(before > 0 && !block_in_interrupt());
    if (before == 1)
        block_device_release(device);
}

/* The first from `index` on that is still there, referenced. */
static struct block_device *get_from(uint32_t index)
{
    assert_spin_locked(&table_lock);
    while (index < device_count && devices[index]->is_gone)
        index++;
    return index < device_count ? block_device_get(devices[index]) : NULL;
}

static uint32_t index_of(const struct block_device *device)
{
    uint32_t index = 0;
    assert_spin_locked(&table_lock);
    while (devices[index] != device) {
        index++;
        assert(index < device_count);
    }
    return index;
}

struct block_device *block_device_next(struct block_device *previous)
{
    spin_lock(&table_lock);
    struct block_device *next = get_from(previous ? index_of(previous) + 1 : 0);
    spin_unlock(&table_lock);
    if (previous)
        block_device_put(previous);
    return next;
}

struct block_device *block_device_find(const char *name)
{
    block_device_foreach (device)
        if (strcmp(device->name, name) == 0)
            return device;
    return NULL;
}

bool block_device_is_gone(const struct block_device *device)
{
    return read_once(device->is_gone);
}

void block_table_hide(struct block_device *device)
{
    SPIN_SCOPED(&table_lock);
    assert(!device->is_gone);
    write_once(device->is_gone, true);
}

void block_table_remove(struct block_device *device)
{
    SPIN_SCOPED(&table_lock);
    for (uint32_t i = index_of(device) + 1; i < device_count; i++)
        devices[i - 1] = devices[i];
    device_count--;
}

/* ---- Asking ------------------------------------------------------------------------------------------- */

static bool is_idle(struct block_device *device)
{
    uint64_t flags = spin_lock_irq(&device->lock);
    bool idle = device->in_flight == 0 && device->queued == 0;
    spin_unlock_irq(&device->lock, flags);
    return idle;
}

static void change_drainers(struct block_device *device, int by)
{
    uint64_t flags = spin_lock_irq(&device->lock);
    assert(by > 0 || device->drainers > 0);
    device->drainers += (uint32_t)by;
    spin_unlock_irq(&device->lock, flags);
}

void block_device_drain(struct block_device *device)
{
    assert(!block_in_interrupt());
    block_plug_flush_own();
    change_drainers(device, 1);
    wait_event(&device->idle, is_idle(device));
    change_drainers(device, -1);
}

/* Ops that may sleep are called under reset_mutex, the others with preemption off: so a removal can wait for
 * both kinds. */
int block_device_reset(struct block_device *device)
{
    assert(!block_in_interrupt());
    mutex_lock(&device->reset_mutex);
    const struct block_device_ops *ops = block_device_ops(device);
    int error = ops->reset ? ops->reset(device) : -EOPNOTSUPP;
    mutex_unlock(&device->reset_mutex);
    block_restart(device); /* R5: what the driver left while it was resetting */
    return error;
}

int block_device_raw(struct block_device *device, struct block_raw_job *job)
{
    MUTEX_SCOPED(&device->reset_mutex);
    const struct block_device_ops *ops = block_device_ops(device);
    return ops->raw ? ops->raw(device, job) : -EOPNOTSUPP;
}

int block_device_describe(struct block_device *device)
{
    MUTEX_SCOPED(&device->reset_mutex);
    const struct block_device_ops *ops = block_device_ops(device);
    if (!ops->describe)
        return -EOPNOTSUPP;
    ops->describe(device);
    return 0;
}

void block_device_poll(struct block_device *device)
{
    preempt_disable();
    const struct block_device_ops *ops = block_device_ops(device);
    if (ops->poll)
        ops->poll(device);
    preempt_enable();
}

void block_device_set_polling(struct block_device *device, bool is_polling)
{
    preempt_disable();
    const struct block_device_ops *ops = block_device_ops(device);
    if (ops->set_polling)
        ops->set_polling(device, is_polling);
    preempt_enable();
}

bool block_device_is_idle(struct block_device *device)
{
    preempt_disable();
    const struct block_device_ops *ops = block_device_ops(device);
    bool is_idle = !ops->is_idle || ops->is_idle(device);
    preempt_enable();
    return is_idle;
}

int block_device_set_depth(struct block_device *device, uint32_t depth)
{
    SPIN_SCOPED_IRQ(&device->lock);
    assert(depth > 0);
    if (device->in_flight > depth)
        return -EBUSY;
    device->limits.depth = depth;
    return 0;
}

int block_device_ring_entries(struct block_device *device, struct block_ring_entries *entries)
{
    MUTEX_SCOPED(&device->reset_mutex);
    const struct block_device_ops *ops = block_device_ops(device);
    if (!ops->ring_entries)
        return -EOPNOTSUPP;
    ops->ring_entries(device, entries);
    return 0;
}

int block_device_set_ring_entries(struct block_device *device, uint32_t entries)
{
    assert(!block_in_interrupt());
    mutex_lock(&device->reset_mutex);
    const struct block_device_ops *ops = block_device_ops(device);
    int error = ops->set_ring_entries ? ops->set_ring_entries(device, entries) : -EOPNOTSUPP;
    mutex_unlock(&device->reset_mutex);
    block_restart(device); /* R5: what the driver left meanwhile */
    return error;
}

int block_status_to_error(uint8_t status)
{
    static const int errors[] = {
        [BLOCK_OK] = 0,
        [BLOCK_FAILED] = -EIO,
        [BLOCK_RETRY] = -EAGAIN,
        [BLOCK_UNSUPPORTED] = -EOPNOTSUPP,
        [BLOCK_READ_ONLY] = -EROFS,
        [BLOCK_OUT_OF_RANGE] = -EINVAL,
        [BLOCK_GONE] = -ENODEV,
    };
    assert(status < ARRAY_SIZE(errors));
    return errors[status];
}

const char *block_status_name(uint8_t status)
{
    static const char *const names[] = {"ok",        "failed",       "retry", "unsupported",
                                        "read-only", "out of range", "gone"};
    return status < ARRAY_SIZE(names) ? names[status] : "pending";
}

const char *block_operation_name(uint8_t operation)
{
    static const char *const names[] = {"read",    "write",        "flush",        "get-id",
                                        "discard", "write-zeroes", "secure-erase", "get-lifetime"};
    _Static_assert(ARRAY_SIZE(names) == BLOCK_OPERATIONS, "a name for each");
    return operation < ARRAY_SIZE(names) ? names[operation] : "unknown";
}

void block_device_stats(struct block_device *device, struct block_stats *stats)
{
    uint64_t flags = spin_lock_irq(&device->lock);
    *stats = device->stats;
    stats->queued = device->queued;
    stats->in_flight = device->in_flight;
    spin_unlock_irq(&device->lock, flags);
    preempt_disable();
    const struct block_device_ops *ops = block_device_ops(device);
    if (ops->counts)
        ops->counts(device, &stats->kicks, &stats->interrupts);
    if (ops->recovery)
        ops->recovery(device, &stats->recovery);
    preempt_enable();
}

void block_device_latency(struct block_device *device, uint64_t buckets[BLOCK_LATENCY_BUCKETS])
{
    uint64_t flags = spin_lock_irq(&device->lock);
    memcpy(buckets, device->latency, sizeof(device->latency));
    spin_unlock_irq(&device->lock, flags);
}

int block_device_set_scheduler(struct block_device *device, const char *name)
{
    const struct block_scheduler_ops *found = block_scheduler_find(name);
    struct fifo waiting = FIFO_INIT(waiting);
    struct block_request *request;
    if (!found)
        return -ENOENT;
    uint64_t flags = spin_lock_irq(&device->lock);
    uint32_t returned = 0, moved = 0;
    fifo_foreach (node, &device->returned)
        returned++;
    assert(returned <= device->queued);
    for (uint32_t left = device->queued - returned; left > 0; left--) {
        request = device->scheduler->take(device);
        assert(request != NULL);
        fifo_push(&waiting, &request->node);
        moved++;
    }
    device->scheduler = found;
    found->init(device);
    if (moved)
        device->queued -= found->insert(device, &waiting);
    spin_unlock_irq(&device->lock, flags);
    return 0;
}

const char *block_device_scheduler(const struct block_device *device)
{
    return read_once(device->scheduler)->name;
}

void block_dump(struct block_device *device)
{
    struct block_stats stats;
    block_device_stats(device, &stats);
    log_info(device->name,
             "%u queued, %u in flight of %u, scheduler %s, %llu device requests, %llu late looks",
             stats.queued, stats.in_flight, device->limits.depth, block_device_scheduler(device),
             (unsigned long long)stats.device_requests, (unsigned long long)stats.late);
    preempt_disable();
    const struct block_device_ops *ops = block_device_ops(device);
    if (ops->dump)
        ops->dump(device);
    preempt_enable();
}

#ifdef __KERNEL__
void block_init(void)
{
    uint64_t bytes = MIB(16);
    struct block_device *ram0;
    const char *scheduler = cmdline_get("blk.sched");
    if (scheduler && block_scheduler_set_default(scheduler) != 0)
        log_warning("cmdline", "blk.sched='%s' is not one of none, deadline: ignored", scheduler);
    block_watchdog_setup();
    cmdline_u64("ram0.size", MIB(1), GIB(1), &bytes);
    if (block_memdisk_create("ram", align_down(bytes, PAGE_BYTES), &ram0) != 0)
        log_error("block", "no memory for a RAM disk of %llu bytes", (unsigned long long)bytes);
    else
        log_info(ram0->name, "RAM disk, %llu MiB", (unsigned long long)(bytes >> 20));
}
#endif
