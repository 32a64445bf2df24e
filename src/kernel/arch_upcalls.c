/* SPDX-License-Identifier: MIT */
/* The small upcalls of kernel/entry.h: what arch may ask of the allocator and the log. */
#include <kernel/entry.h>
#include <kernel/log.h>
#include <kernel/page.h>

void *kernel_page_alloc(void)
{
    return page_alloc_zeroed(0);
}

void kernel_page_free(void *page)
{
    page_free(page, 0);
}

void kernel_warn(const char *subsystem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_vwrite(LOG_WARNING, subsystem, format, arguments);
    va_end(arguments);
}

void kernel_info(const char *subsystem, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    log_vwrite(LOG_INFO, subsystem, format, arguments);
    va_end(arguments);
}
