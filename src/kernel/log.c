/* SPDX-License-Identifier: MIT */
/* The log ring and the consoles.
 *
 * Ring: records of {u16 length, u8 level, text}, byte-wise in a buffer whose size is a power of two; `head`
 * and `tail` count bytes for ever and are masked at use. A new record pushes out the oldest ones. Lines of
 * before the first sink stay in it and are replayed to each sink that is added.
 *
 * Lock: one, a leaf, safe in interrupts; it covers the ring and the sinks, so that lines do not mix. It is
 * not taken in two cases: after log_enter_panic, since its holder may have been stopped; and when this CPU
 * holds it already, which is an exception or NMI in the middle of a line. */
#include <arch/clock.h>
#include <kernel/base/assert.h>
#include <kernel/base/error.h>
#include <kernel/log.h>
#include <kernel/printf.h>
#include <kernel/spinlock.h>
#include <kernel/string.h>
#include <kernel/thread.h>

#define RING_BYTES KIB(128)
#define LINE_BYTES 512u /* with the prefix and the terminator; longer lines end in "..." */

struct record {
    uint16_t length;
    uint8_t level;
} packed;

_Static_assert((RING_BYTES & (RING_BYTES - 1)) == 0, "positions are masked");
_Static_assert(LINE_BYTES + sizeof(struct record) < RING_BYTES, "a line fits");

/* Legend: l the lock (or nobody else runs); a atomic. The debugger reads it by these names. */
struct log_ring {
    struct spinlock lock;
    uint32_t owner_cpu_plus_1;         /* l: 0 while free */
    bool is_panicking;                 /* a: set once */
    bool is_mid_line;                  /* l: the consoles' last byte was not a newline */
    uint32_t level;                    /* a: enum log_level, what the consoles show */
    struct log_sink *sinks;            /* l: in the order in which they were added */
    uint64_t head, tail;               /* l: bytes ever written; first byte still held */
    char bytes[RING_BYTES];            /* l */
    char output[CONSOLE_OUTPUT_BYTES]; /* l: console_printf's text */
};

struct log_ring log_ring = {.lock = SPINLOCK_INIT("log"), .level = LOG_INFO};

static const char *const level_names[] = {"error", "warning", "info", "debug", "trace"};

struct log_hold {
    uint64_t flags;
    bool is_locked;
};

static struct log_hold log_lock(void)
{
    struct log_hold hold = {.flags = interrupts_save()};
    uint32_t me = cpu_id() + 1;
    if (!read_once(log_ring.is_panicking) && read_once(log_ring.owner_cpu_plus_1) != me) {
        uint64_t inner = spin_lock_irq(&log_ring.lock);
        assert(!interrupts_were_enabled(inner)); /* so hold.flags is what unlock restores */
        write_once(log_ring.owner_cpu_plus_1, me);
        hold.is_locked = true;
    }
    return hold;
}

static void log_unlock(struct log_hold hold)
{
    if (hold.is_locked) {
        assert(log_ring.owner_cpu_plus_1 == cpu_id() + 1);
        write_once(log_ring.owner_cpu_plus_1, 0);
        spin_unlock_irq(&log_ring.lock, hold.flags);
    } else {
        interrupts_restore(hold.flags);
    }
}

static void ring_copy_in(uint64_t at, const void *from, size_t bytes)
{
    size_t offset = at & (RING_BYTES - 1), first = MIN(bytes, RING_BYTES - offset);
    memcpy(log_ring.bytes + offset, from, first);
    memcpy(log_ring.bytes, (const char *)from + first, bytes - first);
}

static void ring_copy_out(uint64_t at, void *to, size_t bytes)
{
    size_t offset = at & (RING_BYTES - 1), first = MIN(bytes, RING_BYTES - offset);
    memcpy(to, log_ring.bytes + offset, first);
    memcpy((char *)to + first, log_ring.bytes, bytes - first);
}

static void ring_append(enum log_level level, const char *text, size_t length)
{
    struct record record = {.length = (uint16_t)length, .level = (uint8_t)level};
    while (log_ring.head + sizeof(record) + length - log_ring.tail > RING_BYTES) {
        struct record oldest;
        ring_copy_out(log_ring.tail, &oldest, sizeof(oldest));
        log_ring.tail += sizeof(oldest) + oldest.length;
    }
    ring_copy_in(log_ring.head, &record, sizeof(record));
    ring_copy_in(log_ring.head + sizeof(record), text, length);
    log_ring.head += sizeof(record) + length;
}

/* Copies the first record at or behind `*position` into `line` and moves `*position` past it; false at the
 * end. */
static bool ring_read(uint64_t *position, struct record *record, char line[LINE_BYTES])
{
    if (*position < log_ring.tail)
        *position = log_ring.tail;
    if (*position >= log_ring.head)
        return false;
    ring_copy_out(*position, record, sizeof(*record));
    size_t length = MIN((size_t)record->length, (size_t)LINE_BYTES - 1);
    ring_copy_out(*position + sizeof(*record), line, length);
    line[length] = '\0';
    *position += sizeof(*record) + record->length;
    return true;
}

static void sinks_write(const char *text, size_t bytes)
{
    if (bytes == 0)
        return;
    for (struct log_sink *sink = log_ring.sinks; sink; sink = sink->next)
        sink->write(sink, text, bytes);
    log_ring.is_mid_line = text[bytes - 1] != '\n';
}

