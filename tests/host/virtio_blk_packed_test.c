/* SPDX-License-Identifier: MIT */
/* The virtio disk over a packed ring, whose size need not be a power of two. */
#include "fake_packed_device.h"

#define RING_FEATURES BIT(VIRTIO_F_RING_PACKED)
#define RING_SIZES    2, 3, 4, 5, 8, 64, 100, 256
#include "virtio_blk_test.h"

/* Negotiated by name, and the size is kept as it is. */
static void test_negotiation(void)
{
    char text[512];
    struct virtio_blk *disk = start(100, FEATURES);
    virtio_features_text(&m.device, text, sizeof(text));
    check(strstr(text, "+RING_PACKED"));
    check(strcmp(disk->queues[0].ring->ops->name, "packed, indirect") == 0);
    check(disk->queues[0].ring->size == 100 && block.config.limits.depth == 100);
    stop(disk);
    disk = start(100, FEATURES & ~BIT(VIRTIO_F_INDIRECT_DESC));
    check(strcmp(disk->queues[0].ring->ops->name, "packed") == 0);
    check(disk->queues[0].ring->size == 100 && block.config.limits.depth == 33);
    stop(disk);
}

int main(void)
{
    test_negotiation();
    return test_all();
}
