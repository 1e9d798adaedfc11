/* SPDX-License-Identifier: Apache-2.0 */
/* The event stream in pieces: the first byte says how large they are. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/clh_events.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void on_event(const char *source, const char *event, struct json_object *properties, void *userdata)
{
	const char *id = json_get_str(properties, "id");

	*(size_t *)userdata += strlen(source) + strlen(event) + (id ? strlen(id) : 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_buf_ struct buf pending = { 0 };
	size_t step = size ? data[0] + 1u : 1, seen = 0;

	for (size_t at = 1; at < size; at += step) {
		size_t n = size - at < step ? size - at : step;

		if (clh_events_feed(&pending, (const char *)data + at, n, on_event, &seen) < 0)
			break;
		if (pending.len > CLH_EVENT_MAX)
			abort();
	}
	return 0;
}
