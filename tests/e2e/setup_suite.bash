# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Runs once before the tests of a bats invocation: what they share, made in a folder that bats removes.

# Some hypervisors are no Debian packages: CAISSON_TEST_STRATOVIRT (and so on) names the program to test with.
choose_binary() {
	local program=CAISSON_TEST_${HYPERVISOR^^}
	[ -n "${HYPERVISOR:-}" ] && [ -n "${!program:-}" ] || return 0
	mkdir -p "$BATS_SUITE_TMPDIR/bin"
	ln -sf "${!program}" "$BATS_SUITE_TMPDIR/bin/$HYPERVISOR"
	export PATH=$BATS_SUITE_TMPDIR/bin:$PATH
}

# The hypervisor of all tests: $HYPERVISOR, else the one that caisson takes by itself. $DRIVER: its name, as in
# [hypervisor.NAME] of a configuration; $HYPERVISORS: what caisson knows about all of them, for needs_capability. With
# $HYPERVISOR, $CAISSON is a script that says --hypervisor to every `run`; a test that says another one has the last word.
choose_hypervisor() {
	HYPERVISORS=$("$CAISSON" hypervisors --json)
	DRIVER=${HYPERVISOR:-$(jq -r 'map(select(.usable))[0].name' <<<"$HYPERVISORS")}
	export HYPERVISORS DRIVER
	jq -e --arg name "$DRIVER" 'any(.[]; .name == $name and .usable)' <<<"$HYPERVISORS" >/dev/null || {
		jq -r --arg name "$DRIVER" '"hypervisor \($name) cannot be used here: \(map(select(.name == $name))[0].reason)"' \
			<<<"$HYPERVISORS" >&2
		return 1
	}
	[ -n "${HYPERVISOR:-}" ] || return 0
	cat >"$BATS_SUITE_TMPDIR/caisson" <<-END
		#!/bin/sh
		[ "\$1" = run ] || exec "$CAISSON" "\$@"
		shift
		exec "$CAISSON" run --hypervisor "$HYPERVISOR" "\$@"
	END
	chmod 755 "$BATS_SUITE_TMPDIR/caisson"
	CAISSON=$BATS_SUITE_TMPDIR/caisson
}

# In the laboratory a VM runs on emulated processors: its start may take a minute where this machine is busy.
choose_limits() {
	export SLOWER=1 LIMIT=${LIMIT:-}
	[ -z "${CAISSON_LAB:-}" ] || SLOWER=4
	LIMIT=${LIMIT:-$((240 * SLOWER))}
}

setup_suite() {
	local top
	top=$(cd "$BATS_TEST_DIRNAME/../.." && pwd)
	export TOP=$top
	export CAISSON=${CAISSON:-$("$TOP/scripts/built-path" "$TOP/${BUILD:-build}" caisson)}
	export CACHE=$TOP/.cache/e2e
	export ROOT=$BATS_SUITE_TMPDIR/root
	mkdir -p "$CACHE"
	chmod 755 "$BATS_SUITE_TMPDIR" "$BATS_RUN_TMPDIR"
	"$TOP/scripts/busybox-root" "$ROOT"
	unset KATA_CONF_FILE
	export GUEST=${CAISSON_GUEST_DIR:-${CAISSON_CACHE:-$TOP/.cache/guest}/$(uname -m)}
	export CAISSON_GUEST_DIR=$GUEST
	choose_limits
	choose_binary
	choose_hypervisor
}
