/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/clh_events.h"

#include <errno.h>
#include <string.h>

static void take_one(const char *text, size_t n, clh_event_fn fn, void *userdata)
{
	_cleanup_json_ struct json_object *o = NULL;
	const char *source, *event;

	if (json_parse(text, n, CLH_EVENT_MAX, &o, NULL) < 0)
		return;
	source = json_get_str(o, "source");
	event = json_get_str(o, "event");
	if (source && event)
		fn(source, event, json_get_object(o, "properties"), userdata);
}

int clh_events_feed(struct buf *pending, const char *data, size_t n, clh_event_fn fn, void *userdata)
{
	int r = buf_append(pending, data, n);
	size_t at = 0;

	if (r < 0)
		return r;
	for (;;) {
		char *begin = pending->data + at, *end = memmem(begin, pending->len - at, "\n\n", 2);

		if (!end)
			break;
		take_one(begin, (size_t)(end - begin), fn, userdata);
		at += (size_t)(end - begin) + 2;
	}
	buf_consume(pending, at);
	return pending->len > CLH_EVENT_MAX ? -EFBIG : 0;
}
