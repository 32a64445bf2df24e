/* SPDX-License-Identifier: MIT */
/* A block device goes away under the block layer: names, references, and what becomes of requests wherever
 * they are. Memory is the leak checker's. */
#include <drivers/block/fault.h>

#include "block_machine.h"

#define COUNT 12u

static struct block_request requests[COUNT];
static uint8_t data[COUNT * 4096];
static uint32_t dones, released;

static void note_released(struct block_device *device)
{
    check(block_device_is_gone(device) && strcmp(block_device_name(device), "") != 0);
    released++;
}
BLOCK_RELEASE_HOOK(test, note_released);

static void note_done(struct block_request *request)
{
    check_equal(request->status, BLOCK_GONE);
    dones++;
}

/* Each in another place, so that they do not merge. */
static void submit_all(void)
{
    dones = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        block_request_init(&requests[i], disk.device, BLOCK_READ, i * 16, data + i * 4096, 4096, note_done);
        block_submit(&requests[i]);
    }
}

/* As a driver does: from now on it answers at once, and what it has ends. */
static void driver_goes(void)
{
    struct fifo done = FIFO_INIT(done);
    disk.is_gone = true;
    while (disk.held_count > 0) {
        struct block_request *request = disk.held[--disk.held_count];
        request->status = BLOCK_GONE;
        fifo_push(&done, &request->node);
    }
    block_complete(disk.device, &done);
}

static void test_requests_end(void)
{
    struct block_stats stats;
    disk_start(4, 1, 4096, 8);
    block_device_get(disk.device);
    submit_all();
    check(disk.held_count == 4 && dones == 0); /* the others wait */
    driver_goes();
    block_device_unregister(disk.device);
    check_equal(dones, COUNT);
    uint32_t submits = disk.submits;
    submit_all();
    check(dones == COUNT && disk.submits == submits); /* the driver is not asked any more */
    check_equal(-block_read(disk.device, 0, data, 512), ENODEV);
    check_equal(-block_read(disk.device, 0, data, 4096 * 3), ENODEV);
    check_equal(-block_flush(disk.device), ENODEV);
    check_equal(-block_device_reset(disk.device), ENODEV);
    check_equal(-block_device_set_writeback(disk.device, false), ENODEV);
    check(block_device_is_idle(disk.device));
    block_device_stats(disk.device, &stats);
    check(stats.queued == 0 && stats.in_flight == 0);
    released = 0;
    block_device_put(disk.device);
    check(released == 1 && block_device_find("fd0") == NULL);
}

/* Requests that a rule holds end too, and no rule can be set any more. */
static void test_held_requests(void)
{
    const struct block_fault_rule hold = {
        .kind = BLOCK_FAULT_HOLD, .operations = 0xff, .sectors = UINT64_MAX, .every = 2};
    disk_start(8, 1, 4096, 8);
    block_device_get(disk.device);
    check_equal(block_fault_add(disk.device, &hold), 0);
    submit_all();
    driver_goes();
    check(dones > 0 && dones < COUNT);
    block_device_unregister(disk.device);
    check_equal(dones, COUNT);
    check_equal(-block_fault_add(disk.device, &hold), ENODEV);
    submit_all();
    check_equal(dones, COUNT);
    block_device_put(disk.device);
}

static struct block_device *begin(void)
{
    disk_start(4, 1, 4096, 8);
    return disk.device;
}

static void test_names(void)
{
    struct block_device *a = begin(), *b = begin(), *c = begin();
    check(strcmp(block_device_name(a), "fd0") == 0 && strcmp(block_device_name(c), "fd2") == 0);
    block_device_get(b);
    block_device_unregister(b);
    check(block_device_find("fd1") == NULL);
    struct block_device *d = begin(); /* fd1 is somebody's still */
    check(strcmp(block_device_name(d), "fd3") == 0);
    block_device_put(b);
    struct block_device *e = begin();
    check(strcmp(block_device_name(e), "fd1") == 0);
    struct block_device *found = block_device_find("fd1");
    check(found == e);
    block_device_put(found);
    block_device_unregister(a);
    block_device_unregister(c);
    block_device_unregister(d);
    block_device_unregister(e);
}

/* A loop over all devices goes on past one that goes meanwhile. */
static void test_loop(void)
{
    struct block_device *devices[4];
    uint32_t seen = 0;
    for (uint32_t i = 0; i < 4; i++)
        devices[i] = begin();
    block_device_foreach (device) {
        check(device == devices[seen]);
        seen++;
        if (seen == 2) {
            block_device_unregister(devices[1]); /* this one */
            block_device_unregister(devices[2]); /* and the next */
            seen++;
        }
    }
    check_equal(seen, 4);
    block_device_unregister(devices[0]);
    block_device_unregister(devices[3]);
    struct block_device *none = block_device_next(NULL);
    check(none == NULL);
}

int main(void)
{
    test_requests_end();
    test_held_requests();
    test_names();
    test_loop();
    return check_finish();
}
