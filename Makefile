# SPDX-License-Identifier: Apache-2.0
# A front for meson and the scripts: what people type. `make help` lists it.
#
# BUILD=dir      build folder (default build)
# ARCH=arm64     for guest, guest-kernel
# STEPS="…"      for check: only these steps (scripts/check --list)
# HYPERVISOR=x   for check: the end-to-end tests on qemu, builtin, …
# DESTDIR, PREFIX for install

BUILD  ?= build
ARCH   ?= $(patsubst aarch64,arm64,$(shell uname -m))
PREFIX ?= /usr
CACHE  := $(if $(CAISSON_CACHE),$(CAISSON_CACHE),$(CURDIR)/.cache/guest)
NINJA  ?= ninja
FORMAT_FILES = $(shell git ls-files '*.c' '*.h')

.DEFAULT_GOAL := build
.PHONY: help setup build demo check bench install fuzz clean clean-cache guest guest-kernel asan clang cross docs \
	format format-check

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

setup: ## install the Debian packages that building and testing need (root)
	@scripts/setup

$(BUILD)/build.ninja:
	meson setup $(BUILD) --prefix $(PREFIX)

build: $(BUILD)/build.ninja ## build the programs
	$(NINJA) -C $(BUILD)

demo: ## build, make the guest image and run a container in a VM
	@scripts/setup --minimal
	@BUILD=$(BUILD) scripts/demo

check: ## everything: builds, unit tests, fuzzers, end-to-end tests; ends with one line of counts
	@scripts/setup
	@scripts/check $(STEPS)

bench: build guest ## measure; prints the rows of docs/performance.md
	@BUILD=$(BUILD) tests/bench/bench
	@BUILD=$(BUILD) tests/bench/vmm start
	@BUILD=$(BUILD) tests/bench/clients

install: build ## install the programs, man pages and, when it was made, the guest image
	DESTDIR=$(abspath $(DESTDIR)) meson install -C $(BUILD) --no-rebuild
	@BUILD=$(BUILD) DESTDIR=$(abspath $(DESTDIR)) CACHE=$(CACHE) scripts/install-guest /usr/share/caisson/guest

fuzz: ## build the fuzzers with clang and run each for FUZZ_SECONDS (20)
	@scripts/check fuzz

clean: ## remove all build folders (not the caches)
	rm -rf build build-*

clean-cache: ## remove downloaded and cached things (.cache)
	rm -rf .cache

guest: build ## make the guest image: Debian's cloud kernel and the initramfs
ifeq ($(ARCH),arm64)
ifneq ($(shell uname -m),aarch64)
	@$(MAKE) --no-print-directory cross
endif
endif
	@guest/build $(ARCH) "$$(scripts/built-path $(if $(filter-out $(patsubst aarch64,arm64,$(shell uname -m)),$(ARCH)),build-cross,$(BUILD)) caisson-agent)"

guest-kernel: ## build the tuned guest kernel from Debian's linux-source (some minutes)
	@guest/build-kernel $(ARCH)

asan: ## build with address and undefined-behaviour sanitizers and run the unit tests
	@scripts/check asan

clang: ## build with clang and run the unit tests
	@scripts/check clang

cross: ## build everything for arm64
	@scripts/cross build-cross

docs: build ## man pages (part of the build where scdoc is installed)
	@find $(BUILD) -name '*.[1-8]' -o -name '*.[1-8].gz'

format: ## reformat the C source
	clang-format -i $(FORMAT_FILES)

format-check: ## is the C source formatted?
	@scripts/check format
