/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"

/* Where we are in an escape sequence (ECMA-48): ESC, then CSI parameters, or an OSC string up to BEL. */
enum escape { ESCAPE_NONE, ESCAPE_START, ESCAPE_CSI, ESCAPE_OSC };

struct console {
	struct loop_source *source;
	int fd, log_fd;
	size_t log_len, log_max;
	const char *prefix;
	enum escape escape;
	unsigned utf8_left; /* continuation bytes that the current character still needs */
	size_t utf8_start;  /* where it began in the current line */
	size_t len;         /* of lines[head] */
	unsigned head;      /* the line being built */
	char lines[CONSOLE_LINES][CONSOLE_LINE_MAX + 1];
};

static void end_line(struct console *c)
{
	char *line = c->lines[c->head];

	if (c->utf8_left)
		c->len = c->utf8_start; /* a character that was cut off */
	c->utf8_left = 0;
	line[c->len] = 0;
	if (!c->len)
		return;
	if (c->prefix)
		log_debug("%s%s", c->prefix, line);
	c->head = (c->head + 1) % CONSOLE_LINES;
	c->len = 0;
	c->lines[c->head][0] = 0;
}

static void put(struct console *c, char ch)
{
	if (c->len < CONSOLE_LINE_MAX)
		c->lines[c->head][c->len++] = ch;
	c->lines[c->head][c->len] = 0;
}

/* Bytes above 0x7f: only well-formed starts and continuations pass; all else becomes '?'. */
static void put_high(struct console *c, unsigned char ch)
{
	if (c->utf8_left) {
		if ((ch & 0xc0) == 0x80) {
			put(c, (char)ch);
			c->utf8_left--;
			return;
		}
		c->utf8_left = 0;
		c->len = c->utf8_start;
		put(c, '?');
	}
	c->utf8_start = c->len;
	/* 0xc2: C1 control characters live there as two bytes; a terminal may obey them. */
	if (ch >= 0xc3 && ch <= 0xdf)
		c->utf8_left = 1;
	else if (ch >= 0xe0 && ch <= 0xef)
		c->utf8_left = 2;
	else if (ch >= 0xf0 && ch <= 0xf4)
		c->utf8_left = 3;
	if (c->utf8_left && c->len + c->utf8_left < CONSOLE_LINE_MAX) {
		put(c, (char)ch);
	} else {
		c->utf8_left = 0;
		put(c, '?');
	}
}

static bool in_escape(struct console *c, unsigned char ch)
{
	switch (c->escape) {
	case ESCAPE_START:
		c->escape = ch == '[' ? ESCAPE_CSI : ch == ']' ? ESCAPE_OSC : ESCAPE_NONE;
		return true;
	case ESCAPE_CSI:
		if (ch >= 0x40 && ch <= 0x7e)
			c->escape = ESCAPE_NONE;
		return ch != '\n';
	case ESCAPE_OSC:
		if (ch == 7 || ch == 0x9c || ch == '\n')
			c->escape = ESCAPE_NONE;
		return ch != '\n';
	case ESCAPE_NONE:
		break;
	}
	return false;
}

static void take_byte(struct console *c, unsigned char ch)
{
	if (in_escape(c, ch))
		return;
	c->escape = ESCAPE_NONE;
	if (ch == '\n') {
		end_line(c);
	} else if (ch == 0x1b) {
		c->escape = ESCAPE_START;
	} else if (ch >= 0x80) {
		put_high(c, ch);
	} else if (ch == '\t' || (ch >= 0x20 && ch != 0x7f)) {
		if (c->utf8_left) {
			c->utf8_left = 0;
			c->len = c->utf8_start;
			put(c, '?');
		}
		put(c, ch == '\t' ? ' ' : (char)ch);
	}
}

