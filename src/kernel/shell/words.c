/* SPDX-License-Identifier: MIT */
/* Cuts a line into commands and words, and reads options. Pure; any context.
 *
 * Blanks separate words, `;` separates commands. Within '...' and "..." everything is literal; quoted and
 * bare parts that touch make one word: a"b c"d is «ab cd». There is no escape character. */
#include "shell_internal.h"

#include <kernel/base/assert.h>
#include <kernel/shell.h>
#include <kernel/string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_quote(char c)
{
    return c == '\'' || c == '"';
}

/* Copies the word at `*from` to `*to` and terminates it; both are moved behind it. `limit`: where `*to`
 * must stop. */
static int copy_word(const char **from, char **to, const char *limit)
{
    const char *at = *from;
    char *out = *to, quote = '\0';

    for (; *at != '\0' && (quote || (*at != ';' && !is_blank(*at))); at++) {
        if (*at == quote) {
            quote = '\0';
        } else if (!quote && is_quote(*at)) {
            quote = *at;
        } else {
            if (out + 1 >= limit)
                return -E2BIG;
            *out++ = *at;
        }
    }
    if (quote)
        return -EINVAL;
    if (out >= limit)
        return -E2BIG;
    *out++ = '\0';
    *from = at;
    *to = out;
    return 0;
}

/* The rest of the line is lost: where the next command would begin cannot be known. */
static int refuse(const char **cursor, struct shell_words *words, int error)
{
    words->source_bytes = strlen(words->source);
    *cursor = words->source + words->source_bytes;
    return error;
}

int shell_words_next(const char **cursor, struct shell_words *words)
{
    const char *at = *cursor;
    char *out = words->text; /* cppcheck-suppress ctuuninitvar ; an array's address, nothing is read */

    while (is_blank(*at) || *at == ';')
        at++;
    words->source = at;
    words->source_bytes = 0;
    words->argc = 0;
    while (*at != '\0' && *at != ';') {
        if (words->argc == SHELL_WORDS_MAX)
            return refuse(cursor, words, -E2BIG);
        words->argv[words->argc++] = out;
        int error = copy_word(&at, &out, words->text + SHELL_TEXT_BYTES);
        if (error)
            return refuse(cursor, words, error);
        words->source_bytes = (size_t)(at - words->source);
        while (is_blank(*at))
            at++;
    }
    assert(out <= words->text + SHELL_TEXT_BYTES);
    words->argv[words->argc] = NULL;
    *cursor = at;
    return words->argc > 0;
}

/* From the end: the last one counts. argv[0] is the command's name. */
const char *shell_option(int argc, char **argv, const char *key)
{
    size_t key_bytes = strlen(key);
    assert(key_bytes > 0 && argc > 0);
    for (int i = argc - 1; i > 0; i--)
        if (strncmp(argv[i], key, key_bytes) == 0 && argv[i][key_bytes] == '=')
            return argv[i] + key_bytes + 1;
    return NULL;
}

bool shell_flag(int argc, char **argv, const char *flag)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], flag) == 0)
            return true;
    return false;
}

enum shell_number shell_words_number(int argc, char **argv, const char *key, uint64_t minimum,
                                     uint64_t maximum, uint64_t *value)
{
    const char *text = shell_option(argc, argv, key);
    uint64_t number;
    if (!text)
        return SHELL_NUMBER_ABSENT;
    if (string_to_size(text, &number) || number < minimum || number > maximum)
        return SHELL_NUMBER_BAD;
    *value = number;
    return SHELL_NUMBER_GOOD;
}

/* Without a unit: seconds. */
static int duration_unit(const char *text, uint64_t *ns)
{
    static const struct {
        const char *name;
        uint64_t ns;
    } units[] = {{"", NSEC_PER_SEC},
                 {"s", NSEC_PER_SEC},
                 {"ms", NSEC_PER_MSEC},
                 {"us", NSEC_PER_USEC},
                 {"m", 60 * NSEC_PER_SEC}};
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        if (strcmp(text, units[i].name) == 0) {
            *ns = units[i].ns;
            return 0;
        }
    }
    return -EINVAL;
}

int shell_parse_duration(const char *text, uint64_t *ns)
{
    const char *at = text;
    uint64_t whole = 0, thousandths = 0, unit_ns;
    int digits = 0;

    for (; *at >= '0' && *at <= '9'; at++, digits++) {
        if (whole > 1000000000)
            return -ERANGE;
        whole = whole * 10 + (uint64_t)(*at - '0');
    }
    if (*at == '.') { /* digits behind the third are dropped: scale is 0 then */
        uint64_t scale = 100;
        for (at++; *at >= '0' && *at <= '9'; at++, digits++, scale /= 10)
            thousandths += scale * (uint64_t)(*at - '0');
    }
    if (digits == 0 || duration_unit(at, &unit_ns))
        return -EINVAL;
    if (whole > UINT64_MAX / 2 / unit_ns)
        return -ERANGE;
    *ns = whole * unit_ns + thousandths * (unit_ns / 1000);
    return 0;
}
