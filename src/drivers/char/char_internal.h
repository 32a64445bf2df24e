/* SPDX-License-Identifier: MIT */
/* The console's devices among themselves. Each init reports in one log line what it found. */
#ifndef DRIVERS_CHAR_CHAR_INTERNAL_H
#define DRIVERS_CHAR_CHAR_INTERNAL_H

#include <kernel/base/error.h>
#include <kernel/base/types.h>

void serial_init_early(void);
void serial_init(void);
void screen_init(void);
void keyboard_init(void);

struct boot_framebuffer;
/* True with the text screen that the firmware left a VGA in; false without VGA or in a graphics mode. */
bool vga_text_find(struct boot_framebuffer *frame);
/* Before the first cell is written: no cursor but ours, and the first cell is at the top left. */
void vga_text_enter(void);

/* A glyph is 8 pixels wide and 16 high; bit 7 of a row is its leftmost pixel. */
#define FONT_WIDTH  8u
#define FONT_HEIGHT 16u
/* The row of the glyph of `character`; what is not printable ASCII looks like '?'. */
uint8_t font_row(uint8_t character, uint32_t row);

#endif
