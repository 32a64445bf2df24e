# SPDX-License-Identifier: MIT
"""The screen shows what the serial line shows: taken with QMP screendump, looked at as pixels."""
import pytest
from vm import PROMPT, Machine


def pixels(path):
    """(width, height, bytes) of a binary PPM."""
    data = path.read_bytes()
    magic, size, depth, rest = data.split(b"\n", 3)
    assert magic == b"P6" and depth == b"255"
    width, height = map(int, size.split())
    return width, height, rest


@pytest.mark.parametrize("boot,uefi", [("kernel", False), ("iso", False), ("iso", True)])
def test_screen_shows_text(tmp_path, boot, uefi):
    shot = tmp_path / "screen.ppm"
    with Machine(boot=boot, uefi=uefi).start() as vm:
        vm.wait_for(PROMPT, 90)
        vm.qmp("screendump", filename=str(shot))
        width, height, before = pixels(shot)
        vm.type("help\r")
        vm.wait_for(r"reboot[^\n]*\n(.*\n)*" + PROMPT, 30, len(vm.text) - 1)
        vm.qmp("screendump", filename=str(shot))
        _, _, after = pixels(shot)
    lit = sum(1 for i in range(0, len(after), 3) if after[i] > 100)
    assert before != after
    assert width * height // 200 < lit < width * height // 2, "text lights some of the pixels, not none and not most"


def test_keyboard(tmp_path):
    """Keys typed on the emulated keyboard reach the shell."""
    with Machine().start() as vm:
        vm.wait_for(PROMPT)
        for key in ("e", "c", "h", "o", "spc", "shift-a", "1", "ret"):
            vm.qmp("human-monitor-command", **{"command-line": f"sendkey {key}"})
        vm.wait_for(r"^A1$", 30)
