// SPDX-License-Identifier: Apache-2.0
/* A namespace's interfaces in a plan, in a VM that takes notes, and in what the agent is told. */
#include <errno.h>

#include "pod/network_fixture.h"
#include "pod/nics_watch.h"

static struct strv seen; /* what the driver and the agent were asked, one line each */
static struct vm_capabilities can;
static int plug_result;
static unsigned plugs, plugs_max; /* how often it was tried; how often it can succeed, 0: always */

int __wrap_agent_update_interface(struct agent *a, const Types__Interface *nic, struct err *e);
int __wrap_agent_update_interface(struct agent *a, const Types__Interface *nic, struct err *e)
{
	return strv_addf(&seen, "interface %s", nic->name);
}

int __wrap_agent_update_routes(struct agent *a, Types__Route *const *routes, size_t n, struct err *e);
int __wrap_agent_update_routes(struct agent *a, Types__Route *const *routes, size_t n, struct err *e)
{
	return strv_addf(&seen, "%zu routes", n);
}

int __wrap_agent_add_arp_neighbors(struct agent *a, Types__ARPNeighbor *const *neighbors, size_t n, struct err *e);
int __wrap_agent_add_arp_neighbors(struct agent *a, Types__ARPNeighbor *const *neighbors, size_t n, struct err *e)
{
	return strv_addf(&seen, "%zu neighbours", n);
}

static void capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret)
{
	*ret = can;
}

static int add_device(struct vm *vm, struct vm_device *d, struct err *e)
{
	plugs++;
	if (plug_result < 0 || (plugs_max && plugs > plugs_max))
		return plug_result < 0 ? plug_result : -ENOSPC;
	return strv_addf(&seen, "card %s %s mtu %u queues %zu", d->id, d->u.net.mac, d->u.net.mtu, d->u.net.n_tap_fds);
}

static const struct hypervisor_driver driver = { .name = "fake",
						 .capabilities = capabilities,
						 .add_device = add_device };

static void assert_seen(const char *want)
{
	_cleanup_buf_ struct buf got = { 0 };

	for (size_t i = 0; i < seen.len; i++)
		assert_int_equal(buf_printf(&got, "%s%s", i ? "; " : "", seen.v[i]), 0);
	assert_string_equal(got.data ? got.data : "", want);
	strv_fini(&seen);
}

static struct plan *make_plan(struct pod_network *n)
{
	static struct config config;
	struct plan *p = calloc(1, sizeof *p);

	assert_non_null(p);
	config.hypervisor.network_queues = 4;
	can = (struct vm_capabilities){ .tap_fds = true, .multi_queue_net = true, .net_hotplug = true };
	p->driver = &driver;
	p->vm.vcpus = 2;
	p->config = &config;
	p->share.daemon_pidfd = -1;
	assert_int_equal(nics_plan(p, n, NULL), 0);
	return p;
}

static void add_interface(void)
{
	sh("ip link add h1 type veth peer name net1 address 02:00:00:00:06:02 netns pod && ip link set h1 up &&"
	   " ip -n pod addr add 10.6.0.2/24 dev net1 && ip -n pod link set net1 up &&"
	   " ip -n pod neigh add 10.6.0.9 lladdr 02:00:00:00:00:09 dev net1 nud permanent");
}

static void test_plan(void **state)
{
	struct pod_network *n;
	struct plan *p;

	NEEDS_HOST;
	sh("ip -n pod addr add 192.0.2.7/32 dev lo");
	n = scan(POD_NETWORK_TCFILTER);
	p = make_plan(n);
	assert_string_equal(p->vm.netns, POD);
	assert_int_equal(p->notes.len, 1);
	assert_int_equal(p->n_devices, 1);
	assert_string_equal(p->devices[0]->u.net.tap, "tap0_caisson");
	assert_int_equal(p->devices[0]->u.net.n_tap_fds, 0); /* nothing was done yet */
	assert_int_equal(nics_connect(p, NULL), 0);
	assert_int_equal(p->devices[0]->u.net.n_tap_fds, 2);
	/* Once is enough. */
	assert_int_equal(nics_connect(p, NULL), 0);
	assert_int_equal(p->devices[0]->u.net.n_tap_fds, 2);
	assert_int_equal(nics_tell_agent(p, NULL, NULL), 0);
	assert_seen("interface eth0; 2 routes");
	plan_free(p);
	pod_network_free(n);
}

/* Attached before it was planned, to a hypervisor that wants names. */
static void test_names(void **state)
{
	struct pod_network *n;
	struct plan *p;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	can = (struct vm_capabilities){ 0 };
	assert_int_equal(pod_network_attach(n, &can, 2, NULL), 0);
	p = make_plan(n);
	can = (struct vm_capabilities){ 0 };
	assert_int_equal(nics_connect(p, NULL), 0);
	assert_string_equal(p->devices[0]->u.net.tap, "tap0_caisson");
	assert_int_equal(p->devices[0]->u.net.n_tap_fds, 0);
	plan_free(p);
	pod_network_free(n);
}

