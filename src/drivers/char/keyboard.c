/* SPDX-License-Identifier: MIT */
/* The PS/2 keyboard: scan code set 1 (the controller translates), US layout, by interrupt. What a key sends
 * is what a serial terminal would send, so the shell knows one kind of input.
 *
 * The handler runs with interrupts off on one CPU at a time and is the only one that touches the key state.
 * [IBM PS/2 Technical Reference, Keyboard/Auxiliary Device Controller] */
#include "char_internal.h"

#include <arch/clock.h>
#include <arch/io.h>
#include <kernel/base/assert.h>
#include <kernel/console.h>
#include <kernel/irq.h>
#include <kernel/log.h>

#define KEYBOARD_ISA_IRQ 1
#define PORT_DATA        0x60
#define PORT_STATUS      0x64 /* read */
#define PORT_COMMAND     0x64 /* written */
#define STATUS_OUTPUT    0x01 /* a byte waits in PORT_DATA */
#define STATUS_INPUT     0x02 /* the controller has not taken the last byte yet */
#define STATUS_AUXILIARY 0x20 /* the byte is the mouse's */
#define STATUS_NOTHING   0xff /* no controller at all */

#define COMMAND_READ_CONFIG     0x20
#define COMMAND_WRITE_CONFIG    0x60
#define COMMAND_ENABLE_KEYBOARD 0xae
#define CONFIG_INTERRUPT        0x01
#define CONFIG_CLOCK_OFF        0x10
#define CONFIG_TRANSLATE        0x40

#define CODE_RELEASE  0x80
#define CODE_EXTENDED 0xe0
#define WAIT_NS       (2 * NSEC_PER_MSEC) /* for one step of the controller */

enum code {
    CODE_CONTROL = 0x1d,
    CODE_SHIFT_LEFT = 0x2a,
    CODE_SHIFT_RIGHT = 0x36,
    CODE_ALT = 0x38,
    CODE_CAPS_LOCK = 0x3a,
};

/* By scan code 0x00..0x39; 0: sends nothing. */
static const char plain_keys[] = "\0\x1b"
                                 "1234567890-=\x7f\tqwertyuiop[]\r\0asdfghjkl;'`\0\\zxcvbnm,./\0*\0 ";
static const char shift_keys[] = "\0\x1b"
                                 "!@#$%^&*()_+\x7f\tQWERTYUIOP{}\r\0ASDFGHJKL:\"~\0|ZXCVBNM<>?\0*\0 ";
_Static_assert(sizeof(plain_keys) == 0x3a + 1 && sizeof(shift_keys) == sizeof(plain_keys), "one a scan code");

static struct {
    bool shift_left, shift_right, control, caps_lock, is_extended;
} keys;

