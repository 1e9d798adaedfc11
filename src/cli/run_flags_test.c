/* SPDX-License-Identifier: Apache-2.0 */
/* Every flag of `caisson run`, and every sentence with which one is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "cli/run_flags.h"

static struct run_flags f;
static struct err error;

static int parse(const char *const *args)
{
	char *argv[64];
	int n = 0;

	run_flags_fini(&f);
	error = (struct err){ 0 };
	argv[n++] = (char *)"run";
	for (; args[n - 1]; n++)
		argv[n] = (char *)args[n - 1];
	argv[n] = NULL;
	return run_flags_parse(&f, n, argv, &error);
}

#define ARGS(...) ((const char *const[]){ __VA_ARGS__, NULL })

#define GOOD(...)                                                                                                      \
	do {                                                                                                           \
		if (parse(ARGS("--rootfs", "/r", __VA_ARGS__)) < 0)                                                    \
			fail_msg("%s", error.text);                                                                    \
	} while (0)

static void refused(const char *const *args, const char *text)
{
	int r = parse(args);

	if (r >= 0)
		fail_msg("taken, instead of: %s", text);
	assert_string_equal(error.text, text);
	assert_int_equal(-r, error.code);
	assert_int_equal(error.domain, r == -ENOENT ? ERR_SYSTEM : ERR_CONFIG);
}

#define REFUSED(text, ...) refused(ARGS("--rootfs", "/r", __VA_ARGS__), text)

static int tear_down(void **state)
{
	run_flags_fini(&f);
	return 0;
}

static void test_strings(void **state)
{
	GOOD("--name", "n", "--hostname", "h", "--entrypoint=", "--net", "user", "--dns", "1.1.1.1", "--hypervisor",
	     "qemu", "--config", "c", "--kernel", "k", "--initrd", "i", "--image", "m", "--root", "o", "--store", "s",
	     "-w", "/w", "-u", "1:2");
	assert_string_equal(f.rootfs, "/r");
	assert_string_equal(f.name, "n");
	assert_string_equal(f.hostname, "h");
	assert_string_equal(f.entrypoint, "");
	assert_string_equal(f.net, "user");
	assert_string_equal(f.dns, "1.1.1.1");
	assert_string_equal(f.hypervisor, "qemu");
	assert_string_equal(f.config, "c");
	assert_string_equal(f.kernel, "k");
	assert_string_equal(f.initrd, "i");
	assert_string_equal(f.image, "m");
	assert_string_equal(f.root, "o");
	assert_string_equal(f.store, "s");
	assert_string_equal(f.workdir, "/w");
	assert_string_equal(f.user, "1:2");
	GOOD("--network", "none", "--workdir=/x", "--user=u");
	assert_string_equal(f.net, "none");
	assert_string_equal(f.workdir, "/x");
	assert_string_equal(f.user, "u");
}

static void test_long_name(void **state)
{
	char name[66], text[128];

	memset(name, 'n', 65);
	name[64] = '\0';
	GOOD("--name", name);
	name[64] = 'n';
	name[65] = '\0';
	snprintf(text, sizeof text, "--name %s: at most 64 bytes", name);
	REFUSED(text, "--name", name);
}

static void test_switches(void **state)
{
	GOOD("--rw");
	assert_true(f.rw && !f.read_only && !f.dry_run && !f.verbose && !f.strict && !f.interactive && !f.terminal);
	GOOD("-it", "--read-only", "--privileged", "--dry-run", "--verbose", "--strict");
	assert_true(!f.rw && f.read_only && f.privileged && f.dry_run && f.verbose && f.strict && f.interactive &&
		    f.terminal);
	GOOD("--interactive", "--tty");
	assert_true(f.interactive && f.terminal);
	/* Help needs nothing else. */
	assert_int_equal(parse(ARGS("--help")), 0);
	assert_true(f.help);
	assert_int_equal(parse(ARGS("-h")), 0);
	assert_true(f.help);
	assert_non_null(strstr(run_flags_help, "usage: caisson run"));
}

static void test_lists(void **state)
{
	GOOD("--tmpfs", "/t", "--tmpfs", "/u:size=1m", "--cap-add", "A", "--cap-drop", "B", "--security-opt", "S",
	     "--ulimit", "nofile=1", "-p", "80:80", "--publish", "81:81", "--annotation", "k=v");
	assert_int_equal(f.tmpfs.len, 2);
	assert_string_equal(f.tmpfs.v[1], "/u:size=1m");
	assert_string_equal(f.cap_add.v[0], "A");
	assert_string_equal(f.cap_drop.v[0], "B");
	assert_string_equal(f.security_opt.v[0], "S");
	assert_string_equal(f.ulimit.v[0], "nofile=1");
	assert_int_equal(f.publish.len, 2);
	assert_string_equal(f.annotation.v[0], "k=v");
}

