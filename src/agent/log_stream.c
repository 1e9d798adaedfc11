// SPDX-License-Identifier: Apache-2.0
/*
 * The log is written to a pipe (base/log.h writes each line with one write(2), which a pipe keeps whole), and the loop
 * reads it there. So logging never waits for the host, and a line written before anybody listens is kept.
 *
 * ring: the newest bytes; positions count from the beginning of time, so that a reader that fell behind is noticed.
 */
#include "agent/log_stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"

#define RING_SIZE   65536u
#define READERS_MAX 4

struct reader {
	struct log_stream *stream;
	int fd; /* -1: free */
	uint64_t at;
	bool lost; /* it fell behind and was not told yet */
	struct loop_source *source;
};

struct log_stream {
	struct loop *loop;
	int listen_fd, pipe_in, pipe_out;
	struct loop_source *listen_source, *pipe_source;
	struct reader readers[READERS_MAX];
	struct buf partial; /* of a line */
	uint64_t end;       /* bytes ever put into the ring */
	char ring[RING_SIZE];
};

static void ring_put(struct log_stream *s, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++)
		s->ring[(s->end + i) % RING_SIZE] = data[i];
	s->end += n;
}

static void drop_reader(struct reader *r)
{
	loop_source_free(r->source);
	r->source = NULL;
	fd_close(&r->fd);
}

/* The first line that is still whole, for a reader at an earlier place. */
static uint64_t oldest_line(const struct log_stream *s)
{
	uint64_t at = s->end - RING_SIZE;

	while (at < s->end && s->ring[at % RING_SIZE] != '\n')
		at++;
	return at < s->end ? at + 1 : at;
}

/* After a failed send. True: try again now. */
static bool wait_for_space(struct reader *r)
{
	if (errno == EINTR)
		return true;
	if (errno == EAGAIN)
		loop_io_set_events(r->source, EPOLLIN | EPOLLOUT);
	else
		drop_reader(r);
	return false;
}

static void feed(struct reader *r)
{
	struct log_stream *s = r->stream;

	while (r->at < s->end) {
		size_t from, n;
		ssize_t sent;

		if (s->end - r->at > RING_SIZE) {
			r->at = oldest_line(s);
			r->lost = true;
		}
		if (r->lost) {
			/* The line that was being sent is cut: end it. */
			static const char text[] =
				"\n{\"msg\":\"log lines were lost\",\"level\":\"WARN\",\"source\":\"agent\"}\n";

			sent = send(r->fd, text, sizeof text - 1, MSG_DONTWAIT | MSG_NOSIGNAL);
			if (sent > 0) {
				r->lost = false;
				continue;
			}
			if (!wait_for_space(r))
				return;
			continue;
		}
		from = r->at % RING_SIZE;
		n = s->end - r->at;
		if (n > RING_SIZE - from)
			n = RING_SIZE - from;
		sent = send(r->fd, s->ring + from, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent < 0) {
			if (!wait_for_space(r))
				return;
			continue;
		}
		r->at += (uint64_t)sent;
	}
	loop_io_set_events(r->source, EPOLLIN);
}

static void on_reader(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct reader *r = userdata;
	char ignored[256];

	(void)source;
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		ssize_t n = recv(fd, ignored, sizeof ignored, MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
			drop_reader(r);
			return;
		}
	}
	feed(r);
}

static void on_connection(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct log_stream *s = userdata;
	_cleanup_close_ int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source;
	(void)revents;
	for (size_t i = 0; conn >= 0 && i < READERS_MAX; i++) {
		struct reader *r = &s->readers[i];

		if (r->fd >= 0)
			continue;
		if (loop_add_io(s->loop, conn, EPOLLIN, on_reader, r, &r->source) < 0)
			return;
		r->fd = take_fd(&conn);
		r->lost = false;
		r->at = s->end > RING_SIZE ? oldest_line(s) : 0;
		feed(r);
		return;
	}
}

