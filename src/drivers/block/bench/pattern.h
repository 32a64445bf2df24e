/* SPDX-License-Identifier: MIT */
/* Self-describing blocks: a header that says whose block it is, and a body that follows from the header, so
 * that a block read back proves that it is the right one, the newest one, and whole. Pure; any context.
 *
 * Layout, little-endian:
 *      0  u64 magic
 *      8  u64 source      whose data: device and seed (pattern_source)
 *     16  u64 sector      the block's first sector on the device
 *     24  u32 generation  how often the block was written
 *     28  u32 checksum    CRC-32C of bytes 0..27
 *     32  u64 body[]      body[i] = first + i * PATTERN_STEP; `first` is a mix of the header's fields */
#ifndef DRIVERS_BLOCK_BENCH_PATTERN_H
#define DRIVERS_BLOCK_BENCH_PATTERN_H

#include <kernel/base/types.h>

#define PATTERN_MAGIC        0x6b636f6c62616d75ull /* "umablock" */
#define PATTERN_STEP         0x9e3779b97f4a7c15ull /* odd, with no short period in any bit */
#define PATTERN_HEADER_BYTES 32u
#define PATTERN_BLOCK_MIN    512u

struct pattern_header {
    uint64_t magic, source, sector;
    uint32_t generation, checksum;
};
_Static_assert(sizeof(struct pattern_header) == PATTERN_HEADER_BYTES, "no padding");

enum pattern_verdict {
    PATTERN_GOOD,
    PATTERN_NO_MAGIC,         /* not a block of ours, or never read */
    PATTERN_BAD_CHECKSUM,     /* a torn or damaged header */
    PATTERN_WRONG_SOURCE,     /* of another device or run */
    PATTERN_WRONG_SECTOR,     /* of another place: misdirected */
    PATTERN_WRONG_GENERATION, /* a lost or a too early write */
    PATTERN_BAD_BODY,         /* torn: the body is not the header's */
};

uint64_t pattern_source(const char *device_name, uint64_t seed);

/* `bytes`: a multiple of 32, at least PATTERN_BLOCK_MIN; `block` 8-byte aligned. */
void pattern_fill(void *block, uint32_t bytes, uint64_t source, uint64_t sector, uint32_t generation);
must_check enum pattern_verdict pattern_check(const void *block, uint32_t bytes, uint64_t source,
                                              uint64_t sector, uint32_t generation);
/* Makes a buffer fail pattern_check unless it is read anew: header and last word are overwritten. */
void pattern_spoil(void *block, uint32_t bytes);

const char *pattern_verdict_name(enum pattern_verdict verdict);

#endif
