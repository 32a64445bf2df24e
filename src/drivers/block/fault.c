/* SPDX-License-Identifier: MIT */
/* Fault injection (drivers/block/fault.h): ops of our own around the driver's while a device has rules.
 *
 *     queue -> fault_submit   judges each request once
 *                pass, reorder   to the driver, with the rest of the batch
 *                error           completed here; a merge fails, so that the queue takes it apart and each
 * part comes again by itself delay, hold     parked; then given back to the queue, which sends it again,
 * judged
 *
 * What goes back to the queue to come again, since it was parked or the driver had no room for it, is `away`
 * and carries BLOCK_SHAPE_JUDGED: so each request is counted once however often it comes. No driver sees that
 * mark: our ops stay until nothing is parked or away. Who is in fault_submit when the last rule goes passes,
 * since the rules are looked at under the lock under which they go.
 *
 * What is parked is in flight for the queue, though not for the watchdog, as no driver has it; and a batch
 * may reach the driver in another order: so block_queue_put_back cannot always know that no completion will
 * come which restarts the queue. While something is away the queue is therefore restarted every LOOK_NS (R5).
 *
 * Locks: device->reset_mutex for making the struct; fault->lock, irq-safe, over the timer's, for the rest; no
 * call of the driver or of the queue inside. */
#include "block_internal.h"

#include <arch/clock.h>
#include <drivers/block/fault.h>
#include <kernel/heap.h>
#include <kernel/string.h>

#define NEVER   UINT64_MAX
#define LOOK_NS NSEC_PER_MSEC

/* Lock legend: I constant; f fault->lock. */
struct block_fault {
    struct block_device *device;           /* I */
    const struct block_device_ops *driver; /* f; a: changes once, when the device goes */
    struct block_device_ops ops;           /* I: the driver's, but for submit */
    struct spinlock lock;
    struct block_fault_state state; /* f */
    struct fifo parked;             /* f: in order of arrival */
    uint32_t away;                  /* f: with the queue, marked */
    bool is_retired;                /* f: the device goes: nothing is judged any more */
    uint64_t timer_ns;              /* f: when the timer fires; NEVER: it is not started */
    struct timer timer;             /* f */
};

/* In struct block_request, field `driver`, while the request is parked. */
struct parked {
    uint64_t due_ns; /* NEVER: held */
};
_Static_assert(sizeof(struct parked) <= BLOCK_DRIVER_BYTES, "it lives there");
_Static_assert(BLOCK_OPERATIONS <= 8 * sizeof(((struct block_fault_rule *)NULL)->operations),
               "a bit for each");

static struct parked *parked_of(struct block_request *request)
{
    return (struct parked *)(void *)request->driver;
}

const char *block_fault_kind_name(enum block_fault_kind kind)
{
    static const char *const names[] = {"reorder", "delay", "hold", "error"};
    _Static_assert(ARRAY_SIZE(names) == BLOCK_FAULT_KINDS, "a name for each");
    assert(kind < BLOCK_FAULT_KINDS);
    return names[kind];
}

/* ---- Judging ---------------------------------------------------------------------------------------- */

/* What a rule is asked about: a request, or one of a merge, or a piece. */
struct part {
    uint8_t operation;
    uint64_t sector, sectors;
};

static bool touches(const struct block_fault_rule *rule, struct part part)
{
    if (!(rule->operations >> part.operation & 1))
        return false;
    if (rule->sectors == UINT64_MAX)
        return true;
    return part.sectors > 0 && part.sector < rule->sector + rule->sectors &&
           rule->sector < part.sector + part.sectors;
}

/* Counts the part; the first rule that hits it, or NULL. */
static const struct block_fault_rule *judge_part(struct block_fault_state *state, struct part part)
{
    for (uint32_t i = 0; i < state->rule_count; i++) {
        struct block_fault_rule *rule = &state->rules[i];
        if (!touches(rule, part))
            continue;
        rule->matches++;
        if (rule->matches % rule->every == 0 && (rule->count == 0 || rule->hits < rule->count)) {
            rule->hits++;
            return rule;
        }
    }
    return NULL;
}

static const struct block_fault_rule *stronger(const struct block_fault_rule *a,
                                               const struct block_fault_rule *b)
{
    return !a || (b && b->kind > a->kind) ? b : a;
}

static const struct block_fault_rule *judge_merge(struct block_fault_state *state,
                                                  const struct block_request *leader)
{
    /* For an error, as a bad sector would do it: the queue sends the parts again, one by one. */
    static const struct block_fault_rule take_apart = {.kind = BLOCK_FAULT_ERROR, .status = BLOCK_FAILED};
    struct block_fault_state before = *state;
    const struct block_fault_rule *hit =
        judge_part(state, (struct part){leader->operation, leader->sector, leader->sectors});
    for (struct fifo_node *node = leader->merged_head; node; node = node->next) {
        const struct block_request *follower = request_of(node);
        hit = stronger(
            hit, judge_part(state, (struct part){follower->operation, follower->sector, follower->sectors}));
    }
    if (!hit || hit->kind != BLOCK_FAULT_ERROR)
        return hit;
    *state = before; /* the parts are counted when they come */
    return &take_apart;
}

