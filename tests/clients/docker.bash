# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# Docker's daemon (with containerd, and containerd-shim-runc-v2, which runs the OCI command line): how it is started here,
# and the rows that are its own. Debian's 20.10 takes no shim of another name: that came with 23.0, and is asked for by
# CLIENTS_DOCKER=shim where CLIENTS_PATH has such a docker.
. "$HERE/containerd.bash"
. "$HERE/engine.bash"

BB=bb:1 DEB=deb:12
TOP_HOST_PIDS=()
EXEC_MISSING=126

# A newer docker than the daemon may be first in PATH.
DOCKER=/usr/bin/docker
[ ! -x "${CLIENTS_PATH:-}/docker" ] || DOCKER=$CLIENTS_PATH/docker EXEC_MISSING=127

# As it is in people's daemon.json.
caisson_runtime() {
	case ${CLIENTS_DOCKER:-} in
	shim) cat <<-END ;;
		{ "runtimeType": "io.containerd.caisson.v2",
		  "options": { "TypeUrl": "runtimeoptions.v1.Options", "ConfigPath": "/run/clients/caisson.toml" } }
	END
	*) echo "{ \"path\": \"$BIN/caisson\" }" ;;
	esac
}

# docker_start: again, too; containers live on in between.
docker_start() {
	setsid dockerd --containerd /run/containerd/containerd.sock --config-file /run/clients/daemon.json >>"$LOGS/dockerd" 2>&1 &
	echo $! >"$LOGS/dockerd.pid"
	disown # that it was killed need not be said
	until_true 60 $DOCKER info
}

# docker_stop SIGNAL
docker_stop() {
	local pid
	pid=$(cat "$LOGS/dockerd.pid")
	kill "-$1" "$pid"
	until_true 60 not_running "$pid"
	rm -f /run/docker.pid
}

client_start() {
	echo "{ \"live-restore\": true, \"features\": { ${CLIENTS_STORE:+\"containerd-snapshotter\": $CLIENTS_STORE} }," \
		"\"runtimes\": { \"caisson\": $(caisson_runtime) } }" >/run/clients/daemon.json
	containerd_conf '"io.containerd.grpc.v1.cri"'
	containerd_start
	cat >"$BIN/engine" <<-END
		#!/bin/sh
		case \$1 in
		run | create) verb=\$1 && shift && set -- "\$verb" --runtime "\$RUNTIME" "\$@" ;;
		esac
		exec $DOCKER "\$@"
	END
	chmod 755 "$BIN/engine"
	docker_start
	$DOCKER import "$IMAGES/bb-root.tar" bb:1 >&2
	[ ! -e "$IMAGES/deb-root.tar" ] || $DOCKER import "$IMAGES/deb-root.tar" deb:12 >&2
	RUNTIME=runc engine run --rm "$BB" true
	RUNTIME=runc engine run --rm --net host "$BB" true
}

client_reset() {
	engine_reset
}

# Limits change while it runs.
row_update() {
	ask engine run -d --name changing --net none -m 100m "$BB" sleep 1000
	ask engine update --memory 64m --memory-swap 64m changing
	ok engine inspect -f '{{.HostConfig.Memory}}' changing
	expect_output 67108864
	fails 137 engine exec changing sh -c "$GROW"
	ask engine rm -f changing
	# a limit less than what its VM has used
	ask engine run -d --name unlimited --net none "$BB" sleep 1000
	ask engine update --memory 64m --memory-swap 64m unlimited
	fails 137 engine exec unlimited sh -c "$GROW"
	ask engine rm -f unlimited
}

row_init() {
	ok engine run --rm --init --net none "$BB" sh -c 'cat /proc/1/comm; sh -c "true & exec true"; sleep 1; ps -o stat | grep ^Z || echo no zombies'
	expect_line docker-init
	# it passes SIGTERM on, for which it waits without a handler
	ask engine run -d --init --name orderly --net none "$BB" sh -c 'trap "echo bye; exit 5" TERM; echo started; while :; do sleep 0.1; done'
	until_true 30 has_logged orderly started
	ask engine stop -t 20 orderly
	ok engine inspect -f '{{.State.ExitCode}}' orderly
	expect_output 5
	ask engine rm orderly
}

health_is() {
	[ "$(engine inspect -f '{{.State.Health.Status}}' patient)" = "$1" ]
}

row_health() {
	ask engine run -d --name patient --net none --health-cmd 'test -e /fine' --health-interval 2s --health-retries 1 \
		"$BB" sh -c 'touch /fine; exec sleep 1000'
	until_true 60 health_is healthy
	ask engine exec patient rm /fine
	until_true 60 health_is unhealthy
	ask engine rm -f patient
}

# restarted CONTAINER TIMES
restarted() {
	[ "$(engine inspect -f '{{.RestartCount}} {{.State.Status}}' "$1")" = "$2" ]
}

row_restart_policy() {
	ask engine run -d --name again --net none --restart on-failure:1 "$BB" sh -c 'echo tries; exit 3'
	until_true 60 restarted again '1 exited'
	ok engine inspect -f '{{.State.ExitCode}}' again
	ok engine logs again
	ask engine rm again
	ask engine run -d --name again --restart always "$BB" sleep 1000
	kill -KILL "$(engine inspect -f '{{.State.Pid}}' again)"
	until_true 60 restarted again '1 running'
	ok engine exec again sh -c "$LOOK_AROUND"
	ask engine rm -f again
}

