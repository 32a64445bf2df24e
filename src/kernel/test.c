/* SPDX-License-Identifier: MIT */
/* The runner of the in-kernel tests: the shell command `ktest`.
 *
 * Each test runs in a thread of its own. The random numbers of a test follow from the run's seed and the
 * test's name, so that they are the same when it is repeated alone. A test that leaves more heap than it
 * found runs a second time: what was a cache filled once does not grow again, what grows again is a leak.
 *
 * ktest_fail and ktest_random may be called by any thread that the test makes; `lock` covers the random
 * state, failures are counted atomically. One `ktest` at a time. */
#include <arch/clock.h>
#include <arch/cpu.h>
#include <kernel/base/assert.h>
#include <kernel/entropy.h>
#include <kernel/heap.h>
#include <kernel/mutex.h>
#include <kernel/random.h>
#include <kernel/shell.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>
#include <kernel/test.h>
#include <kernel/printf.h>
#include <kernel/thread.h>

linker_set_declare(ktests, const struct ktest);

struct ktest_options {
    bool has_slow, has_json, is_shuffled;
    uint64_t seed, repeat;
};

struct ktest_result {
    unsigned passed, failed, skipped;
};

static struct mutex is_running = MUTEX_INIT(is_running, "ktest");
static struct {
    struct spinlock lock;
    struct random random; /* lock */
    unsigned failures;    /* a: of the test that runs */
    bool has_json;        /* I during a run: no text between */
} state = {.lock = SPINLOCK_INIT("ktest-random")};

void ktest_fail(const char *file, int line, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    __atomic_fetch_add(&state.failures, 1, __ATOMIC_RELAXED);
    if (!state.has_json)
        console_printf("  %s:%d: %s\n", file, line, text);
}

uint64_t ktest_random(void)
{
    SPIN_SCOPED(&state.lock);
    return random_next(&state.random);
}

/* FNV-1a. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325ull;
    for (; *name; name++)
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3ull;
    return hash;
}

static void run_thread(void *argument)
{
    const struct ktest *test = argument;
    test->run();
}

static uint64_t heap_used(void)
{
    struct heap_stats stats;
    heap_stats(&stats);
    return stats.allocated_bytes;
}

/* Runs it once; returns the bytes by which the heap grew. */
static uint64_t run_once(const struct ktest *test, uint64_t seed)
{
    struct thread *thread;
    struct thread_config config = {
        .name = test->name, .entry = run_thread, .argument = (void *)(uintptr_t)test};
    uint64_t before = heap_used();
    random_init(&state.random, seed ^ hash_name(test->name));
    if (thread_create(&config, &thread) != 0) {
        ktest_fail(__FILE__, __LINE__, "no memory for the test's thread");
        return 0;
    }
    thread_join(thread);
    uint64_t after = heap_used();
    return after > before ? after - before : 0;
}

/* The time that the first run took. */
static uint64_t run_test(const struct ktest *test, uint64_t seed)
{
    uint64_t start_ns = clock_ns(), grown, ns;
    __atomic_store_n(&state.failures, 0, __ATOMIC_RELAXED);
    grown = run_once(test, seed);
    ns = clock_ns() - start_ns;
    if (grown > 0 && state.failures == 0 && (test->flags & KTEST_SLOW) == 0) {
        grown = run_once(test, seed);
        if (grown > 0)
            ktest_fail(__FILE__, __LINE__, "%llu bytes of heap leak in each run", (unsigned long long)grown);
    }
    return ns;
}

static void run_and_report(const struct ktest *test, const struct ktest_options *options,
                           struct ktest_result *result)
{
    if ((test->flags & KTEST_SMP) && cpu_count() < 2) {
        result->skipped++;
        if (!options->has_json)
            console_printf("skipped %s: needs two CPUs\n", test->name);
        return;
    }
    uint64_t usec = run_test(test, options->seed) / NSEC_PER_USEC;
    bool has_passed = __atomic_load_n(&state.failures, __ATOMIC_RELAXED) == 0;
    *(has_passed ? &result->passed : &result->failed) += 1;
    if (has_passed && !options->has_json)
        console_printf("ok %s %llu.%llu ms\n", test->name, (unsigned long long)(usec / 1000),
                       (unsigned long long)(usec / 100 % 10));
    if (!has_passed && !options->has_json)
        console_printf("FAILED %s; again: ktest %s seed=%llu\n", test->name, test->name,
                       (unsigned long long)options->seed);
}

/* ---- Which tests, and in which order ----------------------------------------------------------------------
 */

/* `pattern` is a name, or the beginning of one and a `*`. */
static bool name_matches(const char *pattern, const char *name)
{
    const char *star = strchr(pattern, '*');
    if (star && star[1] == '\0')
        return strncmp(pattern, name, (size_t)(star - pattern)) == 0;
    return strcmp(pattern, name) == 0;
}

static bool is_name(const char *word)
{
    return word[0] != '-' && !strchr(word, '=') && strcmp(word, "shuffle") != 0;
}

