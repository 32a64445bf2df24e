# SPDX-License-Identifier: MIT
# Umbra's build. `make help` lists the targets; the variables are in README.md.
#   BUILD=release|debug   CC=gcc|clang   O=output folder
MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

BUILD ?= release
ifeq ($(origin CC),default)
CC := gcc
endif
ifeq ($(BUILD),release)
O ?= build
else ifeq ($(BUILD),debug)
O ?= build/debug
else
$(error BUILD is release or debug, not '$(BUILD)')
endif
V ?= 0
ifeq ($(V),0)
Q := @
endif
PYTHON := /usr/bin/python3
comma := ,

# ---- Kernel ------------------------------------------------------------------------------------------
warnings := -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes -Wundef -Wvla -Wno-unused-parameter
kernel_cflags := -std=gnu17 -O2 -g $(warnings) -D__KERNEL__ -DUMBRA_BUILD=$(BUILD) -Isrc -ffreestanding -fno-pic -fno-pie -mcmodel=kernel \
    -m64 -march=x86-64 -mno-red-zone -mgeneral-regs-only -fno-omit-frame-pointer -fno-strict-aliasing -fno-common \
    -fno-delete-null-pointer-checks -fno-asynchronous-unwind-tables -fno-stack-protector -fcf-protection=none
is_clang := $(findstring clang,$(CC))
ifneq ($(is_clang),)
kernel_cflags += --target=x86_64-unknown-none-elf -Wno-gnu-folding-constant
endif
ifeq ($(BUILD),debug)
kernel_cflags := $(filter-out -fno-stack-protector,$(kernel_cflags)) -DUMBRA_DEBUG -fstack-protector-strong \
    -mstack-protector-guard=global -fsanitize=undefined -fno-sanitize=alignment,null$(if $(is_clang),$(comma)function)
endif
kernel_asflags := -D__ASSEMBLER__ -D__KERNEL__ -Isrc -m64 -g -fno-pic $(if $(is_clang),--target=x86_64-unknown-none-elf -Wno-unused-command-line-argument)
kernel_ldflags := -m elf_x86_64 -nostdlib -static -no-pie -z noexecstack -z max-page-size=4096 --build-id=none

kernel_sources := $(sort $(shell find src -name '*.c' -o -name '*.S'))
kernel_objects := $(patsubst src/%,$(O)/obj/%.o,$(basename $(kernel_sources)))
link_script := src/arch/link.ld

$(O)/obj/%.o: src/%.c $(O)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(kernel_cflags) -MMD -MP -c $< -o $@
$(O)/obj/%.o: src/%.S $(O)/flags
	@mkdir -p $(@D)
	$(Q)$(CC) $(kernel_asflags) -MMD -MP -c $< -o $@

# A change of compiler or flags rebuilds everything.
$(O)/flags: FORCE
	@mkdir -p $(@D)
	@echo '$(CC) $(kernel_cflags)' | cmp -s - $@ || echo '$(CC) $(kernel_cflags)' > $@
FORCE:

# Two passes: the first link gives the addresses, tools/symtab.awk turns them into a table at the end of
# .rodata, behind all text, so that the second link moves no function.
define link_kernel
$(Q)ld $(kernel_ldflags) -T $(link_script) $(kernel_objects) $(1) -o $(2)
endef
$(O)/symtab_empty.S: tools/symtab.awk
	@mkdir -p $(@D)
	$(Q)awk -f tools/symtab.awk </dev/null > $@
$(O)/umbra.pass1.elf: $(kernel_objects) $(O)/symtab_empty.o $(link_script)
	$(call link_kernel,$(O)/symtab_empty.o,$@)
$(O)/symtab.S: $(O)/umbra.pass1.elf tools/symtab.awk
	$(Q)nm -n $< | awk -f tools/symtab.awk > $@
$(O)/umbra.elf: $(kernel_objects) $(O)/symtab.o $(link_script)
	$(call link_kernel,$(O)/symtab.o,$@)
$(O)/%.o: $(O)/%.S
	$(Q)$(CC) $(kernel_asflags) -c $< -o $@

.PHONY: all kernel iso
kernel: $(O)/umbra.elf

# iso/ is the medium's root. Without symbols and debug data there, which GRUB would load too; gdb reads them
# from umbra.elf. The modules named, and what they need, are all that grub.cfg and its shell can use.
iso_modules := normal multiboot2 all_video serial terminal gfxterm font configfile search test echo ls cat help \
    reboot halt iso9660 part_gpt part_msdos fat
iso: $(O)/umbra.iso
$(O)/umbra.iso: $(O)/umbra.elf grub.cfg $(shell find iso -type f)
	@rm -rf $(O)/iso && mkdir -p $(O)/iso/boot/grub
	$(Q)cp -r iso/. $(O)/iso && cp grub.cfg $(O)/iso/boot/grub/
	$(Q)objcopy --strip-all $< $(O)/iso/boot/umbra.elf
	$(Q)grub-mkrescue --install-modules='$(iso_modules)' --fonts= --locales= --themes= -o $@ $(O)/iso \
	    >$(O)/iso.log 2>&1 || { cat $(O)/iso.log; exit 1; }

