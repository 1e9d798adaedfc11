/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Descriptors that a VMM process is to inherit: duplicates of what devices bring along, whose numbers go into the
 * command line, kept until the process has them.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "hypervisor/driver.h"

struct inherit {
	int *fds;
	size_t n;
};

/*
 * Keep duplicates of a network device's tap queues, and put them in the place of the device's own: *ret_theirs is what
 * it had, to be put back after the command line was made. A device without any is left alone.
 */
int inherit_taps(struct inherit *in, struct vm_device *d, int **ret_theirs, struct err *e);
/*
 * What a process is to keep open: these and n of the driver's own, those of them that are not -1. To be freed by the
 * caller; NULL without memory.
 */
int *inherit_keep(const struct inherit *in, const int *own, size_t n, size_t *ret_n);
/* Close all of them. */
void inherit_fini(struct inherit *in);
