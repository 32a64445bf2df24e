/* SPDX-License-Identifier: MIT */
/* When deferred calls are made (kernel/sched.h): before a CPU goes idle, before a thread that was not woken
 * by I/O, after SCHED_DEFER_MAX that were, and at the end of a slice. All on one CPU. */
#include <kernel/completion.h>
#include <kernel/heap.h>

#include "threads_internal.h"

#define TRIES      100 /* one must not be disturbed by the end of a slice */
#define SUBMITTERS 40u
#define CALLS_MAX  (SUBMITTERS + 1)

/* A device: what was submitted goes out with the next call. */
struct device {
    struct sched_deferred deferred;
    uint32_t submitted;          /* c: not yet gone out */
    uint32_t batches[CALLS_MAX]; /* sizes, in order */
    uint32_t calls;
    bool was_in_thread_context; /* of the last call */
    uint32_t caller_state;
};

static void device_call(struct sched_deferred *deferred)
{
    struct device *device = container_of(deferred, struct device, deferred);
    device->was_in_thread_context =
        !preempt_is_enabled() && interrupts_are_enabled() && cpu_read(interrupt_depth) == 0;
    device->caller_state = thread_current()->state;
    if (device->calls < CALLS_MAX)
        device->batches[device->calls] = device->submitted;
    write_once(device->calls, device->calls + 1);
    device->submitted = 0;
}

static void submit(struct device *device)
{
    preempt_disable();
    device->submitted++;
    sched_defer(&device->deferred);
    preempt_enable();
}

KTEST(sched_defer_calls_before_idle, KTEST_FAST)
{
    bool was_before_idle = false;
    test_stay_here();
    for (int i = 0; i < TRIES && !was_before_idle; i++) {
        struct device device = {.deferred.call = device_call};
        preempt_disable(); /* no slice ends between */
        submit(&device);
        submit(&device);
        preempt_enable();
        thread_sleep_ns(20 * NSEC_PER_MSEC);
        ktest_expect_equal(device.calls, 1);
        ktest_expect_equal(device.batches[0], 2);
        ktest_expect(device.was_in_thread_context && !device.deferred.is_pending);
        /* By the thread on its way to sleep, not by the end of its slice. */
        was_before_idle = device.caller_state == THREAD_BLOCKED;
    }
    ktest_expect(was_before_idle);
}

KTEST(sched_defer_calls_at_the_end_of_a_slice, KTEST_FAST)
{
    struct device device = {.deferred.call = device_call};
    uint64_t limit_ns = clock_ns() + TEST_LIMIT_NS;
    test_stay_here();
    submit(&device);
    while (read_once(device.calls) == 0 && clock_ns() < limit_ns)
        cpu_relax();
    ktest_expect_equal(device.calls, 1);
    ktest_expect(device.was_in_thread_context);
    sched_run_deferred();
    ktest_expect_equal(device.calls, 1);
    submit(&device);
    sched_run_deferred();
    ktest_expect_equal(device.calls, 2);
}

static void note_calls(void *argument)
{
    struct device *device = argument;
    device->batches[CALLS_MAX - 1] = device->calls; /* as this thread finds them */
}

/* Who computes does not submit soon, so the call does not wait for it. */
KTEST(sched_defer_calls_before_a_thread_that_computes, KTEST_FAST)
{
    struct device device = {.deferred.call = device_call};
    struct thread *other = test_spawn(note_calls, &device, PRIORITY_LOW, test_stay_here());
    submit(&device);
    thread_join(other);
    ktest_expect_equal(device.batches[CALLS_MAX - 1], 1);
}

struct submitter {
    struct device *device;
    struct completion start, end;
    struct thread *thread;
};

static void submit_and_sleep(void *argument)
{
    struct submitter *me = argument;
    completion_wait(&me->start);
    submit(me->device);
    completion_wait(&me->end);
}

/* Wakes all of them as an interrupt would, lets them run until all sleep again, and ends them. */
static void run_submitters(struct submitter *submitters, struct device *device, uint64_t here)
{
    for (unsigned i = 0; i < SUBMITTERS; i++) {
        submitters[i].device = device;
        completion_init(&submitters[i].start);
        completion_init(&submitters[i].end);
        submitters[i].thread = test_spawn(submit_and_sleep, &submitters[i], 0, here);
    }
    for (unsigned i = 0; i < SUBMITTERS; i++)
        ktest_expect(test_wait_until_asleep(submitters[i].thread));
    preempt_disable();
    sched_wake_batch_begin();
    for (unsigned i = 0; i < SUBMITTERS; i++)
        complete(&submitters[i].start);
    sched_wake_batch_end();
    preempt_enable();
    thread_sleep_ns(20 * NSEC_PER_MSEC);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        complete(&submitters[i].end);
    for (unsigned i = 0; i < SUBMITTERS; i++)
        thread_join(submitters[i].thread);
}

KTEST(sched_defer_gathers_up_to_its_bound, KTEST_FAST)
{
    struct submitter *submitters = heap_alloc_zeroed(SUBMITTERS * sizeof(*submitters));
    uint64_t here = test_stay_here();
    bool is_as_said = false;
    ktest_expect(submitters);
    for (int i = 0; submitters && i < TRIES && !is_as_said; i++) {
        struct device device = {.deferred.call = device_call};
        run_submitters(submitters, &device, here);
        uint32_t sum = 0;
        for (uint32_t call = 0; call < MIN(device.calls, CALLS_MAX); call++) {
            ktest_expect(device.batches[call] <= SCHED_DEFER_MAX);
            sum += device.batches[call];
        }
        ktest_expect_equal(sum, SUBMITTERS);
        is_as_said =
            device.calls == 3 && device.batches[0] == SCHED_DEFER_MAX && device.batches[1] == SCHED_DEFER_MAX;
    }
    ktest_expect(is_as_said);
    heap_free(submitters);
}
