/* SPDX-License-Identifier: MIT */
/* The shell's parts among themselves: words.c and line_editor.c are pure (also built for the host). */
#ifndef KERNEL_SHELL_SHELL_INTERNAL_H
#define KERNEL_SHELL_SHELL_INTERNAL_H

#include <kernel/base/error.h>
#include <kernel/base/types.h>

/* ---- Words ---- */

#define SHELL_WORDS_MAX  64
#define SHELL_TEXT_BYTES 2048u

/* One command of a line. Large: 2.5 KiB, so one a stack. */
struct shell_words {
    const char *source; /* the command as it was written, without blanks around it */
    size_t source_bytes;
    int argc;
    char *argv[SHELL_WORDS_MAX + 1]; /* into `text`; NULL at the end */
    char text[SHELL_TEXT_BYTES];
};

/* Takes the next command off `*cursor`: 1, or 0 when only blanks and `;` are left. -EINVAL: a quote is
 * not closed; -E2BIG: too many words or too long; then `source` is the rest of the line and the cursor at
 * its end. */
must_check int shell_words_next(const char **cursor, struct shell_words *words);

enum shell_number { SHELL_NUMBER_ABSENT, SHELL_NUMBER_GOOD, SHELL_NUMBER_BAD };
/* The option "key=…" (the last one counts) as a number with a size suffix within the bounds. */
enum shell_number shell_words_number(int argc, char **argv, const char *key, uint64_t minimum,
                                     uint64_t maximum, uint64_t *value);

/* ---- Line editor ---- */

#define EDITOR_LINE_BYTES   512u
#define EDITOR_HISTORY_SIZE 32u

enum editor_result { EDITOR_MORE, EDITOR_LINE, EDITOR_CANCELLED };

/* One terminal's line. The owner zeroes it, sets `write` and `prompt`, and calls editor_begin. */
struct editor {
    void (*write)(const char *text, size_t bytes);
    /* TAB: completes the first word: the rest to insert, or NULL. Optional. */
    const char *(*complete)(const char *word, size_t bytes);
    const char *prompt;
    uint32_t length, cursor;            /* cursor <= length < EDITOR_LINE_BYTES */
    uint32_t escape;                    /* enum in line_editor.c: how far into an escape sequence */
    uint32_t parameter;                 /* the sequence's number */
    bool ended_with_cr;                 /* swallow the "\n" of "\r\n" */
    uint32_t history_count, history_at; /* at == count: the line being typed */
    char line[EDITOR_LINE_BYTES];       /* terminated when a line is complete */
    char history[EDITOR_HISTORY_SIZE][EDITOR_LINE_BYTES]; /* ring, by count modulo size */
};

/* Prints the prompt and starts an empty line. */
void editor_begin(struct editor *editor);
/* One byte of input. EDITOR_LINE: editor->line is complete and in the history. */
enum editor_result editor_feed(struct editor *editor, uint8_t byte);

#endif
