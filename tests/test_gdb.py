# SPDX-License-Identifier: MIT
"""gdb through the stub: breakpoints before anything is loaded, and the commands of tools/gdb/umbra.

"A disk that never answers" is made by gdb: it returns from virtqueue_notify before the doorbell is rung. QEMU
cannot hold a request back itself, since it finishes all I/O when it stops the machine; and without ioeventfd=off
it would look at the ring of its own accord when the machine goes on. The block layer's watchdog rings again after
some 500 ms; there the second stop is, with every thread asleep."""
import os
import pty
import re
import select
import subprocess
import time
from pathlib import Path

import pytest
from conftest import BUILD, ROOT
from vm import EXIT_PANIC, Disk, Machine

COMMANDS = ("threads", "backtrace", "cpus", "virtqueue", "queues", "cache", "locks", "irq", "log", "trace")
IN_FLIGHT = "'src/drivers/block/block.c'::devices[1]->in_flight"  # vd0's; [0] is ram0
NO_IOEVENTFD = {"ioeventfd": False}


class Output(dict):
    """What each command printed, by its text; `all` is everything."""

    def __init__(self, output):
        self.all = output
        parts = re.split(r"^@@ (.*)\n", output, flags=re.M)
        super().__init__(zip(parts[1::2], parts[2::2]))
        assert "Python Exception" not in output and "Traceback" not in output, output


def gdb(vm, *commands, build=BUILD, timeout=120):
    """Runs gdb commands against a VM of start()."""
    arguments = ["gdb", "-q", "-nx", "-batch", "-x", "gdbinit", str(build / "umbra.elf"),
                 "-ex", f"target remote {vm.gdb_socket}"]
    for command in commands:
        arguments += ["-ex", f"echo @@ {command.splitlines()[0]}\\n", "-ex", command]
    run = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, cwd=ROOT,
                         stdin=subprocess.DEVNULL)
    return Output(run.stdout)


def start(folder, stopped, **fields):
    machine = Machine(qemu_args=["-chardev", f"socket,path={folder}/gdb.sock,server=on,wait=off,id=gdb", "-gdb", "chardev:gdb",
                                 *(["-S"] if stopped else [])], **fields)
    vm = machine.start()
    vm.gdb_socket = f"{folder}/gdb.sock"
    while not os.path.exists(vm.gdb_socket):
        assert vm.process.poll() is None, vm.text
        time.sleep(0.01)
    return vm


def sent(count, queues=1):
    """That many requests are in the disk's rings, and no CPU is sending another; in virtqueue_notify."""
    rings = [f"((struct virtio_blk_queue *) queue->config.context)->disk->queues[{index}].ring" for index in range(queues)]
    return " && ".join([f"{' + '.join(f'{ring}->added' for ring in rings)} == {count}",
                        *(f"!{ring}->lock.is_locked" for ring in rings)])


def lose_doorbells_until(condition):
    """From a stop in virtqueue_notify to a later one where `condition` holds."""
    return f"python\nwhile True:\n    gdb.execute('return'); gdb.execute('continue')\n    if gdb.parse_and_eval(\"{condition}\"): break\n"


def rows(text):
    """The lines of a virtqueue's table: (id, request, operation, sector, bytes, age in ms, remark)."""
    found = re.findall(r"^ +(\d+) (0x[0-9a-f]{16}) (\S+) +(\d+) +(\d+) +(-?[\d.]+)(.*)$", text, re.M)
    return [(int(i), int(request, 16), op, int(sector), int(size), float(age), remark.strip())
            for i, request, op, sector, size, age, remark in found]


def not_booted(output, command):
    """A command that came too early says so in one line."""
    return re.fullmatch(r"umbra \w+: not booted that far: .*\n", output[command])


# ---- From the first instruction on -----------------------------------------------------------------------------


