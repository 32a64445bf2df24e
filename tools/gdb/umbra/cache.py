# SPDX-License-Identifier: MIT
"""umbra cache: the buffer cache, and which of its buffers are in I/O."""
import struct

import gdb

from . import clock, requests
from .kernel import Command, NotBooted, at, enum_name, list_entries, read, text, variable

LISTED_MAX = 64


def hashed(cache):
    """All buffers that the hash has: the table in one transfer, then along the chains."""
    buckets = 1 << 64 - int(cache["hash_shift"])
    for (first,) in struct.iter_unpack("<Q", read(cache["hash"], 8 * buckets)):
        seen = set()
        while first and first not in seen:
            seen.add(first)
            buffer = at("struct buffer", first)
            yield buffer
            first = int(buffer["hash_next"])


def is_in_io(buffer):
    return enum_name("enum buffer_state", buffer["state"], "BUFFER_") == "busy" or int(buffer["io"]["phase"]) != 0


def print_buffer(buffer, now_ns):
    io = buffer["io"]
    flags = [name for name in ("is_dirty", "is_prefetch", "is_hashed") if buffer[name]]
    age = clock.ms(now_ns - int(io["submitted_ns"])) if int(io["submitted_ns"]) else "-"
    print(f"  0x{int(buffer.address):x} {text(buffer['device']['name'])} block {int(buffer['block'])}: "
          f"{enum_name('enum buffer_state', buffer['state'], 'BUFFER_')}, {int(buffer['references'])} references, "
          f"{requests.operation(io)} for {age} ms{''.join(', ' + flag[3:] for flag in flags)}")


class Cache(Command):
    """Summarise the buffer cache and list the buffers in I/O.

    umbra cache

    In I/O: being read (busy), or their request is submitted. What a drop unhashed while it was being read ahead
    is listed too."""

    name = "cache"

    def run(self):
        cache = variable("cache", "src/fs/bcache.c")
        if not int(cache["hash"]):
            raise NotBooted("there is no buffer cache")
        stats = {field.name: int(cache["stats"][field.name]) for field in gdb.lookup_type("struct bcache_stats").fields()}
        print("{buffers} buffers of at most {buffers_max}, {referenced} referenced, {dirty} dirty; {hits} hits, "
              "{misses} misses, {evictions} evictions; {reads_failed} reads and {writes_failed} writes "
              "failed".format(**stats))
        buffers = {int(b.address): b for b in hashed(cache) if is_in_io(b)}
        prefetching = list_entries(cache["prefetching"], "struct buffer", "node")
        buffers.update((int(b.address), b) for b in prefetching)
        print(f"{len(buffers)} in I/O")
        now_ns = clock.now_ns()
        for buffer in list(buffers.values())[:LISTED_MAX]:
            print_buffer(buffer, now_ns)
        if len(buffers) > LISTED_MAX:
            print(f"  and {len(buffers) - LISTED_MAX} more")


COMMANDS = (Cache,)
