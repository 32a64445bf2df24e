/* SPDX-License-Identifier: MIT */
/* A disk that lies, over a packed ring. */
#include "fake_packed_device.h"

/* There is no index: all is said to be done at once. */
static void tell_jump(struct fake_device *fd)
{
    for (uint16_t i = 0; i < fd->size; i++)
        fd_write_used(fd, (struct fd_position){i, fd->used.wrap}, 0, 0);
}

#define RING_FEATURES BIT(VIRTIO_F_RING_PACKED)
#include "virtio_blk_lies.h"

int main(void)
{
    return test_all();
}
