/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/qmp.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"

struct qmp {
	int fd;
	int broken; /* negative errno once nothing more can come */
	struct json_object *greeting;
	uint64_t next_id, wait_id; /* wait_id: the request in flight; 0: none */
	struct json_object *answer;
	struct buf in;
	size_t scanned; /* bytes of `in` known to hold no newline */
	qmp_event_fn fn;
	void *userdata;
};

int qmp_new(int fd, qmp_event_fn fn, void *userdata, struct qmp **ret)
{
	struct qmp *q = calloc(1, sizeof *q);

	if (!q)
		return -ENOMEM;
	q->fd = fd;
	q->fn = fn;
	q->userdata = userdata;
	q->next_id = 1;
	fd_set_nonblock(fd, true);
	*ret = q;
	return 0;
}

void qmp_free(struct qmp *q)
{
	if (!q)
		return;
	fd_close(&q->fd);
	json_free(q->answer);
	json_free(q->greeting);
	buf_fini(&q->in);
	free(q);
}

int qmp_fd(const struct qmp *q)
{
	return q->fd;
}

struct json_object *qmp_greeting(const struct qmp *q)
{
	return q->greeting;
}

static int handle_line(struct qmp *q, const char *line, size_t len)
{
	_cleanup_json_ struct json_object *o = NULL;
	const char *event;
	const char *text;
	uint64_t id;
	int r;

	while (len && (line[len - 1] == '\r' || line[len - 1] == ' '))
		len--;
	if (!len)
		return 0;
	r = json_parse(line, len, QMP_LINE_MAX, &o, NULL);
	if (r < 0)
		return r == -ENOMEM ? r : -EPROTO;
	if (!json_is_object(o))
		return -EPROTO;
	if (json_get_object(o, "QMP")) {
		json_free(q->greeting);
		q->greeting = json_ref(json_get_object(o, "QMP"));
		return 0;
	}
	event = json_get_str(o, "event");
	if (event) {
		if (q->fn)
			q->fn(event, json_get_object(o, "data"), q->userdata);
		return 0;
	}
	if (!json_get(o, "return") && !json_get_object(o, "error"))
		return -EPROTO;
	/* An error without id answers something unparsable; nothing we send is, but it ends the wait. */
	text = json_get_str(o, "id");
	if (!json_get(o, "id"))
		id = q->wait_id;
	else if (!text || str_to_u64(text, 10, &id) < 0)
		id = 0;
	if (q->wait_id && id == q->wait_id && !q->answer)
		q->answer = take_ptr(o);
	return 0;
}

static int handle_input(struct qmp *q)
{
	for (;;) {
		char *nl =
			q->in.len > q->scanned ? memchr(q->in.data + q->scanned, '\n', q->in.len - q->scanned) : NULL;
		size_t n;
		int r;

		if (!nl) {
			q->scanned = q->in.len;
			return q->in.len > QMP_LINE_MAX ? -EPROTO : 0;
		}
		n = (size_t)(nl - q->in.data);
		if (n > QMP_LINE_MAX)
			return -EPROTO;
		r = handle_line(q, q->in.data, n);
		buf_consume(&q->in, n + 1);
		q->scanned = 0;
		if (r < 0)
			return r;
	}
}

int qmp_dispatch(struct qmp *q)
{
	/* A bound per call, so that a flood of events cannot keep the caller's loop here. */
	for (unsigned rounds = 0; rounds < 64 && !q->broken; rounds++) {
		ssize_t n;

		if (buf_reserve(&q->in, 4096) < 0) {
			q->broken = -ENOMEM;
			break;
		}
		n = read(q->fd, q->in.data + q->in.len, 4096);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return 0;
		if (n <= 0) {
			q->broken = n == 0 || errno == ECONNRESET ? -EPIPE : -errno;
			break;
		}
		q->in.len += (size_t)n;
		q->in.data[q->in.len] = 0;
		q->broken = handle_input(q);
	}
	return q->broken;
}

/* Wait for events on the socket. 0, -ETIMEDOUT or -errno. */
static int wait_io(struct qmp *q, short events, uint64_t deadline_ms)
{
	uint64_t now = clock_ms();
	struct pollfd p = { .fd = q->fd, .events = events };
	uint64_t left = deadline_ms > now ? deadline_ms - now : 0;
	int r = poll(&p, 1, left > 60000 ? 60000 : (int)left);

	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return r == 0 && clock_ms() >= deadline_ms ? -ETIMEDOUT : 0;
}

int qmp_wait(struct qmp *q, bool (*done)(void *userdata), void *userdata, uint64_t deadline_ms)
{
	for (;;) {
		int r = qmp_dispatch(q);

		/* What came before the end of the stream counts. */
		if (done(userdata))
			return 0;
		if (r < 0)
			return r;
		/* There is always more to read of a peer that never stops talking. */
		if (clock_ms() >= deadline_ms)
			return -ETIMEDOUT;
		r = wait_io(q, POLLIN, deadline_ms);
		if (r < 0)
			return r;
	}
}

