# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# The commands of OCI runtimes from the outside: exit status, error texts, state, signals, streams. $CAISSON is
# caisson-on-host (src/cli/fake_pod.c): the real command line and owner, with processes of the host in place of a VM's.
#
# Scenarios are run with runc, too, where it runs: what they expect is what clients of runc expect. Those that say so are
# about Caisson alone.

bats_require_minimum_version 1.5.0

setup_file() {
	[ "$(id -u)" = 0 ] || skip "needs root"
	[ -x "${CAISSON:-}" ] || {
		echo "CAISSON must name caisson-on-host" >&2
		return 1
	}
	B=$BATS_FILE_TMPDIR/bundle
	mkdir -p "$B/rootfs/bin" "$B/rootfs/proc" "$B/rootfs/dev"
	cp "$(command -v busybox)" "$B/rootfs/bin/busybox"
	local name
	for name in sh sleep cat echo stty kill id env pwd true; do ln -s busybox "$B/rootfs/bin/$name"; done
	RUNTIMES=caisson
	if command -v runc >/dev/null; then
		make_bundle probe true
		! timeout -k 1 20 runc --root "$BATS_FILE_TMPDIR/probe" run --bundle "$BATS_FILE_TMPDIR/probe.bundle" probe \
			</dev/null >/dev/null 2>&1 || RUNTIMES="caisson runc"
	fi
	export B RUNTIMES
	echo "# with: $RUNTIMES" >&3
}

# Until what was created has said so.
is_ready() {
	for _ in $(seq 1200); do
		! grep -q ready "$BATS_TEST_TMPDIR/out" || return 0
		sleep 0.05
	done
	return 1
}

# make_bundle NAME COMMAND…: $BATS_FILE_TMPDIR/NAME.bundle
make_bundle() {
	local dir=$BATS_FILE_TMPDIR/$1.bundle
	shift
	mkdir -p "$dir"
	[ -e "$dir/rootfs" ] || cp -a "$B/rootfs" "$dir/rootfs"
	jq -n '{
		ociVersion: "1.0.2", root: {path: "rootfs"}, hostname: "h", annotations: {"org.example": "x"},
		process: {args: $ARGS.positional, cwd: "/", env: ["PATH=/bin", "OWN=1"], user: {uid: 0, gid: 0},
			capabilities: {bounding: ["CAP_KILL"], effective: ["CAP_KILL"], permitted: ["CAP_KILL"]}},
		mounts: [{destination: "/proc", type: "proc", source: "proc"}],
		linux: {namespaces: [{type: "pid"}, {type: "mount"}, {type: "ipc"}, {type: "uts"}]}
	}' --args -- "$@" >"$dir/config.json"
}

# edit NAME JQ-EXPRESSION: change a bundle
edit() {
	local config=$BATS_FILE_TMPDIR/$1.bundle/config.json
	jq "$2" "$config" >"$config.new" && mv "$config.new" "$config"
}

setup() {
	ID=c$BATS_TEST_NUMBER
	BUNDLE=$BATS_FILE_TMPDIR/$ID.bundle
}

