/* SPDX-License-Identifier: MIT */
/* CRC-32C and CRC-32 by eight tables of 256 words each, eight bytes a step (Kounavis and Berry, "Novel
 * Table Lookup-Based Algorithms for High-Performance CRC Generation", 2008).
 *
 * The tables are made at first use. Two CPUs that do so at once write the same values, so no lock is
 * needed; `is_ready` is set behind them. */
#include <kernel/base/bits.h>
#include <kernel/checksum.h>

struct crc_tables {
    uint32_t polynomial; /* reflected */
    bool is_ready;       /* a */
    uint32_t word[8][256];
};

static struct crc_tables castagnoli = {.polynomial = 0x82f63b78u};
static struct crc_tables ethernet = {.polynomial = 0xedb88320u};

static cold void make_tables(struct crc_tables *tables)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? tables->polynomial : 0);
        tables->word[0][byte] = crc;
    }
    for (uint32_t byte = 0; byte < 256; byte++)
        for (int i = 1; i < 8; i++) {
            uint32_t before = tables->word[i - 1][byte];
            tables->word[i][byte] = before >> 8 ^ tables->word[0][before & 0xff];
        }
    __atomic_store_n(&tables->is_ready, true, __ATOMIC_RELEASE);
}

static inline uint32_t crc_bytes(const struct crc_tables *t, uint32_t crc, const uint8_t *at, size_t bytes)
{
    for (; bytes > 0; at++, bytes--)
        crc = crc >> 8 ^ t->word[0][(crc ^ *at) & 0xff];
    return crc;
}

static uint32_t crc_update(struct crc_tables *t, uint32_t crc, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    if (unlikely(!__atomic_load_n(&t->is_ready, __ATOMIC_ACQUIRE)))
        make_tables(t);
    crc = ~crc;
    for (; bytes >= 8; at += 8, bytes -= 8) {
        uint64_t x = load_le64(at) ^ crc;
        crc = t->word[7][x & 0xff] ^ t->word[6][x >> 8 & 0xff] ^ t->word[5][x >> 16 & 0xff] ^
              t->word[4][x >> 24 & 0xff] ^ t->word[3][x >> 32 & 0xff] ^ t->word[2][x >> 40 & 0xff] ^
              t->word[1][x >> 48 & 0xff] ^ t->word[0][x >> 56];
    }
    return ~crc_bytes(t, crc, at, bytes);
}

uint32_t crc32c(uint32_t crc, const void *data, size_t bytes)
{
    return crc_update(&castagnoli, crc, data, bytes);
}

uint32_t crc32(uint32_t crc, const void *data, size_t bytes)
{
    return crc_update(&ethernet, crc, data, bytes);
}
