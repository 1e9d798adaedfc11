#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# Much data, many VMs, many times. CYCLES (50) and MIB (100) make it shorter for trying.

load helper

@test "100 MiB of random bytes through stdin and stdout arrive unchanged" {
	local mib=${MIB:-100} want
	head -c "${mib}M" /dev/urandom >"$BATS_TEST_TMPDIR/data"
	want=$(sha256sum <"$BATS_TEST_TMPDIR/data")
	LIMIT=600 caisson run -i --rootfs "$ROOT" -- /bin/cat <"$BATS_TEST_TMPDIR/data" 2>"$BATS_TEST_TMPDIR/err" |
		sha256sum >"$BATS_TEST_TMPDIR/sum"
	[ "$(cat "$BATS_TEST_TMPDIR/sum")" = "$want" ] || show "$(cat "$BATS_TEST_TMPDIR/err")"
	# and the guest saw the same
	run --separate-stderr bash -c "timeout -k 1 600 '$CAISSON' run -i --rootfs '$ROOT' -- /bin/sha256sum <'$BATS_TEST_TMPDIR/data'"
	expect_output "$want"
	rm "$BATS_TEST_TMPDIR/data"
}

@test "stdout and stderr at full speed at the same time" {
	LIMIT=600 caisson run --rootfs "$ROOT" -- /bin/sh -c \
		'head -c 20m /dev/zero >&2 & head -c 20m /dev/zero | tr "\0" "\1"; wait' 2>"$BATS_TEST_TMPDIR/err" |
		tr -d '\1' | wc -c >"$BATS_TEST_TMPDIR/rest"
	[ "$(cat "$BATS_TEST_TMPDIR/rest")" -eq 0 ]
	[ "$(tr -cd '\0' <"$BATS_TEST_TMPDIR/err" | wc -c)" = 20971520 ]
}

@test "a reader that stops reading stops the writer, and loses nothing" {
	run bash -c "timeout -k 1 400 '$CAISSON' run --rootfs '$ROOT' -- /bin/sh -c 'seq 1 300000' | { sleep 6; sha256sum; }"
	[ "$output" = "$(seq 1 300000 | sha256sum)" ]
}

@test "8 VMs at once" {
	local i pids=() bad=0
	for i in 1 2 3 4 5 6 7 8; do
		LIMIT=400 caisson run --memory 64m --name "$NAME-$i" --rootfs "$ROOT" -- /bin/sh -c "echo vm $i; sleep 5; exit $i" \
			>"$BATS_TEST_TMPDIR/out$i" 2>"$BATS_TEST_TMPDIR/err$i" </dev/null 3>&- &
		pids+=($!)
	done
	for i in 1 2 3 4 5 6 7 8; do
		local s=0
		wait "${pids[i - 1]}" || s=$?
		if [ $s != $i ] || [ "$(cat "$BATS_TEST_TMPDIR/out$i")" != "vm $i" ]; then
			echo "VM $i: status $s, output $(cat "$BATS_TEST_TMPDIR/out$i"), $(cat "$BATS_TEST_TMPDIR/err$i")"
			bad=1
		fi
	done
	[ $bad = 0 ]
}

@test "100 commands one after the other in one VM leave nothing in caisson or in the guest" {
	vm_bg -- /bin/sh -c 'echo ready; exec sleep 600'
	local i first last
	usage() {
		ls "/proc/$vm_pid/fd" | wc -l
		caisson exec "$NAME" /bin/sh -c 'ls /proc | grep -c "^[0-9]"; grep -c . /proc/mounts; ls -d /sys/fs/cgroup/* | wc -l'
	}
	caisson exec "$NAME" /bin/true
	first=$(usage)
	for ((i = 0; i < ${CYCLES:-50} * 2; i++)); do
		caisson exec "$NAME" /bin/true
	done
	last=$(usage)
	caisson kill "$NAME" KILL
	vm_wait
	[ "$first" = "$last" ] || show "before:" "$first" "after:" "$last"
}

@test "50 starts and stops: no growth in processes, mounts, files, memory" {
	local i before after memory_before
	memory() { awk '/^(MemFree|Buffers|Cached|SReclaimable):/ { sum += $2 } END { print int(sum / 1024) }' /proc/meminfo; }
	memory_is_back() { [ $((memory_before - $(memory))) -lt 200 ]; }
	caisson run --rootfs "$ROOT" -- /bin/true
	before=$(leak_snapshot | sort)
	memory_before=$(memory)
	for ((i = 0; i < ${CYCLES:-50}; i++)); do
		caisson run --rootfs "$ROOT" -- /bin/sh -c "exit $((i % 3))" 2>"$BATS_TEST_TMPDIR/err" && s=0 || s=$?
		[ $s = $((i % 3)) ] || show "cycle $i: status $s" "$(cat "$BATS_TEST_TMPDIR/err")"
	done
	after=$(leak_snapshot | sort)
	[ "$before" = "$after" ] || show "$(diff <(echo "$before") <(echo "$after"))"
	# a lost guest would be hundreds of MiB for good; other programs of the machine come and go
	wait_for 120 memory_is_back || show "free memory: $memory_before MiB before, $(memory) after"
}
