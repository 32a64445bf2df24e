/* SPDX-License-Identifier: MIT */
/* Ranges, lifetime and the cache's mode over a split ring, and on a legacy device. */
#include "fake_device.h"

#define RING_FEATURES 0
#include "virtio_blk_range_test.h"

/* Before 1.0: the bits are low enough to be offered there too. */
static void test_legacy_wire(void)
{
    for (unsigned has_any_layout = 0; has_any_layout < 2; has_any_layout++) {
        prepare_legacy(64, FEATURES | (has_any_layout ? BIT(VIRTIO_F_ANY_LAYOUT) : 0));
        set_good_ranges();
        struct virtio_blk *disk = start_prepared();
        check_equal(block.config.limits.secure_erase.max_sectors, 64);
        run_kinds(disk);
        run_lifetime(disk);
        check_equal(block.config.ops->set_writeback(&block, false), 0);
        check_equal(WCE, 0);
        stop(disk);
    }
}

int main(void)
{
    test_legacy_wire();
    return test_all();
}
