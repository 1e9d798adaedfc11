#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# `caisson run`: every flag, stdio, signals, exit status.

load helper

# bats test_tags=lab:process, lab:kvm
@test "exit status, stdout and stderr apart, byte for byte" {
	vm -- /bin/sh -c 'printf "out\n"; printf "err\n" >&2; exit 3'
	expect_status 3
	expect_output out
	expect_stderr '^err$'
	caisson run --rootfs "$ROOT" -- /bin/sh -c 'printf "\000\001\377\r\n\n"; printf "\377\000e" >&2' \
		>"$BATS_TEST_TMPDIR/o" 2>"$BATS_TEST_TMPDIR/e"
	printf '\000\001\377\r\n\n' | cmp - "$BATS_TEST_TMPDIR/o"
	# the tail: caisson may say in a line of its own before it which hypervisor it chose
	tail -c 3 "$BATS_TEST_TMPDIR/e" | cmp - <(printf '\377\000e')
}

@test "the command's own status: 0, 255, 128 + signal; 126 and 127 as docker has them" {
	vm -- /bin/true
	expect_status 0
	expect_output ''
	vm -- /bin/sh -c 'exit 255'
	expect_status 255
	# the first process of a PID namespace ignores its own signals; a trap makes it end with the right status
	vm -- /bin/sh -c 'sh -c "kill -SEGV \$\$"; exit $?'
	expect_status 139
	vm -- /no/such/program
	expect_status 127
	expect_clear_error
	expect_stderr '/no/such/program'
	vm -- /etc/passwd
	expect_status 126
	expect_clear_error
	expect_stderr '/etc/passwd'
}

@test "a command is found by PATH, and arguments arrive as they are" {
	vm -e PATH=/opt:/bin -- printf '%s|' 'a b' '' '*' '$HOME' "it's"
	expect_status 0
	expect_output 'a b||*|$HOME|it'"'"'s|'
}

@test "stdin: piped, empty, closed, not consumed without -i" {
	run --separate-stderr bash -c "printf 'one\ntwo' | timeout -k 1 $LIMIT '$CAISSON' run -i --rootfs '$ROOT' -- /bin/sh -c 'cat; echo .'"
	expect_status 0
	expect_output $'one\ntwo.'
	run --separate-stderr bash -c "timeout -k 1 $LIMIT '$CAISSON' run -i --rootfs '$ROOT' -- /bin/sh -c 'wc -c' </dev/null"
	expect_status 0
	expect_output 0
	run --separate-stderr bash -c "timeout -k 1 $LIMIT '$CAISSON' run -i --rootfs '$ROOT' -- /bin/sh -c 'wc -c' <&-"
	expect_status 0
	run --separate-stderr bash -c "{ timeout -k 1 $LIMIT '$CAISSON' run --rootfs '$ROOT' -- /bin/sh -c 'wc -c' && cat; } < <(echo kept)"
	expect_status 0
	expect_output $'0\nkept'
}

@test "environment, files of it, working directory, user, host name" {
	printf '# comment\nFILE=from file\n\nBOTH=file\n' >"$BATS_TEST_TMPDIR/env"
	FROM_HOST=host run --separate-stderr caisson run --rootfs "$ROOT" -e A='x y' -e FROM_HOST -e NOT_SET_ANYWHERE \
		--env-file "$BATS_TEST_TMPDIR/env" -e BOTH=flag -w /var/tmp -u 1000:50 --hostname boxy -- \
		/bin/sh -c 'env; echo "pwd=$(pwd)"; echo "id=$(id -u):$(id -g)"; echo "hostname=$(hostname)"; echo "uname=$(uname -n)"'
	expect_status 0
	for line in 'A=x y' FROM_HOST=host 'FILE=from file' BOTH=flag pwd=/var/tmp id=1000:50 hostname=boxy uname=boxy; do
		expect_line "$line"
	done
	refute_match '^NOT_SET_ANYWHERE'
	expect_match '^PATH='
}

@test "users by name, HOME, supplementary groups, a working directory that is made" {
	vm -u user -w /srv/new/dir -- /bin/sh -c 'id; echo "$HOME"; pwd'
	expect_status 0
	expect_match '^uid=1000\(user\) gid=1000\(user\)'
	expect_match '50\(staff\)'
	expect_line /home/user
	expect_line /srv/new/dir
	vm -u nobody-by-that-name -- /bin/true
	expect_status 125
	expect_clear_error
	expect_stderr 'nobody-by-that-name'
}

