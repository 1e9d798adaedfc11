/* SPDX-License-Identifier: Apache-2.0 */
/* Tests only: what a device has counted. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "virtio/device.h"

/* A name that the device does not count is a mistake of the test. */
static inline uint64_t counted(const struct virtio_device *dev, const char *name)
{
	for (unsigned i = 0; dev->counter_names[i]; i++)
		if (!strcmp(dev->counter_names[i], name))
			return dev->counters[i];
	abort();
}
