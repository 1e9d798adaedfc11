/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of create, run, exec and update, as clients give them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <getopt.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cli/create_flags.h"
#include "cli/exec_flags.h"
#include "cli/exec_process.h"
#include "cli/launch.h"
#include "cli/units.h"
#include "cli/update_flags.h"
#include "oci/spec.h"

#define A(s)       (char *)s
#define COUNT(...) (int)(sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *))
/* The arguments have to outlive the parsing. */
static char **keep(char *const *argv, int n)
{
	static char *kept[32];

	assert_true(n < 32);
	memcpy(kept, argv, (size_t)(n + 1) * sizeof *argv);
	optind = 1;
	return kept;
}

#define ARGS(...)         COUNT(__VA_ARGS__), keep((char *[]){ __VA_ARGS__, NULL }, COUNT(__VA_ARGS__))
#define CALL(fn, f, ...)  fn(f, ARGS(__VA_ARGS__))
#define UPDATE(f, e, ...) update_flags_parse(f, ARGS(A("update"), __VA_ARGS__), e)

static void test_create(void **state)
{
	struct create_flags f;

	/* conmon */
	assert_int_equal(CALL(create_flags_parse, &f, A("create"), A("--bundle"), A("/b"), A("--pid-file"), A("/p"),
			      A("--console-socket"), A("/s"), A("ID")),
			 0);
	assert_string_equal(f.bundle, "/b");
	assert_string_equal(f.pid_file, "/p");
	assert_string_equal(f.console_socket, "/s");
	assert_string_equal(f.id, "ID");
	assert_int_equal(CALL(create_flags_parse, &f, A("create"), A("-b"), A("/b"), A("--no-pivot"),
			      A("--no-new-keyring"), A("--preserve-fds"), A("3"), A("ID")),
			 0);
	assert_int_equal(f.preserve_fds, 3);
	assert_int_equal(CALL(create_flags_parse, &f, A("create"), A("--preserve-fds"), A("x"), A("ID")), -EINVAL);
	assert_int_equal(CALL(create_flags_parse, &f, A("create"), A("ID")), 0);
	assert_null(f.bundle);
	assert_int_equal(f.preserve_fds, 0);
	assert_int_equal(CALL(create_flags_parse, &f, A("create"), A("-d"), A("ID")), -EINVAL);
	assert_int_equal(CALL(create_flags_parse, &f, A("create")), -EINVAL);
	assert_int_equal(CALL(create_flags_parse, &f, A("create"), A("a"), A("b")), -EINVAL);
	assert_false(f.help);
	assert_int_equal(CALL(create_flags_parse, &f, A("create"), A("--help")), -EINVAL);
	assert_true(f.help);
}

/* runc's way, and not the other. */
static void test_run(void **state)
{
	struct create_flags f;

	assert_int_equal(CALL(create_flags_parse, &f, A("run"), A("ID")), 0);
	assert_false(f.detach);
	assert_int_equal(CALL(create_flags_parse, &f, A("run"), A("-d"), A("--bundle=/b"), A("--keep"), A("ID")), 0);
	assert_true(f.detach && f.keep);
	assert_int_equal(CALL(create_flags_parse, &f, A("run"), A("--bundle"), A("/b")), -EINVAL);
	assert_int_equal(CALL(create_flags_parse, &f, A("run"), A("--rootfs"), A("/r"), A("sh")), -EINVAL);
	assert_int_equal(CALL(create_flags_parse, &f, A("run"), A("--rootfs"), A("/r"), A("--"), A("sh")), -EINVAL);
	assert_int_equal(CALL(create_flags_parse, &f, A("run"), A("--"), A("sh")), -EINVAL);
	assert_int_equal(CALL(create_flags_parse, &f, A("run"), A("-it"), A("sh")), -EINVAL);
	assert_int_equal(CALL(create_flags_parse, &f, A("run"), A("--hypervisor"), A("qemu"), A("ID")), -EINVAL);
	assert_int_equal(CALL(create_flags_parse, &f, A("run"), A("--help")), -EINVAL);
}

