/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a spec says about the host and cannot mean in the guest: its network, namespaces to join, systemd's cgroups,
 * hooks that are programs of the host. Changes the spec in place.
 */
#pragma once

#include "pod/plan.h"

int plan_spec(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e);

/* The same of one process: the labels of the host's security modules, which the guest's agent refuses. */
void plan_process(Grpc__Process *process);
