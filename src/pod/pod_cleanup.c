/* SPDX-License-Identifier: Apache-2.0 */
/* A file of its own, so that programs with another kind of pod can have another one. */
#include "pod/pod.h"
#include "pod/state.h"

int pod_cleanup(const char *state_root, const char *id, struct err *e)
{
	return state_remove_dead(state_root, id, e);
}
