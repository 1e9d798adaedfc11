/* SPDX-License-Identifier: Apache-2.0 */
/* Prometheus' text format: written, read, renamed, refused. */
#include "codec/prometheus.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void assert_written(const struct prom *p, const char *want)
{
	_cleanup_buf_ struct buf out = { 0 };

	assert_int_equal(prom_write(p, &out), 0);
	assert_string_equal(out.data ? out.data : "", want);
}

static void writes(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	const struct prom_label odd[] = { { "a", "x\\y\"z\n\t" }, { "b", "\xff\xc3\xa4" }, { "c", NULL } };

	assert_written(p, "");
	prom_add(p, "one", PROM_GAUGE, "The first.", NULL, 0, 1);
	prom_add(p, "two_total", PROM_COUNTER, "", odd, 3, 0.5);
	prom_add(p, "one", PROM_GAUGE, "The first.", odd, 1, -1e15);
	prom_add(p, "three", PROM_GAUGE, "", NULL, 0, NAN);
	prom_add(p, "three", PROM_GAUGE, "", NULL, 0, INFINITY);
	prom_add(p, "three", PROM_GAUGE, "", NULL, 0, -INFINITY);
	prom_add(p, "three", PROM_GAUGE, "", NULL, 0, 18446744073709551615.0);
	assert_written(p, "# HELP one The first.\n"
			  "# TYPE one gauge\n"
			  "one 1\n"
			  "one{a=\"x\\\\y\\\"z\\n?\"} -1000000000000000\n"
			  "# TYPE two_total counter\n"
			  "two_total{a=\"x\\\\y\\\"z\\n?\",b=\"?\xc3\xa4\",c=\"\"} 0.5\n"
			  "# TYPE three gauge\n"
			  "three NaN\nthree +Inf\nthree -Inf\nthree 1.8446744073709552e+19\n");
}

static void reads(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	const char *text = "# HELP http_requests_total The \\\\ total.\n"
			   "# TYPE http_requests_total counter\n"
			   "http_requests_total{method=\"post\",code=\"200\"} 1027 1395066363000\n"
			   "  http_requests_total { method = \"get\\n\\\"\" , }\t3 -5\n"
			   "# a comment\n"
			   "#\n"
			   "\n"
			   "nobody_said:of_what_type 1.458255915e9\n"
			   "# TYPE rpc summary\n"
			   "rpc{quantile=\"0.01\"} NaN\n"
			   "rpc_sum 1.7560473e+07\n"
			   "rpc_count 2693\n"
			   "# TYPE lat histogram\n"
			   "lat_bucket{le=\"+Inf\"} 3\n"
			   "lat_sum +Inf\n"
			   "last -Inf";

	assert_int_equal(prom_read(p, text, strlen(text), NULL, NULL), 0);
	assert_written(p, "# HELP http_requests_total The \\\\ total.\n"
			  "# TYPE http_requests_total counter\n"
			  "http_requests_total{method=\"post\",code=\"200\"} 1027\n"
			  "http_requests_total{method=\"get\\n\\\"\"} 3\n"
			  "# TYPE nobody_said:of_what_type untyped\n"
			  "nobody_said:of_what_type 1458255915\n"
			  "# TYPE rpc summary\n"
			  "rpc{quantile=\"0.01\"} NaN\n"
			  "rpc_sum 17560473\n"
			  "rpc_count 2693\n"
			  "# TYPE lat histogram\n"
			  "lat_bucket{le=\"+Inf\"} 3\n"
			  "lat_sum +Inf\n"
			  "# TYPE last untyped\n"
			  "last -Inf\n");
}

/* A guest cannot say anything in the name of the host, or of another pod. */
static void renames(void **state)
{
	static const char *const keep[] = { "kata_agent_", "kata_guest_", NULL };
	const struct prom_label sandbox = { "sandbox_id", "s1" };
	const struct prom_read how = { .keep = keep, .prefix = "kata_agent_", .label = &sandbox };
	_cleanup_prom_ struct prom *p = prom_new();
	const char *text = "# TYPE kata_guest_load gauge\n"
			   "kata_guest_load{item=\"load1\",sandbox_id=\"other\"} 1\n"
			   "# HELP process_max_fds Files.\n"
			   "# TYPE process_max_fds gauge\n"
			   "process_max_fds 1024\n"
			   "kata_shim_threads 9\n";

	prom_add(p, "kata_shim_threads", PROM_GAUGE, "", NULL, 0, 2);
	assert_int_equal(prom_read(p, text, strlen(text), &how, NULL), 0);
	assert_written(p, "# TYPE kata_shim_threads gauge\n"
			  "kata_shim_threads 2\n"
			  "# TYPE kata_guest_load gauge\n"
			  "kata_guest_load{item=\"load1\",sandbox_id=\"s1\"} 1\n"
			  "# HELP kata_agent_process_max_fds Files.\n"
			  "# TYPE kata_agent_process_max_fds gauge\n"
			  "kata_agent_process_max_fds{sandbox_id=\"s1\"} 1024\n"
			  "# TYPE kata_agent_kata_shim_threads untyped\n"
			  "kata_agent_kata_shim_threads{sandbox_id=\"s1\"} 9\n");
}

/* Several pods: one family, one place. */
static void puts_together(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	const char *a = "# TYPE x gauge\nx 1\n# TYPE y gauge\ny 2\n", *b = "# TYPE x gauge\nx 3\n";
	struct prom_label label = { "sandbox_id", "a" };
	const struct prom_read how = { .label = &label };

	assert_int_equal(prom_read(p, a, strlen(a), &how, NULL), 0);
	label.value = "b";
	assert_int_equal(prom_read(p, b, strlen(b), &how, NULL), 0);
	assert_written(p, "# TYPE x gauge\nx{sandbox_id=\"a\"} 1\nx{sandbox_id=\"b\"} 3\n"
			  "# TYPE y gauge\ny{sandbox_id=\"a\"} 2\n");
}

