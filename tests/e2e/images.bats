#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Root file systems from OCI layouts, docker archives and bundles.

load helper

# make_layout DIR: an image of two layers over the busybox root, with a whiteout of a file, an opaque folder, a
# configuration of every field that `caisson run` takes from it, and the tags "latest" and "plain".
make_layout() {
	local dir=$1 work=$BATS_TEST_TMPDIR/umoci
	umoci init --layout "$dir"
	umoci new --image "$dir:latest"
	umoci unpack --image "$dir:latest" "$work"
	cp -a "$ROOT/." "$work/rootfs/"
	mkdir "$work/rootfs/opaque"
	echo below >"$work/rootfs/opaque/below"
	echo one >"$work/rootfs/etc/layer"
	echo doomed >"$work/rootfs/etc/doomed"
	umoci repack --refresh-bundle --image "$dir:latest" "$work"
	umoci tag --image "$dir:latest" plain
	rm -r "$work/rootfs/opaque" "$work/rootfs/etc/doomed"
	mkdir "$work/rootfs/opaque"
	echo above >"$work/rootfs/opaque/above"
	echo two >"$work/rootfs/etc/layer"
	ln "$work/rootfs/etc/layer" "$work/rootfs/etc/hardlink"
	umoci repack --image "$dir:latest" "$work"
	umoci config --image "$dir:latest" --config.entrypoint /bin/sh --config.entrypoint -c \
		--config.cmd 'echo "cmd $GREETING $(pwd) $(id -u)"' --config.env GREETING=hello --config.user user \
		--config.workingdir /var --config.stopsignal SIGUSR1
}

make_image() {
	[ -d "$CACHE/layout.done" ] && return
	rm -rf "$CACHE/layout" "$CACHE/image.tar"
	make_layout "$CACHE/layout" >&2
	skopeo --insecure-policy copy -q "oci:$CACHE/layout:latest" "docker-archive:$CACHE/image.tar:test:latest" >&2
	mkdir "$CACHE/layout.done"
}

setup() {
	needs_usable
	command -v umoci >/dev/null && command -v skopeo >/dev/null || skip "needs umoci and skopeo"
	make_image
	NAME=t$BATS_TEST_NUMBER-$$
	chmod 755 "$BATS_TEST_TMPDIR"
	leak_before=$(leak_snapshot | sort)
}

look='cat /etc/layer /etc/hardlink; ls /opaque; ls /etc/doomed 2>/dev/null || echo "whiteout"; stat -c %h /etc/layer; busybox | head -n 1 | cut -d" " -f1'
seen=$'two\ntwo\nabove\nwhiteout\n2\nBusyBox'

@test "an OCI layout: layers, whiteouts, hard links; env, cmd, entrypoint, user, working directory" {
	run --separate-stderr caisson run --rootfs "oci:$CACHE/layout:latest"
	expect_status 0
	expect_output 'cmd hello /var 1000'
	# arguments replace cmd, not the entrypoint
	run --separate-stderr caisson run --rootfs "oci:$CACHE/layout:latest" -- "$look"
	expect_status 0
	expect_output "$seen"
	run --separate-stderr caisson run -u root -w / -e GREETING=bye --rootfs "oci:$CACHE/layout:latest"
	expect_output 'cmd bye / 0'
}

@test "--rw of an image is a disk of the container's own, and the image stays as it is" {
	needs_capability block
	run --separate-stderr caisson run --rw -u root --rootfs "oci:$CACHE/layout:latest" -- \
		"echo mine >/etc/layer && head -c 8000000 /dev/zero >/big && df -T / | grep -o ext4 && ls -d /lost+found 2>/dev/null; $look"
	expect_status 0
	expect_output $'ext4\nmine\nmine\nabove\nwhiteout\n2\nBusyBox'
	run --separate-stderr caisson run --rw --rootfs "oci:$CACHE/layout:latest" -- "$look; ls /big 2>/dev/null || echo gone"
	expect_status 0
	expect_output "$seen"$'\ngone'
}

