/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/answer.h"

#include <stdarg.h>
#include <stdio.h>

#include "vmm/body.h"

void answer_init(struct answer *a)
{
	*a = (struct answer){ .status = 204 };
}

void answer_fini(struct answer *a)
{
	buf_fini(&a->body);
}

static void fault(struct answer *a, unsigned status)
{
	a->status = status;
	a->body.len = 0;
	if (buf_puts(&a->body, "{\"fault_message\":") < 0 || body_print_string(&a->body, a->fault) < 0 ||
	    buf_puts(&a->body, "}") < 0)
		a->body.len = 0;
}

void answer_fault(struct answer *a, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(a->fault, sizeof a->fault, fmt, ap);
	va_end(ap);
	fault(a, 400);
}

void answer_err(struct answer *a, const char *class, const struct err *e)
{
	if (class)
		answer_fault(a, "%s: %s", class, e->text);
	else
		answer_fault(a, "%s", e->text);
}

struct buf *answer_data(struct answer *a)
{
	a->status = 200;
	a->body.len = 0;
	return &a->body;
}

void answer_data_done(struct answer *a, int r)
{
	if (r == 0)
		return;
	snprintf(a->fault, sizeof a->fault, "There is not enough memory for the answer.");
	fault(a, 500);
}

int answer_write(const struct answer *a, struct buf *out)
{
	/* The status line ends behind the blank: there is no reason phrase. */
	int r = buf_printf(out, "HTTP/1.1 %u \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n%s", a->status,
			   a->deprecated ? "Deprecation: true\r\n" : "");

	if (r == 0 && a->status != 204)
		r = buf_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", a->body.len);
	if (r == 0)
		r = buf_puts(out, "\r\n");
	if (r == 0 && a->status != 204 && a->body.len)
		r = buf_append(out, a->body.data, a->body.len);
	return r;
}