static int explain(int r, const char *what, struct err *e)
{
	switch (r) {
	case -ETIMEDOUT:
		return err_set(e, ERR_LIMIT, ETIMEDOUT, "%s: no answer from the monitor in time", what);
	case -EPIPE:
		return err_set(e, ERR_HYPERVISOR, EPIPE, "%s: the monitor closed the connection", what);
	case -EPROTO:
		return err_set(e, ERR_PROTOCOL, EPROTO, "%s: the monitor answered with something that is not QMP",
			       what);
	default:
		return err_sys(e, -r, "%s", what);
	}
}

/* fd goes with the first byte, as QEMU expects it with the command that uses it. */
static int send_all(struct qmp *q, const char *text, size_t len, int fd, uint64_t deadline_ms)
{
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };

	while (len) {
		struct iovec iov = { .iov_base = (void *)(uintptr_t)text, .iov_len = len };
		struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;
		int r;

		if (fd >= 0) {
			m.msg_control = &control;
			m.msg_controllen = sizeof control;
			*CMSG_FIRSTHDR(&m) = (struct cmsghdr){ .cmsg_len = CMSG_LEN(sizeof fd),
							       .cmsg_level = SOL_SOCKET,
							       .cmsg_type = SCM_RIGHTS };
			memcpy(CMSG_DATA(CMSG_FIRSTHDR(&m)), &fd, sizeof fd);
		}
		n = sendmsg(q->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n >= 0) {
			text += n;
			len -= (size_t)n;
			fd = n > 0 ? -1 : fd;
			continue;
		}
		if (errno == EINTR)
			continue;
		if (errno != EAGAIN)
			return errno == ECONNRESET ? -EPIPE : -errno;
		r = wait_io(q, POLLOUT, deadline_ms);
		if (r < 0)
			return r;
	}
	return 0;
}

static int refused(const char *command, struct json_object *error, struct err *e)
{
	const char *class = json_get_str(error, "class"), *desc = json_get_str(error, "desc");
	int code = str_eq(class, "DeviceNotFound") ? ENODEV : str_eq(class, "CommandNotFound") ? ENOSYS : EREMOTEIO;

	return err_set(e, ERR_HYPERVISOR, code, "%s was refused: %.400s", command, desc ? desc : "no reason given");
}

static bool have_answer(void *userdata)
{
	struct qmp *q = userdata;

	return q->answer != NULL;
}

static bool was_greeted(void *userdata)
{
	struct qmp *q = userdata;

	return q->greeting != NULL;
}

int qmp_execute(struct qmp *q, const char *command, struct json_object *args, int fd, uint64_t deadline_ms,
		struct json_object **ret, struct err *e)
{
	_cleanup_json_ struct json_object *request = json_object_make(), *answer = NULL;
	_cleanup_free_ char *text = NULL, *line = NULL;
	struct json_object *error;
	uint64_t id = q->next_id++;
	char name[24];
	int r;

	json_set_str(request, "execute", command);
	if (args)
		json_set(request, "arguments", args);
	/* A string: QEMU takes any value, StratoVirt nothing else. */
	snprintf(name, sizeof name, "%llu", (unsigned long long)id);
	json_set_str(request, "id", name);
	text = json_write(request, false);
	line = text ? str_printf("%s\n", text) : NULL;
	if (!line)
		return err_sys(e, ENOMEM, "%s", command);
	if (q->broken)
		return explain(q->broken, command, e);
	q->wait_id = id;
	r = send_all(q, line, strlen(line), fd, deadline_ms);
	if (r < 0 && r != -EPIPE)
		q->broken = r; /* part of a line may be out: the stream cannot be used any more */
	if (r == 0 || r == -EPIPE) {
		/* A peer that closes after its answer makes the send fail, yet has said why. */
		r = qmp_wait(q, have_answer, q, deadline_ms);
	}
	answer = take_ptr(q->answer);
	q->wait_id = 0;
	if (r < 0)
		return explain(r, command, e);
	error = json_get_object(answer, "error");
	if (error)
		return refused(command, error, e);
	if (ret)
		*ret = json_ref(json_get(answer, "return"));
	return 0;
}

int qmp_handshake(struct qmp *q, uint64_t deadline_ms, struct err *e)
{
	int r = qmp_wait(q, was_greeted, q, deadline_ms);

	if (r < 0)
		return explain(r, "QMP greeting", e);
	return qmp_execute(q, "qmp_capabilities", NULL, -1, deadline_ms, NULL, e);
}
