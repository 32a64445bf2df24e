/* SPDX-License-Identifier: MIT */
/* The shell's view of block devices: lsblk, iostat, latency, sched, reset, features, cache. Thread context.
 */
#include "block_internal.h"

#include <drivers/describe.h>
#include <kernel/log.h>
#include <kernel/shell.h>
#include <kernel/string.h>
#include <kernel/thread.h>

static void print_size(uint64_t sectors)
{
    uint64_t bytes = sectors << BLOCK_SECTOR_SHIFT;
    if (bytes >= MIB(1))
        console_printf("%7llu MiB", (unsigned long long)(bytes >> 20));
    else
        console_printf("%9llu B", (unsigned long long)bytes);
}

/* The device named by argv[index], referenced, or NULL after one line. */
static struct block_device *device_argument(int argc, char **argv, int index)
{
    struct block_device *device = index < argc ? block_device_find(argv[index]) : NULL;
    if (!device)
        console_printf("%s: no device named '%s'\n", argv[0], index < argc ? argv[index] : "");
    return device;
}

static void print_device(const struct block_device *device)
{
    const struct block_limits *limits = block_device_limits(device);
    console_printf("%-6s ", block_device_name(device));
    print_size(block_device_sectors(device));
    console_printf("  %5u  %5u  %8u  %-4s  %-9s  %s\n", limits->logical_block_bytes, limits->depth,
                   limits->max_segments, block_device_is_read_only(device) ? "ro" : "rw",
                   block_device_scheduler(device), block_device_where(device));
}

static void print_device_json(const struct block_device *device)
{
    const struct block_limits *limits = block_device_limits(device);
    console_printf(
        "{\"name\":\"%s\",\"bytes\":%llu,\"block_bytes\":%u,\"depth\":%u,\"segments\":%u,"
        "\"physical_bytes\":%u,\"optimal_bytes\":%u,\"discard_max_sectors\":%u,"
        "\"write_zeroes_max_sectors\":%u,\"secure_erase_max_sectors\":%u,\"writeback\":%s,"
        "\"read_only\":%s,\"scheduler\":\"%s\",\"where\":\"%s\"}\n",
        block_device_name(device), (unsigned long long)block_device_sectors(device) << BLOCK_SECTOR_SHIFT,
        limits->logical_block_bytes, limits->depth, limits->max_segments, limits->physical_block_bytes,
        limits->optimal_bytes, limits->discard.max_sectors, limits->write_zeroes.max_sectors,
        limits->secure_erase.max_sectors, block_device_is_writeback(device) ? "true" : "false",
        block_device_is_read_only(device) ? "true" : "false", block_device_scheduler(device),
        block_device_where(device));
}

static int lsblk_run(int argc, char **argv)
{
    bool is_json = shell_flag(argc, argv, "--json");
    if (!is_json)
        console_printf("NAME          SIZE  BLOCK  DEPTH  SEGMENTS  MODE  SCHEDULER  WHERE\n");
    block_device_foreach (device)
        (is_json ? print_device_json : print_device)(device);
    return 0;
}
SHELL_COMMAND(lsblk, "[--json]", "list block devices", lsblk_run, NULL);

static void print_stats_json(const struct block_device *device, const struct block_stats *s)
{
    console_printf(
        "{\"name\":\"%s\",\"reads\":%llu,\"writes\":%llu,\"flushes\":%llu,\"discards\":%llu,"
        "\"write_zeroes\":%llu,\"secure_erases\":%llu,\"errors\":%llu,\"merges\":%llu,"
        "\"device_requests\":%llu,\"batches\":%llu,\"kicks\":%llu,\"interrupts\":%llu,\"late\":%llu,"
        "\"timeouts\":%llu,\"mended_interrupts\":%llu,\"repeated_doorbells\":%llu,\"resets\":%llu,"
        "\"replays\":%llu,\"given_up\":%llu,\"queued\":%u,\"in_flight\":%u,\"in_flight_max\":%u}\n",
        block_device_name(device), (unsigned long long)s->ios[BLOCK_READ],
        (unsigned long long)s->ios[BLOCK_WRITE], (unsigned long long)s->ios[BLOCK_FLUSH],
        (unsigned long long)s->ios[BLOCK_DISCARD], (unsigned long long)s->ios[BLOCK_WRITE_ZEROES],
        (unsigned long long)s->ios[BLOCK_SECURE_ERASE], (unsigned long long)s->errors,
        (unsigned long long)s->merges, (unsigned long long)s->device_requests, (unsigned long long)s->batches,
        (unsigned long long)s->kicks, (unsigned long long)s->interrupts, (unsigned long long)s->late,
        (unsigned long long)s->timeouts, (unsigned long long)s->recovery.interrupts_mended,
        (unsigned long long)s->recovery.doorbells_again, (unsigned long long)s->recovery.resets,
        (unsigned long long)s->recovery.replays, (unsigned long long)s->recovery.given_up, s->queued,
        s->in_flight, s->in_flight_max);
}

