# SPDX-License-Identifier: MIT
"""Boots that cover every allowed pair of ring, features, queue size, queues, vectors, transport, machine, IOMMU, block
size, CPUs and firmware (tools/matrix.py). Each runs a verified stress with a reset in its midst, and what was
negotiated must be what the row asks for, so that no boot passes by falling back to something easier."""
import itertools
import re

import matrix
import pytest
from matrix import FACTORS, LINE, N_PLUS_1, RULES
from vm import EXIT_OK, Machine

BOOTS = matrix.pairwise()
COMMANDS = ("lsblk; features vd0; lspci; background stress dev=vd0 ios=1200 threads=8 seed=7 reset=1; reset vd0; "
            "wait; stress dev=vd0 ios=600 threads=24 seed=8; features vd0; irq")
HOST_BRIDGES = {"q35": "8086:29c0", "pc": "8086:1237", "microvm": None}
WHERE = {"modern": "modern PCI", "transitional": "modern PCI", "legacy": "legacy PCI", "mmio modern": "modern mmio",
         "mmio legacy": "legacy mmio"}
PCI_ID = {"modern": "1af4:1042", "transitional": "1af4:1001", "legacy": "1af4:1001"}


# ---- The set ---------------------------------------------------------------------------------------------

def test_set_covers_all_pairs():
    """Against every boot that there could be, one by one, without the generator's way of finding them."""
    column = {factor: index for index, factor in enumerate(FACTORS)}
    rules = [(column[first], where, column[second], then) for first, where, second, then in RULES]
    allowed = [boot for boot in itertools.product(*FACTORS.values())
               if all(boot[first] not in where or boot[second] in then for first, where, second, then in rules)]
    assert len(set(BOOTS)) == len(BOOTS) == 60
    for a, b in itertools.combinations(range(len(FACTORS)), 2):
        assert {(boot[a], boot[b]) for boot in BOOTS} == {(boot[a], boot[b]) for boot in allowed}


def test_rules_leave_every_level():
    for factor, levels in FACTORS.items():
        assert {getattr(boot, factor) for boot in BOOTS} == set(levels)


# ---- What each boot must show ----------------------------------------------------------------------------

def ring_name(boot):
    return boot.ring + (", indirect" if boot.indirect else "")


def interrupts(boot, used):
    """A pattern for each queue's: by how many vectors there are (transport_pci_irq.c)."""
    vectors = boot.queues + 1 if boot.vectors == N_PLUS_1 else boot.vectors
    if vectors == LINE:
        return [r"line vector \d+ on CPU 0"] * used
    if vectors > used:
        return [rf"MSI-X vector \d+ on CPU {queue}" for queue in range(used)]
    if vectors == 2:
        return [r"MSI-X for queues vector \d+ on CPU 0"] * used
    if vectors == 1 and boot.transport != "legacy":  # which has no generation to tell the two kinds apart
        return [r"shared MSI-X vector \d+ on CPU 0"] * used
    return [r"INTx vector \d+ on CPU 0"] * used


def check_machine(boot, output, lspci):
    protocol, kind = re.search(r"boot: Umbra, .* \((PVH|Multiboot2)(, UEFI)?\)", output).groups()
    assert protocol == ("PVH" if boot.firmware == "PVH" else "Multiboot2")
    assert ("BdsDxe" in output) == (boot.firmware == "OVMF")
    assert ("iommu: VT-d at " in output) == (boot.iommu == "intel")
    assert f"smp: {boot.smp} CPU{'s' if boot.smp > 1 else ''}\n" in output
    found = [bridge for bridge in HOST_BRIDGES.values() if bridge and f"00:00.0 {bridge} " in lspci]
    assert found == [bridge for bridge in [HOST_BRIDGES[boot.machine]] if bridge]


def check_features(boot, text):
    accepted = set(re.findall(r"\+(\w+)", text))
    expected = {"RING_PACKED": boot.ring == "packed", "INDIRECT_DESC": boot.indirect, "EVENT_IDX": boot.event_idx,
                "MQ": boot.queues > 1, "VERSION_1": "legacy" not in boot.transport,
                "ACCESS_PLATFORM": boot.iommu == "intel"}
    assert {feature: feature in accepted for feature in expected} == expected


def check_queues(boot, text):
    queues = re.findall(r"^  queue (\d+): (.*), (\d+) entries, (.*)$", text, re.M)
    used = min(boot.queues, boot.smp)
    assert [queue[:3] for queue in queues] == [(str(index), ring_name(boot), str(boot.size)) for index in range(used)]
    for (*_, how), pattern in zip(queues, interrupts(boot, used), strict=True):
        assert re.fullmatch(pattern, how), how


def check_place(boot, lsblk, lspci):
    block, where = re.search(r"^vd0 +\d+ MiB +(\d+) .* (?:none|deadline) +(.*)$", lsblk, re.M).groups()
    assert int(block) == boot.block and where.startswith(WHERE[boot.transport] + " "), where
    if boot.transport in PCI_ID:
        assert f" {PCI_ID[boot.transport]} " in lspci


def check_interrupts(irq, resets):
    """They came, and were the disk's. A line that a reset lowers may have reached the CPU before."""
    assert sum(map(int, re.findall(r"^ +\d+ +\d+ +(\d+) virtio0", irq, re.M))) > 0, irq
    assert int(re.search(r"^unclaimed: (\d+)$", irq, re.M).group(1)) <= resets, irq


def resets_of(output):
    return 1 + sum(map(int, re.findall(r"^stress: OK: .* (\d+) resets", output, re.M)))


def check_io(result):
    assert len(re.findall(r"^stress: OK: .* 0 wrong, 0 failed, .*all descriptors free$", result.output, re.M)) == 2
    assert result.command("reset")[0] == "0" and "without an interrupt" not in result.output


@pytest.mark.parametrize("boot", BOOTS, ids=matrix.name)
def test_boot(boot, image):
    result = matrix.machine(boot, image(), commands=COMMANDS).run(180)
    assert result.status == EXIT_OK, result.output[-4000:]
    lspci, features = result.command("lspci")[1], result.command("features")[1]
    check_machine(boot, result.output, lspci)
    check_features(boot, features)
    check_queues(boot, features)
    check_place(boot, result.command("lsblk")[1], lspci)
    has_line = "MSI-X" not in features
    check_interrupts(result.command("irq")[1], resets_of(result.output) if has_line else 0)
    check_io(result)
    assert result.output.count(features) == 2  # a reset keeps all of it
