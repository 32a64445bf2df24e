/* SPDX-License-Identifier: MIT */
/* The split virtqueue in memory (virtio 1.2, 2.7). Little endian, as the CPU. */
#ifndef DRIVERS_VIRTIO_VRING_SPLIT_SPEC_H
#define DRIVERS_VIRTIO_VRING_SPLIT_SPEC_H

#include <kernel/base/bits.h>
#include <kernel/base/types.h>

#define VIRTQ_DESC_F_NEXT     1u
#define VIRTQ_DESC_F_WRITE    2u
#define VIRTQ_DESC_F_INDIRECT 4u

struct virtq_desc {
    uint64_t addr;
    uint32_t len;
    uint16_t flags, next;
};
_Static_assert(sizeof(struct virtq_desc) == 16, "2.7.5");

#define VIRTQ_AVAIL_F_NO_INTERRUPT 1u

/* Followed by le16 used_event at ring[size]. */
struct virtq_avail {
    uint16_t flags, idx;
    uint16_t ring[];
};
_Static_assert(offsetof(struct virtq_avail, ring) == 4, "2.7.6");

#define VIRTQ_USED_F_NO_NOTIFY 1u

struct virtq_used_elem {
    uint32_t id, len;
};
_Static_assert(sizeof(struct virtq_used_elem) == 8, "2.7.8");
/* An element as one word: id below, len above. Elements are aligned to 4. */
typedef uint64_t virtq_used_word aligned(4);

/* Followed by le16 avail_event behind ring[size - 1]. */
struct virtq_used {
    uint16_t flags, idx;
    struct virtq_used_elem ring[];
};
_Static_assert(offsetof(struct virtq_used, ring) == 4, "2.7.8");

#define VIRTQ_SPLIT_SIZE_MAX 32768u /* 2.7 */

/* 2.7.2: the three parts in one block, as a legacy device finds them from the block's address alone: table,
 * available ring right behind it, used ring on the next page. */
#define VIRTQ_LEGACY_ALIGN 4096u

static inline uint32_t virtq_legacy_avail_offset(uint32_t size)
{
    return size * (uint32_t)sizeof(struct virtq_desc);
}
static inline uint32_t virtq_legacy_used_offset(uint32_t size)
{
    uint32_t avail_bytes = (uint32_t)sizeof(struct virtq_avail) + (size + 1) * (uint32_t)sizeof(uint16_t);
    return (uint32_t)align_up(virtq_legacy_avail_offset(size) + avail_bytes, VIRTQ_LEGACY_ALIGN);
}
static inline uint32_t virtq_legacy_bytes(uint32_t size)
{
    uint32_t used_bytes =
        (uint32_t)(sizeof(struct virtq_used) + size * sizeof(struct virtq_used_elem) + sizeof(uint16_t));
    return virtq_legacy_used_offset(size) + (uint32_t)align_up(used_bytes, VIRTQ_LEGACY_ALIGN);
}

#endif
