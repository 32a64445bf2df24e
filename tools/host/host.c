/* SPDX-License-Identifier: MIT */
/* The kernel services that shared code needs, for programs on the host: memory from malloc, the log on
 * standard error, assertions that abort, one thread. The headers in include/ stand in for the kernel's. */
#include <arch/clock.h>
#include <arch/io.h>
#include <arch/mmu.h>
#include <host.h>
#include <kernel/base/assert.h>
#include <kernel/base/bits.h>
#include <kernel/heap.h>
#include <kernel/log.h>
#include <kernel/page.h>
#include <kernel/pool.h>
#include <kernel/sched.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

uint64_t host_clock_ns;
uint32_t host_cpu_id, host_cpu_count = 1;
struct thread host_thread;
void (*host_idle)(void);
void (*host_before_sleep)(void);
void (*host_unlocked)(struct spinlock *lock);
bool host_defers;
void (*host_mmio_write)(volatile void *address, uint64_t value);
void (*host_mmio_read)(const volatile void *address, unsigned bytes);
uint32_t (*host_port_read)(uint16_t port, unsigned bytes);
void (*host_port_write)(uint16_t port, unsigned bytes, uint32_t value);
uintptr_t host_direct_base;
void (*host_barrier)(void);
int host_log_level = LOG_WARNING;
unsigned host_log_lines;
static struct fifo deferred_calls = FIFO_INIT(deferred_calls);

void assert_failed(const char *expression, const char *file, int line, const char *function)
{
    fprintf(stderr, "%s:%d: %s: assertion failed: %s\n", file, line, function, expression);
    abort();
}

void log_write(enum log_level level, const char *subsystem, const char *format, ...)
{
    static const char *const names[] = {"error: ", "warning: "};
    va_list arguments;
    host_log_lines += level <= LOG_WARNING;
    if ((int)level > host_log_level && !getenv("UMBRA_HOST_LOG"))
        return;
    va_start(arguments, format);
    fprintf(stderr, "%s: %s", subsystem, level <= LOG_WARNING ? names[level] : "");
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

uint64_t clock_wall_seconds(void)
{
    return (uint64_t)time(NULL);
}

void *heap_alloc(size_t bytes)
{
    return bytes >= PAGE_BYTES ? aligned_alloc(PAGE_BYTES, align_up(bytes, PAGE_BYTES)) : malloc(bytes);
}

void *heap_alloc_zeroed(size_t bytes)
{
    void *block = heap_alloc(bytes);
    return block ? memset(block, 0, bytes) : NULL;
}

void heap_free(void *block)
{
    free(block);
}

void *page_alloc(unsigned order)
{
    return aligned_alloc(PAGE_BYTES, PAGE_BYTES << order);
}

void *page_alloc_zeroed(unsigned order)
{
    void *block = page_alloc(order);
    return block ? memset(block, 0, PAGE_BYTES << order) : NULL;
}

void page_free(void *block, unsigned order)
{
    (void)order;
    free(block);
}

unsigned page_order_for(size_t bytes)
{
    return bytes <= PAGE_BYTES ? 0 : ilog2(bytes - 1) - PAGE_SHIFT + 1;
}

void pool_init(struct pool *pool, const char *name, size_t object_bytes, size_t alignment)
{
    assert(is_power_of_two(alignment));
    memset(pool, 0, sizeof(*pool));
    pool->name = name;
    pool->object_bytes = (uint32_t)align_up(object_bytes, alignment);
}

void *pool_alloc(struct pool *pool)
{
    pool->objects_in_use++;
    return malloc(pool->object_bytes);
}

void pool_free(struct pool *pool, void *object)
{
    assert(pool->objects_in_use > 0);
    pool->objects_in_use--;
    free(object);
}

void sched_defer(struct sched_deferred *deferred)
{
    if (deferred->is_pending)
        return;
    deferred->is_pending = true;
    fifo_push(&deferred_calls, &deferred->node);
}

void sched_run_deferred(void)
{
    struct fifo_node *node;
    while ((node = fifo_pop(&deferred_calls)) != NULL) {
        struct sched_deferred *deferred = container_of(node, struct sched_deferred, node);
        deferred->is_pending = false;
        deferred->call(deferred);
    }
}

void sched_sleep(void)
{
    sched_run_deferred();
    do {
        assert(host_idle != NULL);
        host_idle();
    } while (host_thread.is_asleep);
}
