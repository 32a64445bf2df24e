/* SPDX-License-Identifier: MIT */
/* The virtio console over a split ring. */
#include "fake_device.h"

#define RING_FEATURES (BIT(VIRTIO_F_VERSION_1) | BIT(VIRTIO_F_EVENT_IDX) | BIT(VIRTIO_F_INDIRECT_DESC))
#include "virtio_console_test.h"

int main(void)
{
    return test_all();
}