# What a failed test left.
teardown() {
	local rt
	for rt in $RUNTIMES; do
		for id in $(RT=$rt rt list -q 2>/dev/null); do RT=$rt rt delete --force "$id" || :; done
	done
	if [ -n "${BATS_ERROR_STATUS:-}" ] && [ "$BATS_ERROR_STATUS" != 0 ]; then return 0; fi
	[ -z "$(ls "$BATS_FILE_TMPDIR/state.caisson" 2>/dev/null)" ] || {
		echo "left behind:" "$BATS_FILE_TMPDIR"/state.caisson/*
		return 1
	}
}

# rt ARGS…: the runtime $RT, bounded.
rt() {
	local program=$RT
	[ "$RT" = runc ] || program=$CAISSON
	timeout -k 1 60 "$program" --root "$BATS_FILE_TMPDIR/state.$RT" "$@"
}

# with_each SCENARIO: run the function for each runtime, in $RT.
with_each() {
	for RT in $RUNTIMES; do
		echo "--- $RT"
		"$@" || return
	done
}

# says STATUS TEXT ARGS…: the runtime exits with STATUS, its error holds TEXT (nothing: there is none).
says() {
	local want_status=$1 text=$2
	shift 2
	run --separate-stderr rt "$@" </dev/null
	echo "$RT $*: status $status, stdout: $output, stderr: $stderr"
	[ "$status" = "$want_status" ] || return
	if [ -z "$text" ]; then [ -z "$stderr" ]; else [[ $stderr == *"$text"* ]]; fi
}

status_is() {
	local got
	got=$(rt state "$ID" | jq -r .status)
	[ "$got" = "$1" ] || {
		echo "the state is $got, not $1"
		return 1
	}
}

wait_status() {
	for _ in $(seq 600); do
		[ "$(rt state "$ID" | jq -r .status)" != "$1" ] || return 0
		sleep 0.05
	done
	echo "it does not become $1"
	return 1
}

gone() {
	for _ in $(seq 600); do
		[ -d "/proc/$1" ] || return 0
		[ "$(sed 's/.*) //; s/ .*//' "/proc/$1/stat" 2>/dev/null || echo Z)" != Z ] || return 0
		sleep 0.05
	done
	return 1
}

# owners PATTERN: pids of owners of this test's state.
owners() {
	pgrep -f -- "--root=$BATS_FILE_TMPDIR/state.caisson .*pod-owner [0-9]+ $1"
}

# As clients do, with the container's streams for `create` itself.
create() {
	rt create --bundle "$BUNDLE" --pid-file "$BATS_TEST_TMPDIR/pid" "$@" "$ID" </dev/null >"$BATS_TEST_TMPDIR/out" \
		2>"$BATS_TEST_TMPDIR/err" 3>&- || {
		cat "$BATS_TEST_TMPDIR/err"
		return 1
	}
	pid=$(cat "$BATS_TEST_TMPDIR/pid")
}

@test "containers that are not there" {
	scenario() {
		local verb
		for verb in state kill delete start ps pause resume update; do
			says 1 "container does not exist" "$verb" nope || return
		done
		says 1 "container does not exist" events --stats nope || return
		says 255 "container does not exist" exec nope ls || return
		says 0 "" delete --force nope || return
		says 0 "" list -q && [ -z "$output" ] || return
		says 0 "" list --format json && [ "$output" = null ]
	}
	with_each scenario
}

@test "wrong usage" {
	scenario() {
		local args
		for args in create "create a b" state "state a b" kill delete start pause resume "list --format xml" \
			"ps" "update" "features x"; do
			# shellcheck disable=SC2086
			run --separate-stderr rt $args </dev/null
			[ "$status" != 0 ] && [ -n "$stderr" ] || {
				echo "$RT $args: $status"
				return 1
			}
		done
		says 125 "invalid log-format: xml" --log-format xml state nope
	}
	RUNTIMES=caisson with_each scenario
}

@test "a life: create, start, kill, delete" {
	make_bundle "$ID" sh -c 'echo from-the-container; echo to-stderr >&2; exec sleep 1000'
	scenario() {
		create || return
		status_is created || return
		rt state "$ID" >"$BATS_TEST_TMPDIR/state"
		[ "$(jq -r 'keys_unsorted | join(",")' "$BATS_TEST_TMPDIR/state")" = \
			"ociVersion,id,pid,status,bundle,rootfs,created,annotations,owner" ] || return
		[ "$(jq -r '[.id, .pid, .bundle, .rootfs, .annotations["org.example"], .owner] | join(" ")' \
			"$BATS_TEST_TMPDIR/state")" = "$ID $pid $BUNDLE $BUNDLE/rootfs x " ] || return
		[[ $(jq -r .created "$BATS_TEST_TMPDIR/state") =~ ^20[0-9-]+T[0-9:]+\.[0-9]+Z$ ]] || return
		says 1 "container with given ID already exists" create --bundle "$BUNDLE" "$ID" || return
		says 0 "" start "$ID" || return
		status_is running || return
		says 1 "cannot start an already running container" start "$ID" || return
		says 1 "cannot delete container $ID that is not stopped: running" delete "$ID" || return
		says 0 "" ps --format json "$ID" && [ "$output" = "[$pid]" ] || return
		says 0 "" list -q && [ "$output" = "$ID" ] || return
		says 0 "" list --format json && [ "$(jq -r '.[] | [.id, .pid, .status, .bundle, .owner] | join(" ")' <<<"$output")" = \
			"$ID $pid running $BUNDLE root" ] || return
		says 0 "" list --format table && [[ $output == "ID "*PID*STATUS*BUNDLE*CREATED*OWNER*"$ID"*running* ]] || return
		says 0 "" kill "$ID" KILL || return
		wait_status stopped || return
		gone "$pid" || return
		[ "$(rt state "$ID" | jq .pid)" = 0 ] || return
		says 1 "container not running" kill "$ID" || return
		says 0 "" kill --all "$ID" 9 || return
		says 0 "" ps "$ID" && [[ $output == UID*PID*CMD && $output != *"$pid"* ]] || return
		says 1 "cannot start a container that has stopped" start "$ID" || return
		says 255 "cannot exec in a stopped container" exec "$ID" echo x || return
		says 1 "container not running" pause "$ID" || return
		says 1 "container not paused" resume "$ID" || return
		says 1 "container not running" update --memory 100000000 "$ID" || return
		says 1 "container with id $ID is not running" events --stats "$ID" || return
		says 0 "" delete "$ID" || return
		says 1 "container does not exist" state "$ID" || return
		grep -x from-the-container "$BATS_TEST_TMPDIR/out" && grep -x to-stderr "$BATS_TEST_TMPDIR/err"
	}
	with_each scenario
}

@test "signals by name and number" {
	make_bundle "$ID" sh -c 'trap "echo usr1; exit 5" USR1; echo ready; while :; do sleep 0.1; done'
	scenario() {
		local signal
		for signal in 10 USR1 SIGUSR1 usr1; do
			create && rt start "$ID" || return
			is_ready || return
			says 0 "" kill "$ID" "$signal" || return
			wait_status stopped || return
			grep -x usr1 "$BATS_TEST_TMPDIR/out" || return
			says 0 "" delete "$ID" || return
		done
		create && says 1 "signal" kill "$ID" FOO || return
		# Does it live?
		says 0 "" kill "$ID" 0 && says 0 "" start "$ID" && says 0 "" kill "$ID" 0 || return
		is_ready || return
		says 0 "" kill "$ID" USR1 && wait_status stopped && says 1 "container not running" kill "$ID" 0 || return
		says 0 "" delete --force "$ID"
	}
	with_each scenario
}

@test "kill of what ends just then (Caisson alone)" {
	make_bundle "$ID" sleep 1000
	edit "$ID" '.annotations = {"test.kill": "gone"}'
	RT=caisson
	create && rt start "$ID"
	# containerd's shim for runc knows it by these words.
	says 1 "container not running" kill "$ID" TERM
	says 0 "" kill --all "$ID" TERM
	says 0 "" delete --force "$ID"
	# So does its owner.
	edit "$ID" '.annotations = {"test.kill": "die"}'
	create && rt start "$ID"
	says 1 "container not running" kill "$ID" TERM
	says 0 "" delete --force "$ID"
}

@test "delete of what is created, and by force of what runs" {
	make_bundle "$ID" sleep 1000
	scenario() {
		create && says 0 "" delete "$ID" && gone "$pid" || return
		create && says 0 "" delete --force "$ID" && gone "$pid" || return
		create && rt start "$ID" && says 0 "" delete --force "$ID" && gone "$pid" || return
		says 1 "container does not exist" state "$ID"
	}
	with_each scenario
}

@test "pause and resume" {
	make_bundle "$ID" sleep 1000
	scenario() {
		local late
		create && rt start "$ID" || return
		says 0 "" pause "$ID" && status_is paused || return
		says 1 "container not running" pause "$ID" || return
		says 255 "cannot exec in a paused container (use --ignore-paused to override)" exec "$ID" echo x || return
		rt exec --ignore-paused "$ID" echo late >"$BATS_TEST_TMPDIR/late" 3>&- &
		late=$!
		sleep 1
		[ ! -s "$BATS_TEST_TMPDIR/late" ] || return
		says 0 "" resume "$ID" && status_is running && wait $late || return
		[ "$(cat "$BATS_TEST_TMPDIR/late")" = late ] || return
		says 1 "container not paused" resume "$ID" || return
		says 0 "" delete --force "$ID"
	}
	with_each scenario
}

@test "exec: streams, status, environment" {
	make_bundle "$ID" sleep 1000
	scenario() {
		create && says 0 "" exec "$ID" echo early && [ "$output" = early ] && status_is created || return
		rt start "$ID" || return
		says 0 "" exec "$ID" echo out && [ "$output" = out ] || return
		says 7 "err" exec "$ID" sh -c 'echo err >&2; exit 7' || return
		[ "$(echo in | rt exec "$ID" cat)" = in ] || return
		[ "$(rt exec --env A=1 --env OWN=2 --cwd /bin "$ID" sh -c 'echo $A$OWN; pwd')" = $'12\n/bin' ] || return
		[ "$(rt exec --user 12:34 "$ID" sh -c 'id -u; id -g')" = $'12\n34' ] || return
		says 143 "" exec "$ID" sh -c 'kill -TERM $$' || return
		jq -n '{args: ["sh", "-c", "echo $X; exit 3"], cwd: "/", env: ["PATH=/bin", "X=doc"], user: {uid: 0, gid: 0}}' \
			>"$BATS_TEST_TMPDIR/process"
		says 3 "" exec --process "$BATS_TEST_TMPDIR/process" "$ID" && [ "$output" = doc ] || return
		says 0 "" delete --force "$ID"
	}
	with_each scenario
}

@test "exec: detached, by pid" {
	make_bundle "$ID" sleep 1000
	scenario() {
		local exec_pid
		create && rt start "$ID" || return
		rt exec --detach --pid-file "$BATS_TEST_TMPDIR/exec.pid" "$ID" sleep 1000 </dev/null >/dev/null 2>&1 3>&- || return
		exec_pid=$(cat "$BATS_TEST_TMPDIR/exec.pid")
		[ -d "/proc/$exec_pid" ] || return
		says 0 "" ps --format json "$ID" && [ "$(jq --argjson p "$exec_pid" 'index($p) != null' <<<"$output")" = true ] || return
		kill -TERM "$exec_pid" && gone "$exec_pid" || return
		status_is running && says 0 "" delete --force "$ID"
	}
	with_each scenario
}

@test "run: the status, and nothing is left" {
	make_bundle "$ID" sh -c 'cat; exit 9'
	scenario() {
		run --separate-stderr rt run --bundle "$BUNDLE" "$ID" <<<input
		echo "$RT: $status $output $stderr"
		[ "$status" = 9 ] && [ "$output" = input ] || return
		says 1 "container does not exist" state "$ID" || return
		(cd "$BUNDLE" && run rt run "$ID" </dev/null && [ "$status" = 9 ]) || return
		rt run --detach --bundle "$BUNDLE" --pid-file "$BATS_TEST_TMPDIR/pid" "$ID" </dev/null >/dev/null 2>&1 3>&- || return
		wait_status stopped && says 0 "" delete "$ID"
	}
	with_each scenario
}

@test "run: what does not start leaves nothing, and at once (Caisson alone)" {
	make_bundle "$ID" true
	edit "$ID" '.annotations = {"test.start": "fail"}'
	RT=caisson
	says 1 "the test wants this to fail" run --bundle "$BUNDLE" "$ID"
	[[ $stderr != *"still there"* ]]
	says 1 "container does not exist" state "$ID"
	says 1 "the test wants this to fail" run --detach --bundle "$BUNDLE" "$ID"
	[[ $stderr != *"still there"* ]]
	says 1 "container does not exist" state "$ID"
}

# runc begins to listen for signals beside the container's start; on a busy machine one that comes at once ends it.
@test "run: signals are passed on" {
	make_bundle "$ID" sh -c 'trap "exit 5" TERM; sleep 0.5; echo ready; while :; do sleep 0.1; done'
	scenario() {
		local me
		(
			program=$RT
			[ "$RT" = runc ] || program=$CAISSON
			exec timeout -k 1 60 "$program" --root "$BATS_FILE_TMPDIR/state.$RT" run --bundle "$BUNDLE" "$ID"
		) </dev/null >"$BATS_TEST_TMPDIR/out" 2>&1 3>&- &
		me=$!
		is_ready || return
		kill -TERM "$me"
		status=0
		wait "$me" || status=$?
		# timeout(1) passes it on, too, and says 5 when its command does.
		echo "$RT: $status"
		[ "$status" = 5 ] && says 1 "container does not exist" state "$ID"
	}
	with_each scenario
}

@test "the pid of the pid file ends with the status, as a child of the nearest subreaper" {
	make_bundle "$ID" sh -c 'exit 42'
	scenario() {
		# shellcheck disable=SC2016
		run python3 - "$BATS_FILE_TMPDIR/state.$RT" "$BUNDLE" "$ID" "$([ "$RT" = runc ] && echo runc || echo "$CAISSON")" <<-'END'
			import ctypes, os, subprocess, sys
			root, bundle, id, program = sys.argv[1:]
			PR_SET_CHILD_SUBREAPER = 36
			assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
			def rt(*args):
			    subprocess.run([program, "--root", root, *args], check=True, timeout=60, stdin=subprocess.DEVNULL,
			                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
			rt("create", "--bundle", bundle, "--pid-file", bundle + "/pid", id)
			pid = int(open(bundle + "/pid").read())
			rt("start", id)
			status = os.waitpid(pid, 0)[1]
			rt("delete", id)
			print(os.waitstatus_to_exitcode(status))
		END
		echo "$output"
		[ "$output" = 42 ]
	}
	with_each scenario
}

@test "signals for the pid of the pid file; kill -9 ends the container" {
	make_bundle "$ID" sh -c 'trap "echo hup" HUP; echo ready; while :; do sleep 0.1; done'
	scenario() {
		create && rt start "$ID" || return
		is_ready || return
		kill -HUP "$pid"
		until grep -q hup "$BATS_TEST_TMPDIR/out"; do sleep 0.05; done
		kill -KILL "$pid"
		wait_status stopped && says 0 "" delete "$ID"
	}
	with_each scenario
}

# The receiver of a console socket: the master, and what is printed there until the end.
console() {
	python3 - "$@" <<-'END'
		import fcntl, os, socket, struct, subprocess, sys, termios
		path, *command = sys.argv[1:]
		s = socket.socket(socket.AF_UNIX)
		s.bind(path)
		s.listen(1)
		p = subprocess.Popen(command, stdin=subprocess.DEVNULL)
		s.settimeout(60)
		conn = s.accept()[0]
		master = socket.recv_fds(conn, 4096, 1)[1][0]
		fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 99, 0, 0))
		out = b""
		os.write(master, b"typed\n")
		while True:
		    try:
		        data = os.read(master, 4096)
		    except OSError:
		        break
		    if not data:
		        break
		    out += data
		    if b"END" in out:
		        break
		p.wait(60)
		sys.stdout.buffer.write(out)
	END
}

