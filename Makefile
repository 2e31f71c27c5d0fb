# brisk: `make help` lists what can be made.
SHELL := /bin/sh
CARGO ?= cargo
# The target is named even though it is the host's: without it, +crt-static would also hit proc macros.
TARGET ?= $(shell rustc -vV 2> /dev/null | sed -n 's/^host: //p')
CARGO_TARGET_DIR ?= $(CURDIR)/target
export CARGO_TARGET_DIR
OUT = $(CARGO_TARGET_DIR)/$(TARGET)/release
BRISK = $(OUT)/brisk
SHIM = $(OUT)/containerd-shim-brisk-v2
INSIGHT = $(OUT)/brisk-insight
# Programs to ship. What is for the tests is static, too, with the host's C library.
SHIP = contrib/static $(OUT)
STATIC = RUSTFLAGS='-C target-feature=+crt-static -C relocation-model=static'
# What `brisk --version` calls the commit; "unknown" outside of a checkout.
COMMIT := $(shell git -C '$(CURDIR)' rev-parse --short=12 HEAD 2>/dev/null)
ifneq ($(COMMIT),)
export BRISK_COMMIT := $(COMMIT)
endif
PREFIX ?= /usr/local
DESTDIR ?=
# The runtime under test: brisk, or a name or path of another one.
RUNTIME ?=
# Of `make conformance`: which suite, where its checkout is, and which of its files.
SUITE ?=
DIR ?=
FILES ?=
# Says which tests to run; empty for all.
TESTS ?=
# All test programs, the probe and the brisk of `make quick` are built as one, without the fat LTO of the release.
PROGRAMS = $(CARGO_TARGET_DIR)/$(TARGET)/integration
TEST_PROGRAM = $(PROGRAMS)/tests/integration
RUN_TESTS = BRISK=$(BRISK) integration/run $(TEST_PROGRAM) $(TESTS)
BUILD_TESTS = $(STATIC) integration/build $(PROGRAMS) $(CARGO) build --profile integration --locked --target $(TARGET) --features insight --bin brisk --bin brisk-insight --example probe

.PHONY: all build quick release demo test test-deps test-engines-deps test-programs unit unit-aarch64 integration integration-checked integration-v2 counts faults check lint test-all msrv parity soak soak-quick bench \
	conformance man install uninstall dist deb fuzz shim insight test-shim test-attacks test-deaf test-engines test-engines-quick test-vm test-arm64 vm-image vm-core test-faults clean help

all: release

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

build: ## debug build
	$(CARGO) build

# BUILT=1, from integration/all: what is to be built is built, and cargo need not look again.
release: ## the static release binary
ifndef BUILT
	@$(SHIP) brisk $(TARGET) $(CARGO) build --release --locked
endif

shim: ## the static release build of containerd's shim, see docs/ENGINES.md
	@$(SHIP) containerd-shim-brisk-v2 $(TARGET) $(CARGO) build --release --locked --features shim

insight: ## the static release build of brisk-insight, which brisk executes for top, stats and the like
	@$(SHIP) brisk-insight $(TARGET) $(CARGO) build --release --locked --features insight

demo: release insight ## build, then show what brisk does: plan, run, a limit, errors, trace, peers
	contrib/demo $(BRISK)

check: lint unit ## what is to pass before each commit: the lints and the tests that need no root

lint: ## format, lints, documentation: no warnings
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets --features shim,insight -- -D warnings
	$(CARGO) clippy --locked --manifest-path integration/shim/Cargo.toml --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items

# Lanes beside each other: packages come from the network while the compiler works, linking is for one CPU, a guest often waits.
test: ## every suite, in less than 15 minutes; the last line says what passed, failed and was skipped
	@integration/all \
		test-programs,unit,integration@release@test-deps,soak-quick,test-engines-quick@test-engines-deps \
		release,integration-checked@test-programs@test-deps,counts,faults,unit-aarch64 \
		test-deps,test-engines-deps,vm-image,vm-core@release@test-programs

