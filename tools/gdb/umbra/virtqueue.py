# SPDX-License-Identifier: MIT
"""umbra virtqueue: a ring as the driver keeps it and as its shared memory has it, side by side.

Three parts: a class a ring format, which knows where indices and chains are (RINGS; vring_packed.py has another);
`Disk`, which knows what a virtio-blk driver puts into a chain; and the command.

Note that QEMU, whenever it stops the machine, first lets its disks finish what they have begun. So at a stop the
device has mostly answered what it was told of: such chains are in flight still for the driver, which has not seen
the answer, and are marked so.
"""
import contextlib
import struct

import gdb

from . import clock, in_order, requests
from .kernel import Broken, Command, NotBooted, at, enum_name, offset_of, read, text
from .vring_packed import PackedRing

STATUS_PRESET = 0xff  # VIRTIO_BLK_STATUS_PRESET
HEADER_BYTES = 16  # struct virtio_blk_req_header
OPERATIONS = {0: "read", 1: "write", 4: "flush", 8: "get-id", 10: "get-lifetime", 11: "discard", 13: "write-zeroes",
              14: "secure-erase"}  # VIRTIO_BLK_T_*, by the block layer's names
RANGE_BYTES = 16  # struct virtio_blk_range


def u16(value):
    return int(value) & 0xffff


class SplitRing:
    """virtio 1.2, 2.7; src/drivers/virtio/vring_split.c."""

    DESC_BYTES, ELEMENT_BYTES = 16, 8
    NEXT, WRITE, INDIRECT = 1, 2, 4  # VIRTQ_DESC_F_*

    def __init__(self, queue):
        self.queue, self.size = queue, int(queue["size"])
        self.ring = at("struct split_ring", int(queue.address) - offset_of("struct split_ring", "queue"))
        self.is_indirect = int(queue["buffer_stride"]) != 0
        self.ids = at("struct virtqueue_id", self.ring["ids"], self.size)
        # The direct map: where a DMA address is for the kernel.
        self.direct = int(self.ring["desc"]) - int(queue["descriptor_area"])
        self.avail = struct.unpack(f"<{self.size + 3}H", read(self.ring["avail"], 2 * self.size + 6))
        self.used = read(self.ring["used"], 4 + self.ELEMENT_BYTES * self.size + 2)
        self.used_flags, self.used_index = struct.unpack_from("<HH", self.used)
        self.avail_event = struct.unpack_from("<H", self.used, 4 + self.ELEMENT_BYTES * self.size)[0]

    def index(self, name):
        return int(self.ring[name])

    def in_flight(self):
        return [i for i in range(self.size) if int(self.ids[i]["token"])]

    def token(self, head):
        return self.ids[head]["token"]

    def writable_bytes(self, head):
        return int(self.ids[head]["writable_bytes"])

    def answers(self):
        """(id, bytes) that the device has completed and the driver has not taken."""
        first = self.index("used_next")
        count = min(u16(self.used_index - first), self.size)
        slots = [(first + i) % self.size for i in range(count)]
        elements = [struct.unpack_from("<II", self.used, 4 + self.ELEMENT_BYTES * slot) for slot in slots]
        if not self.queue["config"]["is_in_order"]:
            return elements
        return in_order.answers(self, lambda before: elements[len(before)] if len(before) < count else None)

    def unpublished(self):
        first = self.index("avail_published")
        return [self.avail[2 + (first + i) % self.size] for i in range(self.index("avail_next") - first)]

    def descriptor(self, table, index):
        return struct.unpack("<QIHH", read(table + self.DESC_BYTES * index, self.DESC_BYTES))

    def buffers(self, head):
        """The chain in shared memory: (DMA address, bytes, is the device to write it)."""
        table, index, limit = int(self.ring["desc"]), head, self.size
        if self.is_indirect:
            address, size, flags, _ = self.descriptor(table, head)
            if flags != self.INDIRECT:
                raise Broken(f"its descriptor has flags 0x{flags:x} and not INDIRECT")
            table, index, limit = address + self.direct, 0, size // self.DESC_BYTES
        found, flags = [], self.NEXT
        while flags & self.NEXT:
            if index >= limit or len(found) == limit:
                raise Broken(f"its descriptors lead to {index}, past {limit}")
            address, size, flags, following = self.descriptor(table, index)
            found.append((address, size, bool(flags & self.WRITE)))
            index = following
        return found

    def free_ids(self):
        """How long the free list is; in order there is none."""
        if self.queue["config"]["is_in_order"]:
            return int(self.queue["free_count"])
        count, free = 0, int(self.queue["free_id"])
        while free < self.size and count <= self.size:
            count, free = count + 1, int(self.ids[free]["next"])
        return count

    def describe(self):
        yield (f"available: next {self.index('avail_next')}, published {self.index('avail_published')} "
               f"({u16(self.index('avail_published'))}); ring: {self.avail[1]}, flags {self.avail[0]}"
               + (f", doorbell wanted past {self.avail_event}" if self.ring["has_event_idx"] else ""))
        yield (f"used:      next {self.index('used_next')} ({u16(self.index('used_next'))}), "
               f"seen {self.index('used_seen')}; ring: {self.used_index}, flags {self.used_flags}"
               + (f", interrupt wanted past {self.avail[2 + self.size]}" if self.ring["has_event_idx"] else ""))

    def disagreements(self):
        """What the private state and the shared memory say of one thing, where they differ."""
        published, used_next = self.index("avail_published"), self.index("used_next")
        ids, answered = self.in_flight(), u16(self.used_index - used_next)
        taken = len(ids) if self.is_indirect else sum(int(self.ids[i]["length"]) for i in ids)
        if self.avail[1] != u16(published):
            yield f"published {u16(published)}, but the ring's available index is {self.avail[1]}"
        if answered > published - used_next:
            yield f"the ring's used index {self.used_index} is {answered} on, but {published - used_next} are in flight"
        if len(ids) != self.index("avail_next") - used_next:
            yield f"{len(ids)} chains are in flight, by the indices {self.index('avail_next') - used_next}"
        if self.free_ids() != int(self.queue["free_count"]):
            yield f"{int(self.queue['free_count'])} descriptors are free, in the free list {self.free_ids()}"
        if taken + int(self.queue["free_count"]) != self.size:
            yield f"{taken} descriptors in flight and {int(self.queue['free_count'])} free are not {self.size} (R2)"
        for name, listed in (("used", [i for i, _ in self.answers()]), ("available", self.unpublished())):
            for head in listed:
                if head not in ids:
                    yield f"the {name} ring names the id {head}, which is not in flight"


