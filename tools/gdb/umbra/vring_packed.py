# SPDX-License-Identifier: MIT
"""A packed ring for umbra virtqueue: the verbs of virtqueue.SplitRing over virtio 1.2, 2.8 and vring_packed.c."""
import struct

from . import in_order
from .kernel import Broken, at, offset_of, read

WRAP = 0x8000  # desc_event_wrap
ASKED = {0: "always", 1: "never", 2: "at", 3: "?"}  # RING_EVENT_FLAGS_*


def place(event):
    return f"offset {event & WRAP - 1}, wrap counter {event // WRAP & 1}"


def asked(event):
    return ASKED[event >> 16 & 3] + (f" {place(event)}" if event >> 16 & 3 == 2 else "")


class PackedRing:
    DESC_BYTES = 16
    WRITE, INDIRECT, AVAIL, USED = 2, 4, 1 << 7, 1 << 15  # VIRTQ_DESC_F_*

    def __init__(self, queue):
        self.queue, self.size = queue, int(queue["size"])
        self.ring = at("struct packed_ring", int(queue.address) - offset_of("struct packed_ring", "queue"))
        self.is_indirect = int(queue["buffer_stride"]) != 0
        self.ids = at("struct packed_id", self.ring["ids"], self.size)
        self.direct = int(self.ring["desc"]) - int(queue["descriptor_area"])
        self.desc = [self.descriptor(self.ring["desc"], i) for i in range(self.size)]
        self.first = (int(self.ring["first"]["addr"]), *(int(self.ring["first"][f]) for f in ("len", "id", "flags")))
        self.driver_event, self.device_event = (struct.unpack("<I", read(self.ring[name], 4))[0]
                                                for name in ("driver_event", "device_event"))

    def descriptor(self, table, index):
        return struct.unpack("<QIHH", read(int(table) + self.DESC_BYTES * index, self.DESC_BYTES))

    def offset(self, name):
        return (int(self.ring[name]) - int(self.ring["desc"])) // self.DESC_BYTES

    def batch(self):
        """(offset, descriptor) of the batch that is not published yet; its first is not in the ring."""
        behind_first = int(self.ring["avail_at"]) - offset_of("struct packed_ring", "first") - int(self.ring.address)
        first, count = self.offset("batch"), behind_first // self.DESC_BYTES
        if count not in (0, 1):
            count = (self.offset("avail_at") - first - 1) % self.size + 1
        return [((first + i) % self.size, self.desc[(first + i) % self.size] if i else self.first) for i in range(count)]

    def in_flight(self):
        return [i for i in range(self.size) if int(self.ids[i]["told_end"])]

    def token(self, head):
        return self.ids[head]["token"]

    def writable_bytes(self, head):
        return int(self.ids[head]["end_bytes"]) - 1

    def length(self, head):
        return 1 if self.is_indirect else int(self.ids[head]["length"])

    def unpublished(self):
        return list(dict.fromkeys(desc[2] for _, desc in self.batch()))

    def told_at(self, distance):
        """What the descriptor so far behind the next used one tells: (id, bytes), or None if it is not a used one."""
        offset = self.offset("used_at") + distance
        is_lap = bool(int(self.ring["used_event"]) & WRAP) != (offset >= self.size)
        _, size, head, flags = self.desc[offset % self.size]
        return (head, size) if flags & (self.AVAIL | self.USED) == (self.AVAIL | self.USED if is_lap else 0) else None

    def answers(self):
        """(id, bytes) that the device has completed and the driver has not taken."""
        if self.queue["config"]["is_in_order"]:
            return in_order.answers(self, lambda before: self.told_at(sum(map(self.length, before))))
        found, offset, ids = [], self.offset("used_at"), set(self.in_flight())
        wrap = int(self.ring["used_event"]) & WRAP
        while len(found) < self.size:
            _, size, head, flags = self.desc[offset]
            if flags & (self.AVAIL | self.USED) != (self.AVAIL | self.USED if wrap else 0):
                break
            found.append((head, size))
            offset += self.length(head) if head in ids else 1
            wrap, offset = wrap ^ (WRAP if offset >= self.size else 0), offset % self.size
        return found

    def buffers(self, head):
        """The chain in shared memory: (DMA address, bytes, is the device to write it)."""
        if self.is_indirect:
            count = (int(self.ids[head]["len_id_flags"]) & 0xffffffff) // self.DESC_BYTES
            parts = [self.descriptor(int(self.ids[head]["table"]) + self.direct, i) for i in range(count)]
        else:
            added = [self.desc[(self.offset("used_at") + i) % self.size] for i in range(self.taken() - len(self.batch()))]
            parts = [desc for desc in added + [desc for _, desc in self.batch()]
                     if desc[2] == head and bool(desc[3] & self.AVAIL) != bool(desc[3] & self.USED)]
            if len(parts) != self.length(head):
                raise Broken(f"{len(parts)} of its {self.length(head)} descriptors are left: the device has used the others")
        return [(address, size, bool(flags & self.WRITE)) for address, size, _, flags in parts]

    def free_ids(self):
        """How long the free list is; in order there is none."""
        if self.queue["config"]["is_in_order"]:
            return self.size - len(self.in_flight())
        count, free = 0, int(self.queue["free_id"])
        while free < self.size and count <= self.size:
            count, free = count + 1, int(self.ids[free]["next"])
        return count

    def taken(self):
        return sum(map(self.length, self.in_flight()))

    def next_available(self):
        return int(self.ring["batch_event"]) + self.offset("batch")

    def next_used(self):
        return int(self.ring["used_event"]) + self.offset("used_at")

    def describe(self):
        yield (f"available: next {place(self.next_available())}, {len(self.batch())} not published; "
               f"doorbell wanted {asked(self.device_event)}")
        yield f"used:      next {place(self.next_used())}; interrupt wanted {asked(self.driver_event)}"

    def disagreements(self):
        """What the private state and the shared memory say of one thing, where they differ."""
        ids, taken, free = self.in_flight(), self.taken(), int(self.queue["free_count"])
        laps = [(self.offset("batch") if int(self.ring["batch_event"]) & WRAP else self.offset("batch") + self.size),
                (self.offset("used_at") if int(self.ring["used_event"]) & WRAP else self.offset("used_at") + self.size)]
        between = (laps[0] - laps[1]) % (2 * self.size) + len(self.batch())
        if between != taken:
            yield f"the chains in flight have {taken} descriptors, between the places of used and available are {between}"
        if self.free_ids() + len(ids) != self.size:
            yield f"{len(ids)} ids in flight and {self.free_ids()} in the free list are not {self.size}"
        if taken + free != self.size:
            yield f"{taken} descriptors in flight and {free} free are not {self.size} (R2)"
        for head, _ in self.answers():
            if head not in ids:
                yield f"a used descriptor names the id {head}, which is not in flight"
