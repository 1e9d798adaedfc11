# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Docker's daemon 20.10 (with containerd, and containerd-shim-runc-v2, which runs the OCI command line): how it is
# started here, and the rows that are its own. It takes no shim of another name: that came with 23.0.
. "$HERE/containerd.bash"
. "$HERE/engine.bash"

BB=bb:1 DEB=deb:12
TOP_HOST_PIDS=()
EXEC_MISSING=126

# A newer docker may be first in PATH.
DOCKER=/usr/bin/docker

client_start() {
	cat >/run/clients/daemon.json <<-END
		{ "runtimes": { "caisson": { "path": "$BIN/caisson" } } }
	END
	containerd_conf '"io.containerd.grpc.v1.cri"'
	containerd_start
	setsid dockerd --containerd /run/containerd/containerd.sock --config-file /run/clients/daemon.json >"$LOGS/dockerd" 2>&1 &
	cat >"$BIN/engine" <<-END
		#!/bin/sh
		case \$1 in
		run | create) verb=\$1 && shift && set -- "\$verb" --runtime "\$RUNTIME" "\$@" ;;
		esac
		exec $DOCKER "\$@"
	END
	chmod 755 "$BIN/engine"
	until_true 60 $DOCKER info
	$DOCKER import "$IMAGES/bb-root.tar" bb:1 >&2
	[ ! -e "$IMAGES/deb-root.tar" ] || $DOCKER import "$IMAGES/deb-root.tar" deb:12 >&2
	RUNTIME=runc engine run --rm "$BB" true
	RUNTIME=runc engine run --rm --net host "$BB" true
}

client_reset() {
	engine_reset
}

# Limits change while it runs.
row_update() {
	ask engine run -d --name changing --net none -m 100m "$BB" sleep 1000
	ask engine update --memory 64m --memory-swap 64m changing
	ok engine inspect -f '{{.HostConfig.Memory}}' changing
	expect_output 67108864
	fails 137 engine exec changing sh -c "$GROW"
	ask engine rm -f changing
	# a limit less than what its VM has used
	ask engine run -d --name unlimited --net none "$BB" sleep 1000
	ask engine update --memory 64m --memory-swap 64m unlimited
	fails 137 engine exec unlimited sh -c "$GROW"
	ask engine rm -f unlimited
}
