#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# What engines and whole systems in a container need of it: docs/nested.md.

load helper

@test "a privileged container has file systems, devices, cgroups and modules for an engine" {
	local disk=$CACHE/nested-$$
	needs_capability fs_sharing
	# on the tree's disk: not every tmpfs keeps what an overlay notes in its upper folder
	mkdir -p "$disk"
	truncate -s 2M "$disk/image"
	mke2fs -q "$disk/image"
	vm --privileged -v "$disk:/vol" -- sh -c '
		cd /vol && mkdir -p l/d u w m && echo old >l/d/f && mount -t overlay o -o lowerdir=l,upperdir=u,workdir=w m &&
			rm -r m/d && mkdir m/d && umount m && mount -t overlay o -o lowerdir=u:l m && ls m/d && umount m && echo overlay
		mkdir /disk && mount -o loop,ro image /disk && ls /disk && umount /disk
		mkdir /sys/fs/cgroup/a /sys/fs/cgroup/a/b && echo $$ >/sys/fs/cgroup/a/b/cgroup.procs && cat /proc/self/cgroup &&
			echo "+memory +pids +cpu" >/sys/fs/cgroup/cgroup.subtree_control && ls /sys/fs/cgroup/a/memory.max
		echo 1 >/proc/sys/net/ipv4/ip_forward && echo sysctl
		[ -r /proc/net/ip_tables_names ] && [ -r /proc/net/ip6_tables_names ] && echo iptables
		case $(uname -r) in *-caisson) ;; *) ip link add w0 type wireguard ;; esac && echo modules'
	rm -rf "$disk"
	expect_status 0
	expect_output $'overlay\nlost+found\n0::/a/b\n/sys/fs/cgroup/a/memory.max\nsysctl\niptables\nmodules'
}
