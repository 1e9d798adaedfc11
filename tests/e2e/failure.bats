#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What can go wrong, goes wrong with one clear message, exit status 125 (126, 127 for the command itself), in bounded
# time, and leaves nothing: teardown() compares processes, mounts, sockets, files, interfaces and cgroups.

load helper

# must_fail STATUS PATTERN ARGS…: the run fails so, and not by waiting for an agent (unless that is what PATTERN says).
must_fail() {
	local want=$1 pattern=$2
	shift 2
	run --separate-stderr caisson run "$@"
	expect_status "$want" || return
	expect_clear_error || return
	expect_stderr "$pattern" || return
	[[ $pattern == *"did not answer"* ]] || ! grep -q 'did not answer' <<<"$stderr" || show "noticed by a time limit only"
}

# bats test_tags=lab:failure
@test "no kernel; not a kernel" {
	must_fail 125 "$BATS_TEST_TMPDIR/none" --kernel "$BATS_TEST_TMPDIR/none" --rootfs "$ROOT" -- /bin/true
	head -c 100000 /dev/urandom >"$BATS_TEST_TMPDIR/junk"
	must_fail 125 "kernel" --kernel "$BATS_TEST_TMPDIR/junk" --rootfs "$ROOT" -- /bin/true
	: >"$BATS_TEST_TMPDIR/empty"
	must_fail 125 "kernel" --kernel "$BATS_TEST_TMPDIR/empty" --rootfs "$ROOT" -- /bin/true
	must_fail 125 "kernel" --kernel "$BATS_TEST_TMPDIR" --rootfs "$ROOT" -- /bin/true
}

@test "no initrd; a corrupt initrd" {
	must_fail 125 "$BATS_TEST_TMPDIR/none" --initrd "$BATS_TEST_TMPDIR/none" --rootfs "$ROOT" -- /bin/true
	head -c 1000000 /dev/urandom >"$BATS_TEST_TMPDIR/junk"
	must_fail 125 "guest|initrd|VM" --initrd "$BATS_TEST_TMPDIR/junk" --rootfs "$ROOT" -- /bin/true
}

@test "a hypervisor that there is not" {
	must_fail 125 'no-such-hypervisor' --hypervisor no-such-hypervisor --rootfs "$ROOT" -- /bin/true
}

@test "a hypervisor's program that is not there; one that is another program" {
	needs_program
	printf '[hypervisor.%s]\npath = "/no/such/program"\n' "$DRIVER" >"$BATS_TEST_TMPDIR/c.toml"
	must_fail 125 '/no/such/program' --config "$BATS_TEST_TMPDIR/c.toml" --rootfs "$ROOT" -- /bin/true
	printf '[hypervisor.%s]\npath = "/bin/false"\n' "$DRIVER" >"$BATS_TEST_TMPDIR/c.toml"
	must_fail 125 '/bin/false' --config "$BATS_TEST_TMPDIR/c.toml" --rootfs "$ROOT" -- /bin/true
}

@test "hypervisors that are too old are told" {
	printf '#!/bin/sh\necho "Firecracker v1.11.0"\n' >"$BATS_TEST_TMPDIR/firecracker"
	printf '#!/bin/sh\necho "StratoVirt 2.2.0"\n' >"$BATS_TEST_TMPDIR/stratovirt"
	chmod 755 "$BATS_TEST_TMPDIR/firecracker" "$BATS_TEST_TMPDIR/stratovirt"
	run --separate-stderr env PATH="$BATS_TEST_TMPDIR:$PATH" "$CAISSON" hypervisors
	expect_match 'firecracker: .*is Firecracker 1.11, which is too old'
	expect_match 'stratovirt: .*is StratoVirt 2.2, which is too old'
}

# The children of a process that carry a name.
child() {
	local pid
	for pid in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
		case $(cat "/proc/$pid/comm" 2>/dev/null) in $2*) echo "$pid" ;; esac
		child "$pid" "$2"
	done
}

