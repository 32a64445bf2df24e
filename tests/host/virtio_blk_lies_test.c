/* SPDX-License-Identifier: MIT */
/* A disk that lies, over a split ring. */
#include "fake_device.h"

/* Farther than there can be anything. */
static void tell_jump(struct fake_device *fd)
{
    fd->used->idx = (uint16_t)(fd->used_idx + fd->size + 1u);
}

#define RING_FEATURES 0
#include "virtio_blk_lies.h"

int main(void)
{
    return test_all();
}
