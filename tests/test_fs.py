# SPDX-License-Identifier: MIT
"""Files from a real disk, in the kernel: the reference images where they are at hand, and images that the
host tool makes."""
import hashlib
import os
import shutil
import subprocess

import pytest
from conftest import BUILD, FIXTURES
from vm import Disk, Machine

MOUNT = ["a-empty", "b-tree", "c-2000", "d-sizes", "f-upstream-example", "g-over-mkfs", "k-own-layout"]
MAY_REFUSE = ["h-inode-gap", "i-bad-names"]
REFUSE = {"x-mkfs-only": "mkfs", "x-ecfs-header": "ECFS"}

needs_fixtures = pytest.mark.skipif(not FIXTURES.is_dir(), reason=f"no reference images at {FIXTURES}")


def padded(source, tmp_path):
    path = tmp_path / "fs.img"
    shutil.copyfile(source, path)
    os.chmod(path, 0o644)
    os.truncate(path, -(-path.stat().st_size // 4096) * 4096)
    return path


def manifest_of(name):
    text = (FIXTURES / f"{name}.manifest").read_text(errors="surrogateescape")
    return [line for line in text.split("\n") if line and not line.startswith("#")]


@needs_fixtures
@pytest.mark.parametrize("name", MOUNT)
def test_reference_image(boot, tmp_path, name):
    result = boot("manifest /; tree /; ls /", disks=[Disk.file(padded(FIXTURES / f"{name}.img", tmp_path))],
                  cmdline="root=vd0", timeout=300)
    printed = [line for line in result.command("manifest")[1].split("\n") if line]
    assert printed == sorted(manifest_of(name), key=lambda line: line.split("\t", 12)[12].encode()) or \
        printed == manifest_of(name)


@needs_fixtures
@pytest.mark.parametrize("name", MAY_REFUSE)
def test_odd_image(tmp_path, name):
    result = Machine(commands="ls /; tree /", cmdline="keep_going",
                     disks=[Disk.file(padded(FIXTURES / f"{name}.img", tmp_path))]).run()
    assert result.status in (33, 35) and "PANIC" not in result.output
    assert "eclipsefs" in result.output


@needs_fixtures
@pytest.mark.parametrize("name", REFUSE)
def test_refused_image(tmp_path, name):
    result = Machine(commands="mount vd0 /", cmdline="root=none keep_going",
                     disks=[Disk.file(padded(FIXTURES / f"{name}.img", tmp_path))]).run()
    assert result.command("mount")[0] != "0"
    assert REFUSE[name] in result.output


@pytest.fixture
def own_image(tmp_path):
    root = tmp_path / "root"
    (root / "dir" / "deep").mkdir(parents=True)
    (root / "hello.txt").write_text("hello from the host\n")
    (root / "dir" / "deep" / "big").write_bytes(bytes(range(256)) * 4099)
    (root / "dir" / "empty").touch()
    (root / "link").symlink_to("dir/deep/big")
    path = tmp_path / "own.img"
    subprocess.run([BUILD / "eclipsefs", "import", path, root], check=True)
    return path, root


def test_own_image(boot, own_image):
    path, root = own_image
    big = hashlib.sha256((root / "dir/deep/big").read_bytes()).hexdigest()
    result = boot("cat /hello.txt; sha256 /link; sha256 /dir/deep/big; ls /dir; stat /dir/empty", disks=[Disk.file(path)], smp=2)
    assert result.command("cat")[1] == "hello from the host\n"
    assert big in result.command("sha256 /link")[1] and big in result.command("sha256 /dir/deep/big")[1]
    assert "deep" in result.command("ls")[1] and "empty" in result.command("ls")[1]


def test_read_error(own_image):
    """A sector that cannot be read fails each read of its file, whoever met it first, and no other file. Once
    it can be read the file is whole: nothing that failed was kept as data."""
    path, root = own_image
    bad_sector = {"event": "none", "iotype": "read", "sector": 800, "errno": 5}
    none_from_a_flush_on = {"event": "flush_to_os", "iotype": "discard", "errno": 5}  # takes the other one's place
    spec = {"driver": "blkdebug", "image": {"driver": "file", "filename": str(path)},
            "inject-error": [bad_sector, none_from_a_flush_on]}
    disk = Disk({"driver": "raw", "file": spec}, {"rerror": "report", "request-merging": False})
    big = hashlib.sha256((root / "dir/deep/big").read_bytes()).hexdigest()
    with Machine(disks=[disk], smp=2).start() as vm:
        for name in ("/dir/deep/big", "/link", "/dir/deep/big"):
            assert vm.command(f"sha256 {name}").endswith(f"sha256: {name}: EIO\n[-5 EIO]\n")
            assert "hello from the host\n" in vm.command("cat /hello.txt")
        vm.qmp("human-monitor-command", **{"command-line": 'qemu-io node0 "flush"'})
        assert big in vm.command("sha256 /link") and big in vm.command("sha256 /dir/deep/big")