# background_error PATTERN: the background VM ended with one clear error.
background_error() {
	status=$vm_status output='' stderr=$(cat "$BATS_TEST_TMPDIR/err")
	expect_status 125 || return
	expect_clear_error || return
	expect_stderr "$1"
}

# bats test_tags=lab:failure, lab:copies
@test "a hypervisor killed in the middle is noticed at once" {
	needs_program
	vm_bg -- /bin/sh -c 'echo ready; exec sleep 600'
	# the kernel cuts names
	kill -KILL "$(child "$vm_pid" "$(basename "$(vmm_program)" | cut -c 1-15)")"
	vm_wait
	background_error ' was killed by signal 9'
}

# bats test_tags=lab:failure
@test "the file server killed in the middle ends in bounded time" {
	needs_capability fs_sharing
	vm_bg -- /bin/sh -c 'echo ready; exec sleep 600'
	local server
	server=$(child "$vm_pid" virtiofsd | head -n 1)
	[ -n "$server" ]
	kill -KILL "$server"
	vm_wait
	background_error 'the file server of the container .* has ended'
}

# bats test_tags=lab:failure
@test "the guest crashes: reported with the end of its console" {
	must_fail 125 'panic|console|guest' --rootfs "$ROOT" --cap-add ALL --security-opt systempaths=unconfined -- \
		/bin/sh -c 'echo c >/proc/sysrq-trigger; sleep 600'
}

@test "an agent that never answers" {
	# a guest whose /init does nothing
	mkdir -p "$BATS_TEST_TMPDIR/ir/bin"
	cp /bin/busybox "$BATS_TEST_TMPDIR/ir/bin/busybox"
	printf '#!/bin/busybox sh\nwhile :; do /bin/busybox sleep 1; done\n' >"$BATS_TEST_TMPDIR/ir/init"
	chmod 755 "$BATS_TEST_TMPDIR/ir/init"
	(cd "$BATS_TEST_TMPDIR/ir" && find . | cpio --quiet -o -H newc) >"$BATS_TEST_TMPDIR/initrd"
	printf '[agent.kata]\ndial_timeout = 5\n[runtime]\ncreate_container_timeout = 10\n' >"$BATS_TEST_TMPDIR/c.toml"
	local start=$SECONDS
	must_fail 125 "the guest's agent did not answer within 5 s" --config "$BATS_TEST_TMPDIR/c.toml" \
		--initrd "$BATS_TEST_TMPDIR/initrd" --rootfs "$ROOT" -- /bin/true
	[ $((SECONDS - start)) -ge 4 ]
	! grep -q warning <<<"$stderr"
}

@test "too little memory" {
	printf '[hypervisor.%s]\ndefault_memory = 16\n' "$DRIVER" >"$BATS_TEST_TMPDIR/c.toml"
	must_fail 125 'memory' --config "$BATS_TEST_TMPDIR/c.toml" --rootfs "$ROOT" -- /bin/true
}

# on_full_disk SIZE INODES ARGS…: with a small file system at $BATS_TEST_TMPDIR/full, which nobody else sees.
on_full_disk() {
	mkdir -p "$BATS_TEST_TMPDIR/full"
	run --separate-stderr unshare --mount sh -c 'mount -t tmpfs -o "size=$1,nr_inodes=$2" full "$3"; shift 3; exec "$@"' - \
		"$1" "$2" "$BATS_TEST_TMPDIR/full" timeout -k 1 $LIMIT "$CAISSON" "${@:3}"
	expect_status 125 || return
	expect_clear_error || return
	expect_stderr 'No space left on device'
}