/* Full: move the newest half to the front. */
static void log_shrink(struct console *c)
{
	_cleanup_free_ char *half = malloc(c->log_max / 2);
	size_t keep = c->log_max / 2 < c->log_len ? c->log_max / 2 : c->log_len;
	ssize_t n = half ? pread(c->log_fd, half, keep, (off_t)(c->log_len - keep)) : -1;

	c->log_len = 0;
	if (ftruncate(c->log_fd, 0) < 0)
		fd_close(&c->log_fd);
	else if (n > 0 && pwrite(c->log_fd, half, (size_t)n, 0) == n)
		c->log_len = (size_t)n;
}

static void log_bytes(struct console *c, const char *data, size_t n)
{
	ssize_t w;

	if (c->log_fd < 0)
		return;
	if (n > c->log_max - c->log_len)
		log_shrink(c);
	if (c->log_fd < 0 || n > c->log_max - c->log_len)
		return;
	w = pwrite(c->log_fd, data, n, (off_t)c->log_len);
	if (w > 0)
		c->log_len += (size_t)w;
	else
		fd_close(&c->log_fd); /* disk full: the log ends, the VM goes on */
}

/* At most 64 KiB a call: a guest that never stops printing must not keep the loop. False: the stream has ended. */
static bool take_some(struct console *c)
{
	char data[4096];

	for (unsigned rounds = 0; rounds < 16; rounds++) {
		ssize_t n = read(c->fd, data, sizeof data);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return true;
		if (n <= 0) {
			end_line(c);
			return false;
		}
		log_bytes(c, data, (size_t)n);
		for (ssize_t i = 0; i < n; i++)
			take_byte(c, (unsigned char)data[i]);
	}
	return true;
}

static void on_readable(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	console_drain(userdata);
}

void console_drain(struct console *c)
{
	if (!c || c->fd < 0 || take_some(c))
		return;
	loop_source_free(c->source);
	c->source = NULL;
	fd_close(&c->fd);
}

int console_new(struct loop *loop, int fd, const char *log_path, size_t log_max, const char *prefix,
		struct console **ret, struct err *e)
{
	struct console *c = calloc(1, sizeof *c);
	int r;

	if (!c) {
		fd_close(&fd);
		return err_sys(e, ENOMEM, "cannot capture the console");
	}
	c->fd = fd;
	c->log_fd = -1;
	c->log_max = log_max;
	c->prefix = prefix;
	fd_set_nonblock(fd, true);
	if (log_path) {
		c->log_fd = open(log_path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (c->log_fd < 0) {
			r = err_sys(e, errno, "cannot make the console log %s", log_path);
			console_free(c);
			return r;
		}
	}
	r = loop_add_io(loop, fd, EPOLLIN, on_readable, c, &c->source);
	if (r < 0) {
		console_free(c);
		return err_sys(e, -r, "cannot capture the console");
	}
	*ret = c;
	return 0;
}

void console_free(struct console *c)
{
	if (!c)
		return;
	loop_source_free(c->source);
	fd_close(&c->fd);
	fd_close(&c->log_fd);
	free(c);
}

/* The line `back` steps before the one being built; 0: that one itself. */
static const char *line_at(const struct console *c, unsigned back)
{
	return c->lines[(c->head + CONSOLE_LINES - back) % CONSOLE_LINES];
}

void console_last_lines(const struct console *c, unsigned n, char *text, size_t size)
{
	unsigned have = 0, back;
	size_t used = 0;

	text[0] = 0;
	if (!c)
		return;
	for (back = 0; back < CONSOLE_LINES && have < n; back++)
		have += line_at(c, back)[0] != 0;
	while (back-- > 0) {
		const char *line = line_at(c, back);

		if (line[0] && used < size)
			used += (size_t)snprintf(text + used, size - used, "%s%s", used ? " | " : "", line);
	}
}

const char *console_find(const struct console *c, const char *needle)
{
	for (unsigned back = 0; c && back < CONSOLE_LINES; back++)
		if (strstr(line_at(c, back), needle))
			return line_at(c, back);
	return NULL;
}