RINGS = {"split": SplitRing, "packed": PackedRing}  # by the first word of ops->name


def ring_of(queue):
    name = text(queue["ops"]["name"])
    kind = RINGS.get(name.split(",")[0].split()[0])
    if not kind:
        raise Broken(f"{text(queue['config']['name'])}: nothing here knows a ring of the format {name!r}")
    return kind(queue)


# ---- Disks -------------------------------------------------------------------------------------------------


class Disk:
    """A virtio-blk driver: what its chains carry. `data` is its struct virtio_blk."""

    def __init__(self, data):
        self.data = data
        self.name = text(data["block"]["name"])
        device = data["device"].dereference()
        self.queues = [device["queues"][i].dereference() for i in range(int(device["queue_count"]))]

    @staticmethod
    def driver(queue):
        return at("struct virtio_blk_queue", queue["config"]["context"])

    def request(self, queue, token):
        """The request behind a token; None while the bare ring is driven."""
        is_raw = enum_name("enum virtio_blk_state", self.driver(queue)["state"], "VIRTIO_BLK_") == "raw"
        return None if is_raw else at("struct block_request", token)

    def sent(self, ring, head):
        """(operation, sector, bytes of data or of the range, bytes that the device may write) by the shared memory
        (5.2.6)."""
        buffers = ring.buffers(head)
        address, size, is_written = buffers[0]
        if size < HEADER_BYTES or is_written:
            raise Broken("it does not begin with a header")
        kind, _, sector = struct.unpack("<IIQ", read(address + ring.direct, HEADER_BYTES))
        operation = OPERATIONS.get(kind, f"type {kind}")
        readable = sum(size for _, size, is_written in buffers if not is_written)
        writable = sum(size for _, size, is_written in buffers if is_written)
        if operation in requests.RANGES:
            return operation, *self.range(ring, buffers), writable
        return operation, sector, readable - HEADER_BYTES + writable - 1, writable

    @staticmethod
    def range(ring, buffers):
        """(sector, bytes) of what lies behind the header, in its buffer or in the next."""
        out = b"".join(bytes(read(address + ring.direct, min(size, HEADER_BYTES + RANGE_BYTES)))
                       for address, size, is_written in buffers if not is_written)
        if len(out) != HEADER_BYTES + RANGE_BYTES:
            raise Broken(f"{len(out) - HEADER_BYTES} bytes are no range")
        sector, sectors, _ = struct.unpack_from("<QII", out, HEADER_BYTES)
        return sector, sectors * requests.SECTOR_BYTES

    def status(self, queue, head):
        return int(self.driver(queue)["slots"][head]["status"])


def disks():
    """The virtio disks among the block devices: only they are named vdN."""
    found = [Disk(at("struct virtio_blk", device["driver"])) for device in requests.block_devices()
             if text(device["name"]).startswith("vd")]
    if not found:
        raise NotBooted("there are no virtio disks")
    return found


def requests_of(disk, queue):
    """What a queue has, with the followers of merged requests."""
    ring = ring_of(queue)
    for head in ring.in_flight():
        request = disk.request(queue, ring.token(head))
        if request:
            yield request
            yield from requests.followers(request)