@test "an OCI layout: another tag, no tag, an unknown tag" {
	run --separate-stderr caisson run --rootfs "oci:$CACHE/layout:plain" -- /bin/cat /etc/layer /etc/doomed
	expect_status 0
	expect_output $'one\ndoomed'
	run --separate-stderr caisson run --rootfs "oci:$CACHE/layout:absent" -- /bin/true
	expect_status 125
	expect_clear_error
	expect_stderr 'absent'
}

@test "a docker archive" {
	run --separate-stderr caisson run --rootfs "docker-archive:$CACHE/image.tar" -- "$look"
	expect_status 0
	expect_output "$seen"
	run --separate-stderr caisson run --rootfs "docker-archive:$CACHE/image.tar"
	expect_output 'cmd hello /var 1000'
}

@test "a layer whose bytes were changed is refused" {
	cp -r "$CACHE/layout" "$BATS_TEST_TMPDIR/layout"
	local biggest
	biggest=$(find "$BATS_TEST_TMPDIR/layout/blobs" -type f -printf '%s %p\n' | sort -n | tail -n 1 | cut -d' ' -f2)
	printf 'XXXX' | dd of="$biggest" bs=1 seek=200 conv=notrunc status=none
	# in a store of its own: what was unpacked before is known by its digest and not read again
	run --separate-stderr caisson run --store "$BATS_TEST_TMPDIR/store" --rootfs "oci:$BATS_TEST_TMPDIR/layout:latest"
	expect_status 125
	expect_clear_error
	expect_stderr "digest|$(basename "$biggest" | cut -c1-12)"
	truncate -s 1000 "$biggest"
	run --separate-stderr caisson run --store "$BATS_TEST_TMPDIR/store" --rootfs "oci:$BATS_TEST_TMPDIR/layout:latest"
	expect_status 125
	expect_clear_error
}

@test "a layer that reaches out of the root file system is refused or stays inside" {
	local dir=$BATS_TEST_TMPDIR/evil
	mkdir -p "$dir/t"
	ln -s "$BATS_TEST_TMPDIR" "$dir/t/link"
	echo escaped >"$dir/t/victim"
	# a link out, then a file through it; and a name with ..
	tar -C "$dir/t" -cf "$dir/layer.tar" link
	tar -C "$dir/t" -rf "$dir/layer.tar" --transform 's#victim#link/victim#' victim
	tar -C "$dir/t" -rPf "$dir/layer.tar" --transform 's#victim#../../../../../../../../../..'"$BATS_TEST_TMPDIR"'/victim2#' victim
	local digest config
	digest=$(sha256sum <"$dir/layer.tar" | cut -d' ' -f1)
	printf '{"architecture":"amd64","os":"linux","config":{"Cmd":["/bin/true"]},"rootfs":{"type":"layers","diff_ids":["sha256:%s"]}}' "$digest" >"$dir/config.json"
	config=$(sha256sum <"$dir/config.json" | cut -d' ' -f1)
	mkdir "$dir/d"
	mv "$dir/config.json" "$dir/d/$config.json"
	mkdir "$dir/d/l"
	mv "$dir/layer.tar" "$dir/d/l/layer.tar"
	printf '[{"Config":"%s.json","RepoTags":["evil:latest"],"Layers":["l/layer.tar"]}]' "$config" >"$dir/d/manifest.json"
	tar -C "$dir/d" -cf "$dir/evil.tar" manifest.json "$config.json" l/layer.tar
	run --separate-stderr caisson run --rootfs "docker-archive:$dir/evil.tar"
	[ "$status" -ne 0 ]
	[ ! -e "$BATS_TEST_TMPDIR/victim" ] && [ ! -e "$BATS_TEST_TMPDIR/victim2" ]
}

