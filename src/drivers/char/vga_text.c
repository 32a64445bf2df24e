/* SPDX-License-Identifier: MIT */
/* VGA text mode. A boot loader that says nothing of a screen (PVH has no field for one) may still have been
 * started by a firmware that set up a VGA: the registers tell the mode that it is in. Where there is no VGA
 * each of them reads as all ones, which is a graphics mode. Used once, by screen_init. */
#include "char_internal.h"

#include <arch/boot_info.h>
#include <arch/io.h>
#include <kernel/base/bits.h>

#define MISC_OUTPUT 0x3cc /* as read: bit 0 CRTC at 0x3d4, bit 1 memory enabled */
#define GRAPHICS    0x3ce
#define CRTC        0x3d4

#define GRAPHICS_MISC         0x06 /* bit 0 graphics, bits 3:2 where memory is seen: 3 is 32 KiB at 0xb8000 */
#define CRTC_DISPLAY_END      0x01 /* columns - 1 */
#define CRTC_OVERFLOW         0x07 /* bits 1 and 6: bits 8 and 9 of the last line */
#define CRTC_CHARACTER_HEIGHT 0x09 /* bits 4:0, - 1 */
#define CRTC_CURSOR_START     0x0a /* bit 5: off */
#define CRTC_START_HIGH       0x0c /* which cell is at the top left */
#define CRTC_START_LOW        0x0d
#define CRTC_LAST_LINE        0x12 /* of pixels */
#define CRTC_OFFSET           0x13 /* a row in units of two cells */

#define TEXT_ADDRESS 0xb8000u
#define TEXT_BYTES   KIB(32)

static uint8_t read_register(uint16_t port, uint8_t index)
{
    port_write8(port, index);
    return port_read8(port + 1);
}

static void write_register(uint16_t port, uint8_t index, uint8_t value)
{
    port_write8(port, index);
    port_write8(port + 1, value);
}

static bool is_text_mode(void)
{
    return (port_read8(MISC_OUTPUT) & 0x03) == 0x03 &&
           (read_register(GRAPHICS, GRAPHICS_MISC) & 0x0d) == 0x0c;
}

static uint32_t text_rows(void)
{
    uint8_t overflow = read_register(CRTC, CRTC_OVERFLOW);
    uint32_t last_line =
        read_register(CRTC, CRTC_LAST_LINE) | (overflow & 0x02u) << 7 | (overflow & 0x40u) << 3;
    return (last_line + 1) / ((read_register(CRTC, CRTC_CHARACTER_HEIGHT) & 0x1fu) + 1);
}

bool vga_text_find(struct boot_framebuffer *frame)
{
    if (!is_text_mode())
        return false;
    *frame = (struct boot_framebuffer){
        .address = TEXT_ADDRESS,
        .pitch_bytes = read_register(CRTC, CRTC_OFFSET) * 4u,
        .width = read_register(CRTC, CRTC_DISPLAY_END) + 1u,
        .height = text_rows(),
        .bits_per_pixel = 16,
        .is_text = true,
    };
    return frame->pitch_bytes >= frame->width * 2 && frame->pitch_bytes * frame->height <= TEXT_BYTES;
}

void vga_text_enter(void)
{
    write_register(CRTC, CRTC_CURSOR_START, 0x20);
    write_register(CRTC, CRTC_START_HIGH, 0);
    write_register(CRTC, CRTC_START_LOW, 0);
}
