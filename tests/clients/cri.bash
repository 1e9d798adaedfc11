# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Kubernetes' way in: containerd's CRI plugin, called as the kubelet calls it. The rows are functions of cri.py; what has
# to be done to containerd itself is here.
. "$HERE/containerd.bash"
. "$HERE/cri_rows.bash"

cri_start() {
	local image
	containerd_conf ''
	cni_conf
	oci_archives
	cri_messages
	containerd_start
	for image in bb pause deb; do
		[ ! -e "$IMAGES/$image.tar" ] || ctr -n k8s.io images import "$IMAGES/$image.tar" >&2
	done
	until_true 60 cri ready
	# containerd makes it for the first sandbox, and leaves it
	[ -z "${CLIENTS_SANDBOXER:-}" ] || mkdir -p /run/containerd/io.containerd.sandbox.controller.v1.shim/k8s.io
}

client_start() {
	cri_start
	RUNTIME=runc cri warm_up
}

# The pod and its containers live on, and are found again; their logs go on.
row_restart() {
	containerd_stop
	containerd_start
	until_true 60 cri ready
	cri after_restart
	containerd_stop KILL
	containerd_start
	until_true 60 cri ready
	cri after_restart
}