static void test_plug(void **state)
{
	struct pod_network *n;
	struct err e = { 0 };
	struct plan *p;
	size_t plugged = 9;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	p = make_plan(n);
	assert_int_equal(nics_connect(p, NULL), 0);
	assert_int_equal(nics_plug(p, NULL, NULL, &plugged, NULL), 0);
	assert_int_equal(plugged, 0);
	assert_seen("");
	add_interface();
	p->vm.fixed_devices = true;
	assert_int_equal(nics_plug(p, NULL, NULL, &plugged, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "net1 came after the VM had started"));
	assert_seen("");
	p->vm.fixed_devices = false;
	plug_result = -EIO;
	assert_int_equal(nics_plug(p, NULL, NULL, &plugged, NULL), -EIO);
	assert_int_equal(plugged, 0);
	plug_result = 0;
	assert_int_equal(nics_plug(p, NULL, NULL, &plugged, NULL), 0);
	assert_int_equal(plugged, 1);
	assert_seen("card net1 02:00:00:00:06:02 mtu 1500 queues 2; interface net1; 2 routes; 1 "
		    "neighbours");
	/* One of two has no slot: the other is told about nevertheless, and nothing of the one. */
	sh("ip link add h2 type veth peer name net2 address 02:00:00:00:06:03 netns pod && ip -n pod link set net2 up "
	   "&&"
	   " ip link add h3 type veth peer name net3 netns pod && ip -n pod link set net3 up &&"
	   " ip -n pod route add 10.7.0.0/16 dev net2 && ip -n pod route add 10.8.0.0/16 dev net3");
	plugs = 0;
	plugs_max = 1;
	assert_int_equal(nics_plug(p, NULL, NULL, &plugged, NULL), -ENOSPC);
	plugs_max = 0;
	assert_int_equal(plugged, 1);
	assert_seen("card net2 02:00:00:00:06:03 mtu 1500 queues 2; interface net2; 3 routes; 1 neighbours");
	/* They go, and another one comes by the name of the first: that one's routes are not told any more. */
	sh("ip link del h2 && ip link del h3 &&"
	   " ip link add h4 type veth peer name net2 address 02:00:00:00:06:05 netns pod && ip -n pod link set net2 "
	   "up");
	assert_int_equal(nics_plug(p, NULL, NULL, &plugged, NULL), 0);
	assert_int_equal(plugged, 1);
	assert_seen("card net3 02:00:00:00:06:05 mtu 1500 queues 2; interface net2; 2 routes; 1 neighbours");
	plan_free(p);
	pod_network_free(n);
}

static void test_watch(void **state)
{
	struct nics_watch *w = NULL;
	struct pod_network *n;
	struct loop *loop;
	struct plan *p;
	uint64_t deadline;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	p = make_plan(n);
	assert_int_equal(nics_connect(p, NULL), 0);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(nics_watch_new(loop, p, NULL, NULL, &w, NULL), 0);
	/* One that goes again before anybody has looked leaves no trace. */
	sh("ip link add h1 type veth peer name gone netns pod && ip -n pod link set gone up && ip link del h1");
	add_interface();
	deadline = clock_ms() + 60000;
	while (seen.len < 4 && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 1000), 0);
	assert_seen("card net1 02:00:00:00:06:02 mtu 1500 queues 2; interface net1; 2 routes; 1 neighbours");
	/* Looked at once, without waiting for quiet. */
	sh("ip link add h2 type veth peer name net2 netns pod && ip -n pod link set net2 up");
	plug_result = -EIO;
	assert_int_equal(nics_watch_look(w, NULL), -EIO);
	plug_result = 0;
	assert_int_equal(nics_watch_look(w, NULL), 0);
	assert_non_null(strstr(seen.v[0], "card net2"));
	strv_fini(&seen);
	/* What a failure does to the namespace is no reason to try again at once: after 0.3, 0.6, 1.2 s … */
	sh("ip link add h3 type veth peer name net3 netns pod && ip -n pod link set net3 up");
	plug_result = -EIO;
	plugs = 0;
	deadline = clock_ms() + 4000;
	while (clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_in_range(plugs, 1, 5);
	plug_result = 0;
	nics_watch_free(w);
	loop_free(loop);
	plan_free(p);
	pod_network_free(n);
}

static void test_none(void **state)
{
	struct plan p = { 0 };

	assert_int_equal(nics_connect(&p, NULL), 0);
	assert_int_equal(nics_tell_agent(&p, NULL, NULL), 0);
	assert_int_equal(nics_plug(&p, NULL, NULL, NULL, NULL), 0);
	assert_seen("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none), NAMESPACE_TEST(test_plan),  NAMESPACE_TEST(test_names),
		NAMESPACE_TEST(test_plug),   NAMESPACE_TEST(test_watch),
	};

	unable = prepare_host();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
