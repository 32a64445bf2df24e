/* SPDX-License-Identifier: MIT */
/* The shell's pure parts: words and options, and the line editor against a small model of a terminal. */
#include "check.h"

#include "../../src/kernel/shell/shell_internal.h"

#include <kernel/shell.h>
#include <string.h>

static struct shell_words words;

/* The words of the next command, joined with '|'; "-" at the end, "!N" for an error. */
static const char *next(const char **cursor)
{
    static char text[4096];
    int got = shell_words_next(cursor, &words);
    text[0] = '\0';
    if (got == 0)
        return "-";
    if (got < 0) {
        snprintf(text, sizeof(text), "!%d", -got);
        return text;
    }
    check(words.argv[words.argc] == NULL);
    for (int i = 0; i < words.argc; i++) {
        strcat(text, i ? "|" : "");
        strcat(text, words.argv[i]);
    }
    return text;
}

static void check_words(const char *line, const char *first, const char *second)
{
    const char *cursor = line;
    const char *got = next(&cursor);
    check(strcmp(got, first) == 0);
    if (strcmp(got, first) != 0)
        fprintf(stderr, "  «%s» gave «%s», not «%s»\n", line, got, first);
    got = next(&cursor);
    check(strcmp(got, second) == 0);
    if (strcmp(got, second) != 0)
        fprintf(stderr, "  «%s» gave second «%s», not «%s»\n", line, got, second);
}

static void test_words(void)
{
    check_words("", "-", "-");
    check_words(" ;; ;\t\n", "-", "-");
    check_words("a", "a", "-");
    check_words("  ls   -l /x ", "ls|-l|/x", "-");
    check_words("a b;c", "a|b", "c");
    check_words("a;;b", "a", "b");
    check_words("echo 'a; b'; ls", "echo|a; b", "ls");
    check_words("echo \"it's\" '\"'", "echo|it's|\"", "-");
    check_words("x a\"b c\"'d;'e", "x|ab cd;e", "-");
    check_words("x ''", "x|", "-");
    check_words("x \"a", "!22", "-");
    check_words("a; x 'b; c", "a", "!22");
}

static void test_source(void)
{
    const char *cursor = "  echo  'a b' ; ls ";
    check_equal(shell_words_next(&cursor, &words), 1);
    check_equal(words.source_bytes, strlen("echo  'a b'"));
    check(strncmp(words.source, "echo  'a b'", words.source_bytes) == 0);
    check_equal(shell_words_next(&cursor, &words), 1);
    check_equal(words.source_bytes, 2);
    cursor = "a 'b";
    check_equal(-shell_words_next(&cursor, &words), EINVAL);
    check_equal(words.source_bytes, 4);
    check(*cursor == '\0');
}

static void test_word_limits(void)
{
    static char line[3 * SHELL_TEXT_BYTES];
    const char *cursor = line;

    for (int i = 0; i < SHELL_WORDS_MAX; i++)
        strcat(line, "w ");
    check_equal(shell_words_next(&cursor, &words), 1);
    check_equal(words.argc, SHELL_WORDS_MAX);
    strcat(line, "w");
    cursor = line;
    check_equal(-shell_words_next(&cursor, &words), E2BIG);
    check(*cursor == '\0');

    memset(line, 'x', sizeof(line));
    line[SHELL_TEXT_BYTES - 1] = '\0'; /* with its terminator it just fits */
    cursor = line;
    check_equal(shell_words_next(&cursor, &words), 1);
    check_equal(strlen(words.argv[0]), SHELL_TEXT_BYTES - 1);
    line[SHELL_TEXT_BYTES - 1] = 'x';
    line[SHELL_TEXT_BYTES] = '\0';
    cursor = line;
    check_equal(-shell_words_next(&cursor, &words), E2BIG);
}

