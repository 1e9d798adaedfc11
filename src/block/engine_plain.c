/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations in the order in which they came, part after part, by system calls that block. A kick does a bounded
 * amount; the rest goes on from a timer of 0 ms, so that the loop's other sources get their turn.
 */
#include "block/engine.h"

#include <errno.h>
#include <stdlib.h>

/* Parts of a turn: small requests are many, large ones are BLOCK_PART_MAX a part. */
#define TURN_PARTS 64
#define TURN_BYTES BLOCK_PART_MAX

struct plain {
	struct block_engine base;
	struct list queue;
	struct loop_source *again;
};

static struct plain *plain(struct block_engine *e)
{
	return container_of(e, struct plain, base);
}

static void submit(struct block_engine *e, struct block_io *io)
{
	list_append(&plain(e)->queue, &io->node);
}

/* One part of the first operation. */
static void step(struct plain *p)
{
	struct block_io *io = list_first(&p->queue, struct block_io, node);
	int r = block_io_step(io);

	if (r == 0)
		return;
	list_remove(&io->node);
	io->complete(io, r < 0 ? r : 0);
}

static void turn(struct plain *p)
{
	uint64_t bytes = 0;

	for (int i = 0; i < TURN_PARTS && bytes < TURN_BYTES && !list_empty(&p->queue); i++) {
		const struct block_io *io = list_first(&p->queue, struct block_io, node);

		bytes += io->len < BLOCK_PART_MAX ? io->len : BLOCK_PART_MAX;
		step(p);
	}
	loop_timer_set(p->again, list_empty(&p->queue) ? UINT64_MAX : 0);
	p->base.batch_done(p->base.userdata);
}

static void on_again(struct loop_source *s, void *userdata)
{
	turn(userdata);
}

static void kick(struct block_engine *e)
{
	if (!list_empty(&plain(e)->queue))
		turn(plain(e));
}

static void drain(struct block_engine *e)
{
	while (!list_empty(&plain(e)->queue))
		turn(plain(e));
}

static void plain_free(struct block_engine *e)
{
	loop_source_free(plain(e)->again);
	free(plain(e));
}

static const struct block_engine_ops ops = {
	.name = "plain",
	.submit = submit,
	.kick = kick,
	.drain = drain,
	.free = plain_free,
};

int block_engine_plain_new(struct loop *loop, struct block_engine **ret)
{
	struct plain *p = calloc(1, sizeof *p);

	if (!p)
		return -ENOMEM;
	p->base.ops = &ops;
	list_init(&p->queue);
	if (loop_add_timer(loop, UINT64_MAX, on_again, p, &p->again) < 0) {
		free(p);
		return -ENOMEM;
	}
	*ret = &p->base;
	return 0;
}
