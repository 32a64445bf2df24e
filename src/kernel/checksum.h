/* SPDX-License-Identifier: MIT */
/* Checksums over bytes. Any context; also built for the host. */
#ifndef KERNEL_CHECKSUM_H
#define KERNEL_CHECKSUM_H

#include <kernel/base/types.h>

/* CRC-32C (Castagnoli, RFC 3720 B.4), reflected, start and final XOR ~0. Chain by passing the last result;
 * start with 0. crc32c(0, "123456789", 9) is 0xE3069283. */
uint32_t crc32c(uint32_t crc, const void *data, size_t bytes);

/* CRC-32 as in zlib. crc32(0, "123456789", 9) is 0xCBF43926. */
uint32_t crc32(uint32_t crc, const void *data, size_t bytes);

/* SHA-256 (FIPS 180-4). */
struct sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
};
void sha256_init(struct sha256 *hash);
void sha256_update(struct sha256 *hash, const void *data, size_t bytes);
void sha256_finish(struct sha256 *hash, uint8_t digest[32]);

#endif
