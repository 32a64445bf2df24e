/* SPDX-License-Identifier: MIT */
/* The command line: words, quotes, escapes, order, bad values, and random text. The warnings are counted in
 * place of the log. */
#include <kernel/base/types.h>
#include <kernel/random.h>
#include <string.h>

#include "check.h"

static unsigned warning_count;
static char last_warning[512];
static void count_warning(const char *format, ...) printf_like(1, 2);
static void count_warning(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_warning, sizeof(last_warning), format, arguments);
    va_end(arguments);
    warning_count++;
}
#include <kernel/log.h>
#undef log_warning
#define log_warning(subsystem, ...) count_warning(__VA_ARGS__)
#include "../../src/kernel/cmdline.c"

CMDLINE_KEY(alpha, "alpha", "N", "a number");
CMDLINE_KEY(beta, "beta", "0/1", "a switch");
CMDLINE_KEY(run, "run", "\"c1; c2\"", "commands");

static void start(const char *loader, const char *fw_cfg)
{
    warning_count = 0;
    cmdline_init(loader, fw_cfg);
}

static bool is_text(const char *key, const char *expected)
{
    const char *value = cmdline_get(key);
    return expected ? value && strcmp(value, expected) == 0 : !value;
}

static void words_and_quotes(void)
{
    start(NULL, NULL);
    check(is_text("alpha", NULL) && warning_count == 0 && cmdline_text()[0] == '\0');
    start("  alpha=1\tbeta  ", "");
    check(is_text("alpha", "1") && is_text("beta", ""));
    start("run=\"ls /; echo a=b\" alpha=2", NULL);
    check(is_text("run", "ls /; echo a=b") && is_text("alpha", "2"));
    start("\"run=ls /\" alpha=3", NULL); /* as GRUB writes it */
    check(is_text("run", "ls /") && is_text("alpha", "3"));
    start("run=\"echo \\\"a b\\\" \\\\ \\n\"", NULL);
    check(is_text("run", "echo \"a b\" \\ \\n"));
    check_equal(warning_count, 0);
}

/* Reported once, with the source and the word; the other source is not swallowed. */
static void open_quotes(void)
{
    start("run=\"open alpha=1", "alpha=2 beta=\"0\"");
    check(is_text("run", "open alpha=1") && is_text("alpha", "2") && is_text("beta", "0"));
    check_equal(warning_count, 1);
    check(strcmp(last_warning,
                 "boot loader's text: a quote is not closed: 'run=open alpha=1' goes to the end") == 0);
    start("alpha=1", "alpha=2 run=\"open");
    check(is_text("alpha", "2") && is_text("run", "open"));
    check_equal(warning_count, 1);
    check(strcmp(last_warning, "fw_cfg's text: a quote is not closed: 'run=open' goes to the end") == 0);
    start("run=\"a", "run=\"b");
    check(is_text("run", "b"));
    check_equal(warning_count, 2);
}

static void many_values(void)
{
    start("alpha=1 beta alpha=0x2 alpha", "alpha=4");
    static const char *const values[] = {"1", "0x2", "", "4"};
    for (unsigned i = 0; i < ARRAY_SIZE(values); i++)
        check(cmdline_value("alpha", i) && strcmp(cmdline_value("alpha", i), values[i]) == 0);
    check(!cmdline_value("alpha", 4) && !cmdline_value("run", 0) && !cmdline_value("beta", 1));
}

static void later_wins(void)
{
    start("alpha=1 alpha=2", "alpha=3");
    check(is_text("alpha", "3"));
    check(strcmp(cmdline_text(), "alpha=1 alpha=2 alpha=3") == 0);
    start(NULL, "alpha=4");
    check(is_text("alpha", "4"));
}

static void unknown_keys(void)
{
    start("foo alpha=1 foo=2", "bar=\"x y\" foo");
    check_equal(warning_count, 2); /* foo once, bar once */
    check(strcmp(last_warning, "unknown key 'foo'") == 0);
}

static void numbers(void)
{
    uint64_t value = 7;
    start("alpha=64M", NULL);
    check(cmdline_u64("alpha", 1, UINT64_MAX, &value) && value == 64ull << 20);
    static const char *const bad[] = {"alpha=0", "alpha=11", "alpha=x", "alpha", "alpha=-1", "alpha=1e3"};
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        start(bad[i], NULL);
        value = 7;
        check(!cmdline_u64("alpha", 1, 10, &value) && value == 7);
        check(!cmdline_u64("alpha", 1, 10, &value));
        check_equal(warning_count, 1); /* one line, however often it is read */
    }
    start("", NULL);
    check(!cmdline_u64("alpha", 1, 10, &value) && warning_count == 0);
}

static void switches(void)
{
    static const struct {
        const char *text;
        bool expected;
        unsigned warnings;
    } cases[] = {{"beta", true, 0},      {"beta=1", true, 0}, {"beta=on", true, 0}, {"beta=0", false, 0},
                 {"beta=off", false, 0}, {"beta=2", true, 1}, {"", true, 0}};
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        start(cases[i].text, NULL);
        check(cmdline_bool("beta", true) == cases[i].expected);
        check_equal(warning_count, cases[i].warnings);
    }
    start("beta=2", NULL);
    check(!cmdline_bool("beta", false));
}

/* Full and over-full texts, and many words. */
static void limits(void)
{
    static char long_text[3 * BOOT_TEXT_BYTES];
    memset(long_text, 'a', sizeof(long_text) - 1);
    start(long_text, long_text);
    check(strlen(cmdline_text()) == 2 * (BOOT_TEXT_BYTES - 1) + 1);
    check_equal(warning_count, 1); /* the same unknown key twice */
    for (size_t i = 0; i < sizeof(long_text) - 1; i++)
        long_text[i] = i % 2 ? ' ' : 'a';
    start(long_text, "alpha=5");
    check(is_text("alpha", NULL) && strcmp(last_warning, "unknown key 'a'") == 0);
    check_equal(warning_count, BOOT_TEXT_BYTES / 2 + 1 - ENTRY_LIMIT + 1);
}

static void random_texts(void)
{
    char loader[BOOT_TEXT_BYTES], fw_cfg[BOOT_TEXT_BYTES];
    struct random random;
    random_init(&random, 6);
    for (int i = 0; i < 2000; i++) {
        char *texts[] = {loader, fw_cfg};
        for (int t = 0; t < 2; t++) {
            size_t length = random_below(&random, random_below(&random, 8) ? 40 : BOOT_TEXT_BYTES);
            for (size_t c = 0; c < length; c++)
                texts[t][c] = "alph=\"\\ '\t1;"[random_below(&random, 12)];
            texts[t][length] = '\0';
        }
        start(loader, fw_cfg);
        check(!cmdline_get("alpha") || strlen(cmdline_get("alpha")) < TEXT_BYTES);
    }
}

int main(void)
{
    words_and_quotes();
    open_quotes();
    many_values();
    later_wins();
    unknown_keys();
    numbers();
    switches();
    limits();
    random_texts();
    return check_finish();
}
