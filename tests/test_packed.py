# SPDX-License-Identifier: MIT
"""The packed ring in whole boots: the device's sizes and features, sizes that no split ring has, resets, and more
requests than 16 bits count. Each stress verifies its blocks and ends with every descriptor free."""
import re

import pytest
from conftest import BUILD
from vm import Disk

STRESS = "stress dev=vd0 ios=1500 threads=8 seed=7"


def packed(path, **device):
    return Disk.file(path, {"packed": True, **device})


def null(**device):
    return Disk.null(device={"packed": True, **device})


def ring_of(result):
    """(entries, format) of queue 0, as the log has it."""
    entries, text = re.search(r"queue 0: (\d+) entries, (packed, indirect|packed|split, indirect|split),", result.output).groups()
    return int(entries), text


def check_stress(result, entries, indirect=1):
    status, output = result.command("stress")
    assert status == "0" and "stress: OK" in output and "all descriptors free" in output, output
    assert "+RING_PACKED" in result.output
    assert ring_of(result) == (entries, "packed, indirect" if indirect else "packed")


@pytest.mark.parametrize("size", [4, 8, 64, 256, 1024])
@pytest.mark.parametrize("indirect", [0, 1])
@pytest.mark.parametrize("event_idx", [0, 1])
def test_device(boot, image, size, indirect, event_idx):
    """The device's own queue size, and features that it does not offer."""
    disk = packed(image(), **{"queue-size": size, "indirect_desc": bool(indirect), "event_idx": bool(event_idx)})
    result = boot(STRESS, smp=2, disks=[disk], cmdline="virtio.queue_size=1024")
    check_stress(result, size, indirect)
    assert ("+EVENT_IDX" in result.output) == bool(event_idx)


@pytest.mark.parametrize("size", [2, 3, 5, 100])
@pytest.mark.parametrize("indirect", [0, 1])
def test_size_by_command_line(boot, image, size, indirect):
    """Need not be a power of two; 2 takes the way of virtio_blk_bounce.c."""
    cmdline = f"virtio.queue_size={size} virtio.indirect={indirect}"
    check_stress(boot(STRESS, smp=2, disks=[packed(image())], cmdline=cmdline), size, indirect)


def test_refused_by_command_line(boot, image):
    """And a size that only a packed ring could have is rounded down."""
    result = boot(STRESS, disks=[packed(image())], cmdline="virtio.packed=0 virtio.queue_size=100")
    assert result.command("stress")[0] == "0"
    assert "-RING_PACKED" in result.output and ring_of(result) == (64, "split, indirect")
    assert re.search(r"warning: .*100 entries: 64 are used", result.output)


@pytest.mark.parametrize("build", ["build", "build/debug"])
def test_ktest(boot, image, build):
    result = boot("ktest", build=BUILD.parent / build, smp=2, disks=[packed(image())], timeout=300)
    assert re.search(r"\d+ passed, 0 failed", result.output)


@pytest.mark.parametrize("queue", [3, 256])
def test_reset_under_load(boot, image, queue):
    result = boot("stress dev=vd0 ios=8000 threads=16 seed=5 reset=1", smp=2, disks=[packed(image())],
                  cmdline=f"virtio.queue_size={queue}", timeout=240)
    check_stress(result, queue)
    assert int(re.search(r"(\d+) resets", result.command("stress")[1]).group(1)) > 0


@pytest.mark.parametrize("queue", [5, 256])
def test_over_65536_requests(boot, queue):
    row = boot("iobench name=wrap dev=vd0 rw=randread bs=512 iodepth=64 number_ios=140000 --json", disks=[null()],
               cmdline=f"virtio.queue_size={queue}").json()[0]
    assert row["ios"] >= 140000 and row["errors"] == 0


@pytest.mark.parametrize("mode", ["irq", "poll", "raw"])
@pytest.mark.parametrize("indirect", [0, 1])
def test_modes(boot, mode, indirect):
    row = boot(f"iobench name=m dev=vd0 rw=randread bs=4k iodepth=32 number_ios=6400 mode={mode} --json", disks=[null()],
               cmdline=f"virtio.indirect={indirect}").json()[0]
    assert row["ios"] >= 6400 and row["errors"] == 0
    assert row["interrupts"] <= (10 if mode == "poll" else row["ios"] / 8), row


@pytest.mark.parametrize("machine", ["pc", "microvm"])
def test_other_interrupts(boot, image, machine):
    """By pin; and by the line of a virtio-mmio device."""
    check_stress(boot(STRESS, smp=2, machine=machine, disks=[packed(image(), **({"vectors": 0} if machine == "pc" else {}))]), 256)


def test_queue_a_cpu(boot, image):
    """Four packed rings at once, of a size that is no power of two."""
    result = boot(STRESS, smp=4, disks=[packed(image(), **{"num-queues": 4})], cmdline="virtio.queue_size=5")
    check_stress(result, 5)
    assert result.output.count("5 entries, packed, indirect") == 4, result.output


def test_one_possible_cpu(boot, image):
    """Without maxcpus=2 TCG emits no guest barriers: lost doorbells must be mended (hazard 48)."""
    check_stress(boot(STRESS, smp=1, maxcpus=1, disks=[packed(image())]), 256)


def test_debug_build(boot, image):
    check_stress(boot(STRESS, build=BUILD / "debug", smp=2, disks=[packed(image())]), 256)