static void test_command(void **state)
{
	GOOD("sh", "-c", "--rw");
	assert_int_equal(f.args.len, 3);
	assert_false(f.rw); /* the command's own */
	GOOD("--", "--rw", "--");
	assert_int_equal(f.args.len, 2);
	assert_string_equal(f.args.v[0], "--rw");
	assert_string_equal(f.args.v[1], "--");
	GOOD("--");
	assert_int_equal(f.args.len, 0);
}

static void test_memory(void **state)
{
	static const struct {
		const char *text;
		int64_t expected;
	} cases[] = { { "6m", 6 << 20 },
		      { "6291456", 6 << 20 },
		      { "6291456b", 6 << 20 },
		      { "8K0", 0 },
		      { "8192k", 8 << 20 },
		      { "1G", 1 << 30 },
		      { "8MiB", 8 << 20 },
		      { "2M", 0 },
		      { "m", 0 },
		      { "", 0 },
		      { "-8m", 0 },
		      { "8mm", 0 },
		      { "8589934591g", 8589934591ll << 30 },
		      { "8589934592g", 0 } };

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		int r = parse(ARGS("--rootfs", "/r", "--memory", cases[i].text));

		if (f.memory != cases[i].expected && (r == 0 || cases[i].expected))
			fail_msg("--memory %s: %d %lld", cases[i].text, r, (long long)f.memory);
		assert_int_equal(r, cases[i].expected ? 0 : -EINVAL);
	}
	REFUSED("--memory 1x: expected a number of bytes, or one with b, k, m or g behind it", "--memory", "1x");
	REFUSED("--memory 6291455: at least 6m is needed", "--memory", "6291455");
}

static void test_limits(void **state)
{
	GOOD("--cpus", "1.5", "--pids-limit", "100", "--timeout", "30");
	assert_true(f.cpus == 1.5);
	assert_int_equal(f.pids_limit, 100);
	assert_int_equal(f.timeout_s, 30);
	GOOD("--pids-limit", "-1");
	assert_int_equal(f.pids_limit, 0);
	REFUSED("--cpus 0: expected a number from 0.01 to 1024", "--cpus", "0");
	REFUSED("--cpus nan: expected a number from 0.01 to 1024", "--cpus", "nan");
	REFUSED("--cpus 2x: expected a number from 0.01 to 1024", "--cpus", "2x");
	REFUSED("--cpus : expected a number from 0.01 to 1024", "--cpus", "");
	REFUSED("--cpus 1025: expected a number from 0.01 to 1024", "--cpus", "1025");
	REFUSED("--pids-limit -2: expected a whole number up to 4194304", "--pids-limit", "-2");
	REFUSED("--pids-limit 4194305: expected a whole number up to 4194304", "--pids-limit", "4194305");
	REFUSED("--timeout 1.5: expected a whole number up to 31536000", "--timeout", "1.5");
	REFUSED("--timeout 31536001: expected a whole number up to 31536000", "--timeout", "31536001");
}

static void test_volumes(void **state)
{
	GOOD("-v", "/usr/:/a", "-v", "/etc:/b:ro", "--volume=/etc:/c:rw", "-v", "/etc:/d:z", "--mount",
	     "src=/etc,dst=/e", "--mount", "type=bind,source=/etc,target=/f,readonly", "--mount",
	     "source=/etc,destination=/g,ro,rw");
	assert_int_equal(f.n_volumes, 7);
	assert_string_equal(f.volumes[0].source, "/usr"); /* resolved here: another folder may be current later */
	assert_string_equal(f.volumes[0].target, "/a");
	assert_false(f.volumes[0].readonly);
	assert_true(f.volumes[1].readonly);
	assert_false(f.volumes[2].readonly || f.volumes[3].readonly || f.volumes[4].readonly);
	assert_true(f.volumes[5].readonly);
	REFUSED("--volume /etc: expected HOST:PATH or HOST:PATH:ro", "-v", "/etc");
	REFUSED("--volume /etc:/a:shared: unknown mode \"shared\": use ro or rw", "-v", "/etc:/a:shared");
	REFUSED("volume /etc: the path in the container must be absolute, not \"a\"", "-v", "/etc:a");
	REFUSED("volume /etc: the path in the container must be absolute, not \"\"", "-v", "/etc:");
	REFUSED("volume /nonexistent: cannot find it on this host: No such file or directory", "-v", "/nonexistent:/a");
	REFUSED("--mount dst=/a: src=HOST is missing", "--mount", "dst=/a");
	REFUSED("--mount src=/etc: dst=PATH is missing", "--mount", "src=/etc");
	REFUSED("--mount type=volume,src=/etc,dst=/a: type must be bind or tmpfs", "--mount",
		"type=volume,src=/etc,dst=/a");
	REFUSED("--mount src=/etc,dst=/a,consistency=x: unknown option \"consistency=x\"", "--mount",
		"src=/etc,dst=/a,consistency=x");
}