/* A log line begins at the left margin, also behind a prompt or half a line of a command. */
static void sinks_write_line(char line[LINE_BYTES + 1], size_t length)
{
    if (log_ring.is_mid_line)
        sinks_write("\n", 1);
    line[length] = '\n';
    sinks_write(line, length + 1);
}

/* Devices and disks give us names: nothing in them may move the cursor or fake a second line. */
static void replace_control_bytes(char *text, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = '?';
}

static size_t format_line(char line[LINE_BYTES], enum log_level level, const char *subsystem,
                          const char *format, va_list arguments)
{
    uint64_t usec = clock_ns() / NSEC_PER_USEC;
    size_t prefix =
        (size_t)snprintf(line, LINE_BYTES, "[%4llu.%06llu] %.32s: %s%s", (unsigned long long)(usec / 1000000),
                         (unsigned long long)(usec % 1000000), subsystem,
                         level <= LOG_WARNING ? level_names[level] : "", level <= LOG_WARNING ? ": " : "");
    size_t length = prefix + (size_t)vsnprintf(line + prefix, LINE_BYTES - prefix, format, arguments);
    if (length >= LINE_BYTES) {
        length = LINE_BYTES - 1;
        memcpy(line + length - 3, "...", 3);
    }
    replace_control_bytes(line, length);
    return length;
}

static void log_line(enum log_level level, const char *subsystem, const char *format, va_list arguments)
{
    char line[LINE_BYTES + 1];
    assert(level <= LOG_TRACE);
    size_t length = format_line(line, level, subsystem, format, arguments);
    struct log_hold hold = log_lock();
    ring_append(level, line, length);
    if (level <= log_ring.level)
        sinks_write_line(line, length);
    log_unlock(hold);
}

void log_write(enum log_level level, const char *subsystem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_line(level, subsystem, format, arguments);
    va_end(arguments);
}

void log_vwrite(enum log_level level, const char *subsystem, const char *format, va_list arguments)
{
    log_line(level, subsystem, format, arguments);
}

void log_sink_add(struct log_sink *sink)
{
    char line[LINE_BYTES + 1];
    struct record record;
    uint64_t position = 0;
    assert(sink->write != NULL);
    struct log_hold hold = log_lock();
    while (ring_read(&position, &record, line)) {
        if (record.level > log_ring.level)
            continue;
        size_t length = strlen(line);
        line[length] = '\n';
        sink->write(sink, line, length + 1);
    }
    struct log_sink **at = &log_ring.sinks;
    while (*at)
        at = &(*at)->next;
    *at = sink;
    log_unlock(hold);
}

void log_set_level(enum log_level level)
{
    assert(level <= LOG_TRACE);
    write_once(log_ring.level, level);
}

int log_level_parse(const char *text, enum log_level *level)
{
    for (unsigned i = 0; i < ARRAY_SIZE(level_names); i++)
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return 0;
        }
    return -EINVAL;
}

/* Where the caller's output goes instead of to the consoles, or NULL. Not for what an interrupt, an exception
 * or a holder of a spinlock prints: a redirection may sleep. */
static struct console_output *redirection(void)
{
    struct thread *self = thread_current();
    bool may_sleep = interrupts_are_enabled() && preempt_is_enabled() && cpu_read(interrupt_depth) == 0;
    return self && may_sleep && !log_is_in_panic() ? self->output : NULL;
}

struct console_output *console_redirect(struct console_output *output)
{
    struct console_output *before = thread_current()->output;
    thread_current()->output = output;
    return before;
}

static void redirected_printf(struct console_output *output, const char *format, va_list arguments)
{
    int length = vsnprintf(output->text, sizeof(output->text), format, arguments);
    output->write(output, output->text, MIN((size_t)length, sizeof(output->text) - 1));
}

void console_write(const char *text, size_t bytes)
{
    struct console_output *output = redirection();
    if (output) {
        output->write(output, text, bytes);
        return;
    }
    struct log_hold hold = log_lock();
    sinks_write(text, bytes);
    log_unlock(hold);
}

static void consoles_printf(const char *format, va_list arguments)
{
    struct log_hold hold = log_lock();
    int length = vsnprintf(log_ring.output, CONSOLE_OUTPUT_BYTES, format, arguments);
    sinks_write(log_ring.output, MIN((size_t)length, (size_t)CONSOLE_OUTPUT_BYTES - 1));
    log_unlock(hold);
}

void console_printf(const char *format, ...)
{
    va_list arguments;
    struct console_output *output = redirection();
    va_start(arguments, format);
    if (output)
        redirected_printf(output, format, arguments);
    else
        consoles_printf(format, arguments);
    va_end(arguments);
}

void log_for_each(void (*each)(const char *line, void *context), void *context)
{
    char line[LINE_BYTES];
    struct record record;
    uint64_t position = 0;
    for (;;) {
        struct log_hold hold = log_lock();
        bool is_there = ring_read(&position, &record, line);
        log_unlock(hold);
        if (!is_there)
            break;
        each(line, context);
    }
}

bool log_is_in_panic(void)
{
    return read_once(log_ring.is_panicking);
}

void log_enter_panic(void)
{
    write_once(log_ring.is_panicking, true);
    if (log_ring.is_mid_line) /* maybe the line of a CPU that is stopped now */
        sinks_write("\n", 1);
}
