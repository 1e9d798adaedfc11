// SPDX-License-Identifier: Apache-2.0
/* A namespace's interfaces in a plan, in a VM that takes notes, and in what the agent is told. */
#include <errno.h>
#include <sys/eventfd.h>

#include "pod/network_fixture.h"
#include "pod/nics_watch.h"

static struct strv seen; /* what the driver and the agent were asked, one line each */
static struct vm_capabilities can;
static int plug_result;
static unsigned plugs, plugs_max; /* how often it was tried; how often it can succeed, 0: always */
static int unplug_result, told_result;
static struct vm machine = { .exit_fd = -1 };
static struct nics_changes changes;

int __wrap_agent_update_interface(struct agent *a, const Types__Interface *nic, struct err *e);
int __wrap_agent_update_interface(struct agent *a, const Types__Interface *nic, struct err *e)
{
	return told_result < 0 ? told_result
			       : strv_addf(&seen, "interface %s%s", nic->name, nic->n_ipaddresses ? "" : " bare");
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

/* The same from the loop, each after the answer to the last; none while the guest is silent. */
static struct loop *loop;
static bool silent;
static struct {
	agent_done_fn fn; /* NULL: nothing is asked */
	void *userdata;
	int result;
	struct loop_source *timer;
} asked;

static void on_answer(struct loop_source *s, void *userdata)
{
	agent_done_fn fn = asked.fn;
	struct err e = { 0 };

	loop_source_free(s);
	asked.fn = NULL;
	if (asked.result < 0)
		err_sys(&e, -asked.result, "guest");
	fn(asked.result, &e, asked.userdata);
}

static void answer(void)
{
	assert_int_equal(loop_add_timer(loop, 0, on_answer, NULL, &asked.timer), 0);
}

static int later(int result, agent_done_fn fn, void *userdata)
{
	assert_null(asked.fn);
	asked.fn = fn;
	asked.userdata = userdata;
	asked.result = result;
	if (!silent)
		answer();
	return 0;
}

int __wrap_agent_update_interface_async(struct agent *a, const Types__Interface *nic, agent_done_fn fn, void *userdata,
					struct agent_call **ret, struct err *e);
int __wrap_agent_update_interface_async(struct agent *a, const Types__Interface *nic, agent_done_fn fn, void *userdata,
					struct agent_call **ret, struct err *e)
{
	return later(__wrap_agent_update_interface(a, nic, e), fn, userdata);
}

int __wrap_agent_update_routes_async(struct agent *a, Types__Route *const *routes, size_t n, agent_done_fn fn,
				     void *userdata, struct agent_call **ret, struct err *e);
int __wrap_agent_update_routes_async(struct agent *a, Types__Route *const *routes, size_t n, agent_done_fn fn,
				     void *userdata, struct agent_call **ret, struct err *e)
{
	return later(__wrap_agent_update_routes(a, routes, n, e), fn, userdata);
}

int __wrap_agent_add_arp_neighbors_async(struct agent *a, Types__ARPNeighbor *const *neighbors, size_t n,
					 agent_done_fn fn, void *userdata, struct agent_call **ret, struct err *e);
int __wrap_agent_add_arp_neighbors_async(struct agent *a, Types__ARPNeighbor *const *neighbors, size_t n,
					 agent_done_fn fn, void *userdata, struct agent_call **ret, struct err *e)
{
	return later(__wrap_agent_add_arp_neighbors(a, neighbors, n, e), fn, userdata);
}

static void capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret)
{
	*ret = can;
}

/* A queue of each card, as a VMM has it: without one there is no tap. */
static int held[16];

static void let_all_go(void)
{
	for (size_t i = 0; i < sizeof held / sizeof *held; i++) {
		if (held[i] > 0)
			close(held[i]);
		held[i] = 0;
	}
}

static int *held_by(const char *id)
{
	int i = atoi(id + strlen("net"));

	assert_in_range(i, 0, sizeof held / sizeof *held - 1);
	return &held[i];
}

