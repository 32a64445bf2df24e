/* SPDX-License-Identifier: MIT */
/* The virtio console over a packed ring, without the event index. */
#include "fake_packed_device.h"

#define RING_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_RING_PACKED))
#include "virtio_console_test.h"

int main(void)
{
    return test_all();
}
