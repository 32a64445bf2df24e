/* SPDX-License-Identifier: MIT */
/* The arch layer from inside: traps and their fix-ups, contexts, the clock, calls between CPUs, I/O APIC. */
#include <arch/acpi.h>
#include <arch/clock.h>
#include <arch/context.h>
#include <arch/cpu.h>
#include <arch/ioapic.h>
#include <arch/lapic.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <arch/trap.h>
#include <kernel/base/error.h>
#include <kernel/test.h>

#define STACK_BYTES PAGE_BYTES
#define NO_SUCH_GSI 100000u
#define ROUNDS      200u
#define ANSWER_NS   (5 * NSEC_PER_SEC) /* patience with a busy host, not an expectation */

/* ---- Traps ----------------------------------------------------------------------------------------------
 */

static volatile uint64_t touched;

static void touch(void *address)
{
    touched = *(volatile uint64_t *)address;
}

static void write_to(void *address)
{
    *(volatile uint64_t *)address = 1;
}

static void invalid_opcode(void *context)
{
    __asm__ volatile("ud2");
}

static bool try_quietly(void (*access)(void *context), void *context)
{
    uint64_t flags = interrupts_save();
    bool is_done = trap_try(access, context);
    ktest_expect(!interrupts_are_enabled());
    interrupts_restore(flags);
    return is_done;
}

KTEST(trap_try_survives_bad_accesses, KTEST_FAST)
{
    uint64_t good = 42;
    for (unsigned i = 0; i < 3; i++) { /* more than once: the way back is cleared each time */
        ktest_expect(!try_quietly(touch, (void *)(VMAP_BASE + GIB(511)))); /* not mapped */
        ktest_expect(!try_quietly(touch, (void *)0x0001000000000000ull));  /* not canonical */
        ktest_expect(!try_quietly(touch, (void *)8));                      /* the lower half is empty */
        ktest_expect(!try_quietly(write_to, (void *)(uintptr_t)trap_name(TRAP_NMI))); /* read-only, CR0.WP */
        ktest_expect(!try_quietly(invalid_opcode, NULL));
        ktest_expect(try_quietly(touch, &good));
        ktest_expect_equal(touched, 42);
    }
}

KTEST(trap_names_its_vectors, KTEST_FAST)
{
    for (unsigned vector = 0; vector < 256; vector++)
        ktest_expect(trap_name(vector) != NULL && trap_name(vector)[0] != '\0');
    ktest_expect(__builtin_strcmp(trap_name(TRAP_PAGE_FAULT), "page fault") == 0);
    ktest_expect(__builtin_strcmp(trap_name(TRAP_TIMER), "timer") == 0);
    ktest_expect(__builtin_strcmp(trap_name(TRAP_FIRST_IRQ), "device interrupt") == 0);
    ktest_expect(__builtin_strcmp(trap_name(256), "unused vector") == 0);
}

/* ---- Contexts --------------------------------------------------------------------------------------------
 */

struct pair {
    struct context outer, inner;
    unsigned visits;
    bool has_wrong_state;
};

static void inner_entry(void *argument)
{
    struct pair *pair = argument;
    extern const char context_start[]; /* switch.S */
    /* The SysV ABI's alignment at a call, and the end of the frame chain. */
    uint64_t *frame = __builtin_frame_address(0);
    bool is_first = frame[0] == 0 && frame[1] - (uintptr_t)context_start < 16;
    pair->has_wrong_state = ((uintptr_t)frame & 15) != 0 || !is_first;
    for (;;) {
        pair->visits++;
        context_switch(&pair->inner, &pair->outer);
    }
}

/* The registers that a call preserves survive a switch; clobbered by the other side's own use of them. */
static bool switch_keeps_registers(struct pair *pair)
{
    uint64_t in[2] = {0x1122334455667788, 0x99aabbccddeeff00}, out[2];
    /* cppcheck-suppress constStatement ; it does not know variables that are registers */
    register uint64_t r14 __asm__("r14") = in[0];
    /* cppcheck-suppress constStatement */
    register uint64_t r15 __asm__("r15") = in[1];
    __asm__ volatile("" : "+r"(r14), "+r"(r15));
    context_switch(&pair->outer, &pair->inner);
    __asm__ volatile("" : "+r"(r14), "+r"(r15));
    out[0] = r14;
    out[1] = r15;
    return out[0] == in[0] && out[1] == in[1];
}

KTEST(context_switches_there_and_back, KTEST_FAST)
{
    struct pair pair = {.visits = 0};
    uint64_t frame_pointer, instruction;
    char *stack = mmu_stack_alloc(STACK_BYTES);
    ktest_expect(stack != NULL);
    if (!stack)
        return;
    uint64_t flags = interrupts_save();
    context_init(&pair.inner, stack + STACK_BYTES, inner_entry, &pair);
    bool is_kept = switch_keeps_registers(&pair) && switch_keeps_registers(&pair);
    interrupts_restore(flags);
    ktest_expect(is_kept);
    ktest_expect(!pair.has_wrong_state);
    ktest_expect_equal(pair.visits, 2);
    context_backtrace_start(&pair.inner, &frame_pointer, &instruction);
    ktest_expect(frame_pointer > (uint64_t)stack && frame_pointer < (uint64_t)stack + STACK_BYTES);
    ktest_expect(instruction > (uint64_t)inner_entry);
    mmu_stack_free(stack, STACK_BYTES);
}

