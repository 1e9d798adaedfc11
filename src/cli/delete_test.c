/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting by force, with an owner that is this test: its calls are wrapped. */
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

#include "base/fd.h"
#include "cli/delete.h"
#include "pod/state.h"

static char root[] = "/tmp/caisson-delete-XXXXXX";
static bool killed;

/* It is busy, and answers later. */
int __wrap_owner_state(struct owner_link *l, struct owner_state *ret, struct err *e);
int __wrap_owner_state(struct owner_link *l, struct owner_state *ret, struct err *e)
{
	*ret = (struct owner_state){ .status = OCI_STOPPED };
	return err_set(e, ERR_LIMIT, ETIMEDOUT, "no answer");
}

int __wrap_owner_kill(struct owner_link *l, int signo, bool all, struct err *e);
int __wrap_owner_kill(struct owner_link *l, int signo, bool all, struct err *e)
{
	killed |= signo == SIGKILL;
	return 0;
}

int __wrap_owner_wait(struct owner_link *l, int timeout_ms, struct err *e);
int __wrap_owner_wait(struct owner_link *l, int timeout_ms, struct err *e)
{
	return 0;
}

int __wrap_owner_call(struct owner_link *l, const char *method, const ProtobufCMessage *request,
		      const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret,
		      struct err *e);
int __wrap_owner_call(struct owner_link *l, const char *method, const ProtobufCMessage *request,
		      const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret, struct err *e)
{
	assert_string_equal(method, "Delete");
	return killed ? 0 : err_set(e, ERR_CONFIG, EBUSY, "it is running");
}

static void test_owner_that_is_busy(void **state)
{
	struct owner_link l = { .record = { .id = (char *)"c1", .sandbox = (char *)"c1" },
				.client = (struct ttrpc_client *)&l };
	struct err e = { 0 };

	assert_int_equal(delete_container(&l, root, false, &e), -ETIMEDOUT);
	assert_false(killed);
	e = (struct err){ 0 };
	assert_int_equal(delete_container(&l, root, true, &e), 0);
	assert_true(killed);
}

/* A pod's owner, whose first container was deleted before, and that answers nobody any more. */
static int end_slowly(int ready_fd)
{
	struct state_dir *pod, *member;
	char path[128];

	if (state_dir_create(root, "pod", &pod, NULL) < 0 || state_dir_create(root, "c1", &member, NULL) < 0)
		return 1;
	snprintf(path, sizeof path, "%s/oci.json", state_dir_path(member));
	if (file_replace(path, "{}", 2, 0600) < 0)
		return 2;
	close(ready_fd);
	usleep(300000);
	return access(path, F_OK) == 0 ? 0 : 3;
}

static void test_owner_that_is_ending(void **state)
{
	char path[128], byte;
	int status, p[2];
	pid_t pid;

	assert_int_equal(pipe(p), 0);
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		_exit(end_slowly(p[1]));
	}
	close(p[1]);
	assert_int_equal(read(p[0], &byte, 1), 0);
	close(p[0]);
	assert_int_equal(delete_await_gone(root, "pod", "c1", NULL), 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	snprintf(path, sizeof path, "%s/c1", root);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof path, "%s/pod", root);
	assert_int_equal(access(path, F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_owner_that_is_busy),
		cmocka_unit_test(test_owner_that_is_ending),
	};
	int r;

	if (!mkdtemp(root))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dir_remove(root);
	return r;
}