@test "a terminal by console socket" {
	make_bundle "$ID" sh -c 'read x; stty size; echo got $x END'
	edit "$ID" '.process.terminal = true | .mounts += [
		{destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"]},
		{destination: "/dev/pts", type: "devpts", source: "devpts", options: ["newinstance", "ptmxmode=0666"]}]'
	scenario() {
		says 1 "setting console socket" create --bundle "$BUNDLE" "$ID" || return
		cat >"$BATS_TEST_TMPDIR/steps" <<-END
			set -e
			timeout -k 1 60 $([ "$RT" = runc ] && echo runc || echo "$CAISSON") --root $BATS_FILE_TMPDIR/state.$RT \
				create --bundle $BUNDLE --console-socket $BATS_TEST_TMPDIR/console.$RT $ID
			sleep 0.5
			timeout -k 1 60 $([ "$RT" = runc ] && echo runc || echo "$CAISSON") --root $BATS_FILE_TMPDIR/state.$RT start $ID
		END
		run console "$BATS_TEST_TMPDIR/console.$RT" sh "$BATS_TEST_TMPDIR/steps"
		echo "$output"
		[[ $output == *"33 99"*"got typed END"* ]] || return
		says 0 "" delete --force "$ID"
	}
	with_each scenario
}

@test "no console socket without a terminal" {
	make_bundle "$ID" sleep 1000
	scenario() {
		says 1 "cannot use console socket" create --bundle "$BUNDLE" --console-socket "$BATS_TEST_TMPDIR/s" "$ID"
	}
	with_each scenario
}

