/* SPDX-License-Identifier: Apache-2.0 */
/* What filter_build() makes, run by an interpreter of our own, decides as the rules do when they are read in order. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "sys/filter.h"

#define MAX 2048

#ifdef __x86_64__
#define ARCH AUDIT_ARCH_X86_64
#else
#define ARCH AUDIT_ARCH_AARCH64
#endif

/* Classic BPF, as much of it as is used. */
static uint32_t decide(const struct sock_filter *f, int n, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (int at = 0; at < n; at++) {
		const struct sock_filter *i = &f[at];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			assert_true(i->k % 4 == 0 && i->k + 4 <= sizeof *data);
			memcpy(&a, (const char *)data + i->k, 4);
			break;
		case BPF_JMP | BPF_JA | BPF_K:
			at += (int)i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			at += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			at += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JSET | BPF_K:
			at += a & i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			fail_msg("instruction 0x%x", i->code);
		}
	}
	fail_msg("the program has no end");
	return 0;
}

static uint32_t expected(const struct filter_table *tables, size_t n, const struct seccomp_data *data)
{
	for (size_t t = 0; t < n; t++)
		for (size_t i = 0; i < tables[t].n; i++) {
			const struct filter_rule *r = &tables[t].rules[i];
			uint32_t arg = (uint32_t)data->args[r->arg];

			if (r->call != (uint32_t)data->nr || (r->test == FILTER_ARG_IS && arg != r->value) ||
			    (r->test == FILTER_ARG_LACKS && arg & r->value))
				continue;
			return r->code ? SECCOMP_RET_ERRNO | r->code : SECCOMP_RET_ALLOW;
		}
	return SECCOMP_RET_KILL_PROCESS;
}

static void compare(const struct filter_table *tables, size_t n)
{
	struct sock_filter program[MAX];
	int len = filter_build(tables, n, program, MAX);

	assert_true(len > 0);
	for (uint32_t call = 0; call < 64; call++)
		for (uint32_t arg = 0; arg < 4; arg++) {
			struct seccomp_data data = { .nr = (int)call,
						     .arch = ARCH,
						     .args = { arg, arg ^ 1, 7ULL << 32 | arg, arg, arg, arg } };

			assert_int_equal(decide(program, len, &data), expected(tables, n, &data));
			data.arch = AUDIT_ARCH_I386;
			assert_int_equal(decide(program, len, &data), SECCOMP_RET_KILL_PROCESS);
		}
#ifdef __x86_64__
	assert_int_equal(decide(program, len, &(struct seccomp_data){ .nr = 0x40000000 | 3, .arch = ARCH }),
			 SECCOMP_RET_KILL_PROCESS);
#endif
}

static void test_random_tables(void **state)
{
	struct filter_rule rules[2][100];

	srand(1);
	for (int round = 0; round < 300; round++) {
		struct filter_table tables[2] = { { rules[0], (size_t)rand() % 100 },
						  { rules[1], (size_t)rand() % 100 } };
		uint32_t calls = 1 + (uint32_t)rand() % 60;

		for (size_t t = 0; t < 2; t++)
			for (size_t i = 0; i < tables[t].n; i++)
				rules[t][i] = (struct filter_rule){ .call = (uint32_t)rand() % calls,
								    .test = (enum filter_test)(rand() % 3),
								    .value = (uint32_t)rand() % 4,
								    .arg = (uint8_t)(rand() % 6),
								    .code = rand() % 3 ? 0 : EPERM };
		compare(tables, 2);
	}
}

/* The longest there is: jumps go farther than 255 instructions. */
static void test_large(void **state)
{
	struct filter_rule rules[257];
	struct sock_filter program[MAX];
	struct filter_table table = { rules, 256 };

	for (uint32_t i = 0; i < 257; i++)
		rules[i] = (struct filter_rule){
			.call = i % 40, .test = FILTER_ARG_IS, .value = i / 40, .arg = (uint8_t)(i % 2)
		};
	compare(&table, 1);
	table.n = 257;
	assert_int_equal(filter_build(&table, 1, program, MAX), -E2BIG);
	compare(&(struct filter_table){ rules, 1 }, 1);
	compare(&(struct filter_table){ rules, 0 }, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_random_tables),
		cmocka_unit_test(test_large),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
