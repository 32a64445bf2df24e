# SPDX-License-Identifier: MIT
"""A disk of several queues: how many are used, which vectors they get, that each CPU keeps to its own, that a full
one's requests find room in the others, and that a reset takes all of them along."""
import re

import pytest
from conftest import BUILD
from vm import Disk, Machine

STRESS = "stress dev=vd0 ios=1500 threads=8 seed=11"


def queues_of(output):
    """What the boot says of each queue of vd0, in order: (entries, how it interrupts)."""
    lines = re.findall(r"vd0: queue (\d+): (\d+) entries, split, indirect, (.*)$", output, re.M)
    assert [int(index) for index, _, _ in lines] == list(range(len(lines)))
    return [(int(entries), how) for _, entries, how in lines]


def counts(output):
    """By `irq`: the interrupts of vd0's queues, by (queue, CPU)."""
    rows = re.findall(r"^ +\d+ +(\d+) +(\d+) virtio0-queue(\d+)", output, re.M)
    return {(int(queue), int(cpu)): int(count) for cpu, count, queue in rows}


def expected_interrupts(queues, vectors, smp):
    """A pattern for each queue's, by how many vectors there are (transport_pci_irq.c)."""
    if vectors >= queues + 1:
        return [rf"MSI-X vector \d+ on CPU {index % smp}" for index in range(queues)]
    grades = {0: "INTx .*", 1: r"shared MSI-X vector \d+ on CPU 0"}
    return [grades.get(vectors, r"MSI-X for queues vector \d+ on CPU 0")] * queues


# Each number of queues with each of CPUs and of vectors (None: one a queue and one more), and those with each other.
@pytest.mark.parametrize("offered, smp, vectors",
                         [(1, 1, 0), (1, 2, 1), (1, 4, 2), (2, 1, None), (2, 2, 0), (2, 4, 1), (4, 1, 1), (4, 2, 2),
                          (4, 4, 0), (4, 4, None), (2, 1, 2), (1, 2, None)])
def test_queues_and_vectors(boot, image, offered, smp, vectors):
    vectors = offered + 1 if vectors is None else vectors
    result = boot(f"features vd0; {STRESS}; irq", smp=smp,
                  disks=[Disk.file(image(), {"num-queues": offered, "vectors": vectors})])
    used, found = min(offered, smp), queues_of(result.output)
    assert len(found) == used and f", {used} of {offered} queues" in result.output
    for (entries, how), pattern in zip(found, expected_interrupts(used, vectors, smp)):
        assert entries == 256 and re.fullmatch(pattern, how), how
    features = result.command("features")[1]
    assert features.count("256 entries") == used and ("+MQ" in features) == (offered > 1)
    assert "stress: OK" in result.output and "all descriptors free" in result.output


def test_each_cpu_has_its_queue(boot, image):
    """Both queues' interrupts count up, each on its own CPU; the depth is both rings'."""
    result = boot(f"{STRESS}; lsblk; irq", smp=2, disks=[Disk.file(image(), {"num-queues": 2})])
    found = counts(result.command("irq")[1])
    assert set(found) == {(0, 0), (1, 1)} and all(count > 0 for count in found.values()), found
    assert re.search(r"^vd0 +64 MiB +512 +512 ", result.command("lsblk")[1], re.M)


def test_a_limit(boot, image):
    result = boot(f"{STRESS}; irq", smp=4, cmdline="virtio.queues=1", disks=[Disk.file(image(), {"num-queues": 4})])
    assert len(queues_of(result.output)) == 1 and ", 1 of 4 queues" in result.output
    assert set(counts(result.command("irq")[1])) == {(0, 0)}


@pytest.mark.parametrize("indirect", [0, 1])
def test_short_queues(boot, image, indirect):
    """64 threads for rings of four: most of the time all are full, and a CPU's requests go where there is room."""
    result = boot("stress dev=vd0 ios=3000 threads=64 seed=12; iostat vd0 --json", smp=4, timeout=300,
                  cmdline=f"virtio.indirect={indirect}", disks=[Disk.file(image(), {"num-queues": 4, "queue-size": 4})])
    assert "stress: OK" in result.output and "all descriptors free" in result.output
    assert result.json()[-1]["in_flight_max"] == (16 if indirect else 4)


@pytest.mark.parametrize("size", [4, 256])
def test_reset_under_load(boot, image, size):
    """What is in flight on any queue over a reset ends once, with the debug build's checks on."""
    result = boot("stress dev=vd0 ios=2000 threads=16 seed=13 reset=1", build=BUILD / "debug", smp=4, timeout=300,
                  disks=[Disk.file(image(), {"num-queues": 4, "queue-size": size})])
    resets = int(re.search(r"stress: OK: .* (\d+) resets", result.output).group(1))
    assert resets > 0 and "all descriptors free" in result.output


def test_raw_and_poll(boot, image):
    """mode=raw has queue 0 to itself and gives all of them back; mode=poll looks at all."""
    bench = "iobench name=x dev=vd0 bs=4k rw=randread iodepth=16 numjobs={} number_ios=400 mode={} --json"
    result = boot(f"{bench.format(1, 'raw')}; {bench.format(4, 'poll')}; {STRESS}", smp=2, timeout=300,
                  disks=[Disk.file(image(), {"num-queues": 2})])
    raw, poll = result.json()[:2]
    assert (raw["ios"], raw["errors"], poll["ios"], poll["errors"]) == (400, 0, 1600, 0)
    assert "stress: OK" in result.output


@pytest.mark.parametrize("vectors", [0, 5])
def test_resize(image, vectors):
    with Machine(disks=[Disk.file(image(), {"num-queues": 4, "vectors": vectors})], smp=4).start() as vm:
        vm.command("echo")
        vm.qmp("block_resize", **{"node-name": "node0", "size": 128 << 20})
        vm.wait_for(r"vd0: capacity changed from \d+ to 262144 sectors")
        assert "stress: OK" in vm.command(STRESS, 120)