@test "descriptors of the host do not reach the process (Caisson alone)" {
	make_bundle "$ID" sleep 1000
	scenario() {
		says 1 "--preserve-fds 1: " create --bundle "$BUNDLE" --preserve-fds 1 "$ID" || return
		says 1 "container does not exist" state "$ID" || return
		create --preserve-fds 0 && says 0 "" start "$ID" || return
		says 255 "--preserve-fds 2: " exec --preserve-fds 2 "$ID" true || return
		says 0 "" delete --force "$ID" || return
		# What podman hands on unasked.
		edit "$ID" '.process.env += ["LISTEN_PID=1", "LISTEN_FDS=1"]'
		create --preserve-fds 1 && grep "has no effect" "$BATS_TEST_TMPDIR/err" && says 0 "" delete "$ID"
	}
	RUNTIMES=caisson with_each scenario
}

@test "errors go to the log file as JSON" {
	scenario() {
		rm -f "$BATS_TEST_TMPDIR/log"
		says 1 "container does not exist" --log "$BATS_TEST_TMPDIR/log" --log-format json state nope || return
		jq -es 'last | .level == "error" and (.msg | contains("container does not exist")) and (.time | type == "string")' \
			"$BATS_TEST_TMPDIR/log"
	}
	with_each scenario
}

