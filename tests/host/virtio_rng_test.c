/* SPDX-License-Identifier: MIT */
/* The entropy device's driver against a device that gives much, little, nothing, or lies. The pool is the
 * test's: it sees what would be mixed. */
#include <host.h>
#include <kernel/entropy.h>
#include <kernel/log.h>

#include "virtio_peer.h"

#include "../../src/drivers/virtio/virtio_rng_internal.h"

/* ---- The pool ----------------------------------------------------------------------------------------- */

static struct entropy_source *source;
static uint8_t pooled[1024];
static size_t pooled_bytes;
static unsigned adds;

void entropy_source_add(struct entropy_source *new_source)
{
    check(peer.status & VIRTIO_STATUS_DRIVER_OK);
    source = new_source;
    source->want(source);
}

void entropy_source_remove(struct entropy_source *old_source)
{
    check(source == old_source);
    source = NULL;
}

void entropy_add(struct entropy_source *from, const void *data, size_t bytes)
{
    check(from == source && pooled_bytes + bytes <= sizeof(pooled));
    check(!spin_is_locked(&peer.device.queues[0]->lock));
    memcpy(pooled + pooled_bytes, data, bytes);
    pooled_bytes += bytes;
    adds++;
}

/* ---- The device --------------------------------------------------------------------------------------- */

static struct virtio_rng *start(uint32_t queue_size, uint64_t offered)
{
    peer_prepare(VIRTIO_ID_ENTROPY, 1, queue_size, offered);
    list_init(&virtio_rng_list.list);
    source = NULL;
    pooled_bytes = adds = 0;
    check_equal(virtio_device_add(&peer.device), 0);
    check(source != NULL && strcmp(source->name, peer.device.name) == 0);
    run_works();
    return peer.device.driver_data;
}

static void stop(struct virtio_rng *rng)
{
    check(virtqueue_is_idle(rng->ring) && virtqueue_is_consistent(rng->ring)); /* R2 */
    virtio_device_destroy_queues(&peer.device);
    free(rng->buffer);
    free(rng);
}

static struct fd_chain request;

/* The one request that is in flight; false: the device sees none. */
static bool take_request(void)
{
    struct fd_chain another;
    if (!peer_take(0, &request))
        return false;
    check(request.count == 1 && request.buffers[0].is_writable && request.buffers[0].bytes == 64);
    check(!peer_take(0, &another));
    return true;
}

static void answer(const char *text, uint32_t claimed)
{
    memcpy(request.buffers[0].data, text, strlen(text));
    fd_push(&peer.fds[0], request.id, claimed);
    peer_interrupt(0);
}

static void want_more(void)
{
    source->want(source);
    run_works();
}

static void test_bytes_arrive(void)
{
    static const uint64_t features[] = {RING_FEATURES_DEFAULT, BIT(VIRTIO_F_VERSION_1)};
    static const uint32_t sizes[] = {2, 8, 256};
    for (size_t i = 0; i < ARRAY_SIZE(features) * ARRAY_SIZE(sizes); i++) {
        struct virtio_rng *rng = start(sizes[i % ARRAY_SIZE(sizes)], features[i / ARRAY_SIZE(sizes)]);
        check(take_request());
        answer("sixteen byte text", 17);
        check(pooled_bytes == 17 && memcmp(pooled, "sixteen byte text", 17) == 0);
        check(!take_request()); /* R7: no more than was wanted */
        want_more();
        check(take_request());
        answer("more", 4);
        check(pooled_bytes == 21 && memcmp(pooled + 17, "more", 4) == 0);
        stop(rng);
    }
}

/* While it is in flight, being asked again adds nothing but a doorbell, which may have been lost (hazard 48).
 */
static void test_asked_again(void)
{
    struct virtio_rng *rng = start(8, RING_FEATURES_DEFAULT);
    check_equal(peer.notifies, 1);
    peer.fds[0].is_awake = false; /* the first was lost */
    for (int i = 0; i < 20; i++)
        want_more();
    check_equal(rng->ring->added, 1);
    check(take_request());
    answer("abc", 3);
    check_equal(adds, 1);
    stop(rng);
}

/* Nothing comes of nothing, and it is not asked again for that. */
static void test_empty_answers(void)
{
    struct virtio_rng *rng = start(8, RING_FEATURES_DEFAULT);
    for (unsigned i = 1; i < 10; i++) {
        check(take_request());
        answer("", 0);
        run_works();
        check(adds == 0 && rng->empty == i);
        check(!take_request());
        want_more();
    }
    check(take_request());
    answer("x", 1);
    check_equal(adds, 1);
    stop(rng);
}

