/* SPDX-License-Identifier: Apache-2.0 */
/* Paths, absent hierarchies, and the device program, which a small interpreter runs here. */
#include "sys/cgroup.h"

#include <errno.h>
#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "sys/cgroup_units.h"

static void assert_path(const char *spec, const char *want)
{
	_cleanup_free_ char *path = cgroup_path_from_spec(spec, "id");

	assert_string_equal(path, want);
}

static void paths(void **state)
{
	assert_path("", "/kata/id");
	assert_path("/", "/kata/id");
	assert_path("/kubepods/pod1/c1", "/kubepods/pod1/c1");
	assert_path("a/../../b/./c//", "/a/b/c");
	assert_path("system.slice:docker:abc", "/system.slice/docker-abc");
	assert_path(":docker:abc", "/system.slice/docker-abc");
	assert_path("machine.slice:libpod:", "/machine.slice/libpod-id");
	assert_path("/odd:but:path", "/odd:but:path");
	assert_path("..:..:..", "/..-..");
}

static void converts(void **state)
{
	int64_t swap;

	assert_int_equal(cgroup_cpu_weight(0), 0);
	assert_int_equal(cgroup_cpu_weight(2), 1);
	assert_int_equal(cgroup_cpu_weight(1024), 39);
	assert_int_equal(cgroup_cpu_weight(262144), 10000);
	assert_int_equal(cgroup_cpu_weight(UINT64_MAX), 10000);
	assert_int_equal(cgroup_io_weight(0), 0);
	assert_int_equal(cgroup_io_weight(10), 1);
	assert_int_equal(cgroup_io_weight(1000), 10000);
	assert_int_equal(cgroup_swap(300, 100, &swap, NULL), 0);
	assert_int_equal(swap, 200);
	assert_int_equal(cgroup_swap(-1, 100, &swap, NULL), 0);
	assert_int_equal(swap, -1);
	assert_int_equal(cgroup_swap(100, 100, &swap, NULL), 0);
	assert_int_equal(swap, 0);
	assert_int_equal(cgroup_swap(50, 100, &swap, NULL), -EINVAL);
	assert_int_equal(cgroup_swap(50, 0, &swap, NULL), -EINVAL);
}

static void no_hierarchy(void **state)
{
	struct cgroup *cg;
	struct err e = { 0 };
	uint64_t v;

	assert_int_equal(cgroup_create("/nonexistent", "/a", &cg, NULL), 0);
	assert_int_equal(cgroup_dir_fd(cg), -1);
	assert_int_equal(cgroup_set(cg, "memory", "memory.max", "1", &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "memory"));
	assert_int_equal(cgroup_kill(cg), -EOPNOTSUPP);
	assert_int_equal(cgroup_signal_all(cg, 0, NULL), -EOPNOTSUPP);
	assert_int_equal(cgroup_read_u64(cg, "memory.max", &v), -EOPNOTSUPP);
	assert_int_equal(cgroup_watch_memory(cg), -EOPNOTSUPP);
	cgroup_free(cg);
	cgroup_free(NULL);
}

/* Just the instructions that the program is made of. */
static int interpret(const struct bpf_insn *p, int len, uint32_t access, uint32_t type, uint32_t major, uint32_t minor)
{
	uint32_t ctx[3] = { access << 16 | type, major, minor };
	uint64_t r[6] = { 0 };

	for (int i = 0, steps = 0; i < len && steps < 100000; i++, steps++) {
		uint64_t imm = (uint64_t)(int64_t)p[i].imm;
		uint64_t *d = &r[p[i].dst_reg];

		assert_true(p[i].dst_reg < 6);
		switch (p[i].code) {
		case BPF_LDX | BPF_MEM | BPF_W:
			assert_true(p[i].off <= 8);
			*d = ctx[p[i].off / 4];
			break;
		case BPF_ALU64 | BPF_MOV | BPF_X:
			*d = r[p[i].src_reg];
			break;
		case BPF_ALU64 | BPF_MOV | BPF_K:
			*d = imm;
			break;
		case BPF_ALU64 | BPF_AND | BPF_K:
			*d &= imm;
			break;
		case BPF_ALU64 | BPF_RSH | BPF_K:
			*d >>= imm;
			break;
		case BPF_JMP | BPF_JNE | BPF_K:
			i += *d != imm ? p[i].off : 0;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			i += *d == imm ? p[i].off : 0;
			break;
		case BPF_JMP | BPF_EXIT:
			return (int)r[0];
		default:
			fail_msg("instruction %02x", p[i].code);
		}
	}
	fail_msg("ran off the end");
	return -1;
}

#define R BPF_DEVCG_ACC_READ
#define W BPF_DEVCG_ACC_WRITE
#define M BPF_DEVCG_ACC_MKNOD
#define C BPF_DEVCG_DEV_CHAR
#define B BPF_DEVCG_DEV_BLOCK

static void device_programs(void **state)
{
	const struct cgroup_device_rule rules[] = {
		{ true, 'b', 8, -1, 7 }, /* has no say: all is denied next */
		{ false, 'a', -1, -1, 7 },
		{ true, 'c', 1, 3, 7 },
		{ true, 'c', 5, -1, CGROUP_DEVICE_READ | CGROUP_DEVICE_WRITE },
		{ false, 'c', 5, 1, CGROUP_DEVICE_WRITE },
		{ true, 'b', 7, 2, CGROUP_DEVICE_READ },
		{ true, 'b', 7, 2, CGROUP_DEVICE_MKNOD },
	};
	_cleanup_free_ struct bpf_insn *p = NULL;
	int n = cgroup_device_program(rules, sizeof(rules) / sizeof(rules[0]), &p);

	assert_true(n > 0);
	assert_int_equal(interpret(p, n, R | W | M, C, 1, 3), 1);
	assert_int_equal(interpret(p, n, R, B, 1, 3), 0);
	assert_int_equal(interpret(p, n, R, C, 1, 4), 0);
	assert_int_equal(interpret(p, n, R, B, 8, 0), 0);
	assert_int_equal(interpret(p, n, R | W, C, 5, 0), 1);
	assert_int_equal(interpret(p, n, M, C, 5, 0), 0);
	assert_int_equal(interpret(p, n, R, C, 5, 1), 1);
	assert_int_equal(interpret(p, n, R | W, C, 5, 1), 0);
	/* Two rules together allow what neither does alone. */
	assert_int_equal(interpret(p, n, R | M, B, 7, 2), 1);
	assert_int_equal(interpret(p, n, W, B, 7, 2), 0);
}

static void device_default(void **state)
{
	const struct cgroup_device_rule all = { true, 'a', -1, -1, 7 };
	struct bpf_insn *p;
	int n = cgroup_device_program(NULL, 0, &p);

	assert_int_equal(interpret(p, n, R, C, 1, 3), 0);
	free(p);
	n = cgroup_device_program(&all, 1, &p);
	assert_int_equal(interpret(p, n, R | W | M, B, 99, 99), 1);
	free(p);
	assert_int_equal(cgroup_device_program(&all, 100000, &p), -E2BIG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(paths),           cmocka_unit_test(converts),       cmocka_unit_test(no_hierarchy),
		cmocka_unit_test(device_programs), cmocka_unit_test(device_default),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
