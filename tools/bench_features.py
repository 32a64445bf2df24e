# SPDX-License-Identifier: MIT
"""The table `features` of make bench: instructions per I/O with each feature of the ring on and off, with one queue on
one CPU, one queue on two, and a queue a CPU on two. In brackets the ratio to the first row of the column."""
import itertools
import statistics
from pathlib import Path

import bench_count
from vm import Disk, Machine

RINGS = list(itertools.product(("split", "packed"), (True, False), (True, False)))  # ring, indirect, event index
CPUS_AND_QUEUES = ((1, 1), (2, 1), (2, 2))
JOBS = {  # name: (iobench arguments, what it is)
    "deep": ("rw=randread iodepth=32 numjobs=2 number_ios=40000", "2 threads, depth 32"),
    "sleepers": ("rw=randread iodepth=1 numjobs=32 number_ios=2000", "32 sleeping threads"),
}
QUEUE_A_CPU_MOST = 1.1  # times what one queue on one CPU costs
NOISE = {1: 1.0, 2: 1.02}  # by CPUs: with two, medians of the same configuration differ by so much


def machine(ring, cpus, queues):
    form, indirect, event_idx = ring
    device = {"packed": form == "packed", "indirect_desc": indirect, "event_idx": event_idx, "num-queues": queues}
    commands = "; ".join(f"iobench name={name} dev=vd0 bs=4k {arguments} --json" for name, (arguments, _) in JOBS.items())
    return Machine(commands=commands, cmdline="loglevel=error", smp=cpus, memory="512M", disks=[Disk.null(device=device)])


def counted(ring, cpus, queues, count, log):
    """{job: instructions per I/O} of one boot."""
    rows = bench_count.run(machine(ring, cpus, queues), count, log)
    return {name: window["instructions"] / rows[name]["ios"]
            for name, window in zip(JOBS, bench_count.windows(log), strict=True)}


def measure(count, runs, folder, rings=RINGS, places=CPUS_AND_QUEUES):
    """{ring: {(job, (cpus, queues)): median}}. `count`: the plugin."""
    log, figures = Path(folder) / "features.log", {}
    for ring, place in itertools.product(rings, places):
        rows = [counted(ring, *place, count, log) for _ in range(runs)]
        for job in JOBS:
            figures.setdefault(ring, {})[job, place] = statistics.median(row[job] for row in rows)
    return figures


def columns():
    return list(itertools.product(JOBS, CPUS_AND_QUEUES))


def name_of(ring):
    form, indirect, event_idx = ring
    return f"{form}, {'' if indirect else 'no '}indirect, {'' if event_idx else 'no '}event index"


def complaints(figures):
    """Where a packed ring costs more than the split one with the same features, or a queue a CPU more than it may."""
    for ring, row in figures.items():
        for (job, (cpus, queues)), figure in row.items():
            split, alone = figures["split", *ring[1:]][job, (cpus, queues)], row[job, (1, 1)]
            if figure > split * NOISE[cpus]:
                yield f"{name_of(ring)}: {figure:.0f}, more than split with {split:.0f} ({job}, {cpus} CPUs, {queues} queues)"
            if queues == cpus and figure > alone * QUEUE_A_CPU_MOST:
                yield f"{name_of(ring)}: {figure:.0f} with a queue a CPU, {alone:.0f} with one ({job})"


def table(figures):
    heads = [f"{JOBS[job][1]}: {cpus} CPU{'s' if cpus > 1 else ''}, {queues} queue{'s' if queues > 1 else ''}"
             for job, (cpus, queues) in columns()]
    print("| instructions per I/O | " + " | ".join(heads) + " |")
    print("|---" * (len(heads) + 1) + "|")
    for ring in RINGS:
        cells = [f"{figures[ring][column]:.0f} ({figures[ring][column] / figures[RINGS[0]][column]:.2f})" for column in columns()]
        print(f"| {name_of(ring)} | " + " | ".join(cells) + " |")
    for complaint in complaints(figures):
        print(f"more than it may: {complaint}")


def as_json(figures):
    return {name_of(ring): {f"{job}, {cpus} CPUs, {queues} queues": figure for (job, (cpus, queues)), figure in row.items()}
            for ring, row in figures.items()}