/* It claims bytes that it did not write: they are zeros and not those of the last answer. */
static void test_claims_too_much(void)
{
    static const uint8_t zeros[60];
    struct virtio_rng *rng = start(8, RING_FEATURES_DEFAULT);
    check(take_request());
    answer("0123456789012345678901234567890123456789012345678901234567890123", 64);
    want_more();
    check(take_request());
    answer("wxyz", 64);
    check(pooled_bytes == 128 && memcmp(pooled + 64, "wxyz", 4) == 0);
    check(memcmp(pooled + 68, zeros, sizeof(zeros)) == 0);
    stop(rng);
}

/* R4: a length beyond the buffer, an id that is none, an answer given twice. It is stopped and left alone. */
static void expect_stopped(struct virtio_rng *rng)
{
    run_works();
    check(rng->is_stopped && source == NULL && adds == 0);
    check(peer.status == 0); /* reset */
    virtio_rng_ask(rng);
    check_equal(rng->ring->added, 1);
    stop(rng);
}

static void test_lies(void)
{
    host_log_level = -1;
    struct virtio_rng *rng = start(8, RING_FEATURES_DEFAULT);
    check(take_request());
    answer("abc", 65);
    expect_stopped(rng);
    rng = start(8, RING_FEATURES_DEFAULT);
    check(take_request());
    request.id = 7;
    answer("abc", 3);
    expect_stopped(rng);
    rng = start(8, RING_FEATURES_DEFAULT);
    check(take_request());
    request.id = 1000;
    answer("abc", 3);
    expect_stopped(rng);
    rng = start(8, RING_FEATURES_DEFAULT);
    check(take_request());
    peer.status |= VIRTIO_STATUS_NEEDS_RESET; /* it says so itself */
    peer.device.driver->config_changed(&peer.device);
    expect_stopped(rng);
    host_log_level = LOG_WARNING;
}

static void test_twice(void)
{
    host_log_level = -1;
    struct virtio_rng *rng = start(8, RING_FEATURES_DEFAULT);
    check(take_request());
    fd_push(&peer.fds[0], request.id, 3);
    answer("abc", 3);
    check_equal(adds, 0); /* more answers than requests: none is believed */
    run_works();
    check(rng->is_stopped && source == NULL);
    stop(rng);
    host_log_level = LOG_WARNING;
}

/* Who asks for the bytes by name gets them, and the pool does not. */
static void test_reader(void)
{
    struct virtio_rng_read reader = {0};
    struct virtio_rng *rng = start(8, RING_FEATURES_DEFAULT);
    virtio_rng_set_reader(rng, &reader);
    check(take_request());
    answer("", 0); /* not an answer for him */
    check(!completion_is_done(&reader.done));
    virtio_rng_ask(rng);
    check(take_request());
    answer("known", 5);
    check(completion_is_done(&reader.done) && reader.bytes == 5 && memcmp(reader.data, "known", 5) == 0);
    check_equal(adds, 0);
    want_more();
    check(take_request());
    answer("pool", 4);
    check_equal(adds, 1);
    stop(rng);
}

static void test_refusals(void)
{
    host_log_level = -1;
    for (int i = 0; i < 2; i++) {
        peer_prepare(VIRTIO_ID_ENTROPY, i, 8, RING_FEATURES_DEFAULT);
        peer.connect_error = -ENODEV;
        source = NULL;
        check(virtio_device_add(&peer.device) != 0);
        check(source == NULL && peer.device.driver_data == NULL);
        check(peer.status & VIRTIO_STATUS_FAILED);
    }
    host_log_level = LOG_WARNING;
}

/* With the buffer at the device, or without; stopped before for a lie, or not. The sanitizer sees what is
 * left. */
static void test_removal(void)
{
    for (int i = 0; i < 3; i++) {
        start(8, RING_FEATURES_DEFAULT);
        host_log_level = -1;
        if (i > 0) {
            check(take_request());
            answer("abc", i == 1 ? 3 : 65);
        }
        if (i == 1)
            source->want(source); /* its work is queued, and is not called later */
        struct entropy_source *known = source;
        if (i == 2) {
            run_works();
            source = known; /* removing it twice is harmless */
        }
        virtio_device_remove(&peer.device);
        check(source == NULL && peer.device.driver_data == NULL && list_is_empty(&virtio_rng_list.list));
        check(peer.status == 0);
        run_works();
        host_log_level = LOG_WARNING;
    }
}

int main(void)
{
    test_bytes_arrive();
    test_asked_again();
    test_empty_answers();
    test_claims_too_much();
    test_lies();
    test_twice();
    test_reader();
    test_refusals();
    test_removal();
    return check_finish();
}
