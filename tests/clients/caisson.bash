# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Caisson under the names by which clients look for it. They call it with an environment of their own, so what it needs to
# know is said by small scripts: where the build has its guest files, and with $HYPERVISOR, which hypervisor to take.

# named NAME: $BIN/NAME starts that program of the build.
named() {
	local program
	program=$("$TOP/scripts/built-path" "$TOP/${BUILD:-build}" "$1") || return
	cat >"$BIN/$1" <<-END
		#!/bin/sh
		export CAISSON_GUEST_DIR=${CAISSON_GUEST_DIR:-${CAISSON_CACHE:-$TOP/.cache/guest}/$(uname -m)} $CAISSON_CONF
		exec "$program" "\$@"
	END
	chmod 755 "$BIN/$1"
}

caisson_programs() {
	CAISSON_CONF=
	if [ -n "${HYPERVISOR:-}" ]; then
		printf '[hypervisor.%s]\n' "$HYPERVISOR" >/run/clients/caisson.toml
		CAISSON_CONF=KATA_CONF_FILE=/run/clients/caisson.toml
	fi
	named caisson && named containerd-shim-caisson-v2
}
