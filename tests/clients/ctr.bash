# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# ctr, containerd's own client: the shim without anything between. How it is set up here, and its rows.
. "$HERE/containerd.bash"

BB=localhost/bb:1 DEB=localhost/deb:12

client_start() {
	local image
	containerd_conf '"io.containerd.grpc.v1.cri"'
	cni_conf
	oci_archives
	containerd_start
	for image in bb deb; do
		[ ! -e "$IMAGES/$image.tar" ] || ctr images import "$IMAGES/$image.tar" >&2
	done
	ctr images unpack --snapshotter native "$BB" >&2 || :
	RUNTIME=runc run_ctr --cni "$BB" warm true
}

client_reset() {
	local id
	ctr tasks ls -q | while read -r id; do
		limited ctr tasks rm -f "$id" || :
	done
	ctr containers ls -q | while read -r id; do
		limited ctr containers rm "$id" || :
	done
}

# A name like docker's shows that any shim in PATH is found.
shim() {
	echo "io.containerd.$RUNTIME.v2"
}

# run_ctr FLAGS… IMAGE ID CMD…
run_ctr() {
	limited ctr run --rm --runtime "$(shim)" "$@"
}

# in_background FLAGS… IMAGE ID CMD…: with a log at $WORK/ctr-log; it has printed something when this returns.
in_background() {
	: >"$WORK/ctr-log"
	limited ctr run -d --runtime "$(shim)" --log-uri "file://$WORK/ctr-log" "$@"
	until_true 30 test -s "$WORK/ctr-log"
}

task_status() {
	ctr tasks ls | awk -v id="$1" '$1 == id { print $3 }'
}

task_is() {
	[ "$(task_status "$1")" = "$2" ]
}

# removes_with STATUS ID: ctr tells what the task exited with when it removes it.
removes_with() {
	ask sh -c 'ctr tasks rm "$1" 2>&1' sh "$2"
	expect_match "exit code $1\""
	ask ctr containers rm "$2"
}

COUNTING='trap "echo bye; exit 5" TERM; echo started; while :; do printf . >>/count; sleep 0.1; done'

row_run() {
	ok run_ctr "$BB" c1 echo hello
	expect_output hello
	run_ctr "$BB" c1 sh -c 'echo problem >&2' 2>"$WORK/problem"
	ok cat "$WORK/problem"
	expect_output problem
}

row_exit_status() {
	fails 7 run_ctr "$BB" c1 sh -c 'exit 7'
	refused run_ctr "$BB" c1 /no/such/program
	ok ctr tasks ls -q
	ok ctr containers ls -q
}

row_native() {
	ok run_ctr --snapshotter native "$BB" c1 sh -c 'echo hello >/file; cat /file'
	expect_output hello
}

# disk_snapshots: containerd has a snapshotter, $1, whose snapshots are disks: image files (containerd 2), or of device mapper.
disk_snapshots() {
	local data meta dir=/run/clients/disks
	mkdir $dir
	if [ "$1" = blockfile ]; then
		mke2fs -q -t ext4 $dir/scratch 64M >&2
		printf 'scratch_file = "%s"\nfs_type = "ext4"\nmount_options = []\n' $dir/scratch >$dir/conf
	else
		export DM_DISABLE_UDEV=1
		truncate -s 512M $dir/data
		truncate -s 16M $dir/meta
		data=$(losetup -f --show $dir/data)
		meta=$(losetup -f --show $dir/meta)
		dmsetup create clients --table "0 1048576 thin-pool $meta $data 128 1024 1 skip_block_zeroing"
		printf 'pool_name = "clients"\nroot_path = "%s"\nbase_image_size = "64MB"\n' $dir/root >$dir/conf
		losetup -d "$data" "$meta" # when the pool has gone
	fi
	containerd_stop
	cp /run/clients/containerd.toml $dir/before
	{
		printf '[plugins."io.containerd.snapshotter.v1.%s"]\n' "$1"
		cat $dir/conf
	} >>/run/clients/containerd.toml
	containerd_start
}

no_disk_snapshots() {
	# those of the image: the next one unpacks it anew
	ctr snapshots --snapshotter "$1" ls | awk 'NR > 1 { print $1 }' | xargs -r ctr snapshots --snapshotter "$1" rm >&2
	containerd_stop
	cp /run/clients/disks/before /run/clients/containerd.toml
	if [ "$1" = devmapper ]; then
		dmsetup ls | awk '$1 != "clients" { print $1 }' | xargs -r -n 1 dmsetup remove --retry
		dmsetup remove --retry clients
	fi
	rm -r /run/clients/disks
	containerd_start
}