static int add_device(struct vm *vm, struct vm_device *d, struct err *e)
{
	plugs++;
	if (plug_result < 0 || (plugs_max && plugs > plugs_max))
		return plug_result < 0 ? plug_result : -ENOSPC;
	*held_by(d->id) = dup(d->u.net.tap_fds[0]);
	return strv_addf(&seen, "card %s %s mtu %u queues %zu", d->id, d->u.net.mac, d->u.net.mtu, d->u.net.n_tap_fds);
}

static int remove_device(struct vm *vm, const char *id, struct err *e)
{
	assert_in_range(vm->unplug_ms, 1, 2000);
	strv_addf(&seen, "unplug %s", id);
	if (unplug_result == 0) {
		if (*held_by(id) > 0)
			close(*held_by(id));
		*held_by(id) = 0;
	}
	return unplug_result;
}

static const struct hypervisor_driver driver = {
	.name = "fake", .capabilities = capabilities, .add_device = add_device, .remove_device = remove_device
};

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

/* A plan whose VM runs, and whose guest knows what there is. */
static struct plan *running(struct pod_network *n)
{
	struct plan *p = make_plan(n);

	assert_int_equal(nics_connect(p, NULL), 0);
	assert_int_equal(nics_tell_agent(p, NULL, NULL), 0);
	strv_fini(&seen);
	unplug_result = told_result = plug_result = 0;
	return p;
}

