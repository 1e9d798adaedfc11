#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What can go wrong, goes wrong with one clear message, exit status 125 (126, 127 for the command itself), in bounded
# time, and leaves nothing: teardown() compares processes, mounts, sockets, files, interfaces and cgroups.

load helper

# must_fail STATUS PATTERN ARGS…: the run fails so, and within 60 s (a start takes 2 s on an idle machine).
must_fail() {
	local want=$1 pattern=$2 start=$SECONDS
	shift 2
	run --separate-stderr caisson run "$@"
	expect_status "$want" || return
	expect_clear_error || return
	expect_stderr "$pattern" || return
	[ $((SECONDS - start)) -lt 55 ] || show "took $((SECONDS - start)) s"
}

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

@test "no QEMU; a QEMU that is none" {
	printf '[hypervisor.qemu]\npath = "/no/such/qemu"\n' >"$BATS_TEST_TMPDIR/c.toml"
	must_fail 125 '/no/such/qemu' --config "$BATS_TEST_TMPDIR/c.toml" --hypervisor qemu --rootfs "$ROOT" -- /bin/true
	printf '[hypervisor.qemu]\npath = "/bin/false"\n' >"$BATS_TEST_TMPDIR/c.toml"
	must_fail 125 '/bin/false' --config "$BATS_TEST_TMPDIR/c.toml" --hypervisor qemu --rootfs "$ROOT" -- /bin/true
	must_fail 125 'no-such-hypervisor' --hypervisor no-such-hypervisor --rootfs "$ROOT" -- /bin/true
}

# The children of a process that carry a name.
child() {
	local pid
	for pid in $(cat /proc/"$1"/task/*/children 2>/dev/null); do
		case $(cat "/proc/$pid/comm" 2>/dev/null) in $2*) echo "$pid" ;; esac
		child "$pid" "$2"
	done
}

@test "QEMU killed in the middle is noticed at once" {
	vm_bg -- /bin/sh -c 'echo ready; exec sleep 60'
	local start=$SECONDS
	kill -KILL "$(child "$vm_pid" qemu)"
	vm_wait
	[ $((SECONDS - start)) -lt 5 ]
	[ "$vm_status" = 125 ]
	grep -qiE 'qemu|hypervisor|VM' "$BATS_TEST_TMPDIR/err"
}

@test "the file server killed in the middle ends in bounded time" {
	vm_bg -- /bin/sh -c 'echo ready; exec sleep 60'
	local server
	server=$(child "$vm_pid" virtiofsd | head -n 1)
	[ -n "$server" ] || skip "no virtiofsd in use"
	kill -KILL "$server"
	vm_wait
	[ "$vm_status" = 125 ]
}

@test "the guest crashes: reported with the end of its console" {
	must_fail 125 'panic|console|guest' --rootfs "$ROOT" --cap-add ALL --security-opt systempaths=unconfined -- \
		/bin/sh -c 'echo c >/proc/sysrq-trigger; sleep 20'
}

@test "an agent that never answers" {
	# a guest whose /init does nothing
	mkdir -p "$BATS_TEST_TMPDIR/ir/bin"
	cp /bin/busybox "$BATS_TEST_TMPDIR/ir/bin/busybox"
	printf '#!/bin/busybox sh\nwhile :; do /bin/busybox sleep 1; done\n' >"$BATS_TEST_TMPDIR/ir/init"
	chmod 755 "$BATS_TEST_TMPDIR/ir/init"
	(cd "$BATS_TEST_TMPDIR/ir" && find . | cpio --quiet -o -H newc) >"$BATS_TEST_TMPDIR/initrd"
	printf '[agent.kata]\ndial_timeout = 5\n[runtime]\ncreate_container_timeout = 10\n' >"$BATS_TEST_TMPDIR/c.toml"
	must_fail 125 'agent' --config "$BATS_TEST_TMPDIR/c.toml" --initrd "$BATS_TEST_TMPDIR/initrd" --rootfs "$ROOT" -- /bin/true
}

@test "too little memory" {
	printf '[hypervisor.qemu]\ndefault_memory = 16\n' >"$BATS_TEST_TMPDIR/c.toml"
	must_fail 125 'memory' --config "$BATS_TEST_TMPDIR/c.toml" --rootfs "$ROOT" -- /bin/true
}

@test "no place left on the disk of the run directory" {
	[ "${CAISSON_E2E_ISOLATED:-}" = 1 ] || skip "needs tests/e2e/in-namespaces"
	mkdir -p /run/caisson
	mount -t tmpfs -o size=16k,nr_inodes=4 full /run/caisson
	run --separate-stderr caisson run --rootfs "$ROOT" -- /bin/true
	umount /run/caisson
	expect_status 125
	expect_clear_error
	expect_stderr 'space|/run/caisson'
}

@test "a full writable layer in the guest is the command's own failure" {
	vm --tmpfs /t:size=64k -- /bin/sh -c 'head -c 1000000 /dev/zero >/t/x || exit 42'
	expect_status 42
	# busybox's words for it
	expect_stderr 'No space left|I/O error'
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
	expect_stderr 'arch|format|aarch64|arm64'
}

@test "a root file system that this user may not read" {
	[ "$(id -u)" = 0 ] || skip "needs root to become another user"
	mkdir "$BATS_TEST_TMPDIR/secret"
	chmod 700 "$BATS_TEST_TMPDIR/secret"
	run --separate-stderr timeout -k 1 60 setpriv --reuid 1000 --regid 1000 --clear-groups \
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
	printf '[hypervisor.qemu]\ndefault_memory = \n' >"$BATS_TEST_TMPDIR/c.toml"
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

@test "kill -9 of caisson at any moment leaves no VM" {
	local delay
	for delay in 0.05 0.3 0.8 1.5 2.5; do
		"$CAISSON" run --rootfs "$ROOT" -- /bin/sh -c 'echo ready; sleep 60' >"$BATS_TEST_TMPDIR/out" 2>/dev/null </dev/null 3>&- &
		vm_pid=$!
		sleep "$delay"
		kill -KILL $vm_pid
		wait $vm_pid 2>/dev/null || :
		gone() { ! leak_snapshot | grep -q '^process:'; }
		wait_for 5 gone || show "still running after ${delay} s: $(leak_snapshot | grep process:)"
		# what cannot clean up after itself is cleaned up here, and then there is nothing else
		caisson list --prune
		run --separate-stderr caisson list --prune
		expect_status 0
	done
}

@test "the reader of stdout goes away" {
	run bash -c "timeout -k 1 60 '$CAISSON' run --rootfs '$ROOT' -- /bin/sh -c 'while echo line; do :; done' | head -n 1"
	[ "$output" = line ]
}
