/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The addresses and routes of one link, kept as the kernel told them and given back later, with every attribute (what
 * `ip address save` and `ip route save` do).
 */
#pragma once

#include <stddef.h>

#include "base/strv.h"

struct rtnl_saved {
	struct buf addrs, routes; /* messages, each behind its length */
};

/* Routes: of every table but the kernel's own (local), whose only device it is. */
int rtnl_save(int fd, int index, struct rtnl_saved *ret);
/* Remove the addresses that were saved; their routes go with them. */
int rtnl_remove_saved(int fd, const struct rtnl_saved *s);
/* Give all back. What is there already stays; the first error, after everything was tried. */
int rtnl_restore(int fd, const struct rtnl_saved *s);
void rtnl_saved_fini(struct rtnl_saved *s);
