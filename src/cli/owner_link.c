/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/owner_link.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

#include "base/unix_socket.h"
#include "codec/pb.h"
#include "pod/state.h"
#include "proto/empty.pb-c.h"

int owner_link_connect(struct owner_link *l, const char *root, const char *sandbox, struct err *e)
{
	_cleanup_close_ int fd = -1;
	char path[PATH_MAX + 96];
	int r;

	snprintf(path, sizeof path, "%s/%s/" OWNER_SOCKET, root, sandbox);
	r = unix_connect(path, &fd);
	if (r < 0)
		return err_sys(e, -r, "cannot reach the owner of %s at %s", sandbox, path);
	r = loop_new(&l->loop, e);
	return r < 0 ? r : ttrpc_client_new(l->loop, take_fd(&fd), -1, &l->client, e);
}

int owner_link_open(struct owner_link *l, const char *root, const char *id, struct err *e)
{
	int r = oci_record_read(root, id, &l->record, e);

	if (r < 0)
		return r;
	/* A dead owner's place may be that of another one by now: the pod's first container is there again. */
	if (!state_dir_is_held(root, id))
		return 0;
	r = owner_link_connect(l, root, l->record.sandbox, e);
	if (r == -ENOENT || r == -ECONNREFUSED) {
		if (e)
			*e = (struct err){ 0 };
		return 0;
	}
	return r;
}

void owner_link_close(struct owner_link *l)
{
	ttrpc_client_free(l->client);
	loop_free(l->loop);
	oci_record_fini(&l->record);
	*l = (struct owner_link){ 0 };
}

int owner_call(struct owner_link *l, const char *method, const ProtobufCMessage *request,
	       const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret, struct err *e)
{
	if (!l->client)
		return err_set(e, ERR_SYSTEM, ESRCH, "container not running");
	return ttrpc_call(l->client, TASK_SERVICE_V2, method, request, response, timeout_ms, ret, e);
}

const char *oci_status_name(enum oci_status s)
{
	static const char *const names[] = { [OCI_CREATING] = "creating",
					     [OCI_CREATED] = "created",
					     [OCI_RUNNING] = "running",
					     [OCI_PAUSED] = "paused",
					     [OCI_STOPPED] = "stopped" };

	return names[s];
}

static enum oci_status status_of(Containerd__V1__Types__Status status)
{
	switch (status) {
	case CONTAINERD__V1__TYPES__STATUS__CREATED:
		return OCI_CREATED;
	case CONTAINERD__V1__TYPES__STATUS__RUNNING:
		return OCI_RUNNING;
	case CONTAINERD__V1__TYPES__STATUS__PAUSED:
	case CONTAINERD__V1__TYPES__STATUS__PAUSING:
		return OCI_PAUSED;
	default:
		return OCI_STOPPED;
	}
}

int owner_state(struct owner_link *l, struct owner_state *ret, struct err *e)
{
	Containerd__Task__V2__StateRequest q = CONTAINERD__TASK__V2__STATE_REQUEST__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	const Containerd__Task__V2__StateResponse *answer;
	int r;

	*ret = (struct owner_state){ .status = OCI_STOPPED };
	if (!l->client)
		return 0;
	q.id = l->record.id;
	r = owner_call(l, "State", &q.base, &containerd__task__v2__state_response__descriptor, OWNER_TIMEOUT_MS, &m, e);
	/* The owner died just now, or has no such container yet. */
	if (r == -ECONNRESET || r == -ENOENT) {
		if (r == -ENOENT)
			ret->status = OCI_CREATING;
		if (e)
			*e = (struct err){ 0 };
		return 0;
	}
	if (r < 0)
		return r;
	answer = (const Containerd__Task__V2__StateResponse *)m;
	ret->status = status_of(answer->status);
	ret->pid = ret->status == OCI_STOPPED ? 0 : (pid_t)answer->pid;
	ret->exit_status = (int)answer->exit_status;
	return 0;
}

int owner_kill(struct owner_link *l, int signo, bool all, struct err *e)
{
	Containerd__Task__V2__KillRequest q = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;

	q.id = l->record.id;
	q.signal = (uint32_t)signo;
	q.all = all;
	return owner_call(l, "Kill", &q.base, &google__protobuf__empty__descriptor, OWNER_TIMEOUT_MS, NULL, e);
}

int owner_wait(struct owner_link *l, int timeout_ms, struct err *e)
{
	Containerd__Task__V2__WaitRequest q = CONTAINERD__TASK__V2__WAIT_REQUEST__INIT;

	q.id = l->record.id;
	return owner_call(l, "Wait", &q.base, &containerd__task__v2__wait_response__descriptor, timeout_ms, NULL, e);
}
