# Umbra in gdb: loaded by `make debug`, or `gdb -nx -x gdbinit build/umbra.elf` and `target remote …`.
# The log ring, threads and queues are plain C structs: print them.
set pagination off
set confirm off
set print pretty on
set architecture i386:x86-64
set disassembly-flavor att
