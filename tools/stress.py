# SPDX-License-Identifier: MIT
"""make stress: the long in-kernel stress over the device matrix, each boot verifying every block it reads; beside it
the fuzzers of the rings, on the host.

    stress.py [--minutes N] [--seed N]     a share of the time for each row; the first two rows do a million requests,
                                           the last ones are boots of tools/matrix.py at random, by the seed. All of
                                           the time for the fuzzers, one after the other
"""
import argparse
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import matrix
from vm import Disk, Machine

MILLION = "stress dev=vd0 ios=1000000 threads=64 seed=1"
ROWS = [  # name, Machine fields, device properties, command line, command (None: for its share of the time)
    ("a million requests, queue of 4", {"smp": 2}, {"queue-size": 4}, "virtio.queue_size=4", MILLION),
    ("a million requests, queue of 256", {"smp": 2}, {}, "", MILLION),
    ("queue of 2, no indirect", {"smp": 2}, {}, "virtio.queue_size=2 virtio.indirect=0", None),
    ("queue of 8, no event_idx", {"smp": 4}, {"queue-size": 8, "event_idx": False}, "", None),
    ("INTx", {"machine": "pc", "smp": 2}, {"vectors": 0}, "", None),
    ("4096-byte blocks", {"smp": 4}, {"logical_block_size": 4096, "physical_block_size": 4096}, "", None),
    ("resets under load", {"smp": 2}, {}, "", "reset=1"),
    ("packed ring of 100", {"smp": 2}, {"packed": True}, "virtio.queue_size=100", "reset=1"),
    ("debug build", {"smp": 2, "build": Path("build/debug")}, {}, "", None),
]
BOOTS_AT_RANDOM = 12
FUZZERS = ("fuzz-vring", "fuzz-vring_packed")


def start_fuzzers(minutes, log):
    seconds = int(minutes * 60 / len(FUZZERS))
    return subprocess.Popen(["make", *FUZZERS, f"FUZZ_ARGS=-max_total_time={seconds} -print_final_stats=1"],
                            stdout=log, stderr=log)


def finish_fuzzers(fuzzers, log):
    """0, or 1 when one found something; then its log ends with what and where."""
    status = fuzzers.wait()
    log.seek(0)
    text = log.read().decode(errors="replace")
    scripts = sum(map(int, re.findall(r"number_of_executed_units: (\d+)", text)))
    print(f"{'FAILED' if status else 'ok'}: a device that lies: {scripts} scripts")
    if status:
        print(text[-4000:])
    return int(status != 0)


def machine_of(fields, device, cmdline, disk):
    return Machine(disks=[Disk.file(disk, device)], cmdline=cmdline, **fields)


def machines(seed):
    """(name, disk -> Machine, command or None or "reset=1") of each row."""
    for name, fields, device, cmdline, command in ROWS:
        yield name, partial(machine_of, fields, device, cmdline), command
    for boot in itertools.islice(matrix.at_random(seed), BOOTS_AT_RANDOM):
        yield matrix.name(boot), partial(matrix.machine, boot), "reset=1"


def run(name, make, command):
    """0, or 1 when it went wrong."""
    with tempfile.NamedTemporaryFile(prefix="umbra-stress-") as disk:
        os.truncate(disk.name, 256 << 20)
        machine = make(disk.name)
        machine.commands = command
        result = machine.run(7200)
    verdict = [line for line in result.output.splitlines() if line.startswith("stress: ")]
    print(f"{'ok' if result.ok else 'FAILED'}: {name}: {verdict[-1] if verdict else f'status {result.status}'}", flush=True)
    if not result.ok:
        print(result.output[-4000:])
    return int(not result.ok)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 16))
    options = parser.parse_args()
    minutes, seed = options.minutes, options.seed
    seconds = max(5, int(minutes * 60 / (len(ROWS) + BOOTS_AT_RANDOM)))
    failed = 0
    log = tempfile.TemporaryFile(prefix="umbra-fuzz-")
    fuzzers = start_fuzzers(minutes, log)
    print(f"--seed {seed}", flush=True)
    for name, make, command in machines(seed):
        if command != MILLION:
            command = f"stress dev=vd0 seconds={seconds} threads=64 seed={seed} " + (command or "")
        failed += run(name, make, command)
    return failed + finish_fuzzers(fuzzers, log)


if __name__ == "__main__":
    sys.exit(main())
