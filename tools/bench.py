# SPDX-License-Identifier: MIT
"""make bench: what one 4 KiB I/O costs in Umbra.

    bench.py [--jobs NAME,…] [--runs N] [--smp N] [--json FILE]

Two jobs are tables of their own: `boot` (tools/bench_boot.py), and `features` (tools/bench_features.py), which must be
asked for.

Each run boots the release kernel under TCG with one null disk (one queue of 256) and does all jobs. A TCG
plugin counts guest instructions between the marker NOPs that iobench executes around its window; doorbells,
interrupts and device requests are counted by QEMU's own trace points. Medians over the runs are printed.
IOPS are of this machine and this moment: only the ratio to `mode=raw` in the same run means something.
"""
import argparse
import json
import re
import statistics
import tempfile
from pathlib import Path

import bench_boot
import bench_count
import bench_features
from vm import Disk, Machine

COMMON = "dev=vd0 bs=4k"
JOBS = {  # name: (iobench arguments, what it is, extra command line)
    "rr1": ("rw=randread iodepth=1 number_ios=20000", "random, depth 1, one sleeping thread", ""),
    "rr4": ("rw=randread iodepth=4 number_ios=16000", "random, depth 4", ""),
    "rr32": ("rw=randread iodepth=32 number_ios=40000", "random, depth 32", ""),
    "rr128": ("rw=randread iodepth=128 number_ios=40000", "random, depth 128", ""),
    "sr32": ("rw=read iodepth=32 number_ios=40000", "sequential, depth 32, merged", ""),
    "thr8": ("rw=randread iodepth=1 numjobs=8 number_ios=2000", "8 blocking threads", ""),
    "thr32": ("rw=randread iodepth=1 numjobs=32 number_ios=625", "32 blocking threads", ""),
    "thr128": ("rw=randread iodepth=1 numjobs=128 number_ios=160", "128 blocking threads", ""),
    "raw1": ("rw=randread iodepth=1 number_ios=20000 mode=raw", "bare ring, depth 1", ""),
    "raw32": ("rw=randread iodepth=32 number_ios=40000 mode=raw", "bare ring, depth 32", ""),
    "raw128": ("rw=randread iodepth=128 number_ios=40000 mode=raw", "bare ring, depth 128", ""),
    "poll32": ("rw=randread iodepth=32 number_ios=40000 mode=poll", "polled, depth 32", ""),
    "old": ("rw=randread iodepth=1 number_ios=6000 mode=poll", "old: polled, 8 descriptors, one at a time",
            "virtio.queue_size=8"),
}
TABLES = {"boot": bench_boot, "features": bench_features}  # jobs that are tables of their own
COLUMNS = ("instructions", "rep", "doorbells", "interrupts", "requests", "switches", "halts")


def boot(jobs, cmdline, smp, count=None, log=None):
    """One boot that does `jobs`: {job: row}."""
    commands = "; ".join(f"iobench name={name} {COMMON} {JOBS[name][0]} --json" for name in jobs)
    machine = Machine(commands=commands, cmdline=f"loglevel=error {cmdline}", smp=smp, memory="512M", disks=[Disk.null()])
    return bench_count.run(machine, count, log)


def measure(jobs, smp, count, folder):
    """{job: figures per I/O} of one run."""
    figures = {}
    for cmdline in sorted({JOBS[name][2] for name in jobs}):
        names = [name for name in jobs if JOBS[name][2] == cmdline]
        log = Path(folder) / "log"
        rows = boot(names, cmdline, smp, count, log)
        plain = boot(names, cmdline, smp)
        for name, window in zip(names, bench_count.windows(log), strict=True):
            ios = rows[name]["ios"]
            figures[name] = {key: value / ios for key, value in window.items()}
            figures[name]["switches"] = rows[name]["context_switches"] / ios
            figures[name]["iops"] = plain[name]["iops"]
    for name, row in figures.items():
        raw = figures.get("raw" + re.sub(r"\D", "", name))
        row["to_raw"] = row["iops"] / raw["iops"] if raw and name.startswith("rr") else None
    return figures


def table(medians):
    print("| 4 KiB job | " + " | ".join(c + "/IO" for c in COLUMNS) + " | IOPS here | IOPS to raw |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    for name, row in medians.items():
        cells = [f"{row[c]:.0f}" if row[c] >= 100 else f"{row[c]:.3f}" for c in COLUMNS]
        ratio = f"{row['to_raw']:.2f}" if row["to_raw"] else "–"
        print(f"| {name}: {JOBS[name][1]} | " + " | ".join(cells) + f" | {row['iops']:,.0f} | {ratio} |")
    print("\nrep: iterations of string instructions, also in `instructions`. No system calls and no page pinning are in "
          "these figures: an in-kernel benchmark has none.")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", default=",".join([*JOBS, "boot"]))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--smp", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    jobs = options.jobs.split(",")
    if unknown := set(jobs) - {*JOBS, *TABLES}:
        parser.error(f"no job {', '.join(sorted(unknown))}; there are {', '.join([*JOBS, *TABLES])}")
    with tempfile.TemporaryDirectory(prefix="umbra-bench-") as folder:
        count = bench_count.plugin(folder)
        tables = {name: TABLES[name].measure(count, options.runs, folder) for name in TABLES if name in jobs}
        jobs = [name for name in jobs if name not in TABLES]
        runs = [measure(jobs, options.smp, count, folder) for _ in range(options.runs)]
    medians = {name: {key: statistics.median(run[name][key] for run in runs) if runs[0][name][key] is not None else None
                      for key in runs[0][name]} for name in jobs}
    if jobs:
        table(medians)
    for name, figures in tables.items():
        TABLES[name].table(figures)
        medians[name] = TABLES[name].as_json(figures)
    if options.json:
        options.json.write_text(json.dumps(medians, indent=1) + "\n")


if __name__ == "__main__":
    main()