def test_break_at_kmain(tmp_path):
    """At reset no command finds a kernel; at kmain some find what they need and the others say what is missing."""
    with start(tmp_path, stopped=True) as vm:
        output = gdb(vm, *(f"umbra {name}" for name in COMMANDS), "break kmain", "continue", "backtrace",
                      "print boot_info.protocol", *(f"umbra  {name}" for name in COMMANDS))
    assert "Breakpoint 1, kmain" in output["continue"] and "PVH" in output["print boot_info.protocol"]
    assert all(not_booted(output, f"umbra {name}") for name in COMMANDS), output.all
    for name in ("threads", "backtrace", "virtqueue", "queues", "cache", "irq", "locks", "log"):
        assert not_booted(output, f"umbra  {name}"), output.all
    assert re.search(r"^  0 +1 none .* kmain\S* src/", output["umbra  cpus"], re.M), output["umbra  cpus"]


def test_every_stage_of_the_boot(tmp_path):
    """Stopped anywhere, a command works or names what is missing; and what works goes on working. The first three
    stages: 32-bit code without paging, the first 64-bit code with .bss just cleared, C on the boot stack."""
    stages = ["*((unsigned long) &boot_common - 0xffffffff80000000)", "boot_high", "arch_start", "kmain", "page_init", "mmu_init",
              "acpi_init", "clock_init", "lapic_init", "thread_init", "work_init", "smp_start", "console_init", "block_init",
              "pci_init", "virtio_device_ready", "bcache_init", "vfs_mount_root", "shell_main"]
    steps = [step for n, stage in enumerate(stages)
             for step in (f"hbreak {stage}", f"python gdb.execute('continue') # {n}", *(f"umbra {'':{n}}{c}" for c in COMMANDS))]
    with start(tmp_path, stopped=True, smp=2, disks=[Disk.null()]) as vm:
        output = gdb(vm, *steps)
    working = set()
    for n, stage in enumerate(stages):
        assert "reakpoint" in output[f"python gdb.execute('continue') # {n}"], (stage, output.all)
        missing = {c for c in COMMANDS if not_booted(output, f"umbra {'':{n}}{c}")}
        assert not working & missing, (stage, output.all)
        working = set(COMMANDS) - missing
        assert n > 0 or not working, output.all
    assert working == set(COMMANDS), output.all


def test_iso(tmp_path, image):
    """Both kinds of breakpoints, set before GRUB has loaded the kernel; and on to the mount, which reads through
    the buffer cache."""
    with start(tmp_path, stopped=True, boot="iso", disks=[Disk.file(image(), NO_IOEVENTFD)]) as vm:
        output = gdb(vm, "umbra threads", "hbreak arch_start", "break kmain", "continue", "continue ", "print boot_info.protocol",
                      "break virtqueue_notify", "continue  ", lose_doorbells_until(f"{IN_FLIGHT} == 1"), "umbra cache",
                      "umbra backtrace main", "umbra thread main")
    assert not_booted(output, "umbra threads")
    assert "Breakpoint 1, arch_start" in output["continue"] and "Breakpoint 2, kmain" in output["continue "]
    assert "Multiboot2" in output["print boot_info.protocol"]
    assert re.search(r"^1 in I/O\n  0x[0-9a-f]+ vd0 block 0: busy, 1 references, read for \d{3,}\.\d+ ms, hashed$",
                     output["umbra cache"], re.M), output["umbra cache"]
    functions = ("sched_sleep", "completion_wait", "block_submit_and_wait", "bcache_get", "vfs_mount_root", "kmain", "arch_start")
    for command in ("umbra backtrace main", "umbra thread main"):
        places = [re.search(rf"\b{name}\b.*\bsrc/\S+:\d+", output[command]) for name in functions]
        assert all(places) and [m.start() for m in places] == sorted(m.start() for m in places), output[command]


# ---- A disk that never answers ---------------------------------------------------------------------------------

READERS = 3
HEADER = "((struct virtio_blk_queue *) queue->config.context)->slots[{}].header.sector"
AVAIL_INDEX = "((struct split_ring *) queue)->avail->idx"


