/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "base/strv.h"
#include "codec/json.h"
#include "oci/builder.h"
#include "oci/spec.h"
#include "pod/hooks.h"

struct fixture {
	char dir[64];
	char out[96]; /* what hooks write to */
	Grpc__Spec *spec;
	struct hook_state state;
};

static int setup(void **state)
{
	static const char text[] = "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},\"annotations\":{\"org."
				   "example\":\"a \\\"b\\\"\"}}";
	struct fixture *f = calloc(1, sizeof *f);
	struct err e = { 0 };

	snprintf(f->dir, sizeof f->dir, "/tmp/caisson-hooks-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->out, sizeof f->out, "%s/out", f->dir);
	if (oci_spec_parse(text, strlen(text), "test", &f->spec, NULL, &e) < 0)
		fail_msg("%s", e.text);
	f->state =
		(struct hook_state){ .id = "c1", .status = "creating", .bundle = f->dir, .pid = 4321, .spec = f->spec };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	dir_remove(f->dir);
	oci_spec_free(f->spec);
	free(f);
	return 0;
}

/* sh -c SCRIPT, with $OUT. e NULL: whatever becomes of them. */
static int run(struct fixture *f, const char *const *scripts, size_t n, int64_t timeout, struct err *e)
{
	Grpc__Hook hooks[4], *list[4];
	char *args[4][4], out[128];
	char *env[] = { out, (char *)"PATH=/usr/bin:/bin" };

	snprintf(out, sizeof out, "OUT=%s", f->out);
	for (size_t i = 0; i < n; i++) {
		memcpy(args[i], ((char *[]){ (char *)"the-hook", (char *)"-c", (char *)scripts[i], NULL }),
		       sizeof args[i]);
		grpc__hook__init(&hooks[i]);
		hooks[i].path = (char *)"/bin/sh";
		hooks[i].args = args[i];
		hooks[i].n_args = 3;
		hooks[i].env = env;
		hooks[i].n_env = 2;
		hooks[i].timeout = timeout;
		list[i] = &hooks[i];
	}
	if (e)
		return hooks_run(list, n, "prestart", &f->state, NULL, e);
	hooks_run_all(list, n, "poststop", &f->state);
	return 0;
}

static char *output(struct fixture *f)
{
	char *text = NULL;

	assert_int_equal(file_read(f->out, 65536, &text, NULL), 0);
	return text;
}

static void test_state_on_stdin(void **state)
{
	struct fixture *f = *state;
	const char *scripts[] = { "cat > $OUT; pwd >&2" };
	_cleanup_free_ char *text = NULL;
	_cleanup_json_ struct json_object *o = NULL;
	uint64_t pid;
	struct err e = { 0 };

	assert_int_equal(run(f, scripts, 1, 0, &e), 0);
	text = output(f);
	assert_int_equal(json_parse(text, strlen(text), 65536, &o, &e), 0);
	assert_string_equal(json_get_str(o, "ociVersion"), "1.0.2");
	assert_string_equal(json_get_str(o, "id"), "c1");
	assert_string_equal(json_get_str(o, "status"), "creating");
	assert_string_equal(json_get_str(o, "bundle"), f->dir);
	assert_int_equal(json_get_u64(o, "pid", &pid), 0);
	assert_int_equal(pid, 4321);
	assert_string_equal(json_get_str(json_get_object(o, "annotations"), "org.example"), "a \"b\"");
}

static void test_order_and_environment(void **state)
{
	struct fixture *f = *state;
	const char *scripts[] = { "echo one $0 >> $OUT; env | wc -l >> $OUT", "echo two >> $OUT" };
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };

	/* OUT, PATH, and what sh adds: PWD. */
	assert_int_equal(run(f, scripts, 2, 0, &e), 0);
	text = output(f);
	assert_string_equal(text, "one the-hook\n3\ntwo\n");
}

