# SPDX-License-Identifier: MIT
"""Notifications both ways under x86-TSO, proved by Spin for every interleaving (tests/models/): each model holds,
and each defect that its head comment names breaks it, so that it is known to be able to fail."""
import re
import subprocess

import pytest
from conftest import ROOT

MODELS = ROOT / "tests" / "models"
LOST = "invalid end state"  # somebody sleeps for ever with work at hand
SPINS = "assertion violated"  # a second look that saw what is not there
DEFECTS = {
    "kick_split": {"NO_FENCE": LOST, "NO_DEVICE_FENCE": LOST, "NO_SECOND_LOOK": LOST, "PLAIN_COMPARE": LOST},
    "kick_packed": {"NO_FENCE": LOST, "NO_DEVICE_FENCE": LOST, "NO_SECOND_LOOK": LOST, "WRONG_WRAP": LOST,
                    "PLAIN_COMPARE": LOST},
    "callbacks_split": {"NO_FENCE": LOST, "NO_DEVICE_FENCE": LOST, "NO_SECOND_LOOK": LOST, "NO_QUESTION": LOST,
                        "PLAIN_COMPARE": LOST},
    "callbacks_packed": {"NO_FENCE": LOST, "NO_DEVICE_FENCE": LOST, "NO_SECOND_LOOK": LOST, "WRONG_WRAP": SPINS,
                         "WRONG_QUESTION": LOST, "PLAIN_COMPARE": LOST, "ONE_LAP": LOST},
}
EVENT_IDX_ONLY = {"NO_QUESTION", "WRONG_QUESTION", "PLAIN_COMPARE", "ONE_LAP"}
VARIANTS = [(model, event_idx) for model in DEFECTS for event_idx in (0, 1)]


def command(folder, *words):
    run = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=300)
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-2000:]
    return run.stdout


def spin(folder, model, *options):
    return command(folder, "spin", *options, MODELS / f"{model}.pml")


def search(folder, model, *defines):
    """Spin's verdict over all states. Not optimised: the compiler would take longer than the search."""
    spin(folder, model, "-a", *(f"-D{define}" for define in defines))
    command(folder, "gcc", "-w", "-DSAFETY", "-o", "pan", "pan.c")
    return command(folder, "./pan", "-m1000000", "-w20")


@pytest.mark.parametrize("model, event_idx", VARIANTS)
def test_holds(model, event_idx, tmp_path, request, capsys):
    define = f"EVENT_IDX={event_idx}"
    verdict = search(tmp_path, model, define)
    if "errors: 0" not in verdict:
        pytest.fail(verdict + spin(tmp_path, model, f"-D{define}", "-p", "-k", f"{model}.pml.trail")[-6000:])
    assert "max search depth too small" not in verdict and "not completed" not in verdict
    # All of the model took part; only the bus never ends.
    unreached = re.findall(r"unreached in proctype (\w+)\n(?:\t.*\n)*?\t\((\d+) of \d+ states\)", verdict)
    assert len(unreached) >= 3 and all(int(count) == (name == "bus") for name, count in unreached), verdict
    if request.config.option.verbose > 0:
        with capsys.disabled():
            print(re.search(r" \d+ states", verdict).group(), end="")


@pytest.mark.parametrize("model, event_idx, defect", [(m, e, d) for m, e in VARIANTS for d in DEFECTS[m]
                                                      if e or d not in EVENT_IDX_ONLY])
def test_defect_is_found(model, event_idx, defect, tmp_path):
    verdict = search(tmp_path, model, f"EVENT_IDX={event_idx}", defect)
    assert DEFECTS[model][defect] in verdict, verdict
