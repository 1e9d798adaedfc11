/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first byte chooses the table. What decodes must print, and what was printed must decode to the same print: then
 * nothing was lost or invented on the way.
 */
#include <stdlib.h>
#include <string.h>

#include "vmm/resources.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct body_table *const tables[] = {
	&document_table, &drive_table,         &machine_table, &machine_update_table, &network_interface_table,
	&metrics_table,  &snapshot_load_table, &logger_table,  &serial_table,         &memory_hotplug_table,
	&balloon_table,  &vsock_table,         &action_table,  &pmem_table,           &snapshot_create_table,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct body_table *t;
	struct buf first = { 0 }, second = { 0 };
	struct err e = { 0 };
	void *target;

	if (!size || size > 65536)
		return 0;
	t = tables[data[0] % (sizeof tables / sizeof tables[0])];
	target = malloc(t->size);
	if (body_decode(t, (const char *)data + 1, size - 1, target, &e) == 0) {
		if (body_print(t, target, &first) < 0)
			abort();
		body_clear(t, target);
		/* What is not read (BODY_ANY) is printed as null. */
		if (body_decode(t, first.data, first.len, target, &e) < 0 || body_print(t, target, &second) < 0 ||
		    strcmp(first.data, second.data) != 0)
			abort();
		body_clear(t, target);
	} else if (!err_is_set(&e)) {
		abort();
	}
	free(target);
	buf_fini(&first);
	buf_fini(&second);
	return 0;
}
