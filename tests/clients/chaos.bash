# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What happens when a process of the tower is killed: the clients must hear of it, and nothing may be left. Nobody else's
# processes can be hit: in tests/clients/isolated there are only ours.
. "$HERE/ctr.bash"
. "$HERE/podman.bash"

CHAOS_ROUNDS=${CHAOS_ROUNDS:-3}

client_start() {
	podman_conf
	containerd_conf '"io.containerd.grpc.v1.cri"'
	cni_conf
	oci_archives
	podman_images
	podman_engine
	containerd_start
	ctr images import "$IMAGES/bb.tar" >&2
	RUNTIME=runc run_ctr --cni "$BB" warm true
	RUNTIME=runc engine run --rm "$BB" true
}

# What a client does about what it finds dead: it removes it.
client_reset() {
	local id
	for id in $(ctr tasks ls -q); do
		limited ctr tasks rm -f "$id"
	done
	for id in $(ctr containers ls -q); do
		limited ctr containers rm "$id"
	done
	# podman refuses to remove what ends at this moment: its process is dead, and conmon has not reaped it yet
	until_true 10 engine_reset
	# podman without its conmon removes a container and has the runtime forget nothing
	for id in $(find "/run/$RUNTIME" -mindepth 1 -maxdepth 1 -type d -printf '%f\n'); do
		"$RUNTIME" delete --force "$id"
	done
}

# pids_of PATTERN: processes whose NAME|COMMAND LINE matches; zombies have none. A stand-in has its maker's command line
# and its container's name.
pids_of() {
	local file line
	for file in /proc/[0-9]*/cmdline; do
		line=$(tr '\0' ' ' 2>/dev/null <"$file") && [ -n "$line" ] || continue
		line="$(cat "${file%cmdline}comm" 2>/dev/null)|$line"
		case $line in
		*tests/clients/* | *CHAOS*) ;;
		*) [[ $line =~ $1 ]] && basename "${file%/cmdline}" ;;
		esac
	done
	return 0
}

SHIM='^containerd-shim\|.*containerd-shim-caisson-v2 .*-id' VMM='^[^ ]*qemu-system|^[^ ]*firecracker|^[^ ]*cloud-hypervisor|^[^ ]*stratovirt'
FILE_SERVER='^[^ ]*virtiofsd|^[^ ]*caisson-fsd' CONMON='^[^ ]*conmon' OWNER='^[^ ]*caisson .*pod-owner'

# kill_one PATTERN: SIGKILL for one of them; fails when there is none.
kill_one() {
	local pids
	mapfile -t pids < <(pids_of "$1")
	[ ${#pids[@]} -gt 0 ] || return 1
	kill -KILL "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null
}

none_of() {
	[ -z "$(pids_of "$1")" ]
}

is_clean() {
	client_reset >&2
	nothing_left "$LOGS/before" >&2 || wrong 'something is left'
}

ended_with_ctr() {
	until_true 60 task_is box STOPPED
	# removal tells the exit status; what it was cannot be known
	run sh -c 'ctr tasks rm box 2>&1'
	ask ctr containers rm box
	is_clean
}

row_shim() {
	in_background "$BB" box sh -c 'echo started; exec sleep 1000'
	kill_one "$SHIM"
	until_true 30 none_of "$VMM"
	until_true 60 not_running_task box
	client_reset >&2
	is_clean
}

# containerd's cleanup after a shim that died removes the task, or shows it stopped.
not_running_task() {
	case $(task_status "$1") in '' | STOPPED) ;; *) return 1 ;; esac
}

row_vmm() {
	in_background "$BB" box sh -c 'echo started; exec sleep 1000'
	kill_one "$VMM"
	ended_with_ctr
}

row_file_server() {
	in_background "$BB" box sh -c 'echo started; exec sleep 1000'
	kill_one "$FILE_SERVER"
	ended_with_ctr
}

# containerd dies while a shim starts a VM for it. When it is back, the task is there and works, or it is not there.
row_containerd() {
	local starter
	limited ctr run -d --runtime "$(shim)" "$BB" box sleep 1000 >/dev/null 2>&1 &
	starter=$!
	until_true 30 some_of "$VMM"
	containerd_stop KILL
	wait $starter || :
	containerd_start
	if task_is box RUNNING; then
		ask limited ctr tasks exec --exec-id e1 box true
	fi
	is_clean
}

some_of() {
	[ -n "$(pids_of "$1")" ]
}

row_conmon() {
	ask engine run -d --name box --net none "$BB" sleep 1000
	kill_one "$CONMON"
	engine rm -f box >&2 || :
	is_clean
}

# One round: a container by ctr or podman, and a blow at some moment of its life, start included.
one_round() {
	local starter victims=("$SHIM" "$VMM" "$FILE_SERVER") victim
	if [ $((RANDOM % 2)) = 0 ]; then
		limited ctr run -d --runtime "$(shim)" "$BB" box sleep 1000 >&2 &
	else
		victims=("$OWNER" "$CONMON" "$VMM" "$FILE_SERVER")
		engine run -d --name box --net none "$BB" sleep 1000 >&2 &
	fi
	starter=$!
	victim=${victims[RANDOM % ${#victims[@]}]}
	sleep "$((RANDOM % 5)).$((RANDOM % 10))"
	printf 'killing one of %s\n' "$victim" >&2
	kill_one "$victim" || echo 'there was none' >&2
	wait $starter || :
	is_clean
}

row_at_random() {
	local i
	RANDOM=${CHAOS_SEED:=$((SRANDOM % 32768))}
	for ((i = 1; i <= CHAOS_ROUNDS; i++)); do
		printf 'CHAOS_SEED=%s, round %s\n' "$CHAOS_SEED" "$i" >&2
		one_round
	done
}