# Installs by apt what the tests need and the machine lacks.
test-deps:
	integration/install-deps tests

test-engines-deps:
	integration/engines/run all --install

unit: $(if $(TEST),,test-programs) ## tests without root; TEST=x: those of tests/ whose names contain x, built with what `make quick` builds
ifdef TEST
	$(BUILD_TESTS) --test unit
	$(PROGRAMS)/tests/unit $(TEST)
else
	$(PROGRAMS)/tests/lib
	$(PROGRAMS)/tests/unit
	$(PROGRAMS)/tests/brisk_insight
endif

unit-aarch64: ## the same tests built for arm64, under qemu-user (skipped, loudly, where the tools are missing)
	integration/aarch64

test-programs:
ifndef BUILT
	$(BUILD_TESTS) --tests
endif

quick: ## TEST=x: the integration tests whose names contain x, with brisk built like them (no fat LTO): the loop while working
	$(BUILD_TESTS) --test integration
	BRISK=$(PROGRAMS)/brisk integration/run $(TEST_PROGRAM) $(TEST)

integration: release test-programs ## the real binary on the real kernel (as root); RUNTIME=runc for another one
	MUST_RUN=$${MUST_RUN:-0} $(if $(RUNTIME),RUNTIME=$(RUNTIME)) $(RUN_TESTS)

integration-v2: release test-programs ## the same on cgroup v2 alone, mounted in a private namespace (with the controllers that v1 leaves)
	CGROUP2=1 MUST_RUN=0 $(RUN_TESTS)

# The rest of the tests is for the release binary, because that is what is shipped. These are of the subjects whose operations
# are the child's, and together they make every one of them.
CHECKED = mount:: namespace:: process:: exec:: terminal:: hooks::
integration-checked: test-programs ## the tests of what the child does, with a debug brisk whose child may not allocate
	MUST_RUN=$${MUST_RUN:-0} BRISK=$(PROGRAMS)/brisk integration/run $(TEST_PROGRAM) $(or $(TESTS),$(CHECKED))

counts: release test-programs ## system calls, clones and faults of each verb against their budget
	BRISK=$(BRISK) $(PROGRAMS)/tests/counts

faults: release test-programs ## a sample of the faults; test-faults for all
	BRISK=$(BRISK) $(PROGRAMS)/tests/faults

soak-quick: release
	integration/soak $(BRISK) 200

parity: test-deps release test-programs ## the same tests on runc and crun: what both fail is suspected first
	RUNTIME=runc $(RUN_TESTS)
	RUNTIME=crun $(RUN_TESTS)

test-all: test msrv test-attacks integration-v2 parity test-deaf soak test-faults test-engines test-shim test-vm test-arm64 ## with parity, soak, faults, engines and guests (long)

test-attacks: release test-programs ## the races of integration/security for hours; ROUNDS=n for n times as long as in `make test`
	BRISK_ATTACK_ROUNDS=$(or $(ROUNDS),600) BRISK=$(BRISK) integration/run $(TEST_PROGRAM) security::

# The oldest compiler that Cargo.toml says will do. cargo 1.88 is asked for by rustup's name for it.
MSRV := $(shell sed -n 's/^rust-version = "\(.*\)"$$/\1/p' '$(CURDIR)/Cargo.toml')
# With either C library: they have not the same crates.
LIBRARIES = $(addprefix --target ,$(sort $(TARGET) $(TARGET:-gnu=-musl)))
msrv: ## build with the oldest compiler that is promised (skipped, loudly, without rustup)
	@if command -v rustup > /dev/null; then \
		rustup toolchain install $(MSRV).0 --profile minimal $(LIBRARIES) --no-self-update && \
		CARGO_TARGET_DIR='$(CARGO_TARGET_DIR)/msrv' rustup run $(MSRV).0 cargo check --locked $(LIBRARIES) --features shim,insight --bins; \
	else echo 'SKIP msrv: rustup is not installed'; fi