static void refuses(void **state)
{
	static const char *const bad[] = {
		"x",
		"x\n",
		"9x 1",
		"x-y 1",
		"x{ 1",
		"x{a} 1",
		"x{a=} 1",
		"x{a=b} 1",
		"x{a=\"b} 1",
		"x{a=\"b\" c=\"d\"} 1",
		"x{,a=\"b\"} 1",
		"x{a=\"b\",,} 1",
		"x{a=\"b\",a=\"c\"} 1",
		"x{a:b=\"c\"} 1",
		"x{a=\"\\t\"} 1",
		"x{a=\"\\",
		"x{a=\"\x01\"} 1",
		"x{a=\"\xff\"} 1",
		"x{a=\"\xc0\x80\"} 1",
		"x{a=\"\xed\xa0\x80\"} 1",
		"x{a=\"\x1b[31m\"} 1",
		"x one",
		"x 0x10",
		"x infinity",
		"x nan",
		"x 1e",
		"x 1 2 3",
		"x 1 now",
		"x{}1x 1",
		"# TYPE x",
		"# TYPE x thing",
		"# TYPE 9 gauge",
		"# HELP x \x1b[2J",
		NULL,
	};
	_cleanup_prom_ struct prom *p = prom_new();
	struct err e = { 0 };

	for (const char *const *t = bad; *t; t++) {
		_cleanup_free_ char *text = str_printf("good 1\n%s", *t);

		if (prom_read(p, text, strlen(text), NULL, &e) != -EPROTO)
			fail_msg("%s", *t);
		assert_string_equal(e.text, "metrics: line 2 is not in Prometheus' text format");
	}
	assert_int_equal(prom_read(p, "a 1\0b 1\n", 8, NULL, &e), -EPROTO);
	assert_written(p, "");
}

static void bounds(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	_cleanup_buf_ struct buf text = { 0 };
	_cleanup_free_ char *big = calloc(1, PROM_TEXT_MAX + 1);
	struct err e = { 0 };

	for (unsigned i = 0; i < PROM_FAMILIES_MAX - PROM_OWN; i++)
		assert_int_equal(buf_printf(&text, "f%u 1\n", i), 0);
	assert_int_equal(prom_read(p, text.data, text.len, NULL, &e), 0);
	assert_int_equal(prom_read(p, "f0 2\n", 5, NULL, &e), 0);
	assert_int_equal(prom_read(p, "f0 3\nmore 1\n", 12, NULL, &e), -EFBIG);
	buf_consume(&text, text.len);
	for (unsigned i = 0; i <= PROM_SAMPLES_MAX - PROM_OWN; i++)
		assert_int_equal(buf_puts(&text, "f 1\n"), 0);
	prom_free(p);
	p = prom_new();
	assert_int_equal(prom_read(p, text.data, text.len, NULL, &e), -EFBIG);
	assert_int_equal(prom_read(p, text.data, text.len - 4, NULL, &e), 0);
	for (unsigned i = 0; i < PROM_OWN; i++)
		prom_add(p, "one_more", PROM_GAUGE, "", NULL, 0, 1);
	assert_int_equal(prom_write(p, &text), 0);
	prom_add(p, "one_more", PROM_GAUGE, "", NULL, 0, 1);
	assert_int_equal(prom_write(p, &text), -EFBIG);
	memset(big, '\n', PROM_TEXT_MAX + 1);
	assert_int_equal(prom_read(p, big, PROM_TEXT_MAX + 1, NULL, &e), -EFBIG);
	memset(big, 'a', PROM_NAME_MAX + 1);
	memcpy(big + PROM_NAME_MAX + 1, " 1\n", 3);
	prom_free(p);
	p = prom_new();
	assert_int_equal(prom_read(p, big, PROM_NAME_MAX + 4, NULL, &e), -EPROTO);
	assert_int_equal(prom_read(p, big + 1, PROM_NAME_MAX + 3, NULL, &e), 0);
}

/* Whatever a stranger's text is refused for, what else there is to say is said. */
static void stranger_takes_no_place(void **state)
{
	static const struct prom_read guest = { .prefix = "guest_", .guest = true };
	_cleanup_buf_ struct buf families = { 0 }, samples = { 0 };
	_cleanup_prom_ struct prom *p = prom_new();
	struct err e = { 0 };

	for (unsigned i = 0; i < PROM_FAMILIES_MAX; i++)
		assert_int_equal(buf_printf(&families, "f%u 1\n", i), 0);
	for (unsigned i = 0; i <= PROM_SAMPLES_MAX / 2; i++)
		assert_int_equal(buf_puts(&samples, "f 1\n"), 0);
	prom_add(p, "before", PROM_GAUGE, "", NULL, 0, 1);
	assert_int_equal(prom_read(p, families.data, families.len, NULL, &e), -EFBIG);
	assert_int_equal(prom_read(p, families.data, families.len, &guest, &e), -EFBIG);
	assert_int_equal(prom_read(p, samples.data, samples.len, &guest, &e), -EFBIG);
	prom_add(p, "behind", PROM_GAUGE, "", NULL, 0, 2);
	assert_written(p, "# TYPE before gauge\nbefore 1\n# TYPE behind gauge\nbehind 2\n");
	assert_int_equal(prom_read(p, samples.data, samples.len - 4, &guest, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writes),
		cmocka_unit_test(reads),
		cmocka_unit_test(renames),
		cmocka_unit_test(puts_together),
		cmocka_unit_test(refuses),
		cmocka_unit_test(bounds),
		cmocka_unit_test(stranger_takes_no_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
