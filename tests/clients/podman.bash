# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# podman, without a daemon: how it is set up here, and the rows that are its own.
. "$HERE/engine.bash"

BB=localhost/bb:1 DEB=localhost/deb:12
TOP_HOST_PIDS=(hpid comm)
EXEC_MISSING=127

# Its ulimits by default are higher than a machine without CAP_SYS_RESOURCE can set. Of CLIENTS_PATH are podman and what of
# its helpers is there.
podman_conf() {
	local folder helpers='' conmon=''
	for folder in ${CLIENTS_PATH:+"$CLIENTS_PATH"} /usr/lib/podman /usr/libexec/podman /usr/bin; do
		helpers+="\"$folder\", " conmon+="\"$folder/conmon\", "
	done
	cat >/run/clients/containers.conf <<-END
		[containers]
		default_ulimits = ["nofile=4096:16384", "nproc=16384:16384"]
		[network]
		network_backend = "netavark"
		network_config_dir = "/run/clients/networks"
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		conmon_path = [$conmon]
		helper_binaries_dir = [$helpers]
		runtime_supports_json = ["runc", "crun", "caisson"]
		[engine.runtimes]
		caisson = ["$BIN/caisson"]
	END
	export CONTAINERS_CONF=/run/clients/containers.conf PODMAN_IGNORE_CGROUPSV1_WARNING=1
}

podman_engine() {
	cat >"$BIN/engine" <<-'END'
		#!/bin/sh
		# who ignores SIGTERM is not waited for
		case "$1 $2" in "rm -f") shift 2 && set -- rm -f -t 0 "$@" ;; esac
		exec podman --runtime "$RUNTIME" "$@"
	END
	chmod 755 "$BIN/engine"
}

client_start() {
	podman_conf
	podman_images
	podman_engine
	RUNTIME=runc engine run --rm "$BB" true
	# it ends behind its podman
	until_true 30 sh -c '! pgrep -x conmon'
}

client_reset() {
	engine_reset
	"$BIN/engine" pod rm -f -t 1 -a >/dev/null
}

# Two containers and podman's own first one share network, host name and /dev/shm.
row_pod() {
	ask engine pod create --name pod --infra-image localhost/pause:1 -p 192.0.2.2:8081:80 --hostname podded
	ask engine run -d --pod pod --name server "$BB" sh -c 'echo a page >/page; echo shared >/dev/shm/file; exec httpd -f -h /'
	until_true 30 fetch http://192.0.2.2:8081/page
	ok engine run --rm --pod pod "$BB" sh -c 'wget -q -O - http://127.0.0.1/page; hostname; cat /dev/shm/file; ls /page 2>/dev/null'  || :
	expect_line 'a page'
	expect_line podded
	expect_line shared
	refute_match '^/page'
	ok engine pod ps --format '{{.Name}} {{.Status}} {{.NumberOfContainers}}'
	ask engine pod stop -t 1 pod
	ask engine pod start pod
	until_true 30 fetch http://192.0.2.2:8081/page
	ask engine pod rm -f -t 1 pod
}

# conmon looks for it in the host's cgroup, where nothing happens: it is told in conmon's place.
row_oom_killed() {
	run engine run --name eater --net none --memory 64m --memory-swap 64m "$BB" sh -c "$GROW; exit 4"
	ok engine inspect -f '{{.State.OOMKilled}} {{.State.ExitCode}}' eater
	expect_output 'true 4'
	ask engine rm eater
}

# podman makes another network namespace for each start, and the machine of both is in the old one.
row_main_restarts() {
	ask engine run -d --name main "$BB" sleep 1000
	ask engine run -d --name side --network container:main "$BB" sleep 1000
	refuses 'stop them first' engine restart -t 0 main
	ask engine exec side true
	ask engine stop -t 0 side
	ask engine start main
	ask engine start side
	ok engine exec side sh -c "$LOOK_AROUND"
	expect_line 'hello from the host'
	ask engine rm -f -t 0 side
	ask engine rm -f -t 0 main
}

