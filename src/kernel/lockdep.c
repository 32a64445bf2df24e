/* SPDX-License-Identifier: MIT */
/* The lock checker. A directed graph over classes: an edge A -> B says that B was taken while A was held. A
 * cycle is a deadlock waiting for the right moment, whoever met it or not.
 *
 * Interrupts: "used in interrupts" and "taken with interrupts on" exclude each other in one class; and along
 * the graph too: if A, used in interrupts, leads to B, taken elsewhere with interrupts on, then one CPU in B
 * can be interrupted by a handler that wants A, while another in A wants B.
 *
 * What is held: spinlocks a CPU, since they keep their holder there; sleeping locks a thread.
 *
 * Known facts are read without a lock; new ones are added under graph_lock, a bare word with interrupts off,
 * as the checker cannot check itself. Any context; nothing is checked before the first cpu_init or after
 * lockdep_disable. */
#ifdef UMBRA_DEBUG
#include <arch/cpu.h>
#include <kernel/lockdep.h>
#include <kernel/panic.h>
#include <kernel/printf.h>
#include <kernel/string.h>
#include <kernel/symbols.h>
#include <kernel/thread.h>

#define CLASSES_MAX  256u
#define WORD_BITS    64u
#define CLASS_WORDS  (CLASSES_MAX / WORD_BITS)
#define REPORT_BYTES 512u
#define SITE_BYTES   64u

/* All fields: written under graph_lock, set once, read without. */
struct class
{
    const char *name;
    const void *site_in_interrupt;       /* where it was taken in an interrupt; NULL: never */
    const void *site_interrupts_on;      /* where it was taken so that an interrupt may come */
    uint64_t after[CLASS_WORDS];         /* edges */
    const void *edge_sites[CLASSES_MAX]; /* where the other was taken */
};

static struct class classes[CLASSES_MAX]; /* [0] is unused */
static uint32_t class_count = 1;
static uint32_t graph_lock;
static bool is_disabled;
static void (*report_hook)(const char *text);
static struct lockdep_stack cpu_stacks[CPU_MAX];
static struct lockdep_stack boot_stack; /* sleeping locks before there are threads */

static uint64_t graph_enter(void)
{
    uint64_t flags = interrupts_save();
    while (__atomic_exchange_n(&graph_lock, 1, __ATOMIC_ACQUIRE))
        cpu_relax();
    return flags;
}

static void graph_leave(uint64_t flags)
{
    __atomic_store_n(&graph_lock, 0, __ATOMIC_RELEASE);
    interrupts_restore(flags);
}

void lockdep_disable(void)
{
    write_once(is_disabled, true);
}

void lockdep_set_report_hook(void (*hook)(const char *text))
{
    __atomic_store_n(&report_hook, hook, __ATOMIC_RELEASE);
}

/* No lock of the checker's is held. */
static cold printf_like(1, 2) void report(const char *format, ...)
{
    char text[REPORT_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    void (*hook)(const char *) = __atomic_load_n(&report_hook, __ATOMIC_ACQUIRE);
    if (hook) {
        hook(text);
        return;
    }
    lockdep_disable();
    panic("lockdep: %s", text);
}

struct site_text {
    char text[SITE_BYTES];
};

static struct site_text site_name(const void *site)
{
    struct site_text name;
    symbol_format((uint64_t)site, name.text, sizeof(name.text));
    return name;
}

/* ---- Classes and the graph ------------------------------------------------------------------------- */

static uint32_t class_find(const char *name)
{
    for (uint32_t id = 1; id < class_count; id++)
        if (classes[id].name == name || strcmp(classes[id].name, name) == 0)
            return id;
    return 0;
}

static uint32_t class_of(struct lockdep_key *key)
{
    uint32_t id = __atomic_load_n(&key->class_id, __ATOMIC_RELAXED);
    if (likely(id != 0))
        return id;
    uint64_t flags = graph_enter();
    id = class_find(key->name ? key->name : "unnamed");
    if (id == 0 && class_count < CLASSES_MAX) {
        id = class_count++;
        classes[id].name = key->name ? key->name : "unnamed";
    }
    graph_leave(flags);
    if (id == 0) {
        lockdep_disable();
        panic("lockdep: more than %u classes", CLASSES_MAX - 1);
    }
    __atomic_store_n(&key->class_id, id, __ATOMIC_RELAXED);
    return id;
}

static bool has_edge(uint32_t from, uint32_t to)
{
    return (read_once(classes[from].after[to / WORD_BITS]) >> to % WORD_BITS & 1) != 0;
}

/* A set of classes, and what leads to it: found by following edges, forwards or backwards. */
struct reach {
    uint64_t set[CLASS_WORDS];
    uint8_t parent[CLASSES_MAX]; /* the step before, towards the start */
    uint8_t queue[CLASSES_MAX];
};
_Static_assert(CLASSES_MAX - 1 <= UINT8_MAX, "struct reach holds class numbers");

static struct reach reach; /* graph_lock: too large for a stack */

static bool reach_has(uint32_t class)
{
    return (reach.set[class / WORD_BITS] >> class % WORD_BITS & 1) != 0;
}

static void reach_add(uint32_t class, uint32_t parent, uint32_t *count)
{
    if (reach_has(class))
        return;
    reach.set[class / WORD_BITS] |= 1ull << class % WORD_BITS;
    reach.parent[class] = (uint8_t)parent;
    reach.queue[(*count)++] = (uint8_t) class;
}

/* graph_lock held: fills `reach` from `start`, itself included. */
static void reach_from(uint32_t start, bool is_backwards)
{
    uint32_t count = 0;
    memset(reach.set, 0, sizeof(reach.set));
    reach_add(start, start, &count);
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t other = 1; other < class_count; other++)
            if (is_backwards ? has_edge(other, reach.queue[i]) : has_edge(reach.queue[i], other))
                reach_add(other, reach.queue[i], &count);
}

