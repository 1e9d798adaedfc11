/* SPDX-License-Identifier: Apache-2.0 */
/* The error texts, with their positions, are the interface: clients match them. */
#include <setjmp.h>
#include <stdarg.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "vmm/number.h"
#include "vmm/resources.h"

#define N(a) (sizeof(a) / sizeof(a)[0])

/* text decodes as `table` with this error; NULL: it decodes. */
static void check(const struct body_table *table, const char *text, const char *error)
{
	void *target = malloc(table->size);
	struct err e = { 0 };
	int r = body_decode(table, text, strlen(text), target, &e);

	if (error)
		assert_string_equal(r < 0 ? e.text : "no error", error);
	else
		assert_string_equal(e.text, "");
	body_clear(table, target);
	free(target);
}

static void test_members(void **state)
{
	check(&machine_table, "{\"mem_size_mib\": 128}", "missing field `vcpu_count` at line 1 column 21");
	check(&machine_table, "{\"vcpu_count\": 4}", "missing field `mem_size_mib` at line 1 column 17");
	check(&machine_table, "{}", "missing field `vcpu_count` at line 1 column 2");
	check(&machine_table, "{\n}  ", "missing field `vcpu_count` at line 2 column 1");
	check(&machine_table, "{\"vcpu_count\": 1, \"mem_size_mib\": 2}", NULL);
	check(&vm_update_table, "{\"foo\": 1}", "unknown field `foo`, expected `state` at line 1 column 6");
	check(&network_override_table, "{\"iface_id\": \"a\", \"more\": [1, {\"x\": null}], \"host_dev_name\": \"b\"}",
	      NULL);
	check(&drive_update_table, "{\"drive_id\": \"a\",\n \"is_root_device\" : true}",
	      "unknown field `is_root_device`, expected one of `drive_id`, `path_on_host`, `rate_limiter` at line 2 "
	      "column 18");
	check(&serial_table, "{\"x\": 1}",
	      "unknown field `x`, expected `serial_out_path` or `rate_limiter` at line 1 column 4");
	check(&vm_update_table, "{\"state\": \"Paused\", \"state\": \"Paused\"}",
	      "duplicate field `state` at line 1 column 27");
	check(&vm_update_table, "{\"foo\"}", "unknown field `foo`, expected `state` at line 1 column 7");
}

static void test_types(void **state)
{
	check(&machine_table, "{\"vcpu_count\": \"a\\n\"}",
	      "invalid type: string \"a\\n\", expected u8 at line 1 column 20");
	check(&machine_table, "{\"vcpu_count\": null}", "invalid type: null, expected u8 at line 1 column 19");
	check(&machine_table, "{\"vcpu_count\": [1]}", "invalid type: sequence, expected u8 at line 1 column 15");
	check(&machine_table, "{\"vcpu_count\": {}}", "invalid type: map, expected u8 at line 1 column 15");
	check(&machine_table, "{\"vcpu_count\": true}",
	      "invalid type: boolean `true`, expected u8 at line 1 column 19");
	check(&machine_table, "{\"vcpu_count\": 300}", "invalid value: integer `300`, expected u8 at line 1 column 18");
	check(&machine_table, "{\"vcpu_count\": -1}", "invalid value: integer `-1`, expected u8 at line 1 column 17");
	check(&machine_table, "{\"vcpu_count\": 1.5}",
	      "invalid type: floating point `1.5`, expected u8 at line 1 column 18");
	check(&machine_table, "{\"vcpu_count\": -0}",
	      "invalid type: floating point `-0.0`, expected u8 at line 1 column 17");
	check(&machine_table, "{\"mem_size_mib\": 18446744073709551616}",
	      "invalid type: floating point `1.8446744073709552e19`, expected usize at line 1 column 37");
	check(&machine_table, "{\"smt\": 1}", "invalid type: integer `1`, expected a boolean at line 1 column 9");
	check(&boot_source_table, "{\"kernel_image_path\": 1}",
	      "invalid type: integer `1`, expected a string at line 1 column 23");
	check(&snapshot_load_table, "{\"snapshot_path\": 1}",
	      "invalid type: integer `1`, expected path string at line 1 column 19");
	check(&drive_table, "{\"rate_limiter\": 1}",
	      "invalid type: integer `1`, expected struct RateLimiterConfig at line 1 column 18");
	check(&machine_table, "[]", "invalid type: sequence, expected struct MachineConfig at line 1 column 0");
	check(&document_table, "{\"drives\": {}}", "invalid type: map, expected a sequence at line 1 column 11");
}

