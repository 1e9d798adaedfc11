/* SPDX-License-Identifier: Apache-2.0 */
/* Programs for the kernel, written instruction by instruction. */
#pragma once

#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static inline struct bpf_insn bpf_insn(unsigned code, unsigned dst, unsigned src, int off, int32_t imm)
{
	return (struct bpf_insn){
		.code = (uint8_t)code, .dst_reg = dst & 15, .src_reg = src & 15, .off = (int16_t)off, .imm = imm
	};
}

/* bpf(2): a number or a descriptor (close-on-exec), or -errno. Clear attr with memset(3): all of it is checked. */
static inline int bpf_call(int cmd, union bpf_attr *attr)
{
	long r = syscall(SYS_bpf, cmd, attr, sizeof *attr);

	return r < 0 ? -errno : (int)r;
}

/* A program of n instructions: its descriptor, or -errno. name: 15 characters at most, to be seen by people. */
static inline int bpf_load(enum bpf_prog_type type, enum bpf_attach_type where, const struct bpf_insn *p, size_t n,
			   const char *name)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.prog_type = type;
	attr.expected_attach_type = where;
	attr.insns = (uintptr_t)p;
	attr.insn_cnt = (uint32_t)n;
	attr.license = (uintptr_t) "Apache-2.0";
	memcpy(attr.prog_name, name, strlen(name) < sizeof attr.prog_name ? strlen(name) : sizeof attr.prog_name - 1);
	return bpf_call(BPF_PROG_LOAD, &attr);
}

/* The program works on target (a cgroup, a network namespace) for as long as the descriptor that this returns is open.
 */
static inline int bpf_link(int program, int target, enum bpf_attach_type where)
{
	union bpf_attr attr;

	memset(&attr, 0, sizeof attr);
	attr.link_create.prog_fd = (uint32_t)program;
	attr.link_create.target_fd = (uint32_t)target;
	attr.link_create.attach_type = where;
	return bpf_call(BPF_LINK_CREATE, &attr);
}
