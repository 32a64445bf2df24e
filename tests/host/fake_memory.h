/* SPDX-License-Identifier: MIT */
/* A machine's RAM for tests of the kernel's allocators: 12 GiB of address space, of which only what is
 * touched costs memory, and the page allocator under names that host.c does not have. */
#ifndef TESTS_HOST_FAKE_MEMORY_H
#define TESTS_HOST_FAKE_MEMORY_H

#include <arch/boot_info.h>
#include <arch/mmu.h>
#include <kernel/page.h>
#include <kernel/random.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#define FAKE_RAM_BYTES GIB(12)

static char *fake_ram;

static inline void *fake_direct_map(phys_addr_t address)
{
    return fake_ram + address;
}
static inline phys_addr_t fake_direct_to_phys(const void *pointer)
{
    return (phys_addr_t)((const char *)pointer - fake_ram);
}

#define direct_map        fake_direct_map
#define direct_to_phys    fake_direct_to_phys
#define page_alloc        own_page_alloc
#define page_alloc_zeroed own_page_alloc_zeroed
#define page_free         own_page_free
#define page_order_for    own_page_order_for
void *page_alloc(unsigned order);
void *page_alloc_zeroed(unsigned order);
void page_free(void *block, unsigned order);
unsigned page_order_for(size_t bytes);
#include "../../src/kernel/page.c"

/* Forgets all RAM; then page_init may be called again. */
static inline void fake_memory_reset(void)
{
    if (fake_ram)
        munmap(fake_ram, FAKE_RAM_BYTES);
    fake_ram = mmap(NULL, FAKE_RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
    if (fake_ram == MAP_FAILED)
        abort();
    memset(&page, 0, sizeof(page));
}

/* True when `call` ends in a failed assertion. */
static inline bool fake_memory_aborts(void (*call)(void *), void *argument)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        if (!freopen("/dev/null", "w", stderr))
            _exit(2);
        call(argument);
        _exit(0);
    }
    return child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status) &&
           WTERMSIG(status) == SIGABRT;
}

#endif