static void send(const char *text)
{
    assert(text != NULL);
    for (; *text; text++)
        console_input((uint8_t)*text);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Keys behind CODE_EXTENDED, as a VT220 sends them. */
static void press_extended(uint8_t code)
{
    static const struct {
        uint8_t code;
        const char *text;
    } sequences[] = {{0x48, "\x1b[A"},  {0x50, "\x1b[B"}, {0x4d, "\x1b[C"},
                     {0x4b, "\x1b[D"},  {0x47, "\x1b[H"}, {0x4f, "\x1b[F"},
                     {0x53, "\x1b[3~"}, {0x1c, "\r"},     {0x35, "/"}};
    for (size_t i = 0; i < ARRAY_SIZE(sequences); i++)
        if (sequences[i].code == code)
            send(sequences[i].text);
}

static void press(uint8_t code)
{
    bool is_shifted = keys.shift_left || keys.shift_right;
    char key;
    if (code >= sizeof(plain_keys) - 1)
        return;
    if (is_letter(plain_keys[code]) && keys.caps_lock)
        is_shifted = !is_shifted;
    key = is_shifted ? shift_keys[code] : plain_keys[code];
    if (keys.control && key >= '@' && key <= '~')
        key &= 0x1f;
    if (key)
        console_input((uint8_t)key);
}

/* True when the code was a modifier's. */
static bool track_modifier(uint8_t code, bool is_pressed)
{
    switch (code) {
    case CODE_SHIFT_LEFT:
        keys.shift_left = is_pressed;
        return true;
    case CODE_SHIFT_RIGHT:
        keys.shift_right = is_pressed;
        return true;
    case CODE_CONTROL:
        keys.control = is_pressed;
        return true;
    case CODE_CAPS_LOCK:
        keys.caps_lock ^= is_pressed;
        return true;
    case CODE_ALT:
        return true;
    default:
        return false;
    }
}

static void take_code(uint8_t byte)
{
    bool is_pressed = !(byte & CODE_RELEASE), was_extended = keys.is_extended;
    uint8_t code = byte & (uint8_t)~CODE_RELEASE;
    keys.is_extended = byte == CODE_EXTENDED;
    if (keys.is_extended)
        return;
    /* The shifts that some extended keys fake come with CODE_EXTENDED; the right Control is real. */
    if (was_extended && code != CODE_CONTROL) {
        if (is_pressed)
            press_extended(code);
        return;
    }
    if (!track_modifier(code, is_pressed) && is_pressed)
        press(code);
}

/* Edge-triggered: the handler leaves nothing in the controller, or no edge would ever come again. */
static bool keyboard_interrupt(void *context)
{
    bool was_ours = false;
    uint8_t status;
    while ((status = port_read8(PORT_STATUS)) & STATUS_OUTPUT && status != STATUS_NOTHING) {
        uint8_t byte = port_read8(PORT_DATA);
        was_ours = true;
        if (!(status & STATUS_AUXILIARY))
            take_code(byte);
    }
    return was_ours;
}

/* ---- The controller ---- */

/* Bounded: a controller that does not answer must not hold up the boot. */
static bool wait_status(uint8_t mask, uint8_t value)
{
    uint64_t deadline_ns = clock_ns() + WAIT_NS;
    while ((port_read8(PORT_STATUS) & mask) != value)
        if (clock_ns() > deadline_ns)
            return false;
    return true;
}

static bool write_port(uint16_t port, uint8_t value)
{
    if (!wait_status(STATUS_INPUT, 0))
        return false;
    port_write8(port, value);
    return true;
}

/* Bytes from before our time; bounded, since a key held down makes new ones. */
static void drain_output(void)
{
    for (int i = 0; i < 32 && port_read8(PORT_STATUS) & STATUS_OUTPUT; i++)
        (void)port_read8(PORT_DATA);
}

/* Firmware left the keyboard itself scanning; what must be right is the controller's configuration. */
static bool enable_controller(void)
{
    if (port_read8(PORT_STATUS) == STATUS_NOTHING)
        return false;
    drain_output();
    if (!write_port(PORT_COMMAND, COMMAND_READ_CONFIG) || !wait_status(STATUS_OUTPUT, STATUS_OUTPUT))
        return false;
    uint8_t config = port_read8(PORT_DATA);
    config = (config | CONFIG_INTERRUPT | CONFIG_TRANSLATE) & (uint8_t)~CONFIG_CLOCK_OFF;
    return write_port(PORT_COMMAND, COMMAND_WRITE_CONFIG) && write_port(PORT_DATA, config) &&
           write_port(PORT_COMMAND, COMMAND_ENABLE_KEYBOARD);
}

void keyboard_init(void)
{
    static struct irq *irq;
    int error;
    if (!enable_controller()) {
        log_info("keyboard", "no PS/2 controller");
        return;
    }
    error = irq_attach_isa(KEYBOARD_ISA_IRQ, keyboard_interrupt, NULL, "keyboard", &irq);
    if (error) {
        log_warning("keyboard", "the interrupt line cannot be had: %s", error_name(error));
        return;
    }
    keyboard_interrupt(NULL); /* a byte that came before now made its edge already */
    log_info("keyboard", "PS/2, US layout");
}
