/* SPDX-License-Identifier: MIT */
/* The users of the disk: requests of all kinds, each in memory of its own that is freed when it completes, so
 * that the sanitizer sees who touches it later. What they know of an honest device they check. */
#ifndef TESTS_FUZZ_VRING_USERS_H
#define TESTS_FUZZ_VRING_USERS_H

#include "script.h"
#include "virtio_machine.h"

#define USERS        32u
#define USER_SECTORS 4u

/* Each has sectors of its own, so that what it reads can be foretold. */
struct user {
    struct block_request request;
    struct block_segment segments[USER_SECTORS];
    uint32_t index;
    uint8_t *data;
    bool is_answered; /* by an honest device */
    uint8_t answer;
};
static struct user *users[USERS];
static struct fifo waiting; /* the block layer's: what did not fit */
static bool is_trusted;     /* the device, since the start; in the end, since the last reset */

static inline struct user *user_of(void *request)
{
    return container_of((struct block_request *)request, struct user, request);
}

/* One sector a segment, but the last has the rest. */
static inline void set_segments(struct user *user, uint32_t sectors, uint32_t pieces)
{
    for (uint32_t i = 0; i < pieces; i++)
        user->segments[i] =
            (struct block_segment){user->data + i * 512, i + 1 < pieces ? 512 : (sectors - i) * 512};
    user->request.segments = user->segments;
    user->request.segment_count = user->request.total_segments = (uint16_t)pieces;
    user->request.one = user->segments[0];
}

static inline void make_user(uint32_t index, uint32_t choice)
{
    static const uint8_t operations[] = {BLOCK_READ, BLOCK_WRITE, BLOCK_DISCARD,      BLOCK_FLUSH,
                                         BLOCK_READ, BLOCK_WRITE, BLOCK_WRITE_ZEROES, BLOCK_GET_ID};
    uint32_t operation = operations[choice % 8], sectors = choice / 8 % USER_SECTORS + 1;
    uint32_t pieces = MIN(choice / 32 % USER_SECTORS + 1, MIN(sectors, block.config.limits.max_segments));
    bool has_sectors = operation <= BLOCK_WRITE || block_is_range((uint8_t)operation);
    uint32_t bytes = has_sectors ? sectors * 512 : operation == BLOCK_FLUSH ? 0 : BLOCK_ID_BYTES;
    struct user *user = calloc(1, sizeof(*user));
    user->data = bytes > 0 && !block_is_range((uint8_t)operation) ? malloc(bytes) : NULL;
    user->index = index;
    user->request = make_request(operation, index * USER_SECTORS, user->data, bytes);
    if (operation <= BLOCK_WRITE) {
        memset(user->data, (int)choice, bytes);
        set_segments(user, sectors, pieces);
    }
    users[index] = user;
    push(&waiting, &user->request);
}

static inline bool has_users(void)
{
    for (uint32_t i = 0; i < USERS; i++) {
        if (users[i])
            return true;
    }
    return false;
}

static inline void submit_waiting(void)
{
    if (!fifo_is_empty(&waiting))
        block.config.ops->submit(&block, &waiting);
}

static inline void submit_some(void)
{
    for (uint32_t count = script_take() % 8 + 1; count > 0; count--) {
        uint32_t index = script_take() % USERS, choice = script_take();
        if (!users[index])
            make_user(index, choice);
    }
    submit_waiting();
}

static inline uint8_t expected_status(uint8_t answer)
{
    return answer == VIRTIO_BLK_S_OK       ? BLOCK_OK
           : answer == VIRTIO_BLK_S_UNSUPP ? BLOCK_UNSUPPORTED
                                           : BLOCK_FAILED;
}

static inline void check_result(const struct user *user)
{
    const struct block_request *request = &user->request;
    if (request->status == BLOCK_RETRY || request->status == BLOCK_GONE)
        return;
    check(user->is_answered);
    check_equal(request->status, expected_status(user->answer));
    if (request->status == BLOCK_OK && request->operation <= BLOCK_WRITE)
        check(memcmp(user->data, disk_data + request->sector * 512, request->sectors * 512) == 0);
}

/* Takes leave of those that are done (R1: of each once). */
static inline void reap(void)
{
    struct fifo_node *node;
    while ((node = fifo_pop(&finished)) != NULL) {
        struct user *user = user_of(container_of(node, struct block_request, node));
        check(users[user->index] == user);
        if (is_trusted)
            check_result(user);
        users[user->index] = NULL;
        free(user->data);
        free(user);
    }
}

#endif
