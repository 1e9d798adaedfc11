/* SPDX-License-Identifier: Apache-2.0 */
/* caisson start: let the process of a created container run. */
#include <errno.h>

#include "cli/command.h"
#include "cli/oci_command.h"
#include "cli/start.h"

int start_container(struct owner_link *l, struct err *e)
{
	Containerd__Task__V2__StartRequest q = CONTAINERD__TASK__V2__START_REQUEST__INIT;
	struct owner_state s;
	int r = owner_state(l, &s, e);

	if (r < 0)
		return r;
	/* runc's words. */
	if (s.status == OCI_RUNNING)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot start an already running container");
	if (s.status == OCI_STOPPED)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot start a container that has stopped");
	if (s.status != OCI_CREATED)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot start a container in the %s state",
			       oci_status_name(s.status));
	q.id = l->record.id;
	return owner_call(l, "Start", &q.base, &containerd__task__v2__start_response__descriptor, OWNER_TIMEOUT_MS,
			  NULL, e);
}

int command_start(const struct globals *g, int argc, char **argv)
{
	_cleanup_owner_link_ struct owner_link l = { 0 };
	struct err e = { 0 };
	int r, status;
	const char *id = oci_command_id(argc, argv, "start the process of a created container", &status);

	if (!id)
		return status;
	r = owner_link_open(&l, g->root, id, &e);
	if (r == 0)
		r = start_container(&l, &e);
	return oci_command_end(r, &e);
}