@pytest.fixture(scope="module")
def stuck(tmp_path_factory):
    """Two CPUs, three threads that read one block each and sleep for it."""
    folder = tmp_path_factory.mktemp("stuck")
    with start(folder, stopped=True, smp=2, disks=[Disk.null(device=NO_IOEVENTFD)], cmdline="root=none",
               commands=f"trace start; iobench name=x dev=vd0 rw=randread bs=4k iodepth=1 numjobs={READERS} number_ios=100") as vm:
        return gdb(
            vm, "break virtqueue_notify", 'dprintf block_submit_and_wait,"submit %lu\\n",request->sector', "continue",
            lose_doorbells_until(sent(READERS)), "umbra threads", "umbra threads -b", "umbra thread iobench",
            "umbra backtrace 1", "umbra virtqueue", "umbra virtqueue virtio0-queue0", "umbra virtqueue vd7", "umbra queues",
            "umbra cpus", "umbra irq", "umbra locks", "umbra log 0", "umbra log 2", "umbra trace 12", "umbra trace x",
            "info threads", "frame", "print *(struct block_request *) ((struct split_ring *) queue)->ids[0].token",
            f"set var $sector = {HEADER.format(1)}", f"set var {HEADER.format(1)} = 77", f"set var {AVAIL_INDEX} = 99",
            "umbra virtqueue vd0", f"set var {HEADER.format(1)} = $sector", f"set var {AVAIL_INDEX} = {READERS}",
            "delete", f"watch -location {IN_FLIGHT}", "python gdb.execute('continue')", "python umbra.virtqueue.RINGS.clear()",
            "umbra virtqueue ", "umbra threads ")


def submitted(output):
    return sorted(int(sector) for sector in re.findall(r"^submit (\d+)$", output.all, re.M))


def test_stuck_threads(stuck):
    """One line a thread, with what it waits for: the completion of its own request."""
    sectors = re.findall(r"^[ *] +\d+ iobench +blocked +[01] +16 +[\d.]+  completion 0x[0-9a-f]+ of read vd0 sector (\d+), "
                         r"4096 bytes \((?:\d{3,}\.\d+ ms|its CPU rests here)\)$", stuck["umbra threads"], re.M)
    assert len(sectors) == READERS and sorted(map(int, sectors)) == submitted(stuck), stuck["umbra threads"]
    assert len(re.findall(r"^\*", stuck["umbra threads"], re.M)) == 2, "one thread a CPU"


def test_stuck_backtraces(stuck):
    """By frame pointers and by gdb's unwinder: the same functions from the switch up to the thread's start."""
    blocks = re.split(r"(?m)^(?=[ *] +\d+ \S+ +\w+ +\d+ )", stuck["umbra threads -b"])
    sleepers = [block for block in blocks if " iobench " in block]
    assert len(sleepers) == READERS
    way = ("sched_sleep", "completion_wait", "block_submit_and_wait", "bench_worker_main", "thread_begin")
    for text in [*sleepers, *re.split(r"(?m)^(?=\d+ iobench, )", stuck["umbra thread iobench"])[1:]]:
        places = [re.search(rf"\b{name}\b.* at src/\S+\.[ch]:\d+", text) for name in way]
        assert all(places) and [m.start() for m in places] == sorted(m.start() for m in places), text
    assert len(re.findall(r"^#\d+ .*block_submit_and_wait \(request=(?:request@entry=)?0x", stuck["umbra thread iobench"],
                          re.M)) == READERS
    assert "completion = {" in stuck["umbra thread iobench"]  # a local
    running = next(block for block in blocks if block.startswith("*") and "virtqueue_notify" in block)
    assert re.search(r"#0 .* virtqueue_notify at .* timer_run at .* halt at ", running, re.S), "through the interrupt"
    assert "kmain at src/kernel/main.c:" in stuck["umbra backtrace 1"]


