# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# What a container could leave behind. Called in tests/clients/isolated, so that everything there is of this run. The
# clients' own stores and databases are not looked into; what a client keeps after its first container (a bridge, a
# parent cgroup) is there before the listing, because each client runs one container of runc's first (warm up).

# Zombies count: process 1 there reaps, so that a zombie is one that its living parent forgot. The harness's own
# processes do not: they are this shell, and this subshell with its children.
list_processes() {
	local pid name stat ours=" 1 $$ $BASHPID "
	for pid in /proc/[0-9]*; do
		read -r stat 2>/dev/null <"$pid/stat" || continue
		name=$(tr '\0' ' ' 2>/dev/null <"$pid/cmdline") || continue
		# pid (name) state parent
		read -r -a stat <<<"${stat##*) }"
		case $ours in *" ${pid#/proc/} "*) continue ;; esac
		[ "${stat[1]}" != "$BASHPID" ] || continue
		case $name in
		*tests/clients/*) continue ;;
		'') name="($(cat "$pid/comm" 2>/dev/null)) ${stat[0]}" ;;
		esac
		printf 'process: %s\n' "${name:0:200}"
	done
}

# A podman command that fails leaves the mount of its own store, and the next one takes it: its cleanup behind a container
# that was removed meanwhile, say.
list_mounts() {
	sed 's/^[^ ]* \([^ ]* [^ ]*\) .*/mount: \1/' /proc/self/mounts | grep -v '^mount: /var/lib/containers/storage/overlay '
}

list_network() {
	ip -o link | sed -E 's/^[0-9]+: ([^:@]+).*/interface: \1/'
	tc qdisc show 2>/dev/null | sed -E 's/^qdisc ([^ ]+) ([^ ]+) dev ([^ ]+) .*/qdisc: \3 \1 \2/'
	find /run/netns -mindepth 1 2>/dev/null | sed 's/^/netns: /'
	iptables-save 2>/dev/null | grep '^-A' | sed 's/^/rule: /'
}

# podman 4.3 forgets its pods' own cgroups in the hierarchies that limit nothing.
list_cgroups() {
	find /sys/fs/cgroup -mindepth 2 -type d | grep -vE '/(systemd|unified)/libpod_parent/[0-9a-f]{64}$' | sed 's/^/cgroup: /'
}

# Sockets with their paths (docker collects its network namespaces' names, unmounted, once a minute; ctr forgets its
# FIFOs when an exec fails; daemons that start again have sockets of other names), and files where runtimes keep state; not
# what the clients keep about their own.
list_files() {
	awk '$8 ~ /^[@\/]/ && $8 !~ /^@[0-9a-f]+$|\/run\/docker\/libnetwork\// { print "socket: " $8 }' /proc/net/unix | sort -u
	find /tmp /run /var/lib/caisson -mindepth 1 ! -path '/run/clients*' ! -path '/run/mount*' ! -path /run/caisson \
		! -path '/run/containers/storage/*' ! -path '/run/podman/*' ! -path '/run/libpod/persist/*' \
		! -path '/run/containers/networks/aardvark*' ! -path '/run/lock/*' \
		! -path '/run/docker/netns/*' ! -path '/run/docker/libnetwork/*' ! -path '/run/containerd/fifo/*' 2>/dev/null |
		sed 's/^/file: /'
}

list_everything() {
	{
		(list_processes)
		list_mounts
		list_network
		list_cgroups
		list_files
	} >"$LOGS/list"
	sort "$LOGS/list"
}

# nothing_left LISTING: is everything as in that file? Ended processes may take a moment to go; what is still there after
# thirty seconds stays. Prints what is left (>) and what went away (<).
nothing_left() {
	local end=$((SECONDS + 30 * SLOWER)) now=$1.now
	while :; do
		list_everything >"$now"
		! cmp -s "$1" "$now" || return 0
		[ $SECONDS -lt $end ] || break
		sleep 0.5
	done
	diff "$1" "$now" | grep '^[<>]'
	return 1
}
