// SPDX-License-Identifier: Apache-2.0
#include "sys/tc.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/netlink.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <string.h>

#include "sys/netlink.h"

#define INGRESS_HANDLE TC_H_MAKE(TC_H_INGRESS, 0) /* ffff:, also the parent of its filters */
#define PRIORITY       1u
/* A u32 filter may choose the last 12 bits of its handle. This is how ours are known again. */
#define OUR_NODE   0xca1u
#define OUR_HANDLE (0x80000000u | OUR_NODE)
#define U32_TABLE  0x80000000u /* the hash table that the kernel lists beside the filters in it */

/* ---- making ---- */

static int add_ingress(int fd, int index)
{
	struct tcmsg h = { .tcm_ifindex = index, .tcm_handle = INGRESS_HANDLE, .tcm_parent = TC_H_INGRESS };
	struct nlreq q;

	nlreq_init(&q, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, &h, sizeof h);
	nlreq_str(&q, TCA_KIND, "ingress");
	return netlink_call(fd, &q, NULL, NULL);
}

static void put_redirect(struct nlreq *q, int to)
{
	struct tc_mirred mirred = { .action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = (uint32_t)to };
	size_t actions = nlreq_nest_begin(q, TCA_U32_ACT), first = nlreq_nest_begin(q, 1), options;

	nlreq_str(q, TCA_ACT_KIND, "mirred");
	options = nlreq_nest_begin(q, TCA_ACT_OPTIONS);
	nlreq_attr(q, TCA_MIRRED_PARMS, &mirred, sizeof mirred);
	nlreq_nest_end(q, options);
	nlreq_nest_end(q, first);
	nlreq_nest_end(q, actions);
}

static int add_filter(int fd, int from, int to)
{
	struct tcmsg h = { .tcm_ifindex = from,
			   .tcm_handle = OUR_NODE,
			   .tcm_parent = INGRESS_HANDLE,
			   .tcm_info = TC_H_MAKE(PRIORITY << 16, htons(ETH_P_ALL)) };
	/* With one key behind it, of an empty mask: everything. */
	_Alignas(struct tc_u32_sel) char match[sizeof(struct tc_u32_sel) + sizeof(struct tc_u32_key)] = { 0 };
	struct tc_u32_sel *sel = (struct tc_u32_sel *)match;
	struct nlreq q;
	size_t options;

	sel->flags = TC_U32_TERMINAL;
	sel->nkeys = 1;
	nlreq_init(&q, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, &h, sizeof h);
	nlreq_str(&q, TCA_KIND, "u32");
	options = nlreq_nest_begin(&q, TCA_OPTIONS);
	nlreq_attr(&q, TCA_U32_SEL, match, sizeof match);
	put_redirect(&q, to);
	nlreq_nest_end(&q, options);
	return netlink_call(fd, &q, NULL, NULL);
}

int tc_redirect(int fd, int from, int to)
{
	int r = add_ingress(fd, from);

	if (r < 0)
		return r;
	r = add_filter(fd, from, to);
	if (r < 0)
		tc_ingress_del(fd, from);
	return r;
}

int tc_ingress_del(int fd, int index)
{
	struct tcmsg h = { .tcm_ifindex = index, .tcm_handle = INGRESS_HANDLE, .tcm_parent = TC_H_INGRESS };
	struct nlreq q;
	int r;

	nlreq_init(&q, RTM_DELQDISC, 0, &h, sizeof h);
	r = netlink_call(fd, &q, NULL, NULL);
	return r == -EINVAL ? -ENOENT : r; /* what older kernels say */
}

/* ---- looking ---- */

static int take_header(const void *body, size_t n, struct tcmsg *ret, const void **ret_pos, size_t *ret_left)
{
	if (n < sizeof *ret)
		return -EBADMSG;
	memcpy(ret, body, sizeof *ret);
	*ret_pos = (const char *)body + sizeof *ret;
	*ret_left = n - sizeof *ret;
	return 0;
}

int tc_parse_qdisc(const void *body, size_t n, struct tc_qdisc *ret)
{
	struct tcmsg h;
	const void *pos;
	size_t left;
	int r = take_header(body, n, &h, &pos, &left);

	if (r < 0)
		return r;
	*ret = (struct tc_qdisc){ .index = h.tcm_ifindex, .parent = h.tcm_parent };
	return 0;
}

