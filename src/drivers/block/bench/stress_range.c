/* SPDX-License-Identifier: MIT */
/* What each block under stress must hold: content and generation a unit (a logical block), and a claim bit a
 * unit, so that no two requests in flight touch the same one. A claim is one compare-and-swap on the word of
 * the unit's group of 64. Thread context. */
#include "stress_internal.h"

#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/page.h>

#define CHECK_BYTES KIB(64)
#define REPORTS_MAX 8u /* wrong blocks that are described; the others are counted */

static uint32_t reports; /* a */

static uint32_t group_count(const struct stress_range *range)
{
    return (uint32_t)div_round_up(range->units, STRESS_GROUP_UNITS);
}

int stress_range_init(struct stress_range *range, const struct stress_config *config)
{
    range->device = config->device;
    range->source = pattern_source(block_device_name(config->device), config->seed);
    range->unit_bytes = block_device_limits(config->device)->logical_block_bytes;
    range->unit_sectors = range->unit_bytes >> BLOCK_SECTOR_SHIFT;
    range->first_sector = config->offset_bytes >> BLOCK_SECTOR_SHIFT;
    range->units = (uint32_t)(config->size_bytes / range->unit_bytes);
    assert(range->units > 0 && range->unit_bytes >= PATTERN_BLOCK_MIN);
    if (range->units > STRESS_GROUP_UNITS)
        range->units -= range->units % STRESS_GROUP_UNITS;
    write_once(reports, 0);
    range->claimed = heap_alloc_zeroed(group_count(range) * sizeof(uint64_t));
    range->generations = heap_alloc_zeroed(range->units * sizeof(uint32_t));
    range->contents = heap_alloc_zeroed(range->units);
    return range->claimed && range->generations && range->contents ? 0 : -ENOMEM;
}

void stress_range_fini(struct stress_range *range)
{
    heap_free(range->claimed);
    heap_free(range->generations);
    heap_free(range->contents);
}

static uint64_t mask_of(const struct stress_range *range, uint32_t first, uint32_t count)
{
    uint32_t at = first % STRESS_GROUP_UNITS;
    assert(count > 0 && at + count <= STRESS_GROUP_UNITS && first + count <= range->units);
    return (count == 64 ? UINT64_MAX : BIT(count) - 1) << at;
}

bool stress_range_claim(struct stress_range *range, uint32_t first, uint32_t count)
{
    uint64_t *word = &range->claimed[first / STRESS_GROUP_UNITS], mask = mask_of(range, first, count);
    uint64_t old = __atomic_load_n(word, __ATOMIC_RELAXED);
    do
        if (old & mask)
            return false;
    while (!__atomic_compare_exchange_n(word, &old, old | mask, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED));
    return true;
}

/* Pairs with the acquire in stress_range_claim: the next claimer sees the generations. */
void stress_range_release(struct stress_range *range, uint32_t first, uint32_t count)
{
    uint64_t mask = mask_of(range, first, count);
    uint64_t old = __atomic_fetch_and(&range->claimed[first / STRESS_GROUP_UNITS], ~mask, __ATOMIC_RELEASE);
    assert((old & mask) == mask);
}

static uint64_t sector_of(const struct stress_range *range, uint32_t unit)
{
    return range->first_sector + (uint64_t)unit * range->unit_sectors;
}

void stress_range_fill(const struct stress_range *range, uint32_t first, uint32_t count, void *data)
{
    assert(read_once(range->claimed[first / STRESS_GROUP_UNITS]) & BIT(first % STRESS_GROUP_UNITS));
    for (uint32_t i = 0; i < count; i++)
        pattern_fill((uint8_t *)data + i * range->unit_bytes, range->unit_bytes, range->source,
                     sector_of(range, first + i), range->generations[first + i] + 1);
}

void stress_range_written(struct stress_range *range, uint32_t first, uint32_t count, bool is_good)
{
    for (uint32_t unit = first; unit < first + count; unit++)
        range->generations[unit]++;
    stress_range_became(range, first, count, is_good ? STRESS_WRITTEN : STRESS_UNKNOWN);
}

