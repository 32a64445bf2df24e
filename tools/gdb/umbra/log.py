# SPDX-License-Identifier: MIT
"""umbra log: the log ring, all levels, as src/kernel/log.c keeps it: records of {u16 length, u8 level, text}."""
import struct

import gdb

from .kernel import Broken, Command, NotBooted, read

RECORD = struct.Struct("<HB")


def lines():
    ring = gdb.parse_and_eval("&log_ring").dereference()
    size, head, tail = ring["bytes"].type.sizeof, int(ring["head"]), int(ring["tail"])
    if head == 0:
        raise NotBooted("the log is empty")
    if not tail <= head <= tail + size:
        raise Broken(f"the log's head {head} and tail {tail} are not {size} bytes apart")
    held = read(ring["bytes"].address, size)
    data = (held + held)[tail % size:][:head - tail]
    position = 0
    while position + RECORD.size <= len(data):
        length, _ = RECORD.unpack_from(data, position)
        position += RECORD.size
        yield data[position:position + length].decode(errors="replace")
        position += length


class Log(Command):
    """Print the newest N lines (50) of the log ring, which holds every level; 0: all of them.

    umbra log [N]"""

    name, usage = "log", "[N]"

    def run(self, *words):
        limit = self.count(words, 50)
        for line in list(lines())[-limit:]:
            print(line)


COMMANDS = (Log,)
