/* SPDX-License-Identifier: Apache-2.0 */
/* What a killed owner left on the host. Its mounts and its taps have ended with it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/fd.h"
#include "pod/leftovers.h"
#include "pod/pod.h"
#include "pod/state.h"

int pod_cleanup(const char *state_root, const char *id, struct err *e)
{
	_cleanup_pod_state_ struct pod_state s = { 0 };
	char path[PATH_MAX];
	bool alive = false;
	int r = state_read(state_root, id, &s, &alive, e);

	if (r == -ENOENT)
		return 0;
	if (r == 0 && alive)
		return err_set(e, ERR_CONFIG, EBUSY, "the owner of %s lives", id);
	leftovers_end(&s);
	snprintf(path, sizeof path, "%s/%s", state_root, id);
	r = dir_remove(path);
	return r < 0 ? err_sys(e, -r, "cannot remove %s", path) : 0;
}
