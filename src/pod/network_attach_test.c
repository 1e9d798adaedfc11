// SPDX-License-Identifier: Apache-2.0
/* Taps beside interfaces, with real frames; and everything as it was afterwards. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "pod/network_fixture.h"
#include "sys/rtnl.h"
#include "sys/tc.h"

#define FRAME_MAX 2048
#define VNET_HDR  10 /* what a tap begins with */
#define PATIENCE  10000

static const struct vm_capabilities by_fds = { .tap_fds = true, .multi_queue_net = true };
static const struct vm_capabilities by_name = { 0 };

static char *output_of(const char *command)
{
	FILE *f = popen(command, "r");
	char *text = NULL;

	assert_non_null(f);
	assert_int_equal(fd_read_all(fileno(f), 1 << 20, &text, NULL), 0);
	assert_int_equal(pclose(f), 0);
	return text;
}

/*
 * All that the tools list, but for what changes by itself: carriers and new addresses are looked at some time after
 * they came, and which of several equal IPv6 routes is first depends.
 */
static char *listing(void)
{
	return output_of("{ printf 'link\\naddress\\nneighbour show nud permanent\\n' | ip -n pod -d -batch -;"
			 " { ip -n pod route show table all; ip -n pod -6 route show table all; } | sort;"
			 " printf 'qdisc\\nfilter show dev eth0 ingress\\nfilter show dev net1 ingress\\n' |"
			 " tc -n pod -force -batch - 2>&1; } |"
			 " sed 's/ tentative//; s/NO-CARRIER,//; s/ linkdown//; s/ state [A-Z]*//; /^ff00::.8/d; "
			 "/^local .*:/d'");
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

static void test_both_ways(void **state)
{
	_cleanup_free_ char *before = NULL, *link = NULL;
	static const uint8_t mark_body[60] = "mark";
	uint8_t frame[FRAME_MAX], mark[FRAME_MAX];
	struct pod_network *n;
	struct vm_device *d;
	int wire;
	size_t len, mark_len = make_frame(mark, "02:00:00:00:00:99", 0x88b5, mark_body, sizeof mark_body);

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
	settle(2);
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
	assert_int_equal(n->interfaces[0]->n_ipaddresses, 2);
	assert_int_equal(n->n_routes, 3);
	vm_device_free(d);
	pod_network_free(n);
	assert_listing(before);
	n = scan(POD_NETWORK_MACVTAP);
	assert_int_equal(pod_network_attach(n, &by_name, 1, NULL), -ENOTSUP);
	pod_network_free(n);
	assert_listing(before);
}

static uint64_t hash_of(const void *data, size_t n)
{
	uint64_t h = UINT64_C(0xcbf29ce484222325); /* FNV-1a */

	for (size_t i = 0; i < n; i++)
		h = (h ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
	return h;
}

/* What listing() would show, as a number: a sweep looks so often that programs would take it minutes. */
static uint64_t digest(int fd)
{
	_cleanup_free_ struct rtnl_link *links = NULL;
	_cleanup_free_ struct rtnl_addr *addrs = NULL;
	_cleanup_free_ struct rtnl_route *routes = NULL;
	size_t n_links, n_addrs, n_routes;
	uint64_t sum = 0;

	assert_int_equal(rtnl_links(fd, &links, &n_links), 0);
	assert_int_equal(rtnl_addrs(fd, &addrs, &n_addrs), 0);
	assert_int_equal(rtnl_routes(fd, &routes, &n_routes), 0);
	for (size_t i = 0; i < n_links; i++) {
		enum tc_ingress who;
		int to;

		links[i].flags &= IFF_UP | IFF_ALLMULTI | IFF_PROMISC | IFF_NOARP;
		assert_int_equal(tc_ingress(fd, links[i].index, &who, &to), 0);
		sum += hash_of(&links[i], sizeof links[i]) + (uint64_t)who;
	}
	for (size_t i = 0; i < n_addrs; i++) {
		addrs[i].flags &= ~(uint32_t)IFA_F_TENTATIVE;
		sum += hash_of(&addrs[i], sizeof addrs[i]);
	}
	for (size_t i = 0; i < n_routes; i++) {
		routes[i].flags = 0; /* linkdown */
		sum += hash_of(&routes[i], sizeof routes[i]);
	}
	return sum;
}

static void sweep_attach(enum pod_network_model model)
{
	_cleanup_free_ char *before = listing();
	uint64_t was = 0;
	int r = -1, steps = 0;

	while (r < 0 && steps < 200) {
		struct pod_network *n = scan(model);

		if (steps == 0)
			was = digest(n->rtnl_fd);
		fail_at = ++steps;
		r = pod_network_attach(n, &by_fds, 2, NULL);
		if (r == 0)
			fail_at = 0;
		assert_true(r == 0 || fail_at == 0);
		pod_network_detach(n);
		assert_true(digest(n->rtnl_fd) == was);
		pod_network_free(n);
	}
	assert_int_equal(r, 0);
	assert_true(steps > 10);
	assert_listing(before);
}

static void test_every_step_fails(void **state)
{
	NEEDS_HOST;
	sh("ip link add h1 type veth peer name net1 netns pod && ip link set h1 up && ip -n pod link set net1 up");
	settle(2);
	sweep_attach(POD_NETWORK_TCFILTER);
	sweep_attach(POD_NETWORK_MACVTAP);
}

static void test_rescan(void **state)
{
	_cleanup_free_ char *before = NULL;
	struct pod_network *n;
	struct vm_device *d;
	size_t first = 99;

	NEEDS_HOST;
	sh("ip -n pod -6 route del default && ip -n pod -6 route add default via fd01::1 dev eth0 proto ra &&"
	   " ip -n pod addr change fd01::2/64 dev eth0 valid_lft 1000 preferred_lft 1000");
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
	assert_int_equal(n->interfaces[0]->n_ipaddresses, 2);
	assert_int_equal(n->n_routes, 3);
	/* What a router gave eth0 runs out in the namespace: the guest keeps it. */
	sh("ip -n pod -6 route del default && ip -n pod addr del fd01::2/64 dev eth0 && ip -n pod neigh add 10.6.0.9 "
	   "lladdr 02:00:00:00:00:09 dev net1 nud "
	   "permanent");
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_int_equal(n->interfaces[0]->n_ipaddresses, 2);
	assert_int_equal(n->n_routes, 3);
	assert_int_equal(n->n_neighbours, 1);
	assert_int_equal(pod_network_attach(n, &by_fds, 1, NULL), 0);
	d = device(n, 1);
	assert_connected("h1", d->u.net.tap_fds[0], 100);
	vm_device_free(d);
	/* A failure leaves the first alone. */
	sh("ip link add h2 type veth peer name net2 netns pod && ip -n pod link set net2 up &&"
	   " tc -n pod qdisc add dev net2 ingress");
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_int_equal(first, 2);
	settle(1); /* net1: eth0 has lost its own, and net2 has no carrier */
	before = listing();
	assert_int_equal(pod_network_attach(n, &by_fds, 1, NULL), -EEXIST);
	assert_listing(before);
	d = device(n, 0);
	assert_connected("h0", d->u.net.tap_fds[0], 100);
	vm_device_free(d);
	pod_network_free(n);
	sh("ip link del h2");
}

static void assert_default(const struct pod_network *n, const char *gateway)
{
	size_t found = 0;

	for (size_t i = 0; i < n->n_routes; i++) {
		if (*n->routes[i]->dest || n->routes[i]->family != TYPES__IPFAMILY__v4)
			continue;
		found++;
		assert_string_equal(n->routes[i]->gateway, gateway);
	}
	assert_int_equal(found, 1);
}

/* Of two networks' default routes the one with the lower metric counts, where its interface is there. */
static void test_two_default_routes(void **state)
{
	struct pod_network *n;
	size_t first;

	NEEDS_HOST;
	sh("ip -n pod route del default && ip -n pod route add default via 10.1.1.1 metric 200");
	n = attached(POD_NETWORK_TCFILTER, &by_fds, 1);
	assert_default(n, "10.1.1.1");
	sh("ip link add h1 type veth peer name net1 netns pod && ip link set h1 up && ip -n pod link set net1 up &&"
	   " ip -n pod addr add 10.6.0.2/24 dev net1 && ip -n pod route add default via 10.6.0.1 metric 100");
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_int_equal(first, 1);
	assert_default(n, "10.6.0.1");
	/* The VM does not take it. */
	pod_network_forget_unattached(n);
	assert_default(n, "10.1.1.1");
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_int_equal(pod_network_attach(n, &by_fds, 1, NULL), 0);
	assert_default(n, "10.6.0.1");
	sh("ip -n pod route change default via 10.6.0.1 metric 100 mtu 1300 &&"
	   " ip -n pod route add default via 10.1.1.1 metric 50");
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_default(n, "10.1.1.1");
	sh("ip -n pod route del default metric 50");
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_default(n, "10.6.0.1");
	/* network disconnect */
	sh("ip link del h1");
	assert_int_equal(pod_network_rescan(n, &first, NULL), 0);
	assert_default(n, "10.1.1.1");
	pod_network_free(n);
}

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

int main(void)
{
	const struct CMUnitTest tests[] = {
		NAMESPACE_TEST(test_both_ways),
		NAMESPACE_TEST(test_several),
		NAMESPACE_TEST(test_by_name),
		NAMESPACE_TEST(test_macvtap),
		NAMESPACE_TEST(test_every_step_fails),
		NAMESPACE_TEST(test_rescan),
		NAMESPACE_TEST(test_two_default_routes),
		NAMESPACE_TEST(test_gone),
		NAMESPACE_TEST(test_taken),
	};

	unable = prepare_host();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
