/* SPDX-License-Identifier: MIT */
/* Commands that show the kernel's state: ps, irq, mem, dmesg. Thread context.
 *
 * Tables under a lock are copied first and printed afterwards: a console may be slow, and printing under a
 * table's lock would keep others waiting. */
#include <kernel/shell.h>

#include <arch/clock.h>
#include <arch/cpu.h>
#include <arch/mmu.h>
#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/irq.h>
#include <kernel/page.h>
#include <kernel/printf.h>
#include <kernel/sched.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define PS_THREADS_MAX 512u
#define IRQ_LINES_MAX  256u
#define IRQ_NAME_BYTES 24u
#define WHY_BYTES      40u

struct ps_line {
    uint32_t id, state, cpu;
    uint8_t priority;
    uint64_t cpu_ns, last_switch_ns, switches, affinity;
    char name[THREAD_NAME_BYTES], why[WHY_BYTES];
};
struct ps_table {
    uint32_t count, total;
    struct ps_line lines[PS_THREADS_MAX];
};

/* Under the thread table's lock. The fields may change meanwhile: each is read once, no more is promised. */
static void ps_copy(const struct thread *thread, void *context)
{
    struct ps_table *table = context;
    struct ps_line *line = &table->lines[table->count];
    if (table->total++ >= PS_THREADS_MAX)
        return;
    table->count++;
    assert(table->count <= PS_THREADS_MAX);
    *line = (struct ps_line){.id = thread->id,
                             .state = read_once(thread->state),
                             .cpu = read_once(thread->cpu),
                             .priority = thread->priority,
                             .cpu_ns = read_once(thread->cpu_ns),
                             .last_switch_ns = read_once(thread->last_switch_ns),
                             .switches = read_once(thread->switches),
                             .affinity = thread->affinity};
    string_copy(line->name, thread->name, sizeof(line->name));
    const char *why = read_once(thread->waiting_why);
    if (line->state == THREAD_BLOCKED && why)
        string_copy(line->why, why, sizeof(line->why));
}

static void ps_print(const struct ps_line *thread, uint64_t now_ns)
{
    struct shell_line line = {0};
    shell_line_add(&line, "%5u %-23s %-8s %3u %3u %9llu %9llu  %s", thread->id, thread->name,
                   thread_state_name(thread->state), thread->cpu, thread->priority,
                   (unsigned long long)(thread->cpu_ns / NSEC_PER_USEC), (unsigned long long)thread->switches,
                   thread->why);
    if (thread->state == THREAD_BLOCKED && now_ns > thread->last_switch_ns)
        shell_line_add(&line, " (%llu ms)",
                       (unsigned long long)((now_ns - thread->last_switch_ns) / NSEC_PER_MSEC));
    shell_line_end(&line);
}

static int ps_run(int argc, char **argv)
{
    struct ps_table *table = heap_alloc_zeroed(sizeof(*table));
    if (!table)
        return -ENOMEM;
    thread_for_each(ps_copy, table);
    uint64_t now_ns = clock_ns();
    console_printf("   ID NAME                    STATE    CPU PRI   CPU [us]  SWITCHES  WAITS FOR\n");
    for (uint32_t i = 0; i < table->count; i++)
        ps_print(&table->lines[i], now_ns);
    if (table->total > table->count)
        console_printf("... and %u more\n", table->total - table->count);
    heap_free(table);
    return 0;
}
SHELL_COMMAND(ps, "", "list the threads and what they wait for", ps_run,
              "CPU: the one it runs or last ran on. SWITCHES: context switches to it.");

struct irq_line {
    uint64_t count;
    uint32_t cpu;
    uint8_t vector;
    char name[IRQ_NAME_BYTES];
};
struct irq_table {
    uint32_t count;
    struct irq_line lines[IRQ_LINES_MAX];
};

/* Under the interrupt table's lock. */
static void irq_copy(const struct irq *irq, void *context)
{
    struct irq_table *table = context;
    assert(table->count <= IRQ_LINES_MAX);
    if (table->count == IRQ_LINES_MAX)
        return;
    struct irq_line *line = &table->lines[table->count++];
    line->count = irq_count(irq);
    line->cpu = irq_cpu(irq);
    line->vector = irq_vector(irq);
    string_copy(line->name, irq_name(irq), sizeof(line->name));
}