def test_stuck_virtqueue(stuck):
    text = stuck["umbra virtqueue"]
    table = rows(text)
    assert sorted(row[3] for row in table) == submitted(stuck) and f"  {READERS} in flight\n" in text, text
    assert [row[0] for row in table] == list(range(READERS))
    mounted = float(re.search(r"^\[ *([\d.]+)\] vfs: ", stuck["umbra log 0"], re.M)[1])
    now = float(re.search(r"^clock: ([\d.]+) s", stuck["umbra cpus"], re.M)[1])
    for _, _, operation, _, size, age, remark in table:  # submitted after the mount, at least a watchdog's tick ago
        assert (operation, size, remark) == ("read", 4096, "") and 450 <= age <= (now - mounted) * 1000, (mounted, now, text)
    assert f"available: next {READERS}, published {READERS} ({READERS}); ring: {READERS}, flags 0, doorbell wanted past 0\n" in text
    assert re.search(r"used: +next 0 \(0\), seen 0; ring: 0, flags 0, interrupt wanted past 0\n", text), text
    assert f"  {READERS} sent, 0 completed, 1 doorbells, 0 interrupts\n" in text
    assert f"256 entries, {256 - READERS} free, event index, not broken, driver up\n" in text
    assert "!!" not in text
    assert rows(stuck["umbra virtqueue virtio0-queue0"]) == table
    assert stuck["umbra virtqueue vd7"] == "no virtqueue is named 'vd7': vd0 virtio0-queue0\n"


def test_stuck_virtqueue_tells_disagreements(stuck):
    """The shared memory was changed behind the driver's back: the header of id 1, and the available index."""
    text = stuck["umbra virtqueue vd0"]
    sector = rows(text)[1][3]
    assert re.findall(r"!! (.*)", text) == [f"sector {sector} by the request, 77 in the ring",
                                           f"published {READERS}, but the ring's available index is 99"], text


def test_ring_of_an_unknown_format(stuck):
    assert stuck["umbra virtqueue "] == ("umbra virtqueue: virtio0-queue0: nothing here knows a ring of the format 'split, "
                                         "indirect'\n")
    assert re.search(r" iobench +\S+ +[01] +16 ", stuck["umbra threads "]), "the others do without"


PACKED = "((struct packed_ring *) queue)"


@pytest.mark.parametrize("indirect", [0, 1])
def test_stuck_packed_ring(tmp_path, indirect):
    """The same disk with a packed ring: its table, its places, and what disagrees when memory is changed."""
    with start(tmp_path, stopped=True, smp=2, disks=[Disk.null(device={"packed": True, **NO_IOEVENTFD})],
               cmdline=f"root=none virtio.queue_size=100 virtio.indirect={indirect}",
               commands=f"iobench name=x dev=vd0 rw=randread bs=4k iodepth=1 numjobs={READERS} number_ios=100") as vm:
        output = gdb(vm, "break virtqueue_notify", 'dprintf block_submit_and_wait,"submit %lu\\n",request->sector', "continue",
                     lose_doorbells_until(sent(READERS)), "umbra virtqueue", f"set var {HEADER.format(1)} = 77",
                     f"set var {PACKED}->used_at = {PACKED}->used_at + 1", "umbra virtqueue vd0")
    text, table, taken = output["umbra virtqueue"], rows(output["umbra virtqueue"]), READERS * (1 if indirect else 3)
    assert sorted(row[3] for row in table) == submitted(output) and "!!" not in text, text
    assert [(row[0], row[2], row[4], row[6]) for row in table] == [(i, "read", 4096, "") for i in range(READERS)], text
    assert f"packed{', indirect' if indirect else ''}, 100 entries, {100 - taken} free, event index, not broken" in text
    assert (f"available: next offset {taken}, wrap counter 1, 0 not published; doorbell wanted always\n"
            "  used:      next offset 0, wrap counter 1; interrupt wanted at offset 0, wrap counter 1\n") in text, text
    findings = re.findall(r"!! (.*)", output["umbra virtqueue vd0"])
    assert f"sector {table[1][3]} by the request, 77 in the ring" in findings
    assert (f"the chains in flight have {taken} descriptors, between the places of used and available are {taken - 1}"
            in findings), findings


