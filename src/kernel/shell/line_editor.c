/* SPDX-License-Identifier: MIT */
/* One line of input with editing and history, for any terminal that knows "\b", "\r" and ESC [ K. Pure: bytes
 * in, bytes out; the caller serialises.
 *
 * Keys: arrows, Home, End, Delete, Backspace, TAB; ^A ^E start and end, ^U ^K erase before and behind,
 * ^W erases a word, ^L redraws, ^C cancels. Other control characters and unknown escape sequences are
 * dropped. Bytes of 0x80 and above (UTF-8) are taken as they are. */
#include "shell_internal.h"

#include <kernel/base/assert.h>
#include <kernel/shell.h>
#include <kernel/string.h>

#define CONTROL(letter) ((letter) - '@')
#define KEY_ESCAPE      0x1b
#define KEY_DELETE      0x7f

enum escape_state { ESCAPE_NONE, ESCAPE_STARTED, ESCAPE_BRACKET };

static void put(struct editor *editor, const char *text, size_t bytes)
{
    if (bytes > 0)
        editor->write(text, bytes);
}

static void put_backspaces(struct editor *editor, uint32_t count)
{
    static const char backspaces[] = "\b\b\b\b\b\b\b\b\b\b\b\b\b\b\b\b";
    for (; count > 0; count -= MIN(count, 16u))
        put(editor, backspaces, MIN(count, 16u));
}

/* Prints what is behind the cursor, clears the rest of the terminal's line, moves back. */
static void redraw_tail(struct editor *editor)
{
    put(editor, editor->line + editor->cursor, editor->length - editor->cursor);
    put(editor, "\x1b[K", 3);
    put_backspaces(editor, editor->length - editor->cursor);
}

static void redraw_all(struct editor *editor)
{
    put(editor, "\r", 1);
    put(editor, editor->prompt, strlen(editor->prompt));
    put(editor, editor->line, editor->cursor);
    redraw_tail(editor);
}

static void move_to(struct editor *editor, uint32_t cursor)
{
    assert(cursor <= editor->length);
    if (cursor < editor->cursor)
        put_backspaces(editor, editor->cursor - cursor);
    else
        put(editor, editor->line + editor->cursor, cursor - editor->cursor);
    editor->cursor = cursor;
}

/* Removes [from, to) and leaves the cursor at `from`. */
static void erase(struct editor *editor, uint32_t from, uint32_t to)
{
    assert(from <= to && to <= editor->length);
    if (from == to)
        return;
    move_to(editor, from);
    memmove(editor->line + from, editor->line + to, editor->length - to);
    editor->length -= to - from;
    redraw_tail(editor);
}

/* What does not fit is not taken: the terminal and the line stay the same. */
static void insert(struct editor *editor, const char *text, uint32_t bytes)
{
    if (editor->length + bytes >= EDITOR_LINE_BYTES)
        return;
    memmove(editor->line + editor->cursor + bytes, editor->line + editor->cursor,
            editor->length - editor->cursor);
    memcpy(editor->line + editor->cursor, text, bytes);
    editor->length += bytes;
    put(editor, editor->line + editor->cursor, bytes);
    editor->cursor += bytes;
    assert(editor->cursor <= editor->length && editor->length < EDITOR_LINE_BYTES);
    if (editor->cursor < editor->length) /* at the end, the usual case, the text itself was enough */
        redraw_tail(editor);
}

static uint32_t word_start(const struct editor *editor)
{
    uint32_t at = editor->cursor;
    while (at > 0 && editor->line[at - 1] == ' ')
        at--;
    while (at > 0 && editor->line[at - 1] != ' ')
        at--;
    return at;
}

static void show_history(struct editor *editor, uint32_t at)
{
    assert(at <= editor->history_count && editor->history_count - at <= EDITOR_HISTORY_SIZE);
    const char *line = at < editor->history_count ? editor->history[at % EDITOR_HISTORY_SIZE] : "";
    editor->history_at = at;
    erase(editor, 0, editor->length);
    insert(editor, line, (uint32_t)strlen(line));
}

/* history_count runs on for ever; the ring holds the last EDITOR_HISTORY_SIZE. */
static void history_step(struct editor *editor, int step)
{
    uint32_t oldest =
        editor->history_count > EDITOR_HISTORY_SIZE ? editor->history_count - EDITOR_HISTORY_SIZE : 0;
    if (step < 0 && editor->history_at > oldest)
        show_history(editor, editor->history_at - 1);
    else if (step > 0 && editor->history_at < editor->history_count)
        show_history(editor, editor->history_at + 1);
}