void stress_range_became(struct stress_range *range, uint32_t first, uint32_t count,
                         enum stress_content content)
{
    for (uint32_t unit = first; unit < first + count; unit++)
        range->contents[unit] = (uint8_t)content;
}

static cold void report_wrong(const struct stress_range *range, uint32_t unit, const void *data,
                              const char *why)
{
    static const char *const contents[] = {"anything", "the pattern", "zeroes", "anything of its own"};
    const struct pattern_header *header = data;
    if (__atomic_fetch_add(&reports, 1, __ATOMIC_RELAXED) >= REPORTS_MAX)
        return;
    log_error("stress",
              "%s: sector %llu: %s: expected %s, generation %u; found magic %llx, source %s, sector %llu, "
              "generation %u",
              block_device_name(range->device), (unsigned long long)sector_of(range, unit), why,
              contents[range->contents[unit]], range->generations[unit], (unsigned long long)header->magic,
              header->source == range->source ? "ours" : "other", (unsigned long long)header->sector,
              header->generation);
}

static bool is_zero(const void *data, uint32_t bytes)
{
    const uint64_t *word = data;
    uint64_t bits = 0;
    for (uint32_t i = 0; i < bytes / sizeof(*word); i++)
        bits |= word[i];
    return bits == 0;
}

/* NULL: as it must be. */
static const char *find_fault(const struct stress_range *range, uint32_t unit, const void *data)
{
    if (range->contents[unit] == STRESS_ZEROES)
        return is_zero(data, range->unit_bytes) ? NULL : "no zeroes";
    enum pattern_verdict verdict = pattern_check(data, range->unit_bytes, range->source,
                                                 sector_of(range, unit), range->generations[unit]);
    bool is_good =
        range->contents[unit] == STRESS_DISCARDED ? verdict != PATTERN_WRONG_SECTOR : verdict == PATTERN_GOOD;
    return is_good ? NULL : pattern_verdict_name(verdict);
}

uint32_t stress_range_check(const struct stress_range *range, uint32_t first, uint32_t count,
                            const void *data, uint64_t *verified)
{
    const uint8_t *at = data;
    uint32_t wrong = 0;
    for (uint32_t unit = first; unit < first + count; unit++, at += range->unit_bytes) {
        if (range->contents[unit] == STRESS_UNKNOWN)
            continue;
        const char *why = find_fault(range, unit, at);
        *verified += range->contents[unit] != STRESS_DISCARDED;
        if (!why)
            continue;
        wrong++;
        report_wrong(range, unit, at, why);
    }
    return wrong;
}

uint32_t stress_range_claimed(const struct stress_range *range)
{
    uint32_t count = 0;
    for (uint32_t group = 0; group < group_count(range); group++)
        for (uint64_t word = read_once(range->claimed[group]); word; word &= word - 1)
            count++;
    return count;
}

int stress_range_check_all(const struct stress_range *range, uint64_t *verified, uint64_t *wrong)
{
    uint32_t step = MAX((uint32_t)CHECK_BYTES / range->unit_bytes, 1u);
    unsigned order = page_order_for((size_t)step * range->unit_bytes);
    void *data = page_alloc(order);
    int error = 0;
    if (!data)
        return -ENOMEM;
    assert(stress_range_claimed(range) == 0);
    for (uint32_t unit = 0; unit < range->units && !error; unit += step) {
        uint32_t count = MIN(step, range->units - unit);
        for (uint32_t i = 0; i < count; i++)
            pattern_spoil((uint8_t *)data + i * range->unit_bytes, range->unit_bytes);
        error = block_read(range->device, sector_of(range, unit), data, (uint64_t)count * range->unit_bytes);
        if (!error)
            *wrong += stress_range_check(range, unit, count, data, verified);
    }
    page_free(data, order);
    return error;
}