pod_runs() {
	[ "$(engine pod inspect -f '{{.State}}' "$1")" = Running ]
}

# podman makes the pod's own container anew while the others still run.
row_pod_restart() {
	ask engine pod create --name pod --infra-image localhost/pause:1
	ask engine run -d --pod pod --name member "$BB" sh -c 'trap "echo bye; exit" TERM; echo started; while :; do sleep 0.1; done'
	until_true 30 has_logged member started
	ask engine pod restart pod
	until_true 30 sh -c '[ "$("$0" logs member 2>/dev/null | grep -c started)" = 2 ]' "$BIN/engine"
	pod_runs pod || wrong 'the pod does not run'
	ok engine logs member
	ok engine exec member sh -c 'ip -4 -o address show eth0 | grep -c inet'
	ask engine pod rm -f -t 1 pod
}

# A pod may be no more than a name and a cgroup: then each of its containers is by itself.
row_pod_without_infra() {
	ask engine pod create --name bare --infra=false
	ok engine run --rm --pod bare --net none "$BB" echo hello
	expect_output hello
	ask engine pod rm -f bare
}

row_pod_share() {
	ask engine pod create --name apart --infra-image localhost/pause:1 --share net
	ask engine run -d --pod apart --name neighbour "$BB" sh -c 'echo secret >/dev/shm/file; exec httpd -f -h /'
	until_true 30 engine run --rm --pod apart "$BB" wget -q -O - http://127.0.0.1/dev/shm/file
	ok engine run --rm --pod apart --hostname mine "$BB" sh -c \
		'hostname; wget -q -O - http://127.0.0.1/dev/shm/file; ls /dev/shm'
	expect_output "$(printf 'mine\nsecret')"
	ask engine pod rm -f -t 0 apart
}

# Engines write into files that are mounted when it is created, and not yet started.
row_changed_between() {
	echo early >"$WORK/written"
	ask engine create --name late --net none -v "$WORK/written:/written" "$BB" cat /written
	ask engine init late
	echo 'and more' >>"$WORK/written"
	ok engine start --attach late
	expect_line 'and more'
	ask engine rm late
}

# A tmpfs is the guest's. A root that is read-only is so for copies, too, as with runc.
row_cp_refused() {
	echo precious >"$WORK/file"
	mkdir -p "$WORK/volume"
	ask engine run -d --name closed --net none --read-only --tmpfs /t --tmpfs /tmp -v "$WORK/volume:/home" "$BB" sleep 1000
	refused engine cp "$WORK/file" closed:/t/in
	refused engine cp "$WORK/file" closed:/tmp/in
	refused engine cp "$WORK/file" closed:/root/in
	ask engine cp "$WORK/file" closed:/home/in
	ok engine exec closed cat /home/in
	expect_output precious
	ask engine exec -i closed tar -C /t -xf - < <(tar -C "$WORK" -cf - file)
	ok engine exec closed cat /t/file
	expect_output precious
	ask engine rm -f closed
	rm -r "$WORK/volume"
}

# Layers of the host: a folder that is not written to, an image.
row_overlay() {
	mkdir -p "$WORK/volume"
	echo of the host >"$WORK/volume/file"
	ok engine run --rm --net none -v "$WORK/volume:/v:O" "$BB" sh -c 'cat /v/file; echo of the guest >/v/file; cat /v/file'
	expect_line 'of the guest'
	ok cat "$WORK/volume/file"
	expect_output 'of the host'
	ok engine run --rm --net none --mount "type=image,src=$BB,dst=/image" "$BB" sh -c \
		'/image/bin/echo of an image; touch /image/file 2>/dev/null || echo read-only'
	expect_line 'of an image'
	expect_line read-only
	ask engine pod create --name layered --infra-image localhost/pause:1
	ask engine run -d --pod layered --name member "$BB" sleep 1000
	ok engine run --rm --pod layered -v "$WORK/volume:/v:O" --mount "type=image,src=$BB,dst=/image" "$BB" \
		/image/bin/cat /v/file
	expect_output 'of the host'
	ask engine pod rm -f -t 0 layered
	rm -r "$WORK/volume"
}

