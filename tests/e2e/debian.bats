#!/usr/bin/env bats
# SPDX-License-Identifier: Apache-2.0
# A Debian root file system, made with mmdebstrap and kept in .cache/e2e.

load helper

setup() {
	needs_usable
	DEBIAN=$CACHE/debian
	# made before the tests: in their network namespace there is no archive to get packages from
	[ -e "$DEBIAN/.done" ] || skip "no Debian root: run tests/e2e/debian-root $DEBIAN"
	NAME=t$BATS_TEST_NUMBER-$$
	chmod 755 "$BATS_TEST_TMPDIR"
	leak_before=$(leak_snapshot | sort)
}

deb() {
	run --separate-stderr caisson run --rootfs "$DEBIAN" "$@"
}

@test "Debian's shell, libraries, users and locale tools work" {
	deb -- /bin/bash -c '. /etc/os-release; echo "$ID $VERSION_ID"; id -un; getent passwd www-data | cut -d: -f1; ldd /bin/bash | grep -c libc.so
		perl -e "print 6*7, qq(\n)"; ls -l /dev/stdin /dev/fd >/dev/null && echo devs'
	expect_status 0
	expect_output $'debian 12\nroot\nwww-data\n1\n42\ndevs'
}

@test "dpkg changes a package database in the throw-away layer" {
	deb -- /bin/bash -c 'dpkg -l | grep -c ^ii; dpkg --purge --force-all hostname >/dev/null 2>&1; dpkg -l hostname 2>/dev/null | grep -c ^ii; test ! -e /bin/hostname && echo purged'
	expect_status 0
	expect_match '^purged$'
	[ -e "$DEBIAN/bin/hostname" ]
}

@test "permissions, set-user-id, extended attributes, sparse files, hard links, sockets and fifos" {
	deb -u nobody -- /bin/bash -c 'cat /etc/shadow 2>/dev/null || echo "shadow is closed"; stat -c %A /usr/bin/passwd; touch /root/x 2>/dev/null || echo "root is closed"'
	expect_status 0
	expect_output $'shadow is closed\n-rwsr-xr-x\nroot is closed'
	deb -- /bin/bash -c 'cd /tmp; truncate -s 1G sparse; du -k sparse | cut -f1; echo x >a; ln a b; stat -c %h a; mkfifo f; (echo fifo >f &) ; cat f
		perl -MSocket -e "socket(S,PF_UNIX,SOCK_STREAM,0); bind(S,sockaddr_un(q(s))) or die; print -S q(s) ? qq(socket\n) : qq(no\n)"'
	expect_status 0
	expect_output $'0\n2\nfifo\nsocket'
}

@test "a thousand files are written, renamed and removed" {
	# within one process: each one more costs tens of milliseconds under emulation
	deb -- /bin/bash -c 'mkdir /srv/many && cd /srv/many && for i in {1..1000}; do echo $i >f$i; done &&
		perl -e "rename \$_, qq(g\$_) or die for glob q(f*)" && ls | wc -l && cat gf* | sort -n | tail -n 1 && rm gf* && ls | wc -l'
	expect_status 0
	expect_output $'1000\n1000\n0'
}