/* Slow tests and those that fail on purpose run by their whole name; "*" does not mean them. */
static bool is_selected(const struct ktest *test, int argc, char **argv, bool has_slow)
{
    bool has_names = false;
    bool is_common = !(test->flags & KTEST_PROVOKE) && (has_slow || !(test->flags & KTEST_SLOW));
    for (int i = 1; i < argc; i++) {
        if (!is_name(argv[i]))
            continue;
        has_names = true;
        if (strcmp(argv[i], test->name) == 0 || (is_common && name_matches(argv[i], test->name)))
            return true;
    }
    return !has_names && is_common;
}

static int check_names(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        bool is_found = !is_name(argv[i]);
        linker_set_foreach (ktests, const struct ktest, test)
            is_found |= name_matches(argv[i], test->name);
        if (!is_found) {
            console_printf("ktest: no test is called '%s'; ktest --list shows them\n", argv[i]);
            return -ENOENT;
        }
    }
    return 0;
}

static void sort_by_name(const struct ktest **tests, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        const struct ktest *test = tests[i];
        size_t at = i;
        for (; at > 0 && strcmp(tests[at - 1]->name, test->name) > 0; at--)
            tests[at] = tests[at - 1];
        tests[at] = test;
    }
}

static void shuffle(const struct ktest **tests, size_t count, uint64_t seed)
{
    struct random random;
    random_init(&random, seed);
    for (size_t i = count; i > 1; i--) {
        size_t other = random_below(&random, i);
        const struct ktest *test = tests[i - 1];
        tests[i - 1] = tests[other];
        tests[other] = test;
    }
}

/* The selected tests in a new array; NULL without memory. */
static const struct ktest **collect(int argc, char **argv, const struct ktest_options *options, size_t *count)
{
    size_t all = 0;
    linker_set_foreach (ktests, const struct ktest, test)
        all += test != NULL;
    const struct ktest **tests = heap_alloc((all + 1) * sizeof(*tests));
    if (!tests)
        return NULL;
    *count = 0;
    linker_set_foreach (ktests, const struct ktest, test)
        if (is_selected(test, argc, argv, options->has_slow))
            tests[(*count)++] = test;
    assert(*count <= all);
    sort_by_name(tests, *count);
    if (options->is_shuffled)
        shuffle(tests, *count, options->seed);
    return tests;
}

/* ---- The command
 * -------------------------------------------------------------------------------------------- */

static void list_tests(const struct ktest **tests, size_t count)
{
    for (size_t i = 0; i < count; i++)
        console_printf("%s%s%s\n", tests[i]->name, tests[i]->flags & KTEST_SLOW ? " (slow)" : "",
                       tests[i]->flags & KTEST_SMP ? " (two CPUs)" : "");
}

static int parse_options(int argc, char **argv, struct ktest_options *options)
{
    const char *seed = shell_option(argc, argv, "--shuffle");
    options->has_json = shell_flag(argc, argv, "--json");
    options->has_slow = shell_flag(argc, argv, "--slow") || shell_flag(argc, argv, "--list");
    options->is_shuffled = seed || shell_flag(argc, argv, "shuffle") || shell_flag(argc, argv, "--shuffle");
    options->repeat = 1;
    options->seed = options->is_shuffled ? entropy_seed() : 1;
    if (seed && string_to_u64(seed, &options->seed) != 0)
        return -EINVAL;
    if (shell_option_u64(argc, argv, "seed", 0, UINT64_MAX, &options->seed) != 0 ||
        shell_option_u64(argc, argv, "--repeat", 1, 1000000, &options->repeat) != 0)
        return -EINVAL;
    return 0;
}

static struct ktest_result run_all(const struct ktest **tests, size_t count,
                                   const struct ktest_options *options)
{
    struct ktest_result result = {0};
    MUTEX_SCOPED(&is_running);
    state.has_json = options->has_json;
    for (uint64_t round = 0; round < options->repeat && !shell_interrupted(); round++)
        for (size_t i = 0; i < count; i++) {
            struct ktest_options options_of_round = *options;
            options_of_round.seed += round;
            run_and_report(tests[i], &options_of_round, &result);
        }
    return result;
}

static int ktest_command(int argc, char **argv)
{
    struct ktest_options options;
    size_t count;
    int error = parse_options(argc, argv, &options);
    if (!error)
        error = check_names(argc, argv);
    if (error)
        return error;
    const struct ktest **tests = collect(argc, argv, &options, &count);
    if (!tests)
        return -ENOMEM;
    struct ktest_result result = {0};
    if (shell_flag(argc, argv, "--list"))
        list_tests(tests, count);
    else
        result = run_all(tests, count, &options);
    heap_free(tests);
    if (options.has_json)
        console_printf("{\"passed\":%u,\"failed\":%u,\"skipped\":%u,\"seed\":%llu}\n", result.passed,
                       result.failed, result.skipped, (unsigned long long)options.seed);
    else if (!shell_flag(argc, argv, "--list"))
        console_printf("%u passed, %u failed, %u skipped\n", result.passed, result.failed, result.skipped);
    return result.failed > 0 ? -EIO : 0;
}
SHELL_COMMAND(
    ktest, "[NAME|PREFIX*]... [--slow] [--list] [--shuffle[=SEED]] [seed=N] [--repeat=N] [--json]",
    "run the tests in the kernel", ktest_command,
    "Slow tests run with --slow or by name. A failed test is followed by the command that repeats it.");
