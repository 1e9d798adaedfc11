/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sets of CPUs, or of memory nodes, by their numbers, and as the lists that stand for them in the OCI runtime spec and
 * in cgroups' cpuset files: "0-3,8" (cpuset(7) "List format").
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define CPU_LIST_MAX 8192 /* numbers below this: the most that a kernel can be built for */

/* As a mask it is also what sched_setaffinity(2) takes. */
struct cpu_list {
	uint64_t bits[CPU_LIST_MAX / 64];
};

/* NULL and "" are the empty set. -EINVAL: that is no list; -ERANGE: a number that no CPU has. *ret is then as it was.
 */
int cpu_list_parse(const char *text, struct cpu_list *ret);
/* Caller frees. NULL: no memory. */
char *cpu_list_format(const struct cpu_list *l);

bool cpu_list_is_empty(const struct cpu_list *l);
bool cpu_list_equal(const struct cpu_list *a, const struct cpu_list *b);
/* Have they any in common? */
bool cpu_list_meet(const struct cpu_list *a, const struct cpu_list *b);
unsigned cpu_list_count(const struct cpu_list *l);
/* The first one from there on; -1: none. */
int cpu_list_next(const struct cpu_list *l, unsigned from);
/* All of `from` are in `to` as well. */
void cpu_list_add(struct cpu_list *to, const struct cpu_list *from);
void cpu_list_set(struct cpu_list *l, unsigned number);
