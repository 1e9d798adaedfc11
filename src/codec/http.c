/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bytes collect in `in` until a head is complete; it moves to `head`, where its lines become the strings of the
 * message, and once enough bytes are there the body moves to `body`.
 */
#include "codec/http.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/strv.h"

void http_parser_init(struct http_parser *p, enum http_kind kind, size_t line_max, size_t body_max)
{
	*p = (struct http_parser){ .kind = kind, .line_max = line_max, .body_max = body_max };
}

void http_parser_fini(struct http_parser *p)
{
	buf_fini(&p->in);
	buf_fini(&p->head);
	buf_fini(&p->body);
	*p = (struct http_parser){ 0 };
}

int http_parser_feed(struct http_parser *p, const void *data, size_t len)
{
	return buf_append(&p->in, data, len);
}

bool http_parser_idle(const struct http_parser *p)
{
	return !p->have_head && p->in.len == 0;
}

const char *http_field(const struct http_message *m, const char *name)
{
	for (size_t i = 0; i < m->n_fields; i++)
		if (!strcmp(m->field[i].name, name))
			return m->field[i].value;
	return NULL;
}

/* ---- the head ---- */

/* RFC 9110 §5.6.2 */
static bool is_token(const char *s, size_t len)
{
	static const char other[] = "!#$%&'*+-.^_`|~";

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z') &&
		    (!c || !strchr(other, c)))
			return false;
	}
	return len > 0;
}

/*
 * Where the head ends: behind the empty line. 0: not yet; -E2BIG. Lines end with CRLF; a bare LF is accepted as RFC
 * 9112 §2.2 allows.
 */
static ssize_t head_length(const struct http_parser *p, const char *data, size_t len, struct err *e)
{
	size_t line = 0, fields = 0;

	for (size_t i = 0; i < len; i++) {
		if (i - line > p->line_max)
			break;
		if (data[i] != '\n')
			continue;
		if (i == line || (i == line + 1 && data[line] == '\r')) {
			/* An empty line before a message is passed over by our caller. */
			return (ssize_t)i + 1;
		}
		if (fields++ > HTTP_FIELDS_MAX)
			return err_set(e, ERR_PROTOCOL, E2BIG, "an HTTP head has more than %d fields", HTTP_FIELDS_MAX);
		line = i + 1;
	}
	if (len - line > p->line_max)
		return err_set(e, ERR_PROTOCOL, E2BIG, "a line of an HTTP head is longer than %zu bytes", p->line_max);
	return 0;
}

static int parse_version(const char *s, unsigned *ret_minor, struct err *e)
{
	if (strncmp(s, "HTTP/1.", 7) || (s[7] != '0' && s[7] != '1') || s[8])
		return err_set(e, ERR_PROTOCOL, EPROTO, "HTTP version \"%.16s\" is not spoken here: use HTTP/1.1", s);
	*ret_minor = (unsigned)(s[7] - '0');
	return 0;
}

static int parse_request_line(struct http_message *m, char *line, struct err *e)
{
	char *target = strchr(line, ' '), *version = target ? strrchr(target + 1, ' ') : NULL;

	if (!version || version == target + 1 || !is_token(line, (size_t)(target - line)))
		return err_set(e, ERR_PROTOCOL, EPROTO, "\"%.40s\" is not an HTTP request line", line);
	*target++ = *version++ = 0;
	if (strpbrk(target, " \t"))
		return err_set(e, ERR_PROTOCOL, EPROTO, "the target of an HTTP request has a space: \"%.40s\"", target);
	m->method = line;
	m->target = target;
	return parse_version(version, &m->minor, e);
}

static int parse_status_line(struct http_message *m, char *line, struct err *e)
{
	char *status = strchr(line, ' ');

	if (!status || strspn(status + 1, "0123456789") != 3 || (status[4] && status[4] != ' '))
		return err_set(e, ERR_PROTOCOL, EPROTO, "\"%.40s\" is not an HTTP status line", line);
	*status++ = 0;
	m->status = (unsigned)((status[0] - '0') * 100 + (status[1] - '0') * 10 + (status[2] - '0'));
	return parse_version(line, &m->minor, e);
}

static int parse_field(struct http_message *m, char *line, struct err *e)
{
	char *colon = strchr(line, ':'), *value, *end;

	/* A name that is followed by white space, or a folded line, is how requests are smuggled: RFC 9112 §5.1, §5.2.
	 */
	if (!colon || !is_token(line, (size_t)(colon - line)))
		return err_set(e, ERR_PROTOCOL, EPROTO, "\"%.40s\" is not an HTTP header field", line);
	if (m->n_fields == HTTP_FIELDS_MAX)
		return err_set(e, ERR_PROTOCOL, E2BIG, "an HTTP head has more than %d fields", HTTP_FIELDS_MAX);
	*colon = 0;
	value = colon + 1 + strspn(colon + 1, " \t");
	end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = 0;
	for (char *c = line; *c; c++)
		if (*c >= 'A' && *c <= 'Z')
			*c += 'a' - 'A';
	m->field[m->n_fields].name = line;
	m->field[m->n_fields++].value = value;
	return 0;
}

