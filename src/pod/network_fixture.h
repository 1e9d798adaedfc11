/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For the tests of pod/network.h: a network namespace "pod" whose eth0 is a veth to h0 in the test's own, and calls
 * that fail on demand (the program is linked with --wrap for each of them). Needs root, iproute2, and a kernel with
 * veth, tap and tc. Includes what cmocka.h wants before it.
 */
#pragma once

#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "pod/network.h"
#include "sys/netlink.h"

#define POD       "/run/netns/pod"
#define GUEST_MAC "02:00:00:00:01:02"

static const char *unable; /* why the tests cannot run here */

/* ---- the Nth call fails ---- */

static int fail_at; /* 0: none */

static bool fails(void)
{
	return fail_at > 0 && --fail_at == 0;
}

int __real_netlink_call(int fd, struct nlreq *q, nlmsg_fn fn, void *userdata);
int __wrap_netlink_call(int fd, struct nlreq *q, nlmsg_fn fn, void *userdata);
int __wrap_netlink_call(int fd, struct nlreq *q, nlmsg_fn fn, void *userdata)
{
	return fails() ? -EIO : __real_netlink_call(fd, q, fn, userdata);
}

int __real_netlink_dump(int fd, struct nlreq *q, nlmsg_fn fn, void (*again)(void *userdata), void *userdata);
int __wrap_netlink_dump(int fd, struct nlreq *q, nlmsg_fn fn, void (*again)(void *userdata), void *userdata);
int __wrap_netlink_dump(int fd, struct nlreq *q, nlmsg_fn fn, void (*again)(void *userdata), void *userdata)
{
	return fails() ? -EIO : __real_netlink_dump(fd, q, fn, again, userdata);
}

#define WRAP_ALLOC(type, name, parameters, arguments)                                                                  \
	type __real_##name parameters;                                                                                 \
	type __wrap_##name parameters;                                                                                 \
	type __wrap_##name parameters                                                                                  \
	{                                                                                                              \
		return fails() ? NULL : __real_##name arguments;                                                       \
	}
WRAP_ALLOC(void *, malloc, (size_t n), (n))
WRAP_ALLOC(void *, calloc, (size_t n, size_t size), (n, size))
WRAP_ALLOC(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size))
WRAP_ALLOC(void *, realloc, (void *p, size_t n), (p, n))
WRAP_ALLOC(char *, strdup, (const char *s), (s))

/* ---- shell ---- */

static __attribute__((format(printf, 1, 2))) void sh(const char *fmt, ...)
{
	char command[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(command, sizeof command, fmt, ap);
	va_end(ap);
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

/* Carriers come some time after an interface, and link-local addresses after them: until so many have one. */
static void settle(int n)
{
	sh("for i in $(seq 1200); do [ $(ip -n pod -6 address show scope link | grep -c inet6) -lt %d ] || exit 0;"
	   " sleep 0.05; done; exit 1",
	   n);
}

/* eth0 in the namespace, h0 here. */
static int set_up_interface(void)
{
	sh("ip link add h0 mtu 1400 type veth peer name eth0 mtu 1400 address " GUEST_MAC " netns pod &&"
	   " ip link set h0 up && ip addr add 10.1.1.1/24 dev h0 && ip addr add fd01::1/64 dev h0 nodad &&"
	   " ip -n pod addr add 10.1.1.2/24 dev eth0 && ip -n pod addr add fd01::2/64 dev eth0 &&"
	   " ip -n pod link set eth0 up && ip -n pod route add default via 10.1.1.1 &&"
	   " ip -n pod route add default via fd01::1");
	settle(1);
	return 0;
}

static int set_up(void **state)
{
	if (unable)
		return 0;
	sh("ip netns add pod && ip -n pod link set lo up &&"
	   " ip netns exec pod sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad;"
	   " echo 0 >/proc/sys/net/ipv6/conf/default/router_solicitations'");
	return set_up_interface();
}

static int tear_down(void **state)
{
	fail_at = 0;
	if (!unable)
		sh("ip netns del pod 2>/dev/null; ip link del h0 2>/dev/null; ip link del h1 2>/dev/null; true");
	return 0;
}

static struct pod_network *scan(enum pod_network_model model)
{
	struct pod_network *n = NULL;
	struct err e = { 0 };

	if (pod_network_scan(POD, model, &n, &e) < 0)
		fail_msg("%s", e.text);
	return n;
}

#define NEEDS_HOST                                                                                                     \
	do {                                                                                                           \
		if (unable) {                                                                                          \
			print_message("%s\n", unable);                                                                 \
			skip();                                                                                        \
		}                                                                                                      \
	} while (0)

/* Namespaces of our own, in which `ip netns` works. */
static const char *prepare_host(void)
{
	if (geteuid() != 0)
		return "needs root";
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return "no namespaces of our own";
	mkdir("/run/netns", 0755);
	if (mount("tests", "/run/netns", "tmpfs", 0, NULL) < 0)
		return "no mounts of our own";
	if (system("ip link set lo up && ip link add t0 type veth peer name t1 && ip link del t0 &&"
		   " ip tuntap add t0 mode tap && ip link del t0") != 0)
		return "no ip, or a kernel without veth or tap";
	return NULL;
}

#define NAMESPACE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
