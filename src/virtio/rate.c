/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tokens are whole numbers. When n of them come in, the clock of the bucket moves on by the time that n tokens cost,
 * rounded up, so that fractions are never given away twice; products are of 128 bits, so that no limit is too large.
 */
#include "virtio/rate.h"

#include <errno.h>

#include "base/fd.h"
#include "state/state.h"

static bool limited(const struct rate_bucket *b)
{
	return b->config.size && b->config.refill_ms;
}

/* n·a/b, rounded up, at most UINT64_MAX. */
static uint64_t scale_up(uint64_t n, uint64_t a, uint64_t b)
{
	unsigned __int128 v = ((unsigned __int128)n * a + b - 1) / b;

	return v > UINT64_MAX ? UINT64_MAX : (uint64_t)v;
}

/* Microseconds of a full refill. */
static uint64_t refill_us(const struct rate_bucket *b)
{
	return b->config.refill_ms > UINT64_MAX / 1000 ? UINT64_MAX : b->config.refill_ms * 1000;
}

void rate_bucket_init(struct rate_bucket *b, const struct rate_bucket_config *c, uint64_t now_us)
{
	*b = (struct rate_bucket){ .config = *c, .budget = c->size, .burst = c->burst, .last_us = now_us };
}

static void refill(struct rate_bucket *b, uint64_t now_us)
{
	uint64_t elapsed = now_us - b->last_us, room, in;
	unsigned __int128 tokens;

	if (__builtin_add_overflow(b->config.size - b->budget, b->debt, &room))
		room = UINT64_MAX;
	tokens = (unsigned __int128)elapsed * b->config.size / refill_us(b);
	if (tokens >= room) {
		b->budget = b->config.size;
		b->debt = 0;
		b->last_us = now_us;
		return;
	}
	in = (uint64_t)tokens;
	b->last_us += scale_up(in, refill_us(b), b->config.size);
	if (in < b->debt) {
		b->debt -= in;
		return;
	}
	b->budget += in - b->debt;
	b->debt = 0;
}

uint64_t rate_bucket_take(struct rate_bucket *b, uint64_t n, uint64_t now_us)
{
	uint64_t need, from_burst, wait;

	if (!limited(b) || !n)
		return 0;
	refill(b, now_us);
	from_burst = n < b->burst ? n : b->burst;
	need = n - from_burst;
	if (need > b->config.size && b->budget == b->config.size) {
		/* More than the bucket can ever hold goes when it is full, and pays the rest afterwards. */
		b->debt = need - b->config.size;
		b->budget = 0;
	} else if (need <= b->budget) {
		b->budget -= need;
	} else {
		wait = (need < b->config.size ? need : b->config.size) - b->budget;
		if (__builtin_add_overflow(wait, b->debt, &wait))
			wait = UINT64_MAX;
		wait = scale_up(wait, refill_us(b), b->config.size);
		return wait > now_us - b->last_us ? wait - (now_us - b->last_us) : 1;
	}
	b->burst -= from_burst;
	return 0;
}

void rate_bucket_return(struct rate_bucket *b, uint64_t n)
{
	uint64_t part = n < b->debt ? n : b->debt;

	if (!limited(b))
		return;
	b->debt -= part;
	n -= part;
	part = n < b->config.size - b->budget ? n : b->config.size - b->budget;
	b->budget += part;
	n -= part;
	b->burst += n < b->config.burst - b->burst ? n : b->config.burst - b->burst;
}

static void on_timer(struct loop_source *s, void *userdata)
{
	struct rate *r = userdata;

	r->blocked = false;
	r->ready(r->userdata);
}

int rate_init(struct rate *r, struct loop *loop, const struct rate_config *c, void (*ready)(void *userdata),
	      void *userdata)
{
	*r = (struct rate){ .now = clock_us, .ready = ready, .userdata = userdata };
	rate_bucket_init(&r->bytes, &c->bytes, r->now());
	rate_bucket_init(&r->ops, &c->ops, r->now());
	return loop_add_timer(loop, UINT64_MAX, on_timer, r, &r->timer);
}

void rate_fini(struct rate *r)
{
	loop_source_free(take_ptr(r->timer));
}

static void set_bucket(struct rate_bucket *b, const struct rate_bucket_config *c, uint64_t now_us)
{
	if (b->config.size != c->size || b->config.burst != c->burst || b->config.refill_ms != c->refill_ms)
		rate_bucket_init(b, c, now_us);
}

void rate_set(struct rate *r, const struct rate_config *c)
{
	uint64_t now = r->now();

	set_bucket(&r->bytes, &c->bytes, now);
	set_bucket(&r->ops, &c->ops, now);
	if (r->blocked)
		loop_timer_set(r->timer, 0);
}

bool rate_take(struct rate *r, uint64_t bytes)
{
	uint64_t now, wait;

	if (r->blocked)
		return false;
	if (!limited(&r->ops) && !limited(&r->bytes))
		return true;
	now = r->now();
	wait = rate_bucket_take(&r->ops, 1, now);
	if (!wait) {
		wait = rate_bucket_take(&r->bytes, bytes, now);
		if (!wait)
			return true;
		rate_bucket_return(&r->ops, 1);
	}
	r->blocked = true;
	loop_timer_set(r->timer, wait / 1000 + 1);
	return false;
}

static void bucket_save(const struct rate_bucket *b, struct state *s)
{
	state_put_u64(s, "size", b->config.size);
	state_put_u64(s, "burst", b->config.burst);
	state_put_u64(s, "refill-ms", b->config.refill_ms);
	state_put_u64(s, "budget", b->budget);
	state_put_u64(s, "burst-left", b->burst);
	state_put_u64(s, "debt", b->debt);
}

void rate_save(const struct rate *r, struct state *s)
{
	bucket_save(&r->bytes, state_child(s, "bytes"));
	bucket_save(&r->ops, state_child(s, "ops"));
}

static int bucket_load(struct rate_bucket *b, uint64_t now, const struct state *s, struct err *e)
{
	struct rate_bucket v = { .last_us = now };
	int r;

	if (!s)
		return -ENOENT;
	if ((r = state_get_u64(s, "size", &v.config.size, e)) < 0 ||
	    (r = state_get_u64(s, "burst", &v.config.burst, e)) < 0 ||
	    (r = state_get_u64(s, "refill-ms", &v.config.refill_ms, e)) < 0 ||
	    (r = state_get_max(s, "budget", v.config.size, &v.budget, e)) < 0 ||
	    (r = state_get_max(s, "burst-left", v.config.burst, &v.burst, e)) < 0 ||
	    (r = state_get_u64(s, "debt", &v.debt, e)) < 0)
		return r;
	*b = v;
	return 0;
}

int rate_load(struct rate *r, const struct state *s, struct err *e)
{
	int res = bucket_load(&r->bytes, r->now(), state_get_child(s, "bytes", e), e);

	return res < 0 ? res : bucket_load(&r->ops, r->now(), state_get_child(s, "ops", e), e);
}