@test "create that fails leaves nothing, and the id is free" {
	make_bundle "$ID" sleep 1000
	scenario() {
		rm -rf "$BATS_TEST_TMPDIR/empty" && mkdir "$BATS_TEST_TMPDIR/empty"
		says 1 "config.json" create --bundle "$BATS_TEST_TMPDIR/empty" "$ID" || return
		says 1 "" create --bundle /no/such/bundle "$ID" || [ -n "$stderr" ] || return
		edit "$ID" '.linux.namespaces += [{type: "network", path: "/no/such/netns"}]'
		says 1 "netns" create --bundle "$BUNDLE" "$ID" || return
		edit "$ID" 'del(.linux.namespaces[] | select(.type == "network"))'
		says 1 "container does not exist" state "$ID" || return
		create && says 0 "" delete "$ID"
	}
	with_each scenario
}

@test "update: a document, standard input, flags (Caisson alone)" {
	make_bundle "$ID" sleep 1000
	RT=caisson
	create && rt start "$ID"
	echo '{"memory":{"limit":64000000},"pids":{"limit":9}}' | rt update --resources - "$ID"
	[ "$(jq .memory.limit "$BUNDLE/updated.json")" = 64000000 ]
	rt update --cpu-quota 5000 "$ID"
	[ "$(jq .cpu.quota "$BUNDLE/updated.json")" = 5000 ]
	echo nonsense >"$BATS_TEST_TMPDIR/r"
	says 1 "resources" update --resources "$BATS_TEST_TMPDIR/r" "$ID"
	says 1 "invalid value" update --memory much "$ID"
	rt delete --force "$ID"
}

@test "events: statistics as runc prints them" {
	make_bundle "$ID" sleep 1000
	scenario() {
		create && rt start "$ID" || return
		says 0 "" events --stats "$ID" || return
		jq -e --arg id "$ID" '.type == "stats" and .id == $id and (.data.cpu.usage.total | type == "number") and
			(.data.memory.usage.usage | type == "number" or . == null) and (.data.pids | has("current") or . == {})' <<<"$output" || return
		says 0 "" delete --force "$ID"
	}
	with_each scenario
}

@test "events: again and again, and what is out of memory" {
	make_bundle "$ID" sleep 1000
	scenario() {
		local events line
		create && rt start "$ID" || return
		rt events --interval 100ms "$ID" >"$BATS_TEST_TMPDIR/events" 3>&- &
		events=$!
		for _ in $(seq 600); do
			[ "$(wc -l <"$BATS_TEST_TMPDIR/events")" -lt 3 ] || break
			sleep 0.05
		done
		says 0 "" delete --force "$ID" || return
		wait $events || return
		line=$(head -n 1 "$BATS_TEST_TMPDIR/events")
		[[ $line == '{"type":"stats","id":"'"$ID"'",'* ]] || return
		[ "$(wc -l <"$BATS_TEST_TMPDIR/events")" -ge 3 ]
	}
	with_each scenario
	edit "$ID" '.annotations = {"test.oom": "yes"}'
	RT=caisson
	create && rt start "$ID"
	timeout 4 "$CAISSON" --root "$BATS_FILE_TMPDIR/state.$RT" events --interval 1h "$ID" >"$BATS_TEST_TMPDIR/events" 3>&- || :
	[ "$(sed -n 2p "$BATS_TEST_TMPDIR/events")" = '{"type":"oom","id":"'"$ID"'"}' ]
	[ "$(grep -c stats "$BATS_TEST_TMPDIR/events")" = 1 ]
	says 0 "" delete --force "$ID"
}

