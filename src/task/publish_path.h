/* SPDX-License-Identifier: Apache-2.0 */
/* One way by which events reach containerd (publisher.c). It carries one event at a time. */
#pragma once

#include <stdbool.h>
#include <time.h>

#include "base/err.h"
#include "loop/loop.h"
#include "proto/any.pb-c.h"

/* How long containerd may take over one event. */
#define PUBLISH_TIMEOUT_MS 5000

struct publish_event {
	const char *topic;
	struct timespec at;
	Google__Protobuf__Any any; /* see task/any.h */
};

enum publish_result {
	PUBLISH_SENT,
	PUBLISH_UNREACHABLE, /* to be tried again for as long as it takes */
	PUBLISH_REFUSED,     /* containerd does not want this one, as it seems */
};

typedef void (*publish_done_fn)(enum publish_result result, const struct err *e, void *userdata);

struct publish_path {
	/* event lives until done is called, which happens once, from the loop, unless the path is freed before. */
	void (*send)(struct publish_path *path, const struct publish_event *event);
	void (*free)(struct publish_path *path);
	struct loop *loop;
	publish_done_fn done;
	void *userdata;
};

/* Strings are copied. The caller fills in done and userdata. */
int publish_ttrpc_new(struct loop *loop, const char *address, const char *namespace, struct publish_path **ret,
		      struct err *e);
int publish_binary_new(struct loop *loop, const char *program, const char *address, const char *namespace,
		       struct publish_path **ret, struct err *e);
