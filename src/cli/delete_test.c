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
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "cli/delete.h"

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

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_owner_that_is_busy) };
	int r;

	if (!mkdtemp(root))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dir_remove(root);
	return r;
}
