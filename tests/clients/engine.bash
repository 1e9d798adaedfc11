# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Rows that podman and docker have in common: their command lines are the same, and so is what they print. `engine` is
# either of them; $BB is the image of busybox.

engine() {
	limited "$BIN/engine" "$@"
}

# Everything that an earlier row may have left.
engine_reset() {
	local left
	left=$("$BIN/engine" ps -aq)
	# shellcheck disable=SC2086 # a list of words
	[ -z "$left" ] || engine rm -f $left >/dev/null
}

# has_logged CONTAINER TEXT
has_logged() {
	engine logs "$1" 2>&1 | grep -qF -- "$2"
}

# One container that many rows look at: it counts, says good-bye at SIGTERM, and ends with 5 then.
COUNTING='trap "echo bye; exit 5" TERM; echo started; echo problem >&2; while :; do printf . >>/count; sleep 0.1; done'

the_box_runs() {
	[ "$(engine inspect -f '{{.State.Status}}' box)" = running ]
}

row_run() {
	ok engine run --rm --net none "$BB" echo hello
	expect_output hello
}

row_exit_status() {
	fails 7 engine run --rm --net none "$BB" sh -c 'exit 7'
	fails 139 engine run --rm --net none "$BB" sh -c 'sh -c "kill -SEGV \$\$"; exit $?'
}

row_command_missing() {
	fails 127 engine run --rm --net none "$BB" /no/such/program
	fails 126 engine run --rm --net none "$BB" /etc/passwd
}

row_net_none() {
	ok engine run --rm --net none "$BB" ls /sys/class/net
	expect_output lo
}

row_net_host() {
	ok engine run --rm --net host "$BB" sh -c 'ls /sys/class/net; ip -4 -o address show eth0 | grep -o "inet [^ ]*"'
	expect_line 'inet 192.0.2.2/24'
}

# What a container does with its network: an address and a gateway that answers, the host beyond it, names.
LOOK_AROUND='
	ip -4 -o address show eth0 | sed -nE "s/.* inet [0-9.]+\/([0-9]+) .*/eth0 has a \/\1 address/p"
	cat /sys/class/net/eth0/mtu
	gateway=$(ip route | sed -n "s/^default via \([0-9.]*\) .*/\1/p")
	ping -c 1 -W 5 "$gateway" >/dev/null && echo the gateway answers
	wget -q -O - http://192.0.2.2:8000/greeting
	grep -qw "$(hostname)" /etc/hosts && echo knows itself
'

row_net_bridge() {
	ok engine run --rm --cap-add net_raw "$BB" sh -c "$LOOK_AROUND"
	expect_line 'the gateway answers'
	expect_line 'hello from the host'
	expect_line 'knows itself'
}

# reaches NET: by the interface with an address there, whose name engines choose.
reaches() {
	engine exec mover sh -c "ping -I \$(ip -o -4 address | sed -n 's/^[0-9]*: *\([a-z0-9]*\) *inet $1\..*/\1/p') -c 1 -W 2 $1.1"
}

# left NET: no address is there.
left() {
	engine exec mover sh -c "! ip -o -4 address | grep ' $1\.'"
}

# Another network comes and goes while it runs, and then the one that was there at the start.
row_net_connect() {
	ask engine network create --subnet 10.77.0.0/24 side
	ask engine network create --subnet 10.78.0.0/24 first
	ask engine run -d --name mover --cap-add net_raw --net first "$BB" sleep 1000
	for _ in 1 2; do
		ask engine network connect side mover
		until_true 60 reaches 10.77.0
		ask engine network disconnect side mover
		until_true 60 left 10.77.0
		ask reaches 10.78.0
	done
	ask engine network disconnect first mover
	until_true 60 left 10.78.0
	ask engine network connect first mover
	until_true 60 reaches 10.78.0
	ok engine exec mover sh -c 'ip route | grep -o "^default via [0-9.]* dev [a-z0-9]*"'
	ask engine rm -f mover
	ask engine network rm side first
}

fetch() {
	curl -sf -m 10 "$1"
}

