/* SPDX-License-Identifier: MIT */
/* How large the buffer cache may become: the part of it that knows the machine and its command line. */
#include <fs/bcache.h>
#include <kernel/cmdline.h>
#include <kernel/log.h>
#include <kernel/page.h>
#include <kernel/panic.h>

#define DEFAULT_LIMIT_BYTES MIB(64)

CMDLINE_KEY(bcache_size, "bcache.size", "64M", "the buffer cache's limit");

void bcache_init(void)
{
    struct page_stats pages;
    uint64_t limit_bytes;
    page_stats(&pages);
    limit_bytes = MIN(DEFAULT_LIMIT_BYTES, pages.total_bytes / 8);
    cmdline_u64("bcache.size", BCACHE_BUFFERS_MIN * (uint64_t)BCACHE_BLOCK_BYTES, pages.total_bytes / 2,
                &limit_bytes);
    if (!bcache_configure(limit_bytes))
        panic("no memory for the buffer cache's hash table");
    log_info("bcache", "up to %llu KiB", (unsigned long long)(limit_bytes >> 10));
}