static void test_place(void **state)
{
	struct fixture *f = *state;
	const char *scripts[] = { "pwd >> $OUT" };
	_cleanup_free_ char *text = NULL, *want = str_printf("%s\n/usr\n", f->dir);
	struct err e = { 0 };

	assert_int_equal(run(f, scripts, 1, 0, &e), 0);
	f->state.cwd = "/usr";
	assert_int_equal(run(f, scripts, 1, 0, &e), 0);
	text = output(f);
	assert_string_equal(text, want);
}

static void test_failure_ends_it(void **state)
{
	struct fixture *f = *state;
	const char *scripts[] = { "echo one > $OUT", "echo first >&2; echo; echo the reason >&2; echo >&2; exit 7",
				  "echo three >> $OUT" };
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };

	assert_true(run(f, scripts, 3, 0, &e) < 0);
	assert_string_equal(e.text, "prestart hook 1 of c1: /bin/sh exited with status 7: the reason");
	text = output(f);
	assert_string_equal(text, "one\n");
}

static void test_failure_does_not_matter(void **state)
{
	struct fixture *f = *state;
	const char *scripts[] = { "echo one > $OUT; exit 1", "kill -9 $$", "echo three >> $OUT" };
	_cleanup_free_ char *text = NULL;

	run(f, scripts, 3, 0, NULL);
	text = output(f);
	assert_string_equal(text, "one\nthree\n");
}

static void test_killed_hook(void **state)
{
	const char *scripts[] = { "kill -9 $$" };
	struct err e = { 0 };

	assert_true(run(*state, scripts, 1, 0, &e) < 0);
	assert_string_equal(e.text, "prestart hook 0 of c1: /bin/sh was ended by signal 9");
}

static void test_missing_program(void **state)
{
	struct fixture *f = *state;
	Grpc__Hook hook = GRPC__HOOK__INIT, *list[] = { &hook };
	struct err e = { 0 };

	hook.path = (char *)"/no/such/hook";
	assert_int_equal(hooks_run(list, 1, "poststop", &f->state, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/no/such/hook"));
	assert_non_null(strstr(e.text, "poststop hook 0 of c1"));
}

/* Its children, too, so that nothing stays behind. */
static void test_timeout(void **state)
{
	struct fixture *f = *state;
	const char *scripts[] = { "sleep 1000 & echo $! > $OUT; wait" };
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };

	assert_int_equal(run(f, scripts, 1, 1, &e), -ETIMEDOUT);
	assert_non_null(strstr(e.text, "within 1 s"));
	assert_int_equal(waitpid(-1, NULL, 0), -1);
	text = output(f);
	/* Killed; who reaps it may take its time. */
	for (int i = 0; kill(atoi(text), 0) == 0; i++) {
		_cleanup_free_ char *stat = NULL;
		char path[64];

		snprintf(path, sizeof path, "/proc/%d/stat", atoi(text));
		if (file_read(path, 4096, &stat, NULL) < 0 || strstr(stat, ") Z "))
			break;
		assert_true(i < 3000);
		usleep(10000);
	}
}

/* A hook that does not read its stdin, says very much, or leaves a process that keeps stderr open. */
static void test_untidy_hooks(void **state)
{
	struct fixture *f = *state;
	const char *scripts[] = { "exit 0", "head -c 1000000 /dev/zero | tr '\\0' x >&2; exec <&-",
				  "sleep 3000 & echo $! > $OUT" };
	int before = (int)count_entries("/proc/self/fd");
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };

	assert_int_equal(run(f, scripts, 3, 60, &e), 0);
	text = output(f);
	kill(atoi(text), SIGKILL);
	assert_int_equal(count_entries("/proc/self/fd"), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_state_on_stdin, setup, teardown),
		cmocka_unit_test_setup_teardown(test_order_and_environment, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure_ends_it, setup, teardown),
		cmocka_unit_test_setup_teardown(test_failure_does_not_matter, setup, teardown),
		cmocka_unit_test_setup_teardown(test_place, setup, teardown),
		cmocka_unit_test_setup_teardown(test_killed_hook, setup, teardown),
		cmocka_unit_test_setup_teardown(test_missing_program, setup, teardown),
		cmocka_unit_test_setup_teardown(test_timeout, setup, teardown),
		cmocka_unit_test_setup_teardown(test_untidy_hooks, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
