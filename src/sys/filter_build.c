/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From rules to the kernel's filter language, classic BPF over struct seccomp_data. The accumulator holds the call's
 * number in front of each rule, and the rules are tried one after the other: the kernel remembers for each call that is
 * allowed whatever its arguments are that it need not ask the filter again.
 *
 * Arguments are compared by their low half. All that are looked at (descriptor's request, domain, protection, flags,
 * advice, process) are taken as 32 bits by the kernel, whatever is above them.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>

#include "sys/filter.h"

#ifdef __x86_64__
#define ARCH          AUDIT_ARCH_X86_64
#define FOREIGN_CALLS 0x40000000 /* the x32 interface */
#else
#define ARCH          AUDIT_ARCH_AARCH64
#define FOREIGN_CALLS 0x80000000 /* none */
#endif

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the low half of an argument comes first");

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)offsetof(struct seccomp_data, field))
#define GIVE(value) BPF_STMT(BPF_RET | BPF_K, value)
#define RULE_MAX    5 /* instructions of a rule */

static const struct sock_filter head[] = {
	LOAD(arch), BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCH, 1, 0),          GIVE(SECCOMP_RET_KILL_PROCESS),
	LOAD(nr),   BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, FOREIGN_CALLS, 0, 1), GIVE(SECCOMP_RET_KILL_PROCESS),
};
#define HEAD (sizeof head / sizeof *head)

/* Returns how many instructions. */
static size_t add_rule(const struct filter_rule *rule, struct sock_filter *ret)
{
	uint32_t action = rule->code ? SECCOMP_RET_ERRNO | rule->code : SECCOMP_RET_ALLOW;
	struct sock_filter give = GIVE(action), load_nr = LOAD(nr), load_arg = LOAD(args[0]);

	if (rule->test == FILTER_ALWAYS) {
		ret[0] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->call, 0, 1);
		ret[1] = give;
		return 2;
	}
	load_arg.k += rule->arg * (uint32_t)sizeof(uint64_t);
	ret[0] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->call, 0, 4);
	ret[1] = load_arg;
	if (rule->test == FILTER_ARG_IS)
		ret[2] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, rule->value, 0, 1);
	else
		ret[2] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, rule->value, 1, 0);
	ret[3] = give;
	ret[4] = load_nr;
	return RULE_MAX;
}

int filter_build(const struct filter_table *tables, size_t n, struct sock_filter *ret, size_t max)
{
	size_t at = 0;

	for (; at < HEAD && at < max; at++)
		ret[at] = head[at];
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < tables[t].n; i++) {
			if (at + RULE_MAX + 1 > max)
				return -E2BIG;
			at += add_rule(&tables[t].rules[i], ret + at);
		}
	if (at < HEAD || at == max)
		return -E2BIG;
	ret[at++] = (struct sock_filter)GIVE(SECCOMP_RET_KILL_PROCESS);
	return (int)at;
}