static int follow(struct plan *p)
{
	int r = nics_follow(p, &machine, &changes, NULL), told = nics_tell_agent(p, NULL, NULL);

	return r < 0 ? r : told;
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

static void assert_taps(unsigned taps, const char *tied)
{
	sh("[ $(ip -n pod -o link show | grep -c _caisson) = %u ]", taps);
	sh("[ \"$(for i in eth0 net1; do tc -n pod filter show dev $i ingress 2>/dev/null | grep -q 'to device tap' &&"
	   " printf '%%s ' $i; done)\" = '%s' ]",
	   tied);
}

static void test_plug(void **state)
{
	struct pod_network *n;
	struct err e = { 0 };
	struct plan *p;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	p = running(n);
	assert_int_equal(follow(p), 0);
	assert_int_equal(changes.plugged, 0);
	assert_seen("");
	add_interface();
	p->vm.fixed_devices = true;
	assert_int_equal(nics_follow(p, &machine, &changes, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "net1 came after the VM had started"));
	assert_seen("");
	p->vm.fixed_devices = false;
	plug_result = -EIO;
	assert_int_equal(follow(p), -EIO);
	assert_int_equal(changes.plugged, 0);
	assert_seen("");
	/* It may have come after all, and is not left there without its tap. */
	plug_result = -ETIMEDOUT;
	assert_int_equal(follow(p), -ETIMEDOUT);
	assert_seen("unplug net1");
	assert_taps(1, "eth0 ");
	plug_result = 0;
	assert_int_equal(follow(p), 0);
	assert_int_equal(changes.plugged, 1);
	assert_seen("card net1 02:00:00:00:06:02 mtu 1500 queues 2; interface net1; 2 routes; 1 "
		    "neighbours");
	/* One of two has no slot: the other is told about nevertheless, and nothing of the one. */
	sh("ip link add h2 type veth peer name net2 address 02:00:00:00:06:03 netns pod && ip -n pod link set net2 up "
	   "&&"
	   " ip link add h3 type veth peer name net3 netns pod && ip -n pod link set net3 up &&"
	   " ip -n pod route add 10.7.0.0/16 dev net2 && ip -n pod route add 10.8.0.0/16 dev net3");
	plugs = 0;
	plugs_max = 1;
	assert_int_equal(follow(p), -ENOSPC);
	plugs_max = 0;
	assert_int_equal(changes.plugged, 1);
	assert_seen("card net2 02:00:00:00:06:03 mtu 1500 queues 2; interface net2 bare; 3 routes; 1 neighbours");
	/* They go, and another one comes by the name of the first: that one's routes are not told any more. */
	sh("ip link del h2 && ip link del h3 &&"
	   " ip link add h4 type veth peer name net2 address 02:00:00:00:06:05 netns pod && ip -n pod link set net2 "
	   "up");
	assert_int_equal(follow(p), 0);
	assert_int_equal(changes.plugged, 1);
	assert_int_equal(changes.unplugged, 1);
	assert_seen("unplug net2; card net2 02:00:00:00:06:05 mtu 1500 queues 2; interface net2 bare; 2 routes; 1 "
		    "neighbours");
	plan_free(p);
	pod_network_free(n);
	let_all_go();
}

/* Taken away, unplugged, and back: with the same MAC as with another one. */
static void test_unplug(void **state)
{
	struct pod_network *n;
	struct plan *p;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	p = running(n);
	add_interface();
	assert_int_equal(follow(p), 0);
	strv_fini(&seen);
	for (int i = 0; i < 2; i++) {
		sh("ip link del h1");
		assert_int_equal(follow(p), 0);
		assert_int_equal(changes.unplugged, 1);
		assert_seen("unplug net1");
		assert_int_equal(n->n_endpoints, 1);
		assert_taps(1, "eth0 ");
		add_interface();
		assert_int_equal(follow(p), 0);
		assert_seen("card net1 02:00:00:00:06:02 mtu 1500 queues 2; interface net1; 2 routes; 1 neighbours");
		assert_taps(2, "eth0 net1 ");
	}
	plan_free(p);
	pod_network_free(n);
	let_all_go();
	assert_taps(0, "");
}

/* A guest that does not let go is not waited for, and loses nothing that it has. */
static void test_unplug_refused(void **state)
{
	struct pod_network *n;
	struct plan *p;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	p = running(n);
	add_interface();
	sh("ip -n pod route add 10.7.0.0/16 via 10.6.0.1");
	assert_int_equal(follow(p), 0);
	strv_fini(&seen);
	unplug_result = -EBUSY;
	sh("ip link del h1");
	assert_int_equal(follow(p), 0);
	assert_seen("unplug net1; 2 routes");
	assert_in_range(changes.again_ms, 1, 1000);
	assert_taps(2, "eth0 ");
	/* It is left alone for a while, whatever else changes. */
	assert_int_equal(follow(p), 0);
	assert_in_range(changes.again_ms, 1, 1000);
	assert_seen("");
	/* The interface is back: the card, which may go any moment, is not used again, but waited for. */
	add_interface();
	assert_int_equal(follow(p), 0);
	assert_seen("");
	pod_network_nic(n, 1)->retry_ms = 0;
	unplug_result = 0;
	assert_int_equal(follow(p), 0);
	assert_int_equal(changes.unplugged, 1);
	assert_seen("unplug net1; card net1 02:00:00:00:06:02 mtu 1500 queues 2; interface net1; 2 routes; 1 "
		    "neighbours");
	assert_taps(2, "eth0 net1 ");
	/* A guest that never lets go is asked ever less often, then not any more. */
	unplug_result = -EBUSY;
	sh("ip link del h1");
	for (unsigned i = 0; i < 6; i++) {
		pod_network_nic(n, 1)->retry_ms = 0;
		assert_int_equal(follow(p), 0);
		assert_in_range(changes.again_ms, i == 5 ? 0 : 1000 << i, i == 5 ? 0 : 1000 << i);
	}
	assert_seen("unplug net1; unplug net1; unplug net1; unplug net1; unplug net1; unplug net1; "
		    "interface gone-net1 bare; 2 routes");
	assert_int_equal(follow(p), 0);
	assert_seen("");
	/* Its card stays, and serves the interface when that is back; with an MTU that fits the card. */
	sh("ip link add h1 mtu 9000 type veth peer name net1 mtu 9000 address 02:00:00:00:06:02 netns pod &&"
	   " ip -n pod addr add 10.6.0.3/24 dev net1 && ip -n pod link set net1 up");
	assert_int_equal(follow(p), 0);
	assert_int_equal(changes.returned, 1);
	assert_int_equal(changes.again_ms, 0);
	assert_seen("interface net1; 2 routes");
	assert_int_equal(n->interfaces[1]->mtu, 1500);
	assert_taps(2, "eth0 net1 ");
	sh("ip link del h1");
	pod_network_nic(n, 1)->refusals = 6;
	assert_int_equal(follow(p), 0);
	assert_seen("interface gone-net1 bare; 2 routes");
	/* In its place another one, whose card is a new one. */
	sh("ip link add h1 type veth peer name net1 address 02:00:00:00:06:08 netns pod && ip -n pod link set net1 up");
	assert_int_equal(follow(p), 0);
	assert_seen("card net2 02:00:00:00:06:08 mtu 1500 queues 2; interface net1 bare; 2 routes");
	assert_taps(3, "eth0 net1 ");
	plan_free(p);
	pod_network_free(n);
	let_all_go();
	assert_taps(0, "");
}

/* The card that was there at the start stays, with no addresses, until its interface is back. */
static void test_unplug_impossible(void **state)
{
	struct pod_network *n;
	struct plan *p;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	p = running(n);
	for (int i = 0; i < 2; i++) {
		unplug_result = -ENODEV;
		p->vm.fixed_devices = i;
		sh("ip link del h0");
		assert_int_equal(follow(p), 0);
		assert_int_equal(changes.again_ms, 0);
		assert_seen(i ? "interface gone-net0 bare; 0 routes"
			      : "unplug net0; interface gone-net0 bare; 0 routes");
		assert_taps(1, "");
		assert_int_equal(set_up_interface(), 0);
		assert_int_equal(follow(p), 0);
		assert_int_equal(changes.returned, 1);
		assert_seen("interface eth0; 2 routes");
		assert_taps(1, "eth0 ");
	}
	/* Elsewhere and back it is the same interface, but nothing is tied to it any more. */
	sh("ip netns add other && ip -n pod link set eth0 netns other && ip -n other link set eth0 netns pod &&"
	   " ip netns del other && ip -n pod addr add 10.1.1.4/24 dev eth0 && ip -n pod link set eth0 up");
	assert_int_equal(follow(p), 0);
	assert_int_equal(changes.returned, 1);
	assert_seen("interface eth0; 0 routes");
	assert_taps(1, "eth0 ");
	plan_free(p);
	pod_network_free(n);
	let_all_go();
}

/* Each call to the kernel fails, each allocation: the next look puts it right, and nothing is left. */
static void test_follow_fails(void **state)
{
	int steps = 0, there = 1;
	struct pod_network *n;
	struct plan *p;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	p = running(n);
	add_interface();
	assert_int_equal(follow(p), 0);
	unplug_result = -EBUSY;
	do {
		if (there)
			sh("ip link del h1");
		else
			add_interface();
		there = !there;
		fail_at = ++steps;
		follow(p);
		if (fail_at > 0 && there)
			steps = -1;
		fail_at = 0;
		assert_int_equal(follow(p), 0);
		assert_int_equal(pod_network_nic(n, 1)->gone, !there);
		assert_taps(2, there ? "eth0 net1 " : "eth0 ");
		pod_network_nic(n, 1)->retry_ms = 0;
		pod_network_nic(n, 1)->refusals = 0;
	} while (steps > 0 && steps < 200);
	assert_int_equal(steps, -1);
	strv_fini(&seen);
	plan_free(p);
	pod_network_free(n);
	let_all_go();
	assert_taps(0, "");
}

/* What changes on an interface that is there. */
static void test_changes(void **state)
{
	struct pod_network *n;
	struct plan *p;

	NEEDS_HOST;
	sh("ip -n pod addr add 10.1.1.3/24 dev eth0 valid_lft 1000 preferred_lft 1000");
	n = scan(POD_NETWORK_TCFILTER);
	p = running(n);
	sh("ip -n pod addr add 10.5.5.5/24 dev eth0");
	assert_int_equal(follow(p), 0);
	assert_seen("interface eth0; 2 routes");
	assert_int_equal(n->interfaces[0]->n_ipaddresses, 4);
	assert_int_equal(follow(p), 0);
	assert_seen("");
	sh("ip -n pod route add 10.7.0.0/16 via 10.5.5.1");
	told_result = -EIO;
	assert_int_equal(follow(p), 0);
	assert_seen("3 routes");
	sh("ip -n pod neigh add 10.1.1.9 lladdr 02:00:00:00:00:09 dev eth0 nud permanent");
	assert_int_equal(follow(p), 0);
	assert_seen("1 neighbours");
	/* What the guest was not told it is told the next time. */
	sh("ip -n pod addr del 10.5.5.5/24 dev eth0");
	assert_int_equal(follow(p), -EIO);
	told_result = 0;
	assert_int_equal(follow(p), 0);
	assert_seen("interface eth0; 3 routes; 1 neighbours");
	/* Nobody took away what only ran out, nor what a link loses that is down. */
	sh("ip -n pod addr del 10.1.1.3/24 dev eth0 && ip -n pod link set eth0 down");
	assert_int_equal(follow(p), 0);
	assert_seen("");
	assert_int_equal(n->interfaces[0]->n_ipaddresses, 3);
	/* No more than the card can have. */
	sh("ip -n pod link set eth0 mtu 1300");
	assert_int_equal(follow(p), 0);
	assert_seen("interface eth0; 3 routes; 1 neighbours");
	assert_int_equal(n->interfaces[0]->mtu, 1300);
	sh("ip -n pod link set eth0 mtu 9000");
	assert_int_equal(follow(p), 0);
	assert_seen("interface eth0; 3 routes; 1 neighbours");
	assert_int_equal(n->interfaces[0]->mtu, 1400);
	sh("ip -n pod link set eth0 name lan0");
	assert_int_equal(follow(p), 0);
	assert_seen("interface lan0; 3 routes; 1 neighbours");
	assert_string_equal(n->routes[0]->device, "lan0");
	plan_free(p);
	pod_network_free(n);
	let_all_go();
}

/* What a look for somebody comes to. */
static int look_result;
static struct nics_look asked_look;

static void on_looked(int result, const struct err *e, void *userdata)
{
	look_result = result;
}

static int look(struct nics_watch *w)
{
	uint64_t deadline = clock_ms() + 60000;

	look_result = 1;
	nics_watch_look(w, &asked_look, on_looked, NULL);
	while (look_result == 1 && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 1000), 0);
	return look_result;
}

