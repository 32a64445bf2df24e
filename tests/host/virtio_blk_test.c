/* SPDX-License-Identifier: MIT */
/* The virtio disk over a split ring. */
#include "fake_device.h"

#define RING_FEATURES 0
#define RING_SIZES    2, 4, 8, 64, 256
#include "virtio_blk_test.h"

int main(void)
{
    return test_all();
}
