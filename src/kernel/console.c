/* SPDX-License-Identifier: MIT */
/* Console input: a ring of bytes between the input drivers' interrupt handlers and the one reader, the shell.
 *
 * console_input: any context. console_read: thread context. One irq-safe lock; the wait queue's lock is
 * taken after it was released, so there is no order between them. */
#include <kernel/console.h>

#include <kernel/base/assert.h>
#include <kernel/spinlock.h>
#include <kernel/wait.h>

#define CONSOLE_INPUT_BYTES 1024u /* a power of two: indices run freely and are masked */
#define CONTROL_C           3

_Static_assert((CONSOLE_INPUT_BYTES & (CONSOLE_INPUT_BYTES - 1)) == 0, "indices are masked");

/* Lock legend: l lock, peeked at without it where that is said. */
static struct {
    struct spinlock lock;
    struct wait_queue readers;
    uint32_t head, tail;                /* l: next to read, next to write */
    bool is_interrupted;                /* a: ^C came */
    uint8_t bytes[CONSOLE_INPUT_BYTES]; /* l */
} input = {.lock = SPINLOCK_INIT("console_input"), .readers = WAIT_QUEUE_INIT(input.readers)};

void console_input(uint8_t byte)
{
    uint64_t flags = spin_lock_irq(&input.lock);
    if (byte == CONTROL_C) {
        input.is_interrupted = true;
        input.head = input.tail;
    }
    if (input.tail - input.head < CONSOLE_INPUT_BYTES)
        input.bytes[input.tail++ & (CONSOLE_INPUT_BYTES - 1)] = byte;
    spin_unlock_irq(&input.lock, flags);
    wait_wake(&input.readers, 1);
}

static bool take(uint8_t *byte)
{
    SPIN_SCOPED_IRQ(&input.lock);
    assert(input.tail - input.head <= CONSOLE_INPUT_BYTES);
    if (input.head == input.tail)
        return false;
    *byte = input.bytes[input.head++ & (CONSOLE_INPUT_BYTES - 1)];
    return true;
}

int console_read(void)
{
    uint8_t byte = 0;
    wait_event(&input.readers, take(&byte));
    return byte;
}

/* Its byte goes with it, so that the next reader does not see a ^C that was meant for a command. */
bool console_take_interrupt(void)
{
    if (likely(!read_once(input.is_interrupted)))
        return false;
    SPIN_SCOPED_IRQ(&input.lock);
    bool was_interrupted = input.is_interrupted;
    input.is_interrupted = false;
    if (input.head != input.tail && input.bytes[input.head & (CONSOLE_INPUT_BYTES - 1)] == CONTROL_C)
        input.head++;
    return was_interrupted;
}