/* head: len bytes, the empty line included; lines become strings in place. */
static int parse_head(struct http_parser *p, char *head, size_t len, struct err *e)
{
	bool first = true;
	int r;

	if (memchr(head, 0, len))
		return err_set(e, ERR_PROTOCOL, EPROTO, "an HTTP head has a NUL byte");
	for (char *line = head, *end; line < head + len; line = end + 1) {
		end = memchr(line, '\n', (size_t)(head + len - line));
		*end = 0;
		if (end > line && end[-1] == '\r')
			end[-1] = 0;
		if (!*line)
			break;
		if (!first)
			r = parse_field(&p->message, line, e);
		else if (p->kind == HTTP_REQUEST)
			r = parse_request_line(&p->message, line, e);
		else
			r = parse_status_line(&p->message, line, e);
		if (r < 0)
			return r;
		first = false;
	}
	return 0;
}

static int parse_length(struct http_parser *p, size_t *ret, struct err *e)
{
	struct http_message *m = &p->message;
	const char *text = NULL;
	uint64_t n;

	*ret = 0;
	for (size_t i = 0; i < m->n_fields; i++) {
		if (!strcmp(m->field[i].name, "transfer-encoding"))
			return err_set(e, ERR_PROTOCOL, ENOTSUP, "HTTP transfer coding \"%.20s\" is not supported",
				       m->field[i].value);
		if (strcmp(m->field[i].name, "content-length"))
			continue;
		if (text && strcmp(text, m->field[i].value))
			return err_set(e, ERR_PROTOCOL, EPROTO, "an HTTP message has two lengths, %.20s and %.20s",
				       text, m->field[i].value);
		text = m->field[i].value;
	}
	if (!text)
		return 0;
	/* Digits only, RFC 9110 §8.6: no sign, no white space. */
	if (!*text || strspn(text, "0123456789") != strlen(text) || str_to_u64(text, 10, &n) < 0)
		return err_set(e, ERR_PROTOCOL, EPROTO, "\"%.20s\" is not a Content-Length", text);
	if (n > p->body_max)
		return err_set(e, ERR_LIMIT, EFBIG, "an HTTP body of %llu bytes is too large: the limit is %zu",
			       (unsigned long long)n, p->body_max);
	m->has_length = true;
	*ret = p->no_body || m->status == 204 || m->status == 304 || (m->status >= 100 && m->status < 200) ? 0
													   : (size_t)n;
	return 0;
}

static void set_connection(struct http_message *m)
{
	const char *connection = http_field(m, "connection"), *expect = http_field(m, "expect");

	m->keep_alive = m->minor == 1 ? !connection || strcasecmp(connection, "close")
				      : connection && !strcasecmp(connection, "keep-alive");
	m->expect_continue = expect && !strcasecmp(expect, "100-continue");
}

/* ---- messages ---- */

static void skip_empty_lines(struct http_parser *p)
{
	size_t n = 0;

	while (n < p->in.len && (p->in.data[n] == '\r' || p->in.data[n] == '\n'))
		n++;
	buf_consume(&p->in, n);
}

/* Move n bytes from `in` to the empty buffer `to`. */
static int move(struct http_parser *p, struct buf *to, size_t n, struct err *e)
{
	to->len = 0;
	if (buf_append(to, p->in.data ? p->in.data : "", n) < 0)
		return err_sys(e, ENOMEM, "cannot take in an HTTP message");
	buf_consume(&p->in, n);
	return 0;
}

/* 1: the message's head is there. */
static int next_head(struct http_parser *p, struct err *e)
{
	ssize_t n;
	int r;

	skip_empty_lines(p);
	n = head_length(p, p->in.data, p->in.len, e);
	if (n <= 0)
		return (int)n;
	p->message = (struct http_message){ .body = "" };
	r = move(p, &p->head, (size_t)n, e);
	if (r == 0)
		r = parse_head(p, p->head.data, p->head.len, e);
	if (r == 0)
		r = parse_length(p, &p->message.body_len, e);
	if (r < 0)
		return r;
	set_connection(&p->message);
	p->have_head = true;
	p->continue_told = false;
	return 1;
}

int http_parser_next(struct http_parser *p, const struct http_message **ret, struct err *e)
{
	int r = p->have_head ? 1 : next_head(p, e);

	if (r <= 0)
		return r;
	if (p->in.len < p->message.body_len)
		return 0;
	r = move(p, &p->body, p->message.body_len, e);
	if (r < 0)
		return r;
	p->message.body = p->body.data ? p->body.data : "";
	p->have_head = false;
	*ret = &p->message;
	return 1;
}

bool http_parser_wants_continue(struct http_parser *p)
{
	if (!p->have_head || !p->message.expect_continue || p->continue_told)
		return false;
	p->continue_told = true;
	return true;
}

int http_query_value(const char *target, const char *name, char **ret)
{
	size_t length = strlen(name);

	for (const char *p = strchr(target, '?'); p; p = strchr(p, '&')) {
		_cleanup_free_ char *value = NULL;

		if (strncmp(++p, name, length) != 0 || p[length] != '=')
			continue;
		p += length + 1;
		value = strndup(p, strcspn(p, "&"));
		if (!value)
			return -ENOMEM;
		for (char *plus = value; (plus = strchr(plus, '+'));)
			*plus = ' ';
		if (percent_decode(value, true) < 0)
			return -EINVAL;
		*ret = take_ptr(value);
		return 0;
	}
	return -ENOENT;
}

int http_write_request(struct buf *out, const char *method, const char *target, const char *body)
{
	int r = buf_printf(out, "%s %s HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n", method, target);

	if (r == 0 && body)
		r = buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", strlen(body));
	if (r == 0)
		r = buf_puts(out, "\r\n");
	return r == 0 && body ? buf_puts(out, body) : r;
}
