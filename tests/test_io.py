# SPDX-License-Identifier: MIT
"""What the I/O path claims: sleeping instead of polling, few doorbells and interrupts, exact errors, nothing
lost at any depth, and every late or failed request accounted for."""
import json
import random
import re
import time

import pytest
from vm import PROMPT, Disk, Machine


def bench(boot, arguments, disk, **fields):
    return boot(f"iobench name=t dev=vd0 {arguments} --json", disks=[disk], **fields).json()[0]


def test_cpus_halt_while_32_threads_wait(boot):
    """A disk of 5 ms latency: 32 threads wait for it and the CPUs are halted (R7)."""
    row = bench(boot, "rw=randread bs=4k iodepth=1 numjobs=32 number_ios=100", Disk.null(latency_ns=5_000_000), smp=2)
    assert row["ios"] >= 3200 and row["errors"] == 0
    assert row["cpu_ns"] < 0.25 * 2 * row["runtime_ns"], row


def test_doorbells_and_interrupts_fall_with_depth(boot):
    """Counted by QEMU's own trace points, from outside, and equal to what the kernel says."""
    per_io = {}
    for depth in (1, 4, 32, 128):
        row = bench(boot, f"rw=randread bs=4k iodepth={depth} number_ios=6400", Disk.null())
        per_io[depth] = (row["kicks"] / row["ios"], row["interrupts"] / row["ios"])
    for small, large in ((1, 4), (4, 32), (32, 128)):
        assert per_io[large][0] < per_io[small][0] and per_io[large][1] < per_io[small][1], per_io
    assert per_io[1][0] <= 1.05 and per_io[128][0] <= 1 / 60 and per_io[128][1] <= 1 / 60, per_io


def test_threads_share_doorbells(boot):
    row = bench(boot, "rw=randread bs=4k iodepth=1 numjobs=32 number_ios=500", Disk.null())
    assert row["kicks"] <= row["ios"] / 12 and row["interrupts"] <= row["ios"] / 12, row


def test_sequential_requests_merge(boot):
    row = bench(boot, "rw=read bs=4k iodepth=32 number_ios=16000", Disk.null())
    assert row["device_requests"] <= row["ios"] / 16, row


@pytest.mark.parametrize("mode", ["irq", "poll", "raw"])
def test_modes(boot, mode):
    row = bench(boot, f"rw=randread bs=4k iodepth=32 number_ios=6400 mode={mode}", Disk.null())
    assert row["ios"] >= 6400 and row["errors"] == 0


def test_old(boot):
    """The polling driver with 8 descriptors that Umbra replaces."""
    row = bench(boot, "rw=randread bs=4k iodepth=1 number_ios=3000 mode=poll", Disk.null(), cmdline="virtio.queue_size=8")
    assert row["errors"] == 0 and row["interrupts"] <= 10, row


@pytest.mark.parametrize("queue", [4, 256])
@pytest.mark.parametrize("indirect", [0, 1])
def test_verified_random_io(boot, image, queue, indirect):
    row = bench(boot, "rw=randrw bs=4k iodepth=128 numjobs=4 number_ios=2000 verify=crc32c", Disk.file(image()), smp=2,
                cmdline=f"virtio.queue_size={queue} virtio.indirect={indirect}")
    assert row["verify_errors"] == 0 and row["errors"] == 0


def test_short_stress_64_threads(boot, image):
    for queue in (4, 256):
        result = boot("stress dev=vd0 ios=20000 threads=64 seed=3", smp=2, disks=[Disk.file(image())],
                      cmdline=f"virtio.queue_size={queue}", timeout=300)
        assert "stress: OK" in result.output


def blkdebug(path, rules):
    return Disk({"driver": "blkdebug", "image": {"driver": "file", "filename": str(path)}, "inject-error": rules},
                {"rerror": "report", "werror": "report", "request-merging": False})


def test_error_reaches_exactly_its_requests(image):
    """One bad sector among 32 threads of reads over 64 blocks: as many errors as reads of that block, no
    more and no fewer (hazard 45): each block is read in turn, so a 64th of them."""
    disk = blkdebug(image(), [{"event": "none", "iotype": "read", "sector": 80, "errno": 5}])
    result = Machine(commands="iobench name=e dev=vd0 rw=read bs=4k size=256k iodepth=1 numjobs=32 number_ios=200 --json",
                     disks=[disk], smp=2).run()
    row = result.json()[0]
    assert row["ios"] == 6400 and row["errors"] == 100, row


def test_flush_error_is_reported(image):
    disk = blkdebug(image(), [{"event": "none", "iotype": "flush", "errno": 28}])
    result = Machine(commands="iobench name=f dev=vd0 rw=write bs=4k iodepth=1 number_ios=10 fsync=1 --json",
                     disks=[disk]).run()
    assert result.json()[0]["errors"] == 10


def test_reset_under_load(boot, image):
    result = boot("stress dev=vd0 ios=8000 threads=16 seed=5 reset=1", smp=2, disks=[Disk.file(image())], timeout=240)
    assert "stress: OK" in result.output


def resize(vm, megabytes):
    vm.qmp("block_resize", **{"node-name": "node0", "size": megabytes << 20})


def wait_for_reads(vm, count):
    """Until the disk has done so many more."""
    def reads():
        return vm.qmp("query-blockstats")[0]["stats"]["rd_operations"]
    count += reads()
    deadline = time.monotonic() + 60
    while reads() < count:
        assert time.monotonic() < deadline, vm.text


