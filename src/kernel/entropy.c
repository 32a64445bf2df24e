/* SPDX-License-Identifier: MIT */
/* The entropy pool: one key K of 32 bytes and SHA-256, H, for everything.
 *
 *     in    K = H(MIX, K, now, data)
 *     out   S = H(OUT, K, now), K = H(NEXT, K); then block i = H(BLOCK, S, i)
 *
 * Who gives some of the data but does not know K learns nothing about the new K, whatever he gives; and one
 * unknown input makes all that comes after it unknown. Who learns K can compute what comes out until the next
 * unknown input, but nothing that came out before: K is replaced before S is used, and S is wiped (fast key
 * erasure). The steps cannot be taken for one another, for each hashes its own first byte.
 *
 * A weak pool must not be fed by drops: whoever guesses each drop from the output between two of them knows
 * the whole. So sources give at least 32 bytes at once, and nobody is promised anything before
 * ENTROPY_SEED_BITS.
 *
 * Sources are asked again after RESEED_BYTES, not by a clock: a machine that draws nothing does nothing (R7).
 *
 * Lock: pool.lock, held for a few hashes of a block or two; the output is made outside it. Order: entropy ->
 * what `want` takes, the work queue's lock and what it takes to wake its thread. */
#include <arch/clock.h>
#include <arch/rdrand.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/checksum.h>
#include <kernel/entropy.h>
#include <kernel/log.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>

#define KEY_BYTES    32u
#define RESEED_BYTES KIB(64)
#define WORD_BYTES   8u
#define CPU_WORDS    8u

enum purpose { MIX = 1, OUT, NEXT, BLOCK };

/* Legend: l the lock. */
static struct {
    struct spinlock lock;
    uint8_t key[KEY_BYTES];         /* l */
    struct entropy_source *sources; /* l */
    struct entropy_stats stats;     /* l */
    uint64_t bytes_since_reseed;    /* l */
} pool = {.lock = SPINLOCK_INIT("entropy")};

static struct entropy_source cpu_source; /* never in the list: it answers at once */

/* Not left out by the compiler, though nobody reads it. */
static void wipe(void *data, size_t bytes)
{
    memset(data, 0, bytes);
    __asm__ volatile("" : : "r"(data) : "memory");
}

/* `to` may be `key`. */
static void derive(uint8_t to[KEY_BYTES], enum purpose purpose, const uint8_t key[KEY_BYTES], uint64_t number,
                   const void *data, size_t bytes)
{
    struct sha256 hash;
    uint8_t head[1 + 8] = {(uint8_t)purpose};
    store_le64(head + 1, number);
    sha256_init(&hash);
    sha256_update(&hash, head, sizeof(head));
    sha256_update(&hash, key, KEY_BYTES);
    if (bytes > 0)
        sha256_update(&hash, data, bytes);
    sha256_finish(&hash, to);
    wipe(&hash, sizeof(hash));
}

/* ---- In --------------------------------------------------------------------------------------------- */

/* Two equal words in a row come once in 2^64 from a good source, and at once from one that is stuck, or that
 * claims to have written more than it has: the repetition count test of NIST SP 800-90B, 4.4.1. */
static bool repeats_itself(const uint8_t *data, size_t bytes)
{
    for (size_t at = 0; at + 2 * WORD_BYTES <= bytes; at += WORD_BYTES) {
        if (load_le64(data + at) == load_le64(data + at + WORD_BYTES))
            return true;
    }
    return false;
}

static bool is_seeded(void)
{
    return pool.stats.credit_bits >= ENTROPY_SEED_BITS;
}

/* True: now it is seeded. */
static bool credit(struct entropy_source *source, const void *data, size_t bytes)
{
    uint64_t bits = bytes * source->bits_per_byte;
    bool was_seeded = is_seeded();
    source->bytes += bytes;
    if (repeats_itself(data, bytes)) {
        source->refused++;
        return false;
    }
    source->credit_bits += bits;
    pool.stats.credit_bits = (uint32_t)MIN(pool.stats.credit_bits + bits, ENTROPY_SEED_BITS);
    return !was_seeded && is_seeded();
}

void entropy_add(struct entropy_source *source, const void *data, size_t bytes)
{
    assert(source->bits_per_byte <= 8);
    uint64_t flags = spin_lock_irq(&pool.lock);
    derive(pool.key, MIX, pool.key, clock_ns(), data, bytes);
    bool is_seeded_now = credit(source, data, bytes);
    spin_unlock_irq(&pool.lock, flags);
    if (is_seeded_now)
        log_info("entropy", "seeded, at last by %s", source->name);
}

