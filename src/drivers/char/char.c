/* SPDX-License-Identifier: MIT */
/* Brings up the console's devices. */
#include <drivers/char/char.h>

#include "char_internal.h"

void console_init_early(void)
{
    serial_init_early();
}

void console_init(void)
{
    serial_init();
    screen_init();
    keyboard_init();
}
