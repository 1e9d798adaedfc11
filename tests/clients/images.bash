# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Images without a registry: made from folders, kept as archives that every client can load.
#   bb:1     busybox with all its names; no command of its own
#   pause:1  the same with a command that sleeps: what a pod's first container runs
#   deb:12   a minimal Debian

IMAGES=/run/clients/images

storage_conf() {
	cat >/run/clients/storage.conf <<-END
		[storage]
		driver = "overlay"
		graphroot = "/var/lib/containers/storage"
		runroot = "/run/containers/storage"
	END
	export CONTAINERS_STORAGE_CONF=/run/clients/storage.conf
}

make_root_archives() {
	mkdir -p "$IMAGES"
	"$TOP/scripts/busybox-root" "$IMAGES/root"
	tar -C "$IMAGES/root" -cf "$IMAGES/bb-root.tar" .
	[ ! -e "${DEBIAN:-}/.done" ] || tar -C "$DEBIAN" --exclude=./.done -cf "$IMAGES/deb-root.tar" .
}

# podman_images: into podman's store.
podman_images() {
	podman import -q "$IMAGES/bb-root.tar" localhost/bb:1 >&2
	podman import -q -c 'ENTRYPOINT ["/bin/sleep","1000000"]' "$IMAGES/bb-root.tar" localhost/pause:1 >&2
	[ ! -e "$IMAGES/deb-root.tar" ] || podman import -q "$IMAGES/deb-root.tar" localhost/deb:12 >&2
}

# oci_archives: for containerd, by way of podman's store.
oci_archives() {
	local name
	podman_images
	for name in bb:1 pause:1 deb:12; do
		! podman image exists "localhost/$name" ||
			podman save -q --format oci-archive -o "$IMAGES/${name%:*}.tar" "localhost/$name" >&2
	done
	podman rmi -qaf >/dev/null
}