test-deaf: release test-programs ## each row of docs/FIELDS.md: its test has to fail with a brisk that does not see the field or flag
	integration/deaf/run $(BRISK) $(PROGRAMS)/examples/probe $(TEST_PROGRAM) $(WORDS)

soak: release ## 20,000 cycles with the host the same before and after
	integration/soak $(BRISK) 20000

# containerd's with brisk's shim, or the one that SHIM= names.
conformance: $(if $(RUNTIME),,release) $(if $(filter containerd,$(SUITE)),shim) ## SUITE=runc-bats|contest|runtime-tools|containerd DIR=built checkout: the suites of other projects
	@RUNTIME="$(or $(RUNTIME),$(BRISK))" SHIM="$(SHIM)" integration/conformance/run "$(SUITE)" "$(DIR)" $(FILES)

bench: release shim ## time against crun and runc, and the shim against containerd's; PEER=NAME=PATH for another or a newer one
	BRISK_SHIM=$(SHIM) contrib/bench $(BRISK) $(addprefix --peer ,$(PEER))

man: release ## manual pages into $(OUT)/man
	mkdir -p $(OUT)/man
	$(BRISK) man $(OUT)/man

install: release insight ## binaries, pages, completions, podman's drop-in into $(DESTDIR)$(PREFIX)
	contrib/install $(BRISK) '$(DESTDIR)' '$(PREFIX)'

uninstall: release insight ## take away what `make install` with the same DESTDIR and PREFIX has laid out
	contrib/uninstall $(BRISK) '$(DESTDIR)' '$(PREFIX)'

dist: release insight ## archive with the program, pages and notices, SBOM and checksums into $(OUT)/dist
	contrib/dist $(BRISK) $(OUT)/dist

deb: release insight ## a Debian package
	contrib/deb/build $(BRISK)

fuzz: ## every parser under a coverage-guided fuzzer, FUZZ_SECONDS (60) each
	fuzz/run

test-shim: release shim ## the shim alone, with containerd's own types as its client, and under Docker and containerd (as root); SOAK=n for n rounds
	$(CARGO) test --locked --features shim --bin containerd-shim-brisk-v2
	integration/shim/run $(SHIM) $(BRISK) $(TESTS)
	integration/engines/run ctr --runtime $(BRISK) --shim $(SHIM)
	integration/engines/run docker --runtime $(BRISK) --shim $(SHIM)

test-engines: $(if $(RUNTIME),,release) ## under Docker, containerd, Podman and buildah (as root); RUNTIME=runc for another one
	integration/engines/run all --runtime $(or $(RUNTIME),$(BRISK))

test-engines-quick: $(if $(RUNTIME),,release) ## about 20 checks of each engine
	integration/engines/run all --quick --runtime $(or $(RUNTIME),$(BRISK))

VM = BRISK=$(BRISK) BRISK_PROBE=$(PROGRAMS)/examples/probe BRISK_TESTS=$(TEST_PROGRAM) \
	BRISK_COUNTS=$(PROGRAMS)/tests/counts integration/vm/core

vm-image: ## the guest's image: about two minutes, once
	integration/vm/core image

vm-core: release test-programs ## in a guest with cgroup2 and systemd, what only it can run (skipped, loudly, without qemu; CI=true: a failure)
	$(VM)

test-vm: release insight test-programs ## everything in guests with cgroup2 and systemd, as root and as an ordinary user (long)
	$(VM) all

test-arm64: ## the integration tests in an emulated arm64 guest (long; skipped, loudly, without qemu-system-aarch64)
	integration/vm/arm64 $(TESTS)

test-faults: release test-programs ## every system call failing, every point of death
	integration/faults/run $(BRISK) $(PROGRAMS)/tests/faults

clean: ## remove what was built
	$(CARGO) clean