-include $(kernel_objects:.o=.d)

# ---- Host tests: the kernel's own C under sanitizers ---------------------------------------------------
HOST_CC ?= gcc
host_cflags := -std=gnu17 -g -O1 $(warnings) -DUMBRA_DEBUG -Itools/host/include -Isrc -D_GNU_SOURCE
host_sanitize := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
include tests/host/tests.mk
host_tests := $(patsubst host_test_%,%,$(filter host_test_%,$(.VARIABLES)))

# Each source is compiled once, for all tests that link it; a test with flags of its own has its own objects.
host_objects = $(O)/host/$(if $(host_flags_$(1)),$(1).)obj

define host_object_rule
$(1)/%.o: %.c
	@mkdir -p $$(@D)
	$(Q)$(HOST_CC) $(host_cflags) $(2) -Itests/host -MMD -MP -c $$< -o $$@
endef
define host_test_rules
$(if $(host_flags_$(1)),$(call host_object_rule,$(call host_objects,$(1)),$(host_flags_$(1))))
$(O)/host/$(1)_test: $(patsubst %.c,$(call host_objects,$(1))/%.o,tests/host/$(1)_test.c $(host_test_$(1)) tools/host/host.c)
	$(Q)$(HOST_CC) $(or $(host_flags_$(1)),$(host_sanitize)) $$^ -o $$@
host-test-$(1): $(O)/host/$(1)_test
	$(Q)$$<
.PHONY: host-test-$(1)
endef
$(eval $(call host_object_rule,$(O)/host/obj,$(host_sanitize)))
$(foreach t,$(host_tests),$(eval $(call host_test_rules,$(t))))
.PHONY: host-tests
host-tests: $(host_tests:%=$(O)/host/%_test)
-include $(shell find $(O)/host -name '*.d' 2>/dev/null)

# ---- The host tool: build/eclipsefs, from the kernel's own file-system sources --------------------------
eclipsefs_library := $(addprefix src/fs/,bcache.c vfs.c path.c walk.c name_list.c output.c show.c manifest.c \
    $(addprefix eclipsefs/,format.c v2.c v2_record.c v2_directory.c v2_write.c v2_check.c)) \
    $(addprefix src/kernel/,checksum.c sha256.c string.c) tools/host/host.c tools/host/block_file.c
eclipsefs_sources := $(wildcard tools/eclipsefs*.c) $(eclipsefs_library)
eclipsefs_headers := $(wildcard tools/*.h tools/host/*.h tools/host/include/*.h tools/host/include/*/*.h) $(shell find src -name '*.h')

$(O)/eclipsefs: $(eclipsefs_sources) $(eclipsefs_headers)
	@mkdir -p $(@D)
	$(Q)$(HOST_CC) $(host_cflags) -O2 $(eclipsefs_sources) -o $@
.PHONY: eclipsefs
eclipsefs: $(O)/eclipsefs

# ---- Fuzzers: tests/fuzz/NAME_fuzz.c by libFuzzer, with the sources fuzz_NAME ----------------------------
# FUZZ_ARGS goes to it: -max_total_time=60, …; or an input that failed. Begins with tests/fuzz/corpus/NAME; what it finds
# beyond is left in build/fuzz/NAME.corpus. To renew the former: build/fuzz/NAME -set_cover_merge=1 -use_counters=0 NEW OLD.
fuzz_vring := $(virtio_host_sources)
fuzz_vring_args := -max_len=1024
fuzz_vring_packed := $(fuzz_vring)
fuzz_vring_packed_args := $(fuzz_vring_args)