static void test_variants(void **state)
{
	check(&vm_update_table, "{\"state\": \"foo\"}",
	      "unknown variant `foo`, expected `Paused` or `Resumed` at line 1 column 15");
	check(&action_table, "{\"action_type\": \"foo\"}",
	      "unknown variant `foo`, expected one of `FlushMetrics`, `InstanceStart`, `SendCtrlAltDel` at line 1 "
	      "column 21");
	check(&vm_update_table, "{\"state\": 1}", "expected value at line 1 column 11");
	check(&network_interface_table, "{\"guest_mac\": \"12:34\"}",
	      "The provided MAC address is invalid. at line 1 column 22");
	check(&network_interface_table, "{\"guest_mac\": \"06:00:00:00:00:0g\" , \"mtu\": 1}",
	      "The provided MAC address is invalid. at line 1 column 34");
	check(&logger_table, "{\"level\": \"chatty\"}", "Invalid LevelFilter at line 1 column 19");
	check(&logger_table, "{\"level\": \"wArNiNg\", \"module\": null}", NULL);
}

static void test_syntax(void **state)
{
	static const struct {
		const char *text, *error;
	} cases[] = {
		{ "", "EOF while parsing a value at line 1 column 0" },
		{ "foo", "expected ident at line 1 column 2" },
		{ "x", "expected value at line 1 column 1" },
		{ "nul", "EOF while parsing a value at line 1 column 3" },
		{ "nulk", "expected ident at line 1 column 4" },
		{ "{", "EOF while parsing an object at line 1 column 1" },
		{ "{\"state\"", "EOF while parsing an object at line 1 column 8" },
		{ "{\"state\" 1", "expected `:` at line 1 column 10" },
		{ "{\"state\":", "EOF while parsing a value at line 1 column 9" },
		{ "{\"state\": \"Paused\" 1", "expected `,` or `}` at line 1 column 20" },
		{ "{\"state\": \"Paused\",}", "trailing comma at line 1 column 20" },
		{ "{\"state\": \"Paused\",1", "key must be a string at line 1 column 20" },
		{ "{\"state\": \"Paused\"} x", "trailing characters at line 1 column 21" },
		{ "{'state': 1}", "key must be a string at line 1 column 2" },
		{ "{\"st", "EOF while parsing a string at line 1 column 4" },
		{ "{\"\\q\"", "invalid escape at line 1 column 4" },
		{ "{\"\\u12\"", "EOF while parsing a string at line 1 column 7" },
		{ "{\"\\u12zz\"", "invalid escape at line 1 column 8" },
		{ "{\"\\udc00\"", "lone leading surrogate in hex escape at line 1 column 8" },
		{ "{\"\\ud800x\"", "unexpected end of hex escape at line 1 column 9" },
		{ "{\"\\ud800\\u0041\"", "lone leading surrogate in hex escape at line 1 column 14" },
		{ "{\"\x01\"", "control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3" },
		{ "{\"\xff\"", "invalid unicode code point at line 1 column 4" },
		{ "{\"\xed\xa0\x80\"", "invalid unicode code point at line 1 column 6" },
		{ "{\"\\u0000\"", "a string with a NUL character is of no use here at line 1 column 9" },
	};

	for (size_t i = 0; i < N(cases); i++)
		check(&vm_update_table, cases[i].text, cases[i].error);
	check(&machine_table, "{\"vcpu_count\": 01}", "invalid number at line 1 column 17");
	check(&machine_table, "{\"vcpu_count\": 1.}", "invalid number at line 1 column 18");
	check(&machine_table, "{\"vcpu_count\": -}", "invalid number at line 1 column 17");
	check(&machine_table, "{\"vcpu_count\": 1e}", "invalid number at line 1 column 18");
	check(&machine_table, "{\"vcpu_count\": 1e999}", "number out of range at line 1 column 20");
}

static void test_depth(void **state)
{
	char text[2000] = "{\"metrics_path\": \"a\", \"x\": ";
	size_t n = strlen(text);

	memset(text + n, '[', 1000);
	check(&metrics_table, text, "recursion limit exceeded at line 1 column 156");
}

