/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/options.h"

#define PARSE(o, e, ...)                                                                                               \
	({                                                                                                             \
		char *argv_[] = { (char *)"caisson-vmm", __VA_ARGS__ };                                                \
		options_parse((int)(sizeof argv_ / sizeof argv_[0]), argv_, (o), (e));                                 \
	})
#define A (char *)

static void test_values(void **state)
{
	struct options o;

	assert_int_equal(
		PARSE(&o, NULL, A "--api-sock", A "/a", A "--id=x-1", A "--enable-pci", A "--start-time-us", A "7"), 0);
	assert_string_equal(o.api_sock, "/a");
	assert_string_equal(o.id, "x-1");
	assert_true(o.enable_pci && !o.no_api && !o.split_irqchip);
	assert_int_equal(o.start_time_us, 7);
	assert_int_equal(o.max_payload, 51200);
	assert_int_equal(PARSE(&o, NULL, A "-h"), 0);
	assert_true(o.help);
	assert_int_equal(PARSE(&o, NULL, A "--split-irqchip"), 0);
	assert_true(o.split_irqchip);
	assert_int_equal(PARSE(&o, NULL, A "--no-api", A "--config-file", A "f"), 0);
}

static void check(struct err *e, const char *text)
{
	assert_string_equal(e->text, text);
	*e = (struct err){ 0 };
}

static void test_errors(void **state)
{
	struct err e = { 0 };
	struct options o;

	PARSE(&o, &e, A "--what");
	check(&e, "Found argument '--what' which wasn't expected, or isn't valid in this context.");
	PARSE(&o, &e, A "what");
	check(&e, "Found argument 'what' which wasn't expected, or isn't valid in this context.");
	PARSE(&o, &e, A "--id", A "--no-api");
	check(&e, "The argument 'id' requires a value, but none was supplied.");
	PARSE(&o, &e, A "--id=a", A "--id", A "b");
	check(&e, "The argument 'id' was provided more than once.");
	PARSE(&o, &e, A "--no-api");
	check(&e, "Argument 'config-file' required, but not found.");
	PARSE(&o, &e, A "--no-api=1");
	check(&e, "The argument 'no-api' takes no value.");
	PARSE(&o, &e, A "--http-api-max-payload-size", A "many");
	check(&e, "The argument 'http-api-max-payload-size' requires a number.");
	PARSE(&o, &e, A "--id", A "a_b");
	check(&e, "Invalid instance ID: Invalid char (_) at position 1");
	PARSE(&o, &e, A "--id=");
	check(&e, "Invalid instance ID: Invalid len (0);  the length must be between 1 and 64");
	PARSE(&o, &e, A "--metadata", A "f");
	check(&e, "The argument 'metadata' is not supported by this version.");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_values), cmocka_unit_test(test_errors) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