/* The loop goes on while the guest does not answer, and nothing is looked at; what has changed comes after that. */
static void test_watch_silence(void **state)
{
	struct nics_watch *w = NULL;
	struct pod_network *n;
	struct plan *p;
	uint64_t deadline;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	p = running(n);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(nics_watch_new(loop, p, &machine, NULL, &w, NULL), 0);
	silent = true;
	sh("ip -n pod addr add 10.5.5.5/24 dev eth0");
	look_result = 1;
	nics_watch_look(w, &asked_look, on_looked, NULL);
	assert_seen("interface eth0");
	sh("ip -n pod addr add 10.5.5.6/24 dev eth0");
	deadline = clock_ms() + 1000;
	while (clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_seen("");
	/* Who asked is told of his own look; the change is followed by itself. */
	silent = false;
	answer();
	deadline = clock_ms() + 60000;
	while (look_result == 1 && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_int_equal(look_result, 0);
	while (seen.len < 3 && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_seen("2 routes; interface eth0; 2 routes");
	/* Who asks during another look gets one of his own. */
	silent = true;
	sh("ip -n pod addr add 10.5.5.7/24 dev eth0");
	while (!seen.len && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 100), 0);
	sh("ip -n pod addr add 10.5.5.8/24 dev eth0");
	look_result = 1;
	nics_watch_look(w, &asked_look, on_looked, NULL);
	silent = false;
	answer();
	while (look_result == 1 && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 100), 0);
	assert_seen("interface eth0; 2 routes; interface eth0; 2 routes");
	/* A failure is his, and one who does not want to know any more is not told. */
	told_result = -EIO;
	sh("ip -n pod addr add 10.5.5.9/24 dev eth0");
	assert_int_equal(look(w), -EIO);
	told_result = 0;
	silent = true;
	look_result = 1;
	nics_watch_look(w, &asked_look, on_looked, NULL);
	nics_watch_forget(&asked_look);
	answer();
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(loop, 10), 0);
	assert_int_equal(look_result, 1);
	strv_fini(&seen);
	/* It ends in the middle. */
	assert_non_null(asked.fn);
	asked.fn = NULL;
	silent = false;
	nics_watch_free(w);
	loop_free(loop);
	plan_free(p);
	pod_network_free(n);
	let_all_go();
}

