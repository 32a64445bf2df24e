/* SPDX-License-Identifier: MIT */
/* Self-describing blocks (pattern.h has the layout).
 *
 * The checksum covers the header only: the body is a function of the header and is compared word by word,
 * which finds every damage that a checksum over the body would and some that it would not, for one addition
 * and one comparison a word. */
#include <drivers/block/bench/pattern.h>

#include <kernel/base/assert.h>
#include <kernel/checksum.h>
#include <kernel/string.h>

#define PATTERN_SPOILED 0x5b5b5b5b5b5b5b5bull

static uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 32)) * 0xd6e8feb86659fd93ull;
    x = (x ^ (x >> 29)) * 0xff51afd7ed558ccdull;
    return x ^ (x >> 32);
}

static uint64_t body_first(const struct pattern_header *header)
{
    return mix(header->source + mix(header->sector + ((uint64_t)header->generation << 40)));
}

static uint32_t header_checksum(const struct pattern_header *header)
{
    return crc32c(0, header, offsetof(struct pattern_header, checksum));
}

uint64_t pattern_source(const char *device_name, uint64_t seed)
{
    return mix(seed + crc32c(0, device_name, strlen(device_name)));
}

void pattern_fill(void *block, uint32_t bytes, uint64_t source, uint64_t sector, uint32_t generation)
{
    struct pattern_header *header = block;
    uint64_t *word = (uint64_t *)(header + 1), *end = (uint64_t *)((char *)block + bytes);

    assert(bytes >= PATTERN_BLOCK_MIN && bytes % 32 == 0);
    *header = (struct pattern_header){PATTERN_MAGIC, source, sector, generation, 0};
    header->checksum = header_checksum(header);
    for (uint64_t value = body_first(header); word < end; word += 4, value += 4 * PATTERN_STEP) {
        word[0] = value;
        word[1] = value + PATTERN_STEP;
        word[2] = value + 2 * PATTERN_STEP;
        word[3] = value + 3 * PATTERN_STEP;
    }
}

static bool body_is_good(const struct pattern_header *header, uint32_t bytes)
{
    const uint64_t *word = (const uint64_t *)(header + 1);
    const uint64_t *end = (const uint64_t *)((const char *)header + bytes);
    uint64_t difference = 0;

    for (uint64_t value = body_first(header); word < end; word += 4, value += 4 * PATTERN_STEP) {
        difference |= word[0] ^ value;
        difference |= word[1] ^ (value + PATTERN_STEP);
        difference |= word[2] ^ (value + 2 * PATTERN_STEP);
        difference |= word[3] ^ (value + 3 * PATTERN_STEP);
    }
    return difference == 0;
}

enum pattern_verdict pattern_check(const void *block, uint32_t bytes, uint64_t source, uint64_t sector,
                                   uint32_t generation)
{
    const struct pattern_header *header = block;

    assert(bytes >= PATTERN_BLOCK_MIN && bytes % 32 == 0);
    if (header->magic != PATTERN_MAGIC)
        return PATTERN_NO_MAGIC;
    if (header->checksum != header_checksum(header))
        return PATTERN_BAD_CHECKSUM;
    if (header->source != source)
        return PATTERN_WRONG_SOURCE;
    if (header->sector != sector)
        return PATTERN_WRONG_SECTOR;
    if (header->generation != generation)
        return PATTERN_WRONG_GENERATION;
    return body_is_good(header, bytes) ? PATTERN_GOOD : PATTERN_BAD_BODY;
}

void pattern_spoil(void *block, uint32_t bytes)
{
    uint64_t *words = block;
    assert(bytes >= PATTERN_BLOCK_MIN && bytes % 32 == 0);
    words[0] = words[1] = words[bytes / 8 - 1] = PATTERN_SPOILED;
}

const char *pattern_verdict_name(enum pattern_verdict verdict)
{
    static const char *const names[] = {
        [PATTERN_GOOD] = "good",
        [PATTERN_NO_MAGIC] = "no block of ours",
        [PATTERN_BAD_CHECKSUM] = "header damaged",
        [PATTERN_WRONG_SOURCE] = "of another device or seed",
        [PATTERN_WRONG_SECTOR] = "of another sector",
        [PATTERN_WRONG_GENERATION] = "wrong generation",
        [PATTERN_BAD_BODY] = "body damaged",
    };
    assert((size_t)verdict < ARRAY_SIZE(names));
    return names[verdict];
}