static void test_tmpfs_by_mount(void **state)
{
	GOOD("--mount", "type=tmpfs,dst=/a", "--mount", "type=tmpfs,dst=/b,tmpfs-size=1m", "--mount",
	     "type=tmpfs,dst=/c,ro", "--mount", "type=tmpfs,dst=/d,readonly,tmpfs-size=2m");
	assert_string_equal(f.tmpfs.v[0], "/a");
	assert_string_equal(f.tmpfs.v[1], "/b:size=1m");
	assert_string_equal(f.tmpfs.v[2], "/c:ro");
	assert_string_equal(f.tmpfs.v[3], "/d:ro,size=2m");
}

static void test_environment(void **state)
{
	char path[] = "/tmp/env-file-XXXXXX";
	static const char text[] = "# comment\n\n  A=1\r\nB=two words\nFROM_US\nNOT_SET\nA=3\n\tC==\n";
	_cleanup_free_ char *bad = NULL;
	int fd = mkstemp(path);

	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
	setenv("FROM_US", "ours", 1);
	unsetenv("NOT_SET");
	GOOD("--env-file", path, "-e", "D=4", "--env=B=5", "-e", "FROM_US", "-e", "NOT_SET");
	assert_int_equal(f.env.len, 5);
	assert_string_equal(strv_get_env(&f.env, "A"), "3");
	assert_string_equal(strv_get_env(&f.env, "B"), "5"); /* the later one wins */
	assert_string_equal(strv_get_env(&f.env, "C"), "=");
	assert_string_equal(strv_get_env(&f.env, "D"), "4");
	assert_string_equal(strv_get_env(&f.env, "FROM_US"), "ours");
	assert_int_equal(pwrite(fd, "=x\n#", 4, 0), 4);
	bad = str_printf("%s: --env =x: expected NAME=VALUE or NAME", path);
	REFUSED(bad, "--env-file", path);
	close(fd);
	unlink(path);
	REFUSED("--env : expected NAME=VALUE or NAME", "-e", "");
	REFUSED("--env-file: cannot read /nonexistent: No such file or directory", "--env-file", "/nonexistent");
}

static void test_unknown(void **state)
{
	REFUSED("--nothing: unknown flag; see: caisson run --help", "--nothing");
	REFUSED("-z: unknown flag; see: caisson run --help", "-z");
	/* In a group of letters, behind other flags: the letter is named. */
	REFUSED("-z: unknown flag; see: caisson run --help", "--rw", "-zi");
	REFUSED("-z: unknown flag; see: caisson run --help", "--rw", "-izt", "x");
	REFUSED("--rw=1: unknown flag, or one that takes no value; see: caisson run --help", "--rw=1");
	REFUSED("--tty=1: unknown flag, or one that takes no value; see: caisson run --help", "--tty=1");
	REFUSED("--memory: a value is missing; see: caisson run --help", "--memory");
	REFUSED("-e: a value is missing; see: caisson run --help", "-e");
	REFUSED("--env: a value is missing; see: caisson run --help", "--env");
}

static void test_what_to_run(void **state)
{
	static const char *const either = "name what to run with either --rootfs or --bundle; see: caisson run --help";

	refused(ARGS("--rw"), either);
	refused(ARGS("--rootfs", "a", "--bundle", "b"), either);
	refused(ARGS("--bundle", "b", "--", "cmd"), "--bundle has its command in config.json: \"cmd\" is too much");
	assert_int_equal(parse(ARGS("--bundle", "b", "-i", "-v", "/etc:/x", "--net", "user", "--timeout", "5")), 0);
	assert_string_equal(f.bundle, "b");
}

static void test_flags_that_a_bundle_has_itself(void **state)
{
	static const char *const flags[][2] = {
		{ "--rw", NULL },         { "--tty", NULL },      { "--env", "A=b" },      { "--workdir", "/" },
		{ "--user", "1" },        { "--entrypoint", "" }, { "--tmpfs", "/t" },     { "--read-only", NULL },
		{ "--privileged", NULL }, { "--cap-add", "ALL" }, { "--cap-drop", "ALL" }, { "--security-opt", "x" },
		{ "--ulimit", "x" },      { "--memory", "100m" }, { "--cpus", "1" },       { "--pids-limit", "5" },
	};

	for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
		_cleanup_free_ char *text =
			str_printf("%s has no effect with --bundle: change its config.json", flags[i][0]);

		refused(ARGS("--bundle", "b", flags[i][0], flags[i][1]), text);
	}
}

int main(void)
{
#define T(fn) cmocka_unit_test_teardown(fn, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_strings),
		T(test_long_name),
		T(test_switches),
		T(test_lists),
		T(test_command),
		T(test_memory),
		T(test_limits),
		T(test_volumes),
		T(test_tmpfs_by_mount),
		T(test_environment),
		T(test_unknown),
		T(test_what_to_run),
		T(test_flags_that_a_bundle_has_itself),
	};

	return cmocka_run_group_tests_name("run_flags", tests, NULL, NULL);
}