/* graph_lock held. The first class of `reach` for which `site` is known, or 0. */
static uint32_t reach_find(bool is_in_interrupt)
{
    for (uint32_t class = 1; class < class_count; class ++)
        if (reach_has(class) &&
            (is_in_interrupt ? classes[class].site_in_interrupt : classes[class].site_interrupts_on))
            return class;
    return 0;
}

/* ---- Learning -------------------------------------------------------------------------------------- */

/* `reach` was filled from `wanted`, so that `last` -> `held` is the end of a way from `wanted` to `held`. */
static cold void report_cycle(uint32_t held, uint32_t wanted, const void *site, uint32_t last)
{
    report("lock order: '%s' at %s while '%s' is held; but '%s' was taken at %s while '%s'%s was held",
           classes[wanted].name, site_name(site).text, classes[held].name, classes[held].name,
           site_name(classes[last].edge_sites[held]).text, classes[last].name,
           last == wanted ? "" : " (taken under the former, by way of others)");
}

static cold void report_interrupts(uint32_t in_interrupt, uint32_t with_interrupts_on)
{
    report("interrupts: '%s' is taken in an interrupt at %s, and '%s'%s with interrupts on at %s",
           classes[in_interrupt].name, site_name(classes[in_interrupt].site_in_interrupt).text,
           classes[with_interrupts_on].name,
           in_interrupt == with_interrupts_on ? "" : ", which is taken while that is held,",
           site_name(classes[with_interrupts_on].site_interrupts_on).text);
}

/* Adds held -> wanted, unless it must be reported. */
static noinline void learn_edge(uint32_t held, uint32_t wanted, const void *site)
{
    uint64_t flags = graph_enter();
    reach_from(wanted, false);
    bool is_cycle = reach_has(held);
    uint32_t last = reach.parent[held], unsafe = reach_find(false), safe = 0;
    if (unsafe != 0) {
        reach_from(held, true);
        safe = reach_find(true);
    }
    if (!is_cycle && safe == 0) {
        classes[held].edge_sites[wanted] = site;
        classes[held].after[wanted / WORD_BITS] |= 1ull << wanted % WORD_BITS;
    }
    graph_leave(flags);
    if (is_cycle)
        report_cycle(held, wanted, site, last);
    else if (safe != 0)
        report_interrupts(safe, unsafe);
}

/* Notes that `class` is used in interrupts, or with interrupts on. */
static noinline void learn_use(uint32_t class, bool is_in_interrupt, const void *site)
{
    const void **slot =
        is_in_interrupt ? &classes[class].site_in_interrupt : &classes[class].site_interrupts_on;
    uint64_t flags = graph_enter();
    reach_from(class, !is_in_interrupt);
    uint32_t other = reach_find(!is_in_interrupt);
    *slot = site;
    if (other != 0) { /* told below; not kept, so that a test leaves no trace */
        graph_leave(flags);
        report_interrupts(is_in_interrupt ? class : other, is_in_interrupt ? other : class);
        *slot = NULL;
        return;
    }
    graph_leave(flags);
}

static void learn_context(uint32_t class, enum lockdep_kind kind, bool has_interrupts_on, const void *site)
{
    if (kind == LOCKDEP_SLEEPING)
        return;
    if (cpu_read(interrupt_depth) > 0) {
        if (!read_once(classes[class].site_in_interrupt))
            learn_use(class, true, site);
    } else if (has_interrupts_on && !read_once(classes[class].site_interrupts_on)) {
        learn_use(class, false, site);
    }
}