/* Empty lines and repetitions are not kept. */
static void history_add(struct editor *editor)
{
    if (editor->length == 0)
        return;
    if (editor->history_count > 0 &&
        strcmp(editor->line, editor->history[(editor->history_count - 1) % EDITOR_HISTORY_SIZE]) == 0)
        return;
    memcpy(editor->history[editor->history_count++ % EDITOR_HISTORY_SIZE], editor->line, editor->length + 1);
}

/* Only the first word: commands know their own arguments. */
static void complete_word(struct editor *editor)
{
    const char *rest;
    if (!editor->complete || memchr(editor->line, ' ', editor->cursor))
        return;
    rest = editor->complete(editor->line, editor->cursor);
    if (rest)
        insert(editor, rest, (uint32_t)strlen(rest));
}

static void escape_key(struct editor *editor, uint8_t final)
{
    switch (final) {
    case 'A':
        history_step(editor, -1);
        break;
    case 'B':
        history_step(editor, 1);
        break;
    case 'C':
        move_to(editor, MIN(editor->cursor + 1, editor->length));
        break;
    case 'D':
        move_to(editor, editor->cursor - MIN(editor->cursor, 1u));
        break;
    case 'H':
        move_to(editor, 0);
        break;
    case 'F':
        move_to(editor, editor->length);
        break;
    case '~': /* VT220 keys by number */
        if (editor->parameter == 3)
            erase(editor, editor->cursor, MIN(editor->cursor + 1, editor->length));
        else if (editor->parameter == 1 || editor->parameter == 7)
            move_to(editor, 0);
        else if (editor->parameter == 4 || editor->parameter == 8)
            move_to(editor, editor->length);
        break;
    default:
        break;
    }
}

/* ESC [ digits final, or ESC O final (ECMA-48, 5.4; final bytes are 0x40..0x7e). */
static void feed_escape(struct editor *editor, uint8_t byte)
{
    if (editor->escape == ESCAPE_STARTED) {
        editor->escape = byte == '[' || byte == 'O' ? ESCAPE_BRACKET : ESCAPE_NONE;
        editor->parameter = 0;
    } else if (byte >= '0' && byte <= '9') {
        editor->parameter = (editor->parameter * 10 + byte - '0') % 1000;
    } else if (byte >= 0x40 && byte <= 0x7e) {
        editor->escape = ESCAPE_NONE;
        escape_key(editor, byte);
    } else if (byte < 0x20) {
        editor->escape = ESCAPE_NONE;
    }
}

static void feed_control(struct editor *editor, uint8_t byte)
{
    switch (byte) {
    case CONTROL('A'):
        move_to(editor, 0);
        break;
    case CONTROL('E'):
        move_to(editor, editor->length);
        break;
    case CONTROL('H'):
    case KEY_DELETE:
        erase(editor, editor->cursor - MIN(editor->cursor, 1u), editor->cursor);
        break;
    case CONTROL('I'):
        complete_word(editor);
        break;
    case CONTROL('K'):
        erase(editor, editor->cursor, editor->length);
        break;
    case CONTROL('L'):
        redraw_all(editor);
        break;
    case CONTROL('U'):
        erase(editor, 0, editor->cursor);
        break;
    case CONTROL('W'):
        erase(editor, word_start(editor), editor->cursor);
        break;
    case KEY_ESCAPE:
        editor->escape = ESCAPE_STARTED;
        break;
    default:
        break;
    }
}

/* Leaves the cursor at the line's end, so that output begins below all of it. */
static enum editor_result finish(struct editor *editor, uint8_t byte)
{
    move_to(editor, editor->length);
    put(editor, "\n", 1);
    editor->ended_with_cr = byte == '\r';
    editor->line[editor->length] = '\0';
    history_add(editor);
    return EDITOR_LINE;
}

void editor_begin(struct editor *editor)
{
    assert(editor->write != NULL && editor->prompt != NULL);
    editor->length = editor->cursor = 0;
    editor->escape = ESCAPE_NONE;
    editor->history_at = editor->history_count;
    put(editor, editor->prompt, strlen(editor->prompt));
}

enum editor_result editor_feed(struct editor *editor, uint8_t byte)
{
    bool is_second_half = byte == '\n' && editor->ended_with_cr;
    editor->ended_with_cr = false;
    if (is_second_half)
        return EDITOR_MORE;
    if (byte == '\r' || byte == '\n')
        return finish(editor, byte);
    if (byte == CONTROL('C')) {
        put(editor, "^C\n", 3);
        return EDITOR_CANCELLED;
    }
    if (editor->escape != ESCAPE_NONE)
        feed_escape(editor, byte);
    else if (byte < ' ' || byte == KEY_DELETE)
        feed_control(editor, byte);
    else
        insert(editor, (const char *)&byte, 1);
    assert(editor->cursor <= editor->length && editor->length < EDITOR_LINE_BYTES);
    return EDITOR_MORE;
}
