/* SPDX-License-Identifier: Apache-2.0 */
/* The other end of monitor.h. The pod's owner may be anything by now: what it says is bounded, and so is the waiting.
 */
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/unix_socket.h"
#include "codec/http.h"
#include "codec/prometheus.h"
#include "pod/monitor.h"

#define LINE_MAX_BYTES 4096

/* Wait for fd; 0, -ETIMEDOUT. */
static int wait_for(int fd, short events, uint64_t deadline)
{
	uint64_t now = clock_ms();
	struct pollfd p = { .fd = fd, .events = events };

	if (now >= deadline)
		return -ETIMEDOUT;
	return poll(&p, 1, (int)(deadline - now)) < 0 && errno != EINTR ? -errno : 0;
}

static int send_all(int fd, const struct buf *out, uint64_t deadline)
{
	for (size_t at = 0; at < out->len;) {
		int r = wait_for(fd, POLLOUT, deadline);
		ssize_t n;

		if (r < 0)
			return r;
		n = send(fd, out->data + at, out->len - at, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno != EAGAIN && errno != EINTR)
			return -errno;
		at += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

/* The answer; 0 with *ret, or negative. */
static int receive(int fd, struct http_parser *p, uint64_t deadline, const struct http_message **ret, struct err *e)
{
	for (;;) {
		int r = wait_for(fd, POLLIN, deadline);
		char data[16384];
		ssize_t n;

		if (r < 0)
			return err_sys(e, -r, "wait for the answer");
		n = recv(fd, data, sizeof(data), MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return err_sys(e, n < 0 ? errno : ECONNRESET, "read the answer");
		r = http_parser_feed(p, data, (size_t)n);
		if (r < 0)
			return err_sys(e, -r, "read the answer");
		r = http_parser_next(p, ret, e);
		if (r)
			return r < 0 ? r : 0;
	}
}

int pod_monitor_get(const char *path, const char *target, int timeout_ms, struct buf *ret, struct err *e)
{
	uint64_t deadline = clock_ms() + (uint64_t)timeout_ms;
	_cleanup_close_ int fd = -1;
	_cleanup_buf_ struct buf out = { 0 };
	const struct http_message *m = NULL;
	struct http_parser p;
	int r = unix_connect(path, &fd);

	if (r < 0)
		return err_sys(e, -r, "connect to %s", path);
	http_parser_init(&p, HTTP_RESPONSE, LINE_MAX_BYTES, 2 * PROM_TEXT_MAX);
	r = http_write_request(&out, "GET", target, NULL);
	if (r == 0)
		r = send_all(fd, &out, deadline);
	if (r < 0)
		err_sys(e, -r, "ask %s for %s", path, target);
	else if ((r = receive(fd, &p, deadline, &m, e)) < 0)
		err_wrap(e, "ask %s for %s", path, target);
	else if (m->status != 200)
		r = err_set(e, ERR_SYSTEM, EREMOTEIO, "%s: %s: status %u: %s", path, target, m->status, m->body);
	else if (buf_append(ret, m->body, m->body_len) < 0)
		r = err_sys(e, ENOMEM, "ask %s for %s", path, target);
	http_parser_fini(&p);
	return r;
}
