/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container that shares namespaces with one of another client's call: `podman run --network container:X`, and so
 * --pid, --ipc, --uts. Its spec names X's by paths, which lead to X's stand-in (pod/standin.h). A network is a virtual
 * machine's, so such a container goes into X's, as a later one of X's pod, and what it does not share is its own there.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "pod/state.h"
#include "proto/oci.pb-c.h"

enum join_kind { JOIN_NETWORK, JOIN_PID, JOIN_IPC, JOIN_UTS, JOIN_KINDS };

/* Whose namespace of each kind the spec names, as an index of pod_state.containers; -1: nobody's there. */
struct join {
	ssize_t of[JOIN_KINDS];
};

/* Look among the containers of one pod; but: the id of one that does not count, or NULL. Whether there is any. */
bool join_in_pod(const struct pod_state *s, const Grpc__Spec *spec, const char *but, struct join *ret);
/*
 * Look among all pods below root that live and are of this namespace of containerd's (NULL: of none). *ret_sandbox:
 * whose pod the container is to be in, to be freed; NULL: it is to have a VM of its own. What cannot be shared is
 * refused (-ENOTSUP), with what to do instead.
 */
int join_find_pod(const char *root, const char *namespace, const Grpc__Spec *spec, char **ret_sandbox, struct err *e);
/* That all namespaces that the spec names can be shared: those that this pod has, and no other. -ENOTSUP. */
int join_check(const struct join *j, const struct pod_state *s, const Grpc__Spec *spec, struct err *e);
