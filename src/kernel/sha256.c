/* SPDX-License-Identifier: MIT */
/* SHA-256 (FIPS 180-4, 6.2). The message schedule is kept in a ring of sixteen words. */
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/checksum.h>
#include <kernel/string.h>

#define BLOCK_BYTES 64u

/* FIPS 180-4, 4.2.2: the fractions of the cube roots of the first 64 primes. */
static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static inline uint32_t rotate(uint32_t x, int by)
{
    return x >> by | x << (32 - by);
}

static inline uint32_t schedule_word(uint32_t *w, int t)
{
    if (t >= 16) {
        uint32_t a = w[(t - 15) & 15], b = w[(t - 2) & 15];
        w[t & 15] += (rotate(a, 7) ^ rotate(a, 18) ^ a >> 3) + w[(t - 7) & 15] +
                     (rotate(b, 17) ^ rotate(b, 19) ^ b >> 10);
    }
    return w[t & 15];
}

static void hash_block(uint32_t *state, const uint8_t *block)
{
    uint32_t w[16];
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 16; t++)
        w[t] = load_be32(block + 4 * t);
    for (int t = 0; t < 64; t++) {
        uint32_t t1 = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) +
                      round_constants[t] + schedule_word(w, t);
        uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void sha256_init(struct sha256 *hash)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    memcpy(hash->state, start, sizeof(start));
    hash->bytes = 0;
}

void sha256_update(struct sha256 *hash, const void *data, size_t bytes)
{
    const uint8_t *at = data;
    size_t held = hash->bytes % BLOCK_BYTES;
    hash->bytes += bytes;
    if (held > 0) {
        size_t taken = MIN(bytes, BLOCK_BYTES - held);
        memcpy(hash->block + held, at, taken);
        at += taken;
        bytes -= taken;
        if (held + taken < BLOCK_BYTES)
            return;
        hash_block(hash->state, hash->block);
    }
    for (; bytes >= BLOCK_BYTES; at += BLOCK_BYTES, bytes -= BLOCK_BYTES)
        hash_block(hash->state, at);
    memcpy(hash->block, at, bytes);
}

/* Pads with a 1 bit, zeros, and the length in bits, big-endian (5.1.1). */
void sha256_finish(struct sha256 *hash, uint8_t digest[32])
{
    static const uint8_t padding[BLOCK_BYTES] = {0x80};
    uint8_t length[8];
    size_t held = hash->bytes % BLOCK_BYTES;
    store_le64(length, __builtin_bswap64(hash->bytes * 8));
    sha256_update(hash, padding, (held < 56 ? 56 : 120) - held);
    sha256_update(hash, length, sizeof(length));
    assert(hash->bytes % BLOCK_BYTES == 0);
    for (int i = 0; i < 8; i++)
        store_le32(digest + 4 * i, __builtin_bswap32(hash->state[i]));
}
