# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# containerd at its usual places (which are empty in tests/clients/isolated), for ctr, for CRI and for docker. Both
# runtimes are CRI handlers of their own name.

# what containerd 2 says of cgroup v1 with each call is no part of a transcript
export CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1

# containerd_conf DISABLED: its CRI plugin needs a pause image, and cannot lower oom_score_adj where that capability is
# missing. containerd 2 has a form of its own. The handlers are those that we ship for it.
containerd_conf() {
	local version=2 cri='io.containerd.grpc.v1.cri' cni='bin_dir = "/usr/lib/cni"'
	if [ "$(containerd --version | awk '{ sub(/^v/, "", $3); print int($3) }')" -ge 2 ]; then
		version=3 cri='io.containerd.cri.v1.runtime' cni='bin_dirs = ["/usr/lib/cni"]'
	fi
	{
		cat <<-END
			version = $version
			disabled_plugins = [$1]
			[plugins."io.containerd.internal.v1.opt"]
			  path = "/run/clients/opt"
			[plugins."$cri"]
			  restrict_oom_score_adj = true
			  disable_apparmor = true
		END
		case $version in
		2) echo '  sandbox_image = "localhost/pause:1"' ;;
		3) printf '[plugins."io.containerd.cri.v1.images".pinned_images]\n  sandbox = "localhost/pause:1"\n' ;;
		esac
		cat <<-END
			[plugins."$cri".cni]
			  $cni
			[plugins."$cri".containerd.runtimes.runc]
			  runtime_type = "io.containerd.runc.v2"
		END
		sed "/^version/d; /runtimes.caisson\]/a sandboxer = \"${CLIENTS_SANDBOXER:-}\"" "$TOP/deploy/containerd/config-v$version.toml"
	} >/run/clients/containerd.toml
}

# The network of ctr --cni and of CRI: a bridge with addresses, and published ports.
cni_conf() {
	cat >/etc/cni/net.d/10-pods.conflist <<-'END'
		{ "cniVersion": "0.4.0", "name": "pods", "plugins": [
		  { "type": "bridge", "bridge": "cni0", "isGateway": true,
		    "ipam": { "type": "host-local", "subnet": "10.99.0.0/24", "routes": [ { "dst": "0.0.0.0/0" } ] } },
		  { "type": "portmap", "capabilities": { "portMappings": true } } ] }
	END
	# where ctr looks, unless it is Debian's
	if [ ! -e /opt/cni/bin ]; then
		mount -t tmpfs opt /opt
		mkdir /opt/cni
		ln -s /usr/lib/cni /opt/cni/bin
	fi
}

containerd_start() {
	setsid containerd -c /run/clients/containerd.toml >>"$LOGS/containerd" 2>&1 &
	echo $! >"$LOGS/containerd.pid"
	disown # that it was killed need not be said
	until_true 60 ctr version
}

# containerd_stop [SIGNAL]: what it started goes on.
containerd_stop() {
	local pid
	pid=$(cat "$LOGS/containerd.pid")
	kill "-${1:-TERM}" "$pid"
	until_true 30 not_running "$pid"
}
