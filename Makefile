# A thin front for Meson.  "make run" and "make check" do all of the set-up on a fresh Debian 12.

BUILD  ?= build
PREFIX ?= /usr/local
MESON_FLAGS ?=
TESTS  ?=
RUN    ?=
BENCH  ?=

NINJA = ninja -C $(BUILD)

.PHONY: all build deps guest-root guest-image run run-user check check-random check-qcow2-random check-clang check-sanitize bench bench-quick bench-mmdebstrap \
        install install-qemu-names install-binfmt install-qemu-binfmt \
        uninstall-binfmt clean

all: build

deps:
	@tools/install-deps

# Again when a folder's meson.build appears; Ninja sees to changes in those that it knows.
$(BUILD)/build.ninja: $(wildcard src/*/meson.build tests/*/meson.build)
	meson setup $(if $(wildcard $@),--reconfigure) --prefix $(PREFIX) $(MESON_FLAGS) $(BUILD)
	@touch $@

build: $(BUILD)/build.ninja
	@$(NINJA)

# Builds only after the packages that building needs are there, also with make -j.
.PHONY: ready
ready: deps
	@$(MAKE) --no-print-directory build

guest-root:
	@for arch in riscv64 amd64; do \
		tools/fetch-guest-root $$arch full >/dev/null || \
		echo "make: no tree of $$arch programs; the tests that need it are skipped" >&2; \
	done
	@tools/fetch-guest-kernel riscv64 >/dev/null || \
		echo "make: no riscv64 kernel; the tests that need it are skipped" >&2

guest-image: ready
	@BUILD=$(BUILD) tools/make-guest-image riscv64 base >/dev/null || \
		echo "make: no riscv64 disk image; the tests that need it are skipped" >&2
	@tools/fetch-guest-packages >/dev/null || \
		echo "make: no riscv64 boot loader and installer; the tests that need them are skipped" >&2

# RUN="OPTION..." adds options of the machine.
run: ready
	@tools/run-guest --build $(BUILD) $(RUN)

run-user: ready
	@tools/show $(BUILD)

check: ready guest-root guest-image
	@tests/run --build $(BUILD) $(TESTS)

check-random: ready
	@NANDU_RANDOM_SEQUENCES=10000 tests/run --build $(BUILD) test_random

# COUNT=N sequences, from seed SEED on.
check-qcow2-random: ready
	@NANDU_BUILD=$(BUILD) NANDU_QCOW2_SEQUENCES=$(or $(COUNT),2000) NANDU_QCOW2_SEED=$(or $(SEED),1) \
		/usr/bin/python3 -m pytest -q -p no:cacheprovider tests/functional/test_qcow2_random.py

check-clang: deps
	@CC=clang $(MAKE) --no-print-directory check BUILD=build-clang

check-sanitize: deps
	@$(MAKE) --no-print-directory check BUILD=build-san \
		MESON_FLAGS="-Db_sanitize=address,undefined"

bench: ready
	@bench/run.py --build $(BUILD) $(BENCH)
	@bench/control.py --build $(BUILD)
	@bench/machine.py --build $(BUILD)
	@bench/storage.py --build $(BUILD)

bench-quick: ready
	@bench/run.py --build $(BUILD) --quick $(BENCH)

bench-mmdebstrap: ready
	@NANDU=$(BUILD)/nandu-user bench/mmdebstrap

install: build
	@meson configure $(BUILD) -Dprefix=$(abspath $(PREFIX)) >/dev/null
	@$(NINJA) >/dev/null
	@meson install -C $(BUILD) --quiet --no-rebuild $(if $(DESTDIR),--destdir $(DESTDIR))
	@echo "installed nandu, nandu-system-riscv64, nandu-img, nandu-io, nandu-user and nandu-riscv64 in $(DESTDIR)$(PREFIX)/bin"

install-qemu-names: install
	@ln -sf nandu-user $(DESTDIR)$(PREFIX)/bin/qemu-riscv64
	@ln -sf nandu $(DESTDIR)$(PREFIX)/bin/qemu-system-riscv64
	@ln -sf nandu-img $(DESTDIR)$(PREFIX)/bin/qemu-img
	@ln -sf nandu-img $(DESTDIR)$(PREFIX)/bin/qemu-io
	@echo "installed qemu-riscv64, qemu-system-riscv64, qemu-img and qemu-io in $(DESTDIR)$(PREFIX)/bin"

install-binfmt: build
	@tools/install-binfmt $(or $(NANDU),$(PREFIX)/bin/nandu-user)

# For programs that look for QEMU's name in binfmt_misc (mmdebstrap, docker).
install-qemu-binfmt: build
	@tools/install-binfmt $(PREFIX)/bin/qemu-riscv64

uninstall-binfmt:
	@tools/install-binfmt --remove

clean:
	rm -rf $(BUILD)
