/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One port of an IPv4 address, for the processes of a cgroup and those below it, is really another one: BPF programs at
 * connect(2), sendmsg(2) and recvmsg(2) say so (Linux 5.7, CONFIG_CGROUP_BPF). What is bound, and by whom, does not
 * change.
 */
#pragma once

#include <netinet/in.h>
#include <stdint.h>

#include "base/err.h"

struct resolver_redirect;

/* cgroup: a folder of cgroup v2. */
int resolver_redirect_new(const char *cgroup, struct in_addr address, uint16_t port, uint16_t real_port,
			  struct resolver_redirect **ret, struct err *e);
/* NULL does nothing. */
void resolver_redirect_free(struct resolver_redirect *d);
