# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What every end-to-end test has at hand. A VM start costs seconds under emulation, so a test asks one VM many things.
#
# $CAISSON the program, $ROOT a busybox root file system shared by all tests, $NAME a container name of this test's own,
# $BATS_TEST_TMPDIR a folder of this test's own. After each test nothing may be left: see leak_snapshot.
#
# The tests run on every hypervisor (setup_suite.bash): $DRIVER is the name of this one. What a test needs of it, it says
# by needs_capability; a test of one hypervisor's own ways says so by needs_hypervisor.

bats_require_minimum_version 1.5.0

# Run caisson for at most $LIMIT seconds. Status 124 or 137 from here means: it hung. All limits here only catch a hang,
# so they leave room for a machine that is busy with other things; nothing waits for one of them in vain. Where everything
# is slower than usual, $SLOWER is by how much (setup_suite.bash).
caisson() {
	timeout -k 1 "$LIMIT" "$CAISSON" "$@"
}

# vm FLAGS… -- CMD…: run a container in a VM; $status, $output (stdout), $stderr as bats sets them.
vm() {
	run --separate-stderr caisson run --rootfs "$ROOT" "$@"
}

# vm_bg FLAGS… -- CMD…: the same in the background, named $NAME. $vm_pid; out and err in $BATS_TEST_TMPDIR.
# Returns when the command has printed its first line on stdout.
vm_bg() {
	: >"$BATS_TEST_TMPDIR/out"
	"$CAISSON" run --name "$NAME" --rootfs "$ROOT" "$@" \
		>"$BATS_TEST_TMPDIR/out" 2>"$BATS_TEST_TMPDIR/err" </dev/null 3>&- &
	vm_pid=$!
	wait_for 240 begun
	[ -s "$BATS_TEST_TMPDIR/out" ] || {
		cat "$BATS_TEST_TMPDIR/err"
		return 1
	}
}

begun() {
	[ -s "$BATS_TEST_TMPDIR/out" ] || not_running "$vm_pid"
}

# Wait for the background VM; its exit status in $vm_status. Kills it when that is too long.
vm_wait() {
	wait_for 120 not_running "$vm_pid" || kill -KILL "$vm_pid"
	vm_status=0
	wait "$vm_pid" || vm_status=$?
}

not_running() {
	! [ -d "/proc/$1" ] || is_zombie "/proc/$1"
}

# is_zombie /proc/PID: also when it has gone meanwhile.
is_zombie() {
	local key state rest
	while read -r key state rest; do
		[ "$key" != State: ] || break
	done 2>/dev/null <"$1/status"
	[ "${state:-Z}" = Z ]
}

# wait_for SECONDS CMD…: until CMD succeeds.
wait_for() {
	local end=$((SECONDS + $1 * SLOWER))
	shift
	until "$@" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.1
	done
}

# has_capability FIELD…: has this hypervisor one of them? Fields of `struct vm_capabilities`; one that there is not: 2.
has_capability() {
	local field has=1
	for field; do
		case $(jq -r --arg name "$DRIVER" --arg field "$field" 'map(select(.name == $name))[0].capabilities[$field]' <<<"$HYPERVISORS") in
		true) has=0 ;;
		false) ;;
		*) return 2 ;;
		esac
	done
	return $has
}

# needs_capability FIELD…: one of them. The test is skipped where this hypervisor has none.
needs_capability() {
	local has=0
	has_capability "$@" || has=$?
	case $has in
	0) ;;
	1) skip "$DRIVER here is without $*" ;;
	*) show "there is no capability $*" ;;
	esac
}

# Where the hypervisor of these tests is not there, every test is a skipped one (setup_suite.bash).
needs_usable() {
	[ -z "$UNUSABLE" ] || skip "$UNUSABLE"
}

# The program that this hypervisor is; nothing where it lives in caisson's own process.
vmm_program() {
	jq -r --arg name "$DRIVER" 'map(select(.name == $name))[0].path | select(startswith("/"))' <<<"$HYPERVISORS"
}

needs_program() {
	[ -n "$(vmm_program)" ] || skip "$DRIVER is no program of its own"
}

