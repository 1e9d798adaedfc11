/* SPDX-License-Identifier: Apache-2.0 */
/* The answer to one request: status, JSON body, and the message that is sent for it. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/strv.h"

struct answer {
	unsigned status; /* 204: done, no data; 200: done, data in body; else body has the fault */
	bool deprecated; /* the request used something that will go */
	struct buf body;
	char fault[ERR_TEXT_MAX]; /* what the body says, for the log; "" when all went well */
};

/* Starts as 204. */
void answer_init(struct answer *a);
void answer_fini(struct answer *a);

/* 400 with {"fault_message": …}. */
void answer_fault(struct answer *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* The same from an error, with "class: " in front; class NULL: nothing in front. */
void answer_err(struct answer *a, const char *class, const struct err *e);

/* 200: what is put into a->body afterwards is the data. Returns the body. */
struct buf *answer_data(struct answer *a);
/* r: what writing the data returned; < 0 makes it 500. */
void answer_data_done(struct answer *a, int r);

/* Append the whole HTTP message. 0 or -ENOMEM. */
int answer_write(const struct answer *a, struct buf *out);