static void learn_order(const struct lockdep_stack *stack, uint32_t class, const void *lock, const void *site)
{
    for (uint32_t i = 0; i < stack->depth; i++) {
        const struct lockdep_held *held = &stack->held[i];
        if (held->lock == lock)
            report("recursion: '%s' at %s is already held, taken at %s", classes[class].name,
                   site_name(site).text, site_name(held->site).text);
        else if (held->class_id == class)
            report("lock order: two locks '%s' at once, at %s and at %s", classes[class].name,
                   site_name(held->site).text, site_name(site).text);
        else if (!has_edge(held->class_id, class))
            learn_edge(held->class_id, class, site);
    }
}

/* ---- What is held ---------------------------------------------------------------------------------- */

static struct lockdep_stack *thread_stack(void)
{
    struct thread *self = thread_current();
    return self ? &self->held : &boot_stack;
}

static void push(struct lockdep_stack *stack, const void *lock, uint32_t class, const void *site)
{
    if (stack->depth == LOCKDEP_HELD_MAX) {
        report("more than %u locks held, the last '%s' at %s", LOCKDEP_HELD_MAX, classes[class].name,
               site_name(site).text);
        return;
    }
    stack->held[stack->depth++] = (struct lockdep_held){.lock = lock, .site = site, .class_id = class};
}

/* Mostly the last one, but locks may be released in any order. */
static bool pop(struct lockdep_stack *stack, const void *lock)
{
    for (uint32_t i = stack->depth; i-- > 0;) {
        if (stack->held[i].lock != lock)
            continue;
        memmove(&stack->held[i], &stack->held[i + 1], (stack->depth - i - 1) * sizeof(stack->held[0]));
        stack->depth--;
        return true;
    }
    return false;
}

static bool holds(const struct lockdep_stack *stack, const void *lock)
{
    for (uint32_t i = 0; i < stack->depth; i++)
        if (stack->held[i].lock == lock)
            return true;
    return false;
}

void lockdep_acquire_at(struct lockdep_key *key, const void *lock, enum lockdep_kind kind, bool is_try,
                        const void *site)
{
    if (read_once(is_disabled))
        return;
    uint32_t class = class_of(key);
    uint64_t flags = interrupts_save(); /* the CPU's stack is shared with interrupts */
    struct lockdep_stack *here = &cpu_stacks[cpu_id()];
    learn_context(class, kind, interrupts_were_enabled(flags), site);
    if (!is_try) {
        learn_order(thread_stack(), class, lock, site);
        learn_order(here, class, lock, site);
    }
    push(kind == LOCKDEP_SLEEPING ? thread_stack() : here, lock, class, site);
    interrupts_restore(flags);
}

noinline void lockdep_acquire(struct lockdep_key *key, const void *lock, enum lockdep_kind kind)
{
    lockdep_acquire_at(key, lock, kind, false, __builtin_return_address(0));
}

void lockdep_release(struct lockdep_key *key, const void *lock)
{
    if (read_once(is_disabled))
        return;
    uint64_t flags = interrupts_save();
    bool was_held = pop(&cpu_stacks[cpu_id()], lock) || pop(thread_stack(), lock);
    interrupts_restore(flags);
    if (!was_held)
        report("'%s' at %p is released but not held", key->name ? key->name : "unnamed", lock);
}

void lockdep_might_sleep(const char *what)
{
    if (read_once(is_disabled) || !thread_current())
        return; /* early boot: nothing to switch to */
    uint64_t flags = interrupts_save();
    const struct lockdep_stack *here = &cpu_stacks[cpu_id()];
    uint32_t depth = here->depth;
    struct lockdep_held last = depth ? here->held[depth - 1] : (struct lockdep_held){0};
    bool is_in_interrupt = cpu_read(interrupt_depth) > 0, may_preempt = preempt_is_enabled();
    interrupts_restore(flags);
    if (depth > 0)
        report("%s with the spinlock '%s' held, taken at %s", what, classes[last.class_id].name,
               site_name(last.site).text);
    else if (is_in_interrupt)
        report("%s in an interrupt", what);
    else if (!may_preempt)
        report("%s with preemption off", what);
    else if (!interrupts_were_enabled(flags))
        report("%s with interrupts off", what);
}

void lockdep_assert_held(const struct lockdep_key *key, const void *lock)
{
    if (read_once(is_disabled))
        return;
    uint64_t flags = interrupts_save();
    bool is_held = holds(&cpu_stacks[cpu_id()], lock) || holds(thread_stack(), lock);
    interrupts_restore(flags);
    if (!is_held)
        report("'%s' at %p should be held here", key->name ? key->name : "unnamed", lock);
}

#else
/* Nothing in release builds; ISO C wants a declaration. */
struct lockdep_key;
#endif
