// SPDX-License-Identifier: Apache-2.0
/* Redirection in a network namespace of our own (needs root); messages that are cut off. */
#include <errno.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "sys/rtnl.h"
#include "sys/tc.h"

static void test_malformed(void **state)
{
	struct {
		struct tcmsg h;
		uint16_t len, type;
	} m = { .h = { .tcm_handle = 7, .tcm_ifindex = 3, .tcm_parent = TC_H_INGRESS }, .len = 100, .type = TCA_KIND };
	struct tc_filter f;
	struct tc_qdisc q;

	assert_int_equal(tc_parse_filter(&m, sizeof m.h - 1, &f), -EBADMSG);
	assert_int_equal(tc_parse_qdisc(&m, sizeof m.h - 1, &q), -EBADMSG);
	/* an attribute that is longer than the message */
	assert_int_equal(tc_parse_filter(&m, sizeof m, &f), 0);
	assert_int_equal(f.handle, 7);
	assert_string_equal(f.kind, "");
	assert_int_equal(f.to, 0);
	assert_int_equal(tc_parse_qdisc(&m, sizeof m, &q), 0);
	assert_int_equal(q.index, 3);
	assert_int_equal(q.parent, TC_H_INGRESS);
}

static void test_redirect(void **state)
{
	enum tc_ingress who = TC_INGRESS_OTHER;
	int fd, a, b, to = -1, r;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0 || system("ip link add v0 type veth peer name v1") != 0) {
		print_message("needs root, ip and veth\n");
		skip();
	}
	fd = rtnl_open();
	assert_true(fd >= 0);
	a = (int)if_nametoindex("v0");
	b = (int)if_nametoindex("v1");
	assert_int_equal(tc_ingress(fd, a, &who, &to), 0);
	assert_int_equal(who, TC_INGRESS_NONE);
	assert_int_equal(tc_ingress_del(fd, a), -ENOENT);
	r = tc_redirect(fd, a, b);
	if (r == -ENOENT || r == -EOPNOTSUPP) { /* a kernel without one of the parts */
		close(fd);
		skip();
	}
	assert_int_equal(r, 0);
	assert_int_equal(tc_redirect(fd, a, b), -EEXIST);
	assert_int_equal(tc_ingress(fd, a, &who, &to), 0);
	assert_int_equal(who, TC_INGRESS_OURS);
	assert_int_equal(to, b);
	assert_int_equal(tc_ingress(fd, b, &who, &to), 0);
	assert_int_equal(who, TC_INGRESS_NONE);
	/* Somebody else's filter beside ours, and a discipline without any. */
	assert_int_equal(system("tc filter add dev v0 parent ffff: protocol ip prio 7 u32 match u8 0 0 "
				"action mirred egress redirect dev v1"),
			 0);
	assert_int_equal(tc_ingress(fd, a, &who, &to), 0);
	assert_int_equal(who, TC_INGRESS_OTHER);
	assert_int_equal(tc_ingress_del(fd, a), 0);
	assert_int_equal(system("tc qdisc add dev v0 clsact"), 0);
	assert_int_equal(tc_ingress(fd, a, &who, &to), 0);
	assert_int_equal(who, TC_INGRESS_OTHER);
	assert_int_equal(tc_redirect(fd, a, b), -EEXIST);
	assert_int_equal(tc_ingress_del(fd, a), 0);
	/* A target that does not exist leaves no discipline behind. */
	assert_true(tc_redirect(fd, a, 999) < 0);
	assert_int_equal(tc_ingress(fd, a, &who, &to), 0);
	assert_int_equal(who, TC_INGRESS_NONE);
	assert_int_equal(tc_redirect(fd, 999, a), -ENODEV);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_redirect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