static void test_options(void)
{
    char *argv[] = {"bench", "bs=4k", "depth=32", "bs=8k", "--json", "bad=4x", "bsx=1", NULL};
    int argc = 7;
    uint64_t value = 7;
    check(strcmp(shell_option(argc, argv, "bs"), "8k") == 0);
    check(shell_option(argc, argv, "b") == NULL);
    check(shell_option(argc, argv, "bench") == NULL);
    check(shell_flag(argc, argv, "--json") && !shell_flag(argc, argv, "--jso") &&
          !shell_flag(argc, argv, "bench"));
    check_equal(shell_words_number(argc, argv, "bs", 0, 8192, &value), SHELL_NUMBER_GOOD);
    check_equal(value, 8192);
    check_equal(shell_words_number(argc, argv, "bs", 0, 8191, &value), SHELL_NUMBER_BAD);
    check_equal(shell_words_number(argc, argv, "depth", 33, 64, &value), SHELL_NUMBER_BAD);
    check_equal(shell_words_number(argc, argv, "bad", 0, 100, &value), SHELL_NUMBER_BAD);
    check_equal(shell_words_number(argc, argv, "none", 0, 100, &value), SHELL_NUMBER_ABSENT);
    check_equal(shell_words_number(argc, argv, "bs", 1, 0, &value), SHELL_NUMBER_BAD); /* an empty range */
    check_equal(value, 8192);
}

static void check_duration(const char *text, int error, uint64_t expected)
{
    uint64_t ns = 0;
    check_equal(shell_parse_duration(text, &ns), error);
    check_equal(ns, expected);
}

static void test_durations(void)
{
    check_duration("2", 0, 2 * NSEC_PER_SEC);
    check_duration("0.25", 0, 250 * NSEC_PER_MSEC);
    check_duration(".5", 0, 500 * NSEC_PER_MSEC);
    check_duration("20ms", 0, 20 * NSEC_PER_MSEC);
    check_duration("300us", 0, 300 * NSEC_PER_USEC);
    check_duration("1.5s", 0, 1500 * NSEC_PER_MSEC);
    check_duration("2m", 0, 120 * NSEC_PER_SEC);
    check_duration("", -EINVAL, 0);
    check_duration(".", -EINVAL, 0);
    check_duration("s", -EINVAL, 0);
    check_duration("-1", -EINVAL, 0);
    check_duration("1x", -EINVAL, 0);
    check_duration("1 s", -EINVAL, 0);
    check_duration("99999999999999999999", -ERANGE, 0);
}

/* ---- The line editor ---- */

/* A terminal of one endless line: what the user would see. */
static struct {
    char cells[2048];
    uint32_t column, escape;
} terminal;

static void terminal_write(const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        if (terminal.escape == 1) {
            check(text[i] == '[');
            terminal.escape = 2;
        } else if (terminal.escape == 2) {
            check(text[i] == 'K');
            memset(terminal.cells + terminal.column, 0, sizeof(terminal.cells) - terminal.column);
            terminal.escape = 0;
        } else if (text[i] == 0x1b) {
            terminal.escape = 1;
        } else if (text[i] == '\b') {
            check(terminal.column > 0);
            terminal.column--;
        } else if (text[i] == '\r') {
            terminal.column = 0;
        } else if (text[i] == '\n') {
            memset(&terminal, 0, sizeof(terminal));
        } else {
            terminal.cells[terminal.column++] = text[i];
        }
    }
}

static const char *complete_for_test(const char *word, size_t bytes)
{
    return bytes == 2 && memcmp(word, "io", 2) == 0 ? "bench " : NULL;
}

static struct editor editor;

static void start_editor(void)
{
    memset(&editor, 0, sizeof(editor));
    memset(&terminal, 0, sizeof(terminal));
    editor.write = terminal_write;
    editor.complete = complete_for_test;
    editor.prompt = "> ";
    editor_begin(&editor);
}

/* A prompt at the left margin. */
static void begin_line(void)
{
    memset(&terminal, 0, sizeof(terminal));
    editor_begin(&editor);
}

/* What is on the screen is the line, and the cursor is where the editor thinks. */
static void check_screen(void)
{
    char expected[EDITOR_LINE_BYTES + 3];
    snprintf(expected, sizeof(expected), "> %.*s", (int)editor.length, editor.line);
    check(strcmp(terminal.cells, expected) == 0);
    check_equal(terminal.column, editor.cursor + 2);
}

static enum editor_result type(const char *text)
{
    enum editor_result result = EDITOR_MORE;
    for (; *text; text++) {
        check(result == EDITOR_MORE);
        result = editor_feed(&editor, (uint8_t)*text);
        if (result == EDITOR_MORE)
            check_screen();
    }
    return result;
}

