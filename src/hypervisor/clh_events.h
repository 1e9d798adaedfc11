/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Cloud Hypervisor reports on its event monitor: JSON objects, each ended by an empty line. Several things are
 * told there and nowhere else: that a guest asked for a reset, and that it let go of a device.
 */
#pragma once

#include <stddef.h>

#include "base/strv.h"
#include "codec/json.h"

#define CLH_EVENT_MAX 16384 /* bytes of one event */

/* properties: an object, or NULL. */
typedef void (*clh_event_fn)(const char *source, const char *event, struct json_object *properties, void *userdata);

/*
 * Take in data, call fn for each event that is complete; an incomplete one stays in pending (zeroed at first). What is
 * no event is passed over. 0; -ENOMEM; -EFBIG: an event without an end, the stream is of no use any more.
 */
int clh_events_feed(struct buf *pending, const char *data, size_t n, clh_event_fn fn, void *userdata);
