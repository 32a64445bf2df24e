/* SPDX-License-Identifier: MIT */
/* CRC-32C, CRC-32 and SHA-256: published vectors, and every split of a text into two updates. */
#include <kernel/checksum.h>
#include <kernel/random.h>
#include <string.h>

#include "check.h"

/* One bit at a time, straight from the definition. */
static uint32_t slow_crc(uint32_t polynomial, const uint8_t *data, size_t bytes)
{
    uint32_t crc = ~0u;
    for (size_t i = 0; i < bytes; i++) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? polynomial : 0);
    }
    return ~crc;
}

static void crc_vectors(void)
{
    uint8_t zeros[32] = {0}, ones[32], ascending[32];
    check_equal(crc32c(0, "123456789", 9), 0xE3069283u);
    check_equal(crc32(0, "123456789", 9), 0xCBF43926u);
    check_equal(crc32c(0, "", 0), 0);
    memset(ones, 0xff, sizeof(ones));
    for (uint8_t i = 0; i < sizeof(ascending); i++)
        ascending[i] = i;
    check_equal(crc32c(0, zeros, 32), 0x8A9136AAu); /* RFC 3720, B.4 */
    check_equal(crc32c(0, ones, 32), 0x62A8AB43u);
    check_equal(crc32c(0, ascending, 32), 0x46DD794Eu);
}

static void crc_lengths_and_splits(void)
{
    uint8_t data[120];
    struct random random;
    random_init(&random, 3);
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)random_next(&random);
    for (size_t offset = 0; offset < 8; offset++)
        for (size_t bytes = 0; bytes <= 100; bytes++) {
            uint32_t whole = crc32c(0, data + offset, bytes);
            check_equal(whole, slow_crc(0x82f63b78u, data + offset, bytes));
            check_equal(crc32(0, data + offset, bytes), slow_crc(0xedb88320u, data + offset, bytes));
            size_t split = bytes / 3;
            check_equal(crc32c(crc32c(0, data + offset, split), data + offset + split, bytes - split), whole);
        }
}

static void expect_sha256(const void *data, size_t bytes, size_t split, const char *hex)
{
    struct sha256 hash;
    uint8_t digest[32];
    char text[65];
    sha256_init(&hash);
    sha256_update(&hash, data, split);
    sha256_update(&hash, (const char *)data + split, bytes - split);
    sha256_finish(&hash, digest);
    for (int i = 0; i < 32; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
    check(strcmp(text, hex) == 0);
}

/* FIPS 180-4's examples, as NIST publishes them. */
static void sha256_vectors(void)
{
    static const char *const two_blocks = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    static char million[1000000];
    expect_sha256("", 0, 0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    expect_sha256("abc", 3, 1, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    for (size_t split = 0; split <= strlen(two_blocks); split++)
        expect_sha256(two_blocks, strlen(two_blocks), split,
                      "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    memset(million, 'a', sizeof(million));
    for (size_t split = 0; split < 130; split++)
        expect_sha256(million, split == 129 ? sizeof(million) : 64, split == 129 ? 777 : split % 65,
                      split == 129 ? "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"
                                   : "ffe054fe7ae0cb6dc65c3af9b61d5209f439851db43d0ba5997337df154668eb");
}

int main(void)
{
    crc_vectors();
    crc_lengths_and_splits();
    sha256_vectors();
    return check_finish();
}
