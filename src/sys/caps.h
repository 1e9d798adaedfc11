/* SPDX-License-Identifier: Apache-2.0 */
/* Capabilities: names, sets as bit masks, and putting them on the calling thread. capabilities(7). */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

#define CAP_BIT(n) (UINT64_C(1) << (n))

struct caps {
	uint64_t bounding, effective, inheritable, permitted, ambient;
};

/* "CAP_NET_ADMIN", in any letter case, with or without "CAP_". The number, or -EINVAL. */
int cap_by_name(const char *name);
/* "CAP_…", or NULL. */
const char *cap_name(int cap);
/* The highest capability of the running kernel. */
int cap_last(void);

/*
 * The two halves of dropping to a container's sets, around setuid(2): before, the bounding set is cut (needs
 * CAP_SETPCAP) and permitted capabilities are kept over the change of user; after, the other sets are set. Bits that
 * the kernel does not know are dropped. 0 or -errno with a message.
 */
int caps_limit_bounding(uint64_t bounding, struct err *e);
int caps_keep(bool keep, struct err *e);
int caps_apply(const struct caps *caps, struct err *e);