# rootless ARG…: podman of a user who is not root, in a user namespace.
rootless() {
	limited setpriv --reuid daemon --regid daemon --clear-groups env HOME="$ROOTLESS" XDG_RUNTIME_DIR="$ROOTLESS/run" \
		CONTAINERS_CONF="$ROOTLESS/containers.conf" CONTAINERS_STORAGE_CONF="$ROOTLESS/storage.conf" "$BIN/engine" "$@"
}

rootless_stop() {
	rootless system migrate
	umount /etc/subuid /etc/subgid
	rm -rf "$ROOTLESS"
}

row_rootless() {
	export ROOTLESS=$WORK/rootless
	command -v newuidmap >/dev/null && [ -e /etc/subuid ] && [ -e /etc/subgid ] || skipped 'there is no newuidmap'
	mkdir -p "$ROOTLESS/run" "$ROOTLESS/volume"
	sed /network_config_dir/d "$CONTAINERS_CONF" >"$ROOTLESS/containers.conf"
	printf '[storage]\ndriver = "vfs"\n' >"$ROOTLESS/storage.conf"
	echo daemon:300000:65536 >"$ROOTLESS/subid"
	chown -R daemon:daemon "$ROOTLESS"
	mount --bind "$ROOTLESS/subid" /etc/subuid
	mount --bind "$ROOTLESS/subid" /etc/subgid
	trap rootless_stop EXIT
	rootless import -q - "$BB" <"$IMAGES/bb-root.tar" >&2
	ok rootless run --rm --net none -v "$ROOTLESS/volume:/home" "$BB" sh -c 'id -u; touch /home/file'
	ok stat -c %U "$ROOTLESS/volume/file"
	expect_output daemon
	ask rootless run -d --name box --net none "$BB" sleep 1000
	ok rootless exec -u 1000 box id -u
	ask rootless stop -t 0 box
	ask rootless start box
	ok rootless exec box cat /proc/1/comm
	ask rootless rm -f box
}

# What a container's systemd needs: folders in memory, and its cgroup, of the hierarchy that there is.
row_systemd() {
	ok engine run --rm --net none --systemd=always "$BB" sh -c 'echo $container; grep -cE "^tmpfs /(run|run/lock|tmp) " /proc/mounts
		cd /sys/fs/cgroup/systemd 2>/dev/null || cd /sys/fs/cgroup; mkdir own && rmdir own && echo a cgroup'
	expect_line podman
	expect_line 'a cgroup'
}

row_umask() {
	ok engine run --rm --net none --umask 0077 "$BB" sh -c 'umask; touch /file; stat -c %a /file'
	expect_line 600
	ok engine run --rm --net none --umask 0 "$BB" sh -c umask
	expect_output 0000
}

row_uidmap() {
	ok engine run --rm --net none --uidmap 0:100000:1000 "$BB" sh -c 'cat /proc/self/uid_map; id -u'
	# podman sets a sysctl where there is a network
	ok engine run --rm --uidmap 0:100000:1000 "$BB" sh -c 'id -u; cat /proc/sys/net/ipv4/ping_group_range'
}

# build: without conmon, the runtime is buildah's own child.
row_build() {
	mkdir -p "$WORK/context"
	printf 'FROM %s\nRUN echo built >/made\nCMD ["cat", "/made"]\n' "$BB" >"$WORK/context/Containerfile"
	ask limited podman build -q --isolation oci --runtime "$(command -v "$RUNTIME")" --network none --ulimit nofile=4096:16384 \
		-t built:1 "$WORK/context"
	ok engine run --rm --net none built:1
	expect_output built
	ask engine rmi built:1
}
