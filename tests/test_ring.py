# SPDX-License-Identifier: MIT
"""Rings of another size at run time (ring DEV ENTRIES): by RING_RESET, by a reset of the device, or not at all."""
import pytest
from vm import EXIT_FAILED, Disk, Machine

READS = "iobench name={0} dev=vd0 rw=randread bs=4k iodepth=512 batch=512 number_ios=4000 warmup=0 --json"


@pytest.mark.parametrize("device, how", [({}, "+RING_RESET"), ({"queue_reset": False}, None), ({"packed": True}, "+RING_RESET"),
                                         ({"num-queues": 2}, "+RING_RESET"), ({"vectors": 0}, "+RING_RESET")])
def test_sizes_are_compared_in_one_boot(boot, image, device, how):
    """With a load that is deeper than they are, and one that looks at what it reads; a reset keeps the size."""
    sizes = [512, 128, 256, 512]
    commands = "; ".join(f"ring vd0 {size}; {READS.format(size)}; lsblk --json; stress dev=vd0 ios=1000 size=16m" for size in sizes)
    result = boot(f"features vd0; {commands}; reset vd0; ring vd0", smp=2, disks=[Disk.file(image(), {"queue-size": 512, **device})],
                  cmdline="virtio.queue_size=512")
    rows = result.json()
    assert [row["depth"] for row in rows if row["name"] == "vd0"] == [size * device.get("num-queues", 1) for size in sizes]
    assert [row["errors"] for row in rows if "job" in row] == [0] * len(sizes)
    assert result.output.count("stress: OK") == len(sizes)
    assert "vd0: 512 entries, from 66 to 512" in result.output.splitlines()
    assert (how or "") in result.command("features")[1] and ("RING_RESET" in result.command("features")[1]) == bool(how)


@pytest.mark.parametrize("device, command", [({}, "ring vd0 100"), ({}, "ring vd0 64"), ({}, "ring vd0 512"), ({}, "ring vd0 x"), ({}, "ring ram0"),
                                             ({"disable-modern": True, "disable-legacy": "off"}, "ring vd0 128")])
def test_refused(device, command):
    """No power of two, too few for the longest request, more than there is memory for; and legacy rings are as they are."""
    result = Machine(commands=f"{command}; iobench name=t dev=vd0 number_ios=100 --json", cmdline="keep_going",
                     disks=[Disk.null(device=device)]).run()
    assert result.status == EXIT_FAILED and result.command("iobench")[0] == "0", result.output[-2000:]
