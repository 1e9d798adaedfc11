/* SPDX-License-Identifier: Apache-2.0 */
/* Names of capabilities, namespaces and limits. Setting them is tested with whole containers. */
#include "sys/caps.h"

#include <errno.h>
#include <linux/sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include <cmocka.h>

#include "sys/namespaces.h"
#include "sys/rlimits.h"

static void capability_names(void **state)
{
	assert_int_equal(cap_by_name("CAP_CHOWN"), 0);
	assert_int_equal(cap_by_name("cap_sys_admin"), 21);
	assert_int_equal(cap_by_name("NET_RAW"), 13);
	assert_int_equal(cap_by_name("CAP_CHECKPOINT_RESTORE"), 40);
	assert_int_equal(cap_by_name("CAP_"), -EINVAL);
	assert_int_equal(cap_by_name(""), -EINVAL);
	for (int i = 0; i <= 40; i++)
		assert_int_equal(cap_by_name(cap_name(i)), i);
	assert_null(cap_name(41));
	assert_null(cap_name(-1));
	assert_in_range(cap_last(), 37, 63);
}

static void namespace_names(void **state)
{
	assert_int_equal(namespace_flag("mount"), CLONE_NEWNS);
	assert_int_equal(namespace_flag("time"), CLONE_NEWTIME);
	assert_int_equal(namespace_flag("mnt"), CLONE_NEWNS);
	assert_int_equal(namespace_flag("net"), CLONE_NEWNET);
	assert_int_equal(namespace_flag("NET"), 0);
	assert_int_equal(namespace_flag(""), 0);
	assert_string_equal(namespace_proc_name(CLONE_NEWNET), "net");
	assert_string_equal(namespace_type(CLONE_NEWNET), "network");
	assert_null(namespace_type(0));
}

static void limit_names(void **state)
{
	assert_int_equal(rlimit_by_name("RLIMIT_NOFILE"), RLIMIT_NOFILE);
	assert_int_equal(rlimit_by_name("RLIMIT_RTTIME"), RLIMIT_RTTIME);
	assert_int_equal(rlimit_by_name("NOFILE"), -EINVAL);
	assert_int_equal(rlimit_by_name(""), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(capability_names),
		cmocka_unit_test(namespace_names),
		cmocka_unit_test(limit_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