# What was written is there when the container runs again.
row_disks() {
	local kind=devmapper count='echo line >>/kept; wc -l </kept; sed -nE "s/^[^ ]* \/ ([^ ]*) .*/\1/p" /proc/mounts'
	! ctr plugins ls | grep blockfile >&2 || kind=blockfile
	[ $kind = blockfile ] || { modprobe dm-thin-pool && command -v dmsetup; } >/dev/null 2>&1 ||
		skipped 'this kernel has no thin pools, and this containerd no blockfile'
	disk_snapshots $kind
	ok limited ctr run --snapshotter $kind --runtime "$(shim)" "$BB" kept sh -c "$count"
	expect_line ext4
	ok limited ctr tasks start kept
	expect_line 2
	ask ctr containers rm kept
	fails 1 run_ctr --snapshotter $kind --read-only "$BB" kept touch /file
	no_disk_snapshots $kind
}

row_rootfs() {
	ok run_ctr --rootfs --env PATH=/bin "$IMAGES/root" c1 sh -c 'cat /etc/hostname'
	expect_output busybox
}

row_net_none() {
	ok run_ctr "$BB" c1 ls /sys/class/net
	expect_output lo
}

row_net_host() {
	ok run_ctr --net-host "$BB" c1 ls /sys/class/net
	expect_line eth0
}

row_cni() {
	ok run_ctr --cni "$BB" c1 sh -c '
		ip -4 -o address show eth0 | sed -nE "s/.* inet 10.99.0.[0-9]+\/([0-9]+) .*/eth0 has a \/\1 address/p"
		ping -c 1 -W 5 10.99.0.1 >/dev/null && echo the gateway answers
		wget -q -O - http://192.0.2.2:8000/greeting'
	expect_line 'the gateway answers'
	expect_line 'hello from the host'
}

# A network namespace that somebody made, with an address and a route of its own.
row_with_ns() {
	ip netns add made
	ip link add made0 type veth peer name eth5 netns made
	ip address add 10.77.0.1/24 dev made0
	ip link set made0 up
	ip -n made address add 10.77.0.2/24 dev eth5
	ip -n made link set eth5 mtu 1400 up
	ip -n made route add default via 10.77.0.1
	ok run_ctr --with-ns network:/run/netns/made "$BB" c1 sh -c '
		ip -4 -o address show eth5 | grep -o "inet [^ ]*"; cat /sys/class/net/eth5/mtu; ip route | grep default | cut -d" " -f1-5
		ping -c 1 -W 5 10.77.0.1 >/dev/null && echo the other end answers'
	expect_line 'inet 10.77.0.2/24'
	expect_line 1400
	expect_line 'the other end answers'
	ip netns del made
	until_true 10 not_there made0
}

# A namespace that a container has: this one has the same network, and processes of its own, unless it asks for those.
row_with_container() {
	local pid
	ip netns add made
	ip link add made0 type veth peer name eth5 netns made
	ip address add 10.77.0.1/24 dev made0
	ip link set made0 up
	ip -n made address add 10.77.0.2/24 dev eth5
	ip -n made link set eth5 up
	ip -n made link set lo up
	ask limited ctr run -d --runtime "$(shim)" --with-ns network:/run/netns/made "$BB" main httpd -f -h /etc
	until_true 30 ctr tasks exec --exec-id look main wget -q -O - http://127.0.0.1/passwd
	pid=$(ctr tasks ls | awk '$1 == "main" { print $2 }')
	ok run_ctr --with-ns "network:/proc/$pid/ns/net" "$BB" side sh -c \
		'wget -q -O - http://127.0.0.1/passwd | head -n 1 | cut -d: -f1; ps -o args | grep "^httpd" || :'
	expect_output root
	ok run_ctr --with-ns "network:/proc/$pid/ns/net" --with-ns "pid:/proc/$pid/ns/pid" "$BB" side sh -c \
		'ps -o args | grep -c "^httpd -f -h /etc"; ping -c 1 -W 5 10.77.0.1 >/dev/null && echo the other end answers'
	expect_line 1
	expect_line 'the other end answers'
	# who is no user of its network is in another machine
	if [ "$RUNTIME" != runc ]; then
		refused run_ctr --with-ns "pid:/proc/$pid/ns/pid" "$BB" side true
		ctr containers rm side >&2 || :
	fi
	# who brought it may go first
	ask limited ctr run -d --runtime "$(shim)" --with-ns "network:/proc/$pid/ns/net" "$BB" side sleep 1000
	ask ctr tasks rm -f main
	ask ctr containers rm main
	ok limited ctr tasks exec --exec-id look side sh -c 'ping -c 1 -W 5 10.77.0.1 >/dev/null && echo the other end answers'
	expect_output 'the other end answers'
	ask ctr tasks rm -f side
	ask ctr containers rm side
	ip netns del made
	until_true 10 not_there made0
}