def test_stuck_queues(stuck):
    text = stuck["umbra queues"]
    assert re.search(rf"^vd0: 0 queued .*, {READERS} in flight of 256 \(most {READERS}\), scheduler none$", text, re.M), text
    assert re.search(rf"^  {READERS} device requests in \d batches, \d merges, 1 doorbells, 0 interrupts, [1-9] looks", text, re.M)
    assert re.search(r"^ram0: 0 queued .* 0 in flight", text, re.M)
    assert re.search(r"deferred plugs\n  CPU 0: 0 requests, nothing pending\n  CPU 1: 0 requests, nothing pending\n", text), text


def test_stuck_cpus(stuck):
    """The watchdog's timer interrupt on one CPU, the other one idle; gdb's threads are the CPUs."""
    cpus = re.findall(r"^  ([01]) +([12]) \S+ +(busy|idle) +([01]) .*", stuck["umbra cpus"], re.M)
    assert [(cpu, thread) for cpu, thread, _, _ in cpus] == [("0", "1"), ("1", "2")], stuck["umbra cpus"]
    assert {(state, depth) for _, _, state, depth in cpus} == {("busy", "1"), ("idle", "0")}, stuck["umbra cpus"]
    assert re.search(r"busy +1 .* virtqueue_notify\S* src/", stuck["umbra cpus"])
    assert len(re.findall(r"^[* ] \d .*CPU#\d", stuck["info threads"], re.M)) == 2
    assert stuck["frame"].startswith("#0  virtqueue_notify"), "what was selected stays selected"


def test_stuck_log_and_trace(stuck):
    log = stuck["umbra log 0"].splitlines()
    assert re.match(r"\[ +\d+\.\d{6}\] boot: Umbra, ", log[0]) and stuck["umbra log 2"].splitlines() == log[-2:]
    for words in ("smp: 2 CPUs", "vd0: virtio0 on ", "vfs: root=none", "pci: 00:00.0"):  # the last: level debug
        assert any(words in line for line in log), log
    events = re.findall(r"^\[ *(\d+\.\d{9})\] cpu[01] +(\S+) +a=(0x[0-9a-f]+) b=(0x[0-9a-f]+)$", stuck["umbra trace 12"], re.M)
    assert len(events) == 12 and events == sorted(events, key=lambda e: float(e[0])), stuck["umbra trace 12"]
    assert events[-1][1] == "irq" or "switch" in {e[1] for e in events}
    assert stuck["umbra trace x"] == "usage: umbra trace [N]\n"


def test_stuck_interrupts_and_locks(stuck):
    assert re.search(r"^ +\d+ +0 +0 message +virtio0-queue0 +virtio_blk_interrupt$", stuck["umbra irq"], re.M), stuck["umbra irq"]
    assert len(re.findall(r"^CPU [01]: \d+ interrupts", stuck["umbra irq"], re.M)) == 2
    assert stuck["umbra locks"] == "a release build: holders of spinlocks are not kept\nthreads that wait for a mutex: 0\n"


def test_request_printer(stuck):
    printed = stuck["print *(struct block_request *) ((struct split_ring *) queue)->ids[0].token"]
    sector = rows(stuck["umbra virtqueue"])[0][3]
    assert re.search(rf"= read vd0 sector {sector}, 4096 bytes, submitted, status pending, done 0x\w+ <block_wait_done>$", printed,
                     re.M), printed


def test_watchpoint(stuck):
    """A hardware watchpoint on the count in flight; it goes down as the doorbell is rung at last."""
    text = stuck["python gdb.execute('continue')"]
    assert re.search(rf"hit Hardware watchpoint \d+: .*\n\nOld value = {READERS}\nNew value = ", text), text


