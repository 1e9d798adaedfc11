// SPDX-License-Identifier: Apache-2.0
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/uevent.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct uevent ev;
	char *copy = malloc(n ? n : 1);

	if (n)
		memcpy(copy, data, n);
	if (uevent_parse(copy, n, &ev) == 0 && strlen(ev.devpath) + strlen(ev.action) > 2 * n)
		abort();
	free(copy);
	return 0;
}