/* Types keys on a fresh line and expects the line that they make. */
static void check_line(const char *keys, const char *expected)
{
    begin_line();
    check(type(keys) == EDITOR_MORE);
    check(type("\r") == EDITOR_LINE);
    check(strcmp(editor.line, expected) == 0);
    if (strcmp(editor.line, expected) != 0)
        fprintf(stderr, "  got «%s», not «%s»\n", editor.line, expected);
}

#define LEFT  "\x1b[D"
#define RIGHT "\x1b[C"
#define UP    "\x1b[A"
#define DOWN  "\x1b[B"

static void test_editing(void)
{
    start_editor();
    check_line("", "");
    check_line("hello", "hello");
    check_line("helo" LEFT "l", "hello");
    check_line("hxello" LEFT LEFT LEFT LEFT "\x7f", "hello");
    check_line("\x7f\b" LEFT RIGHT "a" RIGHT, "a");
    check_line("abc\x01x\x05y", "xabcy");
    check_line("abc" LEFT LEFT "\x15", "bc");
    check_line("abc" LEFT LEFT "\x0b", "a");
    check_line("one two  \x17x", "one x");
    check_line("abc\x1b[H\x1b[3~", "bc");
    check_line("abc\x1b[1~x\x1b[4~y", "xabcy");
    check_line("a\x1bOCb", "ab");
    check_line("a\x1b[200~b\x1b[5;3Qc\x02", "abc");
    check_line("ab\x0c", "ab");
    check_line("io\t", "iobench ");
    check_line("io x\tio", "io xio");
    check_line("gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f");
}

static void test_line_ends(void)
{
    start_editor();
    check(type("a\r") == EDITOR_LINE);
    begin_line();
    check(type("\nb") == EDITOR_MORE); /* the second half of "\r\n" */
    check(type("\n") == EDITOR_LINE);
    check(strcmp(editor.line, "b") == 0);
    begin_line();
    check(type("\n") == EDITOR_LINE); /* but "\n\n" are two lines */
    begin_line();
    check(type("xyz\x03") == EDITOR_CANCELLED);
    begin_line();
    check(type("\r") == EDITOR_LINE);
    check_equal(editor.line[0], 0);
}

static void test_history(void)
{
    start_editor();
    check_line(UP DOWN "first", "first");
    check_line("second", "second");
    check_line(UP, "second");
    check_line(UP UP, "first");
    check_line(UP UP UP UP UP, "first"); /* not past the oldest, and repetitions were kept once */
    check_line(UP UP DOWN, "first");
    check_line(UP DOWN "new", "new");
    check_line(UP "!", "new!");
    check_line(UP UP, "new"); /* history itself was not edited */
    for (char line[] = "0"; line[0] < '0' + (int)EDITOR_HISTORY_SIZE + 5; line[0]++)
        check_line(line, line);
    begin_line();
    for (uint32_t i = 0; i < EDITOR_HISTORY_SIZE + 20; i++)
        type(UP);
    check_equal(editor.line[0], '0' + 5); /* the oldest that the ring still holds */
    check(type("\r") == EDITOR_LINE);
}

static void test_full_line(void)
{
    start_editor();
    for (uint32_t i = 0; i < EDITOR_LINE_BYTES + 10; i++)
        check(editor_feed(&editor, 'x') == EDITOR_MORE);
    check_equal(editor.length, EDITOR_LINE_BYTES - 1);
    check_screen();
    check(type("\r") == EDITOR_LINE);
    check_equal(strlen(editor.line), EDITOR_LINE_BYTES - 1);
    begin_line();
    type(UP);
    check_equal(editor.length, EDITOR_LINE_BYTES - 1);
}

/* Any bytes whatever: the editor stays in its bounds, and the screen shows its line. */
static void test_noise(void)
{
    static const char likely_bytes[] = "abc \x1b[ABCD3~H\x7f\t\x01\x05\x15\x0b\x17\r\x03O";
    uint32_t seed = 1;
    start_editor();
    for (int i = 0; i < 200000; i++) {
        seed = seed * 1664525 + 1013904223;
        char byte = likely_bytes[(seed >> 16) % (sizeof(likely_bytes) - 1)];
        if (editor_feed(&editor, (uint8_t)byte) == EDITOR_MORE)
            check_screen();
        else
            begin_line();
    }
}

int main(void)
{
    test_words();
    test_source();
    test_word_limits();
    test_options();
    test_durations();
    test_editing();
    test_line_ends();
    test_history();
    test_full_line();
    test_noise();
    return check_finish();
}
