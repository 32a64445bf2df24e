/* SPDX-License-Identifier: MIT */
/* The races of vring_race.h on a split ring. */
#include "fake_device.h"

#define VRING_CREATE vring_split_create
#include "vring_race.h"

static bool device_sleeps(struct race *r)
{
    if (r->fd.has_event_idx)
        *fd_avail_event(&r->fd) = r->fd.last_avail;
    else
        write_once(r->fd.used->flags, 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return read_once(r->fd.avail->idx) != r->fd.last_avail;
}

static void wake_device(struct race *r)
{
    if (r->fd.has_event_idx)
        *fd_avail_event(&r->fd) = r->fd.last_avail - 1;
    else
        write_once(r->fd.used->flags, VIRTQ_USED_F_NO_NOTIFY);
}

static bool device_completes(struct race *r)
{
    write_once(r->fd.used->ring[r->fd.used_idx % r->fd.size].id, 0);
    write_once(r->fd.used->idx, ++r->fd.used_idx);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (r->fd.has_event_idx)
        return *fd_used_event(&r->fd) == (uint16_t)(r->fd.used_idx - 1);
    return !(read_once(r->fd.avail->flags) & VIRTQ_AVAIL_F_NO_INTERRUPT);
}

int main(void)
{
    return race_all();
}
