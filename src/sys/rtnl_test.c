// SPDX-License-Identifier: Apache-2.0
/* Text forms everywhere; links, addresses, routes and neighbours in a network namespace of our own (needs root). */
#include <errno.h>
#include <linux/netlink.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "sys/netlink.h"
#include "sys/rtnl.h"

static void test_text(void **state)
{
	char text[128];
	struct rtnl_ip ip;
	uint8_t prefix, hw[32];
	size_t n;

	(void)state;
	assert_int_equal(rtnl_prefix_parse("10.1.2.3/24", &ip, &prefix), 0);
	assert_int_equal(prefix, 24);
	rtnl_ip_format(&ip, text, sizeof text);
	assert_string_equal(text, "10.1.2.3");
	assert_int_equal(rtnl_prefix_parse("fd00::1", &ip, &prefix), 0);
	assert_int_equal(prefix, 128);
	assert_int_equal(ip.family, AF_INET6);
	assert_int_equal(rtnl_prefix_parse("10.1.2.3/33", &ip, &prefix), -EINVAL);
	assert_int_equal(rtnl_prefix_parse("10.1.2.3/", &ip, &prefix), -EINVAL);
	assert_int_equal(rtnl_prefix_parse("", &ip, &prefix), -EINVAL);
	assert_int_equal(rtnl_hw_parse("02:aB:00:00:00:01", hw, &n), 0);
	assert_int_equal(n, 6);
	rtnl_hw_format(hw, n, text, sizeof text);
	assert_string_equal(text, "02:ab:00:00:00:01");
	assert_int_equal(rtnl_hw_parse("02:a", hw, &n), -EINVAL);
	assert_int_equal(rtnl_hw_parse("", hw, &n), -EINVAL);
	assert_int_equal(rtnl_hw_parse("02:ab:", hw, &n), -EINVAL);
}

static void test_malformed(void **state)
{
	struct nlmsghdr h = { .nlmsg_len = 8, .nlmsg_type = RTM_NEWLINK, .nlmsg_seq = 7 };
	struct nlreq q;

	(void)state;
	assert_int_equal(netlink_parse(&h, sizeof h, 7, NULL, NULL, NULL), -EBADMSG); /* shorter than its header */
	h.nlmsg_len = 100;
	assert_int_equal(netlink_parse(&h, sizeof h, 7, NULL, NULL, NULL), -EBADMSG); /* longer than the datagram */
	h.nlmsg_len = sizeof h;
	h.nlmsg_type = NLMSG_ERROR;
	assert_int_equal(netlink_parse(&h, sizeof h, 7, NULL, NULL, NULL), -EBADMSG); /* no code */
	assert_int_equal(netlink_parse(&h, sizeof h, 8, NULL, NULL, NULL), 0);        /* not ours */
	h.nlmsg_type = NLMSG_DONE;
	assert_int_equal(netlink_parse(&h, sizeof h, 7, NULL, NULL, NULL), 1);
	nlreq_init(&q, RTM_NEWLINK, 0, NULL, 0);
	for (int i = 0; i < 1000; i++)
		nlreq_u32(&q, 1, 1);
	assert_true(q.overflow);
	assert_int_equal(netlink_call(-1, &q, NULL, NULL), -EMSGSIZE);
}

/* ---- dumps, of a kernel that a child plays ---- */

/* A link with this index, "d<index>", or NLMSG_DONE; into one datagram. */
static void answer(int fd, const struct nlmsghdr *request, uint16_t type, uint16_t flags, int number)
{
	struct {
		struct nlmsghdr h;
		union {
			struct ifinfomsg link;
			int code;
		} u;
	} m = { .h = { .nlmsg_type = type, .nlmsg_flags = NLM_F_MULTI | flags, .nlmsg_seq = request->nlmsg_seq } };

	if (type == NLMSG_DONE)
		m.u.code = number;
	else
		m.u.link.ifi_index = number;
	m.h.nlmsg_len = (uint32_t)(sizeof m.h + (type == NLMSG_DONE ? sizeof m.u.code : sizeof m.u.link));
	if (send(fd, &m, m.h.nlmsg_len, 0) < 0)
		_exit(1);
}

/* The first `broken` dumps have a change in their midst, all others end with this code. */
static pid_t play_kernel(const int s[2], int broken, int code)
{
	unsigned char request[NLREQ_MAX];
	pid_t pid = fork();

	if (pid != 0) {
		close(s[1]);
		return pid;
	}
	close(s[0]);
	for (int i = 1; recv(s[1], request, sizeof request, 0) > 0; i++) {
		struct nlmsghdr h;

		memcpy(&h, request, sizeof h);
		answer(s[1], &h, RTM_NEWLINK, 0, i);
		answer(s[1], &h, RTM_NEWLINK, i <= broken ? NLM_F_DUMP_INTR : 0, 100 + i);
		answer(s[1], &h, NLMSG_DONE, 0, i <= broken ? 0 : code);
	}
	_exit(0);
}

