/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program (struct bpf_sk_lookup) looks at what is asked for, and takes the listening socket out of a SOCKMAP: entry
 * 0 for IPv4, 1 for IPv6. What it does not want, and what is not in the map, goes on to the kernel's own lookup.
 */
#include "sys/loopback_catch.h"

#include <netinet/in.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "sys/bpf.h"
#include "sys/netns.h"

struct sockets {
	int *fds, backlog;
};

/* The loopback interface may be down: IP_FREEBIND. */
static int listen_at(const struct sockaddr *a, socklen_t len, int level, int freebind, int backlog, int *ret)
{
	_cleanup_close_ int fd = socket(a->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	static const int one = 1;

	if (fd < 0 || setsockopt(fd, level, freebind, &one, sizeof one) < 0 || bind(fd, a, len) < 0 ||
	    listen(fd, backlog) < 0)
		return -errno;
	*ret = take_fd(&fd);
	return 0;
}

static int open_sockets(void *userdata)
{
	struct sockets *s = userdata;
	struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int r = listen_at((struct sockaddr *)&v4, sizeof v4, IPPROTO_IP, IP_FREEBIND, s->backlog, &s->fds[0]);

	if (r == 0)
		listen_at((struct sockaddr *)&v6, sizeof v6, IPPROTO_IPV6, IPV6_FREEBIND, s->backlog, &s->fds[1]);
	return r;
}

static int make_map(const int fds[2])
{
	_cleanup_close_ int map = -1;
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.map_type = BPF_MAP_TYPE_SOCKMAP;
	attr.key_size = sizeof(uint32_t);
	attr.value_size = sizeof(uint64_t);
	attr.max_entries = 2;
	map = bpf_call(BPF_MAP_CREATE, &attr);
	if (map < 0)
		return map;
	for (uint32_t i = 0; i < 2; i++) {
		uint64_t fd = (uint64_t)fds[i];
		int r;

		if (fds[i] < 0)
			continue;
		memset(&attr, 0, sizeof attr);
		attr.map_fd = (uint32_t)map;
		attr.key = (uintptr_t)&i;
		attr.value = (uintptr_t)&fd;
		r = bpf_call(BPF_MAP_UPDATE_ELEM, &attr);
		if (r < 0)
			return r;
	}
	return take_fd(&map);
}

#define LOAD(reg, field)                                                                                               \
	bpf_insn(BPF_LDX | BPF_MEM | BPF_W, reg, BPF_REG_6, (int)offsetof(struct bpf_sk_lookup, field), 0)
#define MOVE(to, from)  bpf_insn(BPF_ALU64 | BPF_MOV | BPF_X, to, from, 0, 0)
#define SET(reg, value) bpf_insn(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, value)
#define OR(to, from)    bpf_insn(BPF_ALU64 | BPF_OR | BPF_X, to, from, 0, 0)
#define CALL(function)  bpf_insn(BPF_JMP | BPF_CALL, 0, 0, 0, function)
/* At instruction at: to instruction to. */
#define JUMP_IF(at, reg, op, value, to) [at] = bpf_insn(BPF_JMP | op | BPF_K, reg, 0, (to) - (at)-1, (int32_t)(value))

static int load(int map)
{
	enum { KEY = -4 /* on the stack */, FOUND = 15, PASS = 28 };
	/* Of the other family the addresses are 0. */
	struct bpf_insn p[] = {
		MOVE(BPF_REG_6, BPF_REG_1),
		LOAD(BPF_REG_2, protocol),
		JUMP_IF(2, BPF_REG_2, BPF_JNE, IPPROTO_TCP, PASS),
		bpf_insn(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, KEY, 0),
		LOAD(BPF_REG_2, local_ip4),
		JUMP_IF(5, BPF_REG_2, BPF_JEQ, htonl(INADDR_LOOPBACK), FOUND),
		bpf_insn(BPF_ST | BPF_MEM | BPF_W, BPF_REG_10, 0, KEY, 1),
		LOAD(BPF_REG_2, local_ip6[0]),
		LOAD(BPF_REG_3, local_ip6[1]),
		OR(BPF_REG_2, BPF_REG_3),
		LOAD(BPF_REG_3, local_ip6[2]),
		OR(BPF_REG_2, BPF_REG_3),
		JUMP_IF(12, BPF_REG_2, BPF_JNE, 0, PASS),
		LOAD(BPF_REG_2, local_ip6[3]),
		JUMP_IF(14, BPF_REG_2, BPF_JNE, htonl(1), PASS),
		[FOUND] = bpf_insn(BPF_LD | BPF_DW | BPF_IMM, BPF_REG_1, BPF_PSEUDO_MAP_FD, 0, map),
		bpf_insn(0, 0, 0, 0, 0), /* of the same */
		MOVE(BPF_REG_2, BPF_REG_10),
		bpf_insn(BPF_ALU64 | BPF_ADD | BPF_K, BPF_REG_2, 0, 0, KEY),
		CALL(BPF_FUNC_map_lookup_elem),
		JUMP_IF(20, BPF_REG_0, BPF_JEQ, 0, PASS),
		MOVE(BPF_REG_7, BPF_REG_0),
		MOVE(BPF_REG_1, BPF_REG_6),
		MOVE(BPF_REG_2, BPF_REG_7),
		SET(BPF_REG_3, 0),
		CALL(BPF_FUNC_sk_assign),
		MOVE(BPF_REG_1, BPF_REG_7),
		CALL(BPF_FUNC_sk_release),
		[PASS] = SET(BPF_REG_0, SK_PASS),
		bpf_insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	return bpf_load(BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, p, sizeof p / sizeof *p, "caisson_catch");
}

static int attach(int ns_fd, const int fds[2])
{
	_cleanup_close_ int map = make_map(fds), program = map < 0 ? map : load(map);

	/* The link holds the program, and that the map. */
	return program < 0 ? program : bpf_link(program, ns_fd, BPF_SK_LOOKUP);
}

int loopback_catch_open(int ns_fd, int backlog, struct loopback_catch *ret, struct err *e)
{
	struct loopback_catch c = LOOPBACK_CATCH_NONE;
	struct sockets sockets = { .fds = c.listen_fds, .backlog = backlog };
	int r = netns_run(ns_fd, open_sockets, &sockets);

	if (r == 0)
		r = c.link_fd = attach(ns_fd, c.listen_fds);
	if (r < 0) {
		loopback_catch_close(&c);
		return err_sys(e, -r,
			       "cannot catch connections to the loopback of a network namespace (BPF_SK_LOOKUP)");
	}
	*ret = c;
	return 0;
}

void loopback_catch_close(struct loopback_catch *c)
{
	fd_close(&c->link_fd);
	fd_close(&c->listen_fds[0]);
	fd_close(&c->listen_fds[1]);
}
