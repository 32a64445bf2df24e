/* SPDX-License-Identifier: MIT */
/* The log, the console, symbols, backtraces and trace events. Console output is watched by a sink that stays
 * registered and listens only while a test wants it. */
#include <kernel/log.h>
#include <kernel/panic.h>
#include <kernel/printf.h>
#include <kernel/string.h>
#include <kernel/symbols.h>
#include <kernel/timer.h>
#include <kernel/trace.h>

#include "threads_internal.h"

#define LINES   200u
#define WRITERS 4u

static struct {
    struct log_sink sink;
    bool is_added, is_listening, is_nested;
    size_t length;
    char text[4096];
} ear;

static void ear_write(struct log_sink *sink, const char *text, size_t bytes)
{
    (void)sink;
    if (!ear.is_listening)
        return;
    if (ear.is_nested) {
        ear.is_nested = false;
        log_debug("ktest", "from within a sink");
    }
    size_t kept = MIN(bytes, sizeof(ear.text) - 1 - ear.length);
    memcpy(ear.text + ear.length, text, kept);
    ear.length += kept;
    ear.text[ear.length] = '\0';
}

static void listen(void)
{
    ear.sink.write = ear_write;
    ear.length = 0;
    ear.text[0] = '\0';
    if (!ear.is_added)
        log_sink_add(&ear.sink);
    ear.is_added = ear.is_listening = true;
}

static const char *heard(void)
{
    ear.is_listening = false;
    return ear.text;
}

/* ---- Where output goes -------------------------------------------------------------------------------- */

/* The serial line is the first sink, and in a panic what follows may hang. */
static struct log_sink second;
static size_t length_at_second;

static void second_write(struct log_sink *sink, const char *text, size_t bytes)
{
    (void)sink, (void)text, (void)bytes;
    if (ear.is_listening)
        length_at_second = ear.length;
}

KTEST(log_sinks_are_called_in_the_order_of_their_coming, KTEST_FAST)
{
    listen();
    (void)heard();
    if (!second.write) {
        second.write = second_write;
        log_sink_add(&second);
    }
    listen();
    length_at_second = 0;
    console_write("x\n", 2);
    (void)heard();
    ktest_expect(length_at_second >= 2);
}

struct catcher {
    struct console_output output;
    size_t bytes;
    char caught[64];
};

static void catch (struct console_output *output, const char *text, size_t bytes)
{
    struct catcher *catcher = container_of(output, struct catcher, output);
    size_t kept = MIN(bytes, sizeof(catcher->caught) - 1 - catcher->bytes);
    memcpy(catcher->caught + catcher->bytes, text, kept);
    catcher->bytes += kept;
}

KTEST(console_output_can_be_redirected, KTEST_FAST)
{
    static struct catcher catcher; /* too large for a stack */
    memset(&catcher, 0, sizeof(catcher));
    catcher.output.write = catch;
    listen();
    struct console_output *before = console_redirect(&catcher.output);
    console_printf("caught %d\n", 1);
    console_write("caught 2\n", 9);
    log_info("ktest", "a line of the log");
    uint64_t flags = interrupts_save();
    console_printf("not where one may not sleep\n");
    interrupts_restore(flags);
    ktest_expect(console_redirect(before) == &catcher.output);
    console_write("after\n", 6);
    const char *text = heard();
    ktest_expect(strcmp(catcher.caught, "caught 1\ncaught 2\n") == 0);
    ktest_expect(strstr(text, "caught") == NULL && strstr(text, "a line of the log") != NULL);
    ktest_expect(strstr(text, "not where one may not sleep") != NULL && strstr(text, "after") != NULL);
}

/* ---- The ring
 * ------------------------------------------------------------------------------------------------ */

struct search {
    const char *word;
    unsigned found, broken;
    unsigned of_writer[WRITERS];
};

static void look_for(const char *line, void *context)
{
    struct search *search = context;
    search->found += strstr(line, search->word) != NULL;
}

static unsigned lines_with(const char *word)
{
    struct search search = {.word = word};
    log_for_each(look_for, &search);
    return search.found;
}

