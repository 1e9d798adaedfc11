/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events on their way to containerd: one after the other, in the order in which they happened, each until containerd
 * has taken it. Where containerd is not there (it may be restarted under running containers) they wait, with a growing
 * pause between attempts; an event that containerd refuses again and again is dropped, so that it cannot hold up those
 * behind it. At most PUBLISHER_QUEUE_MAX wait: then the oldest goes. One that was sent, but whose answer was lost, is
 * sent again.
 *
 * They go by ttrpc where containerd named such an address (TTRPC_ADDRESS), else by its program (-publish-binary), else
 * nowhere: CRI-O names itself as that program, but no address, and knows no such command.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "loop/loop.h"

#define PUBLISHER_QUEUE_MAX 2048

struct publisher;

struct publisher_params {
	struct loop *loop;
	const char *namespace;      /* copied, as all strings here */
	const char *ttrpc_address;  /* path, or unix://PATH; NULL or "": none */
	const char *publish_binary; /* containerd's program; NULL or "": none */
	const char *address; /* for the program: containerd's own socket; NULL or "": the program is not called */
};

int publisher_new(const struct publisher_params *params, struct publisher **ret, struct err *e);
/* What waits is dropped. NULL does nothing. */
void publisher_free(struct publisher *p);
DEFINE_CLEANUP(struct publisher *, publisher_free)

/* Never waits. topic: a string that lives for ever ("/tasks/exit"). NULL publisher: nobody listens. */
void publisher_publish(struct publisher *p, const char *topic, const ProtobufCMessage *event);
/* Events that wait, the one on its way included. */
unsigned publisher_pending(const struct publisher *p);
/* Before the end: run the loop until all is sent, at most timeout_ms. Not from inside a callback. */
void publisher_drain(struct publisher *p, unsigned timeout_ms);
