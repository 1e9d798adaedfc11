/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/leftovers.h"

#include "base/fd.h"
#include "base/log.h"
#include "pod/host_cgroup.h"

static void end_cgroup(const char *described)
{
	_cleanup_(host_cgroup_free_p) struct host_cgroup *cg = NULL;
	struct err e = { 0 };

	if (str_empty(described))
		return;
	if (host_cgroup_open(described, &cg, &e) < 0)
		log_debug("%s", e.text);
	else
		host_cgroup_kill(cg);
}

void leftovers_end(const struct pod_state *s)
{
	for (size_t i = 0; i < s->n_containers; i++)
		end_cgroup(s->containers[i].cgroup);
	end_cgroup(s->cgroup);
	if (!str_empty(s->run_dir))
		dir_remove(s->run_dir);
}
