/* SPDX-License-Identifier: Apache-2.0 */
/* The network part of a plan: which NIC the VM gets, and what the guest is told about it. */
#pragma once

#include "pod/plan.h"

/* Fills p's interfaces, dns, publish, passt_socket and adds the net device. */
int plan_network(struct plan *p, const struct plan_request *q, struct err *e);

/* The command line of passt for the plan; empty when there is none. fd: its connection to the VMM. */
int plan_passt_argv(const struct plan *p, int fd, struct strv *ret);
