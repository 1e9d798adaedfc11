/* SPDX-License-Identifier: Apache-2.0 */
/* Pause, Resume, ResizePty, CloseIO, Update, Checkpoint, Shutdown. */
#include <errno.h>

#include "base/strv.h"
#include "oci/spec.h"
#include "task/any.h"
#include "task/service_internal.h"

static void on_paused(int result, const struct err *e, void *userdata)
{
	struct ttrpc_request *req = userdata;
	const Containerd__Task__V2__PauseRequest *q =
		(const Containerd__Task__V2__PauseRequest *)ttrpc_request_message(req);

	if (result == 0)
		service_tell_paused(ttrpc_request_data(req), q->id);
	answer_done(result, e, req);
}

HANDLER(handle_pause)
{
	const Containerd__Task__V2__PauseRequest *q = (const Containerd__Task__V2__PauseRequest *)request;
	struct task_service *s = userdata;

	if (!answer_find(s, req, q->id, NULL, NULL))
		return;
	ttrpc_request_set_data(req, s);
	pod_pause(s->pod, q->id, on_paused, req);
}

static void on_resumed(int result, const struct err *e, void *userdata)
{
	struct ttrpc_request *req = userdata;
	const Containerd__Task__V2__ResumeRequest *q =
		(const Containerd__Task__V2__ResumeRequest *)ttrpc_request_message(req);

	if (result == 0)
		service_tell_resumed(ttrpc_request_data(req), q->id);
	answer_done(result, e, req);
}

HANDLER(handle_resume)
{
	const Containerd__Task__V2__ResumeRequest *q = (const Containerd__Task__V2__ResumeRequest *)request;
	struct task_service *s = userdata;

	if (!answer_find(s, req, q->id, NULL, NULL))
		return;
	ttrpc_request_set_data(req, s);
	pod_resume(s->pod, q->id, on_resumed, req);
}

HANDLER(handle_resize_pty)
{
	const Containerd__Task__V2__ResizePtyRequest *q = (const Containerd__Task__V2__ResizePtyRequest *)request;
	struct task_service *s = userdata;
	struct err e = { 0 };

	if (answer_find(s, req, q->id, q->exec_id, NULL))
		answer_done(pod_resize_pty(s->pod, q->id, q->exec_id, q->width, q->height, &e), &e, req);
}

HANDLER(handle_close_io)
{
	const Containerd__Task__V2__CloseIORequest *q = (const Containerd__Task__V2__CloseIORequest *)request;
	struct task_service *s = userdata;
	struct err e = { 0 };
	int r = 0;

	if (!answer_find(s, req, q->id, q->exec_id, NULL))
		return;
	if (q->stdin)
		r = pod_close_stdin(s->pod, q->id, q->exec_id, &e);
	/* Who closes what has gone has what it wants. */
	answer_done(r == -ESRCH ? 0 : r, &e, req);
}

HANDLER(handle_update)
{
	const Containerd__Task__V2__UpdateTaskRequest *q = (const Containerd__Task__V2__UpdateTaskRequest *)request;
	_cleanup_(oci_resources_free_p) Grpc__LinuxResources *resources = NULL;
	struct task_service *s = userdata;
	struct err e = { 0 };
	int r;

	if (!answer_find(s, req, q->id, NULL, NULL))
		return;
	if (any_is(q->resources, ANY_OCI_RESOURCES))
		r = oci_resources_parse((const char *)q->resources->value.data, q->resources->value.len, "resources",
					&resources, NULL, &e);
	else
		r = err_set(&e, ERR_PROTOCOL, EINVAL, "the resources are of type \"%.100s\", not %s",
			    q->resources ? q->resources->type_url : "", ANY_OCI_RESOURCES);
	if (r < 0)
		answer_done(r, &e, req);
	else
		pod_update(s->pod, q->id, take_ptr(resources), answer_done, req);
}

HANDLER(handle_checkpoint)
{
	ttrpc_reply_error(req, TTRPC_UNIMPLEMENTED,
			  "a container in a virtual machine has no CRIU checkpoint: not implemented");
}

HANDLER(handle_shutdown)
{
	const Containerd__Task__V2__ShutdownRequest *q = (const Containerd__Task__V2__ShutdownRequest *)request;
	struct task_service *s = userdata;

	/* containerd does not come back: behind a Delete, also of what is being created. */
	if (!q->now && (service_park(s, req, q->id) || service_park_behind_delete(s, req, q->id)))
		return;
	/*
	 * containerd says it with every container of a pod that it has deleted: the last one counts. Where the pod is a
	 * sandbox of its own, that says more than its containers (ShutdownSandbox).
	 */
	if (q->now || (!s->sandbox.id && (!s->pod || pod_is_empty(s->pod))))
		loop_timer_set(s->shutdown, 0);
	answer_empty(req);
}
