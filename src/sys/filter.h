/* SPDX-License-Identifier: Apache-2.0 */
/* Seccomp filters for the calling thread: load one that is compiled, or make one out of tables. seccomp(2). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct sock_filter; /* linux/filter.h */

/*
 * program: an array of struct sock_filter, size in bytes. flags: SECCOMP_FILTER_FLAG_*. Needs no_new_privs or
 * CAP_SYS_ADMIN.
 */
int filter_load(const void *program, size_t size, unsigned flags, struct err *e);

enum filter_test {
	FILTER_ALWAYS,
	FILTER_ARG_IS,    /* the low half of argument arg is value */
	FILTER_ARG_LACKS, /* the low half of argument arg has no bit of value */
};

/* What happens to a system call; the first rule that fits counts. */
struct filter_rule {
	uint32_t call; /* SYS_… */
	enum filter_test test;
	uint32_t value;
	uint8_t arg;
	uint16_t code; /* 0: it is allowed; else it is not made, and fails with this errno */
};

/* Rules that belong together. */
struct filter_table {
	const struct filter_rule *rules;
	size_t n;
};

#define FILTER_TABLE(rules)                                                                                            \
	{                                                                                                              \
		rules, sizeof(rules) / sizeof *(rules)                                                                 \
	}

/*
 * A program of all the tables' rules: a call that fits none, or is of another architecture, ends the process. Returns
 * the number of instructions, or -E2BIG: they are more than max.
 */
int filter_build(const struct filter_table *tables, size_t n, struct sock_filter *ret, size_t max);
