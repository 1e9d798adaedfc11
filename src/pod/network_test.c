// SPDX-License-Identifier: Apache-2.0
/*
 * A network namespace "pod" with veths to this one, and real frames. Needs root, iproute2 and a kernel with veth, tap
 * and tc; the tests make namespaces of their own.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "pod/network.h"
#include "sys/netlink.h"

#define POD       "/run/netns/pod"
#define GUEST_MAC "02:00:00:00:01:02"
#define FRAME_MAX 2048
#define VNET_HDR  10 /* what a tap begins with */
#define PATIENCE  10000

static const struct vm_capabilities by_fds = { .tap_fds = true, .multi_queue_net = true };
static const struct vm_capabilities by_name = { 0 };
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

static char *output_of(const char *command)
{
	FILE *f = popen(command, "r");
	char *text = NULL;

	assert_non_null(f);
	assert_int_equal(fd_read_all(fileno(f), 1 << 20, &text, NULL), 0);
	assert_int_equal(pclose(f), 0);
	return text;
}

/* All that the namespace's tools list. */
static char *listing(void)
{
	return output_of("{ ip -n pod -d link; ip -n pod addr;"
			 " { ip -n pod route show table all; ip -n pod -6 route show table all; } | sort;"
			 " ip -n pod neigh show nud permanent; tc -n pod qdisc;"
			 " for i in $(ip -n pod -o link | sed 's/^[0-9]*: \\([^:@]*\\).*/\\1/'); do"
			 " tc -n pod filter show dev $i ingress; done; } | grep -v '^ff00::/8'");
}

static void assert_listing(const char *before)
{
	_cleanup_free_ char *now = listing();
	const char *a = before, *b = now;

	/* cmocka cuts long strings: say the lines that differ */
	while (*a || *b) {
		size_t n = strcspn(a, "\n"), k = strcspn(b, "\n");

		if (n != k || strncmp(a, b, n) != 0)
			fail_msg("was \"%.*s\", is \"%.*s\"", (int)n, a, (int)k, b);
		a += n + (a[n] != 0);
		b += k + (b[k] != 0);
	}
}