@test "what a bundle says about its host" {
	needs_capability fs_sharing fs_sharing_9p
	local bundle=$BATS_TEST_TMPDIR/bundle
	mkdir "$bundle" "$bundle/data" "$BATS_TEST_TMPDIR/shown"
	cp -a "$ROOT" "$bundle/rootfs"
	echo 'a file' >"$bundle/file"
	echo shown >"$BATS_TEST_TMPDIR/shown/f"
	cat >"$bundle/config.json" <<-END
		{"ociVersion": "1.1.0", "root": {"path": "rootfs"},
		 "process": {"cwd": "/", "env": ["PATH=/bin"], "args": ["sh", "-c",
		  "cat /mnt/file /shown/f; echo written >/data/new; touch /shown/x 2>/dev/null || echo read-only; touch /dev/shm/x && stat -f -c %T /dev/shm; cat /proc/self/cgroup"]},
		 "hooks": {"poststop": [{"path": "/usr/bin/host-hook"}]},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"},
		  {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
		  {"destination": "/mnt/file", "type": "bind", "source": "file", "options": ["bind", "ro"]},
		  {"destination": "/data", "type": "none", "source": "$bundle/data", "options": ["rbind"]},
		  {"destination": "/shown", "type": "bind", "source": "$BATS_TEST_TMPDIR/shown", "options": ["rbind", "ro"]},
		  {"destination": "/dev/shm", "type": "bind", "source": "$BATS_TEST_TMPDIR/shown", "options": ["bind"]}],
		 "linux": {"cgroupsPath": "system.slice:made-by:$NAME", "namespaces": [{"type": "pid"}, {"type": "mount"},
		  {"type": "network", "path": "/var/run/netns/nothing"}]}}
	END
	run --separate-stderr caisson run --bundle "$bundle"
	expect_status 0
	expect_output "a file
shown
read-only
tmpfs
0::/made-by/$NAME"
	expect_stderr 'the poststop hook /usr/bin/host-hook is not run'
	[ "$(cat "$bundle/data/new")" = written ]
	rm "$bundle/file"
	run --separate-stderr caisson run --bundle "$bundle"
	expect_status 125
	expect_stderr 'mounts\[2\] of the container: cannot find .*/bundle/file, which is to be mounted at /mnt/file'
}

@test "a bundle" {
	mkdir "$BATS_TEST_TMPDIR/bundle"
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/bundle/rootfs"
	cat >"$BATS_TEST_TMPDIR/bundle/config.json" <<-END
		{"ociVersion": "1.1.0", "hostname": "bundled", "root": {"path": "rootfs"},
		 "process": {"cwd": "/tmp", "user": {"uid": 1000, "gid": 1000}, "env": ["PATH=/bin", "X=from bundle"],
		  "args": ["sh", "-c", "echo \$X; pwd; id -u; hostname; exit 4"]},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
		 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}, {"type": "uts"}, {"type": "ipc"}, {"type": "network"}]}}
	END
	run --separate-stderr caisson run --bundle "$BATS_TEST_TMPDIR/bundle"
	expect_status 4
	expect_output $'from bundle\n/tmp\n1000\nbundled'
	run --separate-stderr caisson run --bundle "$BATS_TEST_TMPDIR/bundle" --memory 100m
	expect_status 125
	expect_stderr '--memory has no effect with --bundle'
	echo '{' >"$BATS_TEST_TMPDIR/bundle/config.json"
	run --separate-stderr caisson run --bundle "$BATS_TEST_TMPDIR/bundle"
	expect_status 125
	expect_stderr 'config.json'
}

@test "a bundle where nothing is shared: a writable root is a disk of its own" {
	needs_capability block
	local bundle=$BATS_TEST_TMPDIR/bundle
	mkdir "$bundle"
	cp -a "$ROOT" "$bundle/rootfs"
	printf '[hypervisor.%s]\nshared_fs = "none"\n[agent.kata]\ndial_timeout = 400\n' "$DRIVER" >"$BATS_TEST_TMPDIR/c.toml"
	cat >"$bundle/config.json" <<-END
		{"ociVersion": "1.1.0", "root": {"path": "rootfs"},
		 "process": {"cwd": "/", "env": ["PATH=/bin"], "args": ["sh", "-c", "echo x >/written; df -T / | grep -o ext4; stat -c %a:%u /"]},
		 "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
		 "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}]}}
	END
	run --separate-stderr caisson run --config "$BATS_TEST_TMPDIR/c.toml" --bundle "$bundle"
	expect_status 0
	expect_output "ext4
$(stat -c %a:%u "$bundle/rootfs")"
	expect_stderr 'rootfs is copied into the guest'
	[ ! -e "$bundle/rootfs/written" ]
}