static void test_values(void **state)
{
	static const char text[] =
		"{\"drive_id\": \"a\\u00e9\\ud83d\\ude00\", \"is_root_device\": true, \"partuuid\": null,"
		"\"rate_limiter\": {\"ops\": {\"size\": 1, \"refill_time\": 2, \"x\": []}}}";
	_cleanup_buf_ struct buf out = { 0 };
	struct err e = { 0 };
	struct drive d;

	assert_int_equal(body_decode(&drive_table, text, strlen(text), &d, &e), 0);
	assert_string_equal(d.drive_id, "a\xc3\xa9\xf0\x9f\x98\x80");
	assert_true(d.is_root_device && d.has_rate_limiter && d.rate_limiter.has_ops && !d.rate_limiter.has_bandwidth);
	assert_int_equal(body_print(&drive_table, &d, &out), 0);
	assert_string_equal(out.data, "{\"drive_id\":\"a\xc3\xa9\xf0\x9f\x98\x80\",\"partuuid\":null,"
				      "\"is_root_device\":true,\"cache_type\":\"Unsafe\",\"is_read_only\":null,"
				      "\"path_on_host\":null,\"rate_limiter\":{\"bandwidth\":null,\"ops\":{\"size\":1,"
				      "\"one_time_burst\":null,\"refill_time\":2}},\"io_engine\":null,"
				      "\"socket\":null}");
	body_clear(&drive_table, &d);
}

static void test_map(void **state)
{
	static const char text[] =
		"{\"metrics_path\": \"m\", \"properties\": {\"b\": \"1\", \"a\": \"\\u0001\\\"\", \"b\": \"2\"}}";
	_cleanup_buf_ struct buf out = { 0 };
	struct metrics_body m;
	struct err e = { 0 };

	assert_int_equal(body_decode(&metrics_table, text, strlen(text), &m, &e), 0);
	assert_int_equal(body_print(&metrics_table, &m, &out), 0);
	assert_string_equal(out.data, "{\"metrics_path\":\"m\",\"emit_id\":false,"
				      "\"properties\":{\"a\":\"\\u0001\\\"\",\"b\":\"2\"}}");
	body_clear(&metrics_table, &m);
}

static void test_list_limit(void **state)
{
	_cleanup_buf_ struct buf text = { 0 };

	assert_int_equal(buf_puts(&text, "{\"network_overrides\": ["), 0);
	for (int i = 0; i < BODY_LIST_MAX + 1; i++)
		assert_int_equal(buf_printf(&text, "%s{\"iface_id\":\"\",\"host_dev_name\":\"\"}", i ? "," : ""), 0);
	check(&snapshot_load_table, text.data, "a list has more than 256 items at line 1 column 8983");
}

static void test_numbers(void **state)
{
	static const struct {
		const char *json, *text;
	} cases[] = {
		{ "0.0", "0.0" },
		{ "-0", "-0.0" },
		{ "-0.000e7", "-0.0" },
		{ "1e0", "1.0" },
		{ "0.1", "0.1" },
		{ "1.50", "1.5" },
		{ "0.0015E3", "1.5" },
		{ "150e-2", "1.5" },
		{ "10.0", "10.0" },
		{ "100e+1", "1000.0" },
		{ "123456.75", "123456.75" },
		{ "1e15", "1000000000000000.0" },
		{ "1e16", "1e16" },
		{ "18446744073709551616", "1.8446744073709552e19" },
		{ "9.99999999999999999", "10.0" },
		{ "0.12345678901234567449", "0.12345678901234567" },
		{ "-2.5e-7", "-2.5e-7" },
		{ "-0.00000025", "-2.5e-7" },
		{ "1e-5", "0.00001" },
		{ "1e30", "1e30" },
		{ "5e-324", "5e-324" },
		{ "1e-400", "0.0" },
		{ "0e99999999999999999999", "0.0" },
		{ "1e-99999999999999999999", "0.0" },
		{ "1.7976931348623157e308", "1.7976931348623157e308" },
		{ "1.8e308", NULL },
		{ "0.18e309", NULL },
		{ "1e309", NULL },
		{ "-1e99999999999999999999", NULL },
	};
	char text[NUMBER_TEXT_MAX];

	for (size_t i = 0; i < N(cases); i++) {
		int r = number_text(cases[i].json, strlen(cases[i].json), text);

		assert_int_equal(r, cases[i].text ? 0 : -ERANGE);
		if (r == 0)
			assert_string_equal(text, cases[i].text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_members), cmocka_unit_test(test_types),      cmocka_unit_test(test_variants),
		cmocka_unit_test(test_syntax),  cmocka_unit_test(test_depth),      cmocka_unit_test(test_values),
		cmocka_unit_test(test_map),     cmocka_unit_test(test_list_limit), cmocka_unit_test(test_numbers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