not_there() {
	! ip link show "$1"
}

row_memory_limit() {
	fails 137 run_ctr --memory-limit $((64 << 20)) "$BB" c1 sh -c "$GROW"
}

row_mount() {
	mkdir -p "$WORK/volume"
	echo of the host >"$WORK/volume/file"
	ok run_ctr --mount "type=bind,src=$WORK/volume,dst=/v,options=rbind:rw" "$BB" c1 sh -c 'cat /v/file; echo of the guest >/v/back'
	ok cat "$WORK/volume/back"
	expect_output 'of the guest'
}

row_settings() {
	ok run_ctr --env COLOUR=green --cwd /etc --read-only "$BB" c1 sh -c 'echo $COLOUR; pwd
		touch /tmp/file 2>/dev/null || echo read-only; grep -E "^(Cap|NoNew|Seccomp:)" /proc/self/status'
	expect_line green
	expect_line read-only
	ok run_ctr --seccomp "$BB" c1 grep Seccomp: /proc/self/status
	expect_match '2$'
}

# CRI's ConfigPath comes the same way.
row_config_path() {
	sed '1a kernel_params = "caisson.own=1"' /run/clients/caisson.toml >"$WORK/own.toml"
	ok run_ctr --runtime-config-path "$WORK/own.toml" "$BB" c1 grep -o 'caisson.own=1' /proc/cmdline
	refused run_ctr --runtime-config-path "$WORK/missing.toml" "$BB" c1 true
}

row_debian() {
	[ -e "$IMAGES/deb-root.tar" ] || skipped 'there is no Debian root file system'
	ok run_ctr "$DEB" c1 sh -c '. /etc/os-release; echo "$ID $VERSION_ID"; perl -e "print 6 * 7, qq{\n}"'
	expect_line 42
}

row_run_t() {
	fails 3 on_terminal "$(command -v ctr)" run --rm -t --runtime "$(shim)" "$BB" c1 sh -c "$ON_A_TERMINAL; exit 3" <<<"$TYPED"
	expect_line 'got word'
}

# Its stdin never ends, so it is told how much to read.
row_run_stdin() {
	ok sh -c '{ echo a line; sleep 1; } | timeout -k 1 "$1" ctr run --rm --runtime "$2" "$3" c1 head -n 1' sh "$LIMIT" "$(shim)" "$BB"
	expect_output 'a line'
}

row_log_binary() {
	cat >"$BIN/ctr-logger" <<-'END'
		#!/bin/sh
		# containerd's contract: stdout of the container is fd 3, stderr 4, and closing 5 says ready
		exec 5>&-
		exec cat <&3 >"$1"
	END
	chmod 755 "$BIN/ctr-logger"
	ask limited ctr run -d --runtime "$(shim)" --log-uri "binary://$BIN/ctr-logger?$WORK/by-logger" "$BB" logged echo through a program
	until_true 30 grep -q program "$WORK/by-logger"
	ok cat "$WORK/by-logger"
	until_true 30 task_is logged STOPPED
	ask ctr tasks rm logged
	ask ctr containers rm logged
}

row_run_d() {
	in_background "$BB" box sh -c "$COUNTING"
	ok task_status box
	expect_output RUNNING
	ok cat "$WORK/ctr-log"
	expect_output started
}

row_ps() {
	local pid
	pid=$(ctr tasks ls | awk '$1 == "box" { print $2 }')
	kill -0 "$pid" || wrong "the task's process $pid does not live"
	ask ctr tasks ps box
	expect_match "^$pid\b"
}

# What clients that copy files (nerdctl cp) find and leave in the root of the task's process is the container's.
row_root() {
	local root
	root=/proc/$(ctr tasks ls | awk '$1 == "box" { print $2 }')/root
	echo of the host >"$root/by-host"
	ok limited ctr tasks exec --exec-id e10 box cat /by-host
	expect_output 'of the host'
	ask limited ctr tasks exec --exec-id e10 box sh -c 'echo of the container >/by-exec'
	ok cat "$root/by-exec"
	expect_output 'of the container'
}

