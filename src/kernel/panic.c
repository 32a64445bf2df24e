/* SPDX-License-Identifier: MIT */
/* The last report, and how the kernel leaves. Also the upcalls for exceptions and NMIs.
 *
 * The first CPU to panic owns the report (`owner`); it stops the others by NMI, each of which records its
 * registers and halts, and then writes without any lock. A CPU that panics while another one owns the
 * report waits for that NMI. A panic of the owner itself, in the middle of the report, leaves at once. */
#include <arch/acpi.h>
#include <arch/debug_exit.h>
#include <arch/mmu.h>
#include <arch/smp.h>
#include <arch/trap.h>
#include <kernel/base/bits.h>
#include <kernel/entry.h>
#include <kernel/log.h>
#include <kernel/panic.h>
#include <kernel/printf.h>
#include <kernel/symbols.h>
#include <kernel/thread.h>
#include <kernel/trace.h>

#define BACKTRACE_LIMIT 32u
#define TRACE_LIMIT     32u

/* Legend: a atomic; s written by the CPU of that index before it sets is_stopped. */
static uint32_t owner_cpu_plus_1;                 /* a */
static struct trap_frame stopped_frames[CPU_MAX]; /* s */
static bool is_stopped[CPU_MAX];                  /* a */

/* ---- Backtraces ---------------------------------------------------------------------------------------- */

static bool read_word(uint64_t address, uint64_t *value)
{
    phys_addr_t physical;
    const void *pointer = (const void *)(uintptr_t)address;
    if (address < DIRECT_BASE || !is_aligned(address, 8) || !mmu_translate(pointer, &physical))
        return false;
    *value = *(const uint64_t *)pointer;
    return true;
}

/* A return address may be the first byte of the next function, when the call does not return: its name is
 * that of the byte before. */
static void print_address(unsigned number, uint64_t address)
{
    uint64_t offset;
    const char *name = symbol_lookup(number == 0 ? address : address - 1, &offset);
    if (name)
        console_printf("  #%-2u 0x%016llx %s+0x%llx\n", number, (unsigned long long)address, name,
                       (unsigned long long)(offset + (number != 0)));
    else
        console_printf("  #%-2u 0x%016llx\n", number, (unsigned long long)address);
}

/* A frame is {caller's frame pointer, return address}; callers lie higher on the stack. */
void backtrace_print(uint64_t frame_pointer, uint64_t instruction)
{
    print_address(0, instruction);
    for (unsigned number = 1; number < BACKTRACE_LIMIT; number++) {
        uint64_t next, return_address;
        if (!read_word(frame_pointer, &next) || !read_word(frame_pointer + 8, &return_address) ||
            return_address == 0)
            break;
        print_address(number, return_address);
        if (next <= frame_pointer)
            break;
        frame_pointer = next;
    }
}

/* A jump through a bad pointer leaves an instruction pointer in no function, and before any prologue: then
 * the caller is what the stack pointer points at. */
static void print_frame(const struct trap_frame *frame)
{
    uint64_t offset, caller;
    bool is_nowhere = symbol_lookup(frame->rip, &offset) == NULL;
    if (is_nowhere && read_word(frame->rsp, &caller) && symbol_lookup(caller, &offset)) {
        print_address(0, frame->rip);
        backtrace_print(frame->rbp, caller);
    } else {
        backtrace_print(frame->rbp, frame->rip);
    }
}

static const char *thread_name_of(uint32_t cpu)
{
    const struct cpu *block = cpu_get(cpu);
    const struct thread *thread = block ? block->current : NULL;
    return thread ? thread->name : "none";
}

/* ---- The report ------------------------------------------------------------------------------------------
 */

