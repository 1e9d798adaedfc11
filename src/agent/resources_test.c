/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the spec as they arrive in cgroup files. The hierarchy is a directory that looks like one. */
#include "agent/resources.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"

struct fake {
	char root[64], dir[96];
	struct cgroup *cg;
};

static void touch(const char *dir, const char *name, const char *text)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);

	assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
}

static int set_up(void **state)
{
	static const char *const files[] = { "memory.max", "memory.swap.max", "memory.low",      "cpu.weight",
					     "cpu.max",    "cpuset.cpus",     "cpuset.mems",     "pids.max",
					     "io.weight",  "io.max",          "hugetlb.2MB.max", "cgroup.procs" };
	struct fake *f = calloc(1, sizeof(*f));

	strcpy(f->root, "/tmp/caisson-resources-XXXXXX");
	assert_non_null(mkdtemp(f->root));
	snprintf(f->dir, sizeof(f->dir), "%s/pod/c", f->root);
	assert_int_equal(dir_make(f->dir, 0755), 0);
	touch(f->root, "cgroup.controllers", "cpu memory pids\n");
	touch(f->root, "cgroup.subtree_control", "");
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		touch(f->dir, files[i], "");
	assert_int_equal(cgroup_create(f->root, "/pod/c", &f->cg, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fake *f = *state;

	cgroup_free(f->cg);
	dir_remove(f->root);
	free(f);
	return 0;
}

/* What was written last; a write in a plain file leaves the tail of a longer one before it. */
static void assert_file(struct fake *f, const char *name, const char *want)
{
	_cleanup_free_ char *path = str_printf("%s/%s", f->dir, name), *text = NULL;

	assert_int_equal(file_read(path, 4096, &text, NULL), 0);
	assert_string_equal(text, want);
}

static void hands_controllers_down(void **state)
{
	struct fake *f = *state;
	_cleanup_free_ char *path = str_printf("%s/cgroup.subtree_control", f->root), *text = NULL;

	assert_int_equal(file_read(path, 4096, &text, NULL), 0);
	assert_string_equal(text, "+cpu +memory +pids");
}

static void applies_all(void **state)
{
	struct fake *f = *state;
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;
	Grpc__LinuxPids pids = GRPC__LINUX_PIDS__INIT;
	Grpc__LinuxBlockIO io = GRPC__LINUX_BLOCK_IO__INIT;
	Grpc__LinuxThrottleDevice throttle = GRPC__LINUX_THROTTLE_DEVICE__INIT, *throttles[] = { &throttle };
	Grpc__LinuxHugepageLimit huge = GRPC__LINUX_HUGEPAGE_LIMIT__INIT, *huges[] = { &huge };

	memory.limit = 1 << 20;
	memory.swap = 3 << 20;
	memory.reservation = 4096;
	cpu.shares = 1024;
	cpu.quota = 5000;
	cpu.cpus = (char *)"0-1";
	pids.limit = -1;
	io.weight = 1000;
	throttle.major = 8;
	throttle.minor = 16;
	throttle.rate = 12345;
	io.throttlewritebpsdevice = throttles;
	io.n_throttlewritebpsdevice = 1;
	huge.pagesize = (char *)"2MB";
	huge.limit = 2 << 20;
	res.memory = &memory;
	res.cpu = &cpu;
	res.pids = &pids;
	res.blockio = &io;
	res.hugepagelimits = huges;
	res.n_hugepagelimits = 1;
	assert_int_equal(resources_apply(f->cg, &res, NULL, NULL), 0);
	assert_file(f, "memory.max", "1048576");
	assert_file(f, "memory.swap.max", "2097152");
	assert_file(f, "memory.low", "4096");
	assert_file(f, "cpu.weight", "39");
	assert_file(f, "cpu.max", "5000 100000");
	assert_file(f, "cpuset.cpus", "0-1");
	assert_file(f, "cpuset.mems", "");
	assert_file(f, "pids.max", "max");
	assert_file(f, "io.weight", "10000");
	assert_file(f, "io.max", "8:16 wbps=12345");
	assert_file(f, "hugetlb.2MB.max", "2097152");
}

static void missing_controller_is_named(void **state)
{
	struct fake *f = *state;
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxHugepageLimit huge = GRPC__LINUX_HUGEPAGE_LIMIT__INIT, *huges[] = { &huge };
	struct err e = { 0 };

	huge.pagesize = (char *)"1GB";
	res.hugepagelimits = huges;
	res.n_hugepagelimits = 1;
	assert_int_equal(resources_apply(f->cg, &res, NULL, &e), -EOPNOTSUPP);
	assert_non_null(strstr(e.text, "controller hugetlb"));
	huge.pagesize = (char *)"../../x";
	assert_int_equal(resources_apply(f->cg, &res, NULL, NULL), -EINVAL);
	assert_int_equal(resources_apply(f->cg, NULL, NULL, NULL), 0);
}

/* Devices of an update have the host's numbers; limits count. */
static void update_leaves_devices_alone(void **state)
{
	struct fake *f = *state;
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxDeviceCgroup none = GRPC__LINUX_DEVICE_CGROUP__INIT, *rules[] = { &none };
	Grpc__LinuxPids pids = GRPC__LINUX_PIDS__INIT;

	pids.limit = 7;
	none.access = (char *)"rwm";
	res.pids = &pids;
	res.devices = rules;
	res.n_devices = 1;
	/* A folder takes no rules. */
	assert_true(resources_apply(f->cg, &res, NULL, NULL) < 0);
	pids.limit = 8;
	assert_int_equal(resources_update(f->cg, &res, NULL), 0);
	assert_file(f, "pids.max", "8");
	assert_int_equal(res.n_devices, 1);
}

/* "docker run --device /dev/x:/dev/x:r": the device is not given more than its rule does. */
static void device_is_allowed_what_its_rule_says(void **state)
{
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxDeviceCgroup none = GRPC__LINUX_DEVICE_CGROUP__INIT, rule = none, *rules[] = { &none, &rule };
	Grpc__Linux l = GRPC__LINUX__INIT;
	Grpc__LinuxDevice ruled = GRPC__LINUX_DEVICE__INIT, free_one, *devices[] = { &ruled, &free_one };
	_cleanup_free_ struct cgroup_device_rule *got = NULL;
	unsigned access[3] = { 0 };
	size_t n;

	(void)state;
	none.type = (char *)"a";
	none.access = (char *)"rwm";
	rule.allow = true;
	rule.type = ruled.type = (char *)"b";
	rule.major = ruled.major = 254;
	rule.minor = ruled.minor = 16;
	rule.access = (char *)"r";
	free_one = ruled;
	free_one.type = (char *)"c"; /* the same numbers, another device */
	res.devices = rules;
	res.n_devices = 2;
	l.devices = devices;
	l.n_devices = 2;
	assert_int_equal(resources_device_rules(&res, &l, &got, &n, NULL), 0);
	assert_int_equal(got[0].type, 'a');
	assert_false(got[0].allow);
	for (size_t i = 0; i < n; i++)
		if (got[i].major == 254 && got[i].minor == 16)
			access[got[i].type - 'a'] |= got[i].access;
	assert_int_equal(access[1], CGROUP_DEVICE_READ);
	assert_int_equal(access[2], CGROUP_DEVICE_READ | CGROUP_DEVICE_WRITE | CGROUP_DEVICE_MKNOD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(hands_controllers_down, set_up, tear_down),
		cmocka_unit_test_setup_teardown(applies_all, set_up, tear_down),
		cmocka_unit_test_setup_teardown(missing_controller_is_named, set_up, tear_down),
		cmocka_unit_test_setup_teardown(update_leaves_devices_alone, set_up, tear_down),
		cmocka_unit_test(device_is_allowed_what_its_rule_says),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