@test "disk full: the run directory, the image store" {
	[ "$(id -u)" = 0 ] || skip "needs root to mount"
	local inodes
	# whatever is the first that does not fit
	for inodes in 1 2 3 4 5; do
		on_full_disk 16k "$inodes" run --root "$BATS_TEST_TMPDIR/full" --rootfs "$ROOT" -- /bin/true
		expect_stderr "$BATS_TEST_TMPDIR/full"
	done
	tar -C "$ROOT" -cf "$BATS_TEST_TMPDIR/layer.tar" .
	local digest config=$BATS_TEST_TMPDIR/config.json
	digest=$(sha256sum <"$BATS_TEST_TMPDIR/layer.tar" | cut -d' ' -f1)
	echo '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":["sha256:'"$digest"'"]}}' >"$config"
	echo '[{"Config":"config.json","RepoTags":["x:latest"],"Layers":["layer.tar"]}]' >"$BATS_TEST_TMPDIR/manifest.json"
	tar -C "$BATS_TEST_TMPDIR" -cf "$BATS_TEST_TMPDIR/image.tar" manifest.json config.json layer.tar
	on_full_disk 600k 1000 run --store "$BATS_TEST_TMPDIR/full/store" --rootfs "docker-archive:$BATS_TEST_TMPDIR/image.tar" -- /bin/true
	on_full_disk 100m 10 run --store "$BATS_TEST_TMPDIR/full/store" --rootfs "docker-archive:$BATS_TEST_TMPDIR/image.tar" -- /bin/true
}

@test "a full writable layer in the guest is the command's own failure" {
	vm --tmpfs /t:size=64k -- /bin/sh -c 'dd if=/dev/zero of=/t/x bs=1000 count=1000 || exit 42'
	expect_status 42
	expect_stderr 'No space left on device'
}

@test "root file systems: absent, a file, unreadable, empty, for another architecture" {
	must_fail 125 "$BATS_TEST_TMPDIR/none" --rootfs "$BATS_TEST_TMPDIR/none" -- /bin/true
	: >"$BATS_TEST_TMPDIR/file"
	must_fail 125 "$BATS_TEST_TMPDIR/file" --rootfs "$BATS_TEST_TMPDIR/file" -- /bin/true
	mkdir "$BATS_TEST_TMPDIR/empty"
	must_fail 127 '/bin/true' --rootfs "$BATS_TEST_TMPDIR/empty" -- /bin/true
	mkdir -p "$BATS_TEST_TMPDIR/foreign/bin"
	# an ELF header of arm64 (e_machine 0xb7) and nothing else
	{
		printf '\177ELF\002\001\001\000\000\000\000\000\000\000\000\000\002\000\267\000\001\000\000\000'
		head -c 100 /dev/zero
	} >"$BATS_TEST_TMPDIR/foreign/bin/prog"
	chmod 755 "$BATS_TEST_TMPDIR/foreign/bin/prog"
	must_fail 126 '/bin/prog' --rootfs "$BATS_TEST_TMPDIR/foreign" -- /bin/prog
	expect_stderr 'another architecture'
}

@test "a root file system that this user may not read" {
	[ "$(id -u)" = 0 ] || skip "needs root to become another user"
	mkdir "$BATS_TEST_TMPDIR/secret"
	chmod 700 "$BATS_TEST_TMPDIR/secret"
	run --separate-stderr timeout -k 1 $LIMIT setpriv --reuid 1000 --regid 1000 --clear-groups \
		"$CAISSON" run --rootfs "$BATS_TEST_TMPDIR/secret" -- /bin/true
	expect_status 125
	expect_clear_error
	expect_stderr 'secret|[Pp]ermission|root'
}

@test "broken images" {
	head -c 100000 /dev/urandom >"$BATS_TEST_TMPDIR/junk.tar"
	must_fail 125 'junk.tar' --rootfs "docker-archive:$BATS_TEST_TMPDIR/junk.tar" -- /bin/true
	must_fail 125 'none.tar' --rootfs "docker-archive:$BATS_TEST_TMPDIR/none.tar" -- /bin/true
	mkdir "$BATS_TEST_TMPDIR/layout"
	must_fail 125 'layout' --rootfs "oci:$BATS_TEST_TMPDIR/layout:latest" -- /bin/true
	echo '{"imageLayoutVersion": "1.0.0"}' >"$BATS_TEST_TMPDIR/layout/oci-layout"
	echo '{"schemaVersion": 2, "manifests": [' >"$BATS_TEST_TMPDIR/layout/index.json"
	must_fail 125 'index.json' --rootfs "oci:$BATS_TEST_TMPDIR/layout:latest" -- /bin/true
}