# containerd-shim-runc-v2 looks for it in the host's cgroup, where nothing happens.
row_oom_killed() {
	[ "$RUNTIME" = runc ] || [ "${CLIENTS_DOCKER:-}" = shim ] || skipped 'only with CLIENTS_DOCKER=shim'
	run engine run --name eater --net none --memory 64m --memory-swap 64m "$BB" sh -c "$GROW; exit 4"
	ok engine inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' eater
	expect_output 'true 4'
	ask engine rm eater
}

# A query for "answers" by TCP: the address is at the end of the answer.
ASK_BY_TCP='printf "\0\031\022\064\001\0\0\001\0\0\0\0\0\0\007answers\0\0\001\0\001" |
	nc -w 5 127.0.0.11 53 | tail -c 4 | od -An -tu1'

# Docker's name server answers in the network namespace, on a loopback address.
row_names() {
	local server
	ask engine network create --subnet 10.79.0.0/24 named
	ask engine network create --subnet 10.80.0.0/24 later
	ask engine run -d --name answers --net named --ip 10.79.0.7 --network-alias alias "$BB" sleep 1000
	ask engine run -d --name asks --net named --ip 10.79.0.8 "$BB" sleep 1000
	ok engine exec asks grep ^nameserver /etc/resolv.conf
	expect_output 'nameserver 127.0.0.11'
	ok engine exec asks nslookup -type=a answers
	expect_match '^Address: 10\.79\.0\.7'
	ok engine exec asks sh -c 'ping -c 1 -W 10 alias | head -n 1'
	expect_match '10\.79\.0\.7'
	ok engine exec asks sh -c "$ASK_BY_TCP"
	expect_match '^ *10 +79 +0 +7$'
	# port 53 of all its addresses is the container's own
	ask engine exec -d asks httpd -f -p 53 -h /etc
	until_true 30 engine exec asks wget -q -O - http://127.0.0.1:53/hostname
	ok engine exec asks nslookup -type=a alias
	ok engine exec asks sh -c "$ASK_BY_TCP"
	# networks come later
	ask engine run -d --name lonely "$BB" sleep 1000
	ask engine network connect named lonely
	until_true 60 engine exec lonely nslookup -type=a answers
	ask engine network connect --ip 10.80.0.8 later asks
	ask engine run -d --name more --net later --ip 10.80.0.9 "$BB" sleep 1000
	until_true 60 engine exec asks nslookup -type=a more
	# another server in its place
	docker_stop KILL
	docker_start
	for server in answers more; do
		until_true 60 engine exec asks nslookup -type=a $server
	done
	ask engine rm -f answers asks lonely more
	ask engine network rm named later
}

# The daemons under it are killed and come back; it has not noticed, and they know of it what they knew before, and how it
# ended while there was no docker.
row_live_restore() {
	local id
	ask engine run -d --name survivor -p 192.0.2.2:8080:80 "$BB" sh -c \
		'echo started; echo a page >/page; httpd -h /; while :; do printf . >>/count; sleep 0.1; done'
	id=$output
	until_true 30 has_logged survivor started
	docker_stop KILL
	containerd_stop KILL
	containerd_start
	docker_start
	ok engine inspect -f '{{.State.Status}} {{.RestartCount}}' survivor
	expect_output 'running 0'
	ok engine exec survivor cat /page
	until_true 30 fetch http://192.0.2.2:8080/page
	ask engine pause survivor
	ask engine unpause survivor
	docker_stop TERM
	ask ctr -n moby tasks kill -s KILL "$id"
	docker_start
	until_true 30 restarted survivor '0 exited'
	ok engine inspect -f '{{.State.ExitCode}}' survivor
	expect_output 137
	ask engine start survivor
	until_true 30 fetch http://192.0.2.2:8080/page
	ask engine rm -f survivor
}

# With runc the side-car would be left in a network namespace without interfaces.
row_main_restarts() {
	ask engine run -d --name main -p 192.0.2.2:8080:80 "$BB" sh -c 'echo a page >/page; exec httpd -f -h /'
	ask engine run -d --name side --network container:main "$BB" sleep 1000
	until_true 30 engine exec side wget -q -O - http://127.0.0.1/page
	ask engine restart -t 0 main
	until_true 30 fetch http://192.0.2.2:8080/page
	until_true 30 engine exec side wget -q -O - http://127.0.0.1/page
	ok engine exec side sh -c "$LOOK_AROUND"
	expect_line 'the gateway answers'
	ask engine stop -t 0 main
	ask engine update --memory 64m --memory-swap 64m side
	ask engine start main
	until_true 30 fetch http://192.0.2.2:8080/page
	ask engine rm -f main
	ask engine exec side true
	ask engine rm -f side
}

# Kata's name for it, without a word in daemon.json.
row_kata_name() {
	RUNTIME=io.containerd.kata.v2
	[ "${CLIENTS_DOCKER:-}" = shim ] || skipped 'only with CLIENTS_DOCKER=shim'
	ln -sf containerd-shim-caisson-v2 "$BIN/containerd-shim-kata-v2"
	ok engine run --rm --net none "$BB" echo hello
	expect_output hello
}
