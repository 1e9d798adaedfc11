# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Kubernetes' other way in: CRI-O, a program of CLIENTS_PATH (crio, pinns), because Debian 12 has none. The rows are
# cri.py's. Caisson's handler is the one that we ship, by the shim; CLIENTS_RUNTIME_TYPE=oci: by the command line, which
# needs infra containers.
. "$HERE/containerd.bash"
. "$HERE/cri_rows.bash"

export CRI_SOCKET=/run/crio/crio.sock

# A pod's infra container has an oom_score_adj that only CAP_SYS_RESOURCE may set.
crio_runc() {
	cat >"$BIN/crio-runc" <<-'END'
		#!/bin/sh
		[ ! -e config.json ] || sed -i 's/"oomScoreAdj": *-[0-9]*/"oomScoreAdj":0/' config.json
		for word; do
			case $previous in
			--bundle | -b) sed -i 's/"oomScoreAdj": *-[0-9]*/"oomScoreAdj":0/' "$word/config.json" ;;
			esac
			previous=$word
		done
		exec runc "$@"
	END
	chmod 755 "$BIN/crio-runc"
}

crio_conf() {
	local drop_infra=true
	[ "${CLIENTS_RUNTIME_TYPE:-vm}" = vm ] || drop_infra=false
	mkdir -p /run/clients/crio/conf.d /run/clients/crio/exits
	echo '{ "default": [ { "type": "insecureAcceptAnything" } ] }' >/run/clients/crio/policy.json
	cat >/run/clients/crio/crio.conf <<-END
		[crio]
		root = "/var/lib/containers/storage"
		runroot = "/run/containers/storage"
		storage_driver = "overlay"
		log_dir = "/run/clients/crio/log"
		version_file = "/run/clients/crio/version"
		version_file_persist = "/run/clients/crio/version-persist"
		clean_shutdown_file = "/run/clients/crio/clean"
		internal_wipe = false
		[crio.api]
		listen = "$CRI_SOCKET"
		[crio.image]
		pause_image = "localhost/pause:crio"
		pause_command = ""
		signature_policy = "/run/clients/crio/policy.json"
		[crio.network]
		network_dir = "/etc/cni/net.d"
		plugin_dirs = ["/usr/lib/cni"]
		[crio.nri]
		enable_nri = false
		[crio.runtime]
		cgroup_manager = "cgroupfs"
		conmon_cgroup = "pod"
		drop_infra_ctr = $drop_infra
		default_runtime = "runc"
		default_ulimits = []
		container_exits_dir = "/run/clients/crio/exits"
		container_attach_socket_dir = "/run/clients/crio/attach"
		hooks_dir = []
		cdi_spec_dirs = []
		[crio.runtime.runtimes.runc]
		runtime_path = "$BIN/crio-runc"
		monitor_path = "/usr/bin/conmon"
	END
	case ${CLIENTS_RUNTIME_TYPE:-vm} in
	vm) sed "s,/usr/bin/,$BIN/," "$TOP/deploy/crio/50-caisson.conf" ;;
	oci)
		cat <<-END
			[crio.runtime.runtimes.caisson]
			runtime_path = "$BIN/caisson"
			runtime_type = "oci"
			monitor_path = "/usr/bin/conmon"
		END
		;;
	esac >/run/clients/crio/conf.d/50-caisson.conf
}

crio_start() {
	setsid crio --config /run/clients/crio/crio.conf --config-dir /run/clients/crio/conf.d >>"$LOGS/crio" 2>&1 &
	echo $! >"$LOGS/crio.pid"
	until_true 60 cri ready
}

# crio_stop [SIGNAL]: what it started goes on.
crio_stop() {
	local pid
	pid=$(cat "$LOGS/crio.pid")
	kill "-${1:-TERM}" "$pid"
	until_true 30 not_running "$pid"
}

client_start() {
	command -v crio pinns || return
	crio_runc
	crio_conf
	cni_conf
	podman_images
	# CRI-O waits for one that takes no SIGTERM
	podman import -q -c 'ENTRYPOINT ["/bin/sh","-c","trap exit TERM; sleep 1000000 & wait"]' "$IMAGES/bb-root.tar" \
		localhost/pause:crio >&2
	cri_messages
	crio_start
	RUNTIME=runc cri warm_up
	# they are made for the first pod, and stay
	mkdir -p /run/caisson-crio/crio/fifo/io /run/containerd/s
}

row_restart() {
	crio_stop
	crio_start
	cri after_restart
	crio_stop KILL
	crio_start
	cri after_restart
}
