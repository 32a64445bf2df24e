/* SPDX-License-Identifier: MIT */
/* Device interrupts, without a device: a CPU sends the vector to itself or to another one. A line's vector
 * can be sent so too; the I/O APIC is not asked. */
#include <arch/ioapic.h>
#include <arch/lapic.h>
#include <arch/trap.h>
#include <kernel/base/error.h>
#include <kernel/completion.h>
#include <kernel/heap.h>
#include <kernel/irq.h>
#include <kernel/string.h>

#include "threads_internal.h"

struct line {
    bool is_asserted; /* a: what the handler answers */
    uint32_t calls;   /* a */
    uint32_t cpu;     /* a: of the last call */
    bool was_in_interrupt;
    struct completion *completion;
};

static bool handle(void *context)
{
    struct line *line = context;
    line->was_in_interrupt = cpu_read(interrupt_depth) == 1 && !interrupts_are_enabled();
    write_once(line->cpu, cpu_id());
    __atomic_add_fetch(&line->calls, 1, __ATOMIC_RELEASE);
    if (line->completion)
        complete(line->completion);
    return read_once(line->is_asserted);
}

static void send(uint32_t cpu, uint8_t vector)
{
    preempt_disable();
    lapic_send_ipi(cpu, vector);
    preempt_enable();
}

static void wait_for_calls(const struct line *line, uint32_t calls)
{
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    while (__atomic_load_n(&line->calls, __ATOMIC_ACQUIRE) < calls && clock_ns() < limit_ns)
        cpu_relax();
    ktest_expect_equal(read_once(line->calls), calls);
}

static void find_name(const struct irq *irq, void *context)
{
    uint32_t *found = context;
    *found += strcmp(irq_name(irq), "test-a-name-that-is-cut") == 0;
}

KTEST(irq_message_reaches_its_handler_on_its_cpu, KTEST_FAST)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        struct line line = {.is_asserted = true};
        struct irq *irq = NULL;
        uint64_t address = 0;
        uint32_t data = 0, found = 0;
        int result = irq_allocate_msi(cpu, handle, &line, "test-a-name-that-is-cut-short", &irq);
        ktest_expect_equal(result, 0);
        if (result != 0)
            return;
        for (uint32_t i = 1; i <= 3; i++) {
            send(cpu, irq_vector(irq));
            wait_for_calls(&line, i);
        }
        ktest_expect_equal(line.cpu, cpu);
        ktest_expect(line.was_in_interrupt);
        ktest_expect_equal(irq_count(irq), 3);
        ktest_expect_equal(irq_cpu(irq), cpu);
        irq_msi_message(irq, &address, &data);
        ktest_expect_equal(address >> 20, 0xfee); /* SDM 3A, 11.11.1 */
        ktest_expect_equal(data & 0xff, irq_vector(irq));
        irq_for_each(find_name, &found);
        ktest_expect_equal(found, 1);
        irq_free(irq);
    }
}

KTEST(irq_freed_vector_is_counted_as_spurious, KTEST_FAST)
{
    struct line line = {.is_asserted = true};
    struct irq *irq = NULL;
    uint32_t cpu = cpu_count() - 1;
    uint64_t spurious = irq_spurious_count(), limit_ns = clock_ns() + TEST_LIMIT_NS;
    int result = irq_allocate_msi(cpu, handle, &line, "test", &irq);
    ktest_expect_equal(result, 0);
    if (result != 0)
        return;
    uint8_t vector = irq_vector(irq);
    irq_free(irq);
    send(cpu, vector);
    while (irq_spurious_count() == spurious && clock_ns() < limit_ns)
        cpu_relax();
    ktest_expect_equal(irq_spurious_count(), spurious + 1);
    ktest_expect_equal(line.calls, 0);
}

KTEST(irq_vectors_run_out_politely, KTEST_FAST)
{
    struct line line = {.is_asserted = true};
    struct irq **irqs = heap_alloc_zeroed(256 * sizeof(*irqs));
    unsigned count = 0;
    int result = irqs ? 0 : -ENOMEM;
    while (result == 0 && count < 256)
        if ((result = irq_allocate_msi(0, handle, &line, "test", &irqs[count])) == 0)
            count++;
    ktest_expect_equal(-result, ENOSPC);
    ktest_expect(count >= 128 && count < 208);
    for (unsigned i = 0; i < count; i++)
        irq_free(irqs[i]);
    heap_free(irqs);
}

struct sleeper {
    struct completion done;
    bool was_io;
};

