# SPDX-License-Identifier: MIT
"""Faults injected by the kernel (fault DEV): errors are exact and reach whoever asked, what is delayed or held
is late and not lost, and everything is as before once the rules are gone."""
import json
import subprocess

import pytest
from conftest import BUILD
from vm import EXIT_FAILED, EXIT_OK, Disk, Machine

THREADS = "rw=read bs=4k size=256k iodepth=1 numjobs=32 number_ios=200 warmup=0"


def run(commands, disk, **fields):
    fields.setdefault("smp", 2)
    return Machine(commands=commands, disks=[disk], cmdline="keep_going " + fields.pop("cmdline", ""), **fields).run(240)


def rows(result, *names):
    """The JSON objects that the commands printed: of the jobs and devices named, in that order."""
    found = {row.get("job") or row["name"]: row for row in result.json()}
    return [found[name] for name in names]


def test_error_reaches_exactly_its_requests():
    """32 threads that read two blocks each in turn; one of these blocks is bad."""
    result = run(f"fault vd0 error op=read sector=80-87; iobench name=e dev=vd0 {THREADS} --json; fault vd0 --json", Disk.null())
    bench, fault = rows(result, "e", "vd0")
    assert result.command("iobench")[0] == "-5 EIO"
    assert bench["ios"] == 6400 and bench["errors"] == 100, bench
    assert [(rule["hits"], rule["matches"]) for rule in fault["rules"]] == [(100, 100)]


@pytest.mark.parametrize("queue, indirect", [(256, 1), (8, 0)])
def test_every_nth_request_fails(queue, indirect):
    """Sequential reads, so merges are taken apart; with a short ring the driver leaves many for later."""
    result = run("fault vd0 error every=7; iobench name=e dev=vd0 rw=read bs=4k iodepth=32 numjobs=8 number_ios=700 "
                 "warmup=0 --json; fault vd0 --json", Disk.null(),
                 cmdline=f"virtio.queue_size={queue} virtio.indirect={indirect}")
    bench, fault = rows(result, "e", "vd0")
    assert bench["merges"] > 0 and fault["rules"][0]["matches"] == bench["ios"] == 5600
    assert bench["errors"] == fault["rules"][0]["hits"] == 800


def test_clear_ends_it(boot):
    result = boot(f"fault vd0 error; fault vd0 clear; iobench name=e dev=vd0 {THREADS} --json; fault vd0 --json",
                  disks=[Disk.null()], smp=2)
    bench, fault = rows(result, "e", "vd0")
    assert bench["errors"] == 0 and fault["rules"] == [] and fault["parked"] == 0


def test_delay_shows_in_latency(boot):
    result = boot("fault vd0 delay delay=300ms count=3; iobench name=d dev=vd0 number_ios=20 warmup=0 --json; latency vd0 --json; "
                  "iostat vd0 --json", disks=[Disk.null()], smp=2)
    bench = result.json()[0]
    latency = result.json()[1]["buckets"]
    assert sum(latency[28:]) >= 3, latency  # 2^28 ns = 268 ms
    assert bench["lat_ns"]["max"] >= 300_000_000 and bench["errors"] == 0


def test_held_requests_are_in_flight_until_released():
    """And however long: the disk is not blamed for what it was not given, and not reset; nothing is lost."""
    with Machine(disks=[Disk.null()], smp=2, cmdline="blk.timeout=1").start() as vm:
        def stats(command):
            return json.loads(vm.command(command).splitlines()[1])

        vm.command("fault vd0 hold op=read count=3")
        vm.command("background iobench name=h dev=vd0 rw=randread iodepth=8 number_ios=50 warmup=0 --json")
        vm.command("sleep 4")
        assert stats("fault vd0 --json")["parked"] == 3
        now = stats("iostat vd0 --json")
        assert now["in_flight"] == 3 and now["late"] == now["resets"] == 0, now
        vm.command("fault vd0 release")
        vm.command("wait")
        bench = json.loads(vm.wait_for(r'^\{"job":"h".*$').group())
        assert bench["ios"] == 50 and bench["errors"] == 0, bench
        assert stats("iostat vd0 --json")["in_flight"] == 0


@pytest.mark.parametrize("build", ["", "debug"])
@pytest.mark.parametrize("queue, indirect", [(256, 1), (8, 0)])
def test_stress_under_all_kinds_and_resets(image, build, queue, indirect):
    result = run("fault vd0 error status=retry every=50 count=100; fault vd0 delay every=7 delay=1ms; fault vd0 reorder every=2; "
                 "stress dev=vd0 ios=6000 threads=16 reset=1 seed=3; fault vd0 --json; fault vd0 clear; "
                 "stress dev=vd0 ios=2000 threads=16 seed=4; iostat vd0 --json", Disk.file(image()), build=BUILD / build,
                 cmdline=f"virtio.queue_size={queue} virtio.indirect={indirect}")
    assert result.status == EXIT_OK and result.output.count("stress: OK") == 2, result.output[-4000:]
    fault, stats = result.json()
    assert fault["rules"][0]["hits"] == stats["errors"] == 100 and fault["parked"] == 0
    assert ", 100 retried," in result.output and stats["in_flight"] == stats["queued"] == 0


def test_file_on_a_failing_disk(tmp_path):
    folder = tmp_path / "tree"
    folder.mkdir()
    (folder / "f").write_text("all is well\n" * 10000)
    disk = tmp_path / "fs.img"
    subprocess.run([BUILD / "eclipsefs", "import", disk, folder], check=True, capture_output=True)
    result = run("fault vd0 error op=read; cat /f; fault vd0 --json; fault vd0 clear; sha256 /f; fsck vd0", Disk.file(disk),
                 cmdline="root=vd0")
    assert result.status == EXIT_FAILED
    assert result.command("cat")[0] == "-5 EIO" and result.json()[0]["rules"][0]["hits"] > 0
    assert result.command("sha256")[0] == "0" and result.command("fsck")[0] == "0"


def test_leaving_clears_the_rules():
    """Or the flush at the end would wait for ever."""
    result = run("fault vd0 hold op=flush", Disk.null())
    assert result.status == EXIT_OK, result.output[-2000:]