@test "spec and features" {
	scenario() {
		(cd "$BATS_TEST_TMPDIR" && rm -f config.json && says 0 "" spec && jq -e '.process.args == ["sh"] and .root.path == "rootfs" and
			.process.noNewPrivileges and (.process.capabilities.bounding | sort) ==
			["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"] and
			.process.rlimits == [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}]' config.json) || return
		says 1 "config.json exists" spec --bundle "$BATS_TEST_TMPDIR" || return
		says 0 "" features || return
		jq -e '(.hooks | index("prestart") != null) and (.linux.namespaces | index("network") != null) and
			.linux.seccomp.enabled and (.linux.capabilities | index("CAP_KILL") != null) and (.mountOptions | index("ro") != null)' <<<"$output"
	}
	with_each scenario
}

@test "what spec writes can be run" {
	make_bundle "$ID" true
	RT=caisson
	rm "$BUNDLE/config.json"
	rt spec --bundle "$BUNDLE"
	edit "$ID" '.process.terminal = false | .process.args = ["sh", "-c", "exit 6"]'
	run rt run --bundle "$BUNDLE" "$ID" </dev/null
	[ "$status" = 6 ]
}

@test "the owner dies: stopped, and delete cleans up (Caisson alone)" {
	make_bundle "$ID" sleep 1000
	RT=caisson
	create && rt start "$ID"
	kill -KILL "$(owners "$ID\$")"
	gone "$pid"
	wait_status stopped
	says 1 "container not running" kill "$ID"
	says 255 "stopped" exec "$ID" echo
	# What it would have done in the end is done by delete.
	edit "$ID" '.hooks = {poststop: [{path: "/bin/sh", args: ["sh", "-c", "cat >'"$BATS_TEST_TMPDIR"'/hook"],
		env: ["PATH=/bin:/usr/bin"]}]}'
	says 0 "" delete "$ID"
	jq -e '.status == "stopped" and (has("pid") | not)' "$BATS_TEST_TMPDIR/hook"
	says 1 "container does not exist" state "$ID"
	# Or by who cleans up all that dead ones left.
	rm "$BATS_TEST_TMPDIR/hook"
	create && rt start "$ID"
	kill -KILL "$(owners "$ID\$")"
	gone "$pid"
	rt list --prune
	jq -e '.status == "stopped" and (has("pid") | not)' "$BATS_TEST_TMPDIR/hook"
	says 1 "container does not exist" state "$ID"
	create && rt start "$ID" && rt delete --force "$ID"
}

@test "an owner ends with who started it, when nobody has come to it yet (Caisson alone)" {
	local root=$BATS_FILE_TMPDIR/state.caisson ready=$BATS_TEST_TMPDIR/ready
	mkdir -p "$root"
	# shellcheck disable=SC2016
	bash -c '"$CAISSON" --root "$0" pod-owner 9 "$1" 9>"$2" </dev/null >/dev/null 2>&1 3>&- &
		until [ -s "$2" ]; do sleep 0.05; done
		[ ! -e "$0/$1/lock" ] || kill -KILL $$' "$root" "$ID" "$ready" && return 1
	for _ in $(seq 100); do
		[ -e "$root/$ID" ] || return 0
		sleep 0.05
	done
	return 1
}

@test "the owner answers nobody any more, and is not dead yet: delete waits for it (Caisson alone)" {
	make_bundle "$ID" sleep 1000
	RT=caisson
	create
	kill -KILL "$(owners "$ID\$")"
	gone "$pid"
	echo '{}' >"$BATS_FILE_TMPDIR/state.caisson/$ID/state.json"
	flock "$BATS_FILE_TMPDIR/state.caisson/$ID/lock" sleep 1 &
	sleep 0.2
	says 0 "" delete "$ID"
	wait $!
	says 1 "container does not exist" state "$ID"
}

@test "the owner dies while it creates or deletes (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	edit "$ID" '.annotations["test.create"] = "die"'
	says 1 "create failed" create --bundle "$BUNDLE" "$ID"
	says 0 "" delete --force "$ID"
	edit "$ID" '.annotations = {"test.delete": "die"}'
	create
	says 0 "" delete --force "$ID"
	says 1 "container does not exist" state "$ID"
}