# ---- Other stops -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entries", [2, 256])
def test_ranges_in_the_ring(tmp_path, entries):
    """Discards, whose sectors lie behind the header, in the same buffer on a ring of two."""
    with start(tmp_path, stopped=True, disks=[Disk.null()], cmdline=f"root=none virtio.queue_size={entries}",
               commands="iobench name=x dev=vd0 rw=randtrim bs=4k iodepth=4 number_ios=100") as vm:
        output = gdb(vm, "break virtio_blk_interrupt", "continue", "umbra virtqueue", "umbra queues")
    table = rows(output["umbra virtqueue"])
    assert table and all(row[2] == "discard" and row[4] == 4096 for row in table) and "!!" not in output["umbra virtqueue"]
    assert len({row[3] for row in table}) == len(table) and "0 get-lifetime" in output["umbra queues"]
    assert "operations" not in output["umbra queues"], output["umbra queues"]


def test_answered_and_not_taken(tmp_path):
    """In the interrupt's handler the device has answered, and the driver does not know yet. Seen through a CPU that
    was never started and maps nothing; it stays selected."""
    with start(tmp_path, stopped=True, smp=2, disks=[Disk.null()],
               cmdline="root=none smp=1 virtio.indirect=0 virtio.event_idx=0",
               commands="iobench name=x dev=vd0 rw=randwrite bs=4k iodepth=4 number_ios=100") as vm:
        output = gdb(vm, "break virtio_blk_interrupt", "continue", "thread 2", "umbra virtqueue", "thread")
    text = output["umbra virtqueue"]
    assert "Current thread is 2" in output["thread"], output.all
    answered = [row for row in rows(text) if row[6] == "answered 1 bytes, status 0, not taken"]
    assert answered and f"{len(rows(text))} in flight, {len(answered)} of them answered by the device" in text, text
    assert {row[2] for row in answered} == {"write"} and "split, 256 entries" in text and "no event index" in text
    assert re.search(rf"seen 0; ring: {len(answered)}, ", text) and "!!" not in text, text
    assert f" {256 - 3 * len(rows(text))} free" in text  # direct: three descriptors each


def test_two_queues(tmp_path):
    """A table a queue; each CPU's reader waits in its own."""
    with start(tmp_path, stopped=True, smp=2, disks=[Disk.null(device={**NO_IOEVENTFD, "num-queues": 2})], cmdline="root=none",
               commands="iobench name=x dev=vd0 rw=randread bs=4k iodepth=1 numjobs=2 number_ios=100") as vm:
        output = gdb(vm, "break virtqueue_notify", "continue", lose_doorbells_until(sent(2, queues=2)), "umbra virtqueue vd0",
                     "umbra virtqueue virtio0-queue1", "thread apply all backtrace")
    tables = re.findall(r"^vd0 virtio0-queue(\d): .*\n(?:  .*\n)+", output["umbra virtqueue vd0"], re.M)
    assert tables == ["0", "1"] and len(rows(output["umbra virtqueue vd0"])) == 2, output.all
    assert set(rows(output["umbra virtqueue virtio0-queue1"])) <= set(rows(output["umbra virtqueue vd0"]))
    stacks = [re.findall(r"^#\d+ +(?:0x\w+ in )?(\w+) ", stack, re.M)
              for stack in output["thread apply all backtrace"].split("\nThread ")[1:]]
    assert [stack[-1] for stack in stacks] == ["context_start"] * 2, output.all


