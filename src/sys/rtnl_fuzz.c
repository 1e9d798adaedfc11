// SPDX-License-Identifier: Apache-2.0
/* Any datagram as an answer of rtnetlink, through every reader. */
#include <stdint.h>

#include "sys/netlink.h"
#include "sys/rtnl.h"
#include "sys/tc.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static int each(uint16_t type, const void *body, size_t n, void *userdata)
{
	struct rtnl_link link;
	struct rtnl_addr addr;
	struct rtnl_route route;
	struct rtnl_neigh neigh;
	struct tc_qdisc qdisc;
	struct tc_filter filter;

	(void)type;
	(void)userdata;
	rtnl_parse_link(body, n, &link);
	rtnl_parse_addr(body, n, &addr);
	rtnl_parse_route(body, n, &route);
	rtnl_parse_neigh(body, n, &neigh);
	tc_parse_qdisc(body, n, &qdisc);
	tc_parse_filter(body, n, &filter);
	return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	netlink_parse(data, n, 0, each, NULL, NULL);
	each(0, data, n, NULL);
	return 0;
}
