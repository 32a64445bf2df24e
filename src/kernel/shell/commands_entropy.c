/* SPDX-License-Identifier: MIT */
/* random and entropy: bytes of the entropy pool, and where it has them from. Thread context. */
#include <kernel/shell.h>

#include <kernel/entropy.h>
#include <kernel/string.h>

#define BYTES_DEFAULT  32u
#define BYTES_MAX      MIB(16)
#define BYTES_PER_LINE 32u

static void print_hex(const uint8_t *bytes, size_t count)
{
    struct shell_line line = {0};
    for (size_t i = 0; i < count; i++)
        shell_line_add(&line, "%02x", bytes[i]);
    shell_line_end(&line);
}

static int random_run(int argc, char **argv)
{
    uint64_t left = BYTES_DEFAULT;
    if (argc > 2 || (argc == 2 && (string_to_size(argv[1], &left) != 0 || left > BYTES_MAX)))
        return -EINVAL;
    if (!entropy_is_seeded())
        console_printf("random: the pool is not seeded (see `entropy`): these may be guessed\n");
    while (left > 0) {
        uint8_t bytes[BYTES_PER_LINE];
        size_t count = MIN(left, (uint64_t)BYTES_PER_LINE);
        (void)entropy_bytes(bytes, count);
        print_hex(bytes, count);
        left -= count;
        if (shell_interrupted())
            return -EINTR;
    }
    return 0;
}
SHELL_COMMAND(random, "[BYTES]", "print random bytes in hexadecimal", random_run,
              "BYTES: 32, at most 16M. `entropy` tells where they come from.");

static void print_text(const struct entropy_stats *stats)
{
    struct entropy_source source;
    console_printf("%s: %u of %u bits; %llu bytes in %llu calls taken, sources asked %llu times\n",
                   stats->credit_bits >= ENTROPY_SEED_BITS ? "seeded" : "not seeded", stats->credit_bits,
                   ENTROPY_SEED_BITS, (unsigned long long)stats->bytes, (unsigned long long)stats->calls,
                   (unsigned long long)stats->reseeds);
    console_printf("SOURCE          BYTES [B]  CREDIT [bit]  ASKED  REPEATED\n");
    for (uint32_t i = 0; entropy_source_at(i, &source); i++)
        console_printf("%-15s %9llu  %12llu  %5llu  %8llu\n", source.name, (unsigned long long)source.bytes,
                       (unsigned long long)source.credit_bits, (unsigned long long)source.asked,
                       (unsigned long long)source.refused);
}

static void print_json(const struct entropy_stats *stats)
{
    struct entropy_source source;
    struct shell_line line = {0};
    shell_line_add(
        &line,
        "{\"seeded\":%s,\"credit_bits\":%u,\"bytes\":%llu,\"calls\":%llu,\"reseeds\":%llu,\"sources\":[",
        stats->credit_bits >= ENTROPY_SEED_BITS ? "true" : "false", stats->credit_bits,
        (unsigned long long)stats->bytes, (unsigned long long)stats->calls,
        (unsigned long long)stats->reseeds);
    for (uint32_t i = 0; entropy_source_at(i, &source); i++)
        shell_line_add(
            &line, "%s{\"name\":\"%s\",\"bytes\":%llu,\"credit_bits\":%llu,\"asked\":%llu,\"repeated\":%llu}",
            i ? "," : "", source.name, (unsigned long long)source.bytes,
            (unsigned long long)source.credit_bits, (unsigned long long)source.asked,
            (unsigned long long)source.refused);
    shell_line_add(&line, "]}");
    shell_line_end(&line);
}

static int entropy_run(int argc, char **argv)
{
    struct entropy_stats stats;
    entropy_stats(&stats);
    if (shell_flag(argc, argv, "--json"))
        print_json(&stats);
    else
        print_text(&stats);
    return 0;
}
SHELL_COMMAND(
    entropy, "[--json]", "show what random numbers are made of", entropy_run,
    "CREDIT: what the bytes are taken to be worth. REPEATED: times that a source repeated itself, which\n"
    "is mixed in but gets no credit.");