def test_plugs(tmp_path):
    """A thread's open plug before it is closed, and the CPU's deferred plug before it is dispatched."""
    with start(tmp_path, stopped=True, disks=[Disk.null()], cmdline="root=none",
               commands="iobench name=x dev=vd0 rw=randwrite bs=8k iodepth=4 number_ios=4; "
                        "iobench name=y dev=vd0 rw=randread bs=4k iodepth=1 numjobs=4 number_ios=100") as vm:
        output = gdb(vm, "break block_unplug", "continue", "umbra queues", "delete",
                      "break flush_deferred if 'src/drivers/block/plug.c'::deferred_plugs[0].count == 2", "continue ", "umbra queues ")
    request = r"    0x[0-9a-f]+ {} vd0 sector \d+, {} bytes\n"
    assert re.search(r"^open plugs\n  thread \d+ iobench: 4 requests, 0 nested plugs\n(" + request.format("write", 8192) +
                     "){4}deferred plugs\n  CPU 0: 0 requests", output["umbra queues"], re.M), output.all
    assert re.search(r"^deferred plugs\n  CPU 0: 2 requests, .*\n(" + request.format("read", 4096) + "){2}",
                     output["umbra queues "], re.M), output.all


def test_locks_of_the_debug_build(tmp_path):
    """A spinlock by its CPU and where it was taken, mutexes by their thread."""
    build = BUILD / "debug"
    with start(tmp_path, stopped=True, build=build, disks=[Disk.null()], cmdline="root=none",
               commands="iobench name=x dev=vd0 rw=randread bs=4k number_ios=10; reset vd0") as vm:
        output = gdb(vm, "break virtqueue_kick_prepare", "continue", "umbra locks", "delete", "break virtio_device_stop",
                      "python gdb.execute('continue')", "python gdb.execute('umbra locks')", build=build)
    assert re.search(r"^locks held: 2\n  CPU 0: virtqueue 0x[0-9a-f]+, taken at virtio_blk_submit\+\d+ src/\S+:\d+\n"
                     r"  thread 1 main: iobench iobench_mutex, taken at ", output["umbra locks"]), output.all
    mutexes = re.findall(r"^  thread 1 main: (\S+) 0x[0-9a-f]+, taken at \w+\+\d+ src/", output["python gdb.execute('umbra locks')"],
                         re.M)
    assert mutexes == ["block-reset", "virtio_blk"], output.all


def test_who_waits_for_a_mutex(tmp_path):
    """At the deadline of a thread that waits for a mutex: who waits, and who holds it, also in a release build."""
    with start(tmp_path, stopped=True, cmdline="root=none", commands="ktest mutex_lock_gives_up_at_its_deadline") as vm:
        output = gdb(vm, "break lock_contended", "continue", "delete", "break alarm_ring", "continue ", "umbra locks",
                      "umbra threads")
    wait = re.search(r"^threads that wait for a mutex: 1\n  thread (\d+) \S+ waits for (\S+), held by (\d+) (\S+)$",
                     output["umbra locks"], re.M)
    assert wait and wait[1] != wait[3], output.all
    assert re.search(rf"^[ *] +{wait[1]} .* blocked .*  mutex {re.escape(wait[2])} held by {wait[3]} {wait[4]} \(",
                     output["umbra threads"], re.M), output.all


def test_clock(tmp_path):
    """A thread sleeps with a deadline, so a timer is armed: the time is now and not that of the last stamp (but when
    the timer has just run out). The guest's clock runs with the host's, so it is at least what was slept here
    after a line was seen."""
    began = time.monotonic()
    with start(tmp_path, stopped=False, commands="sleep 30") as vm:
        vm.wait_for(">>> sleep 30")
        stamp = float(re.findall(r"^\[ *(\d+\.\d+)\]", vm.text, re.M)[-1])
        time.sleep(0.4)
        looks = [gdb(vm, "umbra cpus", "detach").all for _ in range(4)]
        ended = time.monotonic()
    told = [float(match[1]) for look in looks if (match := re.search(r"clock: ([\d.]+) s since .*, by the LAPIC timer", look))]
    assert told and stamp + 0.39 < told[0], (stamp, looks)
    assert told == sorted(told) and told[-1] < (ended - began) * 1.01, (told, ended - began)


