/* SPDX-License-Identifier: MIT */
/* Splits the command line into words `key` and `key=value`. White space outside of double quotes ends a
 * word; quotes are dropped, wherever they stand; a backslash before a quote or a backslash makes that one
 * plain (GRUB writes words with blanks so). Each source is split alone: a quote that one leaves open ends
 * with it. Written once by cmdline_init, then read without locks. */
#include <arch/boot_info.h>
#include <kernel/base/assert.h>
#include <kernel/base/error.h>
#include <kernel/cmdline.h>
#include <kernel/log.h>
#include <kernel/string.h>

#define TEXT_BYTES  (2 * BOOT_TEXT_BYTES + 2)
#define ENTRY_LIMIT 128u

struct cmdline_entry {
    const char *key, *value; /* I: `value` is "" without "=" */
    bool was_reported;       /* a bad value gets one line, however often it is asked for */
};

static char whole_text[TEXT_BYTES];
static char words[TEXT_BYTES]; /* the words, unquoted, each terminated */
static struct cmdline_entry entries[ENTRY_LIMIT];
static unsigned entry_count;

linker_set_declare(cmdline_keys, const struct cmdline_key);

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

static bool is_escape(const char *at)
{
    return at[0] == '\\' && (at[1] == '"' || at[1] == '\'' || at[1] == '\\');
}

/* Copies the word at `*at` unquoted to `to` and moves `*at` behind it; returns where its terminator is. */
static char *copy_word(const char *source, const char **at, char *to)
{
    bool is_quoted = false;
    const char *from = *at, *word = to;
    for (; *from && (is_quoted || !is_blank(*from)); from++) {
        if (*from == '"')
            is_quoted = !is_quoted;
        else
            *to++ = is_escape(from) ? *++from : *from;
    }
    *to = '\0';
    if (is_quoted)
        log_warning("cmdline", "%s: a quote is not closed: '%s' goes to the end", source, word);
    *at = from;
    return to;
}

static void add_entry(char *word)
{
    char *equals = strchr(word, '=');
    if (entry_count == ENTRY_LIMIT) {
        log_warning("cmdline", "more than %u words: '%s' is ignored", ENTRY_LIMIT, word);
        return;
    }
    if (equals)
        *equals = '\0';
    entries[entry_count++] = (struct cmdline_entry){.key = word, .value = equals ? equals + 1 : ""};
}

/* Splits `text` into words at `to`; returns the place behind them. */
static char *parse(const char *source, const char *text, char *to)
{
    for (;;) {
        while (is_blank(*text))
            text++;
        if (!*text)
            return to;
        char *word = to;
        to = copy_word(source, &text, to) + 1;
        assert(to <= words + TEXT_BYTES);
        add_entry(word);
    }
}

static bool is_known(const char *key)
{
    linker_set_foreach (cmdline_keys, const struct cmdline_key, known)
        if (strcmp(known->name, key) == 0)
            return true;
    return false;
}

static bool is_last_of_key(unsigned index)
{
    for (unsigned i = index + 1; i < entry_count; i++)
        if (strcmp(entries[i].key, entries[index].key) == 0)
            return false;
    return true;
}

/* Appends a copy of `text` to the whole text, behind a blank; returns the copy. */
static const char *append_text(const char *text)
{
    size_t used = strlen(whole_text);
    if (used > 0)
        whole_text[used++] = ' ';
    string_copy(whole_text + used, text, BOOT_TEXT_BYTES);
    return whole_text + used;
}

static char *add_source(const char *source, const char *text, char *to)
{
    return text && text[0] ? parse(source, append_text(text), to) : to;
}

void cmdline_init(const char *loader_text, const char *fw_cfg_text)
{
    entry_count = 0;
    whole_text[0] = '\0';
    char *end = add_source("boot loader's text", loader_text, words);
    add_source("fw_cfg's text", fw_cfg_text, end);
    for (unsigned i = 0; i < entry_count; i++)
        if (!is_known(entries[i].key) && is_last_of_key(i))
            log_warning("cmdline", "unknown key '%s'", entries[i].key);
}

static struct cmdline_entry *find(const char *key)
{
    debug_assert(is_known(key));
    for (unsigned i = entry_count; i > 0; i--)
        if (strcmp(entries[i - 1].key, key) == 0)
            return &entries[i - 1];
    return NULL;
}

const char *cmdline_get(const char *key)
{
    const struct cmdline_entry *entry = find(key);
    return entry ? entry->value : NULL;
}

const char *cmdline_value(const char *key, unsigned index)
{
    debug_assert(is_known(key));
    for (unsigned i = 0; i < entry_count; i++)
        if (strcmp(entries[i].key, key) == 0 && index-- == 0)
            return entries[i].value;
    return NULL;
}

bool cmdline_u64(const char *key, uint64_t minimum, uint64_t maximum, uint64_t *value)
{
    uint64_t number;
    struct cmdline_entry *entry = find(key);
    assert(minimum <= maximum);
    if (!entry)
        return false;
    if (string_to_size(entry->value, &number) == 0 && number >= minimum && number <= maximum) {
        *value = number;
        return true;
    }
    if (!entry->was_reported)
        log_warning("cmdline", "%s='%s' is not a number from %llu to %llu: ignored", key, entry->value,
                    (unsigned long long)minimum, (unsigned long long)maximum);
    entry->was_reported = true;
    return false;
}

bool cmdline_bool(const char *key, bool otherwise)
{
    static const char *const words_true[] = {"", "1", "on"}, *const words_false[] = {"0", "off"};
    struct cmdline_entry *entry = find(key);
    if (!entry)
        return otherwise;
    for (unsigned i = 0; i < ARRAY_SIZE(words_true); i++)
        if (strcmp(entry->value, words_true[i]) == 0)
            return true;
    for (unsigned i = 0; i < ARRAY_SIZE(words_false); i++)
        if (strcmp(entry->value, words_false[i]) == 0)
            return false;
    if (!entry->was_reported)
        log_warning("cmdline", "%s='%s' is not one of 0, 1, on, off: ignored", key, entry->value);
    entry->was_reported = true;
    return otherwise;
}

const char *cmdline_text(void)
{
    return whole_text;
}