/* "…] ktest: writer 2 line 17 of 200 aaaa…a." exactly, for each line of a writer. */
static void check_line(const char *line, void *context)
{
    struct search *search = context;
    const char *text = strstr(line, "] ktest: writer ");
    char expected[128];
    unsigned writer, number;
    if (!text)
        return;
    writer = (unsigned)(text[16] - '0');
    number = search->of_writer[writer % WRITERS]++;
    snprintf(expected, sizeof(expected), "] ktest: writer %u line %u %.*s.", writer, number,
             (int)(number % 50), "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    search->broken += strcmp(text, expected) != 0;
}

static void write_lines(void *argument)
{
    for (unsigned i = 0; i < LINES; i++)
        log_debug("ktest", "writer %u line %u %.*s.", (unsigned)(uintptr_t)argument, i, (int)(i % 50),
                  "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
}

/* Enough from the test itself to push out what an earlier run left. */
KTEST(log_lines_of_many_threads_stay_whole, KTEST_FAST)
{
    struct thread *threads[WRITERS];
    struct search search = {.word = ""};
    for (unsigned i = 0; i < 2000; i++)
        log_debug("ktest", "filler %1000s", "");
    ktest_expect_equal(lines_with("] ktest: writer "), 0);
    for (unsigned i = 0; i < WRITERS; i++)
        threads[i] = test_spawn(write_lines, (void *)(uintptr_t)i, 0, 0);
    for (unsigned i = 0; i < WRITERS; i++)
        thread_join(threads[i]);
    log_for_each(check_line, &search);
    ktest_expect_equal(search.broken, 0);
    for (unsigned i = 0; i < WRITERS; i++)
        ktest_expect_equal(search.of_writer[i], LINES);
}

KTEST(log_line_is_cut_and_printable, KTEST_FAST)
{
    log_debug("ktest", "cut %*s end", 2000, "");
    log_debug("ktest", "control\n\x1b[2J\x7f end");
    ktest_expect(lines_with("ktest: cut ") >= 1 && lines_with("ktest: cut  end") == 0);
    ktest_expect(lines_with("control??[2J? end") >= 1);
}

struct shout {
    struct timer timer;
    uint32_t count; /* a */
};

static void log_from_timer(struct timer *timer)
{
    struct shout *shout = container_of(timer, struct shout, timer);
    log_debug("ktest", "from an interrupt %u", 4711u);
    __atomic_add_fetch(&shout->count, 1, __ATOMIC_RELEASE);
}

KTEST(log_works_in_interrupts, KTEST_FAST)
{
    struct shout shout = {.timer.expired = log_from_timer};
    unsigned before = lines_with("from an interrupt 4711");
    timer_start(&shout.timer, clock_ns());
    ktest_expect(test_wait_for_count(&shout.count, 1));
    timer_cancel(&shout.timer);
    ktest_expect_equal(lines_with("from an interrupt 4711"), before + 1);
}

/* As an NMI in the middle of a line would: the holder of the lock logs again. */
KTEST(log_within_the_log_does_not_hang, KTEST_FAST)
{
    unsigned before = lines_with("from within a sink");
    listen();
    ear.is_nested = true;
    console_printf("outer\n");
    ktest_expect(strstr(heard(), "outer\n") != NULL);
    ktest_expect_equal(lines_with("from within a sink"), before + 1);
}

KTEST(log_line_begins_at_the_margin, KTEST_FAST)
{
    listen();
    console_printf("half a line");
    log_error("ktest", "this error is part of a test"); /* reaches the console at every loglevel */
    const char *text = heard(), *error = strstr(text, "] ktest: error: this error");
    ktest_expect(strncmp(text, "half a line\n[", 13) == 0);
    ktest_expect(error && strchr(error, '\n') != NULL);
}

KTEST(log_level_hides_from_the_console_only, KTEST_FAST)
{
    listen();
    unsigned before = lines_with("not for the console");
    log_write(LOG_TRACE, "ktest", "not for the console");
    ktest_expect(strstr(heard(), "not for the console") == NULL);
    ktest_expect_equal(lines_with("not for the console"), before + 1);
}

KTEST(log_levels_have_names, KTEST_FAST)
{
    enum log_level level = LOG_INFO;
    ktest_expect(log_level_parse("error", &level) == 0 && level == LOG_ERROR);
    ktest_expect(log_level_parse("trace", &level) == 0 && level == LOG_TRACE);
    ktest_expect(log_level_parse("", &level) != 0 && log_level_parse("errors", &level) != 0);
    ktest_expect(level == LOG_TRACE);
}

KTEST(console_text_of_any_length, KTEST_FAST)
{
    listen();
    console_printf("%s%*s|", "begin", 700, "");
    console_write("tail\n", 5);
    const char *text = heard();
    ktest_expect_equal(strlen(text), 5 + 700 + 1 + 5);
    ktest_expect(strcmp(text + 5 + 700, "|tail\n") == 0);
}

/* ---- Symbols and backtraces
 * ---------------------------------------------------------------------------------- */

KTEST(symbols_find_functions, KTEST_FAST)
{
    uint64_t offset = 99;
    char text[64];
    const char *name = symbol_lookup((uintptr_t)symbol_lookup, &offset);
    ktest_expect(name && strcmp(name, "symbol_lookup") == 0 && offset == 0);
    name = symbol_lookup((uintptr_t)symbol_format + 3, &offset);
    ktest_expect(name && strcmp(name, "symbol_format") == 0 && offset == 3);
    symbol_format((uintptr_t)log_write + 0x1f, text, sizeof(text));
    ktest_expect(strcmp(text, "log_write+0x1f") == 0);
    static const uint64_t strangers[] = {
        0, 0x1000, 0x101000, UINT64_MAX, 0xffffffff80000000, (uintptr_t)&ear};
    for (size_t i = 0; i < ARRAY_SIZE(strangers); i++)
        ktest_expect(symbol_lookup(strangers[i], &offset) == NULL);
    ktest_expect(strcmp(symbol_format(0x1234, text, sizeof(text)), "0x1234") == 0);
}

static noinline void innermost(uint64_t frame)
{
    backtrace_print(frame ? frame : (uintptr_t)__builtin_frame_address(0), (uintptr_t)innermost);
    __asm__ volatile(""); /* the call above is not the last thing: it stays a call */
}

static noinline void middle(uint64_t frame)
{
    innermost(frame);
    __asm__ volatile("");
}

KTEST(backtrace_names_the_callers, KTEST_FAST)
{
    listen();
    middle(0);
    const char *text = heard(), *inner = strstr(text, "innermost+0x0"), *outer = strstr(text, "middle+");
    ktest_expect(inner && outer && inner < outer);
    ktest_expect(strstr(text, "ktest_run_backtrace_names_the_callers+") != NULL);
}

KTEST(backtrace_survives_bad_chains, KTEST_FAST)
{
    uint64_t loop[2] = {(uintptr_t)loop, (uintptr_t)middle};
    uint64_t wild[2] = {0xffffc12345678000, (uintptr_t)middle};
    static const uint64_t bad[] = {8, 0x7ffffffff000, 0x8000000000000000, 0xfffffffffffffff8,
                                   0xffff800000000001};
    listen();
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        middle(bad[i]);
    backtrace_print((uintptr_t)loop, (uintptr_t)middle);
    backtrace_print((uintptr_t)wild, (uintptr_t)middle);
    const char *text = heard();
    unsigned lines = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++)
        lines++;
    ktest_expect_equal(lines, ARRAY_SIZE(bad) + 4);
}

/* ---- Trace events
 * ----------------------------------------------------------------------------------------------- */

/* More events than a ring has: the newest come out, in order. */
KTEST(trace_keeps_the_newest, KTEST_FAST)
{
    listen();
    test_stay_here();
    trace_start();
    for (uint64_t i = 0; i < 3000; i++)
        trace(TRACE_BLOCK_MERGE, 0xabc0000 + i, 7);
    trace_stop();
    trace(TRACE_BLOCK_MERGE, 0xabcffff, 8);
    trace_dump(20);
    const char *at = heard();
    uint64_t last = 0;
    unsigned count = 0;
    ktest_expect(strstr(at, "a=0xabcffff") == NULL && strstr(at, "a=0xabc0bb7 b=0x7") != NULL);
    for (; (at = strstr(at, "a=0xabc")) != NULL; at += 7, count++) {
        char digits[8] = "0x";
        uint64_t number = 0;
        memcpy(digits + 2, at + 7, 4);
        ktest_expect(string_to_u64(digits, &number) == 0 && number > last);
        last = number;
    }
    ktest_expect(count >= 10 && count <= 20); /* the rest are the scheduler's own */
}
