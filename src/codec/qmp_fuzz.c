/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes that a monitor sends: greeting, answers, events, garbage, ended by the close of the socket. */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "codec/qmp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_event(const char *event, struct json_object *data, void *userdata)
{
	size_t *n = userdata;

	*n += event[0] != 0 && json_get_str(data, "reason");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct json_object *ret = NULL;
	struct err e = { 0 };
	size_t events = 0;
	struct qmp *q;
	int s[2];

	if (size > 65536 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) < 0)
		return 0;
	if (qmp_new(s[0], on_event, &events, &q) < 0)
		return 0;
	fd_write_full(s[1], data, size);
	shutdown(s[1], SHUT_WR);
	if (qmp_handshake(q, clock_ms() + 1000, &e) == 0 &&
	    qmp_execute(q, "query-status", NULL, -1, clock_ms() + 1000, &ret, &e) == 0)
		json_free(ret);
	qmp_dispatch(q);
	qmp_free(q);
	close(s[1]);
	return 0;
}
