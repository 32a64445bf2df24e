/* SPDX-License-Identifier: MIT */
/* Random bytes that nobody should be able to guess. (kernel/random.h is the generator that repeats itself,
 * for tests and benchmarks.)
 *
 * One pool of 256 bits, kernel/entropy.c. Sources put in what they have; no source is believed: what it gives
 * is hashed together with all that was there before, so that even one that an adversary runs takes nothing
 * away. What it is worth is counted apart, as its credit. */
#ifndef KERNEL_ENTROPY_H
#define KERNEL_ENTROPY_H

#include <kernel/base/types.h>

#define ENTROPY_SEED_BITS 256u /* of credit, and the pool is seeded for good */

/* Fills `to`. False: the pool was not seeded, and the bytes are good for a hash seed or a test, not for a
 * secret. Any context, but no scheduler lock may be held: it may wake a thread. */
bool entropy_bytes(void *to, size_t bytes);
bool entropy_is_seeded(void);
/* For a repeatable generator, short enough to be typed again. */
static inline uint64_t entropy_seed(void)
{
    uint32_t seed;
    (void)entropy_bytes(&seed, sizeof(seed));
    return seed;
}

/* Lock legend: I constant from entropy_source_add on; p the pool's lock. */
struct entropy_source {
    char name[16];          /* I */
    uint32_t bits_per_byte; /* I: what a byte is worth, 0 to 8 */
    /* More is wanted: call entropy_add some time, or never. The pool's lock is held: only note it. */
    void (*want)(struct entropy_source *source); /* I: NULL: it gives by itself */
    struct entropy_source *next;                 /* p: the pool's, as the rest */
    uint64_t bytes, credit_bits;                 /* p: given, and what it counted for */
    uint64_t asked;                              /* p: times that more was wanted */
    uint64_t refused;                            /* p: times that what it gave repeated itself: no credit */
};
/* Zero it, fill in the first three. It is asked at once. */
void entropy_source_add(struct entropy_source *source);
/* Afterwards `want` is not called any more. Thread context. */
void entropy_source_remove(struct entropy_source *source);
/* Any context, as above; `source` need not be in the pool's list. */
void entropy_add(struct entropy_source *source, const void *data, size_t bytes);

/* The time of the boot and the CPU's own source. After clock_calibrate. */
void entropy_init(void);

struct entropy_stats {
    uint32_t credit_bits;  /* at most ENTROPY_SEED_BITS */
    uint64_t calls, bytes; /* of entropy_bytes */
    uint64_t reseeds;      /* times that all sources were asked */
};
void entropy_stats(struct entropy_stats *stats);
/* Copies the `index`th source's figures; false: there are not so many. */
bool entropy_source_at(uint32_t index, struct entropy_source *copy);

#endif