@test "it is a VM of its own with the usual file systems" {
	vm -- /bin/sh -c '
		echo "boot=$(cat /proc/sys/kernel/random/boot_id)"; echo "init=$(cat /proc/1/comm)"; echo "me=$$"
		for d in /proc /sys /dev /dev/pts /dev/shm /dev/mqueue; do grep -q " $d " /proc/mounts && echo "mount $d"; done
		for n in null zero full random urandom tty ptmx; do [ -c /dev/$n ] && echo "dev $n"; done
		echo x >/dev/null && head -c 4 /dev/zero | wc -c
		[ -w /proc/sysrq-trigger ] && echo x 2>/dev/null >/proc/sysrq-trigger && echo "sysrq open"
		ls /dev/vda /dev/mem /dev/kmsg 2>/dev/null; grep -c . /proc/1/cgroup
		readlink /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2; ls /proc/self/fd | wc -l'
	expect_status 0
	refute_match "^boot=$(cat /proc/sys/kernel/random/boot_id)$"
	expect_line me=1
	for d in /proc /sys /dev /dev/pts /dev/shm /dev/mqueue; do expect_line "mount $d"; done
	for n in null zero full random urandom tty ptmx; do expect_line "dev $n"; done
	refute_match 'sysrq open|/dev/mem|/dev/kmsg|/dev/vda'
}

# uptimes: the guest's, and the host's before and after that, in hundredths of a second.
uptimes() {
	local before guest after
	read -r before _ </proc/uptime
	echo >&"${clock[1]}"
	read -r -u "${clock[0]}" -t "$LIMIT" guest
	read -r after _ </proc/uptime
	echo "${guest/./} ${before/./} ${after/./}"
}

@test "the guest's clock goes as fast as the host's" {
	local first second least most passed input
	coproc clock {
		timeout -k 1 "$LIMIT" "$CAISSON" run -i --rootfs "$ROOT" -- \
			/bin/sh -c 'while read -r _; do cut -d" " -f1 /proc/uptime; done' 3>&-
	}
	read -ra first < <(uptimes)
	sleep 3
	read -ra second < <(uptimes)
	input=${clock[1]}
	exec {input}>&-
	wait "$clock_PID"
	passed=$((second[0] - first[0])) least=$((second[1] - first[2])) most=$((second[2] - first[1]))
	[ $((passed * 10)) -gt $((least * 9)) ] && [ $((passed * 10)) -lt $((most * 11)) ] ||
		show "$passed hundredths of a second by the guest's clock, $least to $most by the host's"
}

@test "writes are thrown away; --read-only forbids them" {
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/root"
	run --separate-stderr caisson run --rootfs "$BATS_TEST_TMPDIR/root" -- /bin/sh -c \
		'echo changed >/etc/hostname && rm /bin/ls && mkdir /new && cat /etc/hostname && [ ! -e /bin/ls ]'
	expect_status 0
	expect_output changed
	[ "$(cat "$BATS_TEST_TMPDIR/root/etc/hostname")" = busybox ]
	[ -e "$BATS_TEST_TMPDIR/root/bin/ls" ] && [ ! -e "$BATS_TEST_TMPDIR/root/new" ]
	diff -r --no-dereference "$ROOT" "$BATS_TEST_TMPDIR/root"
	run --separate-stderr caisson run --read-only --tmpfs /scratch:size=1m,mode=1777 --rootfs "$BATS_TEST_TMPDIR/root" -- /bin/sh -c '
		echo x 2>/dev/null >/etc/x || echo "read-only"
		echo y >/scratch/y && echo "tmpfs is writable"
		head -c 2000000 /dev/zero 2>/dev/null >/scratch/big || echo "tmpfs is limited"
		stat -c %a /scratch'
	expect_status 0
	expect_output $'read-only\ntmpfs is writable\ntmpfs is limited\n1777'
}

@test "writes to a folder stay with --rw" {
	cp -a "$ROOT" "$BATS_TEST_TMPDIR/root"
	run --separate-stderr caisson run --rw --rootfs "$BATS_TEST_TMPDIR/root" -- /bin/sh -c \
		'echo through >/etc/through && chown 1000:50 /etc/through && chmod 640 /etc/through'
	if ! has_capability fs_sharing fs_sharing_9p; then
		expect_status 125
		expect_clear_error
		expect_stderr "mke2fs -t ext4 -d $BATS_TEST_TMPDIR/root"
		return
	fi
	expect_status 0
	[ "$(cat "$BATS_TEST_TMPDIR/root/etc/through")" = through ]
	[ "$(stat -c '%u:%g %a' "$BATS_TEST_TMPDIR/root/etc/through")" = '1000:50 640' ]
}