row_published_port() {
	ask engine run -d --name web -p 192.0.2.2:8080:80 "$BB" sh -c 'echo a page >/page; exec httpd -f -h /'
	until_true 30 fetch http://192.0.2.2:8080/page
	ok fetch http://192.0.2.2:8080/page
	expect_output 'a page'
	ok engine port web 80/tcp
	ask engine rm -f web
}

row_run_d() {
	ask engine run -d --name box --hostname boxed --env COLOUR=green --workdir /tmp --net none "$BB" sh -c "$COUNTING"
	until_true 30 has_logged box started
	ok engine inspect -f '{{.State.Status}} {{.State.ExitCode}} {{.Config.Hostname}}' box
}

row_ps() {
	ok engine ps --format '{{.Names}} {{.Image}}'
	expect_match '^box '
	ask engine inspect -f '{{.State.Pid}}' box
	kill -0 "$output" || wrong "the process of the container, $output, does not live"
	[ "$(readlink "/proc/$output/ns/net")" != "$(readlink /proc/self/ns/net)" ] || wrong "it has the host's network"
}

row_logs() {
	ok engine logs box
	expect_output started
	engine logs box 2>&1 >/dev/null | grep -qx problem || wrong 'stderr is not in the log'
}

row_exec() {
	ok engine exec box sh -c 'echo $COLOUR; hostname; pwd; tr "\0" " " </proc/1/cmdline | cut -c-5'
	expect_line green
	expect_line boxed
	ok engine exec -e COLOUR=red -w /etc -u 1000:50 box sh -c 'echo $COLOUR; pwd; id'
	expect_match '^uid=1000\(user\) gid=50'
	fails 9 engine exec box sh -c 'exit 9'
	# who says it, and how, is the runtime's business
	run engine exec box /no/such/program
	[ "$status" = "$EXEC_MISSING" ] || wrong "exit status $status should be $EXEC_MISSING"
	ask engine exec -d box sh -c 'echo done >/by-exec-d'
	until_true 10 engine exec box test -s /by-exec-d
}

row_exec_i() {
	local data=$WORK/data
	random_mebibytes 2 >"$data"
	ok sh -c 'echo a line | "$0" exec -i box cat' "$BIN/engine"
	expect_output 'a line'
	ask engine exec -i box sha256sum <"$data"
	expect_output "$(sha256sum <"$data")"
	ask sh -c '"$0" exec -i box cat <"$1" | sha256sum' "$BIN/engine" "$data"
	expect_output "$(sha256sum <"$data")"
}

row_exec_t() {
	fails 4 on_terminal "$BIN/engine" exec -it box sh -c "$ON_A_TERMINAL; exit 4" <<<"$TYPED"
	expect_match '^/dev/pts/'
	expect_line 'got word'
}

row_top() {
	local pid
	ask engine inspect -f '{{.State.Pid}}' box
	pid=$output
	ask engine top box "${TOP_HOST_PIDS[@]}"
	expect_match "\b$pid\b"
}

row_pause() {
	local before
	ask engine pause box
	ok engine inspect -f '{{.State.Status}}' box
	expect_output paused
	# no exec in a paused container
	refused engine exec box true
	ask engine unpause box
	before=$(engine exec box sh -c "wc -c </count")
	until_true 10 sh -c '[ "$("$0" exec box sh -c "wc -c </count")" -gt "$1" ]' "$BIN/engine" "$before"
	ok engine inspect -f '{{.State.Status}}' box
	expect_output running
}

row_stats() {
	ask engine stats --no-stream --format '{{.Name}} {{.CPUPerc}} {{.MemUsage}} {{.PIDs}}' box
	expect_match '^box [0-9.]+% [0-9.]+ ?[kKMG]i?B / [0-9.]+ ?[kKMGT]i?B [1-9]'
	refute_match '^box 0\.00% 0'
}

row_cp() {
	echo precious >"$WORK/file"
	ask engine cp "$WORK/file" box:/tmp/in
	ok engine exec box cat /tmp/in
	expect_output precious
	ask engine exec box sh -c 'mkdir -p /root/d && echo inner >/root/d/f'
	ask engine cp box:/root/d "$WORK/d"
	ok cat "$WORK/d/f"
	expect_output inner
	rm -r "$WORK/d"
}

