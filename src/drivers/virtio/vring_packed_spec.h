/* SPDX-License-Identifier: MIT */
/* The packed virtqueue in memory (virtio 1.2, 2.8). Little endian, as the CPU. */
#ifndef DRIVERS_VIRTIO_VRING_PACKED_SPEC_H
#define DRIVERS_VIRTIO_VRING_PACKED_SPEC_H

#include <kernel/base/types.h>

#define VIRTQ_DESC_F_NEXT     1u
#define VIRTQ_DESC_F_WRITE    2u
#define VIRTQ_DESC_F_INDIRECT 4u
#define VIRTQ_DESC_F_AVAIL    (1u << 7)
#define VIRTQ_DESC_F_USED     (1u << 15)

struct pvirtq_desc {
    uint64_t addr;
    union {
        struct {
            uint32_t len;
            uint16_t id, flags;
        };
        uint64_t len_id_flags; /* the three as one word: read or written at once */
    };
};
_Static_assert(sizeof(struct pvirtq_desc) == 16, "2.8.13");
_Static_assert(offsetof(struct pvirtq_desc, len_id_flags) == 8, "2.8.13: aligned, so never torn");
_Static_assert(offsetof(struct pvirtq_desc, flags) == 14, "2.8.13");

#define RING_EVENT_FLAGS_ENABLE  0u
#define RING_EVENT_FLAGS_DISABLE 1u
#define RING_EVENT_FLAGS_DESC    2u /* only with VIRTIO_F_EVENT_IDX */
#define RING_EVENT_FLAGS_MASK    3u

struct pvirtq_event_suppress {
    union {
        struct {
            uint16_t desc;  /* desc_event_off, and desc_event_wrap as bit 15 */
            uint16_t flags; /* desc_event_flags in bits 0 and 1 */
        };
        uint32_t desc_flags; /* both as one word: read or written at once */
    };
};
_Static_assert(sizeof(struct pvirtq_event_suppress) == 4, "2.8.14");

#define VIRTQ_PACKED_SIZE_MAX 32768u /* 2.8 */

#endif
