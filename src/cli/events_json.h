/* SPDX-License-Identifier: Apache-2.0 */
/* A container's statistics, as the Task service tells them, in the JSON of `runc events`. */
#pragma once

#include "base/err.h"
#include "proto/any.pb-c.h"

/*
 * stats: either of containerd's two forms; NULL: -EPROTO. Caller frees *ret. *ret_oom_kills: how many processes of the
 * container have been killed so far because its memory was full.
 */
int events_stats_json(const char *id, const Google__Protobuf__Any *stats, char **ret, uint64_t *ret_oom_kills,
		      struct err *e);
