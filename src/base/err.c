/* SPDX-License-Identifier: Apache-2.0 */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static int err_code(int code)
{
	return code > 0 ? code : EIO;
}

/*
 * Messages quote what strangers wrote (names in an image, the guest's console), and end on terminals: no control
 * characters but tab and newline.
 */
static void tame(struct err *e)
{
	for (char *p = e->text; *p; p++)
		if (((unsigned char)*p < ' ' && *p != '\n' && *p != '\t') || *p == 0x7f)
			*p = ' ';
}

int err_set(struct err *e, enum err_domain domain, int code, const char *fmt, ...)
{
	va_list ap;

	code = err_code(code);
	if (!e)
		return -code;
	e->domain = domain;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	tame(e);
	return -code;
}

int err_sys(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	code = err_code(code);
	if (!e)
		return -code;
	e->domain = ERR_SYSTEM;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof e->text, fmt, ap);
	va_end(ap);
	tame(e);
	n = strlen(e->text);
	snprintf(e->text + n, sizeof e->text - n, ": %s", strerror(code));
	return -code;
}

void err_wrap(struct err *e, const char *fmt, ...)
{
	char context[ERR_TEXT_MAX], old[ERR_TEXT_MAX];
	va_list ap;
	size_t n;

	if (!e)
		return;
	va_start(ap, fmt);
	vsnprintf(context, sizeof context, fmt, ap);
	va_end(ap);
	memcpy(old, e->text, sizeof old);
	n = strlen(context);
	memcpy(e->text, context, n + 1);
	snprintf(e->text + n, sizeof e->text - n, ": %s", old);
	tame(e);
}

void err_append(struct err *e, const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (!e)
		return;
	n = strlen(e->text);
	va_start(ap, fmt);
	vsnprintf(e->text + n, sizeof e->text - n, fmt, ap);
	va_end(ap);
	tame(e);
}

const char *err_domain_name(enum err_domain domain)
{
	static const char *const names[] = {
		[ERR_NONE] = "none",         [ERR_SYSTEM] = "system", [ERR_CONFIG] = "config",
		[ERR_PROTOCOL] = "protocol", [ERR_GUEST] = "guest",   [ERR_HYPERVISOR] = "hypervisor",
		[ERR_LIMIT] = "limit",
	};

	return (unsigned)domain < sizeof names / sizeof names[0] ? names[domain] : "unknown";
}
