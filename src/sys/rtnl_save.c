// SPDX-License-Identifier: Apache-2.0
#include "sys/rtnl_save.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdint.h>
#include <sys/socket.h>

#include "sys/netlink.h"
#include "sys/rtnl.h"

struct saving {
	struct buf *out;
	uint16_t type;
	int index;
};

static bool wanted(const struct saving *s, const void *body, size_t n)
{
	const void *pos = (const char *)body + NLMSG_ALIGN(sizeof(struct rtmsg));
	struct nlattr_view a;
	struct ifaddrmsg addr;
	struct rtmsg route;
	bool ours = false;
	size_t left;

	if (s->type == RTM_NEWADDR) {
		if (n < sizeof addr)
			return false;
		memcpy(&addr, body, sizeof addr);
		return (int)addr.ifa_index == s->index;
	}
	if (n < NLMSG_ALIGN(sizeof route))
		return false;
	memcpy(&route, body, sizeof route);
	if (route.rtm_table == RT_TABLE_LOCAL || (route.rtm_flags & RTM_F_CLONED))
		return false;
	left = n - NLMSG_ALIGN(sizeof route);
	while (nlattr_next(&pos, &left, &a))
		ours |= a.type == RTA_OIF && (int)nlattr_u32(&a) == s->index;
	return ours;
}

static int save_one(uint16_t type, const void *body, size_t n, void *userdata)
{
	struct saving *s = userdata;
	uint32_t len = (uint32_t)n;

	/* A message that no request could hold is none that one link's address or route makes. */
	if (type != s->type || n > NLREQ_MAX / 2 || !wanted(s, body, n))
		return 0;
	if (buf_append(s->out, &len, sizeof len) < 0 || buf_append(s->out, body, n) < 0)
		return -ENOMEM;
	return s->out->len > (1u << 20) ? -E2BIG : 0;
}

static void save_again(void *userdata)
{
	((struct saving *)userdata)->out->len = 0;
}

static int save(int fd, uint16_t request, uint16_t answer, int index, struct buf *out)
{
	struct saving s = { .out = out, .type = answer, .index = index };
	struct ifinfomsg h = { .ifi_family = AF_UNSPEC };
	struct nlreq q;

	nlreq_init(&q, request, NLM_F_DUMP, &h, sizeof h);
	return netlink_dump(fd, &q, save_one, save_again, &s);
}

int rtnl_save(int fd, int index, struct rtnl_saved *ret)
{
	struct rtnl_saved s = { 0 };
	int r = save(fd, RTM_GETADDR, RTM_NEWADDR, index, &s.addrs);

	if (r == 0)
		r = save(fd, RTM_GETROUTE, RTM_NEWROUTE, index, &s.routes);
	if (r < 0)
		rtnl_saved_fini(&s);
	else
		*ret = s;
	return r;
}

/* Send each message as a request; *ret_done: how many the kernel took. Those in `accept` count as taken. */
static int replay(int fd, const struct buf *messages, uint16_t type, uint16_t flags, int accept, size_t *ret_done)
{
	size_t at = 0, done = 0;
	int first = 0;

	while (at < messages->len) {
		struct nlreq q;
		uint32_t n;
		int r;

		memcpy(&n, messages->data + at, sizeof n);
		nlreq_init(&q, type, flags, messages->data + at + sizeof n, n);
		at += sizeof n + n;
		r = netlink_call(fd, &q, NULL, NULL);
		if (r == 0)
			done++;
		else if (r != accept && first == 0)
			first = r;
	}
	*ret_done = done;
	return first;
}

int rtnl_remove_saved(int fd, const struct rtnl_saved *s)
{
	size_t done;

	return replay(fd, &s->addrs, RTM_DELADDR, 0, -EADDRNOTAVAIL, &done);
}

int rtnl_restore(int fd, const struct rtnl_saved *s)
{
	size_t done;
	int r = replay(fd, &s->addrs, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, -EEXIST, &done), routes;

	/* A gateway may be reached by a route that comes later in the list: as long as any could be added, again. */
	do
		routes = replay(fd, &s->routes, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, -EEXIST, &done);
	while (routes < 0 && done);
	return r < 0 ? r : routes;
}

void rtnl_saved_fini(struct rtnl_saved *s)
{
	buf_fini(&s->addrs);
	buf_fini(&s->routes);
}