def start_load(vm, arguments):
    """Types an iobench without end and waits until the disk is busy with it."""
    vm.wait_for(PROMPT)
    vm.type(f"iobench dev=vd0 bs=4k iodepth=32 numjobs=4 runtime=3600 warmup=0 --json {arguments}\r")
    wait_for_reads(vm, 1000)


def finish_load(vm):
    vm.type("\x03")
    return json.loads(vm.wait_for(r"^(\{.*\})\n(.*\n)*" + PROMPT, 60).group(1))


@pytest.mark.parametrize("vectors", [0, 1, 2])
def test_resize(image, vectors):
    """The configuration interrupt, of its own or shared, brings each new capacity while I/O goes on, and the
    last one of many that come at once (hazards 10, 34, 38)."""
    with Machine(disks=[Disk.file(image(), {"vectors": vectors})], smp=2).start() as vm:
        start_load(vm, "rw=randrw size=16m verify=crc32c")
        for i in range(20):
            before, after = (64, 32) if i % 2 == 0 else (32, 64)
            seen = len(vm.text)
            resize(vm, after)
            vm.wait_for(rf"vd0: capacity changed from {before * 2048} to {after * 2048} sectors \({after} MiB\)$", 60, seen)
        for i in range(20):
            resize(vm, 65 + i)
        vm.wait_for(r"vd0: .* \(84 MiB\)$")
        row = finish_load(vm)
        assert row["ios"] > 0 and row["errors"] == 0 and row["verify_errors"] == 0, row
        assert re.search(r"^vd0 +84 MiB", vm.command("lsblk"), re.M)


def test_shrink_under_requests(image):
    """Requests that are behind the new end fail, each once; the others and the disk go on."""
    with Machine(disks=[Disk.file(image())], smp=2).start() as vm:
        start_load(vm, "rw=randread")
        resize(vm, 16)
        vm.wait_for(r"vd0: .* \(16 MiB\)$")
        row = finish_load(vm)
        assert 0 < row["errors"] < row["ios"], row
        assert '"errors":0,' in vm.command("iobench dev=vd0 rw=read bs=64k number_ios=256 warmup=0 --json")


def resize_often(vm, now, times):
    """To any size, each time when the kernel has heard of the one before; returns the last, in MiB."""
    sizes = random.Random(now)
    for _ in range(times):
        before, now = now, sizes.choice([size for size in range(16, 129) if size != now])
        seen = len(vm.text)
        resize(vm, now)
        vm.wait_for(rf"vd0: capacity changed from {before * 2048} to {now * 2048} sectors \({now} MiB\)$", 60, seen)
    return now


def test_a_hundred_resizes_under_load(image):
    """Growing and shrinking. What is behind the end fails, refused by the kernel or, before it has heard of the new size,
    by the disk; everything else comes back right, and everything once."""
    with Machine(disks=[Disk.file(image(96 << 20))], smp=2).start() as vm:
        start_load(vm, "rw=randread")
        now = resize_often(vm, 96, 100)
        row = finish_load(vm)
        assert 0 < row["errors_out_of_range"] < row["ios"], row
        assert row["errors"] == row["errors_out_of_range"] + row["errors_failed"], row
        stats = json.loads(vm.command("iostat vd0 --json").splitlines()[1])
        assert stats["in_flight"] == stats["queued"] == 0 and stats["errors"] == row["errors_failed"], (stats, row)
        vm.type("stress dev=vd0 size=16m ios=20000 threads=16 seed=1\r")  # there is always so much
        resize_often(vm, now, 100)
        vm.wait_for("^stress: OK: ", 120)


def test_json_says_what_the_tables_say(boot, image):
    """--json of the commands with figures: one object a line, with the numbers of the table for people."""
    reads = "iobench dev=vd0 rw=randread bs=4k number_ios=300"
    result = boot(f"{reads}; lsblk; lsblk --json; irq; irq --json; iostat vd0; iostat vd0 --json",
                  disks=[Disk.file(image(32 << 20), {"logical_block_size": 4096, "physical_block_size": 4096})])
    rows = {row["name"]: row for row in map(json.loads, result.command("lsblk --json")[1].splitlines())}
    for line in result.command("lsblk")[1].splitlines()[1:]:
        name, size, _, block, depth, segments = line.split()[:6]
        row = rows.pop(name)
        assert [row["bytes"] >> 20, row["block_bytes"], row["depth"], row["segments"]] == list(map(int, (size, block, depth, segments)))
    assert not rows
    table = re.findall(r"^ *(\d+) +(\d+) +(\d+) (\S+)$", result.command("irq")[1], re.M)
    vectors = [json.loads(line) for line in result.command("irq --json")[1].splitlines()]
    assert table == [tuple(str(row[key]) for key in ("vector", "cpu", "count", "name")) for row in vectors]
    assert any(int(count) >= 300 and name == "virtio0-queue0" for _, _, count, name in table)
    row = json.loads(result.command("iostat vd0 --json")[1])
    assert f"reads {row['reads']} " in result.command("iostat vd0")[1] and row["reads"] >= 300


def test_trace_has_the_wakes_of_a_lone_sleeper(boot):
    """The short way of waking a resting thread must not hide from the trace. The disk is slow, so that it sleeps."""
    result = boot("trace start; iobench dev=vd0 rw=randread bs=4k iodepth=1 number_ios=20; trace stop; trace dump 400", disks=[Disk.null(latency_ns=5_000_000)])
    events = re.findall(r"cpu0 +(\S+) ", result.command("trace dump")[1])
    assert events.count("block-done") >= 20 and events.count("wake") >= 10, events