@test "writes to an image stay with --rw" {
	needs_capability block
	truncate -s 32M "$BATS_TEST_TMPDIR/root.ext4"
	mkfs.ext4 -q -d "$ROOT" "$BATS_TEST_TMPDIR/root.ext4"
	run --separate-stderr caisson run --rw --rootfs "$BATS_TEST_TMPDIR/root.ext4" -- /bin/sh -c 'echo through >/etc/through'
	expect_status 0
	[ "$(debugfs -R 'cat /etc/through' "$BATS_TEST_TMPDIR/root.ext4" 2>/dev/null)" = through ]
}

# bats test_tags=lab:copies
@test "volumes where nothing is shared are copied, and what cannot be is refused by name" {
	mkdir "$BATS_TEST_TMPDIR/dir"
	echo from-host >"$BATS_TEST_TMPDIR/dir/file"
	echo single >"$BATS_TEST_TMPDIR/single"
	mkfifo "$BATS_TEST_TMPDIR/fifo"
	# a machine with emulated processors takes its time
	printf '[hypervisor.%s]\nshared_fs = "none"\n[agent.kata]\ndial_timeout = 400\n[runtime]\ncreate_container_timeout = 500\n' \
		"$DRIVER" >"$BATS_TEST_TMPDIR/c.toml"
	vm --config "$BATS_TEST_TMPDIR/c.toml" -v "$BATS_TEST_TMPDIR/dir:/data" -v "$BATS_TEST_TMPDIR/single:/etc/single:ro" -- \
		/bin/sh -c 'cat /data/file /etc/single; echo x >/data/file; echo x 2>/dev/null >/etc/single || echo "single refused"'
	expect_status 0
	expect_output $'from-host\nsingle\nsingle refused'
	expect_stderr "$BATS_TEST_TMPDIR/dir is copied into the guest"
	[ "$(cat "$BATS_TEST_TMPDIR/dir/file")" = from-host ]
	vm --config "$BATS_TEST_TMPDIR/c.toml" -v "$BATS_TEST_TMPDIR/fifo:/fifo" -- /bin/true
	expect_status 125
	expect_clear_error
	expect_stderr "cannot mount $BATS_TEST_TMPDIR/fifo at /fifo"
}

# bats test_tags=lab:devices
@test "volumes: -v and --mount, read-only and writable, files and folders" {
	needs_capability fs_sharing fs_sharing_9p
	mkdir -p "$BATS_TEST_TMPDIR/rw/sub" "$BATS_TEST_TMPDIR/ro"
	echo from-host >"$BATS_TEST_TMPDIR/ro/file"
	echo single >"$BATS_TEST_TMPDIR/single"
	vm -v "$BATS_TEST_TMPDIR/rw:/data" -v "$BATS_TEST_TMPDIR/ro:/deep/er/ro:ro" -v "$BATS_TEST_TMPDIR/single:/etc/single:ro" \
		--mount "type=bind,source=$BATS_TEST_TMPDIR/ro,target=/m,readonly" --mount type=tmpfs,target=/t,tmpfs-size=1048576 -- /bin/sh -c '
		cat /deep/er/ro/file /etc/single /m/file
		echo to-host >/data/sub/new && mv /data/sub/new /data/moved
		for f in /deep/er/ro/x /m/x; do echo x 2>/dev/null >$f || echo "$f refused"; done
		echo x 2>/dev/null >/etc/single || echo "single refused"
		grep -q "^tmpfs /t " /proc/mounts && echo "tmpfs"'
	expect_status 0
	expect_output $'from-host\nsingle\nfrom-host\n/deep/er/ro/x refused\n/m/x refused\nsingle refused\ntmpfs'
	[ "$(cat "$BATS_TEST_TMPDIR/rw/moved")" = to-host ]
	[ ! -e "$BATS_TEST_TMPDIR/rw/sub/new" ] && [ ! -e "$BATS_TEST_TMPDIR/ro/x" ]
	vm -v "$BATS_TEST_TMPDIR/absent:/data" -- /bin/true
	expect_status 125
	expect_clear_error
	expect_stderr "$BATS_TEST_TMPDIR/absent"
}

