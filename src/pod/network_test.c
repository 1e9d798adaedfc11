// SPDX-License-Identifier: Apache-2.0
/* What is found in a network namespace, and what the agent will be told about it. */
#include <errno.h>

#include "pod/network_fixture.h"

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
	   " ip -n pod route add default dev eth0 scope link metric 500 &&"
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
	assert_note(n, "default (metric 500): there is a better one");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_model),     cmocka_unit_test(test_wrong_places),
		NAMESPACE_TEST(test_scan),        NAMESPACE_TEST(test_addresses),
		NAMESPACE_TEST(test_routes),      NAMESPACE_TEST(test_neighbours),
		NAMESPACE_TEST(test_which_links), NAMESPACE_TEST(test_every_look_fails),
	};

	unable = prepare_host();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
