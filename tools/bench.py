# SPDX-License-Identifier: MIT
"""make bench: what one 4 KiB I/O costs in Umbra.

    bench.py [--jobs NAME,…] [--runs N] [--smp N] [--json FILE]

Each run boots the release kernel under TCG with one null disk (one queue of 256) and does all jobs. A TCG
plugin counts guest instructions between the marker NOPs that iobench executes around its window; doorbells,
interrupts and device requests are counted by QEMU's own trace points. Medians over the runs are printed.
IOPS are of this machine and this moment: only the ratio to `mode=raw` in the same run means something.
"""
import argparse
import json
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import bench_boot
from vm import ROOT, Disk, Machine

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
TRACE = {"virtio_queue_notify": "doorbells", "virtio_notify": "interrupts", "virtio_notify_irqfd": "interrupts",
         "virtio_blk_handle_read": "requests", "virtio_blk_handle_write": "requests"}
COLUMNS = ("instructions", "rep", "doorbells", "interrupts", "requests", "switches", "halts")


def plugin(folder):
    path = Path(folder) / "count.so"
    subprocess.run(["gcc", "-O2", "-Wall", "-fPIC", "-shared", "-fvisibility=hidden", "-o", path,
                    ROOT / "tools/qemu_plugin/count.c"], check=True)
    return path


def boot(jobs, cmdline, smp, count, log):
    """One boot that does `jobs`; with `count` a plugin, the instructions and events of each go to `log`."""
    commands = "; ".join(f"iobench name={name} {COMMON} {JOBS[name][0]} --json" for name in jobs)
    arguments = []
    if count:
        arguments = ["-plugin", str(count), "-d", "plugin", "-D", str(log)]
        for event in TRACE:
            arguments += ["-trace", f"enable={event}"]
    result = Machine(commands=commands, cmdline=f"loglevel=error {cmdline}", smp=smp, memory="512M", disks=[Disk.null()],
                     qemu_args=arguments).run(600)
    if not result.ok:
        raise SystemExit(f"bench: the run failed with {result.status}:\n{result.output[-2000:]}")
    return {row["name"]: row for row in result.json()}


def windows(log):
    """The events between each pair of markers, in order."""
    found, current, start = [], None, None
    for line in open(log, errors="replace"):
        if match := re.match(r"MARK (\d+) (\d+) (\d+) (\d+)", line):
            mark, *counts = map(int, match.groups())
            if mark == 1:
                current, start = dict.fromkeys(("doorbells", "interrupts", "requests"), 0), counts
            elif current is not None:
                current.update(zip(("instructions", "rep", "halts"), (b - a for a, b in zip(start, counts))))
                found.append(current)
                current = None
        elif current is not None and (match := re.match(r"(\w+) ", line)) and match.group(1) in TRACE:
            current[TRACE[match.group(1)]] += 1
    return found


def measure(jobs, smp, count, folder):
    """{job: figures per I/O} of one run."""
    figures = {}
    for cmdline in sorted({JOBS[name][2] for name in jobs}):
        names = [name for name in jobs if JOBS[name][2] == cmdline]
        log = Path(folder) / "log"
        rows = boot(names, cmdline, smp, count, log)
        plain = boot(names, cmdline, smp, None, None)
        for name, window in zip(names, windows(log), strict=True):
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
    if unknown := set(jobs) - {*JOBS, "boot"}:
        parser.error(f"no job {', '.join(sorted(unknown))}; there are {', '.join(JOBS)}, boot")
    with tempfile.TemporaryDirectory(prefix="umbra-bench-") as folder:
        count = plugin(folder)
        boot = bench_boot.measure(count, options.runs, folder) if "boot" in jobs else {}
        jobs = [name for name in jobs if name != "boot"]
        runs = [measure(jobs, options.smp, count, folder) for _ in range(options.runs)]
    medians = {name: {key: statistics.median(run[name][key] for run in runs) if runs[0][name][key] is not None else None
                      for key in runs[0][name]} for name in jobs}
    if jobs:
        table(medians)
    if boot:
        bench_boot.table(boot)
        medians["boot"] = boot
    if options.json:
        options.json.write_text(json.dumps(medians, indent=1) + "\n")


if __name__ == "__main__":
    main()
