/* SPDX-License-Identifier: Apache-2.0 */
/* What a killed owner left on the host. Its mounts and its taps have ended with it. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "pod/host_cgroup.h"
#include "pod/pod.h"
#include "pod/state.h"

static void end_cgroup(const char *described)
{
	_cleanup_(host_cgroup_free_p) struct host_cgroup *cg = NULL;
	struct err e = { 0 };

	if (host_cgroup_open(described, &cg, &e) < 0)
		log_debug("%s", e.text);
	else
		host_cgroup_kill(cg);
}

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
	if (!str_empty(s.cgroup))
		end_cgroup(s.cgroup);
	if (!str_empty(s.run_dir))
		dir_remove(s.run_dir);
	snprintf(path, sizeof path, "%s/%s", state_root, id);
	r = dir_remove(path);
	return r < 0 ? err_sys(e, -r, "cannot remove %s", path) : 0;
}
