/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's statistics of a container, and the host's of a pod, in the two forms that containerd's clients read:
 * io.containerd.cgroups.v1.Metrics and .v2.Metrics. Which one a client expects is a matter of the host's cgroups, not
 * of the guest's.
 */
#pragma once

#include <stdbool.h>

#include "pod/host_cgroup.h"
#include "proto/agent.pb-c.h"
#include "proto/any.pb-c.h"

/* Whether root ("/sys/fs/cgroup") is a cgroup v2 hierarchy and nothing else. */
bool stats_host_is_v2(const char *root);
/* Freed by any_fini(). from: its strings become UTF-8. 0, -EMSGSIZE, -ENOMEM. */
int stats_pack(const Grpc__StatsContainerResponse *from, bool v2, Google__Protobuf__Any *ret);
/* The same of a whole pod, as the host accounts it. */
int stats_pack_usage(const struct host_cgroup_usage *u, bool v2, Google__Protobuf__Any *ret);
