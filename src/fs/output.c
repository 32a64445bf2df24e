/* SPDX-License-Identifier: MIT */
/* Lines of output (fs/output.h). A line goes out in one write, so that no log line comes between its parts.
 */
#include <fs/output.h>
#include <kernel/base/assert.h>
#include <kernel/heap.h>
#include <kernel/printf.h>

struct fs_output *fs_output_create(void (*write)(const char *text, size_t bytes),
                                   bool (*is_interrupted)(void))
{
    struct fs_output *output = heap_alloc(sizeof(*output));
    if (!output)
        return NULL;
    output->write = write;
    output->is_interrupted = is_interrupted;
    output->bytes = 0;
    return output;
}

void fs_output_free(struct fs_output *output)
{
    heap_free(output);
}

void fs_output_add(struct fs_output *output, const char *format, ...)
{
    size_t room = sizeof(output->line) - output->bytes; /* at least the newline's byte */
    va_list arguments;
    int length;
    assert(output->bytes < sizeof(output->line));
    va_start(arguments, format);
    length = vsnprintf(output->line + output->bytes, room, format, arguments);
    va_end(arguments);
    assert(length >= 0);
    output->bytes += MIN((size_t)length, room - 1);
}

static void add_byte(struct fs_output *output, char byte)
{
    assert(output->bytes < sizeof(output->line));
    if (output->bytes < sizeof(output->line) - 1)
        output->line[output->bytes++] = byte;
}

static void add_hex(struct fs_output *output, uint8_t byte)
{
    static const char digits[] = "0123456789abcdef";
    add_byte(output, digits[byte >> 4]);
    add_byte(output, digits[byte & 15]);
}

void fs_output_add_name(struct fs_output *output, const char *name, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        uint8_t byte = (uint8_t)name[i];
        if (byte >= 32 && byte != '\\') {
            add_byte(output, name[i]);
        } else {
            add_byte(output, '\\');
            add_byte(output, 'x');
            add_hex(output, byte);
        }
    }
}

void fs_output_add_digest(struct fs_output *output, const uint8_t digest[32])
{
    for (int i = 0; i < 32; i++)
        add_hex(output, digest[i]);
}

void fs_output_end(struct fs_output *output)
{
    assert(output->bytes < sizeof(output->line));
    output->line[output->bytes++] = '\n';
    output->write(output->line, output->bytes);
    output->bytes = 0;
}

int fs_output_check(const struct fs_output *output)
{
    return output->is_interrupted && output->is_interrupted() ? -EINTR : 0;
}
