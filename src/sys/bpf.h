/* SPDX-License-Identifier: Apache-2.0 */
/* Programs for the kernel, written instruction by instruction. */
#pragma once

#include <errno.h>
#include <linux/bpf.h>
#include <stdint.h>
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