static void irq_print_cpus(void)
{
    for (uint32_t id = 0; id < cpu_count(); id++) {
        const struct cpu *cpu = cpu_get(id);
        struct sched_stats stats;
        sched_stats(id, &stats);
        console_printf("cpu %u: %llu interrupts, %llu context switches, %llu preemptions, halted %llu ms\n",
                       id, (unsigned long long)cpu->interrupts, (unsigned long long)stats.switches,
                       (unsigned long long)stats.preemptions,
                       (unsigned long long)(cpu->halted_ns / NSEC_PER_MSEC));
    }
    console_printf("unclaimed: %llu\n", (unsigned long long)irq_spurious_count());
}

static void irq_print_json(const struct irq_table *table)
{
    for (uint32_t i = 0; i < table->count; i++)
        console_printf("{\"vector\":%u,\"cpu\":%u,\"count\":%llu,\"name\":\"%s\"}\n", table->lines[i].vector,
                       table->lines[i].cpu, (unsigned long long)table->lines[i].count, table->lines[i].name);
}

static void irq_print(const struct irq_table *table)
{
    console_printf("VECTOR CPU      COUNT NAME\n");
    for (uint32_t i = 0; i < table->count; i++)
        console_printf("%6u %3u %10llu %s\n", table->lines[i].vector, table->lines[i].cpu,
                       (unsigned long long)table->lines[i].count, table->lines[i].name);
    irq_print_cpus();
}

static int irq_run(int argc, char **argv)
{
    struct irq_table *table = heap_alloc_zeroed(sizeof(*table));
    if (!table)
        return -ENOMEM;
    irq_for_each(irq_copy, table);
    if (shell_flag(argc, argv, "--json"))
        irq_print_json(table);
    else
        irq_print(table);
    heap_free(table);
    return 0;
}
SHELL_COMMAND(irq, "[--json]", "list the interrupt vectors with their counts", irq_run, NULL);

static int mem_run(int argc, char **argv)
{
    struct page_stats pages;
    struct heap_stats heap;
    struct shell_line line = {0};
    page_stats(&pages);
    heap_stats(&heap);
    assert(pages.free_bytes <= pages.total_bytes);
    if (shell_flag(argc, argv, "--json")) {
        console_printf("{\"total_bytes\":%llu,\"free_bytes\":%llu,\"heap_bytes\":%llu,"
                       "\"heap_allocations\":%llu,\"heap_frees\":%llu,\"device_bytes\":%llu}\n",
                       (unsigned long long)pages.total_bytes, (unsigned long long)pages.free_bytes,
                       (unsigned long long)heap.allocated_bytes, (unsigned long long)heap.allocations,
                       (unsigned long long)heap.frees, (unsigned long long)mmu_device_bytes());
        return 0;
    }
    console_printf("pages: %llu KiB, %llu KiB free\n", (unsigned long long)(pages.total_bytes >> 10),
                   (unsigned long long)(pages.free_bytes >> 10));
    shell_line_add(&line, "free blocks:");
    for (unsigned order = 0; order <= PAGE_ORDER_MAX; order++)
        shell_line_add(&line, " %u KiB: %llu%s", 4u << order, (unsigned long long)pages.free_blocks[order],
                       order < PAGE_ORDER_MAX ? "," : "");
    shell_line_end(&line);
    console_printf("heap: %llu bytes in %llu allocations\n", (unsigned long long)heap.allocated_bytes,
                   (unsigned long long)(heap.allocations - heap.frees));
    console_printf("device registers: %llu KiB of addresses\n",
                   (unsigned long long)(mmu_device_bytes() >> 10));
    return 0;
}
SHELL_COMMAND(mem, "[--json]", "show how much memory is used", mem_run, NULL);

/* The level is not kept beside the text, but warnings and errors say so behind the subsystem. */
static enum log_level line_level(const char *line)
{
    const char *text = strchr(line, ']');
    text = text ? strstr(text, ": ") : NULL;
    if (text && strncmp(text + 2, "error: ", 7) == 0)
        return LOG_ERROR;
    if (text && strncmp(text + 2, "warning: ", 9) == 0)
        return LOG_WARNING;
    return LOG_INFO;
}

static void dmesg_print(const char *line, void *context)
{
    const enum log_level *limit = context;
    if (line_level(line) <= *limit)
        console_printf("%s\n", line);
}

static int dmesg_run(int argc, char **argv)
{
    enum log_level limit = LOG_TRACE;
    if (argc > 2 || (argc == 2 && log_level_parse(argv[1], &limit)))
        return -EINVAL;
    log_for_each(dmesg_print, &limit);
    return 0;
}
SHELL_COMMAND(dmesg, "[LEVEL]", "print the log ring, which holds every level", dmesg_run,
              "LEVEL: error or warning shows only those; the default is everything.");
