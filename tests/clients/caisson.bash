# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Caisson under the names by which clients look for it. They call it with an environment of their own, so what it needs to
# know is said by small scripts: where the build has its guest files, and its configuration, which names the hypervisor
# ($HYPERVISOR, else what caisson takes by itself) and asks for seccomp in the guest, which Kata's settings leave out.

# named NAME PROGRAM: $BIN/NAME starts it.
named() {
	cat >"$BIN/$1" <<-END
		#!/bin/sh
		export CAISSON_GUEST_DIR=${CAISSON_GUEST_DIR:-${CAISSON_CACHE:-$TOP/.cache/guest}/$(uname -m)}
		export KATA_CONF_FILE=/run/clients/caisson.toml
		exec "$2" "\$@"
	END
	chmod 755 "$BIN/$1"
}

built() {
	"$TOP/scripts/built-path" "$TOP/${BUILD:-build}" "$1"
}

caisson_programs() {
	local caisson shim hypervisor=${HYPERVISOR:-}
	caisson=$(built caisson) && shim=$(built containerd-shim-caisson-v2) || return
	[ -n "$hypervisor" ] || hypervisor=$("$caisson" hypervisors --json | jq -r 'map(select(.usable))[0].name')
	[ "$hypervisor" != builtin ] || hypervisor=dragonball
	cat >/run/clients/caisson.toml <<-END
		[hypervisor.$hypervisor]
		[agent.kata]
		dial_timeout = $((60 * SLOWER))
		[runtime]
		disable_guest_seccomp = false
		create_container_timeout = $((60 * SLOWER))
	END
	named caisson "$caisson"
	named containerd-shim-caisson-v2 "$shim"
}
