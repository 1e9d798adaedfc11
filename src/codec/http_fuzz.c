/* SPDX-License-Identifier: Apache-2.0 */
/* The first byte chooses the kind and how the rest is cut into pieces. However it is cut, the messages are the same. */
#include <stdlib.h>
#include <string.h>

#include "codec/http.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A decoded value is never longer than the query that it comes from. */
static void look_up(const char *target)
{
	char *value = NULL;

	if (http_query_value(target, "path", &value) == 0 && strlen(value) >= strlen(target))
		abort();
	free(value);
}

/* All messages, one behind the other, as text; the last line tells how it ended. */
static void run(const uint8_t *data, size_t size, enum http_kind kind, size_t step, struct buf *out)
{
	const struct http_message *m;
	struct http_parser p;
	int r = 0;

	http_parser_init(&p, kind, 256, 4096);
	for (size_t at = 0; at < size && r >= 0; at += step) {
		if (http_parser_feed(&p, data + at, size - at < step ? size - at : step) < 0)
			abort();
		while ((r = http_parser_next(&p, &m, NULL)) == 1) {
			(void)buf_printf(out, "%s %s %u %d ", m->method ? m->method : "", m->target ? m->target : "",
					 m->status, m->keep_alive);
			if (m->target)
				look_up(m->target);
			for (size_t i = 0; i < m->n_fields; i++)
				(void)buf_printf(out, "%s=%s;", m->field[i].name, m->field[i].value);
			if (m->body[m->body_len])
				abort();
			(void)buf_append(out, m->body, m->body_len);
			(void)buf_puts(out, "\n");
		}
	}
	(void)buf_printf(out, "%d", r);
	http_parser_fini(&p);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct buf whole = { 0 }, pieces = { 0 };

	if (!size || size > 65536)
		return 0;
	run(data + 1, size - 1, data[0] & 1 ? HTTP_RESPONSE : HTTP_REQUEST, size, &whole);
	run(data + 1, size - 1, data[0] & 1 ? HTTP_RESPONSE : HTTP_REQUEST, (data[0] >> 1) + 1, &pieces);
	if (whole.len != pieces.len || memcmp(whole.data, pieces.data, whole.len))
		abort();
	buf_fini(&whole);
	buf_fini(&pieces);
	return 0;
}
