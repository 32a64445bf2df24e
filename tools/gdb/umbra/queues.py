# SPDX-License-Identifier: MIT
"""umbra queues: what has been submitted to block devices, and where it is on its way down."""
import gdb

from . import requests, virtqueue
from .kernel import Command, cpus, fifo_entries, text, variable
from .scheduler import all_threads

LISTED_MAX = 8


def statistics(stats):
    counts = []
    for field in gdb.lookup_type("enum block_operation").fields()[:-1]:  # the last one is their number
        name, i = field.name[len("BLOCK_"):].lower().replace("_", "-"), field.enumval
        counts.append(f"{int(stats['ios'][i])} {name} ({int(stats['sectors'][i]) // 2} KiB)")
    return ", ".join(counts)


def bells():
    """Doorbells and interrupts of the virtio disks, by name: the drivers count them."""
    found = {}
    for disk in virtqueue.disks():
        interrupts = sum(int(disk.driver(queue)["interrupts"]) for queue in disk.queues)
        found[disk.name] = f", {sum(int(queue['kicks']) for queue in disk.queues)} doorbells, {interrupts} interrupts"
    return found


def print_device(device, bells_of):
    stats, name = device["stats"], text(device["name"])
    returned = sum(1 for _ in fifo_entries(device["returned"], "struct block_request", "node"))
    print(f"{name}: {int(device['queued'])} queued ({returned} of them given back by the driver), "
          f"{int(device['in_flight'])} in flight of {int(device['limits']['depth'])} (most {int(stats['in_flight_max'])}), "
          f"scheduler {text(device['scheduler']['name'])}")
    print(f"  done: {statistics(stats)}, {int(stats['errors'])} errors")
    print(f"  {int(stats['device_requests'])} device requests in {int(stats['batches'])} batches, "
          f"{int(stats['merges'])} merges{bells_of.get(name, '')}, {int(stats['late'])} looks at what is late")


def print_requests(fifo):
    for number, request in enumerate(fifo_entries(fifo, "struct block_request", "node")):
        if number == LISTED_MAX:
            print("    …")
            return
        print(f"    0x{int(request.address):x} {requests.summary(request)}")


def print_plug(owner, plug):
    state = ", being dispatched" if plug["is_flushing"] else ""
    print(f"  {owner}: {int(plug['count'])} requests, {int(plug['depth'])} nested plugs{state}")
    print_requests(plug["requests"])


def print_plugs():
    print("open plugs")
    for thread in all_threads():
        if int(thread["plug"]):
            print_plug(f"thread {int(thread['id'])} {text(thread['name'])}", thread["plug"].dereference())
    plugs = variable("interrupt_plugs", "src/drivers/block/plug.c")
    for cpu in cpus():
        if int(plugs[int(cpu["id"])]):
            print_plug(f"interrupt on CPU {int(cpu['id'])}", plugs[int(cpu["id"])].dereference())


def print_deferred():
    print("deferred plugs")
    plugs = variable("deferred_plugs", "src/drivers/block/plug.c")
    for cpu in cpus():
        plug = plugs[int(cpu["id"])]
        pending = "a dispatch is pending" if plug["call"]["is_pending"] else "nothing pending"
        print(f"  CPU {int(cpu['id'])}: {int(plug['count'])} requests, {pending}")
        if int(plug["count"]):
            print_requests(plug["requests"])


class Queues(Command):
    """Show the request queues of block devices, and the plugs in which requests wait before them.

    umbra queues

    Queued: with the scheduler, or given back by the driver. In flight: the driver has them (umbra virtqueue).
    An open plug is a thread's, or an interrupt's while it dispatches. A CPU's deferred plug collects what
    sleeping threads submitted until the CPU runs out of work."""

    name = "queues"

    def run(self):
        devices = requests.block_devices()
        try:
            bells_of = bells()
        except gdb.GdbError:
            bells_of = {}
        for device in devices:
            print_device(device, bells_of)
        print_plugs()
        print_deferred()


COMMANDS = (Queues,)