/* Nothing, of a device with which nothing was ever wrong. */
static void print_recovery(const struct block_stats *s)
{
    const struct block_recovery *r = &s->recovery;
    if (s->late == 0 && r->resets == 0)
        return;
    console_printf("       late looks %llu, interrupts mended %llu, doorbells again %llu, timeouts %llu, "
                   "resets %llu, requests replayed %llu, given up %llu\n",
                   (unsigned long long)s->late, (unsigned long long)r->interrupts_mended,
                   (unsigned long long)r->doorbells_again, (unsigned long long)s->timeouts,
                   (unsigned long long)r->resets, (unsigned long long)r->replays,
                   (unsigned long long)r->given_up);
}

static void print_ranges(const struct block_stats *s)
{
    for (uint8_t operation = 0; operation < BLOCK_OPERATIONS; operation++)
        if (block_is_range(operation) && s->ios[operation])
            console_printf("       %s %llu (%llu KiB)\n", block_operation_name(operation),
                           (unsigned long long)s->ios[operation],
                           (unsigned long long)s->sectors[operation] / 2);
}

static void print_stats(const struct block_device *device, const struct block_stats *s)
{
    console_printf("%-6s reads %llu (%llu KiB), writes %llu (%llu KiB), flushes %llu, errors %llu\n",
                   block_device_name(device), (unsigned long long)s->ios[BLOCK_READ],
                   (unsigned long long)s->sectors[BLOCK_READ] / 2, (unsigned long long)s->ios[BLOCK_WRITE],
                   (unsigned long long)s->sectors[BLOCK_WRITE] / 2, (unsigned long long)s->ios[BLOCK_FLUSH],
                   (unsigned long long)s->errors);
    print_ranges(s);
    console_printf("       device requests %llu, merges %llu, batches %llu, doorbells %llu, interrupts %llu, "
                   "in flight %u (most %u), queued %u\n",
                   (unsigned long long)s->device_requests, (unsigned long long)s->merges,
                   (unsigned long long)s->batches, (unsigned long long)s->kicks,
                   (unsigned long long)s->interrupts, s->in_flight, s->in_flight_max, s->queued);
    print_recovery(s);
}

static void subtract_recovery(struct block_recovery *now, const struct block_recovery *before)
{
    now->interrupts_mended -= before->interrupts_mended;
    now->doorbells_again -= before->doorbells_again;
    now->resets -= before->resets;
    now->replays -= before->replays;
    now->given_up -= before->given_up;
}

/* What happened since `before`; the momentary values stay. */
static void subtract(struct block_stats *now, const struct block_stats *before)
{
    for (int i = 0; i < BLOCK_OPERATIONS; i++) {
        now->ios[i] -= before->ios[i];
        now->sectors[i] -= before->sectors[i];
    }
    now->errors -= before->errors;
    now->merges -= before->merges;
    now->device_requests -= before->device_requests;
    now->batches -= before->batches;
    now->kicks -= before->kicks;
    now->interrupts -= before->interrupts;
    now->late -= before->late;
    now->timeouts -= before->timeouts;
    subtract_recovery(&now->recovery, &before->recovery);
}

static void show_stats(struct block_device *device, uint64_t seconds, bool is_json)
{
    struct block_stats before = {}, now;
    if (seconds) {
        block_device_stats(device, &before);
        thread_sleep_ns(seconds * NSEC_PER_SEC);
    }
    block_device_stats(device, &now);
    subtract(&now, &before);
    if (is_json)
        print_stats_json(device, &now);
    else
        print_stats(device, &now);
}

