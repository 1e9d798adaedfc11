/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What becomes of a pod, as events of containerd. What a request brought about is told by its handler, which knows more
 * of it, before the answer; what happens by itself comes from the pod.
 */
#include "proto/events.pb-c.h"
#include "base/strv.h"
#include "task/service_internal.h"

static void tell(struct task_service *s, const char *topic, const ProtobufCMessage *event)
{
	if (s->params.events)
		publisher_publish(s->params.events, topic, event);
}

static void tell_exit(struct task_service *s, const struct pod_event *event)
{
	Containerd__Events__TaskExit m = CONTAINERD__EVENTS__TASK_EXIT__INIT;
	Google__Protobuf__Timestamp at;

	m.container_id = (char *)event->container_id;
	/* The first process has the container's id there. */
	m.id = (char *)(str_empty(event->exec_id) ? event->container_id : event->exec_id);
	m.pid = (uint32_t)event->pid;
	m.exit_status = (uint32_t)event->exit.status;
	m.exited_at = answer_time(&event->exit.at, &at);
	tell(s, "/tasks/exit", &m.base);
}

static void tell_oom(struct task_service *s, const char *id)
{
	Containerd__Events__TaskOOM m = CONTAINERD__EVENTS__TASK_OOM__INIT;

	m.container_id = (char *)id;
	tell(s, "/tasks/oom", &m.base);
}

void service_on_pod_event(const struct pod_event *event, void *userdata)
{
	struct task_service *s = userdata;

	/* Of a sandbox containerd hears by WaitSandbox. */
	if (str_eq(event->container_id, s->sandbox.id))
		return;
	switch (event->kind) {
	case POD_EVENT_EXIT:
		tell_exit(s, event);
		break;
	case POD_EVENT_OOM:
		tell_oom(s, event->container_id);
		break;
	case POD_EVENT_CREATE:
	case POD_EVENT_START:
	case POD_EVENT_EXEC_ADDED:
	case POD_EVENT_EXEC_STARTED:
	case POD_EVENT_PAUSED:
	case POD_EVENT_RESUMED:
	case POD_EVENT_DELETE:
		break; /* the handlers' */
	}
}

void service_tell_create(struct task_service *s, const Containerd__Task__V2__CreateTaskRequest *request, pid_t pid)
{
	Containerd__Events__TaskCreate m = CONTAINERD__EVENTS__TASK_CREATE__INIT;
	Containerd__Events__TaskIO io = CONTAINERD__EVENTS__TASK_IO__INIT;

	io.stdin = request->stdin;
	io.stdout = request->stdout;
	io.stderr = request->stderr;
	io.terminal = request->terminal;
	m.container_id = request->id;
	m.bundle = request->bundle;
	m.rootfs = request->rootfs;
	m.n_rootfs = request->n_rootfs;
	m.io = &io;
	m.pid = (uint32_t)pid;
	tell(s, "/tasks/create", &m.base);
}

void service_tell_start(struct task_service *s, const char *id, const char *exec_id, pid_t pid)
{
	Containerd__Events__TaskExecStarted added = CONTAINERD__EVENTS__TASK_EXEC_STARTED__INIT;
	Containerd__Events__TaskStart first = CONTAINERD__EVENTS__TASK_START__INIT;

	if (str_empty(exec_id)) {
		first.container_id = (char *)id;
		first.pid = (uint32_t)pid;
		tell(s, "/tasks/start", &first.base);
	} else {
		added.container_id = (char *)id;
		added.exec_id = (char *)exec_id;
		added.pid = (uint32_t)pid;
		tell(s, "/tasks/exec-started", &added.base);
	}
}

void service_tell_delete(struct task_service *s, const char *id, pid_t pid, const struct pod_exit *exit)
{
	Containerd__Events__TaskDelete m = CONTAINERD__EVENTS__TASK_DELETE__INIT;
	Google__Protobuf__Timestamp at;

	m.container_id = (char *)id;
	m.pid = (uint32_t)pid;
	m.exit_status = (uint32_t)exit->status;
	m.exited_at = answer_time(&exit->at, &at);
	tell(s, "/tasks/delete", &m.base);
}

void service_tell_exec_added(struct task_service *s, const char *id, const char *exec_id)
{
	Containerd__Events__TaskExecAdded m = CONTAINERD__EVENTS__TASK_EXEC_ADDED__INIT;

	m.container_id = (char *)id;
	m.exec_id = (char *)exec_id;
	tell(s, "/tasks/exec-added", &m.base);
}

void service_tell_paused(struct task_service *s, const char *id)
{
	Containerd__Events__TaskPaused m = CONTAINERD__EVENTS__TASK_PAUSED__INIT;

	m.container_id = (char *)id;
	tell(s, "/tasks/paused", &m.base);
}

void service_tell_resumed(struct task_service *s, const char *id)
{
	Containerd__Events__TaskResumed m = CONTAINERD__EVENTS__TASK_RESUMED__INIT;

	m.container_id = (char *)id;
	tell(s, "/tasks/resumed", &m.base);
}