row_diff() {
	ask engine exec box touch /new-file
	ask engine diff box
	expect_match '^A /new-file'
}

row_commit() {
	ask engine commit box committed:1
	ok engine run --rm --net none committed:1 ls /new-file
	ask engine rmi committed:1
}

row_stop() {
	ask engine stop -t 20 box
	ok engine inspect -f '{{.State.Status}} {{.State.ExitCode}}' box
	expect_output 'exited 5'
	ok engine logs box
	expect_line bye
}

# What the container wrote before is there.
row_start() {
	ask engine start box
	until_true 30 sh -c '[ "$("$0" logs box 2>/dev/null | grep -c started)" = 2 ]' "$BIN/engine"
	ok engine exec box ls /new-file
}

row_restart() {
	ask engine restart -t 20 box
	until_true 30 sh -c '[ "$("$0" logs box 2>/dev/null | grep -c started)" = 3 ]' "$BIN/engine"
	the_box_runs || wrong 'it does not run'
}

row_wait() {
	"$BIN/engine" wait box >"$WORK/waited" &
	ask engine kill --signal TERM box
	wait $!
	ok cat "$WORK/waited"
	expect_output 5
}

row_kill() {
	ask engine start box
	until_true 30 the_box_runs
	ask engine kill box
	ok engine wait box
	expect_output 137
	ask engine ps -a --format '{{.Names}} {{.Status}}' --filter name=box
	expect_match '^box Exited \(137\)'
}

row_rm() {
	"$BIN/engine" stop -t 0 box >/dev/null
	refused engine exec box true
	ask engine rm box
	ok engine ps -a --format '{{.Names}}'
	expect_output ''
	ask engine run -d --name box --net none "$BB" sleep 1000
	refused engine rm box
	ask engine rm -f box
	ok engine ps -a --format '{{.Names}}'
	expect_output ''
}

row_stop_hard() {
	ask engine run -d --name deaf --net none "$BB" sh -c 'trap "" TERM; echo deaf; while :; do sleep 1; done'
	until_true 30 has_logged deaf deaf
	ask engine stop -t 1 deaf
	ok engine inspect -f '{{.State.ExitCode}}' deaf
	expect_output 137
	ask engine rm deaf
}

row_run_i() {
	local data=$WORK/data
	random_mebibytes 2 >"$data"
	engine run --rm -i --net none "$BB" sh -c 'cat; echo problem >&2' <"$data" 2>"$WORK/problem" >"$WORK/back"
	cmp "$data" "$WORK/back" || wrong 'the bytes changed on the way'
	ok cat "$WORK/problem"
	expect_output problem
}

# podman may tell the terminal's size before the container runs, and complains on the terminal that it does not.
without_complaint() {
	on_terminal "$@" | sed '/container not running/d'
}

row_run_t() {
	fails 3 without_complaint "$BIN/engine" run --rm -it --net none "$BB" sh -c "$ON_A_TERMINAL; exit 3" <<<"$TYPED"
	expect_match '^/dev/'
	expect_line 'got word'
}

row_attach() {
	ask engine run -d -i --name listener --net none "$BB" sh -c 'read line; echo "heard $line"; read line; exit 6'
	run sh -c '{ echo you; sleep 1; echo; } | "$0" attach listener' "$BIN/engine"
	expect_output 'heard you'
	ok engine wait listener
	expect_output 6
	ask engine rm listener
}

row_memory() {
	fails 137 engine run --rm --net none --memory 64m --memory-swap 64m "$BB" sh -c "echo fits; $GROW"
	expect_output fits
}

row_pids_limit() {
	run engine run --rm --net none --pids-limit 20 "$BB" sh -c 'for i in $(seq 40); do sleep 5 & done' 2>"$WORK/err"
	grep -qi "can't fork" "$WORK/err" || wrong 'it could start 40 processes'
}

