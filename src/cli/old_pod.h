/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod that has outlived its first container, whose id is asked for anew: podman restarts a pod's infra container
 * while the others run, and each of those afterwards. The network of such a pod is gone with the first container.
 * Containers that only share the network of one that is gone are another matter: that one may come back to them
 * (cli/launch.c).
 */
#pragma once

#include "base/err.h"

/*
 * End one that lives, each container by SIGTERM and a while later by SIGKILL, and wait until nothing of it is left. 1:
 * done; 0: nobody is in it by annotations.
 */
int old_pod_end(const char *root, const char *sandbox, struct err *e);