/* True when it comes again. */
static bool was_judged(struct block_fault *fault, struct block_request *request)
{
    if (!(request->shape & BLOCK_SHAPE_JUDGED))
        return false;
    assert(fault->away > 0);
    fault->away--;
    request->shape &= (uint8_t)~BLOCK_SHAPE_JUDGED;
    return true;
}

/* What is to be done to a request, which is counted; NULL: it passes. */
static const struct block_fault_rule *judge(struct block_fault_state *state,
                                            const struct block_request *leader)
{
    if (leader->shape & BLOCK_SHAPE_MERGED)
        return judge_merge(state, leader);
    uint64_t sectors =
        leader->shape & BLOCK_SHAPE_PIECES ? leader->piece_bytes >> BLOCK_SECTOR_SHIFT : leader->sectors;
    return judge_part(state, (struct part){leader->operation, block_request_device_sector(leader), sectors});
}

/* ---- State ------------------------------------------------------------------------------------------ */

static void choose_ops(struct block_fault *fault)
{
    assert_spin_locked(&fault->lock);
    bool is_idle = fault->state.rule_count == 0 && fault->state.parked == 0 && fault->away == 0;
    is_idle |= fault->is_retired;
    /* Pairs with the dependent loads of whoever calls through device->ops. */
    __atomic_store_n(&fault->device->ops, is_idle ? fault->driver : &fault->ops, __ATOMIC_RELEASE);
}

/* Its owner is the queue again. */
static void send_away(struct block_fault *fault, struct block_request *request)
{
    assert(request->phase == 1 && request->status == BLOCK_PENDING);
    assert(!(request->shape & BLOCK_SHAPE_JUDGED));
    request->shape |= BLOCK_SHAPE_JUDGED;
    fault->away++;
}

/* ---- Down ------------------------------------------------------------------------------------------- */

static void wake_at(struct block_fault *fault, uint64_t ns)
{
    assert_spin_locked(&fault->lock);
    if (ns >= fault->timer_ns)
        return;
    fault->timer_ns = ns;
    timer_start(&fault->timer, ns);
}

static void park(struct block_fault *fault, struct block_request *request, uint64_t due_ns)
{
    parked_of(request)->due_ns = due_ns;
    fifo_push(&fault->parked, &request->node);
    fault->state.parked++;
    wake_at(fault, due_ns);
}

/* Empties `batch`. `failed` have their status. */
static void sort(struct block_fault *fault, struct fifo *batch, struct fifo *pass, struct fifo *failed)
{
    SPIN_SCOPED_IRQ(&fault->lock);
    struct fifo reversed = FIFO_INIT(reversed);
    struct fifo_node *node;
    while ((node = fifo_pop(batch)) != NULL) {
        struct block_request *request = request_of(node);
        const struct block_fault_rule *rule =
            was_judged(fault, request) ? NULL : judge(&fault->state, request);
        if (!rule) {
            fifo_push(pass, node);
        } else if (rule->kind == BLOCK_FAULT_REORDER) {
            fifo_push_front(&reversed, node);
        } else if (rule->kind == BLOCK_FAULT_ERROR) {
            request->status = rule->status;
            fifo_push(failed, node);
        } else {
            park(fault, request, rule->kind == BLOCK_FAULT_HOLD ? NEVER : clock_ns() + rule->delay_ns);
        }
    }
    fifo_append(pass, &reversed);
    choose_ops(fault);
}

/* What the driver had no room for. */
static void leave(struct block_fault *fault, struct fifo *requests)
{
    SPIN_SCOPED_IRQ(&fault->lock);
    fifo_foreach (node, requests)
        send_away(fault, request_of(node));
    choose_ops(fault);
    wake_at(fault, clock_ns() + LOOK_NS);
}

static void fault_submit(struct block_device *device, struct fifo *batch)
{
    struct block_fault *fault = device->fault;
    struct fifo pass = FIFO_INIT(pass), failed = FIFO_INIT(failed);
    block_watchdog_suspend(device, batch); /* before they are parked, as they may be released at once */
    sort(fault, batch, &pass, &failed);
    block_watchdog_resume(device, &pass);
    if (!fifo_is_empty(&pass))
        read_once(fault->driver)->submit(device, &pass);
    if (!fifo_is_empty(&pass)) {
        leave(fault, &pass);
        fifo_append(batch, &pass);
    }
    if (!fifo_is_empty(&failed))
        block_complete(device, &failed);
}

/* ---- Up again --------------------------------------------------------------------------------------- */

