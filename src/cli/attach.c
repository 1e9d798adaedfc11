/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/attach.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/fd.h"
#include "cli/command.h"
#include "hypervisor/driver.h"

/* The agent of a running container answers at once; this bounds one that does not. */
#define ATTACH_TIMEOUT_MS 10000

int attach(struct attachment *a, const char *root, const char *id, struct err *e)
{
	bool alive;
	int fd, r;

	r = state_read(root, id, &a->state, &alive, e);
	if (r < 0)
		return r;
	snprintf(a->dir, sizeof a->dir, "%s/%s", root, a->state.id);
	if (!alive)
		return err_set(e, ERR_CONFIG, ESRCH, "container %s is dead; caisson list --prune removes what it left",
			       id);
	if (!str_eq(a->state.status, "running"))
		return err_set(e, ERR_CONFIG, EAGAIN, "container %s is not running yet (%s)", id, a->state.status);
	r = loop_new(&a->loop, e);
	if (r < 0)
		return r;
	r = vm_connect_address(a->state.agent_address, 1024, clock_ms() + ATTACH_TIMEOUT_MS, &fd, e);
	if (r < 0)
		return r;
	return agent_new(a->loop, fd, -1, NULL, &a->agent, e);
}

void detach(struct attachment *a)
{
	agent_free(a->agent);
	loop_free(a->loop);
	pod_state_fini(&a->state);
}

int command_failure_status(int r)
{
	if (r == -ENOENT)
		return EXIT_NOT_FOUND;
	return r == -EACCES || r == -ENOEXEC || r == -EPERM ? EXIT_CANNOT_EXECUTE : EXIT_CAISSON;
}
