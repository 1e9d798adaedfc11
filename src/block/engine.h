/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How operations reach the medium: by plain system calls on the device's thread, or by io_uring.
 *
 * The device submits operations and then kicks; each completes once, in any order, from inside kick(), drain() or the
 * loop, never from inside submit(). After one or more completions the engine calls batch_done(), where the device
 * tells the guest. At most BLOCK_INFLIGHT_MAX operations are submitted at a time.
 */
#pragma once

#include "block/io.h"
#include "loop/loop.h"

#define BLOCK_INFLIGHT_MAX 128

struct block_engine;

struct block_engine_ops {
	const char *name;
	void (*submit)(struct block_engine *e, struct block_io *io);
	/* Begin what was submitted. */
	void (*kick)(struct block_engine *e);
	/* Return when everything has completed. */
	void (*drain)(struct block_engine *e);
	/* The medium that operations will name from now on; the engine is drained. 0 or -errno. NULL: need not know. */
	int (*set_file)(struct block_engine *e, const struct block_file *f);
	void (*free)(struct block_engine *e); /* drained */
};

struct block_engine {
	const struct block_engine_ops *ops;
	void (*batch_done)(void *userdata);
	void *userdata;
};

/* 0 or -ENOMEM. batch_done and userdata are set by the caller afterwards. */
int block_engine_plain_new(struct loop *loop, struct block_engine **ret);
/* -ENOSYS: built without it; or what the kernel says. */
int block_engine_uring_new(struct loop *loop, struct block_engine **ret);