/* Moves what is due by `now_ns` to `due`; NEVER: all. The timer is set for what stays. */
static void take_due(struct block_fault *fault, uint64_t now_ns, struct fifo *due)
{
    struct fifo all = FIFO_INIT(all);
    struct fifo_node *node;
    assert_spin_locked(&fault->lock);
    fifo_append(&all, &fault->parked);
    while ((node = fifo_pop(&all)) != NULL) {
        uint64_t due_ns = parked_of(request_of(node))->due_ns;
        if (due_ns <= now_ns) {
            send_away(fault, request_of(node));
            fifo_push(due, node);
            fault->state.parked--;
        } else {
            fifo_push(&fault->parked, node);
            wake_at(fault, due_ns);
        }
    }
    assert(fifo_is_empty(&fault->parked) == (fault->state.parked == 0));
}

/* Through the queue, which knows what to do when the driver has no room. Any context, no lock held. */
static void send_again(struct block_device *device, struct fifo *due)
{
    if (!fifo_is_empty(due))
        (void)block_queue_put_back(device, due, true, 0);
    block_restart(device);
}

static void expired(struct timer *timer)
{
    struct block_fault *fault = container_of(timer, struct block_fault, timer);
    struct fifo due = FIFO_INIT(due);
    uint64_t now_ns = clock_ns();
    uint64_t flags = spin_lock_irq(&fault->lock);
    fault->timer_ns = NEVER;
    if (fault->away > 0 && !fault->is_retired) /* perhaps on its way to the queue still */
        wake_at(fault, now_ns + LOOK_NS);
    take_due(fault, now_ns, &due);
    spin_unlock_irq(&fault->lock, flags);
    send_again(fault->device, &due);
}

/* ---- Rules ------------------------------------------------------------------------------------------ */

static struct block_fault *create(struct block_device *device)
{
    struct block_fault *fault = heap_alloc_zeroed(sizeof(*fault));
    if (!fault)
        return NULL;
    fault->device = device;
    fault->driver = device->ops;
    fault->ops = *device->ops;
    fault->ops.submit = fault_submit;
    fault->timer_ns = NEVER;
    fault->timer.expired = expired;
    spinlock_init(&fault->lock, "block-fault");
    fifo_init(&fault->parked);
    return fault;
}

static int add_rule(struct block_fault *fault, const struct block_fault_rule *rule)
{
    SPIN_SCOPED_IRQ(&fault->lock);
    struct block_fault_state *state = &fault->state;
    if (state->rule_count == BLOCK_FAULT_RULES)
        return -ENOSPC;
    state->rules[state->rule_count] = *rule;
    state->rules[state->rule_count].matches = state->rules[state->rule_count].hits = 0;
    state->rule_count++;
    choose_ops(fault);
    return 0;
}

int block_fault_add(struct block_device *device, const struct block_fault_rule *rule)
{
    assert(rule->kind < BLOCK_FAULT_KINDS && rule->every > 0 && rule->sectors > 0);
    assert(rule->sectors == UINT64_MAX || rule->sector + rule->sectors > rule->sector);
    assert(rule->kind != BLOCK_FAULT_ERROR || (rule->status != BLOCK_OK && rule->status <= BLOCK_GONE));
    MUTEX_SCOPED(&device->reset_mutex);
    if (block_device_is_gone(device))
        return -ENODEV;
    if (!device->fault)
        device->fault = create(device);
    if (!device->fault)
        return -ENOMEM;
    return add_rule(device->fault, rule);
}

static void release(struct block_device *device, bool with_rules)
{
    struct fifo due = FIFO_INIT(due);
    mutex_lock(&device->reset_mutex);
    struct block_fault *fault = device->fault;
    if (fault) {
        SPIN_SCOPED_IRQ(&fault->lock);
        if (with_rules)
            fault->state.rule_count = 0;
        take_due(fault, NEVER, &due);
        choose_ops(fault);
    }
    mutex_unlock(&device->reset_mutex);
    send_again(device, &due);
}

void block_fault_release(struct block_device *device)
{
    release(device, false);
}

void block_fault_clear(struct block_device *device)
{
    release(device, true);
}

void block_fault_retire(struct block_device *device, const struct block_device_ops *ops)
{
    struct fifo due = FIFO_INIT(due);
    struct block_fault *fault = device->fault;
    assert(mutex_is_held(&device->reset_mutex));
    if (!fault) {
        __atomic_store_n(&device->ops, ops, __ATOMIC_RELEASE);
        return;
    }
    uint64_t flags = spin_lock_irq(&fault->lock);
    fault->state.rule_count = 0;
    fault->is_retired = true;
    fault->driver = ops;
    take_due(fault, NEVER, &due);
    choose_ops(fault);
    spin_unlock_irq(&fault->lock, flags);
    if (!fifo_is_empty(&due))
        (void)block_queue_put_back(device, &due, true, 0);
}

void block_fault_free(struct block_device *device)
{
    struct block_fault *fault = device->fault;
    if (!fault)
        return;
    timer_cancel(&fault->timer);
    heap_free(fault);
}

void block_fault_state(struct block_device *device, struct block_fault_state *state)
{
    MUTEX_SCOPED(&device->reset_mutex);
    struct block_fault *fault = device->fault;
    memset(state, 0, sizeof(*state));
    if (fault) {
        SPIN_SCOPED_IRQ(&fault->lock);
        *state = fault->state;
    }
}
