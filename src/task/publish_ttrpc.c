/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events by containerd.services.events.ttrpc.v1.Events/Forward. The connection is made when it is needed, and anew
 * after each failure but a refusal: containerd may have been started again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "codec/ttrpc.h"
#include "proto/empty.pb-c.h"
#include "proto/forward.pb-c.h"
#include "task/publish_path.h"

#define SERVICE "containerd.services.events.ttrpc.v1.Events"

struct ttrpc_path {
	struct publish_path base;
	char *address, *namespace;
	struct ttrpc_client *client;
	struct ttrpc_call *call;
	struct loop_source *failed; /* tells of what failed at once, from the loop */
	struct err err;
};

static void on_failed(struct loop_source *s, void *userdata)
{
	struct ttrpc_path *p = userdata;

	p->base.done(PUBLISH_UNREACHABLE, &p->err, p->base.userdata);
}

static void on_answer(int result, const ProtobufCMessage *response, const struct err *e, void *userdata)
{
	struct ttrpc_path *p = userdata;

	p->call = NULL;
	if (result == 0) {
		p->base.done(PUBLISH_SENT, NULL, p->base.userdata);
	} else if (e->domain == ERR_GUEST) { /* the peer's own words, see ttrpc_call() */
		p->base.done(PUBLISH_REFUSED, e, p->base.userdata);
	} else {
		p->err = *e;
		ttrpc_client_free(take_ptr(p->client));
		p->base.done(PUBLISH_UNREACHABLE, &p->err, p->base.userdata);
	}
}

static int open_client(struct ttrpc_path *p, struct err *e)
{
	int fd, r;

	if (p->client)
		return 0;
	r = unix_connect(p->address, &fd);
	if (r < 0)
		return err_sys(e, -r, "containerd at %s", p->address);
	return ttrpc_client_new(p->base.loop, fd, -1, &p->client, e);
}

static int forward(struct ttrpc_path *p, const struct publish_event *event, struct err *e)
{
	Containerd__Services__Events__Ttrpc__V1__ForwardRequest request =
		CONTAINERD__SERVICES__EVENTS__TTRPC__V1__FORWARD_REQUEST__INIT;
	Containerd__Services__Events__Ttrpc__V1__Envelope envelope =
		CONTAINERD__SERVICES__EVENTS__TTRPC__V1__ENVELOPE__INIT;
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Google__Protobuf__Any any = event->any;

	at.seconds = event->at.tv_sec;
	at.nanos = (int32_t)event->at.tv_nsec;
	envelope.timestamp = &at;
	envelope.namespace_ = p->namespace;
	envelope.topic = (char *)event->topic;
	envelope.event = &any;
	request.envelope = &envelope;
	return ttrpc_call_async(p->client, SERVICE, "Forward", &request.base, &google__protobuf__empty__descriptor,
				PUBLISH_TIMEOUT_MS, on_answer, p, &p->call, e);
}

static void send_event(struct publish_path *path, const struct publish_event *event)
{
	struct ttrpc_path *p = (struct ttrpc_path *)path;
	int r = open_client(p, &p->err);

	if (r == 0)
		r = forward(p, event, &p->err);
	if (r < 0) {
		ttrpc_client_free(take_ptr(p->client));
		loop_timer_set(p->failed, 0);
	}
}

static void path_free(struct publish_path *path)
{
	struct ttrpc_path *p = (struct ttrpc_path *)path;

	if (p->call)
		ttrpc_call_cancel(p->call);
	ttrpc_client_free(p->client);
	loop_source_free(p->failed);
	free(p->address);
	free(p->namespace);
	free(p);
}

int publish_ttrpc_new(struct loop *loop, const char *address, const char *namespace, struct publish_path **ret,
		      struct err *e)
{
	struct ttrpc_path *p = calloc(1, sizeof *p);
	const char *path = str_after(address, "unix://");
	int r = -ENOMEM;

	if (p) {
		p->base = (struct publish_path){ .send = send_event, .free = path_free, .loop = loop };
		p->address = strdup(path ? path : address);
		p->namespace = strdup(namespace);
		if (p->address && p->namespace)
			r = loop_add_timer(loop, UINT64_MAX, on_failed, p, &p->failed);
		if (r < 0)
			path_free(&p->base);
	}
	if (r < 0)
		return err_sys(e, -r, "cannot set up the publishing of events");
	*ret = &p->base;
	return 0;
}
