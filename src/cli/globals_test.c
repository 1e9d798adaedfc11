/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "cli/globals.h"
#include "codec/json.h"

#define PARSE(g, at, e, ...)                                                                                           \
	globals_parse(g, (int)(sizeof(char *[]){ (char *)"caisson", __VA_ARGS__ } / sizeof(char *)),                   \
		      (char *[]){ (char *)"caisson", __VA_ARGS__ }, at, e)

#define A(s) (char *)s

static void test_calls_of_clients(void **state)
{
	struct globals g;
	struct err e = { 0 };
	int at;

	/* containerd-shim-runc-v2 */
	assert_int_equal(PARSE(&g, &at, &e, A("--root"), A("/run/docker/runtime-runc/moby"), A("--log"),
			       A("/b/log.json"), A("--log-format"), A("json"), A("--systemd-cgroup"), A("create"),
			       A("--bundle"), A("/b")),
			 0);
	assert_int_equal(at, 8);
	assert_string_equal(g.root, "/run/docker/runtime-runc/moby");
	assert_string_equal(g.log, "/b/log.json");
	assert_int_equal(g.log_format, LOG_FORMAT_JSON);
	/* podman */
	assert_int_equal(PARSE(&g, &at, &e, A("--log-format=json"), A("--log=/u/oci-log"), A("kill"), A("c"), A("15")),
			 0);
	assert_int_equal(at, 3);
	assert_string_equal(g.log, "/u/oci-log");
	assert_int_equal(g.log_format, LOG_FORMAT_JSON);
	/* What runc knows and we have no use for; Go's flags take one dash, too. */
	assert_int_equal(PARSE(&g, &at, &e, A("--criu"), A("/usr/sbin/criu"), A("-rootless=auto"), A("--rootless"),
			       A("true"), A("--systemd-cgroup=true"), A("--debug"), A("list")),
			 0);
	assert_int_equal(at, 8);
	assert_int_equal(g.log_level, LOG_LEVEL_DEBUG);
	assert_null(g.log);
}

static void test_defaults(void **state)
{
	struct globals g;
	struct err e = { 0 };
	int at;

	assert_int_equal(PARSE(&g, &at, &e, A("list"), A("--root"), A("x")), 0);
	assert_int_equal(at, 1);
	assert_string_equal(g.config, "");
	if (geteuid() == 0)
		assert_string_equal(g.root, "/run/caisson");
	assert_int_equal(PARSE(&g, &at, &e, A("--debug")), 0);
	assert_int_equal(at, 2);
}

/* Owners work elsewhere. */
static void test_relative_paths(void **state)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0), *want = str_printf("%s/here/state", cwd);
	struct globals g;
	struct err e = { 0 };
	int at;

	assert_int_equal(PARSE(&g, &at, &e, A("--root"), A("here/state"), A("list")), 0);
	assert_string_equal(g.root, want);
}

static void test_wrong_flags(void **state)
{
	static const struct {
		const char *flag, *value, *word;
	} wrong[] = {
		{ "--no-such-flag", "x", "--no-such-flag" },
		{ "--log-format", "xml", "invalid log-format: xml" },
		{ "--log-level", "loud", "loud" },
		{ "--help=me", "x", "--help=me" },
		{ "--root=", "x", "--root" },
		{ "-", "x", "unknown" },
	};
	struct globals g;
	int at;

	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		struct err e = { 0 };

		assert_int_equal(PARSE(&g, &at, &e, A(wrong[i].flag), A(wrong[i].value), A("list")), -EINVAL);
		assert_non_null(strstr(e.text, wrong[i].word));
	}
	assert_int_equal(PARSE(&g, &at, NULL, A("--root")), -EINVAL);
}

/* Clients read the last error from the file; people, and clients without a file, from stderr. */
static void test_log(void **state)
{
	char path[] = "/tmp/caisson-globals-XXXXXX", copy[] = "/tmp/caisson-globals-XXXXXX";
	struct globals g = { .log = path, .log_format = LOG_FORMAT_JSON, .log_level = LOG_LEVEL_WARN };
	_cleanup_free_ char *text = NULL, *said = NULL;
	_cleanup_json_ struct json_object *o = NULL;
	int saved = dup(STDERR_FILENO), fd = mkstemp(copy);
	struct err e = { 0 };

	close(mkstemp(path));
	dup2(fd, STDERR_FILENO);
	assert_int_equal(globals_open_log(&g, &e), 0);
	log_error("it is \"broken\"");
	log_info("nothing of interest");
	dup2(saved, STDERR_FILENO);
	log_set_error_copy(-1);
	log_set_sink(STDERR_FILENO, LOG_FORMAT_TEXT, "caisson");
	assert_int_equal(file_read(path, 4096, &text, NULL), 0);
	assert_int_equal(json_parse(text, strlen(text), 4096, &o, &e), 0);
	assert_string_equal(json_get_str(o, "level"), "error");
	assert_string_equal(json_get_str(o, "msg"), "it is \"broken\"");
	/* RFC 3339 */
	assert_int_equal(strlen(json_get_str(o, "time")), strlen("2026-11-26T18:30:42.158195Z"));
	assert_int_equal(file_read(copy, 4096, &said, NULL), 0);
	assert_string_equal(said, "caisson: error: it is \"broken\"\n");
	unlink(path);
	unlink(copy);
	close(fd);
	close(saved);
	g.log = "/no/such/folder/log";
	assert_int_equal(globals_open_log(&g, &e), -ENOENT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_of_clients),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_relative_paths),
		cmocka_unit_test(test_wrong_flags),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
