/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rate limits of a device: token buckets for bytes and operations.
 *
 * A bucket of `size` tokens starts full and fills at size per refill_ms; a burst is given once on top and spent first.
 * A request that is larger than a full bucket is let through as soon as the bucket is full, and what it took too much
 * has to come in again before the next one: a limit below the size of one request slows the guest but never stops it.
 *
 * Who is refused does nothing: the limiter calls `ready` from the loop as soon as the same request can go through.
 * Until then every request is refused, so that small requests do not starve a large one.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"

struct state; /* state/state.h */

struct rate_bucket_config {
	uint64_t size, burst, refill_ms; /* size or refill_ms 0: no limit */
};

struct rate_config {
	struct rate_bucket_config bytes, ops;
};

struct rate_bucket {
	struct rate_bucket_config config;
	uint64_t budget, burst; /* tokens that are left */
	uint64_t debt;          /* tokens to come in before the budget grows */
	uint64_t last_us;       /* what came in until then is in the budget */
};

/* The bare bucket; now_us: any clock that does not go backwards. */
void rate_bucket_init(struct rate_bucket *b, const struct rate_bucket_config *c, uint64_t now_us);
/* Take n tokens. 0: done; else the microseconds after which the same call will do, and nothing was taken. */
uint64_t rate_bucket_take(struct rate_bucket *b, uint64_t n, uint64_t now_us);
/* Undo the last take of n tokens. */
void rate_bucket_return(struct rate_bucket *b, uint64_t n);

struct rate {
	struct rate_bucket bytes, ops;
	struct loop_source *timer;
	bool blocked;          /* the timer is armed */
	uint64_t (*now)(void); /* clock_us(); tests have their own */
	void (*ready)(void *userdata);
	void *userdata;
};

/* ready: called from the loop after a refusal. 0 or -ENOMEM. rate_fini() takes a zeroed rate too. */
int rate_init(struct rate *r, struct loop *loop, const struct rate_config *c, void (*ready)(void *userdata),
	      void *userdata);
void rate_fini(struct rate *r);
/*
 * New limits. A bucket of other numbers than before is full; one of the same goes on as it is, so that a change of one
 * limit gives nothing away of the other. Who waits is asked again at once.
 */
void rate_set(struct rate *r, const struct rate_config *c);
/* May one operation of that many bytes go ahead? If not, nothing was taken and ready() will be called. */
bool rate_take(struct rate *r, uint64_t bytes);

/* Limits and what is left of the budgets. */
void rate_save(const struct rate *r, struct state *s);
int rate_load(struct rate *r, const struct state *s, struct err *e);
