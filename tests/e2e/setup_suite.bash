# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Runs once before the tests of a bats invocation: what they share, made in a folder that bats removes.

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
}
