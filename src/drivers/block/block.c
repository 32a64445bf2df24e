/* SPDX-License-Identifier: MIT */
/* Devices: registration, names, and what others may ask of one. Devices are never removed, so the table is
 * only appended to and a pointer found in it stays good.
 *
 * Lock: table_lock covers the table's end and the numbers of names. device->lock as in block_internal.h. */
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
static struct block_device *devices[BLOCK_DEVICES_MAX];
static uint32_t device_count; /* a: written under table_lock, after the entry */

/* vd0, vd1, …: the next number of this prefix. */
static void make_name(struct block_device *device, const char *prefix)
{
    size_t length = strlen(prefix);
    unsigned number = 0;
    assert_spin_locked(&table_lock);
    assert(length > 0 && length + sizeof("63") <= sizeof(device->name)); /* up to BLOCK_DEVICES_MAX - 1 */
    for (uint32_t i = 0; i < device_count; i++)
        number += strncmp(devices[i]->name, prefix, length) == 0;
    snprintf(device->name, sizeof(device->name), "%s%u", prefix, number);
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
    device->where = config->where ? config->where : "";
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
        devices[device_count] = device;
        __atomic_store_n(&device_count, device_count + 1, __ATOMIC_RELEASE);
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

struct block_device *block_device_at(uint32_t index)
{
    return index < __atomic_load_n(&device_count, __ATOMIC_ACQUIRE) ? devices[index] : NULL;
}

struct block_device *block_device_find(const char *name)
{
    struct block_device *device;
    for (uint32_t i = 0; (device = block_device_at(i)) != NULL; i++)
        if (strcmp(device->name, name) == 0)
            return device;
    return NULL;
}

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

int block_device_reset(struct block_device *device)
{
    const struct block_device_ops *ops = block_device_ops(device);
    assert(!block_in_interrupt());
    if (!ops->reset)
        return -EOPNOTSUPP;
    mutex_lock(&device->reset_mutex);
    int error = ops->reset(device);
    mutex_unlock(&device->reset_mutex);
    block_restart(device); /* R5: what the driver left while it was resetting */
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
    if (block_device_ops(device)->counts)
        block_device_ops(device)->counts(device, &stats->kicks, &stats->interrupts);
    if (block_device_ops(device)->recovery)
        block_device_ops(device)->recovery(device, &stats->recovery);
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
    if (block_device_ops(device)->dump)
        block_device_ops(device)->dump(device);
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