@test "a client that goes while its container is created (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	edit "$ID" '.annotations["test.create"] = "never"'
	timeout -s KILL 1 "$CAISSON" --root "$BATS_FILE_TMPDIR/state.$RT" create --bundle "$BUNDLE" "$ID" \
		</dev/null >/dev/null 2>&1 3>&- || [ "$?" = 137 ]
	for _ in $(seq 100); do
		[ -e "$BATS_FILE_TMPDIR/state.$RT/$ID" ] || break
		sleep 0.1
	done
	says 1 "container does not exist" state "$ID"
}

@test "a client that goes while its exec is started (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	edit "$ID" '.annotations["test.start"] = "never"'
	create && rt start "$ID"
	timeout -s KILL 1 "$CAISSON" --root "$BATS_FILE_TMPDIR/state.$RT" exec "$ID" sleep 1000 \
		</dev/null >/dev/null 2>&1 3>&- || [ "$?" = 137 ]
	for _ in $(seq 20); do
		[ "$(rt ps --format json "$ID")" != "[$pid]" ] || break
		sleep 0.1
	done
	says 0 "" ps --format json "$ID" && [ "$output" = "[$pid]" ]
	says 0 "" delete --force "$ID"
}

@test "the guest refuses: the error, and nothing is left (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	edit "$ID" '.annotations["test.create"] = "fail"'
	says 1 "the test wants this to fail" create --bundle "$BUNDLE" "$ID"
	says 1 "container does not exist" state "$ID"
	edit "$ID" '.annotations = {}'
	create && says 0 "" delete "$ID"
}

@test "a pod: members join the owner of their sandbox (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	edit "$ID" '.annotations = {"io.kubernetes.cri-o.ContainerType": "sandbox"}
		| .linux.namespaces += [{type: "network"}]'
	create && rt start "$ID"
	sandbox=$pid
	make_bundle "$ID-m" sh -c 'echo member; exec sleep 1000'
	edit "$ID-m" ".annotations = {\"io.kubernetes.cri-o.ContainerType\": \"container\", \"io.kubernetes.cri-o.SandboxID\": \"$ID\"}
		| .linux.namespaces += [{type: \"network\", path: \"/proc/$pid/ns/net\"}]"
	member=$ID-m
	ID=$member BUNDLE=$BATS_FILE_TMPDIR/$member.bundle create
	rt start "$ID-m"
	[ "$(readlink "/proc/$pid/ns/net")" = "$(readlink "/proc/$sandbox/ns/net")" ]
	[ "$(readlink "/proc/$pid/ns/net")" != "$(readlink /proc/self/ns/net)" ]
	[ "$(owners "$ID" | wc -l)" = 1 ]
	[ "$(rt list -q)" = "$ID"$'\n'"$ID-m" ]
	[ "$(rt exec "$ID-m" echo x)" = x ]
	rt delete --force "$ID-m"
	says 1 "container does not exist" state "$ID-m"
	status_is running
	rt delete --force "$ID"
	says 1 "the pod $ID, which the annotations name, is not running" create --bundle "$BATS_FILE_TMPDIR/$ID-m.bundle" "$ID-m"
}

@test "a pod whose first container is deleted first (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	edit "$ID" '.annotations = {"io.kubernetes.cri.container-type": "sandbox", "io.kubernetes.cri.sandbox-id": "x"}'
	create && rt start "$ID"
	make_bundle "$ID-m" sleep 1000
	edit "$ID-m" ".annotations = {\"io.kubernetes.cri.container-type\": \"container\", \"io.kubernetes.cri.sandbox-id\": \"$ID\"}"
	member=$ID-m
	ID=$member BUNDLE=$BATS_FILE_TMPDIR/$member.bundle create
	rt delete --force "$ID"
	says 1 "container does not exist" state "$ID"
	[ "$(rt state "$ID-m" | jq -r .status)" = created ]
	rt delete --force "$ID-m"
	[ -z "$(rt list -q)" ]
}

# network_of ID PATH: a bundle's network, which is a new one without a path.
network_of() {
	edit "$1" ".linux.namespaces += [{type: \"network\"} + (if \"$2\" == \"\" then {} else {path: \"$2\"} end)]"
}

@test "a container in another one's network joins its owner, also when that one comes again (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	network_of "$ID" ""
	create && rt start "$ID"
	main=$pid
	make_bundle "$ID-s" sleep 1000
	network_of "$ID-s" "/proc/$pid/ns/net"
	side=$ID-s
	ID=$side BUNDLE=$BATS_FILE_TMPDIR/$side.bundle create
	side=$pid
	rt start "$ID-s"
	[ "$(readlink "/proc/$side/ns/net")" = "$(readlink "/proc/$main/ns/net")" ]
	[ "$(owners "$ID" | wc -l)" = 1 ]
	says 1 "container with given ID already exists" create --bundle "$BUNDLE" "$ID"
	rt delete --force "$ID"
	[ "$(rt state "$ID-s" | jq -r .status)" = running ]
	create
	[ "$(readlink "/proc/$side/ns/net")" = "$(readlink "/proc/$pid/ns/net")" ]
	[ "$(owners "$ID" | wc -l)" = 1 ]
	rt delete --force "$ID-s"
	rt start "$ID"
	status_is running
	rt delete --force "$ID"
	[ -z "$(rt list -q)" ]
}

