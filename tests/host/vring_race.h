/* SPDX-License-Identifier: MIT */
/* The two races of notification suppression, on two CPUs with the kernel's own barriers (tests.mk: no
 * sanitizers, the real arch/io.h). x86 lets a load overtake an earlier store to another place, so each side
 * must have a full barrier between telling and looking (virtio 1.2, 2.7.13.4.1 and 2.7.7.2, 2.8.21.3.1 and
 * 2.8.10):
 *
 *     kick      driver  make a chain available  | look whether a doorbell is wanted
 *               device  want a doorbell         | look for a chain
 *     callback  driver  want an interrupt       | look for a used one
 *               device  give a chain back       | look whether an interrupt is wanted
 *
 * In each round the two meet, then do their halves at once. If neither sees what the other told, a doorbell
 * or an interrupt is lost for good. Without the driver's barrier that happens within a few thousand rounds.
 *
 * Included by one file a ring format, after its fake device; that has VRING_CREATE and the device's halves.
 */
#ifndef TESTS_HOST_VRING_RACE_H
#define TESTS_HOST_VRING_RACE_H

#include <pthread.h>
#include <sched.h>

#include "../../src/drivers/virtio/virtqueue_internal.h"

#define ROUNDS        150000u
#define START_CYCLES  1000u /* from the driver's word to the start: more than the meeting takes */
#define JITTER_CYCLES 150u  /* so that the halves overlap in every way */
#define SPINS_MAX     2000u

enum side { DRIVER, DEVICE };
static int cpus[2];

/* The sides touch only their own half between two meetings, but for the ring. */
static struct race {
    struct virtqueue *queue;
    struct fake_device fd;
    struct fd_chain chain;
    bool (*device_half)(struct race *race);
    bool has_device_seen;
    uint64_t start; /* of the round, by the time-stamp counter: before a meeting the driver's */
    struct {
        uint32_t meetings;
    } aligned(128) at[2]; /* a: each written by its side */
} race;

/* The device's halves, the includer's. Goes to sleep; true when there is a chain to do all the same. */
static bool device_sleeps(struct race *r);
/* The device is awake: it wants no doorbell. */
static void wake_device(struct race *r);
/* Gives back the chain in flight, whose id is 0; true when it interrupts. */
static bool device_completes(struct race *r);

/* Two CPUs of those that this process may use; with one only, both sides share it. */
static void find_cpus(void)
{
    cpu_set_t all;
    unsigned found = 0;
    if (sched_getaffinity(0, sizeof(all), &all) != 0)
        return;
    for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
        if (CPU_ISSET(cpu, &all))
            cpus[found++] = cpu;
    if (found < 2)
        printf("one CPU only: it sees its own stores in order, so a missing barrier cannot show\n");
}

static void use_cpu(enum side side)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpus[side], &one);
    sched_setaffinity(0, sizeof(one), &one);
}

/* Returns when the other side has called it as often. */
static void meet(enum side side)
{
    uint32_t meetings = ++race.at[side].meetings;
    __atomic_store_n(&race.at[side].meetings, meetings, __ATOMIC_RELEASE);
    for (uint32_t spins = 0; __atomic_load_n(&race.at[!side].meetings, __ATOMIC_ACQUIRE) < meetings; spins++)
        if (spins > SPINS_MAX)
            sched_yield();
}

/* Meets the other side, and begins at the same time as it, give or take a few cycles of the clock. */
static void begin(enum side side, uint32_t *random)
{
    if (side == DRIVER)
        race.start = __builtin_ia32_rdtsc() + START_CYCLES;
    meet(side);
    *random = *random * 1664525 + 1013904223;
    uint64_t start = race.start + (*random >> 16) % JITTER_CYCLES;
    while (__builtin_ia32_rdtsc() < start)
        ;
}

static void *device_thread(void *unused)
{
    uint32_t random = 1;
    (void)unused;
    use_cpu(DEVICE);
    for (uint32_t round = 0; round < ROUNDS; round++) {
        begin(DEVICE, &random);
        race.has_device_seen = race.device_half(&race);
        meet(DEVICE);
    }
    return NULL;
}

static void add_chain(struct virtqueue *queue)
{
    static uint8_t memory[2];
    struct virtqueue_buffer *buffers = virtqueue_buffers(queue);
    for (uint32_t i = 0; i < 2; i++) {
        buffers[i].address = dma_address(&memory[i]);
        buffers[i].bytes = 1;
    }
    check_equal(virtqueue_add(queue, 1, 1, 1, memory), 0);
}

/* ---- Kick ------------------------------------------------------------------------------------------- */

/* True when neither a doorbell rang nor the device saw the chain. */
static bool race_kick(struct race *r, uint32_t *random)
{
    wake_device(r);
    add_chain(r->queue);
    begin(DRIVER, random);
    bool must_notify = virtqueue_kick_prepare(r->queue);
    meet(DRIVER);
    check(fd_pop(&r->fd, &r->chain));
    fd_push(&r->fd, r->chain.id, 0);
    check(virtqueue_get(r->queue).token != NULL);
    return !must_notify && !r->has_device_seen;
}

/* ---- Callbacks -------------------------------------------------------------------------------------- */

/* True when the device did not interrupt and the driver saw nothing. */
static bool race_callback(struct race *r, uint32_t *random)
{
    add_chain(r->queue);
    virtqueue_kick_prepare(r->queue);
    virtqueue_callbacks_disable(r->queue); /* an event asked for long ago is no question any more */
    begin(DRIVER, random);
    bool has_more = virtqueue_callbacks_enable(r->queue);
    meet(DRIVER);
    check(virtqueue_get(r->queue).token != NULL);
    return !r->has_device_seen && !has_more;
}

/* ---- Both ------------------------------------------------------------------------------------------- */

static void run(bool has_event_idx, bool (*driver_half)(struct race *r, uint32_t *random),
                bool (*device_half)(struct race *r))
{
    const struct virtqueue_config config = {
        .name = "race", .size = 16, .chain_max = 2, .has_indirect = true, .has_event_idx = has_event_idx};
    uint32_t random = 2, lost = 0;
    pthread_t device;
    race = (struct race){.device_half = device_half};
    check_equal(VRING_CREATE(&config, &race.queue), 0);
    spin_lock(&race.queue->lock); /* for the whole run: the device takes no locks */
    fd_attach(&race.fd, race.queue);
    check_equal(pthread_create(&device, NULL, device_thread, NULL), 0);
    for (uint32_t round = 0; round < ROUNDS; round++)
        lost += driver_half(&race, &random);
    check_equal(pthread_join(device, NULL), 0);
    check_equal(lost, 0);
    check(virtqueue_is_consistent(race.queue));
    virtqueue_destroy(race.queue);
}

static void test_kick(void)
{
    for (unsigned has_event_idx = 0; has_event_idx < 2; has_event_idx++)
        run(has_event_idx, race_kick, device_sleeps);
}

static void test_callback(void)
{
    for (unsigned has_event_idx = 0; has_event_idx < 2; has_event_idx++)
        run(has_event_idx, race_callback, device_completes);
}

static int race_all(void)
{
    find_cpus();
    use_cpu(DRIVER);
    test_kick();
    test_callback();
    return check_finish();
}

#endif