static void count_look(void *userdata)
{
	++*(unsigned *)userdata;
}

static void test_watch(void **state)
{
	struct nics_watch *w = NULL;
	unsigned looks = 0;
	struct pod_network *n;
	struct plan *p;
	uint64_t deadline;

	NEEDS_HOST;
	n = scan(POD_NETWORK_TCFILTER);
	p = running(n);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(nics_watch_new(loop, p, &machine, NULL, &w, NULL), 0);
	/* One that goes again before anybody has looked leaves no trace. */
	sh("ip link add h1 type veth peer name gone netns pod && ip -n pod link set gone up && ip link del h1");
	add_interface();
	deadline = clock_ms() + 60000;
	while (seen.len < 4 && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 1000), 0);
	assert_seen("card net1 02:00:00:00:06:02 mtu 1500 queues 2; interface net1; 2 routes; 1 neighbours");
	/* Several changes, one update, of which somebody else is told, too. */
	nics_watch_tell(w, count_look, &looks);
	sh("for i in 1 2 3 4 5 6; do ip -n pod addr add 10.5.5.$i/24 dev net1; sleep 0.05; done");
	deadline = clock_ms() + 60000;
	while (seen.len < 3 && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 1000), 0);
	assert_seen("interface net1; 2 routes; 1 neighbours");
	assert_int_equal(looks, 1);
	nics_watch_tell(w, NULL, NULL);
	/* The guest needs a second request to let go of it. */
	unplug_result = -EBUSY;
	sh("ip link del h1");
	deadline = clock_ms() + 60000;
	while (seen.len < 2 && clock_ms() < deadline) {
		assert_int_equal(loop_run_once(loop, 1000), 0);
		unplug_result = seen.len ? 0 : -EBUSY;
	}
	assert_seen("unplug net1; unplug net1");
	add_interface();
	deadline = clock_ms() + 60000;
	while (seen.len < 4 && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 1000), 0);
	assert_seen("card net1 02:00:00:00:06:02 mtu 1500 queues 2; interface net1; 2 routes; 1 neighbours");
	/* Looked at once, without waiting for quiet. */
	sh("ip link add h2 type veth peer name net2 netns pod && ip -n pod link set net2 up");
	plug_result = -EIO;
	assert_int_equal(look(w), -EIO);
	plug_result = 0;
	assert_int_equal(look(w), 0);
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
	/* Of a VM that has ended nothing is asked. */
	strv_fini(&seen);
	machine.exit_fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(look(w), 0);
	assert_seen("");
	close(machine.exit_fd);
	machine.exit_fd = -1;
	nics_watch_free(w);
	loop_free(loop);
	plan_free(p);
	pod_network_free(n);
	let_all_go();
}

static void test_none(void **state)
{
	struct plan p = { 0 };

	assert_int_equal(nics_connect(&p, NULL), 0);
	assert_int_equal(nics_tell_agent(&p, NULL, NULL), 0);
	assert_int_equal(nics_follow(&p, &machine, &changes, NULL), 0);
	assert_seen("");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_none),
		NAMESPACE_TEST(test_plan),
		NAMESPACE_TEST(test_names),
		NAMESPACE_TEST(test_plug),
		NAMESPACE_TEST(test_unplug),
		NAMESPACE_TEST(test_unplug_refused),
		NAMESPACE_TEST(test_unplug_impossible),
		NAMESPACE_TEST(test_follow_fails),
		NAMESPACE_TEST(test_changes),
		NAMESPACE_TEST(test_watch),
		NAMESPACE_TEST(test_watch_silence),
	};

	unable = prepare_host();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
