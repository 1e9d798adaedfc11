/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors that a person will read.
 *
 * Leaf functions return 0 or a negative errno. Where a message is owed, the last parameter is a caller-owned
 * `struct err *`; the function that fails fills it once with err_set() or err_sys(), and each caller that knows more
 * (which file, which device, which container) adds it in front with err_wrap(). The owner of the object that failed
 * prints it, once. A message says what was tried, what happened and what to do about it.
 *
 * Control characters in a message become spaces, so that quoted strangers' words can do nothing to a terminal.
 *
 * `struct err *` may be NULL everywhere: the message is then dropped, the return value stays.
 */
#pragma once

#include <stdbool.h>

enum err_domain {
	ERR_NONE,
	ERR_SYSTEM,     /* a system call or a library said no */
	ERR_CONFIG,     /* what the user asked for: files, flags, annotations, spec, image */
	ERR_PROTOCOL,   /* a peer spoke wrongly */
	ERR_GUEST,      /* the guest, its kernel or its agent failed */
	ERR_HYPERVISOR, /* the VMM could not be started, or died */
	ERR_LIMIT,      /* a bound was reached: time, size, count */
};

#define ERR_TEXT_MAX 1024

struct err {
	enum err_domain domain;
	int code; /* positive errno */
	char text[ERR_TEXT_MAX];
};

/* Set the error. code: positive errno (0 counts as EIO). Returns -code. */
int err_set(struct err *e, enum err_domain domain, int code, const char *fmt, ...)
	__attribute__((format(printf, 4, 5), cold));

/* The same for a failed system call: appends ": " and the errno's text. code: positive errno. Returns -code. */
int err_sys(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4), cold));

/*
 * Put context and ": " in front of the message that is already there. The code stays the one that the failing function
 * returned: it is not in e, which may be NULL.
 */
void err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

/* Append a sentence, e.g. what to do about it. */
void err_append(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3), cold));

static inline bool err_is_set(const struct err *e)
{
	return e && e->domain != ERR_NONE;
}

const char *err_domain_name(enum err_domain domain);
