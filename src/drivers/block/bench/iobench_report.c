/* SPDX-License-Identifier: MIT */
/* iobench's output: text for people, or one JSON object on one line. No floating point in the kernel: what
 * has a fraction is printed from thousandths. */
#include "iobench_internal.h"

#include <kernel/base/assert.h>
#include <kernel/shell.h>

uint64_t bench_per_second(uint64_t count, uint64_t ns)
{
    /* Both are scaled down until count * 10^9 fits. */
    while (count >> 34) {
        count >>= 1;
        ns >>= 1;
    }
    return ns ? count * NSEC_PER_SEC / ns : 0;
}

static const char *pattern_name(const struct bench_config *config)
{
    if (config->is_trim)
        return config->is_random ? "randtrim" : "trim";
    if (config->read_share == 65536)
        return config->is_random ? "randread" : "read";
    if (config->read_share == 0)
        return config->is_random ? "randwrite" : "write";
    return config->is_random ? "randrw" : "rw";
}

static const char *mode_name(enum bench_mode mode)
{
    static const char *const names[] = {"irq", "poll", "raw"};
    assert((size_t)mode < ARRAY_SIZE(names));
    return names[mode];
}

/* "0.031 label" a unit of `of`. */
static void add_per_io(struct shell_line *line, const char *label, uint64_t count, uint64_t of)
{
    uint64_t thousandths = of ? (count * 1000 + of / 2) / of : 0;
    shell_line_add(line, "%s %llu.%03llu", label, (unsigned long long)(thousandths / 1000),
                   (unsigned long long)(thousandths % 1000));
}

/* Microseconds with one digit behind the point. */
static void add_us(struct shell_line *line, const char *label, uint64_t ns)
{
    shell_line_add(line, "%s %llu.%llu", label, (unsigned long long)(ns / 1000),
                   (unsigned long long)(ns % 1000 / 100));
}

static void report_latency(const struct histogram *latency)
{
    struct shell_line line = {0};
    add_us(&line, "  latency [us]: min", latency->min_ns);
    add_us(&line, ", mean", histogram_mean(latency));
    add_us(&line, ", p50", histogram_percentile(latency, 5000));
    add_us(&line, ", p90", histogram_percentile(latency, 9000));
    add_us(&line, ", p99", histogram_percentile(latency, 9900));
    add_us(&line, ", p99.9", histogram_percentile(latency, 9990));
    add_us(&line, ", max", latency->max_ns);
    shell_line_end(&line);
}

static void report_costs(const struct bench_result *result)
{
    const struct block_stats *from = &result->start.block, *to = &result->end.block;
    struct shell_line line = {0};
    add_per_io(&line, "  per I/O: doorbells", to->kicks - from->kicks, result->ios);
    add_per_io(&line, ", interrupts", to->interrupts - from->interrupts, result->ios);
    add_per_io(&line, ", context switches", result->end.switches - result->start.switches, result->ios);
    add_per_io(&line, ", device requests", to->device_requests - from->device_requests, result->ios);
    add_per_io(&line, ", merged", to->merges - from->merges, result->ios);
    shell_line_end(&line);
}

static void report_text(const struct bench_config *config, const struct bench_result *result)
{
    uint64_t ns = result->end.ns - result->start.ns;
    uint64_t bytes = result->ios * config->block_bytes;

    console_printf("%s: %s of %u bytes on %s, iodepth=%u numjobs=%u batch=%u mode=%s\n", config->name,
                   pattern_name(config), config->block_bytes, block_device_name(config->device),
                   config->depth, config->jobs, config->batch, mode_name(config->mode));
    console_printf("  %llu IOPS, %llu KiB/s: %llu I/Os in %llu us, %llu errors\n",
                   (unsigned long long)bench_per_second(result->ios, ns),
                   (unsigned long long)(bench_per_second(bytes, ns) >> 10), (unsigned long long)result->ios,
                   (unsigned long long)(ns / 1000), (unsigned long long)result->errors);
    if (result->latency.count > 0)
        report_latency(&result->latency);
    report_costs(result);
    console_printf("  CPU busy %llu us of %llu us\n",
                   (unsigned long long)((result->end.busy_ns - result->start.busy_ns) / 1000),
                   (unsigned long long)(ns / 1000));
    if (config->verify)
        console_printf("  %llu blocks verified, %llu wrong\n", (unsigned long long)result->verified,
                       (unsigned long long)result->verify_errors);
}

static void json_number(struct shell_line *line, const char *key, uint64_t value)
{
    shell_line_add(line, ",\"%s\":%llu", key, (unsigned long long)value);
}

static void json_latency(struct shell_line *line, const struct histogram *latency)
{
    shell_line_add(line, ",\"lat_ns\":{\"min\":%llu",
                   (unsigned long long)(latency->count ? latency->min_ns : 0));
    json_number(line, "mean", histogram_mean(latency));
    json_number(line, "p50", histogram_percentile(latency, 5000));
    json_number(line, "p90", histogram_percentile(latency, 9000));
    json_number(line, "p99", histogram_percentile(latency, 9900));
    json_number(line, "p999", histogram_percentile(latency, 9990));
    json_number(line, "max", latency->max_ns);
    shell_line_add(line, "}");
}

/* "gen" tells the scripts that read such lines that this comes from a plain load generator, whose window is
 * between two markers. */
static void report_json(const struct bench_config *config, const struct bench_result *result)
{
    const struct block_stats *from = &result->start.block, *to = &result->end.block;
    uint64_t ns = result->end.ns - result->start.ns;
    struct shell_line line = {0};

    shell_line_add(
        &line,
        "{\"job\":\"%s\",\"name\":\"%s\",\"gen\":\"ioload\",\"dev\":\"%s\",\"rw\":\"%s\",\"mode\":\"%s\"",
        config->name, config->name, block_device_name(config->device), pattern_name(config),
        mode_name(config->mode));
    json_number(&line, "n", result->ios);
    json_number(&line, "bs_bytes", config->block_bytes);
    json_number(&line, "iodepth", config->depth);
    json_number(&line, "numjobs", config->jobs);
    json_number(&line, "batch", config->batch);
    json_number(&line, "errors", result->errors);
    json_number(&line, "errors_failed", result->errors_failed);
    json_number(&line, "errors_out_of_range", result->errors_out_of_range);
    json_number(&line, "ios", result->ios);
    json_number(&line, "iops", bench_per_second(result->ios, ns));
    json_number(&line, "bw_bytes", bench_per_second(result->ios * config->block_bytes, ns));
    json_latency(&line, &result->latency);
    json_number(&line, "runtime_ns", ns);
    json_number(&line, "cpu_ns", result->end.busy_ns - result->start.busy_ns);
    json_number(&line, "kicks", to->kicks - from->kicks);
    json_number(&line, "interrupts", to->interrupts - from->interrupts);
    json_number(&line, "context_switches", result->end.switches - result->start.switches);
    json_number(&line, "merges", to->merges - from->merges);
    json_number(&line, "device_requests", to->device_requests - from->device_requests);
    json_number(&line, "verified", result->verified);
    json_number(&line, "verify_errors", result->verify_errors);
    shell_line_add(&line, "}");
    shell_line_end(&line);
}

void bench_report(const struct bench_config *config, const struct bench_result *result)
{
    if (config->is_json)
        report_json(config, result);
    else
        report_text(config, result);
}