def test_time_by_the_timer(tmp_path):
    """A deadline at 1 s, a timer of 62.5 MHz: half of 50 ms are left; and what does not tell the time."""
    never, rate = 2**64 - 1, 2**32 // 16
    cases = [(10**9, 3125000, 1562500, rate), (never, 3125000, 1562500, rate), (10**9, 3125000, 0, rate),
             (10**9, 2**32 - 1, 1562500, rate), (10**9, 3125000, 1562500, 0)]
    with start(tmp_path, stopped=True) as vm:
        printed = gdb(vm, f"python print([umbra.clock.before_deadline(*case) for case in {cases}])").all
    assert f"[{10**9 - 25 * 10**6}, 0, 0, 0, 0]" in printed


def test_stop_in_panic(tmp_path):
    """gdbinit stops a panic at its end: the report is out, the machine still there; then it ends as ever."""
    with start(tmp_path, stopped=True, smp=2, commands="ktest provoke_assertion") as vm:
        output = gdb(vm, "continue", "backtrace", "umbra cpus", "umbra backtrace 1", "umbra log 1", "info breakpoints",
                      "continue ", "umbra cpus ")
        result = vm.finish(30)
    assert re.search(r"^PANIC: src/kernel/test/provoke_test\.c:\d+: .*assertion failed: kept == &kept$", output["continue"], re.M), (
        output.all)
    frames = re.findall(r"^#\d+ +(?:0x\w+ in )?(\w+) \(", output["backtrace"], re.M)
    assert frames[0] == "kernel_leave" and {"panic", "assert_failed"} < set(frames), output["backtrace"]
    assert frames[-1] == "context_start", "gdb sees where the stack ends"
    assert re.search(r"^  [01] +[12] \S+ +stopped ", output["umbra cpus"], re.M), output["umbra cpus"]
    assert "shell_main at src/" in output["umbra backtrace 1"]
    assert output["info breakpoints"] == "No breakpoints or watchpoints.\n"
    assert output["umbra cpus "] == "no machine is attached: target remote …\n"
    assert result.status == EXIT_PANIC and result.output.count("PANIC: ") == 1


class Terminal:
    """A program on a pseudo-terminal, as a person has it."""

    def __init__(self, *command):
        self.text = ""
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.chdir(ROOT)
            os.execvp(command[0], command)

    def wait_for(self, pattern, timeout=60):
        deadline = time.monotonic() + timeout
        while not (match := re.search(pattern, self.text, re.S)):
            assert time.monotonic() < deadline, self.text
            if select.select([self.fd], [], [], 0.2)[0]:
                self.text += os.read(self.fd, 65536).decode(errors="replace").replace("\r", "")
        self.text = self.text[match.end():]
        return match

    def type(self, text):
        os.write(self.fd, text.encode())


@pytest.mark.xdist_group("build/disk.img")
def test_make_debug():
    """The README's way: stopped at the first instruction; Ctrl-C stops the kernel and ends nothing."""
    terminal = Terminal("make", "debug", "BOOT=kernel", "CMD=sleep 60")
    try:
        console = terminal.wait_for(r"goes to (/\S+)")[1]
        terminal.wait_for(r"0x0*fff0.*\(gdb\) ")
        terminal.type("continue\n")
        deadline = time.monotonic() + 60
        while ">>> sleep 60" not in Path(console).read_text():
            assert time.monotonic() < deadline, Path(console).read_text()
            time.sleep(0.1)
        terminal.type("\x03")
        terminal.wait_for(r"SIGINT.*\(gdb\) ")
        terminal.type("umbra threads\n")
        terminal.wait_for(r"ID NAME .* main .*\(gdb\) ")
        terminal.type("quit\n")
        terminal.wait_for("detached")
    finally:
        os.close(terminal.fd)  # a hang-up: run.py ends QEMU
        os.waitpid(terminal.pid, 0)
