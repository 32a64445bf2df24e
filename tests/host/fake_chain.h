/* SPDX-License-Identifier: MIT */
/* What the fake devices share, whatever the ring's format: a chain taken apart, and random numbers. */
#ifndef TESTS_HOST_FAKE_CHAIN_H
#define TESTS_HOST_FAKE_CHAIN_H

#include <drivers/virtio/virtqueue.h>

#include "check.h"

#define FD_CHAIN_MAX 128u

struct fd_buffer {
    uint8_t *data;
    uint32_t bytes;
    bool is_writable;
};

struct fd_chain {
    uint16_t id;
    uint32_t count;
    struct fd_buffer buffers[FD_CHAIN_MAX];
};

static inline void fd_append(struct fd_chain *chain, uint64_t address, uint32_t bytes, bool is_writable)
{
    check(chain->count < FD_CHAIN_MAX);
    /* 2.7.4.2, 2.8.17: what is read comes before what is written. */
    check(is_writable || chain->count == 0 || !chain->buffers[chain->count - 1].is_writable);
    chain->buffers[chain->count++] = (struct fd_buffer){direct_map(address), bytes, is_writable};
}

/* A repeatable random number (xorshift). */
static uint64_t fd_random_state = 88172645463325252ull;
static inline uint32_t fd_random(uint32_t limit)
{
    fd_random_state ^= fd_random_state << 13;
    fd_random_state ^= fd_random_state >> 7;
    fd_random_state ^= fd_random_state << 17;
    return (uint32_t)(fd_random_state >> 20) % limit;
}

#endif
