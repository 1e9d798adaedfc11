/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>

#include <cmocka.h>

#include "cli/signals.h"

static void test_names(void **state)
{
	const struct {
		const char *name;
		int expected;
	} cases[] = {
		{ NULL, SIGTERM },
		{ "", SIGTERM },
		{ "TERM", SIGTERM },
		{ "SIGTERM", SIGTERM },
		{ "sigkill", SIGKILL },
		{ "hup", SIGHUP },
		{ "15", 15 },
		{ "1", 1 },
		{ "64", 64 },
		{ "0", -1 },
		{ "65", -1 },
		{ "-9", -1 },
		{ "99999999999999999999", -1 },
		{ "RTMIN", SIGRTMIN },
		{ "SIGRTMIN+3", SIGRTMIN + 3 },
		{ "rtmin+30", SIGRTMAX },
		{ "RTMIN+31", -1 },
		{ "RTMIN-1", -1 },
		{ "RTMINx", -1 },
		{ "RTMIN+", -1 },
		{ "RTMAX", SIGRTMAX },
		{ "SIGRTMAX-2", SIGRTMAX - 2 },
		{ "RTMAX-31", -1 },
		{ "SIG", -1 },
		{ "NOTHING", -1 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
		if (signal_number(cases[i].name) != cases[i].expected)
			fail_msg("%s: %d, not %d", cases[i].name, signal_number(cases[i].name), cases[i].expected);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_names) };

	return cmocka_run_group_tests_name("signals", tests, NULL, NULL);
}