/* The first attribute of this type inside another one; false: there is none. */
static bool find_attr(const struct nlattr_view *in, uint16_t type, struct nlattr_view *ret)
{
	const void *pos = in->data;
	size_t left = in->len;

	while (nlattr_next(&pos, &left, ret))
		if (ret->type == type)
			return true;
	return false;
}

/* The target of an action list's first action, if that is a redirection. */
static int redirect_target(const struct nlattr_view *options)
{
	struct nlattr_view actions, first, inner, parms;
	struct tc_mirred mirred;

	if (!find_attr(options, TCA_U32_ACT, &actions) || !find_attr(&actions, 1, &first) ||
	    !find_attr(&first, TCA_ACT_OPTIONS, &inner) || !find_attr(&inner, TCA_MIRRED_PARMS, &parms) ||
	    parms.len < sizeof mirred)
		return 0;
	memcpy(&mirred, parms.data, sizeof mirred);
	return mirred.eaction == TCA_EGRESS_REDIR && mirred.ifindex <= INT32_MAX ? (int)mirred.ifindex : 0;
}

int tc_parse_filter(const void *body, size_t n, struct tc_filter *ret)
{
	struct tc_filter out = { 0 };
	struct nlattr_view a;
	struct tcmsg h;
	const void *pos;
	size_t left;
	int r = take_header(body, n, &h, &pos, &left);

	if (r < 0)
		return r;
	out.handle = h.tcm_handle;
	while (nlattr_next(&pos, &left, &a)) {
		if (a.type == TCA_KIND && a.len && a.len <= sizeof out.kind)
			memcpy(out.kind, a.data, strnlen(a.data, a.len - 1));
		else if (a.type == TCA_OPTIONS)
			out.to = redirect_target(&a);
	}
	*ret = out;
	return 0;
}

struct look {
	int index, to;
	bool qdisc;
	unsigned ours, others;
};

static int look_at_qdisc(uint16_t type, const void *body, size_t n, void *userdata)
{
	struct look *l = userdata;
	struct tc_qdisc q;
	int r = type == RTM_NEWQDISC ? tc_parse_qdisc(body, n, &q) : 1;

	/* Of clsact the parent is the same number. */
	if (r == 0 && q.index == l->index && q.parent == TC_H_INGRESS)
		l->qdisc = true;
	return r < 0 ? r : 0;
}

static int look_at_filter(uint16_t type, const void *body, size_t n, void *userdata)
{
	struct look *l = userdata;
	struct tc_filter f;
	int r = type == RTM_NEWTFILTER ? tc_parse_filter(body, n, &f) : 1;

	if (r != 0)
		return r < 0 ? r : 0;
	if (strcmp(f.kind, "u32") != 0) {
		l->others++;
	} else if (f.handle == OUR_HANDLE) {
		l->ours++;
		l->to = f.to;
	} else if (f.handle != 0 && f.handle != U32_TABLE) {
		l->others++;
	}
	return 0;
}

static void forget_qdisc(void *userdata)
{
	((struct look *)userdata)->qdisc = false;
}

static void forget_filters(void *userdata)
{
	struct look *l = userdata;

	l->ours = l->others = 0;
	l->to = 0;
}

int tc_ingress(int fd, int index, enum tc_ingress *ret, int *ret_to)
{
	struct tcmsg h = { .tcm_ifindex = index };
	struct look l = { .index = index };
	struct nlreq q;
	int r;

	nlreq_init(&q, RTM_GETQDISC, NLM_F_DUMP, &h, sizeof h);
	r = netlink_dump(fd, &q, look_at_qdisc, forget_qdisc, &l);
	if (r == 0 && l.qdisc) {
		h.tcm_parent = INGRESS_HANDLE;
		nlreq_init(&q, RTM_GETTFILTER, NLM_F_DUMP, &h, sizeof h);
		r = netlink_dump(fd, &q, look_at_filter, forget_filters, &l);
	}
	if (r < 0)
		return r;
	*ret = !l.qdisc ? TC_INGRESS_NONE : l.ours == 1 && !l.others ? TC_INGRESS_OURS : TC_INGRESS_OTHER;
	*ret_to = *ret == TC_INGRESS_OURS ? l.to : 0;
	return 0;
}