# needs_hypervisor NAME: the test is about settings that this hypervisor alone has, not about what any of them can do.
needs_hypervisor() {
	[ "$DRIVER" = "$1" ] || skip "about $1, and this is $DRIVER"
}

# expect_status N, expect_line LINE, expect_stderr PATTERN: with everything printed when they fail.
show() {
	printf '%s\n' "$@" "--- status ${status:-}" "--- stdout" "${output:-}" "--- stderr" "${stderr:-}"
	return 1
}
expect_status() {
	[ "$status" = "$1" ] || show "exit status should be $1"
}
expect_output() {
	[ "$output" = "$1" ] || show "stdout should be exactly: $1"
}
expect_line() {
	grep -qxF -- "$1" <<<"$output" || show "stdout has no line: $1"
}
expect_match() {
	grep -qE -- "$1" <<<"$output" || show "stdout does not match: $1"
}
refute_match() {
	! grep -qE -- "$1" <<<"$output" || show "stdout should not match: $1"
}
expect_stderr() {
	grep -qE -- "$1" <<<"$stderr" || show "stderr does not match: $1"
}
# A failure is reported once and readably: a line of caisson's own, no crash, no sanitizer.
expect_clear_error() {
	expect_stderr '^(caisson|error): ' || return
	# one message, not a trail of consequences; warnings come before it
	[ "$(grep -cE '^caisson: error: ' <<<"$stderr")" = 1 ] || show "there is more than one error message"
	! grep -qiE 'assert|segmentation|sanitizer|core dumped' <<<"$stderr" || show "stderr looks like a crash"
}

# Everything that a container could leave behind, one thing a line.
leak_snapshot() {
	local pid name
	# shell only: a program for each process takes long where processors are emulated
	for pid in /proc/[0-9]*; do
		{ read -r name <"$pid/comm"; } 2>/dev/null || continue
		case $name in
		qemu-system* | cloud-hyperviso* | firecracker* | jailer* | stratovirt* | virtiofsd* | passt* | pasta* | caisson* | CPU\ *)
			# a zombie whose parent is about to reap it is no leak
			is_zombie "$pid" || tr '\0' ' ' <"$pid/cmdline" 2>/dev/null | cut -c1-200
			;;
		esac
	done | sed 's/^/process: /'
	sed 's/^/mount: /' /proc/self/mounts
	find /run/caisson /run/kata-containers /run/vc -mindepth 1 2>/dev/null | sed 's/^/file: /'
	find "${TMPDIR:-/tmp}" -maxdepth 1 -mindepth 1 ! -name 'bats-run*' 2>/dev/null | sed 's/^/file: /'
	ip -o link | sed 's/^[0-9]*: \([^:@]*\).*/interface: \1/'
	find /sys/fs/cgroup -maxdepth 4 -type d \( -name '*caisson*' -o -name "*$NAME*" \) 2>/dev/null | sed 's/^/cgroup: /'
}

# Ended processes may take a moment to go. What is there after thirty seconds stays.
leak_check() {
	local end=$((SECONDS + 30 * SLOWER)) now
	while :; do
		now=$(leak_snapshot | sort)
		[ "$now" != "$leak_before" ] || return 0
		[ $SECONDS -lt $end ] || break
		sleep 0.2
	done
	echo "something was left behind (>) or went away (<):"
	diff <(echo "$leak_before") <(echo "$now")
	return 1
}

setup() {
	needs_usable
	NAME=t$BATS_TEST_NUMBER-$$
	# the root of the container is the guest's user's business too: bats makes its folders private
	chmod 755 "$BATS_TEST_TMPDIR"
	vm_pid=
	# what an earlier test's crash left is that test's failure only
	"$CAISSON" list --prune >/dev/null 2>&1 || :
	leak_before=$(leak_snapshot | sort)
}

teardown() {
	local job
	[ -z "$UNUSABLE" ] || return 0
	for job in $(jobs -p); do
		kill -KILL "$job" 2>/dev/null || :
	done
	wait 2>/dev/null || :
	leak_check
}