static int iostat_run(int argc, char **argv)
{
    bool is_json = shell_flag(argc, argv, "--json");
    uint64_t seconds = 0;
    if (argc < 2 || argv[1][0] == '-') {
        block_device_foreach (device)
            show_stats(device, 0, is_json);
        return 0;
    }
    if (argc > 2 && argv[2][0] != '-' && (string_to_u64(argv[2], &seconds) != 0 || seconds > 3600)) {
        console_printf("iostat: '%s' is not a number of seconds up to 3600\n", argv[2]);
        return -EINVAL;
    }
    struct block_device *device = device_argument(argc, argv, 1);
    if (!device)
        return -ENODEV;
    show_stats(device, seconds, is_json);
    block_device_put(device);
    return 0;
}
SHELL_COMMAND(iostat, "[DEV] [SECONDS] [--json]", "counts of block devices since boot, or during SECONDS",
              iostat_run, NULL);

static int latency_run(int argc, char **argv)
{
    uint64_t buckets[BLOCK_LATENCY_BUCKETS];
    struct block_device *device = device_argument(argc, argv, 1);
    bool is_json = shell_flag(argc, argv, "--json");
    if (!device)
        return -ENODEV;
    block_device_latency(device, buckets);
    if (is_json)
        console_printf("{\"name\":\"%s\",\"buckets\":[", block_device_name(device));
    block_device_put(device);
    for (unsigned i = 0; i < BLOCK_LATENCY_BUCKETS; i++) {
        if (is_json)
            console_printf("%s%llu", i ? "," : "", (unsigned long long)buckets[i]);
        else if (buckets[i])
            console_printf("%14llu ns up: %llu\n", 1ull << i, (unsigned long long)buckets[i]);
    }
    if (is_json)
        console_printf("]}\n");
    return 0;
}
SHELL_COMMAND(latency, "DEV [--json]", "latencies from submit to completion, by powers of two", latency_run,
              NULL);

static int sched_run(int argc, char **argv)
{
    struct block_device *device = device_argument(argc, argv, 1);
    if (!device)
        return -ENODEV;
    int error = argc > 2 ? block_device_set_scheduler(device, argv[2]) : 0;
    if (error)
        console_printf("sched: no scheduler named '%s'; there are none, deadline\n", argv[2]);
    else
        console_printf("%s: %s\n", block_device_name(device), block_device_scheduler(device));
    block_device_put(device);
    return error;
}
SHELL_COMMAND(sched, "DEV [NAME]", "show or change a device's scheduler", sched_run, NULL);

static int set_timeout(struct block_device *device, const char *text)
{
    uint64_t seconds;
    if (string_to_u64(text, &seconds) != 0 || seconds > BLOCK_TIMEOUT_SECONDS_MAX) {
        console_printf("timeout: '%s' is not a number of seconds up to %u\n", text,
                       BLOCK_TIMEOUT_SECONDS_MAX);
        return -EINVAL;
    }
    block_device_set_timeout(device, seconds * NSEC_PER_SEC);
    return 0;
}

static int timeout_run(int argc, char **argv)
{
    struct block_device *device = device_argument(argc, argv, 1);
    if (!device)
        return -ENODEV;
    int error = argc > 2 ? set_timeout(device, argv[2]) : 0;
    if (!error)
        console_printf("%s: %llu s\n", block_device_name(device),
                       (unsigned long long)(block_device_timeout(device) / NSEC_PER_SEC));
    block_device_put(device);
    return error;
}
SHELL_COMMAND(timeout, "DEV [SECONDS]",
              "show or change how long a device may keep a request before it is reset (0: for ever)",
              timeout_run, NULL);

static int set_ring(struct block_device *device, const char *text)
{
    struct block_ring_entries entries;
    uint64_t count;
    int error = block_device_ring_entries(device, &entries);
    if (error)
        return error;
    if (string_to_u64(text, &count) != 0 || count < entries.least || count > entries.most) {
        console_printf("ring: '%s' is not from %u to %u\n", text, entries.least, entries.most);
        return -EINVAL;
    }
    return block_device_set_ring_entries(device, (uint32_t)count);
}