static void add_from_cpu(void)
{
    uint64_t words[CPU_WORDS];
    uint32_t count = 0;
    while (count < CPU_WORDS && rdrand_read(&words[count]))
        count++;
    if (count > 0)
        entropy_add(&cpu_source, words, count * sizeof(words[0]));
    wipe(words, sizeof(words));
}

/* ---- Sources ---------------------------------------------------------------------------------------- */

static void ask_locked(struct entropy_source *source)
{
    source->asked++;
    if (source->want)
        source->want(source);
}

static void reseed(void)
{
    add_from_cpu();
    SPIN_SCOPED_IRQ(&pool.lock);
    pool.stats.reseeds++;
    pool.bytes_since_reseed = 0;
    cpu_source.asked++;
    for (struct entropy_source *source = pool.sources; source; source = source->next)
        ask_locked(source);
}

void entropy_source_add(struct entropy_source *source)
{
    SPIN_SCOPED_IRQ(&pool.lock);
    struct entropy_source **at = &pool.sources;
    while (*at)
        at = &(*at)->next;
    *at = source;
    ask_locked(source); /* also when it is seeded: two are better than one */
}

void entropy_source_remove(struct entropy_source *source)
{
    SPIN_SCOPED_IRQ(&pool.lock);
    struct entropy_source **at = &pool.sources;
    while (*at && *at != source)
        at = &(*at)->next;
    if (*at)
        *at = source->next;
}

void entropy_init(void)
{
    static struct entropy_source boot_source = {.name = "boot"}; /* an attacker may know the time */
    uint64_t wall = clock_wall_seconds();
    const char *name = rdrand_name();
    entropy_add(&boot_source, &wall, sizeof(wall));
    if (!name)
        return;
    string_copy(cpu_source.name, name, sizeof(cpu_source.name));
    /* RDRAND is a generator: 128 bits of seed to at most 511 numbers of 128 bits (SDM 1, 7.3.17). */
    cpu_source.bits_per_byte = strcmp(name, "rdseed") == 0 ? 8 : 4;
    add_from_cpu();
}

/* ---- Out -------------------------------------------------------------------------------------------- */

/* Takes a key for `bytes` of output. True: sources should be asked for more. */
static bool take_key(uint8_t key[KEY_BYTES], size_t bytes, bool *was_seeded)
{
    SPIN_SCOPED_IRQ(&pool.lock);
    derive(key, OUT, pool.key, clock_ns(), NULL, 0);
    derive(pool.key, NEXT, pool.key, 0, NULL, 0);
    *was_seeded = is_seeded();
    pool.stats.calls++;
    pool.stats.bytes += bytes;
    pool.bytes_since_reseed += bytes;
    return !*was_seeded || pool.bytes_since_reseed >= RESEED_BYTES;
}

static void expand(const uint8_t key[KEY_BYTES], uint8_t *to, size_t bytes)
{
    uint8_t block[KEY_BYTES];
    for (uint64_t number = 0; bytes > 0; number++) {
        size_t taken = MIN(bytes, (size_t)KEY_BYTES);
        derive(block, BLOCK, key, number, NULL, 0);
        memcpy(to, block, taken);
        to += taken;
        bytes -= taken;
    }
    wipe(block, sizeof(block));
}

bool entropy_bytes(void *to, size_t bytes)
{
    uint8_t key[KEY_BYTES];
    bool was_seeded, wants_more = take_key(key, bytes, &was_seeded);
    expand(key, to, bytes);
    wipe(key, sizeof(key));
    if (wants_more)
        reseed();
    return was_seeded;
}

/* ---- For people ------------------------------------------------------------------------------------- */

bool entropy_is_seeded(void)
{
    SPIN_SCOPED_IRQ(&pool.lock);
    return is_seeded();
}

void entropy_stats(struct entropy_stats *stats)
{
    SPIN_SCOPED_IRQ(&pool.lock);
    *stats = pool.stats;
}

bool entropy_source_at(uint32_t index, struct entropy_source *copy)
{
    SPIN_SCOPED_IRQ(&pool.lock);
    const struct entropy_source *source = cpu_source.name[0] ? &cpu_source : pool.sources;
    while (source && index-- > 0)
        source = source == &cpu_source ? pool.sources : source->next;
    if (source)
        *copy = *source;
    return source != NULL;
}