/* {"time":…,"level":"warning","source":…,"msg":…} of base/log.c becomes what readers of Kata's logs look for. */
static void convert(struct log_stream *s, char *line, size_t n)
{
	static const struct {
		const char *ours, *theirs;
	} levels[] = { { "error", "ERRO" }, { "warning", "WARN" }, { "info", "INFO" }, { "debug", "DEBG" } };
	static const char prefix[] = "{\"time\":\"", middle[] = "\",\"level\":\"";
	char *level, *end, *msg, head[256];
	const char *name = "INFO";
	int k;

	if (n < sizeof prefix || memcmp(line, prefix, sizeof prefix - 1) || line[n - 1] != '}')
		return;
	line[n - 1] = '\0';
	level = strstr(line, middle);
	end = level ? strchr(level + sizeof middle - 1, '"') : NULL;
	msg = end ? strstr(end, "\"msg\":") : NULL;
	if (!msg)
		return;
	*level = *end = '\0';
	for (size_t i = 0; i < sizeof levels / sizeof levels[0]; i++)
		if (!strcmp(level + sizeof middle - 1, levels[i].ours))
			name = levels[i].theirs;
	ring_put(s, "{", 1);
	ring_put(s, msg, strlen(msg));
	k = snprintf(head, sizeof head,
		     ",\"level\":\"%s\",\"ts\":\"%.40s\",\"name\":\"caisson-agent\",\"subsystem\":\"agent\","
		     "\"source\":\"agent\",\"pid\":\"%d\",\"version\":\"" CAISSON_VERSION "\"}\n",
		     name, line + sizeof prefix - 1, (int)getpid());
	ring_put(s, head, (size_t)k);
}

static void on_pipe(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct log_stream *s = userdata;
	char *newline;
	ssize_t n;

	(void)source;
	(void)revents;
	if (buf_reserve(&s->partial, 8192) < 0)
		return;
	n = read(fd, s->partial.data + s->partial.len, 8192);
	if (n <= 0)
		return;
	s->partial.len += (size_t)n;
	s->partial.data[s->partial.len] = '\0';
	while ((newline = memchr(s->partial.data, '\n', s->partial.len))) {
		size_t length = (size_t)(newline - s->partial.data);

		convert(s, s->partial.data, length);
		buf_consume(&s->partial, length + 1);
	}
	for (size_t i = 0; i < READERS_MAX; i++)
		if (s->readers[i].fd >= 0)
			feed(&s->readers[i]);
}

int log_stream_new(struct loop *loop, int listen_fd, struct log_stream **ret, struct err *e)
{
	struct log_stream *s = calloc(1, sizeof *s);
	int fds[2] = { -1, -1 }, r;

	if (!s || pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) {
		r = s ? -errno : -ENOMEM;
		free(s);
		close(listen_fd);
		return err_sys(e, -r, "cannot make the log stream");
	}
	s->loop = loop;
	s->listen_fd = listen_fd;
	s->pipe_out = fds[0];
	s->pipe_in = fds[1];
	for (size_t i = 0; i < READERS_MAX; i++)
		s->readers[i] = (struct reader){ .stream = s, .fd = -1 };
	r = loop_add_io(loop, listen_fd, EPOLLIN, on_connection, s, &s->listen_source);
	if (r == 0)
		r = loop_add_io(loop, s->pipe_out, EPOLLIN, on_pipe, s, &s->pipe_source);
	if (r < 0) {
		log_stream_free(s);
		return err_sys(e, -r, "cannot make the log stream");
	}
	log_set_sink(s->pipe_in, LOG_FORMAT_JSON, "agent");
	*ret = s;
	return 0;
}

void log_stream_free(struct log_stream *s)
{
	if (!s)
		return;
	log_set_sink(STDERR_FILENO, LOG_FORMAT_TEXT, "caisson-agent");
	for (size_t i = 0; i < READERS_MAX; i++)
		drop_reader(&s->readers[i]);
	loop_source_free(s->listen_source);
	loop_source_free(s->pipe_source);
	fd_close(&s->listen_fd);
	fd_close(&s->pipe_in);
	fd_close(&s->pipe_out);
	buf_fini(&s->partial);
	free(s);
}