define fuzz_rules
$(O)/fuzz/$(1): tests/fuzz/$(1)_fuzz.c $(fuzz_$(1)) tools/host/host.c $(eclipsefs_headers) $(wildcard tests/host/*.h tests/fuzz/*.h)
	@mkdir -p $$(@D)
	$(Q)clang $(host_cflags) -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -Itests/host $$(filter %.c,$$^) -o $$@
fuzz-$(1): $(O)/fuzz/$(1)
	@mkdir -p $$<.corpus
	$(Q)$$< $(fuzz_$(1)_args) -artifact_prefix=$(O)/fuzz/$(1)- $(or $(filter-out -%,$(FUZZ_ARGS)),$$<.corpus tests/fuzz/corpus/$(1)) $(filter -%,$(FUZZ_ARGS))
.PHONY: fuzz-$(1)
endef
$(foreach f,$(patsubst tests/fuzz/%_fuzz.c,%,$(wildcard tests/fuzz/*_fuzz.c)),$(eval $(call fuzz_rules,$(f))))

# ---- What the README names -----------------------------------------------------------------------------
.PHONY: run debug test stress bench check mutants clean help install-build install-run install-test install-check
SMP ?= 1
MEM ?= 256M
MACHINE ?= q35
ACCEL ?= tcg
MINUTES ?= 10
run_variables := SMP='$(SMP)' MEM='$(MEM)' DISK='$(DISK)' UEFI='$(UEFI)' MACHINE='$(MACHINE)' BOOT='$(BOOT)' \
    ACCEL='$(ACCEL)' CMD='$(CMD)' QEMU_ARGS='$(QEMU_ARGS)' O='$(O)'

packages_build := $(CC):$(CC) /usr/include/stdlib.h:libc6-dev ld:binutils awk:mawk grub-mkrescue:grub-common \
    /usr/lib/grub/i386-pc:grub-pc-bin /usr/lib/grub/x86_64-efi:grub-efi-amd64-bin xorriso:xorriso mformat:mtools
packages_run := qemu-system-x86_64:qemu-system-x86 /usr/share/ovmf/OVMF.fd:ovmf /usr/bin/python3:python3 gdb:gdb
packages_test := /usr/bin/pytest-3:python3-pytest /usr/lib/python3/dist-packages/xdist:python3-pytest-xdist \
    clang:clang qemu-img:qemu-utils qemu-storage-daemon:qemu-system-common spin:spin
packages_check := clang-format:clang-format cppcheck:cppcheck codespell:codespell clang:clang \
    ctags:universal-ctags
install-build:
	$(Q)tools/install-packages build $(packages_build)
install-run: install-build
	$(Q)tools/install-packages run $(packages_run)
install-test: install-run
	$(Q)tools/install-packages test $(packages_test)
install-check:
	$(Q)tools/install-packages check $(packages_check)

all: $(O)/umbra.elf $(O)/umbra.iso $(O)/eclipsefs compile_commands.json

# The sub-make lets the packages be there before the rules that need them run.
run: install-run
	$(Q)$(MAKE) all
	$(Q)$(PYTHON) tools/run.py run $(run_variables)
debug: install-run
	$(Q)$(MAKE) all
	$(Q)$(PYTHON) tools/run.py debug $(run_variables)

# Both builds boot in the tests; TESTS narrows them to some files, PYTEST_ARGS goes to pytest.
TESTS ?= tests
test: install-test
	$(Q)$(MAKE) -j2 all host-tests
	$(Q)$(MAKE) -j2 BUILD=debug kernel
	$(Q)$(PYTHON) -m pytest -q -n 2 --dist loadgroup $(TESTS) $(PYTEST_ARGS)
stress: install-test
	$(Q)$(MAKE) -j2 all $(O)/fuzz/vring
	$(Q)$(MAKE) -j2 BUILD=debug kernel
	$(Q)$(PYTHON) tools/stress.py --minutes $(MINUTES)
bench: install-run
	$(Q)$(MAKE) all
	$(Q)$(PYTHON) tools/bench.py $(BENCH_ARGS)
check: install-check
	$(Q)$(PYTHON) tools/check.py
# MUTANTS: numbers of docs/hazards.md, or parts of names.
mutants: install-test
	$(Q)$(PYTHON) tools/mutants.py $(MUTANTS)

compile_commands.json: $(O)/flags
	$(Q)for f in $(filter %.c,$(kernel_sources)); do \
	    printf '%s\n  {"directory": "%s", "file": "%s", "command": "%s"}' "$$sep" '$(CURDIR)' "$$f" \
	        '$(CC) $(kernel_cflags) -c '"$$f"; sep=,; done | { echo '['; cat; echo; echo ']'; } > $@

print-kernel-flags print-host-flags: # for tools/check.py
	@echo '$($(@:print-%-flags=%)_cflags)'

clean:
	rm -rf build compile_commands.json

help:
	@sed -n 's/^#: //p' Makefile
#: make            build/umbra.elf, build/umbra.iso, build/eclipsefs   (CC=gcc|clang BUILD=release|debug)
#: make run        boot the ISO in QEMU with a virtio disk; the shell on this terminal
#:                 SMP=1 MEM=256M DISK=path UEFI=1 MACHINE=q35|pc|microvm BOOT=iso|kernel ACCEL=tcg|kvm
#:                 CMD="c1; c2" QEMU_ARGS="…"
#: make debug      the same, stopped at the first instruction, with gdb attached
#: make test       host tests under sanitizers, then boots in QEMU   (TESTS=tests/test_x.py PYTEST_ARGS=…)
#: make stress     the long I/O stress over the device matrix   (MINUTES=10)
#: make fuzz-vring a device that lies, by libFuzzer   (FUZZ_ARGS=-max_total_time=60)
#: make bench      figures: instructions, doorbells and interrupts per I/O
#: make check      formatting, layering, include cycles, static analysis, spelling
#: make mutants    put known bugs back in, one at a time, and see their tests fail   (MUTANTS="14 16")
#: make clean      remove what was built
