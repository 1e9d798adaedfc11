/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A logging program as containerd's binary:// URIs name it: it gets the process's output on descriptors 3 and 4, closes
 * 5 when it is ready, and ends when both have ended.
 */
#pragma once

#include "base/err.h"
#include "loop/loop.h"

struct io_logger;

struct io_logger_params {
	struct loop *loop;
	const char *uri; /* binary://PATH?key=value&… : PATH key value … */
	const char *container_id, *namespace;
	/* Once, from the loop, after io_logger_finish(): it has ended, or was ended. */
	void (*gone)(void *userdata);
	void *userdata;
};

/* Start it and wait until it is ready. *ret_out, *ret_err: where to write, the caller's. */
int io_logger_start(const struct io_logger_params *params, struct io_logger **ret, int *ret_out, int *ret_err,
		    struct err *e);
/* Nothing is written any more, its streams are closed: let it come to its end, or end it after ten seconds. */
void io_logger_finish(struct io_logger *l);
/* Ends it when it still runs. NULL does nothing. */
void io_logger_free(struct io_logger *l);

/* The program and its arguments. For tests. */
struct strv;
int io_logger_argv(const char *uri, struct strv *ret);