def requests_in_flight():
    """For others to look up what they wait for: nothing of what is not there yet, or not understood."""
    with contextlib.suppress(NotBooted):
        for disk in disks():
            for queue in disk.queues:
                with contextlib.suppress(Broken):
                    yield from requests_of(disk, queue)


# ---- The command -------------------------------------------------------------------------------------------


def print_queue(disk, queue, ring):
    config, driver = queue["config"], disk.driver(queue)
    broken = f"BROKEN: {text(queue['broken_why'])}" if queue["is_broken"] else "not broken"
    locked = ", locked: a CPU is changing it" if int(queue["lock"]["is_locked"]) else ""
    print(f"{disk.name} {text(config['name'])}: {text(queue['ops']['name'])}, {ring.size} entries, "
          f"{int(queue['free_count'])} free, {'event index' if config['has_event_idx'] else 'no event index'}, {broken}, "
          f"driver {enum_name('enum virtio_blk_state', driver['state'], 'VIRTIO_BLK_')}{locked}")
    for line in ring.describe():
        print(f"  {line}")
    print(f"  {int(queue['added'])} sent, {int(queue['gotten'])} completed, {int(queue['kicks'])} doorbells, "
          f"{int(driver['interrupts'])} interrupts")


def compare(disk, ring, head, request):
    """What the chain and its request disagree in."""
    try:
        operation, sector, size, writable = disk.sent(ring, head)
    except (Broken, gdb.MemoryError) as error:
        return [f"the chain in the ring: {error}"]
    found = []
    allowed = ring.writable_bytes(head)
    if writable != allowed:
        found.append(f"the driver lets the device write {allowed} bytes, the ring {writable}")
    if not request:
        return found
    pairs = [("operation", requests.operation(request), operation), ("bytes", requests.device_bytes(request), size)]
    if operation in ("read", "write", *requests.RANGES):
        pairs.append(("sector", requests.device_sector(request), sector))
    for what, ours, theirs in pairs:
        if ours != theirs:
            found.append(f"{what} {ours} by the request, {theirs} in the ring")
    return found


def device_view(disk, queue, ring, head, answers):
    if head in answers:
        status = disk.status(queue, head)
        return f"answered {answers[head]} bytes, status {'preset' if status == STATUS_PRESET else status}, not taken"
    return "not published" if head in ring.unpublished() else ""


def print_chain(disk, queue, ring, head, answers, now_ns):
    token = int(ring.token(head))
    request = disk.request(queue, token)
    if request:
        more = len(requests.followers(request))
        age = clock.ms(now_ns - int(request["submitted_ns"]))
        columns = (requests.operation(request), requests.device_sector(request), requests.device_bytes(request), age)
    else:
        more, columns = 0, ("raw", "", "", "")
    words = [device_view(disk, queue, ring, head, answers), f"{more} merged into it" if more else ""]
    remark = ", ".join(filter(None, words))
    print("  {:4} 0x{:016x} {:6} {:>10} {:>8} {:>10}  {}".format(head, token, *columns, remark).rstrip())
    for finding in compare(disk, ring, head, request):
        print(f"       !! {finding}")


def print_in_flight(disk, queue, ring, now_ns):
    ids, answers = ring.in_flight(), dict(ring.answers())
    print(f"  {len(ids)} in flight" + (f", {len(answers)} of them answered by the device" if answers else ""))
    if ids:
        print("    ID REQUEST            OP         SECTOR    BYTES   AGE [ms]")
    for head in ids:
        print_chain(disk, queue, ring, head, answers, now_ns)
    for finding in ring.disagreements():
        print(f"  !! {finding}")


class Virtqueue(Command):
    """Show virtqueues: indices, free descriptors, and every chain in flight with its request.

    umbra virtqueue [NAME]

    NAME: a disk's (vd0) or a queue's (virtio0-queue0). Indices run on in 32 bits; in brackets are the 16 bits of
    them that the ring has. Request, operation, sector and bytes are the driver's private view; where the shared
    memory says otherwise a line with !! follows. AGE is the time since the submit, by the clock of `umbra cpus`.
    QEMU finishes the I/O that a disk has begun before it stops the machine, so much is marked "answered"."""

    name, usage = "virtqueue", "[NAME]"

    def run(self, *words):
        if len(words) > 1:
            raise self.wrong_usage()
        now_ns, pairs = clock.now_ns(), [(disk, queue) for disk in disks() for queue in disk.queues]
        chosen = [(d, q) for d, q in pairs if not words or words[0] in (d.name, text(q["config"]["name"]))]
        if not chosen:
            raise gdb.GdbError(f"no virtqueue is named {words[0]!r}: "
                               + ", ".join(f"{d.name} {text(q['config']['name'])}" for d, q in pairs))
        for disk, queue in chosen:
            ring = ring_of(queue)
            print_queue(disk, queue, ring)
            print_in_flight(disk, queue, ring, now_ns)


COMMANDS = (Virtqueue,)
