/* SPDX-License-Identifier: MIT */
/* The screen as a console: a terminal of text cells, drawn either into EGA text memory or, with font.c, into
 * a linear framebuffer.
 *
 * A write changes cells only and arms a one-shot timer; a thread then draws what differs from what the screen
 * shows. So a flood of lines costs one drawing in 20 ms, a log line never waits for a frame buffer, and
 * an idle screen costs nothing. After "PANIC:" neither timer nor thread run: then each write draws.
 *
 * Known to the terminal: \n \r \b, ESC [ K (clears to the end of the line); other escape sequences are
 * dropped, and so are bytes that are not printable ASCII (a UTF-8 character shows as one '?').
 *
 * Locks: the log calls one sink at a time with interrupts off, which guards all but `shown`; `shown` is the
 * drawing thread's (or, in a panic, the only CPU's). The drawing reads cells that a write may be changing: it
 * then draws some of them once more, since that write armed the timer again. */
#include "char_internal.h"

#include <arch/boot_info.h>
#include <arch/clock.h>
#include <arch/mmu.h>
#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/string.h>
#include <kernel/timer.h>
#include <kernel/work.h>

#define DRAW_DELAY_NS (20 * NSEC_PER_MSEC)
#define CELL_INVERSE  0x80 /* the cursor's cell */
#define CELL_UNKNOWN  0xff /* in `shown`: draw it whatever it is */
#define EGA_NORMAL    0x0700
#define EGA_INVERSE   0x7000
#define COLOUR_TEXT   0xd0d0d0u
#define COLOUR_GROUND 0x101018u

enum escape_state { ESCAPE_NONE, ESCAPE_STARTED, ESCAPE_BRACKET };

/* Lock legend: I constant after screen_init; w the writer (the log's lock); d the drawer; a atomic. */
static struct {
    struct boot_framebuffer frame;       /* I */
    volatile uint8_t *pixels;            /* I: or EGA cells */
    uint32_t columns, rows;              /* I */
    uint32_t text_colour, ground_colour; /* I: in the frame's format */
    uint64_t pair_colours[4];            /* I: of two pixels; bit 1 of the index: the left one is lit */
    uint8_t *cells;                      /* w: rows in a ring that begins at first_row */
    uint8_t *shown;                      /* d: rows as on the screen */
    uint32_t first_row, row, column;     /* w: column == columns: wraps before the next character */
    uint32_t escape;                     /* w */
    bool is_panicking;                   /* w */
    uint32_t is_armed;                   /* a: the timer or the work is pending */
    struct timer timer;
    struct work work;
} screen;

/* ---- The terminal ---- */

static uint8_t *row_cells(uint32_t row)
{
    assert(row < screen.rows && screen.first_row < screen.rows);
    uint32_t at = screen.first_row + row;
    return screen.cells + (at < screen.rows ? at : at - screen.rows) * screen.columns;
}

/* Scrolling moves no text: the row that leaves at the top comes back, cleared, at the bottom. */
static void new_line(void)
{
    assert(screen.row < screen.rows);
    screen.column = 0;
    if (screen.row + 1 < screen.rows) {
        screen.row++;
        return;
    }
    memset(row_cells(0), ' ', screen.columns);
    screen.first_row = screen.first_row + 1 == screen.rows ? 0 : screen.first_row + 1;
}

static void put_character(uint8_t byte)
{
    if (screen.column == screen.columns)
        new_line();
    assert(screen.column < screen.columns && screen.row < screen.rows);
    row_cells(screen.row)[screen.column++] = byte;
}

/* ECMA-48, 5.4: a control sequence ends with a byte of 0x40..0x7e. */
static void put_escape(uint8_t byte)
{
    if (screen.escape == ESCAPE_STARTED) {
        screen.escape = byte == '[' ? ESCAPE_BRACKET : ESCAPE_NONE;
        return;
    }
    if (byte < 0x40 || byte > 0x7e)
        return;
    screen.escape = ESCAPE_NONE;
    if (byte == 'K')
        memset(row_cells(screen.row) + screen.column, ' ', screen.columns - screen.column);
}

static void put_byte(uint8_t byte)
{
    if (screen.escape != ESCAPE_NONE)
        put_escape(byte);
    else if (byte == '\n')
        new_line();
    else if (byte == '\r')
        screen.column = 0;
    else if (byte == '\b')
        screen.column -= screen.column > 0;
    else if (byte == 0x1b)
        screen.escape = ESCAPE_STARTED;
    else if (byte >= 0xc0) /* the first byte of a UTF-8 character */
        put_character('?');
    else if (byte >= ' ' && byte < 0x7f)
        put_character(byte);
}

/* ---- Drawing ---- */

static uint32_t colour_of(bool is_lit)
{
    return is_lit ? screen.text_colour : screen.ground_colour;
}

/* One row of a glyph in pixels of four bytes, two in a store: `bits` has the leftmost in bit 7. */
static void draw_bits_32(volatile uint8_t *to, uint32_t bits)
{
    volatile uint64_t *pair = (volatile uint64_t *)to;
    for (uint32_t x = 0; x < FONT_WIDTH; x += 2)
        *pair++ = screen.pair_colours[bits >> (FONT_WIDTH - 2 - x) & 3];
}

static void draw_bits_24(volatile uint8_t *to, uint32_t bits)
{
    for (uint32_t x = 0; x < FONT_WIDTH; x++, to += 3) {
        uint32_t colour = colour_of(bits & (0x80u >> x));
        to[0] = (uint8_t)colour;
        to[1] = (uint8_t)(colour >> 8);
        to[2] = (uint8_t)(colour >> 16);
    }
}