static void test_exec(void **state)
{
	struct exec_flags f = { 0 };

	/* conmon */
	assert_int_equal(CALL(exec_flags_parse, &f, A("exec"), A("--pid-file"), A("/p"), A("--process"), A("/x"),
			      A("--detach"), A("--tty"), A("--console-socket"), A("/s"), A("ID")),
			 0);
	assert_string_equal(f.process, "/x");
	assert_true(f.detach && f.terminal);
	assert_int_equal(f.n_args, 0);
	assert_non_null(f.oci_only);
	exec_flags_fini(&f);
	f = (struct exec_flags){ 0 };
	/* people */
	assert_int_equal(CALL(exec_flags_parse, &f, A("exec"), A("-u"), A("1:2"), A("-e"), A("A=b"), A("--cwd"),
			      A("/d"), A("-c"), A("CAP_KILL"), A("--no-new-privs"), A("ID"), A("ls"), A("-l")),
			 0);
	assert_string_equal(f.user, "1:2");
	assert_string_equal(f.workdir, "/d");
	assert_int_equal(f.n_args, 2);
	assert_string_equal(f.args[1], "-l");
	assert_true(strv_contains(&f.caps, "CAP_KILL"));
	exec_flags_fini(&f);
	f = (struct exec_flags){ 0 };
	assert_int_equal(CALL(exec_flags_parse, &f, A("exec"), A("-it"), A("ID"), A("sh")), 0);
	assert_null(f.oci_only);
	exec_flags_fini(&f);
}

static Grpc__Process *process(const char *text)
{
	Grpc__Process *p = NULL;
	struct err e = { 0 };

	if (oci_spec_parse_process(text, strlen(text), "test", &p, NULL, &e) < 0)
		fail_msg("%s", e.text);
	return p;
}

static void test_exec_process(void **state)
{
	_cleanup_(oci_process_free_p) Grpc__Process *own =
		process("{\"cwd\":\"/\",\"args\":[\"init\"],\"env\":[\"A=1\",\"B=2\"],\"user\":{\"uid\":7,\"gid\":8,"
			"\"additionalGids\":[9]},\"capabilities\":{\"bounding\":[\"CAP_CHOWN\"],\"effective\":[]}}");
	struct exec_flags f = { 0 };
	struct exec_process p;
	struct err e = { 0 };

	assert_int_equal(CALL(exec_flags_parse, &f, A("exec"), A("-e"), A("B=3"), A("-c"), A("CAP_KILL"), A("-g"),
			      A("10"), A("-t"), A("ID"), A("sh"), A("-c"), A("x")),
			 0);
	assert_int_equal(exec_process_build(&p, &f, own, "/nowhere", &e), 0);
	assert_int_equal(p.process.n_args, 3);
	assert_string_equal(p.process.args[0], "sh");
	assert_true(p.process.terminal);
	assert_string_equal(strv_get_env(&p.env, "A"), "1");
	assert_string_equal(strv_get_env(&p.env, "B"), "3");
	assert_string_equal(strv_get_env(&p.env, "TERM"), "xterm");
	assert_int_equal(p.process.user->uid, 7);
	assert_int_equal(p.process.user->n_additionalgids, 2);
	assert_int_equal(p.process.user->additionalgids[0], 9);
	assert_int_equal(p.process.user->additionalgids[1], 10);
	assert_int_equal(p.process.capabilities->n_bounding, 2);
	assert_string_equal(p.process.capabilities->bounding[1], "CAP_KILL");
	assert_int_equal(p.process.capabilities->n_effective, 1);
	assert_int_equal(p.process.capabilities->n_permitted, 1);
	assert_int_equal(p.process.capabilities->n_inheritable, 0);
	assert_int_equal(p.process.capabilities->n_ambient, 0);
	/* What it was made from is as it was. */
	assert_int_equal(own->user->n_additionalgids, 1);
	assert_int_equal(own->capabilities->n_bounding, 1);
	exec_process_fini(&p);
	exec_flags_fini(&f);
}

/* What cannot be is refused; what podman asks for by itself is not in anybody's way. */
static void test_preserved_fds(void **state)
{
	_cleanup_(oci_process_free_p) Grpc__Process *plain =
		process("{\"cwd\":\"/\",\"args\":[\"init\"],\"user\":{\"uid\":0,\"gid\":0},\"env\":[\"A=1\"]}");
	_cleanup_(oci_process_free_p) Grpc__Process *activated =
		process("{\"cwd\":\"/\",\"args\":[\"init\"],\"user\":{\"uid\":0,\"gid\":0},"
			"\"env\":[\"LISTEN_PID=1\",\"LISTEN_FDS=1\"]}");
	struct exec_flags f = { 0 };
	struct err e = { 0 };

	assert_int_equal(launch_check_fds(0, plain, &e), 0);
	assert_int_equal(launch_check_fds(0, NULL, &e), 0);
	assert_int_equal(launch_check_fds(1, activated, &e), 0);
	assert_int_equal(launch_check_fds(1, plain, &e), -ENOTSUP);
	assert_string_equal(e.text, "--preserve-fds 1: a process in a virtual machine cannot have descriptors of the "
				    "host; mount what they stand for instead");
	assert_int_equal(launch_check_fds(2, NULL, &e), -ENOTSUP);
	assert_int_equal(CALL(exec_flags_parse, &f, A("exec"), A("--preserve-fds"), A("2"), A("ID"), A("sh")), 0);
	assert_int_equal(f.preserve_fds, 2);
	exec_flags_fini(&f);
	f = (struct exec_flags){ 0 };
	assert_int_equal(CALL(exec_flags_parse, &f, A("exec"), A("--preserve-fds"), A("-1"), A("ID"), A("sh")),
			 -EINVAL);
	exec_flags_fini(&f);
}

