/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device controller of cgroup v2 is a BPF program of ours (BPF_PROG_TYPE_CGROUP_DEVICE). It walks the rules from
 * the last to the first and keeps the kinds of access that are not decided yet in r3: a rule that matches the device
 * takes its kinds out when it allows, and ends with "no" when it denies one of them. Once r3 is empty the answer is
 * "yes"; at the end it is "no".
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "sys/bpf.h"
#include "sys/cgroup_internal.h"

#define RULES_MAX 500
#define PER_RULE  10

_Static_assert(BPF_DEVCG_ACC_MKNOD == 1 && BPF_DEVCG_ACC_READ == 2 && BPF_DEVCG_ACC_WRITE == 4, "linux/bpf.h");

static int32_t kernel_access(unsigned access)
{
	return (access & CGROUP_DEVICE_READ ? BPF_DEVCG_ACC_READ : 0) |
	       (access & CGROUP_DEVICE_WRITE ? BPF_DEVCG_ACC_WRITE : 0) |
	       (access & CGROUP_DEVICE_MKNOD ? BPF_DEVCG_ACC_MKNOD : 0);
}

/* Each test that fails jumps to the end of the rule; the distances are filled in once the length is known. */
static int emit_rule(struct bpf_insn *p, const struct cgroup_device_rule *rule)
{
	int n = 0, tests;
	int32_t access = kernel_access(rule->access);

	if (rule->type != 'a')
		p[n++] = bpf_insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_2, 0, 0,
				  rule->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	if (rule->major >= 0)
		p[n++] = bpf_insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_4, 0, 0, (int32_t)rule->major);
	if (rule->minor >= 0)
		p[n++] = bpf_insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_5, 0, 0, (int32_t)rule->minor);
	tests = n;
	if (rule->allow) {
		p[n++] = bpf_insn(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_3, 0, 0, ~access);
		p[n++] = bpf_insn(BPF_JMP | BPF_JNE | BPF_K, BPF_REG_3, 0, 2, 0);
	} else {
		p[n++] = bpf_insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_1, BPF_REG_3, 0, 0);
		p[n++] = bpf_insn(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_1, 0, 0, access);
		p[n++] = bpf_insn(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_1, 0, 2, 0);
	}
	p[n++] = bpf_insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, rule->allow);
	p[n++] = bpf_insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	for (int i = 0; i < tests; i++)
		p[i].off = (int16_t)(n - i - 1);
	return n;
}

int cgroup_device_program(const struct cgroup_device_rule *rules, size_t n, struct bpf_insn **ret)
{
	struct bpf_insn *p;
	int len = 0;

	if (n > RULES_MAX)
		return -E2BIG;
	p = calloc(n * PER_RULE + 8, sizeof(*p));
	if (!p)
		return -ENOMEM;
	/* struct bpf_cgroup_dev_ctx: access_type (kinds << 16 | block or char), major, minor; 32 bits each. */
	p[len++] = bpf_insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_2, BPF_REG_1, 0, 0);
	p[len++] = bpf_insn(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_3, BPF_REG_2, 0, 0);
	p[len++] = bpf_insn(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
	p[len++] = bpf_insn(BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_3, 0, 0, 16);
	p[len++] = bpf_insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_4, BPF_REG_1, 4, 0);
	p[len++] = bpf_insn(BPF_LDX | BPF_MEM | BPF_W, BPF_REG_5, BPF_REG_1, 8, 0);
	for (size_t i = n; i > 0; i--) {
		len += emit_rule(p + len, &rules[i - 1]);
		/* Every device and every kind of access is decided here: earlier rules have no say. */
		if (rules[i - 1].type == 'a' && rules[i - 1].major < 0 && rules[i - 1].minor < 0 &&
		    (rules[i - 1].access & 7) == 7)
			break;
	}
	p[len++] = bpf_insn(BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, 0, 0, 0);
	p[len++] = bpf_insn(BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
	*ret = p;
	return len;
}

int cgroup_set_devices(struct cgroup *cg, const struct cgroup_device_rule *rules, size_t n, struct err *e)
{
	_cleanup_free_ struct bpf_insn *p = NULL;
	_cleanup_close_ int fd = -1;
	union bpf_attr attr;
	int r;

	if (cg->dir_fd < 0)
		return err_set(e, ERR_SYSTEM, EOPNOTSUPP,
			       "cannot limit devices: no cgroup v2 hierarchy is mounted at %s", cg->root);
	r = cgroup_device_program(rules, n, &p);
	if (r < 0)
		return err_sys(e, -r, "device rules of cgroup %s", cg->path);
	fd = bpf_load(BPF_PROG_TYPE_CGROUP_DEVICE, 0, p, (size_t)r, "caisson_devices");
	if (fd < 0)
		return err_sys(e, -fd, "load the device program of cgroup %s (CONFIG_CGROUP_BPF)", cg->path);
	memset(&attr, 0, sizeof(attr));
	attr.target_fd = (uint32_t)cg->dir_fd;
	attr.attach_bpf_fd = (uint32_t)fd;
	attr.attach_type = BPF_CGROUP_DEVICE;
	attr.attach_flags = BPF_F_ALLOW_MULTI;
	if (cg->devices_fd >= 0) {
		attr.attach_flags |= BPF_F_REPLACE;
		attr.replace_bpf_fd = (uint32_t)cg->devices_fd;
	}
	r = bpf_call(BPF_PROG_ATTACH, &attr);
	if (r < 0)
		return err_sys(e, -r, "attach the device program of cgroup %s (CONFIG_CGROUP_BPF)", cg->path);
	fd_close(&cg->devices_fd);
	cg->devices_fd = take_fd(&fd);
	return 0;
}