# A quarter of a processor: in four seconds it can use one.
row_cpus() {
	local used
	engine run --rm --net none --cpus 0.25 "$BB" sh -c 'time timeout 4 sh -c "while :; do :; done"' 2>"$WORK/time" || :
	cat "$WORK/time" >&2
	used=$(awk '/^(user|sys)/ { t += $2 * 60 + $3 } END { print t }' "$WORK/time")
	awk "BEGIN { exit !($used > 0.1 && $used < 1.8) }" || wrong "processor time used in four seconds: $used"
}

row_read_only() {
	ok engine run --rm --net none --read-only --tmpfs /scratch "$BB" sh -c \
		'touch /file 2>/dev/null || echo read-only; touch /scratch/file && echo writable; grep -c " /scratch tmpfs " /proc/mounts'
	expect_line read-only
	expect_line writable
}

row_privileges() {
	ok engine run --rm --net none "$BB" grep -E '^(Cap|NoNew|Seccomp:)' /proc/self/status
	expect_match '^Seccomp:.2$'
	ok engine run --rm --net none --cap-drop all --cap-add net_raw --security-opt no-new-privileges "$BB" \
		grep -E '^(Cap|NoNew)' /proc/self/status
	expect_match '^CapEff:.0000000000002000$'
	expect_match '^NoNewPrivs:.1$'
}

# runc cannot give what this machine does not have.
row_privileged() {
	if [ "$RUNTIME" = runc ] && ! capsh --print | grep -q 'Bounding set.*cap_sys_resource'; then
		skipped 'not all capabilities here'
	fi
	ok engine run --rm --net none --privileged "$BB" grep -E '^(NoNew|Seccomp:)' /proc/self/status
	expect_match '^Seccomp:.0$'
}