static void check_update(const char *want, struct update_flags *f)
{
	_cleanup_free_ char *text = update_flags_document(f);
	_cleanup_(oci_resources_free_p) Grpc__LinuxResources *r = NULL;
	struct err e = { 0 };

	assert_string_equal(text, want);
	if (oci_resources_parse(text, strlen(text), "update", &r, NULL, &e) < 0)
		fail_msg("%s", e.text);
}

static void test_update(void **state)
{
	struct update_flags f = { 0 };
	struct err e = { 0 };

	assert_int_equal(UPDATE(&f, &e, A("--memory"), A("64000000"), A("--memory-swap"), A("-1"), A("--cpu-quota"),
				A("5000"), A("--cpuset-cpus"), A("0-1,\"3"), A("--pids-limit"), A("9"), A("ID")),
			 0);
	assert_string_equal(f.id, "ID");
	check_update("{\"memory\":{\"limit\":64000000,\"swap\":-1},\"cpu\":{\"quota\":5000,\"cpus\":\"0-1,\\\"3\"},"
		     "\"pids\":{\"limit\":9}}",
		     &f);
	f = (struct update_flags){ 0 };
	assert_int_equal(UPDATE(&f, &e, A("--memory"), A("50M"), A("--memory-swap"), A("1GiB"),
				A("--memory-reservation"), A("8kB"), A("--kernel-memory"), A("1"), A("ID")),
			 0);
	check_update("{\"memory\":{\"limit\":52428800,\"reservation\":8192,\"swap\":1073741824}}", &f);
	f = (struct update_flags){ 0 };
	assert_int_equal(UPDATE(&f, &e, A("ID")), 0);
	check_update("{}", &f);
	f = (struct update_flags){ 0 };
	assert_int_equal(UPDATE(&f, &e, A("-r"), A("-"), A("ID")), 0);
	assert_string_equal(f.document, "-");
	assert_int_equal(UPDATE(&f, &e, A("--memory"), A("many"), A("ID")), -EINVAL);
	assert_string_equal(e.text, "invalid value for --memory: many");
	e = (struct err){ 0 };
	assert_int_equal(UPDATE(&f, &e, A("--memory"), A("-2"), A("ID")), -EINVAL);
	e = (struct err){ 0 };
	assert_int_equal(UPDATE(&f, &e, A("--pids-limit"), A("2k"), A("ID")), -EINVAL);
	e = (struct err){ 0 };
	assert_int_equal(UPDATE(&f, &e, A("--l3-cache-schema"), A("x"), A("ID")), -ENOTSUP);
	assert_int_equal(UPDATE(&f, &e, A("a"), A("b")), 1);
	assert_false(f.help);
	assert_int_equal(UPDATE(&f, &e, A("--help")), 1);
	assert_true(f.help);
}

static void test_milliseconds(void **state)
{
	static const struct {
		const char *text;
		uint64_t expected; /* 0: refused */
	} cases[] = { { "100ms", 100 },
		      { "5s", 5000 },
		      { "5", 5000 },
		      { "1m30s", 90000 },
		      { "2h", 7200000 },
		      { "", 0 },
		      { "s", 0 },
		      { "1m5", 0 },
		      { "5S", 0 },
		      { "5 s", 0 },
		      { "-1s", 0 },
		      { "5mss", 0 },
		      { "99999999999999999h", 0 } };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		uint64_t ms = 0;
		int r = units_milliseconds(cases[i].text, &ms);

		if (r != (cases[i].expected ? 0 : -EINVAL) || (r == 0 && ms != cases[i].expected))
			fail_msg("%s: %d %llu", cases[i].text, r, (unsigned long long)ms);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_milliseconds),  cmocka_unit_test(test_create),
		cmocka_unit_test(test_run),           cmocka_unit_test(test_exec),
		cmocka_unit_test(test_exec_process),  cmocka_unit_test(test_update),
		cmocka_unit_test(test_preserved_fds),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
