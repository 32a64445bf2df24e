/* SPDX-License-Identifier: MIT */
/* The entropy pool: what goes in, what comes out, and what it is worth. The clock stands still, so that all
 * that differs here differs by what was put in. */
#include <arch/rdrand.h>
#include <kernel/base/bits.h>
#include <stdlib.h>

#include "../../src/kernel/entropy.c"
#include "check.h"

bool (*host_rdrand)(uint64_t *value);

static unsigned wants;

static void want(struct entropy_source *source)
{
    (void)source;
    check(spin_is_locked(&pool.lock));
    wants++;
}

static struct entropy_source source;

static void restart(uint32_t bits_per_byte)
{
    memset(pool.key, 0, sizeof(pool.key));
    memset(&pool.stats, 0, sizeof(pool.stats));
    memset(&cpu_source, 0, sizeof(cpu_source));
    pool.sources = NULL;
    pool.bytes_since_reseed = 0;
    host_rdrand = NULL;
    wants = 0;
    source = (struct entropy_source){.name = "test", .bits_per_byte = bits_per_byte, .want = want};
}

static const uint8_t *sample(uint8_t first)
{
    static uint8_t data[64];
    for (size_t i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(first + i);
    return data;
}

struct output {
    uint8_t bytes[64];
};

static struct output take_output(void)
{
    struct output output;
    (void)entropy_bytes(output.bytes, sizeof(output.bytes));
    return output;
}

static bool is_equal(struct output a, struct output b)
{
    return memcmp(&a, &b, sizeof(a)) == 0;
}

/* What the pool gives first after `data`. */
static struct output after(const uint8_t *data, size_t bytes)
{
    restart(8);
    entropy_add(&source, data, bytes);
    return take_output();
}

static void test_all_that_comes_in_counts(void)
{
    struct output plain = after(sample(1), 64);
    check(is_equal(plain, after(sample(1), 64)));
    check(!is_equal(plain, after(sample(1), 63)));
    check(!is_equal(plain, after(sample(2), 64)));
    host_clock_ns++;
    check(!is_equal(plain, after(sample(1), 64)));
    host_clock_ns--;

    /* The same data after something unknown: who gave it knows nothing. And it does not wash that away. */
    restart(8);
    entropy_add(&source, sample(9), 64);
    entropy_add(&source, sample(1), 64);
    check(!is_equal(plain, take_output()));
    restart(8);
    entropy_add(&source, sample(1), 0);
    check(!is_equal(plain, take_output()));
}

static void test_no_way_back(void)
{
    restart(8);
    entropy_add(&source, sample(1), 64);
    struct output first = take_output();
    uint8_t key[KEY_BYTES];
    memcpy(key, pool.key, sizeof(key));
    struct output second = take_output();
    check(!is_equal(first, second));
    check(memcmp(key, pool.key, sizeof(key)) != 0);
    /* Blocks differ, and none is the key that stays. */
    check(memcmp(first.bytes, first.bytes + 32, 32) != 0);
    check(memcmp(first.bytes, key, 32) != 0 && memcmp(first.bytes + 32, key, 32) != 0);
    /* With the key of afterwards, the output of before is none of what can be made of it. */
    memcpy(pool.key, key, sizeof(key));
    for (int i = 0; i < 100; i++)
        check(!is_equal(first, take_output()));
}

static void test_lengths(void)
{
    for (size_t bytes = 0; bytes < 200; bytes++) {
        uint8_t *exact = malloc(bytes + 1); /* the sanitizer sees a byte too many */
        restart(8);
        entropy_add(&source, sample(1), 64);
        exact[bytes] = 0x5a;
        (void)entropy_bytes(exact, bytes);
        check_equal(exact[bytes], 0x5a);
        struct output same = after(sample(1), 64);
        check(memcmp(exact, same.bytes, MIN(bytes, sizeof(same.bytes))) == 0);
        free(exact);
    }
}

/* Not one bit more often than the other: 4096 bytes, each bit within five standard deviations of a half. */
static void test_bits_are_even(void)
{
    static uint8_t bytes[4096];
    restart(8);
    check(!entropy_bytes(bytes, sizeof(bytes)));
    for (unsigned bit = 0; bit < 8; bit++) {
        int ones = 0;
        for (size_t i = 0; i < sizeof(bytes); i++)
            ones += bytes[i] >> bit & 1;
        check(ones > 2048 - 160 && ones < 2048 + 160);
    }
}

static void test_credit(void)
{
    uint8_t byte;
    restart(8);
    check(!entropy_bytes(&byte, 1) && !entropy_is_seeded());
    entropy_add(&source, sample(1), 31);
    check(!entropy_bytes(&byte, 1) && source.credit_bits == 248);
    entropy_add(&source, sample(1), 1);
    check(entropy_bytes(&byte, 1) && entropy_is_seeded());
    entropy_add(&source, sample(1), 64);
    check_equal(pool.stats.credit_bits, ENTROPY_SEED_BITS);

    restart(0); /* mixed in, and worth nothing */
    entropy_add(&source, sample(1), 64);
    check(!entropy_bytes(&byte, 1) && source.bytes == 64);

    restart(8); /* stuck: zeros, or a buffer that was only claimed to be full */
    static const uint8_t zeros[64];
    struct output before = take_output();
    entropy_add(&source, zeros, sizeof(zeros));
    check(!entropy_is_seeded() && source.refused == 1 && source.credit_bits == 0);
    check(!is_equal(before, take_output()));
    uint8_t half[64] = {0};
    memcpy(half, sample(1), 16);
    entropy_add(&source, half, sizeof(half));
    check(!entropy_is_seeded() && source.refused == 2);
}

static void test_asking(void)
{
    static uint8_t bytes[KIB(16)];
    restart(8);
    entropy_source_add(&source);
    check_equal(wants, 1);
    (void)entropy_bytes(bytes, 1);
    check_equal(wants, 2); /* not seeded: each time */
    entropy_add(&source, sample(1), 64);
    wants = 0;
    for (int i = 0; i < 3; i++)
        (void)entropy_bytes(bytes, sizeof(bytes));
    check_equal(wants, 0);
    (void)entropy_bytes(bytes, sizeof(bytes)); /* 64 KiB */
    check_equal(wants, 1);
    (void)entropy_bytes(bytes, 1);
    check_equal(wants, 1);
    entropy_source_remove(&source);
    for (int i = 0; i < 5; i++)
        (void)entropy_bytes(bytes, sizeof(bytes));
    check_equal(wants, 1);
    struct entropy_source copy;
    check(!entropy_source_at(0, &copy));
}

static uint64_t cpu_value;
static unsigned cpu_left;

static bool read_cpu(uint64_t *value)
{
    *value = cpu_value++;
    return cpu_left > 0 && cpu_left-- > 0;
}

static void test_cpu(void)
{
    struct entropy_source copy;
    restart(8);
    host_rdrand = read_cpu;
    cpu_left = 100;
    entropy_init();
    check(entropy_is_seeded());
    check(entropy_source_at(0, &copy) && strcmp(copy.name, "rdrand") == 0 && copy.bytes == 64);
    check(!entropy_source_at(1, &copy));

    restart(8);
    host_rdrand = read_cpu;
    cpu_left = 3; /* it runs dry */
    entropy_init();
    check(!entropy_is_seeded());
    check(entropy_source_at(0, &copy) && copy.bytes == 24 && copy.credit_bits == 96);
    entropy_source_add(&source);
    check(entropy_source_at(1, &copy) && strcmp(copy.name, "test") == 0);
}

int main(void)
{
    test_all_that_comes_in_counts();
    test_no_way_back();
    test_lengths();
    test_bits_are_even();
    test_credit();
    test_asking();
    test_cpu();
    return check_finish();
}