static void sleep_for_irq(void *argument)
{
    struct sleeper *sleeper = argument;
    completion_wait(&sleeper->done);
    sleeper->was_io = thread_current()->was_woken_by_io;
}

/* Through the interrupt's wake batch. */
KTEST(irq_handler_wakes_as_io, KTEST_FAST)
{
    struct sleeper sleeper;
    struct line line = {.is_asserted = true, .completion = &sleeper.done};
    struct irq *irq = NULL;
    completion_init(&sleeper.done);
    int result = irq_allocate_msi(0, handle, &line, "test", &irq);
    ktest_expect_equal(result, 0);
    if (result != 0)
        return;
    struct thread *thread = test_spawn(sleep_for_irq, &sleeper, 0, 0);
    ktest_expect(test_wait_until_asleep(thread));
    send(0, irq_vector(irq));
    thread_join(thread);
    ktest_expect(sleeper.was_io);
    irq_free(irq);
}

/* The highest line, which no device of QEMU's PCs uses. */
static bool attach_two(struct line lines[2], struct irq *irqs[2])
{
    uint32_t gsi = ioapic_gsi_count() - 1;
    for (unsigned i = 0; i < 2; i++) {
        int result = irq_attach_gsi(gsi, true, true, handle, &lines[i], "test-line", &irqs[i]);
        ktest_expect_equal(result, 0);
        if (result != 0)
            return false;
    }
    return true;
}

/* Hazards 7 and 8: all handlers of a line are asked; nobody's interrupt is counted, and the line lives on. */
KTEST(irq_line_is_shared, KTEST_FAST)
{
    struct line lines[2] = {{.is_asserted = true}, {.is_asserted = false}};
    struct irq *irqs[2] = {NULL, NULL};
    int result = thread_set_affinity(thread_current(), 1); /* where lines go: each is over before we go on */
    ktest_expect_equal(result, 0);
    if (!attach_two(lines, irqs))
        return;
    uint8_t vector = irq_vector(irqs[0]);
    ktest_expect_equal(irq_vector(irqs[1]), vector);
    uint64_t spurious = irq_spurious_count();
    send(0, vector);
    wait_for_calls(&lines[1], 1);
    write_once(lines[0].is_asserted, false);
    send(0, vector);
    wait_for_calls(&lines[1], 2);
    write_once(lines[1].is_asserted, true);
    send(0, vector);
    wait_for_calls(&lines[1], 3);
    ktest_expect_equal(lines[0].calls, 3);
    ktest_expect_equal(irq_count(irqs[0]), 1);
    ktest_expect_equal(irq_count(irqs[1]), 1);
    ktest_expect_equal(irq_spurious_count(), spurious + 1);
    irq_free(irqs[0]); /* the first of the chain; the other one stays */
    send(0, vector);
    wait_for_calls(&lines[1], 4);
    ktest_expect_equal(lines[0].calls, 3);
    irq_free(irqs[1]);
}

KTEST(irq_attach_refuses_a_line_that_is_not_there, KTEST_FAST)
{
    struct line line = {.is_asserted = true};
    struct irq *irq = NULL;
    ktest_expect_equal(-irq_attach_gsi(100000, true, true, handle, &line, "test", &irq), ENODEV);
    ktest_expect(!irq);
}

struct storm {
    struct line line;
    struct irq *irq; /* a */
    bool stop;       /* a */
};

static void storm_sends(void *argument)
{
    struct storm *storm = argument;
    while (!read_once(storm->stop)) {
        send(0, irq_vector(storm->irq));
        sched_yield();
    }
}

/* Another CPU keeps the vector busy while it is freed: no call after irq_free has returned. */
KTEST(irq_free_waits_for_the_handler, KTEST_SMP)
{
    for (int i = 0; i < 20; i++) {
        struct storm storm = {.line.is_asserted = true};
        int result = irq_allocate_msi(0, handle, &storm.line, "test", &storm.irq);
        ktest_expect_equal(result, 0);
        if (result != 0)
            return;
        struct irq *irq = storm.irq;
        uint8_t vector = irq_vector(irq);
        struct thread *thread = test_spawn(storm_sends, &storm, 0, 2);
        result = thread_set_affinity(thread_current(), i % 2 ? 1 : 2);
        ktest_expect_equal(result, 0);
        while (read_once(storm.line.calls) < 10)
            sched_yield();
        write_once(storm.stop, true); /* it may still send once */
        thread_join(thread);
        send(0, vector);
        irq_free(irq);
        uint32_t calls = read_once(storm.line.calls);
        thread_sleep_ns(200 * NSEC_PER_USEC);
        ktest_expect_equal(read_once(storm.line.calls), calls);
    }
}
