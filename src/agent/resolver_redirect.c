// SPDX-License-Identifier: Apache-2.0
#include "agent/resolver_redirect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "sys/bpf.h"

/* v6: sockets of IPv6 that have an IPv4 address (::ffff:127.0.0.11). back: answers look as if from the other port. */
static const struct {
	enum bpf_attach_type type;
	bool v6, back;
} hooks[] = {
	{ BPF_CGROUP_INET4_CONNECT, false, false }, { BPF_CGROUP_INET6_CONNECT, true, false },
	{ BPF_CGROUP_UDP4_SENDMSG, false, false },  { BPF_CGROUP_UDP6_SENDMSG, true, false },
	{ BPF_CGROUP_UDP4_RECVMSG, false, true },   { BPF_CGROUP_UDP6_RECVMSG, true, true },
};

#define N_HOOKS          (sizeof hooks / sizeof hooks[0])
#define INSTRUCTIONS_MAX 16

struct resolver_redirect {
	int links[N_HOOKS]; /* a program is attached for as long as its link is open */
};

/* Go on when the field of the context has the value, else to the end, which is filled in later. */
static int emit_test(struct bpf_insn *p, size_t field, uint32_t value)
{
	p[0] = bpf_insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, (int)field, 0);
	p[1] = bpf_insn(BPF_JMP32 | BPF_JNE | BPF_K, BPF_REG_2, 0, 0, (int32_t)value);
	return 2;
}

/* All in network byte order, as the fields of the context are. The result is 1: the call may go on. */
static int make_program(struct bpf_insn *p, bool v6, uint32_t address, uint16_t from, uint16_t to)
{
	int n = 0, end;

	if (v6) {
		n += emit_test(p + n, offsetof(struct bpf_sock_addr, user_ip6[3]), address);
		n += emit_test(p + n, offsetof(struct bpf_sock_addr, user_ip6[2]), htonl(0xffff));
	} else {
		n += emit_test(p + n, offsetof(struct bpf_sock_addr, user_ip4), address);
	}
	n += emit_test(p + n, offsetof(struct bpf_sock_addr, user_port), from);
	p[n++] = bpf_insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_2, 0, 0, to);
	p[n++] =
		bpf_insn(BPF_STX | BPF_MEM | BPF_W, BPF_REG_1, BPF_REG_2, offsetof(struct bpf_sock_addr, user_port), 0);
	end = n;
	p[n++] = bpf_insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 1);
	p[n++] = bpf_insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (int i = 0; i < end; i++)
		if (p[i].code == (BPF_JMP32 | BPF_JNE | BPF_K))
			p[i].off = (int16_t)(end - i - 1);
	return n;
}

static int attach(int cgroup, enum bpf_attach_type type, const struct bpf_insn *p, int len)
{
	_cleanup_close_ int program = bpf_load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, type, p, (size_t)len, "caisson_names");

	return program < 0 ? program : bpf_link(program, cgroup, type);
}

int resolver_redirect_new(const char *cgroup, struct in_addr address, uint16_t port, uint16_t real_port,
			  struct resolver_redirect **ret, struct err *e)
{
	_cleanup_close_ int fd = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	struct resolver_redirect *d;
	int r = 0;

	if (fd < 0)
		return err_sys(e, errno, "cannot open the cgroup %s", cgroup);
	d = malloc(sizeof *d);
	if (!d)
		return err_sys(e, ENOMEM, "cannot redirect port %u", port);
	for (size_t i = 0; i < N_HOOKS; i++)
		d->links[i] = -1;
	for (size_t i = 0; i < N_HOOKS && r >= 0; i++) {
		uint16_t from = htons(hooks[i].back ? real_port : port), to = htons(hooks[i].back ? port : real_port);
		struct bpf_insn p[INSTRUCTIONS_MAX];

		r = attach(fd, hooks[i].type, p, make_program(p, hooks[i].v6, address.s_addr, from, to));
		d->links[i] = r;
		/* A kernel without IPv6 has no such sockets either. */
		if (r < 0 && hooks[i].v6)
			r = 0;
	}
	if (r < 0) {
		resolver_redirect_free(d);
		return err_sys(e, -r, "cannot redirect port %u (CONFIG_CGROUP_BPF)", port);
	}
	*ret = d;
	return 0;
}

void resolver_redirect_free(struct resolver_redirect *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < N_HOOKS; i++)
		fd_close(&d->links[i]);
	free(d);
}
