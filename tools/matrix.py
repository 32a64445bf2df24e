# SPDX-License-Identifier: MIT
"""The machines that Umbra is tried on: factors and their levels, the rules between them, and sets of boots that cover
every pair of levels. tests/test_matrix.py boots such a set and holds what was negotiated against it; tools/stress.py
takes boots at random.

    matrix.py     prints the set
"""
import itertools
import random
from collections import namedtuple

from vm import Disk, Machine

LINE = "line"  # the interrupt of a virtio-mmio device, which has no vectors
N_PLUS_1 = "N+1"  # a vector a queue, one for the configuration

FACTORS = {
    "ring": ("split", "packed"),
    "indirect": (True, False),
    "event_idx": (True, False),
    "size": (2, 4, 8, 64, 256, 1024),
    "queues": (1, 2, 4),
    "vectors": (0, 1, 2, N_PLUS_1, LINE),
    "transport": ("modern", "transitional", "legacy", "mmio modern", "mmio legacy"),
    "machine": ("q35", "pc", "microvm"),
    "iommu": ("none", "intel"),
    "block": (512, 4096),
    "smp": (1, 2, 4),
    "firmware": ("PVH", "SeaBIOS", "OVMF"),
}
# Where the first factor is one of these, the second is one of those.
RULES = (
    ("transport", ("mmio modern", "mmio legacy"), "machine", ("microvm",)),
    ("machine", ("microvm",), "transport", ("mmio modern", "mmio legacy")),
    ("machine", ("microvm",), "vectors", (LINE,)),
    ("vectors", (LINE,), "machine", ("microvm",)),
    ("machine", ("microvm",), "firmware", ("PVH",)),  # a microvm has no CD drive
    ("transport", ("legacy", "mmio legacy"), "ring", ("split",)),
    ("transport", ("legacy", "mmio legacy"), "size", (4, 8, 64, 256, 1024)),  # refused: test_legacy_ring_of_two_is_refused
    ("iommu", ("intel",), "machine", ("q35",)),
    ("iommu", ("intel",), "transport", ("modern",)),  # of a transitional device QEMU refuses iommu_platform
)
SLOWEST = "OVMF"  # several seconds: taken only where a pair needs it

Boot = namedtuple("Boot", FACTORS)


def name(boot):
    """For a test's id and a line of output."""
    return "-".join([boot.ring, "indirect" if boot.indirect else "direct", "event" if boot.event_idx else "flags",
                     str(boot.size), f"q{boot.queues}", f"v{boot.vectors}", boot.transport.replace(" ", "_"), boot.machine,
                     f"iommu_{boot.iommu}", str(boot.block), f"smp{boot.smp}", boot.firmware])


# ---- What is allowed -------------------------------------------------------------------------------------

def is_allowed(levels):
    """Whether no rule is broken by {factor: level}, which may leave factors open."""
    return all(levels.get(first) not in where or second not in levels or levels[second] in then
               for first, where, second, then in RULES)


def complete(levels, order):
    """{factor: level} with all factors, by trying levels as `order(factor)` has them; None if there is no way."""
    if not is_allowed(levels):
        return None
    factor = next((factor for factor in FACTORS if factor not in levels), None)
    if factor is None:
        return levels
    tries = (complete({**levels, factor: level}, order) for level in order(factor))
    return next(filter(None, tries), None)


def shuffled(source, last=None):
    """An order for `complete`: at random, but for the level `last`."""
    return lambda factor: sorted(FACTORS[factor], key=lambda level: (level == last, source.random()))


# ---- Sets of boots ---------------------------------------------------------------------------------------

def tuples_of(levels, strength):
    """All combinations of that many (factor, level), as they are counted as covered."""
    return itertools.combinations(((factor, levels[factor]) for factor in FACTORS), strength)


def allowed_tuples(strength):
    for factors in itertools.combinations(FACTORS, strength):
        for levels in itertools.product(*(FACTORS[factor] for factor in factors)):
            if complete(dict(zip(factors, levels)), FACTORS.get):
                yield tuple(zip(factors, levels))


def cover(boots, strength, limit, source, candidates=30):
    """Adds boots until every tuple is covered or there are `limit`: each time, of some that hold the first tuple
    left, the one that covers most of the others."""
    left = dict.fromkeys(allowed_tuples(strength))
    for boot in boots:
        for covered in tuples_of(boot, strength):
            left.pop(covered, None)
    while left and len(boots) < limit:
        first = dict(next(iter(left)))
        tries = [complete(first, shuffled(source, last=SLOWEST)) for _ in range(candidates)]
        best = max(tries, key=lambda boot: sum(covered in left for covered in tuples_of(boot, strength)))
        boots.append(best)
        for covered in tuples_of(best, strength):
            left.pop(covered, None)


def pairwise(count=60, seed=1):
    """Every allowed pair of levels, in at most `count` boots; those that pairs do not need add triples. The slow ones
    first, so that two workers end together."""
    source, boots = random.Random(seed), []
    cover(boots, 2, count, source)
    cover(boots, 3, count, source, candidates=10)
    boots.sort(key=lambda boot: boot["firmware"] != SLOWEST)
    return [Boot(**boot) for boot in boots]


def at_random(seed):
    """Boots without end."""
    source = random.Random(seed)
    while True:
        yield Boot(**complete({}, shuffled(source)))


# ---- As a machine ----------------------------------------------------------------------------------------

INTERFACES = {"modern": ("off", "on"), "transitional": ("off", "off"), "legacy": ("on", "off")}  # what is disabled


def device_properties(boot):
    """QEMU has no queue of 2, and a virtio-mmio device offers 1024 entries whatever it is told: the kernel's own
    limit is set too."""
    properties = {"packed": boot.ring == "packed", "indirect_desc": boot.indirect, "event_idx": boot.event_idx,
                  "queue-size": max(boot.size, 4), "num-queues": boot.queues,
                  "logical_block_size": boot.block, "physical_block_size": 4096}
    if boot.transport in INTERFACES:
        modern, legacy = INTERFACES[boot.transport]
        vectors = boot.queues + 1 if boot.vectors == N_PLUS_1 else boot.vectors
        properties |= {"vectors": vectors, "disable-modern": modern == "on", "disable-legacy": legacy}
    if boot.iommu == "intel":
        properties["iommu_platform"] = True
    return properties


def machine(boot, image, **fields):
    return Machine(machine=boot.machine, smp=boot.smp, boot="kernel" if boot.firmware == "PVH" else "iso",
                   uefi=boot.firmware == "OVMF", mmio_legacy=boot.transport == "mmio legacy",
                   disks=[Disk.file(image, device_properties(boot))], cmdline=f"virtio.queue_size={boot.size}",
                   qemu_args=["-device", "intel-iommu,intremap=on"] if boot.iommu == "intel" else [], **fields)


if __name__ == "__main__":
    print("\n".join(map(name, pairwise())))