static int links_of(int broken, int code, struct rtnl_link **ret, size_t *ret_n)
{
	int s[2], r, status;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	pid = play_kernel(s, broken, code);
	assert_true(pid > 0);
	r = rtnl_links(s[0], ret, ret_n);
	close(s[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return r;
}

static void test_broken_dumps(void **state)
{
	struct rtnl_link *links;
	size_t n;

	(void)state;
	assert_int_equal(links_of(0, 0, &links, &n), 0);
	assert_int_equal(n, 2);
	free(links);
	/* Of three only the last counts. */
	assert_int_equal(links_of(2, 0, &links, &n), 0);
	assert_int_equal(n, 2);
	assert_int_equal(links[0].index, 3);
	assert_int_equal(links[1].index, 103);
	free(links);
	assert_int_equal(links_of(1000, 0, &links, &n), -EAGAIN);
	assert_int_equal(links_of(0, -ENOBUFS, &links, &n), -ENOBUFS);
	assert_int_equal(links_of(1, -ENOBUFS, &links, &n), -ENOBUFS);
}

static int refuse(uint16_t type, const void *body, size_t n, void *userdata)
{
	(*(int *)userdata)++;
	return -ENOMEM;
}

/* One that its reader gave up leaves nothing behind for the next. */
static void test_refused_dump(void **state)
{
	struct ifinfomsg h = { 0 };
	struct rtnl_link *links;
	int s[2], status, called = 0;
	struct nlreq q;
	pid_t pid;
	size_t n;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, s), 0);
	pid = play_kernel(s, 0, 0);
	assert_true(pid > 0);
	nlreq_init(&q, RTM_GETLINK, NLM_F_DUMP, &h, sizeof h);
	assert_int_equal(netlink_dump(s[0], &q, refuse, NULL, &called), -ENOMEM);
	assert_int_equal(called, 1);
	assert_int_equal(recv(s[0], &h, sizeof h, MSG_DONTWAIT), -1);
	assert_int_equal(rtnl_links(s[0], &links, &n), 0);
	assert_int_equal(links[0].index, 2);
	free(links);
	close(s[0]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static int make_link(int fd, const char *name)
{
	struct ifinfomsg h = { 0 };
	struct nlreq q;
	size_t at;

	nlreq_init(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &h, sizeof h);
	nlreq_str(&q, IFLA_IFNAME, name);
	at = nlreq_nest_begin(&q, IFLA_LINKINFO);
	nlreq_str(&q, IFLA_INFO_KIND, "veth");
	nlreq_nest_end(&q, at);
	return netlink_call(fd, &q, NULL, NULL);
}

static void test_namespace(void **state)
{
	struct rtnl_link_change change = { .name = "eth9", .mtu = 1400 };
	struct rtnl_addr addr = { .prefix = 24 }, *addrs;
	struct rtnl_route route = { .family = AF_INET, .type = RTN_UNICAST, .protocol = RTPROT_STATIC, .mtu = 1300 };
	struct rtnl_neigh neigh = { .state = NUD_PERMANENT, .hw = { 2, 0, 0, 0, 0, 9 }, .hw_len = 6 };
	struct rtnl_route *routes;
	struct rtnl_link *links;
	int fd, index = 0, r;
	size_t n, found = 0;

	(void)state;
	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0)
		skip();
	fd = rtnl_open();
	assert_true(fd >= 0);
	r = make_link(fd, "d0");
	if (r == -EOPNOTSUPP) /* no veth driver in this kernel */
		skip();
	assert_int_equal(r, 0);
	assert_int_equal(rtnl_links(fd, &links, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (!strcmp(links[i].name, "d0")) {
			index = links[i].index;
			assert_string_equal(links[i].kind, "veth");
			assert_int_equal(links[i].hw_len, 6);
		}
	free(links);
	assert_true(index > 0);
	assert_int_equal(rtnl_link_change(fd, index, &change), 0);
	change = (struct rtnl_link_change){ .flags = IFF_UP, .mask = IFF_UP };
	assert_int_equal(rtnl_link_change(fd, index, &change), 0);
	addr.index = index;
	assert_int_equal(rtnl_ip_parse("10.9.0.2", &addr.ip), 0);
	assert_int_equal(rtnl_addr_add(fd, &addr), 0);
	assert_int_equal(rtnl_addr_add(fd, &addr), 0);
	route.oif = index;
	assert_int_equal(rtnl_ip_parse("10.9.0.1", &route.gateway), 0);
	assert_int_equal(rtnl_route_add(fd, &route), 0);
	assert_int_equal(rtnl_route_add(fd, &route), -EEXIST);
	assert_int_equal(rtnl_routes(fd, &routes, &n), 0);
	for (size_t i = 0; i < n; i++)
		if (routes[i].protocol == RTPROT_STATIC) {
			found++;
			assert_int_equal(routes[i].mtu, 1300);
			assert_int_equal(routes[i].dst.family, AF_UNSPEC);
			assert_int_equal(rtnl_route_del(fd, &routes[i]), 0);
		}
	free(routes);
	assert_int_equal(found, 1);
	neigh.index = index;
	assert_int_equal(rtnl_ip_parse("10.9.0.7", &neigh.ip), 0);
	assert_int_equal(rtnl_neigh_add(fd, &neigh), 0);
	assert_int_equal(rtnl_addr_del(fd, &addr), 0);
	assert_int_equal(rtnl_addrs(fd, &addrs, &n), 0);
	for (size_t i = 0; i < n; i++)
		assert_false(addrs[i].index == index && addrs[i].ip.family == AF_INET);
	free(addrs);
	assert_int_equal(rtnl_link_change(fd, 9999, &change), -ENODEV);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_text),         cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_broken_dumps), cmocka_unit_test(test_refused_dump),
		cmocka_unit_test(test_namespace),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