@test "broken configuration: file and line" {
	printf '[hypervisor.%s]\ndefault_memory = \n' "$DRIVER" >"$BATS_TEST_TMPDIR/c.toml"
	must_fail 125 'c.toml:2' --config "$BATS_TEST_TMPDIR/c.toml" --rootfs "$ROOT" -- /bin/true
	must_fail 125 'none.toml' --config "$BATS_TEST_TMPDIR/none.toml" --rootfs "$ROOT" -- /bin/true
}

@test "wrong values of flags are named" {
	must_fail 125 'memory' --memory much --rootfs "$ROOT" -- /bin/true
	must_fail 125 'cpus' --cpus -1 --rootfs "$ROOT" -- /bin/true
	must_fail 125 'net' --net pigeon --rootfs "$ROOT" -- /bin/true
	must_fail 125 'no-such-tap' --net tap:no-such-tap --rootfs "$ROOT" -- /bin/true
	must_fail 125 'ulimit' --ulimit nofile --rootfs "$ROOT" -- /bin/true
	must_fail 125 'container id' --name 'a/../b' --rootfs "$ROOT" -- /bin/true
}

gone() {
	! leak_snapshot | grep -q '^process:'
}

# bats test_tags=lab:failure
@test "kill -9 of caisson at any moment leaves no VM" {
	local delay net=none
	! has_capability net_user net_passt || net=user
	for delay in 0.005 0.01 0.015 0.02 0.03 0.05 0.1 0.3 0.8 1.5 2.5; do
		"$CAISSON" run --net $net --rootfs "$ROOT" -- /bin/sh -c 'echo ready; sleep 600' >"$BATS_TEST_TMPDIR/out" 2>/dev/null </dev/null 3>&- &
		vm_pid=$!
		sleep "$delay"
		kill -KILL $vm_pid
		wait $vm_pid 2>/dev/null || :
		wait_for 120 gone || show "still running after ${delay} s: $(leak_snapshot | grep process:)"
		# what cannot clean up after itself is cleaned up here, and then there is nothing else
		caisson list --prune
		run --separate-stderr caisson list --prune
		expect_status 0
	done
}

# Is the background VM's program caisson itself by now, and has it blocked SIGTERM to read it from a descriptor?
catches_signals() {
	[ "$(cat "/proc/$vm_pid/comm")" = caisson ] &&
		(((0x$(sed -n 's/^SigBlk:[[:space:]]*//p' "/proc/$vm_pid/status") & 1 << 14) != 0))
}

# bats test_tags=lab:failure
@test "a signal while the guest boots ends it at once" {
	local signal delay
	for signal in INT TERM HUP; do
		for delay in 0.05 0.7; do
			"$CAISSON" run --rootfs "$ROOT" -- /bin/sleep 600 >"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" </dev/null 3>&- &
			vm_pid=$!
			wait_for 60 catches_signals
			sleep "$delay"
			# bats starts jobs with SIGINT ignored, as every shell without job control does
			kill -"$signal" $vm_pid
			vm_wait
			background_error 'interrupted'
		done
	done
	gone || show "$(leak_snapshot)"
}

@test "a published port that is taken" {
	needs_capability net_user net_passt
	local port=$((20000 + RANDOM % 10000))
	socat "TCP-LISTEN:$port,bind=127.0.0.1,reuseaddr" - >/dev/null </dev/null 3>&- &
	wait_for 60 bash -c "ss -Hltn 'sport = :$port' | grep -q ."
	must_fail 125 'port' --net user --publish "127.0.0.1:$port:80" --rootfs "$ROOT" -- /bin/true
}

@test "the reader of stdout goes away: the end that SIGPIPE is" {
	run bash -c "set -o pipefail; timeout -k 1 $LIMIT '$CAISSON' run --rootfs '$ROOT' -- /bin/sh -c 'while echo line; do :; done' | head -n 1"
	expect_output line
	expect_status 141
}
