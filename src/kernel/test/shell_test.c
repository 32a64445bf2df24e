/* SPDX-License-Identifier: MIT */
/* The shell's executor and the console's input queue, in the kernel. Words and line editing are tested on the
 * host (tests/host/shell_test.c). */
#include <kernel/console.h>
#include <kernel/shell.h>
#include <kernel/string.h>
#include <kernel/test.h>
#include <kernel/thread.h>

KTEST(shell_returns_the_first_failure, KTEST_FAST)
{
    ktest_expect_equal(shell_execute(""), 0);
    ktest_expect_equal(shell_execute("sleep 0; sleep 0"), 0);
    ktest_expect_equal(shell_execute("no-such-command"), -ENOENT);
    ktest_expect_equal(shell_execute("sleep 0; no-such-command; sleep"), -ENOENT);
    ktest_expect_equal(shell_execute("sleep"), -EINVAL);
    ktest_expect_equal(shell_execute("echo 'not closed"), -EINVAL);
}

KTEST(shell_repeat_stops_at_a_failure, KTEST_FAST)
{
    ktest_expect_equal(shell_execute("repeat 0 no-such-command"), 0);
    ktest_expect_equal(shell_execute("repeat 3 sleep 0"), 0);
    ktest_expect_equal(shell_execute("repeat 1000000 no-such-command"), -ENOENT);
    ktest_expect_equal(shell_execute("repeat x echo"), -EINVAL);
}

KTEST(shell_line_is_cut_not_overrun, KTEST_FAST)
{
    static struct shell_line line;
    line.bytes = 0;
    for (size_t i = 0; i < 2 * sizeof(line.text); i++) {
        shell_line_add(&line, "%c", 'x');
        ktest_expect(line.bytes < sizeof(line.text));
    }
    ktest_expect_equal(line.bytes, sizeof(line.text) - 1);
}

KTEST(console_control_c_drops_what_was_typed, KTEST_FAST)
{
    (void)console_take_interrupt();
    console_input('a');
    console_input('b');
    ktest_expect(!console_take_interrupt());
    ktest_expect_equal(console_read(), 'a');
    console_input(3);
    console_input('c');
    ktest_expect_equal(console_read(), 3); /* and not 'b' */
    ktest_expect_equal(console_read(), 'c');
    ktest_expect(console_take_interrupt());
    ktest_expect(!console_take_interrupt());
    console_input(3);
    console_input('d');
    ktest_expect(console_take_interrupt());
    ktest_expect_equal(console_read(), 'd'); /* the ^C was taken as an interrupt */
}

KTEST(console_full_queue_drops_the_newest, KTEST_FAST)
{
    for (int i = 0; i < 5000; i++)
        console_input((uint8_t)('A' + i % 26));
    for (int i = 0; i < 1024; i++)
        ktest_expect_equal(console_read(), 'A' + i % 26);
    console_input('!');
    ktest_expect_equal(console_read(), '!');
}

static void echo_reader(void *context)
{
    uint64_t *sum = context;
    for (int i = 0; i < 1000; i++)
        *sum += (uint64_t)console_read();
}

/* A reader that sleeps between the bytes loses none. */
KTEST(console_reader_wakes_for_each_byte, KTEST_FAST)
{
    uint64_t sum = 0, expected = 0;
    struct thread *reader;
    struct thread_config config = {.name = "console-reader", .entry = echo_reader, .argument = &sum};
    if (thread_create(&config, &reader)) {
        ktest_fail(__FILE__, __LINE__, "no thread");
        return;
    }
    for (int i = 0; i < 1000; i++) {
        uint8_t byte = (uint8_t)('0' + i % 64);
        expected += byte;
        console_input(byte);
        if (i % 3 == 0)
            thread_sleep_ns(10 * NSEC_PER_USEC);
    }
    thread_join(reader);
    ktest_expect_equal(sum, expected);
}

KTEST(shell_waits_for_the_background, KTEST_FAST)
{
    ktest_expect_equal(shell_execute("wait"), 0);
    ktest_expect_equal(shell_execute("background sleep 20ms; background echo 'beside the shell'"), 0);
    ktest_expect_equal(shell_execute("wait"), 0);
    ktest_expect_equal(shell_execute("background nosuchcommand; background sleep 0; wait"), -ENOENT);
    ktest_expect_equal(shell_execute("background background sleep 0; wait; wait"), 0);
    ktest_expect_equal(shell_execute("background"), -EINVAL);
    for (int i = 0; i < 16; i++)
        ktest_expect_equal(shell_execute("background sleep 50ms"), 0);
    ktest_expect_equal(shell_execute("background sleep 50ms"), -ENOSPC);
    ktest_expect_equal(shell_execute("background wait"), -ENOSPC);
    ktest_expect_equal(shell_execute("wait"), 0);
}
