/* SPDX-License-Identifier: MIT */
/* The races of vring_race.h on a packed ring. */
#include "fake_packed_device.h"

#define VRING_CREATE vring_packed_create
#include "vring_race.h"

static bool device_sleeps(struct race *r)
{
    uint32_t flags = r->fd.has_event_idx ? RING_EVENT_FLAGS_DESC : RING_EVENT_FLAGS_ENABLE;
    uint32_t desc = r->fd.avail.offset | (r->fd.avail.wrap ? FD_WRAP : 0);
    write_once(r->fd.device_event->desc_flags, flags << 16 | desc);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    return fd_is_available(&r->fd, r->fd.avail);
}

static void wake_device(struct race *r)
{
    write_once(r->fd.device_event->flags, RING_EVENT_FLAGS_DISABLE);
}

static bool device_completes(struct race *r)
{
    struct fd_position at = r->fd.used;
    r->fd.used = fd_step(&r->fd, at, 1);
    fd_write_used(&r->fd, at, 0, 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    struct pvirtq_event_suppress event = {.desc_flags = read_once(r->fd.driver_event->desc_flags)};
    if (event.flags == RING_EVENT_FLAGS_DESC)
        return fd_names(at, event.desc);
    return event.flags == RING_EVENT_FLAGS_ENABLE;
}

int main(void)
{
    return race_all();
}
