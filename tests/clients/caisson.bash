# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Caisson under the names by which clients look for it. They call it with an environment of their own, so where the build
# has its guest files is said here.

# named NAME PROGRAM: $BIN/NAME starts a program of the build.
named() {
	local program
	program=$("$TOP/scripts/built-path" "$TOP/${BUILD:-build}" "$2") || return
	cat >"$BIN/$1" <<-END
		#!/bin/sh
		export CAISSON_GUEST_DIR=${CAISSON_GUEST_DIR:-$TOP/.cache/guest/$(uname -m)}
		exec $program "\$@"
	END
	chmod 755 "$BIN/$1"
}
