/* SPDX-License-Identifier: Apache-2.0 */
/* What a killed owner left on the host beside its state directory. Its mounts and its taps have ended with it. */
#pragma once

#include "pod/state.h"

/* End the cgroups that its record names, and remove the folder of its VM's sockets. The owner must be dead. */
void leftovers_end(const struct pod_state *s);
