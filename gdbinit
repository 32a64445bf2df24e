# Umbra in gdb: loaded by `make debug`; by hand, from this folder, `gdb -nx -x gdbinit build/umbra.elf` and
# `target remote …`. `help umbra` lists the commands that tools/gdb/umbra adds.
set pagination off
set confirm off
set print pretty on
set architecture i386:x86-64
set disassembly-flavor att
python
import sys
sys.path.insert(0, "tools/gdb")
import umbra
end
# A panic stops at its end, before the machine does.
define target hookpost-remote
python umbra.panic.arm()
end
