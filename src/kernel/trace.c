/* SPDX-License-Identifier: MIT */
/* Trace rings: one a CPU, of the newest RING_EVENTS events, and the `trace` command.
 *
 * A writer claims a slot by an atomic add, so that an interrupt in the middle of a write, or a migration
 * between finding the CPU and writing, only takes another slot. `serial` is written last: a reader skips a
 * slot that does not hold the event that belongs there. The rings come from the page allocator at the first
 * trace_start and stay. */
#include <arch/clock.h>
#include <kernel/base/assert.h>
#include <kernel/page.h>
#include <kernel/shell.h>
#include <kernel/string.h>
#include <kernel/trace.h>

#define RING_EVENTS 1024u

struct trace_entry {
    uint64_t time_ns, a, b;
    uint32_t serial; /* a: the low half of its number in the ring, plus 1 */
    uint32_t event;
};
_Static_assert(sizeof(struct trace_entry) == 32, "a slot is half a cache line");

struct trace_ring {
    uint64_t head; /* a: events ever claimed */
    struct trace_entry *entries;
} aligned(CACHE_LINE_BYTES);

bool trace_is_on;
static struct trace_ring rings[CPU_MAX];

static const char *const event_names[] = {
#define TRACE_NAME(name, text) text,
    TRACE_EVENTS(TRACE_NAME)
#undef TRACE_NAME
};
_Static_assert(ARRAY_SIZE(event_names) == TRACE_EVENT_COUNT, "a name for each event");

void trace_record(enum trace_event event, uint64_t a, uint64_t b)
{
    struct trace_ring *ring = &rings[cpu_id()];
    if (!ring->entries)
        return;
    uint64_t number = __atomic_fetch_add(&ring->head, 1, __ATOMIC_RELAXED);
    struct trace_entry *entry = &ring->entries[number % RING_EVENTS];
    __atomic_store_n(&entry->serial, 0, __ATOMIC_RELEASE);
    entry->time_ns = clock_ns();
    entry->a = a;
    entry->b = b;
    entry->event = event;
    __atomic_store_n(&entry->serial, (uint32_t)number + 1, __ATOMIC_RELEASE);
}

void trace_start(void)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        if (!rings[cpu].entries)
            rings[cpu].entries = page_alloc_zeroed(page_order_for(RING_EVENTS * sizeof(struct trace_entry)));
        if (!rings[cpu].entries)
            log_warning("trace", "no memory for the ring of CPU %u: its events are lost", cpu);
    }
    write_once(trace_is_on, true);
}

void trace_stop(void)
{
    write_once(trace_is_on, false);
}

/* A copy of event `number` of the ring; false when it is gone or half written. */
static bool read_event(const struct trace_ring *ring, uint64_t number, struct trace_entry *copy)
{
    const struct trace_entry *entry = &ring->entries[number % RING_EVENTS];
    uint32_t serial = __atomic_load_n(&entry->serial, __ATOMIC_ACQUIRE);
    *copy = *entry;
    __atomic_thread_fence(__ATOMIC_ACQUIRE); /* the copy before the second look */
    return serial == (uint32_t)number + 1 && __atomic_load_n(&entry->serial, __ATOMIC_RELAXED) == serial &&
           copy->event < TRACE_EVENT_COUNT;
}

static uint64_t first_event(const struct trace_ring *ring)
{
    uint64_t head = read_once(ring->head);
    return head > RING_EVENTS ? head - RING_EVENTS : 0;
}

/* The CPU whose event behind (or, backwards, before) its cursor comes next in time; CPU_MAX for none.
 * Events that cannot be read are stepped over. */
static uint32_t next_cpu(uint64_t cursors[CPU_MAX], bool is_backwards, struct trace_entry *next)
{
    uint32_t best = CPU_MAX;
    for (uint32_t cpu = 0; cpu < CPU_MAX; cpu++) {
        struct trace_ring *ring = &rings[cpu];
        struct trace_entry entry;
        bool is_found = false;
        while (ring->entries && !is_found) {
            if (is_backwards ? cursors[cpu] <= first_event(ring) : cursors[cpu] >= read_once(ring->head))
                break;
            is_found = read_event(ring, cursors[cpu] - is_backwards, &entry);
            if (!is_found)
                cursors[cpu] += is_backwards ? -1ull : 1ull;
        }
        if (is_found && (best == CPU_MAX || (entry.time_ns > next->time_ns) == is_backwards)) {
            best = cpu;
            *next = entry;
        }
    }
    return best;
}

static void print_event(uint32_t cpu, const struct trace_entry *entry)
{
    console_printf("[%4llu.%09llu] cpu%-2u %-14s a=0x%llx b=0x%llx\n",
                   (unsigned long long)(entry->time_ns / NSEC_PER_SEC),
                   (unsigned long long)(entry->time_ns % NSEC_PER_SEC), cpu, event_names[entry->event],
                   (unsigned long long)entry->a, (unsigned long long)entry->b);
}

void trace_dump(unsigned limit)
{
    uint64_t cursors[CPU_MAX];
    struct trace_entry entry;
    unsigned count = 0;
    for (uint32_t cpu = 0; cpu < CPU_MAX; cpu++)
        cursors[cpu] = read_once(rings[cpu].head);
    for (uint32_t cpu; count < limit && (cpu = next_cpu(cursors, true, &entry)) < CPU_MAX; count++)
        cursors[cpu]--;
    for (uint32_t cpu; count > 0 && (cpu = next_cpu(cursors, false, &entry)) < CPU_MAX; count--) {
        cursors[cpu]++;
        print_event(cpu, &entry);
    }
}

static int trace_run(int argc, char **argv)
{
    uint64_t limit = 64;
    if (argc < 2)
        return -EINVAL;
    if (strcmp(argv[1], "start") == 0) {
        trace_start();
    } else if (strcmp(argv[1], "stop") == 0) {
        trace_stop();
    } else if (strcmp(argv[1], "dump") == 0) {
        if (argc > 2 && (string_to_u64(argv[2], &limit) != 0 || limit == 0 || limit > RING_EVENTS * CPU_MAX))
            return -EINVAL;
        trace_dump((unsigned)limit);
    } else if (strcmp(argv[1], "save") == 0) {
        console_printf("trace: saving to a file is not supported yet; use dump\n");
        return -EOPNOTSUPP;
    } else {
        return -EINVAL;
    }
    return 0;
}
SHELL_COMMAND(trace, "start|stop|dump [EVENTS]", "record block, ring, interrupt and scheduler events",
              trace_run, "dump prints the newest EVENTS (64) of all CPUs in order of time");