#define READ_CONTROL_REGISTER(number)                                      \
    ({                                                                     \
        uint64_t control_value;                                            \
        __asm__ volatile("mov %%cr" #number ", %0" : "=r"(control_value)); \
        control_value;                                                     \
    })

static void print_registers(const struct trap_frame *f)
{
    static const char *const names[] = {"r15", "r14", "r13", "r12", "r11", "r10", "r9 ", "r8 ",
                                        "rbp", "rdi", "rsi", "rdx", "rcx", "rbx", "rax"};
    const uint64_t *values = &f->r15;
    _Static_assert(offsetof(struct trap_frame, vector) == ARRAY_SIZE(names) * 8, "the names are the frame's");
    console_printf("rip %016llx  rsp %016llx  rflags %08llx  cs %04llx  ss %04llx\n",
                   (unsigned long long)f->rip, (unsigned long long)f->rsp, (unsigned long long)f->rflags,
                   (unsigned long long)f->cs, (unsigned long long)f->ss);
    for (size_t i = 0; i < ARRAY_SIZE(names); i += 3) {
        size_t last = ARRAY_SIZE(names) - 1 - i; /* rax first */
        console_printf("%s %016llx  %s %016llx  %s %016llx\n", names[last], (unsigned long long)values[last],
                       names[last - 1], (unsigned long long)values[last - 1], names[last - 2],
                       (unsigned long long)values[last - 2]);
    }
    console_printf("cr0 %016llx  cr2 %016llx  cr3 %016llx  cr4 %08llx\n",
                   (unsigned long long)READ_CONTROL_REGISTER(0), (unsigned long long)READ_CONTROL_REGISTER(2),
                   (unsigned long long)READ_CONTROL_REGISTER(3),
                   (unsigned long long)READ_CONTROL_REGISTER(4));
}

static void print_this_cpu(const struct trap_frame *frame)
{
    console_printf("CPU %u, thread %s, preempt_count 0x%x, interrupt_depth %u:\n", cpu_id(),
                   thread_name_of(cpu_id()), cpu_read(preempt_count), cpu_read(interrupt_depth));
    print_frame(frame);
}

static void print_other_cpus(void)
{
    for (uint32_t cpu = 0; cpu < cpu_count(); cpu++) {
        if (cpu == cpu_id())
            continue;
        console_printf("CPU %u, thread %s%s\n", cpu, thread_name_of(cpu),
                       read_once(is_stopped[cpu]) ? ":" : ", did not stop");
        if (read_once(is_stopped[cpu]))
            print_frame(&stopped_frames[cpu]);
    }
}

/* Returns only on the CPU that may write the report. */
static void claim_report(void)
{
    uint32_t nobody = 0, me = cpu_id() + 1;
    if (__atomic_compare_exchange_n(&owner_cpu_plus_1, &nobody, me, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        return;
    if (nobody == me) {
        console_printf("PANIC: again, within the report\n");
        kernel_leave(EXIT_PANIC);
    }
    for (;;) /* until the owner's NMI */
        cpu_relax();
}

static noreturn void report(const struct trap_frame *frame, const char *format, va_list arguments)
{
    char text[256];
    interrupts_disable();
    claim_report();
    trace_stop();
    log_enter_panic();
    smp_stop_others();
    vsnprintf(text, sizeof(text), format, arguments);
    console_printf("PANIC: %s\n", text);
    print_registers(frame);
    print_this_cpu(frame);
    print_other_cpus();
    trace_dump(TRACE_LIMIT);
    kernel_leave(EXIT_PANIC);
}

void panic_at(const struct trap_frame *frame, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    report(frame, format, arguments);
    /* cppcheck-suppress va_end_missing ; report does not return */
}

/* The registers here, as an exception at the caller would have found those that a call preserves. `rip` is
 * the call's last byte: the return address may be in the next function already. */
void panic(const char *format, ...)
{
    struct trap_frame frame = {.rip = (uintptr_t)__builtin_return_address(0) - 1,
                               .rsp = (uintptr_t)__builtin_frame_address(0) + 16,
                               .rbp = *(uint64_t *)__builtin_frame_address(0)};
    va_list arguments;
    __asm__ volatile(
        "mov %%rbx, %0; mov %%r12, %1; mov %%r13, %2; mov %%r14, %3; mov %%r15, %4; pushfq; popq %5;"
        "mov %%cs, %6; mov %%ss, %7"
        : "=m"(frame.rbx), "=m"(frame.r12), "=m"(frame.r13), "=m"(frame.r14), "=m"(frame.r15),
          "=r"(frame.rflags), "=r"(frame.cs), "=r"(frame.ss));
    va_start(arguments, format);
    report(&frame, format, arguments);
    /* cppcheck-suppress va_end_missing ; report does not return */
}

void assert_failed(const char *expression, const char *file, int line, const char *function)
{
    panic("%s:%d: %s: assertion failed: %s", file, line, function, expression);
}

void panic_stop_this_cpu(const struct trap_frame *frame)
{
    stopped_frames[cpu_id()] = *frame;
    __atomic_store_n(&is_stopped[cpu_id()], true, __ATOMIC_RELEASE);
    cpu_stop();
}

void kernel_leave(enum exit_code code)
{
    interrupts_disable();
    debug_exit((uint8_t)code);
    acpi_poweroff();
    console_printf("The machine may be switched off now.\n");
    cpu_stop();
}

/* ---- Upcalls ---------------------------------------------------------------------------------------------
 */

/* SDM 3A, 4.7: the error code of a page fault. */
static noreturn void page_fault(const struct trap_frame *frame, uint64_t address)
{
    uint64_t error = frame->error_code;
    panic_at(frame, "page fault: %s of %s address 0x%llx%s (error 0x%llx)",
             error & BIT(4)   ? "execution"
             : error & BIT(1) ? "write"
                              : "read",
             error & BIT(0) ? "protected" : "unmapped", (unsigned long long)address,
             error & BIT(3) ? ", reserved bit set in a page table" : "", (unsigned long long)error);
}

void kernel_exception(const struct trap_frame *frame)
{
    uint64_t address = READ_CONTROL_REGISTER(2);
    bool is_page_fault = frame->vector == TRAP_PAGE_FAULT;
    /* The push of the page fault's own frame faults on the same stack: so it comes as a double fault. */
    if ((is_page_fault || frame->vector == TRAP_DOUBLE_FAULT) && mmu_is_guard_page(address))
        panic_at(frame, "stack overflow of thread %s (%s at 0x%llx)", thread_name_of(cpu_id()),
                 trap_name(frame->vector), (unsigned long long)address);
    if (is_page_fault)
        page_fault(frame, address);
    panic_at(frame, "%s (vector %llu, error 0x%llx)", trap_name(frame->vector),
             (unsigned long long)frame->vector, (unsigned long long)frame->error_code);
}

/* From a panic: stop. From outside (an operator's button, QEMU's inject-nmi): say what this CPU does, go on.
 * Nothing here may take a lock that the interrupted code could hold; the console is safe in that. */
void kernel_nmi(const struct trap_frame *frame)
{
    uint32_t owner = __atomic_load_n(&owner_cpu_plus_1, __ATOMIC_ACQUIRE);
    if (owner == cpu_id() + 1)
        return;
    if (owner != 0)
        panic_stop_this_cpu(frame);
    console_printf("NMI from outside\n");
    print_this_cpu(frame);
}
