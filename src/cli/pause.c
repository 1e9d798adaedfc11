/* SPDX-License-Identifier: Apache-2.0 */
/* caisson pause, caisson resume. */
#include <errno.h>

#include "cli/command.h"
#include "cli/oci_command.h"
#include "proto/empty.pb-c.h"

static int pause_container(struct owner_link *l, struct err *e)
{
	Containerd__Task__V2__PauseRequest q = CONTAINERD__TASK__V2__PAUSE_REQUEST__INIT;
	struct owner_state s;
	int r = owner_state(l, &s, e);

	if (r == 0 && s.status != OCI_RUNNING && s.status != OCI_CREATED)
		r = err_set(e, ERR_CONFIG, EBUSY, "container not running");
	q.id = l->record.id;
	return r < 0 ? r
		     : owner_call(l, "Pause", &q.base, &google__protobuf__empty__descriptor, OWNER_TIMEOUT_MS, NULL, e);
}

static int resume_container(struct owner_link *l, struct err *e)
{
	Containerd__Task__V2__ResumeRequest q = CONTAINERD__TASK__V2__RESUME_REQUEST__INIT;
	struct owner_state s;
	int r = owner_state(l, &s, e);

	if (r == 0 && s.status != OCI_PAUSED)
		r = err_set(e, ERR_CONFIG, EBUSY, "container not paused");
	q.id = l->record.id;
	return r < 0 ? r
		     : owner_call(l, "Resume", &q.base, &google__protobuf__empty__descriptor, OWNER_TIMEOUT_MS, NULL,
				  e);
}

static int run_command(const struct globals *g, int argc, char **argv, const char *what,
		       int (*fn)(struct owner_link *l, struct err *e))
{
	_cleanup_owner_link_ struct owner_link l = { 0 };
	struct err e = { 0 };
	int r, status;
	const char *id = oci_command_id(argc, argv, what, &status);

	if (!id)
		return status;
	r = owner_link_open(&l, g->root, id, &e);
	if (r == 0)
		r = fn(&l, &e);
	return oci_command_end(r, &e);
}

int command_pause(const struct globals *g, int argc, char **argv)
{
	return run_command(g, argc, argv, "suspend all processes of a container", pause_container);
}

int command_resume(const struct globals *g, int argc, char **argv)
{
	return run_command(g, argc, argv, "let a suspended container go on", resume_container);
}
