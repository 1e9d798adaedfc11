/* SPDX-License-Identifier: Apache-2.0 */
/*
 * EMPTY -> (an event) -> SENDING -> sent: the next one, or EMPTY
 *                           |-> not sent: PAUSE (timer) -> SENDING
 * The event on its way is the head of the queue until it is done with.
 */
#include "task/publisher.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/strv.h"
#include "task/any.h"
#include "task/publish_path.h"

#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 5000
#define REFUSALS_MAX 5

struct item {
	struct list node;
	struct publish_event event;
	unsigned refusals;
};

struct publisher {
	struct loop *loop;
	struct publish_path *path;
	struct list queue;
	unsigned n_queue;
	bool sending;
	uint64_t pause_ms;
	struct loop_source *timer;
	unsigned n_lost, n_failed; /* for the log */
};

static void item_free(struct publisher *p, struct item *item)
{
	list_remove(&item->node);
	any_fini(&item->event.any);
	free(item);
	p->n_queue--;
}

static void send_next(struct publisher *p)
{
	struct item *item = list_first(&p->queue, struct item, node);

	if (!item || p->sending)
		return;
	p->sending = true;
	p->path->send(p->path, &item->event);
}

static void on_timer(struct loop_source *s, void *userdata)
{
	send_next(userdata);
}

static void pause_sending(struct publisher *p)
{
	loop_timer_set(p->timer, p->pause_ms);
	p->pause_ms = p->pause_ms * 2 < PAUSE_MAX_MS ? p->pause_ms * 2 : PAUSE_MAX_MS;
}

static void on_done(enum publish_result result, const struct err *e, void *userdata)
{
	struct publisher *p = userdata;
	struct item *item = list_first(&p->queue, struct item, node);

	p->sending = false;
	switch (result) {
	case PUBLISH_SENT:
		p->pause_ms = PAUSE_MIN_MS;
		p->n_failed = 0;
		item_free(p, item);
		send_next(p);
		return;
	case PUBLISH_REFUSED:
		if (++item->refusals >= REFUSALS_MAX) {
			log_warn("event %s is dropped: %s", item->event.topic, e->text);
			p->pause_ms = PAUSE_MIN_MS;
			item_free(p, item);
			send_next(p);
			return;
		}
		break;
	case PUBLISH_UNREACHABLE:
		break;
	}
	log_warn_few(&p->n_failed, "event %s cannot be delivered yet: %s", item->event.topic, e->text);
	pause_sending(p);
}

/* Make room: the oldest that is not on its way goes. */
static void drop_oldest(struct publisher *p)
{
	struct item *item = list_first(&p->queue, struct item, node);

	if (p->sending)
		item = container_of(item->node.next, struct item, node);
	log_warn_few(&p->n_lost, "more than %u events wait for containerd: %s is lost", PUBLISHER_QUEUE_MAX,
		     item->event.topic);
	item_free(p, item);
}

void publisher_publish(struct publisher *p, const char *topic, const ProtobufCMessage *event)
{
	struct item *item;
	int r;

	log_debug("event %s", topic);
	if (!p || !p->path)
		return;
	item = calloc(1, sizeof *item);
	r = item ? any_pack(event, &item->event.any) : -ENOMEM;
	if (r < 0) {
		log_error("event %s is lost: %s", topic, strerror(-r));
		free(item);
		return;
	}
	item->event.topic = topic;
	clock_gettime(CLOCK_REALTIME, &item->event.at);
	if (p->n_queue >= PUBLISHER_QUEUE_MAX)
		drop_oldest(p);
	list_append(&p->queue, &item->node);
	/* Not from in here: the caller may be in the middle of something. A pause that lasts is not cut short. */
	if (p->n_queue++ == 0)
		loop_timer_set(p->timer, 0);
}

unsigned publisher_pending(const struct publisher *p)
{
	return p ? p->n_queue : 0;
}

void publisher_drain(struct publisher *p, unsigned timeout_ms)
{
	uint64_t end = clock_ms() + timeout_ms, now;

	while (publisher_pending(p) && (now = clock_ms()) < end)
		if (loop_run_once(p->loop, (int)(end - now)) < 0)
			return;
	if (publisher_pending(p))
		log_warn("%u events did not reach containerd", publisher_pending(p));
}

static int open_path(struct publisher *p, const struct publisher_params *params, struct err *e)
{
	int r;

	if (!str_empty(params->ttrpc_address))
		r = publish_ttrpc_new(p->loop, params->ttrpc_address, params->namespace, &p->path, e);
	else if (!str_empty(params->publish_binary) && !str_empty(params->address))
		r = publish_binary_new(p->loop, params->publish_binary, params->address, params->namespace, &p->path,
				       e);
	else
		return 0;
	if (r == 0) {
		p->path->done = on_done;
		p->path->userdata = p;
	}
	return r;
}

int publisher_new(const struct publisher_params *params, struct publisher **ret, struct err *e)
{
	_cleanup_(publisher_free_p) struct publisher *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return err_sys(e, ENOMEM, "cannot set up the publishing of events");
	p->loop = params->loop;
	p->pause_ms = PAUSE_MIN_MS;
	list_init(&p->queue);
	r = loop_add_timer(p->loop, UINT64_MAX, on_timer, p, &p->timer);
	if (r < 0)
		return err_sys(e, -r, "cannot set up the publishing of events");
	r = open_path(p, params, e);
	if (r == 0)
		*ret = take_ptr(p);
	return r;
}

void publisher_free(struct publisher *p)
{
	struct item *item;

	if (!p)
		return;
	if (p->path)
		p->path->free(p->path);
	while ((item = list_first(&p->queue, struct item, node)))
		item_free(p, item);
	loop_source_free(p->timer);
	free(p);
}
