/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a container is to its pod, by the annotations of those who manage pods (kata.md §7, "Pod grouping"). podman
 * writes CRI-O's.
 */
#pragma once

#include "proto/oci.pb-c.h"

/* CRI-O's and podman's key of what a container is; on a pod's containers only. */
#define POD_ROLE_CRIO "io.kubernetes.cri-o.ContainerType"

enum pod_role {
	POD_ROLE_SINGLE,    /* a VM of its own */
	POD_ROLE_SANDBOX,   /* the first container of a pod: its VM is that of the others */
	POD_ROLE_CONTAINER, /* one of the others */
};

/*
 * *ret_sandbox: the id of the pod's first container, part of the spec; NULL for POD_ROLE_SINGLE, and where it is not
 * told. ret_sandbox may be NULL.
 */
enum pod_role pod_role(const Grpc__Spec *spec, const char **ret_sandbox);
