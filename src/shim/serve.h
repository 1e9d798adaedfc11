/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a shim between `start` and Shutdown: one loop, one pod, one Task service, one publisher of events. */
#pragma once

#include "base/err.h"
#include "task/options.h"

struct shim_serve {
	int listen_fd;       /* taken over */
	const char *address; /* of it; removed at the end */
	const char *namespace;
	const char *publish_binary, *containerd_address, *ttrpc_address; /* for events; NULL: none */
	const struct task_options *options;                              /* for a Create that brings none */
};

/* Returns when the shim is to end: 0, or a failure to begin. */
int shim_serve(const struct shim_serve *params, struct err *e);