row_seccomp() {
	cat >"$WORK/seccomp.json" <<-'END'
		{ "defaultAction": "SCMP_ACT_ALLOW",
		  "syscalls": [ { "names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95 } ] }
	END
	fails 1 engine run --rm --net none --security-opt "seccomp=$WORK/seccomp.json" "$BB" sh -c 'mkdir /d 2>&1'
	expect_match 'Operation not supported'
}

row_user() {
	ok engine run --rm --net none --user 1000:50 --group-add 1 "$BB" sh -c 'id; touch /file 2>&1 || :'
	expect_match '^uid=1000\(user\) gid=50\(staff\) groups=.*1\(daemon\)'
}

row_volume() {
	rm -rf "$WORK/volume"
	mkdir -p "$WORK/volume"
	echo of the host >"$WORK/volume/file"
	echo single >"$WORK/single"
	ok engine run --rm --net none -v "$WORK/volume:/v" -v "$WORK/single:/etc/single:ro" -v named:/n "$BB" sh -c \
		'cat /v/file /etc/single; echo of the guest >/v/back; echo kept >/n/kept; echo x 2>/dev/null >/etc/single || echo read-only'
	expect_line 'of the host'
	expect_line read-only
	ok cat "$WORK/volume/back"
	ok engine run --rm --net none -v named:/n:ro "$BB" cat /n/kept
	expect_output kept
	ask engine volume rm named
}

# With runc it must be allowed to use it, too.
row_block_volume() {
	local disk
	echo of the host >"$WORK/disk"
	truncate -s 1M "$WORK/disk"
	disk=$(losetup --show -f "$WORK/disk")
	# shellcheck disable=SC2064 # now
	trap "losetup -d $disk" EXIT
	ok engine run --rm --net none --device-cgroup-rule 'b 7:* rwm' -v "$disk:/disk" "$BB" sh -c \
		'[ -b /disk ] && head -n 1 /disk && echo of the guest >/disk && sync'
	expect_output 'of the host'
	ok head -n 1 "$WORK/disk"
	expect_output 'of the guest'
}

row_settings() {
	ok engine run --rm --hostname other --add-host peer:10.1.2.3 --dns 10.9.8.7 --sysctl net.ipv4.ip_forward=1 \
		--ulimit nofile=100:200 --ulimit nproc=1024:4096 --shm-size 8m --entrypoint /bin/sh "$BB" -c \
		'hostname; grep peer /etc/hosts; grep 10.9.8.7 /etc/resolv.conf; cat /proc/sys/net/ipv4/ip_forward
		ulimit -n; ulimit -Hn; df -k /dev/shm | awk "END{print \$2}"; echo $0'
	expect_line 8192
	expect_line 200
}

row_debian() {
	[ -e "$IMAGES/deb-root.tar" ] || skipped 'there is no Debian root file system'
	ok engine run --rm --net none "$DEB" sh -c '. /etc/os-release; echo "$ID $VERSION_ID"; perl -e "print 6 * 7, qq{\n}"; dpkg -l | grep -c ^ii'
	expect_line 'debian 12'
	expect_line 42
}

row_two_at_once() {
	local i
	for i in 1 2; do
		ask engine run -d --name "twin$i" --net none "$BB" sh -c "echo I am $i; sleep 1000"
	done
	for i in 1 2; do
		until_true 30 has_logged "twin$i" "I am $i"
		ok engine exec "twin$i" hostname
	done >/dev/null
	ask engine rm -f twin1 twin2
}

# A side-car: another container's network, seen from inside and used; its processes and its shared memory, when those are
# asked for, and else its own. What one does not share with it, host name, files, is not there. It goes on without it.
row_net_container() {
	ask engine run -d --name main --ipc shareable -p 192.0.2.2:8080:80 "$BB" sh -c \
		'echo a page >/page; echo of main >/dev/shm/file; echo started; httpd -h /; while :; do sleep 1; done'
	until_true 30 has_logged main started
	ok engine run --rm --network container:main "$BB" sh -c \
		'wget -q -O - http://127.0.0.1/page; ls /page /dev/shm/file 2>/dev/null
		ps -o args | grep "^httpd"; hostname | wc -l; ls /sys/class/net'
	expect_output "$(printf 'a page\n1\neth0\nlo')"
	ask engine run -d --name side --network container:main --memory 32m "$BB" sh -c 'echo of side >/side; exec httpd -f -p 81 -h /'
	until_true 30 engine exec main wget -q -O - http://127.0.0.1:81/side
	ok engine exec main wget -q -O - http://127.0.0.1:81/side
	until_true 30 fetch http://192.0.2.2:8080/page
	ask engine stop -t 0 side
	ok fetch http://192.0.2.2:8080/page
	ask engine rm side
}

row_pid_container() {
	ok engine run --rm --network container:main --pid container:main "$BB" sh -c \
		'ps -o args | grep -c "^httpd -h /$"; cat /proc/1/root/page; ls /dev/shm'
	expect_output "$(printf '1\na page')"
	ask engine run -d --name watcher --network container:main --pid container:main "$BB" sleep 1000
	ok engine exec main sh -c 'ps -o args | grep -c "^sleep 1000$"'
	ask engine exec watcher sh -c 'kill -0 1'
}

# refuses WORDS CMD…
refuses() {
	local words=$1
	shift
	refused "$@" 2>"$WORK/refusal"
	cat "$WORK/refusal" >&2
	grep -qF -- "$words" "$WORK/refusal" || wrong "it does not say: $words"
}

row_share_refused() {
	refuses 'add --network container:' engine run --rm --net none --pid container:main "$BB" true
	refuses 'add --network container:' engine run --rm --net none --ipc container:main "$BB" true
	RUNTIME=runc ask engine run -d --name stranger --net none "$BB" sleep 1000
	refuses 'leave --pid out' engine run --rm --net none --pid container:stranger "$BB" true
	refuses 'leave --pid out' engine run --rm --network container:main --pid container:stranger "$BB" true
	refuses 'processes would lose it' engine run --rm --network container:stranger "$BB" true
	ask engine rm -f stranger
}

row_ipc_container() {
	ok engine run --rm --network container:main --ipc container:main "$BB" sh -c 'cat /dev/shm/file; echo back >/dev/shm/back'
	expect_output 'of main'
	ok engine exec main cat /dev/shm/back
	# its processes end with the first one of their namespace
	ask engine kill main
	ok engine wait watcher
	expect_output 137
	# podman removes several at once, and none that others need
	ask engine rm -f watcher
	ask engine rm -f main
}