# until_there FILE
until_there() {
	for _ in $(seq 600); do
		[ ! -e "$1" ] || return 0
		sleep 0.05
	done
	echo "$1 does not come to be"
	return 1
}

@test "a container is deleted while one that shares its network is on its way (Caisson alone)" {
	RT=caisson
	local root=$BATS_FILE_TMPDIR/state.caisson owner late begun
	make_bundle "$ID" sleep 1000
	network_of "$ID" ""
	create && rt start "$ID"
	make_bundle "$ID-s" sleep 1000
	network_of "$ID-s" "/proc/$pid/ns/net"
	# Between its stand-in's way to the owner and its Create.
	owner=$(owners "$ID\$")
	kill -STOP "$owner"
	"$CAISSON" --root "$root" create --bundle "$BATS_FILE_TMPDIR/$ID-s.bundle" "$ID-s" </dev/null \
		>"$BATS_TEST_TMPDIR/late" 2>&1 3>&- &
	late=$!
	for _ in $(seq 600); do
		! pgrep -P "$late" >/dev/null || break
		sleep 0.05
	done
	sleep 1
	kill -STOP "$late"
	kill -CONT "$owner"
	until_there "$root/$ID-s/oci.json"
	begun=$SECONDS
	says 0 "" delete --force "$ID"
	[ $((SECONDS - begun)) -lt 30 ]
	says 1 "container does not exist" state "$ID"
	kill -CONT "$late"
	wait "$late" || {
		cat "$BATS_TEST_TMPDIR/late"
		return 1
	}
	[ "$(rt state "$ID-s" | jq -r .status)" = created ]
	rt delete --force "$ID-s"
	[ -z "$(rt list -q)" ]
}

@test "other namespaces of a container in another network are refused (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	network_of "$ID" ""
	create
	make_bundle "$ID-s" sleep 1000
	network_of "$ID-s" ""
	edit "$ID-s" "(.linux.namespaces[] | select(.type == \"pid\")).path = \"/proc/$pid/ns/pid\""
	says 1 "add --network container:$ID" create --bundle "$BATS_FILE_TMPDIR/$ID-s.bundle" "$ID-s"
	says 1 "container does not exist" state "$ID-s"
	edit "$ID-s" "(.linux.namespaces[] | select(.type == \"pid\")).path = \"/proc/$$/ns/pid\""
	says 1 "leave --pid out" create --bundle "$BATS_FILE_TMPDIR/$ID-s.bundle" "$ID-s"
	rt delete --force "$ID"
	[ -z "$(rt list -q)" ]
}

@test "the owner of two dies, one comes again: the other is stopped, and is deleted (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	network_of "$ID" ""
	create && rt start "$ID"
	make_bundle "$ID-s" sleep 1000
	network_of "$ID-s" "/proc/$pid/ns/net"
	side=$ID-s
	ID=$side BUNDLE=$BATS_FILE_TMPDIR/$side.bundle create
	kill -KILL "$(owners "$ID\$")"
	gone "$pid"
	wait_status stopped
	rt delete "$ID"
	create && rt start "$ID"
	[ "$(rt state "$side" | jq -r .status)" = stopped ]
	says 0 "" delete "$side"
	status_is running
	# Who brought the VM goes, and then its owner: the last one takes along what that has left.
	edit "$side" ".linux.namespaces = [.linux.namespaces[] | select(.type != \"network\")]"
	network_of "$side" "/proc/$pid/ns/net"
	ID=$side BUNDLE=$BATS_FILE_TMPDIR/$side.bundle create
	rt delete --force "$ID"
	kill -KILL "$(owners "$ID\$")"
	gone "$pid"
	says 0 "" delete --force "$side"
	[ ! -e "$BATS_FILE_TMPDIR/state.caisson/$ID" ]
	[ ! -e "$BATS_FILE_TMPDIR/state.caisson/$side" ]
}

# podman restarts a pod's infra container first.
@test "a pod whose first container is made anew ends before (Caisson alone)" {
	RT=caisson
	make_bundle "$ID" sleep 1000
	create && rt start "$ID"
	make_bundle "$ID-m" sh -c 'trap "echo told; exit 3" TERM; echo ready; while :; do sleep 0.1; done'
	edit "$ID-m" ".annotations = {\"io.container.manager\": \"libpod\", \"io.kubernetes.cri-o.SandboxID\": \"$ID\"}"
	member=$ID-m
	ID=$member BUNDLE=$BATS_FILE_TMPDIR/$member.bundle create
	rt start "$member"
	is_ready
	rt delete --force "$ID"
	create && rt start "$ID"
	says 1 "container does not exist" state "$member"
	grep -q told "$BATS_TEST_TMPDIR/out"
	ID=$member BUNDLE=$BATS_FILE_TMPDIR/$member.bundle create
	rt delete --force "$member"
	rt delete --force "$ID"
	[ -z "$(rt list -q)" ]
}
