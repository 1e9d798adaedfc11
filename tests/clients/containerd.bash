# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# containerd at its usual places (which are empty in tests/clients/isolated), for ctr, for CRI and for docker. Both
# runtimes are CRI handlers of their own name.

# Its CRI plugin needs a pause image, and cannot lower oom_score_adj where that capability is missing.
containerd_conf() {
	cat >/run/clients/containerd.toml <<-END
		version = 2
		disabled_plugins = [$1]
		[plugins."io.containerd.internal.v1.opt"]
		  path = "/run/clients/opt"
		[plugins."io.containerd.grpc.v1.cri"]
		  sandbox_image = "localhost/pause:1"
		  restrict_oom_score_adj = true
		  disable_apparmor = true
		[plugins."io.containerd.grpc.v1.cri".cni]
		  bin_dir = "/usr/lib/cni"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
		  runtime_type = "io.containerd.runc.v2"
		[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.caisson]
		  runtime_type = "io.containerd.caisson.v2"
		  pod_annotations = ["io.katacontainers.*"]
		  privileged_without_host_devices = true
	END
}

# The network of ctr --cni and of CRI: a bridge with addresses, and published ports.
cni_conf() {
	cat >/etc/cni/net.d/10-pods.conflist <<-'END'
		{ "cniVersion": "0.4.0", "name": "pods", "plugins": [
		  { "type": "bridge", "bridge": "cni0", "isGateway": true,
		    "ipam": { "type": "host-local", "subnet": "10.99.0.0/24", "routes": [ { "dst": "0.0.0.0/0" } ] } },
		  { "type": "portmap", "capabilities": { "portMappings": true } } ] }
	END
}

containerd_start() {
	setsid containerd -c /run/clients/containerd.toml >>"$LOGS/containerd" 2>&1 &
	echo $! >"$LOGS/containerd.pid"
	until_true 60 ctr version
}

# containerd_stop [SIGNAL]: what it started goes on.
containerd_stop() {
	local pid
	pid=$(cat "$LOGS/containerd.pid")
	kill "-${1:-TERM}" "$pid"
	until_true 30 not_running "$pid"
}