static int ring_run(int argc, char **argv)
{
    struct block_ring_entries entries;
    struct block_device *device = device_argument(argc, argv, 1);
    if (!device)
        return -ENODEV;
    int error = argc > 2 ? set_ring(device, argv[2]) : 0;
    if (error == 0)
        error = block_device_ring_entries(device, &entries);
    if (error == 0)
        console_printf("%s: %u entries, from %u to %u\n", block_device_name(device), entries.now,
                       entries.least, entries.most);
    block_device_put(device);
    return error;
}
SHELL_COMMAND(ring, "DEV [ENTRIES]", "show or change the size of an idle device's rings", ring_run,
              "From what the longest request needs to what the rings had at boot (virtio.queue_size=).\n"
              "A split ring takes powers of two only.\n");

static int reset_run(int argc, char **argv)
{
    struct block_device *device = device_argument(argc, argv, 1);
    if (!device)
        return -ENODEV;
    int error = block_device_reset(device);
    block_device_put(device);
    return error;
}
SHELL_COMMAND(reset, "DEV", "reset a device; what is in flight is sent again", reset_run, NULL);

static const char *cache_name(const struct block_device *device)
{
    return block_device_is_writeback(device) ? "writeback" : "writethrough";
}

static void print_limits(const struct block_device *device)
{
    const struct block_limits *limits = block_device_limits(device);
    console_printf("  blocks of %u bytes, physical %u, optimal %u; write cache: %s\n",
                   limits->logical_block_bytes, limits->physical_block_bytes, limits->optimal_bytes,
                   cache_name(device));
    for (uint8_t operation = BLOCK_DISCARD; block_is_range(operation); operation++) {
        const struct block_range_limit *limit = block_range_limit(device, operation);
        if (limit->max_sectors)
            console_printf("  %s: at most %u sectors, aligned to %u\n", block_operation_name(operation),
                           limit->max_sectors, limit->alignment_sectors);
    }
}

static void print_wear(const char *what, uint16_t tenths)
{
    if (tenths == 0)
        console_printf(", %s unknown", what);
    else if (tenths <= 10)
        console_printf(", %s up to %u %%", what, tenths * 10u);
    else
        console_printf(", %s %s", what, tenths == 11 ? "more than 100 %" : "of a reserved value");
}

static int print_lifetime(struct block_device *device)
{
    static const char *const levels[] = {"unknown", "less than 80 %", "80 %", "90 %"};
    struct block_lifetime lifetime;
    if (!block_device_limits(device)->has_lifetime)
        return 0;
    int error = block_get_lifetime(device, &lifetime);
    if (error)
        return error;
    console_printf("  lifetime: reserved blocks used %s", lifetime.pre_eol_info < ARRAY_SIZE(levels)
                                                              ? levels[lifetime.pre_eol_info]
                                                              : "of a reserved value");
    print_wear("SLC used", lifetime.slc_used);
    print_wear("MLC used", lifetime.mlc_used);
    console_printf("\n");
    return 0;
}

static int describe(const char *name)
{
    struct block_device *device = block_device_find(name);
    if (!device)
        return -ENODEV;
    int error = block_device_describe(device);
    if (error == -EOPNOTSUPP) {
        console_printf("%s: %s\n", name, block_device_where(device));
        error = 0;
    }
    if (!error) {
        print_limits(device);
        error = print_lifetime(device);
    }
    block_device_put(device);
    return error;
}
DEVICE_DESCRIBER(describe);

static int cache_run(int argc, char **argv)
{
    bool is_writeback = argc > 2 && strcmp(argv[2], "writeback") == 0;
    int error = 0;
    if (argc > 3 || (argc == 3 && !is_writeback && strcmp(argv[2], "writethrough") != 0))
        return -EINVAL;
    struct block_device *device = device_argument(argc, argv, 1);
    if (!device)
        return -ENODEV;
    if (argc > 2)
        error = block_device_set_writeback(device, is_writeback);
    console_printf("%s: %s\n", block_device_name(device), cache_name(device));
    block_device_put(device);
    return error;
}
SHELL_COMMAND(cache, "DEV [writeback|writethrough]", "show or switch a device's write cache", cache_run,
              "  writeback     what is written is durable after a flush\n"
              "  writethrough  what is written is durable when the write is done; a flush costs nothing\n"
              "To switch, the device is reset: what is in flight is sent again.");
