/* SPDX-License-Identifier: Apache-2.0 */
/* The spec's resource limits, which speak cgroup v1, as values of cgroup v2 files. OCI runtime spec 1.1 "Control
 * groups". */
#pragma once

#include "base/err.h"
#include "proto/oci.pb-c.h"
#include "sys/cgroup.h"

/* What is not given (0 in the protocol) stays as it is. linux_spec: its devices are allowed too; may be NULL. */
int resources_apply(struct cgroup *cg, const Grpc__LinuxResources *res, const Grpc__Linux *linux_spec, struct err *e);

/*
 * Of a container that is there. Its rules about devices stay as they are, as with runc: those of an update have the
 * host's numbers, and nobody tells here which device is which.
 */
int resources_update(struct cgroup *cg, const Grpc__LinuxResources *res, struct err *e);

/*
 * The rules about devices: the spec's, then what every container may use, then all access to the devices that the spec
 * creates, but for those that a rule of its own names. Caller frees *ret. For resources_apply(), and tests.
 */
int resources_device_rules(const Grpc__LinuxResources *res, const Grpc__Linux *linux_spec,
			   struct cgroup_device_rule **ret, size_t *ret_n, struct err *e);