static void draw_pixels(uint32_t row, uint32_t column, uint8_t cell)
{
    uint32_t bytes = screen.frame.bits_per_pixel / 8;
    uint32_t inverse = cell & CELL_INVERSE ? 0xff : 0;
    volatile uint8_t *at = screen.pixels + (uint64_t)row * FONT_HEIGHT * screen.frame.pitch_bytes +
                           (uint64_t)column * FONT_WIDTH * bytes;
    assert((row + 1) * FONT_HEIGHT <= screen.frame.height && (column + 1) * FONT_WIDTH <= screen.frame.width);
    for (uint32_t y = 0; y < FONT_HEIGHT; y++, at += screen.frame.pitch_bytes) {
        uint32_t bits = font_row(cell & 0x7f, y) ^ inverse;
        if (bytes == 4)
            draw_bits_32(at, bits);
        else
            draw_bits_24(at, bits);
    }
}

static void draw_ega(uint32_t row, uint32_t column, uint8_t cell)
{
    volatile uint16_t *at = (volatile uint16_t *)(screen.pixels + row * screen.frame.pitch_bytes) + column;
    *at = (uint16_t)((cell & CELL_INVERSE ? EGA_INVERSE : EGA_NORMAL) | (cell & 0x7f));
}

/* Only what differs: frame buffer memory is slow, and most of a screen stays as it is. */
static void draw_row(uint32_t row)
{
    const uint8_t *cells = row_cells(row);
    uint8_t *shown = screen.shown + row * screen.columns;
    for (uint32_t column = 0; column < screen.columns; column++) {
        uint8_t cell = read_once(cells[column]);
        if (row == read_once(screen.row) && column == read_once(screen.column))
            cell |= CELL_INVERSE;
        if (shown[column] == cell)
            continue;
        shown[column] = cell;
        if (screen.frame.is_text)
            draw_ega(row, column, cell);
        else
            draw_pixels(row, column, cell);
    }
}

static void draw(void)
{
    for (uint32_t row = 0; row < screen.rows; row++)
        draw_row(row);
}

static void draw_later(struct work *work)
{
    /* First: a write from now on arms again. Pairs with the exchange in screen_write. */
    __atomic_store_n(&screen.is_armed, 0, __ATOMIC_SEQ_CST);
    draw();
}

/* Interrupt context: too much to draw here. */
static void draw_due(struct timer *timer)
{
    work_queue(&screen.work);
}

static void screen_write(struct log_sink *sink, const char *text, size_t bytes)
{
    if (bytes >= 6 && memcmp(text, "PANIC:", 6) == 0)
        screen.is_panicking = true;
    for (size_t i = 0; i < bytes; i++)
        put_byte((uint8_t)text[i]);
    if (screen.is_panicking)
        draw();
    else if (!__atomic_exchange_n(&screen.is_armed, 1, __ATOMIC_SEQ_CST))
        timer_start(&screen.timer, clock_ns() + DRAW_DELAY_NS);
}

static struct log_sink screen_sink = {.write = screen_write};

/* ---- Setting up ---- */

static uint32_t frame_colour(const struct boot_framebuffer *frame, uint32_t rgb)
{
    return (rgb >> 16 & 0xff) << frame->red_shift | (rgb >> 8 & 0xff) << frame->green_shift |
           (rgb & 0xff) << frame->blue_shift;
}

/* What the boot loader says of the frame is input: checked, never asserted. */
static bool set_geometry(const struct boot_framebuffer *frame)
{
    screen.columns = frame->is_text ? frame->width : frame->width / FONT_WIDTH;
    screen.rows = frame->is_text ? frame->height : frame->height / FONT_HEIGHT;
    if (screen.columns == 0 || screen.rows == 0 ||
        (!frame->is_text && frame->bits_per_pixel != 32 && frame->bits_per_pixel != 24)) {
        log_warning("screen", "a frame buffer of %u x %u with %u bits a pixel is not used", frame->width,
                    frame->height, frame->bits_per_pixel);
        return false;
    }
    return true;
}

static bool allocate(const struct boot_framebuffer *frame)
{
    size_t cells = (size_t)screen.columns * screen.rows;
    screen.pixels = mmu_map_framebuffer(frame->address, (size_t)frame->pitch_bytes * frame->height);
    screen.cells = heap_alloc(cells);
    screen.shown = heap_alloc(cells);
    if (!screen.pixels || !screen.cells || !screen.shown) {
        log_warning("screen", "no memory for %u x %u characters", screen.columns, screen.rows);
        return false;
    }
    memset(screen.cells, ' ', cells);
    memset(screen.shown, CELL_UNKNOWN, cells);
    return true;
}

static bool find_frame(void)
{
    screen.frame = boot_info.framebuffer;
    return screen.frame.address != 0 || vga_text_find(&screen.frame);
}

void screen_init(void)
{
    const struct boot_framebuffer *frame = &screen.frame;
    if (!find_frame()) {
        log_info("screen", "none");
        return;
    }
    if (!set_geometry(frame) || !allocate(frame))
        return;
    screen.text_colour = frame_colour(frame, COLOUR_TEXT);
    screen.ground_colour = frame_colour(frame, COLOUR_GROUND);
    for (unsigned i = 0; i < ARRAY_SIZE(screen.pair_colours); i++)
        screen.pair_colours[i] = colour_of(i & 2) | (uint64_t)colour_of(i & 1) << 32;
    screen.timer.expired = draw_due;
    screen.work.run = draw_later;
    if (frame->is_text)
        vga_text_enter();
    log_info("screen", "%u x %u characters, %s", screen.columns, screen.rows,
             frame->is_text ? "EGA text" : "frame buffer");
    log_sink_add(&screen_sink);
}