/* ---- Clock and calls between CPUs ------------------------------------------------------------------------
 */

KTEST(clock_waits_at_least_as_long_as_asked, KTEST_FAST)
{
    for (uint64_t ns = 1000; ns <= NSEC_PER_MSEC; ns *= 10) {
        uint64_t start_ns = clock_ns();
        clock_spin_ns(ns);
        ktest_expect(clock_ns() - start_ns + 1 >= ns); /* + 1: both are rounded down */
    }
    ktest_expect(clock_ns_to_ticks(NSEC_PER_SEC) == clock.hz);
    ktest_expect(clock_ns_to_ticks(UINT64_MAX - 1) > clock.hz); /* does not overflow */
}

struct answers {
    uint64_t time_ns[CPU_MAX];
    uint32_t calls[CPU_MAX];
    uint32_t wrong_contexts;
};

static void answer(void *context)
{
    struct answers *answers = context;
    answers->time_ns[cpu_id()] = clock_ns();
    answers->calls[cpu_id()]++;
    if (interrupts_are_enabled() || cpu_read(interrupt_depth) != 1)
        __atomic_add_fetch(&answers->wrong_contexts, 1, __ATOMIC_RELAXED);
}

/* The call orders the readings: here, there, here again. */
KTEST(clock_is_monotonic_across_cpus, KTEST_SMP)
{
    struct answers answers = {.wrong_contexts = 0};
    unsigned backwards = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        __builtin_memset(&answers, 0, sizeof(answers));
        uint64_t before_ns = clock_ns();
        smp_call_others(answer, &answers);
        uint64_t after_ns = clock_ns();
        for (uint32_t cpu = 0; cpu < cpu_count(); cpu++)
            if (answers.calls[cpu] > 0)
                backwards += answers.time_ns[cpu] < before_ns || answers.time_ns[cpu] > after_ns;
    }
    ktest_expect_equal(backwards, 0);
}

KTEST(smp_call_runs_once_on_each_other_cpu, KTEST_SMP)
{
    static struct answers answers;
    uint64_t total = 0;
    answers = (struct answers){.wrong_contexts = 0};
    for (unsigned i = 0; i < ROUNDS; i++) {
        smp_call_others(answer, &answers);
        smp_flush_tlb_others();
    }
    for (uint32_t cpu = 0; cpu < CPU_MAX; cpu++) {
        total += answers.calls[cpu];
        ktest_expect(answers.calls[cpu] <= ROUNDS);
        ktest_expect(cpu < cpu_count() || answers.calls[cpu] == 0);
    }
    ktest_expect_equal(total, ROUNDS * (cpu_count() - 1));
    ktest_expect_equal(answers.wrong_contexts, 0);
}

KTEST(smp_reschedule_interrupts_each_cpu, KTEST_SMP)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        const struct cpu *block = cpu_get(cpu);
        uint64_t before = read_once(block->interrupts), start_ns = clock_ns();
        smp_send_reschedule(cpu);
        while (read_once(block->interrupts) == before && clock_ns() - start_ns < ANSWER_NS)
            cpu_relax();
        ktest_expect(read_once(block->interrupts) > before);
    }
}

KTEST(cpu_blocks_are_dense_and_distinct, KTEST_FAST)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        const struct cpu *block = cpu_get(cpu);
        ktest_expect(block != NULL);
        if (!block)
            continue;
        ktest_expect(block->self == block && block->id == cpu && block->current != NULL);
        for (uint32_t other = 0; other < cpu; other++)
            ktest_expect(cpu_get(other)->lapic_id != block->lapic_id);
    }
    ktest_expect(cpu_get(CPU_MAX) == NULL);
}

/* ---- Interrupt controllers -------------------------------------------------------------------------------
 */

KTEST(ioapic_refuses_lines_that_do_not_exist, KTEST_FAST)
{
    struct ioapic_line line = {.gsi = NO_SUCH_GSI};
    ktest_expect_equal(ioapic_route(line, 0, TRAP_LAST_IRQ), (uint64_t)-ENODEV);
    ioapic_mask(NO_SUCH_GSI);
    ioapic_unmask(NO_SUCH_GSI);
    for (uint32_t i = 0; i < acpi_info.override_count; i++)
        ktest_expect_equal(ioapic_isa_line(acpi_info.overrides[i].isa_irq).gsi, acpi_info.overrides[i].gsi);
}

KTEST(lapic_composes_msi_messages, KTEST_FAST)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        uint64_t address;
        uint32_t data;
        lapic_msi_message(cpu, 0x41, &address, &data);
        ktest_expect_equal(address, 0xfee00000u + cpu_get(cpu)->lapic_id * 0x1000u);
        ktest_expect_equal(data, 0x41);
    }
}
