/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON bytes, one token after another, with positions.
 *
 * Clients of the API match the error texts of the server whose dialect we speak, and those name the line and column
 * where reading stopped. So this scanner (RFC 8259, UTF-8, strict) keeps an index into the text and says "line 1
 * column 21" where the other one would: lines count from 1, the column is the number of bytes of the line that have
 * been read. What a value means is decided above it, in body.h.
 *
 * Hostile input: no recursion but in scan_skip(), which is bounded by SCAN_DEPTH_MAX.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"
#include "vmm/number.h"

#define SCAN_DEPTH_MAX 128

struct scan {
	const char *text;
	size_t len, at;
	struct err *e; /* where failures are told, or NULL */
};

enum scan_kind { SCAN_UNSIGNED, SCAN_NEGATIVE, SCAN_FLOAT };
struct scan_number {
	enum scan_kind kind;
	uint64_t u;              /* SCAN_UNSIGNED */
	int64_t i;               /* SCAN_NEGATIVE */
	char f[NUMBER_TEXT_MAX]; /* SCAN_FLOAT: see vmm/number.h */
};

/* The next byte that is not white space, which stays unread; -1 at the end. */
int scan_peek(struct scan *s);

/* "TEXT at line L column C" for what has been read so far. Returns -EINVAL. */
int scan_fail(struct scan *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same, with the unread byte counted as read: it is the one that is wrong. */
int scan_fail_peeked(struct scan *s, const char *what);

/*
 * Values. The first byte has been peeked at and fits; 0, or -EINVAL with the message set (-ENOMEM).
 * scan_string(): out is emptied first; its data has no NUL byte inside.
 */
int scan_string(struct scan *s, struct buf *out);
int scan_number(struct scan *s, struct scan_number *ret);
int scan_word(struct scan *s, const char *word);
/* Any value, thrown away. */
int scan_skip(struct scan *s);

/*
 * Members of an object whose '{' was read. 1: key has the next one's name, its value comes after scan_colon(); 0: no
 * more, and the '}' is still unread. *first: true before the first call.
 */
int scan_key(struct scan *s, bool *first, struct buf *key);
int scan_colon(struct scan *s);
/* The same for the items of an array: 1: a value comes; 0: the ']' is next, unread. */
int scan_item(struct scan *s, bool *first);

/* Nothing but white space may follow. */
int scan_end(struct scan *s);
