# SPDX-License-Identifier: MIT
"""The screen shows what the serial line shows: taken with QMP screendump, read as a grid of character cells."""
import re
import time

import pytest
from vm import PROMPT, Machine

GLYPHS = "".join(chr(c) for c in range(0x20, 0x7f) if chr(c) not in "'")


def cells(path, columns, rows):
    """The picture (a binary PPM) cut into rows of cells, each the bytes of its pixels."""
    magic, size, depth, data = path.read_bytes().split(b"\n", 3)
    assert magic == b"P6" and depth == b"255"
    width, height = map(int, size.split())
    assert width % columns == 0 and height % rows == 0, f"{width} x {height} for {columns} x {rows} characters"
    wide, high = width // columns * 3, height // rows
    lines = [data[y * width * 3:(y + 1) * width * 3] for y in range(height)]
    return [[b"".join(line[c * wide:(c + 1) * wide] for line in lines[r * high:(r + 1) * high])
             for c in range(columns)] for r in range(rows)]


def layout(text, columns, rows):
    """What a terminal of that size shows of `text`: its last rows, with the cursor behind the last character."""
    shown = [line[i:i + columns] for line in text.split("\n") for i in range(0, max(len(line), 1), columns)]
    cursor = len(shown[-1])
    shown = shown[-rows:]
    shown += [""] * (rows - len(shown))
    return [line.ljust(columns) for line in shown], (len([s for s in shown if s.strip()]) - 1, cursor)


def difference(picture, text, cursor):
    """None, or where two characters look alike, one looks in two ways, or the cursor is missing."""
    looks, means = {}, {}
    for r, line in enumerate(text):
        for c, character in enumerate(line):
            glyph = picture[r][c]
            if (r, c) == cursor:
                continue
            if looks.setdefault(character, glyph) != glyph or means.setdefault(glyph, character) != character:
                return f"row {r}, column {c} does not show {character!r}"
    return "no cursor" if picture[cursor[0]][cursor[1]] in means else None


@pytest.mark.parametrize("machine,boot,uefi,vga", [
    ("q35", "kernel", False, "std"), ("pc", "kernel", False, "cirrus"), ("q35", "iso", False, "std"), ("q35", "iso", True, "std")])
def test_screen_shows_text(tmp_path, machine, boot, uefi, vga):
    shot = tmp_path / "screen.ppm"
    with Machine(machine=machine, boot=boot, uefi=uefi, qemu_args=["-vga", vga]).start() as vm:
        columns, rows = map(int, vm.wait_for(r"screen: (\d+) x (\d+) characters", 90).groups())
        vm.command("help")
        vm.command(f"echo '{GLYPHS}'")
        text, cursor = layout(vm.text[re.search(r"^\[ +\d+\.\d+\] ", vm.text, re.M).start():], columns, rows)
        assert text[cursor[0] - 1].rstrip() == GLYPHS[-(len(GLYPHS) % columns):].rstrip()
        deadline = time.monotonic() + 30
        wrong = "never looked at"
        while wrong and time.monotonic() < deadline:  # it is drawn after it is written to
            vm.qmp("screendump", filename=str(shot))
            wrong = difference(cells(shot, columns, rows), text, cursor)
        assert not wrong


@pytest.mark.parametrize("machine,args", [("q35", ["-vga", "none"]), ("microvm", [])])
def test_no_screen(boot, machine, args):
    assert re.search(r"screen: none$", boot("echo", machine=machine, qemu_args=args).output, re.M)


def test_keyboard(tmp_path):
    """Keys typed on the emulated keyboard reach the shell."""
    with Machine().start() as vm:
        vm.wait_for(PROMPT)
        for key in ("e", "c", "h", "o", "spc", "shift-a", "1", "ret"):
            vm.qmp("human-monitor-command", **{"command-line": f"sendkey {key}"})
        vm.wait_for(r"^A1$", 30)
