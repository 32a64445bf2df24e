# SPDX-License-Identifier: MIT
"""Pretty printers: a request in one line, a list head by its length. `print/r` shows the struct as it is."""
import gdb
import gdb.printing

from . import requests
from .kernel import Broken, chain, at, enum_name

LENGTH_MAX = 10000


class Request:
    def __init__(self, value):
        self.value = value

    def to_string(self):
        try:
            status = enum_name("enum block_status", self.value["status"], "BLOCK_").replace("_", " ")
            phase = "submitted" if int(self.value["phase"]) else "its owner's"
            return f"{requests.summary(self.value)}, {phase}, status {status}, done {self.value['done']}"
        except gdb.MemoryError:
            return "a request that is not set up"


class Chain:
    """Of a head: how many nodes are behind it. A node in a list counts the head and the others."""

    kind, first = "", ""

    def __init__(self, value):
        self.value = value

    def end(self):
        return 0

    def to_string(self):
        try:
            count = 0
            for _ in chain(self.value[self.first], lambda a: at(self.kind, a)["next"], self.end()):
                count += 1
                if count == LENGTH_MAX:
                    return f"more than {LENGTH_MAX} nodes"
            return f"{count} nodes, the first 0x{int(self.value[self.first]):x}" if count else "empty"
        except (Broken, gdb.MemoryError):
            first = int(self.value[self.first])
            return f"broken: the first is 0x{first:x}" if first else "not set up, or in no list"


class List(Chain):
    kind, first = "struct list", "next"

    def end(self):
        return int(self.value.address or 0)


class Fifo(Chain):
    kind, first = "struct fifo_node", "head"


def register():
    printers = gdb.printing.RegexpCollectionPrettyPrinter("umbra")
    printers.add_printer("block_request", "^block_request$", Request)
    printers.add_printer("list", "^list$", List)
    printers.add_printer("fifo", "^fifo$", Fifo)
    gdb.printing.register_pretty_printer(None, printers, replace=True)
