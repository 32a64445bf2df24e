# SPDX-License-Identifier: MIT
"""A disk that stops answering is reset by the watchdog. It is stopped from outside, by a limit of QEMU's on its
throughput. QEMU answers a reset by finishing what it has begun, limit or not, and the driver takes that before it
sends the rest again. Disks that finish nothing are made up in tests/host/virtio_blk_lies_test.c."""
import json

import pytest
from test_io import finish_load, start_load, wait_for_reads
from vm import Disk, Machine

STOPPED, RUNNING = {"bps-total": 1}, {"bps-total": 0}


def limited(device=None):
    return Disk({"driver": "throttle", "throttle-group": "limits", "file": Disk.null().spec}, device or {})


def start(seconds, disk, **fields):
    return Machine(disks=[disk], cmdline=f"root=none blk.timeout={seconds}", qemu_args=["-object", "throttle-group,id=limits"], **fields).start()


def limit(vm, limits):
    vm.qmp("qom-set", path="/objects/limits", property="limits", value=limits)


def stats(vm):
    return json.loads(vm.command("iostat vd0 --json").splitlines()[1])


@pytest.mark.parametrize("device", [{}, {"packed": True}, {"num-queues": 2}, {"vectors": 0}])
def test_disk_that_stops_and_comes_back(device):
    """Nobody above sees more of it than a delay."""
    with start(3, limited(device), smp=2) as vm:
        start_load(vm, "rw=randread")
        limit(vm, STOPPED)
        vm.wait_for(r"vd0: warning: reset: a request timed out$")
        assert "looked at the ring" in vm.text  # first
        vm.wait_for(r"vd0: warning: works again: \d+ requests sent again, 0 given up$")
        limit(vm, RUNNING)
        wait_for_reads(vm, 1000)
        row = finish_load(vm)
        assert row["ios"] > 1000 and row["errors"] == 0, row
        now = stats(vm)
        assert now["timeouts"] == now["resets"] >= 1 and now["late"] >= 6 and now["given_up"] == 0, now
        assert f"timeouts {now['timeouts']}, resets {now['resets']}, " in vm.command("iostat vd0")


def test_slow_disk_is_left_alone():
    """By default a request has 30 seconds, and with 0 all the time in the world."""
    with Machine(disks=[Disk.null(latency_ns=2_500_000_000)], cmdline="root=none", smp=2).start() as vm:
        assert "vd0: 30 s" in vm.command("timeout vd0")
        vm.command("timeout vd0 0")
        vm.command("iobench name=s dev=vd0 number_ios=1 warmup=0")
        now = stats(vm)
        assert now["late"] >= 2 and now["timeouts"] == now["resets"] == now["errors"] == 0, now