row_exec() {
	ok limited ctr tasks exec --exec-id e1 box sh -c 'tr "\0" " " </proc/1/cmdline | cut -c-5'
	fails 9 limited ctr tasks exec --exec-id e1 box sh -c 'exit 9'
	ok limited ctr tasks exec --exec-id e1 --user 1000:50 --cwd /etc box sh -c 'id -u; id -g; pwd'
	refused limited ctr tasks exec --exec-id e1 box /no/such/program
	ask limited ctr tasks exec -d --exec-id e1 box sh -c 'echo done >/by-exec-d'
	until_true 10 limited ctr tasks exec --exec-id e2 box test -s /by-exec-d
}

row_exec_stdin() {
	random_mebibytes 2 >"$WORK/data"
	ask limited ctr tasks exec --exec-id e3 box sha256sum <"$WORK/data"
	expect_output "$(sha256sum <"$WORK/data")"
}

row_exec_t() {
	fails 4 on_terminal "$(command -v ctr)" tasks exec -t --exec-id e4 box sh -c "$ON_A_TERMINAL; exit 4" <<<"$TYPED"
	expect_line 'got word'
}

row_pause() {
	local before
	ask ctr tasks pause box
	ok task_status box
	expect_output PAUSED
	ask ctr tasks resume box
	before=$(limited ctr tasks exec --exec-id e5 box sh -c "wc -c </count")
	until_true 10 sh -c '[ "$(ctr tasks exec --exec-id e6 box sh -c "wc -c </count")" -gt "$1" ]' sh "$before"
	ok task_status box
}

row_metrics() {
	ask ctr tasks metrics box
	expect_match '^(memory\.usage_in_bytes|memory\.usage) +[1-9]'
	expect_match '^(cpuacct\.usage|cpu\.usage_usec) +[1-9]'
	expect_match '^(pids\.current) +[1-9]'
}

row_checkpoint() {
	refused limited ctr tasks checkpoint box
	ok task_status box
	expect_output RUNNING
}

row_two_containers() {
	ok run_ctr "$BB" c2 sh -c 'tr "\0" " " </proc/1/cmdline | cut -c-5; ls /count 2>&1 || :'
	ok task_status box
}

# Its containers run on without it, and it finds them.
row_containerd_restart() {
	containerd_stop
	containerd_start
	ok task_status box
	expect_output RUNNING
	ok limited ctr tasks exec --exec-id e7 box sh -c 'tr "\0" " " </proc/1/cmdline | cut -c-5'
	containerd_stop KILL
	containerd_start
	ok task_status box
	expect_output RUNNING
}

row_kill() {
	local pid
	pid=$(ctr tasks ls | awk '$1 == "box" { print $2 }')
	ask ctr tasks kill -s TERM box
	until_true 30 task_is box STOPPED
	! kill -0 "$pid" 2>/dev/null || wrong "the task's process $pid is still there"
	ok cat "$WORK/ctr-log"
	expect_line bye
	refused limited ctr tasks exec --exec-id e8 box true
	removes_with 5 box
	ok ctr containers ls -q
}

row_rm_f() {
	in_background "$BB" box sh -c 'echo deaf; trap "" TERM; while :; do sleep 1; done'
	refused ctr tasks rm box
	run ctr tasks rm -f box
	ok ctr tasks ls -q
	expect_output ''
	ask ctr containers rm box
}

# Every topic, in order, of a container with one exec.
row_events() {
	local pid late=
	ctr events >"$WORK/events" 2>/dev/null &
	pid=$!
	in_background "$BB" told sh -c 'echo started; exec sleep 1000'
	ask limited ctr tasks exec --exec-id e9 told true
	ask ctr tasks pause told
	ask ctr tasks resume told
	run ctr tasks kill -s KILL told
	until_true 30 task_is told STOPPED
	removes_with 137 told
	until_true 10 grep -q /tasks/delete "$WORK/events" || late=yes
	kill $pid
	[ "$RUNTIME$late" != runcyes ] || skipped 'the shim of containerd 2.3 ends before it has told of this'
	ok sh -c 'grep -o " /tasks/[a-z-]* " "$1" | tr -d " "' sh "$WORK/events"
	expect_line /tasks/exec-started
}
