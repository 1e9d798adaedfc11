// SPDX-License-Identifier: Apache-2.0
#include "sys/netlink.h"

#include <errno.h>
#include <linux/netlink.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/cleanup.h"

#define DATAGRAM_MAX 32768 /* the kernel fills dumps up to 32 KiB when the reader asks for that much */
#define DUMP_TRIES   8
#define ALIGN4(n)    (((n) + 3u) & ~(size_t)3)

static void put(struct nlreq *q, const void *data, size_t n)
{
	size_t padded = ALIGN4(n);

	if (n > NLREQ_MAX || padded > NLREQ_MAX - q->len) {
		q->overflow = true;
		return;
	}
	memset(q->data + q->len, 0, padded);
	if (n)
		memcpy(q->data + q->len, data, n);
	q->len += padded;
}

void nlreq_init(struct nlreq *q, uint16_t type, uint16_t flags, const void *body, size_t n)
{
	struct nlmsghdr h = { .nlmsg_type = type, .nlmsg_flags = (uint16_t)(flags | NLM_F_REQUEST) };

	q->len = 0;
	q->overflow = false;
	put(q, &h, sizeof h);
	put(q, body, n);
}

void nlreq_attr(struct nlreq *q, uint16_t type, const void *data, size_t n)
{
	struct nlattr a = { .nla_type = type, .nla_len = (uint16_t)(sizeof a + n) };

	if (n > NLREQ_MAX) {
		q->overflow = true;
		return;
	}
	put(q, &a, sizeof a);
	put(q, data, n);
}

void nlreq_u32(struct nlreq *q, uint16_t type, uint32_t v)
{
	nlreq_attr(q, type, &v, sizeof v);
}

void nlreq_str(struct nlreq *q, uint16_t type, const char *s)
{
	nlreq_attr(q, type, s, strlen(s) + 1);
}

size_t nlreq_nest_begin(struct nlreq *q, uint16_t type)
{
	size_t at = q->len;

	nlreq_attr(q, (uint16_t)(type | NLA_F_NESTED), NULL, 0);
	return at;
}

void nlreq_nest_end(struct nlreq *q, size_t at)
{
	uint16_t n = (uint16_t)(q->len - at);

	if (!q->overflow)
		memcpy(q->data + at + offsetof(struct nlattr, nla_len), &n, sizeof n);
}

bool nlattr_next(const void **pos, size_t *left, struct nlattr_view *ret)
{
	struct nlattr a;
	size_t step;

	if (*left < sizeof a)
		return false;
	memcpy(&a, *pos, sizeof a);
	if (a.nla_len < sizeof a || a.nla_len > *left)
		return false;
	ret->type = a.nla_type & NLA_TYPE_MASK;
	ret->data = (const char *)*pos + sizeof a;
	ret->len = a.nla_len - sizeof a;
	step = ALIGN4((size_t)a.nla_len);
	if (step > *left)
		step = *left;
	*pos = (const char *)*pos + step;
	*left -= step;
	return true;
}

uint32_t nlattr_u32(const struct nlattr_view *a)
{
	uint32_t v = 0;

	if (a->len >= sizeof v)
		memcpy(&v, a->data, sizeof v);
	return v;
}

/* The number behind a header: of NLMSG_ERROR 0 or what failed; of NLMSG_DONE, where it may be missing, the same. */
static int read_code(const char *p, const struct nlmsghdr *h)
{
	int code = 0;

	if (h->nlmsg_len < sizeof *h + sizeof code)
		return h->nlmsg_type == NLMSG_DONE ? 1 : -EBADMSG;
	memcpy(&code, p + sizeof *h, sizeof code);
	if (h->nlmsg_type == NLMSG_DONE && code > 0)
		return 1;
	return code == 0 ? 1 : code < 0 && code >= -4095 ? code : -EBADMSG;
}

int netlink_parse(const void *datagram, size_t n, uint32_t seq, nlmsg_fn fn, void *userdata, unsigned *flags)
{
	const char *p = datagram;

	while (n >= sizeof(struct nlmsghdr)) {
		struct nlmsghdr h;
		size_t step;
		int r = 0;

		memcpy(&h, p, sizeof h);
		if (h.nlmsg_len < sizeof h || h.nlmsg_len > n)
			return -EBADMSG;
		if (h.nlmsg_seq == seq) {
			if (flags)
				*flags |= h.nlmsg_flags;
			if (h.nlmsg_type == NLMSG_ERROR || h.nlmsg_type == NLMSG_DONE)
				return read_code(p, &h);
			if (h.nlmsg_type >= NLMSG_MIN_TYPE && fn)
				r = fn(h.nlmsg_type, p + sizeof h, h.nlmsg_len - sizeof h, userdata);
			if (r < 0)
				return r;
		}
		step = ALIGN4((size_t)h.nlmsg_len);
		if (step > n)
			step = n;
		p += step;
		n -= step;
	}
	return 0;
}

int netlink_open(int protocol)
{
	struct timeval wait = { .tv_sec = 5 };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

	if (fd < 0)
		return -errno;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
	return fd;
}

/* An error of fn does not end the exchange: the kernel starts no dump on a socket with another one half read. */
struct exchange {
	nlmsg_fn fn;
	void *userdata;
	int error;
};

static int pass_on(uint16_t type, const void *body, size_t n, void *userdata)
{
	struct exchange *x = userdata;

	if (x->fn && x->error == 0)
		x->error = x->fn(type, body, n, x->userdata);
	return 0;
}

/* *ret_flags: of the answers. */
static int exchange(int fd, struct nlreq *q, nlmsg_fn fn, void *userdata, unsigned *ret_flags)
{
	static atomic_uint last_seq;
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
	struct exchange x = { .fn = fn, .userdata = userdata };
	_cleanup_free_ char *datagram = NULL;
	struct nlmsghdr h;
	uint32_t seq = atomic_fetch_add(&last_seq, 1) + 1;

	*ret_flags = 0;
	if (q->overflow)
		return -EMSGSIZE;
	memcpy(&h, q->data, sizeof h);
	h.nlmsg_len = (uint32_t)q->len;
	h.nlmsg_seq = seq;
	if ((h.nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		h.nlmsg_flags |= NLM_F_ACK;
	memcpy(q->data, &h, sizeof h);
	datagram = malloc(DATAGRAM_MAX);
	if (!datagram)
		return -ENOMEM;
	if (sendto(fd, q->data, q->len, 0, (struct sockaddr *)&kernel, sizeof kernel) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(fd, datagram, DATAGRAM_MAX, MSG_TRUNC);
		int r;

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno == EAGAIN ? -ETIMEDOUT : -errno;
		}
		if (n > DATAGRAM_MAX)
			return -EMSGSIZE;
		r = netlink_parse(datagram, (size_t)n, seq, pass_on, &x, ret_flags);
		if (r != 0)
			return r < 0 ? r : x.error < 0 ? x.error : 0;
	}
}

int netlink_call(int fd, struct nlreq *q, nlmsg_fn fn, void *userdata)
{
	unsigned flags;

	return exchange(fd, q, fn, userdata, &flags);
}

int netlink_dump(int fd, struct nlreq *q, nlmsg_fn fn, void (*again)(void *userdata), void *userdata)
{
	for (int i = 0; i < DUMP_TRIES; i++) {
		unsigned flags;
		int r;

		if (i > 0)
			again(userdata);
		r = exchange(fd, q, fn, userdata, &flags);
		if (r < 0 || !(flags & NLM_F_DUMP_INTR))
			return r;
	}
	return -EAGAIN;
}