@test "capabilities, no-new-privileges, resource limits" {
	vm --cap-drop ALL --cap-add NET_RAW --cap-add CAP_CHOWN --security-opt no-new-privileges \
		--ulimit nofile=100:200 --ulimit core=0 -- /bin/sh -c '
		grep -E "^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs)" /proc/self/status | tr "\t" " "
		ulimit -Sn; ulimit -Hn; ulimit -c'
	expect_status 0
	# CAP_CHOWN is bit 0, CAP_NET_RAW bit 13
	for set in Prm Eff Bnd; do expect_line "Cap$set: 0000000000002001"; done
	expect_line 'NoNewPrivs: 1'
	[ "$(tail -n 3 <<<"$output")" = $'100\n200\n0' ]
	vm -- /bin/sh -c 'grep -E "^(CapEff|NoNewPrivs)" /proc/self/status | tr "\t" " "'
	# docker's default set
	expect_line 'CapEff: 00000000a80425fb'
	vm --cap-add NO_SUCH_CAP -- /bin/true
	expect_status 125
	expect_stderr 'NO_SUCH_CAP'
}

@test "a seccomp profile" {
	cat >"$BATS_TEST_TMPDIR/profile.json" <<-END
		{"defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
		 "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]}
	END
	vm --security-opt "seccomp=$BATS_TEST_TMPDIR/profile.json" -- /bin/sh -c 'mkdir /tmp/x; echo $?; grep "^Seccomp:" /proc/self/status | tr "\t" " "'
	expect_status 0
	expect_output $'1\nSeccomp: 2'
	expect_stderr 'Operation not permitted'
}

# bats test_tags=lab:devices
@test "memory, processors, number of processes" {
	vm --memory 128m --cpus 2 --pids-limit 20 -- /bin/sh -c '
		grep -c ^processor /proc/cpuinfo
		cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/pids.max
		i=0; while [ $i -lt 30 ]; do sleep 600 & i=$((i + 1)); done 2>/dev/null'
	# the shell's own end when it cannot fork any more
	expect_status 2
	# no more than the host has
	expect_line $(($(nproc) < 2 ? 1 : 2))
	expect_line 134217728
	expect_line 20
	# more memory than it may have: the kernel in the guest ends it, and only it
	vm --memory 32m -- /bin/sh -c 'head -c 200m /dev/zero | tail | wc -c; echo "after: $?"'
	refute_match '^209715200$'
	vm --cpus 0.5 -- /bin/sh -c 'cat /sys/fs/cgroup/cpu.max'
	expect_line '50000 100000'
}

@test "no network" {
	vm --net none -- /bin/sh -c 'ls /sys/class/net | grep -v ^dummy; ip route; ping -c 1 -W 1 127.0.0.1 >/dev/null && echo "lo works"'
	expect_status 0
	expect_output $'lo\nlo works'
}

@test "user-mode network" {
	needs_capability net_user net_passt
	vm --net user -- /bin/sh -c 'ls /sys/class/net; ip route | grep -c ^default; ip -4 address show dev eth0 | grep -c "inet "; grep -c ^nameserver /etc/resolv.conf'
	expect_status 0
	expect_match '^eth0$'
	[ "$(tail -n 3 <<<"$output" | head -n 2)" = $'1\n1' ]
}

@test "user-mode network without passt" {
	needs_capability net_user
	[ "$(id -u)" = 0 ] || skip "needs root to hide passt"
	local port=$((20000 + RANDOM % 10000))
	# a program that cannot be executed, for this caisson only
	if [ -e /usr/bin/passt ]; then
		printf '#!/bin/sh\nmount --bind /dev/null /usr/bin/passt\nexec "%s" "$@"\n' "$CAISSON" >"$BATS_TEST_TMPDIR/caisson"
		printf '#!/bin/sh\nexec unshare --mount "%s" "$@"\n' "$BATS_TEST_TMPDIR/caisson" >"$BATS_TEST_TMPDIR/hidden"
		chmod 755 "$BATS_TEST_TMPDIR/caisson" "$BATS_TEST_TMPDIR/hidden"
		CAISSON=$BATS_TEST_TMPDIR/hidden
	fi
	vm_bg --net user --publish "127.0.0.1:$port:80" -- /bin/sh -c \
		'mkdir -p /www && echo served >/www/index.html && httpd -p 80 -h /www && echo ready && sleep 600'
	wait_for 120 fetch "$port"
	grep -q 'passt is not used' "$BATS_TEST_TMPDIR/err"
	caisson kill "$NAME" KILL
	vm_wait
	[ "$vm_status" = 137 ]
}

# Is the page there?
fetch() {
	[ "$(timeout -k 1 10 socat -t 8 - "TCP:127.0.0.1:$1" <<<$'GET /index.html HTTP/1.0\r\n\r' | tail -n 1)" = served ]
}

# bats test_tags=lab:devices, lab:kvm
@test "a published port is reached from the host" {
	needs_capability net_user net_passt
	local port=$((20000 + RANDOM % 10000))
	vm_bg --net user --publish "127.0.0.1:$port:80" -- /bin/sh -c \
		'mkdir -p /www && echo served >/www/index.html && httpd -p 80 -h /www && echo ready && sleep 600'
	wait_for 120 fetch "$port"
	caisson kill "$NAME" KILL
	vm_wait
	[ "$vm_status" = 137 ]
}

# bats test_tags=lab:devices, lab:kvm
@test "a tap that exists on the host" {
	[ "${CAISSON_E2E_ISOLATED:-}" = 1 ] || skip "needs tests/e2e/in-namespaces"
	ip tuntap add dev tapx mode tap 2>/dev/null || skip "this kernel has no tap devices"
	ip address add 198.51.100.1/24 dev tapx
	ip link set tapx up
	vm --net tap:tapx -- /bin/sh -c 'ls /sys/class/net; cat /sys/class/net/eth0/address'
	local s=$status
	ip link del tapx
	[ "$s" = 0 ] || show "run failed"
	expect_line eth0
}

@test "exec --debug: a guest without a debug console, and one without a shell" {
	printf '[hypervisor.%s]\n[agent.kata]\ndebug_console_enabled = true\n' "${DRIVER/builtin/dragonball}" >"$BATS_TEST_TMPDIR/c.toml"
	vm_bg -- /bin/sh -c 'echo ready; exec sleep 600'
	run --separate-stderr caisson exec --debug "$NAME" </dev/null
	expect_status 125
	expect_stderr 'debug_console_enabled = true'
	caisson kill "$NAME" KILL
	vm_wait
	vm_bg --config "$BATS_TEST_TMPDIR/c.toml" -- /bin/sh -c 'echo ready; exec sleep 600'
	run --separate-stderr caisson exec --debug "$NAME" </dev/null
	expect_status 0
	expect_match 'contains no shell'
	caisson kill "$NAME" KILL
	vm_wait
}

# bats test_tags=lab:process
@test "signals go to the command, and its status comes back" {
	vm_bg -- /bin/sh -c 'trap "echo got TERM; exit 7" TERM; trap "echo got HUP" HUP; trap "echo got USR1" USR1; echo ready; while :; do sleep 0.1; done'
	kill -HUP $vm_pid
	wait_for 120 grep -q 'got HUP' "$BATS_TEST_TMPDIR/out"
	kill -USR1 $vm_pid
	wait_for 120 grep -q 'got USR1' "$BATS_TEST_TMPDIR/out"
	kill -TERM $vm_pid
	vm_wait
	[ "$vm_status" = 7 ]
	grep -q 'got TERM' "$BATS_TEST_TMPDIR/out"
}

# bats test_tags=lab:process, lab:kvm
@test "list, exec, logs, kill" {
	vm_bg -e FROM_RUN=1 -w /etc -- /bin/sh -c 'echo ready; exec sleep 600'
	run --separate-stderr caisson list
	expect_match "$NAME"
	run --separate-stderr caisson list --json
	jq -e --arg n "$NAME" 'map(select((.name // .id) == $n)) | length == 1' <<<"$output"
	run --separate-stderr caisson exec "$NAME" /bin/sh -c 'echo "exec out"; echo "exec err" >&2; cat /proc/1/comm; exit 9'
	expect_status 9
	expect_line 'exec out'
	expect_line sleep
	expect_stderr '^exec err$'
	# what the container's own process has
	run --separate-stderr caisson exec "$NAME" /bin/sh -c 'echo "$FROM_RUN $(pwd) $HOME"'
	expect_output '1 /etc /root'
	run --separate-stderr caisson exec -e X=y -w /tmp -u 1000 "$NAME" /bin/sh -c 'echo "$X $(pwd) $(id -u) $HOME"'
	expect_output 'y /tmp 1000 /home/user'
	run --separate-stderr bash -c "echo piped | timeout -k 1 $LIMIT '$CAISSON' exec -i '$NAME' /bin/cat"
	expect_output piped
	run --separate-stderr caisson exec "$NAME" /no/such
	expect_status 127
	run --separate-stderr caisson logs "$NAME"
	expect_status 0
	caisson kill "$NAME" KILL
	vm_wait
	[ "$vm_status" = 137 ]
	# as runc has it
	run --separate-stderr caisson exec "$NAME" /bin/true
	expect_status 255
	expect_clear_error
	run --separate-stderr caisson list
	refute_match "$NAME"
}

@test "a name that is taken is refused" {
	vm_bg -- /bin/sh -c 'echo ready; exec sleep 600'
	run --separate-stderr caisson run --name "$NAME" --rootfs "$ROOT" -- /bin/true
	expect_status 125
	expect_clear_error
	expect_stderr "$NAME"
	caisson kill "$NAME" KILL
	vm_wait
}

# bats test_tags=lab:process
@test "a time limit" {
	vm --timeout 3 -- /bin/sh -c 'echo begun; sleep 600'
	expect_status 124
	expect_line begun
	expect_stderr '^caisson: error: the time limit of 3 s is over'
}

@test "the plan: printed with --dry-run, nothing done" {
	local before
	before=$(leak_snapshot | sort)
	vm --dry-run --memory 300m --name planned -- /bin/false
	expect_status 0
	expect_match "$GUEST/"
	expect_match "$ROOT"
	expect_match '/bin/false'
	[ "$(leak_snapshot | sort)" = "$before" ]
}

@test "the time line with --verbose" {
	vm --verbose -- /bin/echo hello
	expect_status 0
	expect_output hello
	for what in 'VM' 'kernel' 'agent' 'container' 'first byte' 'exit'; do
		expect_stderr "$what"
	done
}

# memory_by_annotation: 300 MiB for a VM of the configuration in $BATS_TEST_TMPDIR/c.toml; $output: its PCI devices
memory_by_annotation() {
	vm --config "$BATS_TEST_TMPDIR/c.toml" --annotation io.katacontainers.config.hypervisor.default_memory=300 -- \
		/bin/sh -c 'sed -n "s/MemTotal: *\([0-9]*\) kB/\1/p" /proc/meminfo; ls /sys/bus/pci/devices 2>/dev/null | wc -l'
	expect_status 0 || return
	[ "$(head -n 1 <<<"$output")" -gt 200000 ] && [ "$(head -n 1 <<<"$output")" -lt 307200 ] || show "not 300 MiB"
}

@test "annotations, a configuration file" {
	printf '[hypervisor.%s]\nenable_annotations = ["default_memory"]\n' "$DRIVER" >"$BATS_TEST_TMPDIR/c.toml"
	memory_by_annotation
}

# bats test_tags=lab:copies
@test "Firecracker: disks by io_uring with rate limits, placeholders, a console that talks" {
	needs_hypervisor firecracker
	printf '[hypervisor.firecracker]\nenable_debug = true\nblock_device_aio = "io_uring"\ndefault_bridges = 1\n%s\n%s\n' \
		'disk_rate_limiter_bw_max_rate = 800000000' $'[agent.kata]\ndial_timeout = 400' >"$BATS_TEST_TMPDIR/c.toml"
	vm --config "$BATS_TEST_TMPDIR/c.toml" -- /bin/sh -c 'cat /proc/cmdline; cat /sys/block/vda/size /sys/block/vdi/size; ls /sys/block | grep -c ^vd'
	expect_status 0
	expect_match 'console=ttyS0 .*debug'
	[ "$(tail -n 2 <<<"$output")" = $'0\n9' ]
}

@test "QEMU's microvm, at a path that the configuration names" {
	needs_hypervisor qemu
	printf '[hypervisor.qemu]\npath = "/usr/bin/qemu-system-x86_64"\nmachine_type = "microvm"\nenable_annotations = ["default_memory"]\n' \
		>"$BATS_TEST_TMPDIR/c.toml"
	memory_by_annotation
	[ "$(tail -n 1 <<<"$output")" = 0 ]
}

# bats test_tags=lab:devices
@test "the built-in VMM's machine without PCI" {
	needs_hypervisor builtin
	printf '[hypervisor.builtin]\nblock_device_driver = "virtio-blk-mmio"\nenable_annotations = ["default_memory"]\n' \
		>"$BATS_TEST_TMPDIR/c.toml"
	memory_by_annotation
	[ "$(tail -n 1 <<<"$output")" = 0 ]
}

# bats test_tags=lab:devices
@test "a root file system image: ext4 and erofs" {
	needs_capability block
	truncate -s 32M "$BATS_TEST_TMPDIR/root.ext4"
	mkfs.ext4 -q -d "$ROOT" "$BATS_TEST_TMPDIR/root.ext4"
	run --separate-stderr caisson run --rootfs "$BATS_TEST_TMPDIR/root.ext4" -- \
		/bin/sh -c 'head -n 1 /etc/group; ls /sys/class/block | grep -v ^loop; echo changed >/etc/group && cat /etc/group'
	expect_status 0
	expect_output $'root:x:0:\nvda\nchanged'
	# thrown away
	[ "$(debugfs -R 'cat /etc/group' "$BATS_TEST_TMPDIR/root.ext4" 2>/dev/null | head -n 1)" = root:x:0: ]
	command -v mkfs.erofs >/dev/null || return 0
	mkfs.erofs --quiet "$BATS_TEST_TMPDIR/root.erofs" "$ROOT"
	run --separate-stderr caisson run --rootfs "$BATS_TEST_TMPDIR/root.erofs" -- \
		/bin/sh -c 'head -n 1 /etc/group; echo changed >/etc/group && cat /etc/group'
	expect_status 0
	expect_output $'root:x:0:\nchanged'
}

@test "a root file system image on a SCSI disk" {
	needs_hypervisor qemu
	truncate -s 32M "$BATS_TEST_TMPDIR/root.ext4"
	mkfs.ext4 -q -d "$ROOT" "$BATS_TEST_TMPDIR/root.ext4"
	printf '[hypervisor.qemu]\nblock_device_driver = "virtio-scsi"\n' >"$BATS_TEST_TMPDIR/c.toml"
	run --separate-stderr caisson run --config "$BATS_TEST_TMPDIR/c.toml" --rootfs "$BATS_TEST_TMPDIR/root.ext4" -- \
		/bin/sh -c 'ls /sys/class/block | grep -v ^loop; echo changed >/root/f && cat /root/f'
	expect_status 0
	expect_output "$(printf 'sda\nchanged')"
}

@test "usage: no arguments, unknown flags, help, version" {
	run --separate-stderr caisson
	[ "$status" -ne 0 ]
	run --separate-stderr caisson run --no-such-flag --rootfs "$ROOT" -- /bin/true
	expect_status 125
	expect_stderr 'no-such-flag'
	run --separate-stderr caisson run --rootfs "$ROOT"
	expect_status 125
	run --separate-stderr caisson --help
	expect_status 0
	expect_match 'run'
	run --separate-stderr caisson version
	expect_status 0
	expect_match '[0-9]+\.[0-9]+'
}

@test "check, hypervisors, config" {
	run --separate-stderr caisson check
	expect_match '[Kk]ernel'
	run --separate-stderr caisson check --json
	jq -e . <<<"$output"
	run --separate-stderr caisson hypervisors
	expect_status 0
	expect_match '^qemu'
	run --separate-stderr caisson hypervisors --json
	jq -e 'map(select(.name == "qemu")) | length == 1' <<<"$output"
	printf '[hypervisor.qemu]\ndefault_memory = 777\n' >"$BATS_TEST_TMPDIR/c.toml"
	run --separate-stderr caisson config --config "$BATS_TEST_TMPDIR/c.toml"
	expect_status 0
	expect_match "default_memory.*777.*$BATS_TEST_TMPDIR/c.toml:2"
	run --separate-stderr caisson config --json --config "$BATS_TEST_TMPDIR/c.toml"
	expect_status 0
	jq -e . <<<"$output"
	printf '[hypervisor.qemu]\ndefault_memroy = 1\n' >"$BATS_TEST_TMPDIR/c.toml"
	run --separate-stderr caisson config --config "$BATS_TEST_TMPDIR/c.toml"
	expect_status 0
	expect_stderr "c.toml:2.*default_memroy.*default_memory"
	run --separate-stderr caisson config --strict --config "$BATS_TEST_TMPDIR/c.toml"
	[ "$status" -ne 0 ]
}