/* eth0 in the namespace, h0 here. */
static int set_up(void **state)
{
	if (unable)
		return 0;
	sh("ip netns add pod && ip -n pod link set lo up &&"
	   " ip netns exec pod sh -c 'echo 0 >/proc/sys/net/ipv6/conf/default/accept_dad;"
	   " echo 0 >/proc/sys/net/ipv6/conf/default/router_solicitations' &&"
	   " ip link add h0 mtu 1400 type veth peer name eth0 mtu 1400 address " GUEST_MAC " netns pod &&"
	   " ip link set h0 up && ip addr add 10.1.1.1/24 dev h0 && ip addr add fd01::1/64 dev h0 nodad &&"
	   " ip -n pod addr add 10.1.1.2/24 dev eth0 && ip -n pod addr add fd01::2/64 dev eth0 &&"
	   " ip -n pod link set eth0 up && ip -n pod route add default via 10.1.1.1 &&"
	   " ip -n pod route add default via fd01::1");
	return 0;
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

static struct pod_network *attached(enum pod_network_model model, const struct vm_capabilities *can, unsigned queues)
{
	struct pod_network *n = scan(model);
	struct err e = { 0 };

	if (pod_network_attach(n, can, queues, &e) < 0)
		fail_msg("%s", e.text);
	return n;
}

static struct vm_device *device(struct pod_network *n, size_t i)
{
	struct vm_device *d = NULL;

	assert_int_equal(pod_network_device(n, i, &d, NULL), 0);
	return d;
}

#define NEEDS_HOST                                                                                                     \
	do {                                                                                                           \
		if (unable) {                                                                                          \
			print_message("%s\n", unable);                                                                 \
			skip();                                                                                        \
		}                                                                                                      \
	} while (0)

/* ---- frames ---- */

static int open_wire(const char *name)
{
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
				 .sll_protocol = htons(ETH_P_ALL),
				 .sll_ifindex = (int)if_nametoindex(name) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, htons(ETH_P_ALL));

	assert_true(fd >= 0 && a.sll_ifindex > 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

static size_t make_frame(uint8_t *f, const char *dst, uint16_t type, const void *body, size_t n)
{
	unsigned m[6];

	assert_int_equal(sscanf(dst, "%x:%x:%x:%x:%x:%x", &m[0], &m[1], &m[2], &m[3], &m[4], &m[5]), 6);
	for (int i = 0; i < 6; i++) {
		f[i] = (uint8_t)m[i];
		f[6 + i] = (uint8_t)(i ? 0 : 2);
	}
	f[11] = 0x99;
	f[12] = (uint8_t)(type >> 8);
	f[13] = (uint8_t)type;
	memcpy(f + 14, body, n);
	return n + 14;
}

/* 1: this frame came; -1: one before it was bad; 0: nothing more comes. */
static int await(int fd, size_t skip_bytes, const uint8_t *want, size_t n, bool (*bad)(const uint8_t *f, size_t n))
{
	uint8_t got[FRAME_MAX];
	struct pollfd w = { .fd = fd, .events = POLLIN };

	while (poll(&w, 1, PATIENCE) > 0) {
		ssize_t len = read(fd, got, sizeof got);

		if (len < (ssize_t)skip_bytes)
			continue;
		if ((size_t)len == n + skip_bytes && !memcmp(got + skip_bytes, want, n))
			return 1;
		if (bad && bad(got + skip_bytes, (size_t)len - skip_bytes))
			return -1;
	}
	return 0;
}

static void tap_write(int fd, const uint8_t *frame, size_t n)
{
	uint8_t out[FRAME_MAX + VNET_HDR] = { 0 };

	memcpy(out + VNET_HDR, frame, n);
	assert_int_equal(write(fd, out, n + VNET_HDR), (ssize_t)(n + VNET_HDR));
}

/* A frame from the wire to the VM, and one back. */
static void assert_connected(const char *name, int tap, size_t body_len)
{
	uint8_t body[FRAME_MAX] = "payload", frame[FRAME_MAX];
	int wire = open_wire(name);
	size_t n = make_frame(frame, GUEST_MAC, 0x88b5, body, body_len); /* IEEE 802 local experimental */

	assert_int_equal(write(wire, frame, n), (ssize_t)n);
	assert_int_equal(await(tap, VNET_HDR, frame, n, NULL), 1);
	n = make_frame(frame, "02:00:00:00:00:77", 0x88b5, body, body_len);
	frame[20] = 0x55;
	tap_write(tap, frame, n);
	assert_int_equal(await(wire, 0, frame, n, NULL), 1);
	close(wire);
}

static bool is_arp_reply(const uint8_t *f, size_t n)
{
	return n >= 42 && f[12] == 0x08 && f[13] == 0x06 && f[21] == 2;
}

static bool is_advertisement(const uint8_t *f, size_t n)
{
	return n >= 55 && f[12] == 0x86 && f[13] == 0xdd && f[20] == 58 && f[54] == 136;
}

static bool is_answer(const uint8_t *f, size_t n)
{
	return is_arp_reply(f, n) || is_advertisement(f, n);
}

/* Who has 10.1.1.2? Of 02:00:00:00:00:99, 10.1.1.1. */
static size_t arp_request(uint8_t *frame)
{
	static const uint8_t arp[46] = { 0,  1, 8, 0, 6, 4, 0, 1, 2, 0, 0,  0, 0, 0x99,
					 10, 1, 1, 1, 0, 0, 0, 0, 0, 0, 10, 1, 1, 2 };

	return make_frame(frame, "ff:ff:ff:ff:ff:ff", ETHERTYPE_ARP, arp, sizeof arp);
}

/* Neighbour solicitation for fd01::2 from fd01::1 (RFC 4861 §4.3). */
static size_t solicitation(uint8_t *frame)
{
	uint8_t p[72] = { 0x60, [5] = 32, [6] = 58, [7] = 255 };
	static const uint8_t from[16] = { 0xfd, 1, [15] = 1 }, target[16] = { 0xfd, 1, [15] = 2 };
	static const uint8_t to[16] = { 0xff, 2, [11] = 1, [12] = 0xff, [15] = 2 };
	uint32_t sum = 32 + 58;

	memcpy(p + 8, from, 16);
	memcpy(p + 24, to, 16);
	p[40] = 135;
	memcpy(p + 48, target, 16);
	memcpy(p + 64, (uint8_t[]){ 1, 1, 2, 0, 0, 0, 0, 0x99 }, 8);
	for (size_t i = 8; i < sizeof p; i += 2)
		sum += (uint32_t)p[i] << 8 | p[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	p[42] = (uint8_t)(~sum >> 8);
	p[43] = (uint8_t)~sum;
	return make_frame(frame, "33:33:ff:00:00:02", ETHERTYPE_IPV6, p, sizeof p);
}

/* ---- */

static void assert_addresses(const Types__Interface *i, const char *want)
{
	char got[512] = "";

	for (size_t k = 0; k < i->n_ipaddresses; k++)
		snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s/%s", k ? " " : "",
			 i->ipaddresses[k]->address, i->ipaddresses[k]->mask);
	assert_string_equal(got, want);
}

static void assert_route(const struct pod_network *n, size_t i, const char *want)
{
	char got[512];
	const Types__Route *r;

	assert_true(i < n->n_routes);
	r = n->routes[i];
	snprintf(got, sizeof got, "%s v%d by %s dev %s src %s scope %u flags %u mtu %u", *r->dest ? r->dest : "default",
		 r->family == TYPES__IPFAMILY__v6 ? 6 : 4, *r->gateway ? r->gateway : "-", r->device,
		 *r->source ? r->source : "-", r->scope, r->flags, r->mtu);
	assert_string_equal(got, want);
}

static void assert_note(const struct pod_network *n, const char *text)
{
	for (size_t i = 0; i < n->notes.len; i++)
		if (strstr(n->notes.v[i], text))
			return;
	for (size_t i = 0; i < n->notes.len; i++)
		print_message("note: %s\n", n->notes.v[i]);
	fail_msg("no note: %s", text);
}

static void test_scan(void **state)
{
	struct pod_network *n;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	assert_int_equal(n->n_endpoints, 1);
	assert_int_equal(n->n_interfaces, 1);
	assert_string_equal(n->interfaces[0]->name, "eth0");
	assert_string_equal(n->interfaces[0]->hwaddr, GUEST_MAC);
	assert_int_equal(n->interfaces[0]->mtu, 1400);
	assert_addresses(n->interfaces[0], "10.1.1.2/24 fd01::2/64");
	assert_int_equal(n->n_routes, 2);
	assert_route(n, 0, "default v4 by 10.1.1.1 dev eth0 src - scope 0 flags 0 mtu 0");
	assert_route(n, 1, "default v6 by fd01::1 dev eth0 src - scope 0 flags 0 mtu 0");
	assert_int_equal(n->n_neighbours, 0);
	assert_int_equal(n->notes.len, 0);
	assert_string_equal(pod_network_tap(n, 0), "tap0_caisson");
	pod_network_free(n);
	n = scan(POD_NETWORK_NONE);
	assert_int_equal(n->n_endpoints + n->n_interfaces + n->n_routes + n->notes.len, 0);
	pod_network_free(n);
}

static void test_addresses(void **state)
{
	struct pod_network *n;

	NEEDS_HOST;
	sh("ip -n pod addr add 10.2.2.2 peer 10.2.2.9/32 dev eth0 && ip -n pod addr add fe80::42/64 dev eth0 nodad &&"
	   " ip -n pod addr add 10.1.1.3/24 dev eth0 && ip -n pod addr add 192.0.2.7/32 dev lo");
	n = scan(POD_NETWORK_TCFILTER);
	/* the link-local address that the kernel made is not among them, the one that was set is */
	assert_addresses(n->interfaces[0], "10.1.1.2/24 10.2.2.2/32 10.1.1.3/24 fd01::2/64 fe80::42/64");
	assert_route(n, 0, "10.2.2.9/32 v4 by - dev eth0 src 10.2.2.2 scope 253 flags 0 mtu 0");
	assert_note(n, "the addresses of lo stay on the host");
	pod_network_free(n);
}

static void test_routes(void **state)
{
	struct pod_network *n;

	NEEDS_HOST;
	sh("ip -n pod route del default && ip -n pod -6 route del default &&"
	   " ip -n pod route add default via 169.254.1.1 dev eth0 onlink &&"
	   " ip -n pod route add 10.9.0.0/16 via 10.1.1.8 metric 200 &&"
	   " ip -n pod route add 10.9.0.0/16 via 10.1.1.7 metric 100 mtu 1300 src 10.1.1.2 &&"
	   " ip -n pod route add 192.0.2.0/24 dev eth0 scope link &&"
	   " ip -n pod route add blackhole 198.51.100.0/24 && ip -n pod route add 203.0.113.0/24 dev lo &&"
	   " ip -n pod route add 10.8.0.0/16 nexthop via 10.1.1.7 nexthop via 10.1.1.8 &&"
	   " ip -n pod addr add 192.0.2.7/32 dev lo && ip -n pod route add 10.7.0.0/16 via 10.1.1.7 src 192.0.2.7 &&"
	   " ip -n pod route add 10.6.0.0/16 via 10.1.1.7 table 100 &&"
	   " ip -n pod -6 route add default dev eth0 && ip -n pod -6 route add fd02::/64 via fe80::1 dev eth0");
	n = scan(POD_NETWORK_TCFILTER);
	assert_route(n, 0, "192.0.2.0/24 v4 by - dev eth0 src - scope 253 flags 0 mtu 0");
	assert_route(n, 1, "default v6 by - dev eth0 src - scope 0 flags 0 mtu 0");
	assert_route(n, 2, "default v4 by 169.254.1.1 dev eth0 src - scope 0 flags 4 mtu 0");
	assert_route(n, 3, "10.7.0.0/16 v4 by 10.1.1.7 dev eth0 src - scope 0 flags 0 mtu 0");
	assert_route(n, 4, "10.9.0.0/16 v4 by 10.1.1.7 dev eth0 src 10.1.1.2 scope 0 flags 0 mtu 1300");
	assert_route(n, 5, "fd02::/64 v6 by fe80::1 dev eth0 src - scope 0 flags 0 mtu 0");
	assert_int_equal(n->n_routes, 6);
	assert_note(n, "10.9.0.0/16 by 10.1.1.8 (metric 200): there is a better one");
	assert_note(n, "198.51.100.0/24: only routes that lead somewhere");
	assert_note(n, "203.0.113.0/24: its interface is not given to the VM");
	assert_note(n, "10.8.0.0/16: it has several next hops");
	assert_note(n, "10.7.0.0/16 by 10.1.1.7 is without its source address");
	pod_network_free(n);
}

static void test_neighbours(void **state)
{
	struct pod_network *n;

	NEEDS_HOST;
	sh("ip -n pod neigh add 10.1.1.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent &&"
	   " ip -n pod neigh add 10.1.1.5 lladdr 02:00:00:00:00:05 dev eth0 nud reachable &&"
	   " ip -n pod neigh add fd01::1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent");
	n = scan(POD_NETWORK_TCFILTER);
	assert_int_equal(n->n_neighbours, 2);
	for (size_t i = 0; i < 2; i++) {
		bool v6 = n->neighbours[i]->toipaddress->family == TYPES__IPFAMILY__v6;

		assert_string_equal(n->neighbours[i]->toipaddress->address, v6 ? "fd01::1" : "10.1.1.1");
		assert_string_equal(n->neighbours[i]->lladdr, "02:00:00:00:00:01");
		assert_string_equal(n->neighbours[i]->device, "eth0");
		assert_int_equal(n->neighbours[i]->state, 0x80);
	}
	pod_network_free(n);
}

static void test_which_links(void **state)
{
	struct pod_network *n;

	NEEDS_HOST;
	sh("ip -n pod link add br0 type bridge && ip -n pod addr add 10.3.0.1/24 dev br0 && ip -n pod link set br0 up "
	   "&&"
	   " ip link add h1 type veth peer name port0 netns pod && ip -n pod link set port0 master br0 up &&"
	   " ip -n pod tuntap add tapu mode tap && ip -n pod addr add 10.4.0.1/24 dev tapu &&"
	   " ip -n pod link set tapu up && ip -n pod tuntap add tunu mode tun && ip -n pod addr add 10.5.0.1/24 dev "
	   "tunu &&"
	   " ip -n pod link add mv0 link eth0 type macvlan && ip -n pod addr add 10.1.1.4/24 dev mv0 &&"
	   " ip -n pod link add down0 type ifb && ip -n pod link set mv0 up");
	n = scan(POD_NETWORK_MACVTAP);
	assert_int_equal(n->n_endpoints, 2);
	assert_string_equal(n->interfaces[0]->name, "eth0");
	assert_string_equal(n->interfaces[1]->name, "br0");
	assert_note(n, "no interface tapu: it is a tap that nobody uses");
	assert_note(n, "no interface tunu: it is not an Ethernet interface");
	assert_note(n, "no interface mv0: it is part of an interface that is given to the VM itself");
	assert_note(n, "br0 (bridge) is connected by tcfilter");
	pod_network_free(n);
	/* With no address of its own, eth0 is there for mv0. */
	sh("ip -n pod addr flush dev eth0 && ip -n pod link del br0 && ip link del h1");
	n = scan(POD_NETWORK_TCFILTER);
	assert_int_equal(n->n_endpoints, 1);
	assert_string_equal(n->interfaces[0]->name, "mv0");
	pod_network_free(n);
}

static void test_both_ways(void **state)
{
	_cleanup_free_ char *before = NULL, *link = NULL;
	uint8_t frame[FRAME_MAX], mark[FRAME_MAX];
	struct pod_network *n;
	struct vm_device *d;
	int wire;
	size_t len, mark_len = make_frame(mark, "02:00:00:00:00:99", 0x88b5, "mark", 60);

	NEEDS_HOST;
	before = listing();
	wire = open_wire("h0");
	/* The namespace answers ... */
	len = arp_request(frame);
	assert_int_equal(write(wire, frame, len), (ssize_t)len);
	assert_int_equal(await(wire, 0, mark, mark_len, is_arp_reply), -1);
	len = solicitation(frame);
	assert_int_equal(write(wire, frame, len), (ssize_t)len);
	assert_int_equal(await(wire, 0, mark, mark_len, is_advertisement), -1);
	n = attached(POD_NETWORK_TCFILTER, &by_fds, 1);
	d = device(n, 0);
	assert_int_equal(d->u.net.n_tap_fds, 1);
	assert_int_equal(d->u.net.mtu, 1400);
	assert_string_equal(d->u.net.mac, GUEST_MAC);
	/* ... until the VM does. */
	len = arp_request(frame);
	assert_int_equal(write(wire, frame, len), (ssize_t)len);
	assert_int_equal(await(d->u.net.tap_fds[0], VNET_HDR, frame, len, NULL), 1);
	len = solicitation(frame);
	assert_int_equal(write(wire, frame, len), (ssize_t)len);
	assert_int_equal(await(d->u.net.tap_fds[0], VNET_HDR, frame, len, NULL), 1);
	tap_write(d->u.net.tap_fds[0], mark, mark_len);
	assert_int_equal(await(wire, 0, mark, mark_len, is_answer), 1);
	link = output_of("ip -n pod -o link show tap0_caisson");
	assert_non_null(strstr(link, "mtu 1400"));
	/* as large as the MTU lets it be */
	assert_connected("h0", d->u.net.tap_fds[0], 1400);
	close(wire);
	vm_device_free(d);
	pod_network_free(n);
	assert_listing(before);
}

static void test_several(void **state)
{
	_cleanup_free_ char *before = NULL;
	struct vm_device *d0, *d1;
	struct pod_network *n;

	NEEDS_HOST;
	sh("ip link add h1 type veth peer name net1 netns pod && ip link set h1 up && ip -n pod link set net1 up");
	before = listing();
	n = attached(POD_NETWORK_TCFILTER, &by_fds, 2);
	assert_int_equal(n->n_endpoints, 2);
	d0 = device(n, 0);
	d1 = device(n, 1);
	assert_int_equal(d1->u.net.n_tap_fds, 2);
	assert_string_equal(d1->u.net.tap, "tap1_caisson");
	assert_string_equal(pod_network_link(n, 1), "net1");
	/* Which of its queues a frame comes by is the kernel's choice: the second's are detached. */
	close(d0->u.net.tap_fds[1]);
	close(d1->u.net.tap_fds[1]);
	d0->u.net.n_tap_fds = d1->u.net.n_tap_fds = 1;
	assert_connected("h0", d0->u.net.tap_fds[0], 100);
	assert_connected("h1", d1->u.net.tap_fds[0], 1500);
	vm_device_free(d0);
	vm_device_free(d1);
	pod_network_free(n);
	assert_listing(before);
}

static void test_by_name(void **state)
{
	_cleanup_free_ char *before = NULL, *link = NULL;
	struct pod_network *n;
	struct vm_device *d;

	NEEDS_HOST;
	before = listing();
	n = attached(POD_NETWORK_TCFILTER, &by_name, 4);
	d = device(n, 0);
	assert_int_equal(d->u.net.n_tap_fds, 0);
	assert_string_equal(d->u.net.tap, "tap0_caisson");
	link = output_of("ip -n pod -d -o link show tap0_caisson");
	assert_non_null(strstr(link, "persist on"));
	assert_null(strstr(link, "multi_queue"));
	vm_device_free(d);
	pod_network_free(n);
	assert_listing(before);
}

static void test_macvtap(void **state)
{
	_cleanup_free_ char *before = NULL;
	struct pod_network *n;
	struct vm_device *d;
	struct err e = { 0 };
	int r;

	NEEDS_HOST;
	sh("ip -n pod route add 169.254.1.1 dev eth0 scope link && ip -n pod route replace default via 169.254.1.1");
	before = listing();
	n = scan(POD_NETWORK_MACVTAP);
	r = pod_network_attach(n, &by_fds, 2, &e);
	if (r == -EOPNOTSUPP) { /* no such driver */
		pod_network_free(n);
		skip();
	}
	if (r < 0)
		fail_msg("%s", e.text);
	d = device(n, 0);
	assert_int_equal(d->u.net.n_tap_fds, 2);
	close(d->u.net.tap_fds[1]);
	d->u.net.n_tap_fds = 1;
	assert_connected("h0", d->u.net.tap_fds[0], 1400);
	/* What the guest is told stays, though the interface has lost it. */
	assert_int_equal(pod_network_rescan(n, &(size_t){ 0 }, &e), 0);
	assert_addresses(n->interfaces[0], "10.1.1.2/24 fd01::2/64");
	assert_int_equal(n->n_routes, 3);
	vm_device_free(d);
	pod_network_free(n);
	assert_listing(before);
	n = scan(POD_NETWORK_MACVTAP);
	assert_int_equal(pod_network_attach(n, &by_name, 1, NULL), -ENOTSUP);
	pod_network_free(n);
	assert_listing(before);
}

static void sweep_attach(enum pod_network_model model)
{
	_cleanup_free_ char *before = listing();
	int r = -1, steps = 0;

	while (r < 0 && steps < 200) {
		struct pod_network *n = scan(model);

		fail_at = ++steps;
		r = pod_network_attach(n, &by_fds, 2, NULL);
		if (r == 0)
			fail_at = 0;
		assert_true(r == 0 || fail_at == 0);
		pod_network_free(n);
		assert_listing(before);
	}
	assert_int_equal(r, 0);
	assert_true(steps > 10);
}

static void test_every_step_fails(void **state)
{
	NEEDS_HOST;
	sh("ip link add h1 type veth peer name net1 netns pod && ip link set h1 up && ip -n pod link set net1 up");
	sweep_attach(POD_NETWORK_TCFILTER);
	sweep_attach(POD_NETWORK_MACVTAP);
}

static void test_every_look_fails(void **state)
{
	struct pod_network *n = NULL;
	int steps = 0;

	NEEDS_HOST;
	sh("ip -n pod neigh add 10.1.1.1 lladdr 02:00:00:00:00:01 dev eth0 nud permanent &&"
	   " ip -n pod route add blackhole 198.51.100.0/24");
	do {
		fail_at = ++steps;
		pod_network_scan(POD, POD_NETWORK_TCFILTER, &n, NULL);
	} while (!n && steps < 500);
	fail_at = 0;
	assert_non_null(n);
	assert_true(steps > 30);
	pod_network_free(n);
}

static void test_rescan(void **state)
{
	_cleanup_free_ char *before = NULL;
	struct pod_network *n;
	struct vm_device *d;
	size_t first = 99;

	NEEDS_HOST;
	n = attached(POD_NETWORK_TCFILTER, &by_fds, 1);
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_int_equal(first, 1);
	assert_int_equal(n->n_endpoints, 1);
	sh("ip link add h1 type veth peer name net1 netns pod && ip link set h1 up && ip -n pod link set net1 up &&"
	   " ip -n pod addr add 10.6.0.2/24 dev net1 && ip -n pod route add 10.7.0.0/16 via 10.6.0.1");
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_int_equal(first, 1);
	assert_int_equal(n->n_endpoints, 2);
	assert_int_equal(n->n_interfaces, 2);
	assert_string_equal(n->interfaces[1]->name, "net1");
	assert_addresses(n->interfaces[0], "10.1.1.2/24 fd01::2/64");
	assert_int_equal(n->n_routes, 3);
	assert_int_equal(pod_network_attach(n, &by_fds, 1, NULL), 0);
	d = device(n, 1);
	assert_connected("h1", d->u.net.tap_fds[0], 100);
	vm_device_free(d);
	/* A failure leaves the first alone. */
	sh("ip link add h2 type veth peer name net2 netns pod && ip -n pod link set net2 up &&"
	   " tc -n pod qdisc add dev net2 ingress");
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_int_equal(first, 2);
	before = listing();
	assert_int_equal(pod_network_attach(n, &by_fds, 1, NULL), -EEXIST);
	assert_listing(before);
	d = device(n, 0);
	assert_connected("h0", d->u.net.tap_fds[0], 100);
	vm_device_free(d);
	pod_network_free(n);
	sh("ip link del h2");
}

/* The interface and the namespace's name go away under a running VM. */
static void test_gone(void **state)
{
	struct pod_network *n;
	struct vm_device *d;

	NEEDS_HOST;
	n = attached(POD_NETWORK_TCFILTER, &by_fds, 1);
	d = device(n, 0);
	sh("ip link del h0 && ip netns del pod");
	pod_network_detach(n);
	vm_device_free(d);
	pod_network_free(n);
}

static void test_taken(void **state)
{
	_cleanup_free_ char *before = NULL;
	struct pod_network *n, *other;
	struct err e = { 0 };
	int status = -1;
	pid_t pid;

	NEEDS_HOST;
	before = listing();
	n = attached(POD_NETWORK_TCFILTER, &by_fds, 1);
	other = scan(POD_NETWORK_TCFILTER);
	assert_int_equal(other->n_endpoints, 1);
	assert_int_equal(pod_network_attach(other, &by_fds, 1, &e), -EBUSY);
	assert_non_null(strstr(e.text, "eth0 is given to another VM already"));
	pod_network_free(n);
	assert_listing(before);
	/* Of one that was killed nothing stands in the way. */
	pid = fork();
	if (pid == 0) {
		n = NULL;
		_exit(pod_network_scan(POD, POD_NETWORK_TCFILTER, &n, NULL) < 0 ||
		      pod_network_attach(n, &by_name, 1, NULL) < 0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	pod_network_free(other);
	other = attached(POD_NETWORK_TCFILTER, &by_fds, 1);
	pod_network_free(other);
	assert_listing(before);
	pid = fork();
	if (pid == 0)
		_exit(pod_network_scan(POD, POD_NETWORK_TCFILTER, &n, NULL) < 0 ||
		      pod_network_attach(n, &by_fds, 1, NULL) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	other = attached(POD_NETWORK_TCFILTER, &by_fds, 1);
	pod_network_free(other);
	assert_listing(before);
}

static void test_wrong_places(void **state)
{
	struct pod_network *n = NULL;
	struct err e = { 0 };

	assert_int_equal(pod_network_scan("/nonexistent", POD_NETWORK_TCFILTER, &n, &e), -ENOENT);
	assert_int_equal(pod_network_scan("/dev/null", POD_NETWORK_TCFILTER, &n, NULL), -EINVAL);
	assert_int_equal(pod_network_scan("/proc/self/ns/mnt", POD_NETWORK_TCFILTER, &n, NULL), -EINVAL);
	assert_int_equal(pod_network_scan("/proc/self/ns/net", POD_NETWORK_TCFILTER, &n, NULL), -EINVAL);
	assert_null(n);
}

static void test_model(void **state)
{
	struct config_runtime c = { 0 };
	enum pod_network_model m = POD_NETWORK_NONE;

	assert_int_equal(pod_network_model(&c, &m, NULL), 0);
	assert_int_equal(m, POD_NETWORK_TCFILTER);
	c.internetworking_model = (char *)"macvtap";
	assert_int_equal(pod_network_model(&c, &m, NULL), 0);
	assert_int_equal(m, POD_NETWORK_MACVTAP);
	c.disable_new_netns = true;
	assert_int_equal(pod_network_model(&c, &m, NULL), -EINVAL);
	c.internetworking_model = (char *)"none";
	assert_int_equal(pod_network_model(&c, &m, NULL), 0);
	assert_int_equal(m, POD_NETWORK_NONE);
	c.internetworking_model = (char *)"l3forwarding";
	assert_int_equal(pod_network_model(&c, &m, NULL), -EINVAL);
}

/* Namespaces of our own, in which `ip netns` works. */
static const char *prepare(void)
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

int main(void)
{
#define NAMESPACE_TEST(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),
		cmocka_unit_test(test_wrong_places),
		NAMESPACE_TEST(test_scan),
		NAMESPACE_TEST(test_addresses),
		NAMESPACE_TEST(test_routes),
		NAMESPACE_TEST(test_neighbours),
		NAMESPACE_TEST(test_which_links),
		NAMESPACE_TEST(test_both_ways),
		NAMESPACE_TEST(test_several),
		NAMESPACE_TEST(test_by_name),
		NAMESPACE_TEST(test_macvtap),
		NAMESPACE_TEST(test_every_step_fails),
		NAMESPACE_TEST(test_every_look_fails),
		NAMESPACE_TEST(test_rescan),
		NAMESPACE_TEST(test_gone),
		NAMESPACE_TEST(test_taken),
	};

	unable = prepare();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
