/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd.runtime.sandbox.v1.Sandbox, which containerd 2 calls for a runtime with sandboxer = "shim": the pod begins
 * and ends by itself, without a pause container. Its containers come by the Task service, as always.
 *
 * In the pod, the sandbox is a first container that the guest does not have (pod_container_params.sandbox_only). What
 * became of it is kept here: StopSandbox ends the VM, and containerd asks for the rest afterwards.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/strv.h"
#include "codec/pb.h"
#include "oci/image.h"
#include "proto/cri_pod.pb-c.h"
#include "proto/sandbox.pb-c.h"
#include "sys/cgroup.h"
#include "task/any.h"
#include "task/sandbox_bundle.h"
#include "task/service_internal.h"
#include "task/stats.h"

#define CONFIG_BUDGET (4u << 20)
#define STOPPED_BY    (128 + SIGKILL)
/* A Go client that sees the answer and the end of the connection at once tells either, and containerd wants the answer.
 */
#define LINGER_MS 200

/* Is this the sandbox? If not, the request has been answered. */
static bool is_sandbox(const struct task_service *s, struct ttrpc_request *req, const char *id)
{
	if (s->sandbox.id && str_eq(s->sandbox.id, id))
		return true;
	ttrpc_reply_error(req, TTRPC_NOT_FOUND, "sandbox %.100s does not exist: not found", id);
	return false;
}

bool service_sandbox_runs(const struct task_service *s)
{
	return s->sandbox.pid && !s->sandbox.exit.at.tv_sec;
}

void service_sandbox_fini(struct task_service *s)
{
	free(take_ptr(s->sandbox.id));
	free(take_ptr(s->sandbox.bundle));
}

/* ---- begin ---- */

/* Without one the pod has defaults for everything. */
static int read_config(const Google__Protobuf__Any *any, ProtobufCMessage **ret, struct err *e)
{
	size_t budget = CONFIG_BUDGET;
	bool given = any && !str_empty(any->type_url);

	if (given && !any_is_message(any, &runtime__v1__pod_sandbox_config__descriptor))
		return err_set(e, ERR_CONFIG, EINVAL, "sandbox options of type \"%.100s\" are not known here",
			       any->type_url);
	if (pb_unpack(&runtime__v1__pod_sandbox_config__descriptor, given ? any->value.data : NULL,
		      given ? any->value.len : 0, &budget, ret) < 0)
		return err_set(e, ERR_PROTOCOL, EINVAL, "the sandbox's options are no PodSandboxConfig");
	return 0;
}

HANDLER(handle_create_sandbox)
{
	const Containerd__Runtime__Sandbox__V1__CreateSandboxRequest *q =
		(const Containerd__Runtime__Sandbox__V1__CreateSandboxRequest *)request;
	Containerd__Runtime__Sandbox__V1__CreateSandboxResponse answer =
		CONTAINERD__RUNTIME__SANDBOX__V1__CREATE_SANDBOX_RESPONSE__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *config = NULL;
	struct task_service *s = userdata;
	struct err e = { 0 };
	int r = 0;

	if (s->sandbox.id || s->pod)
		r = err_set(&e, ERR_CONFIG, EEXIST, "this shim has a pod already");
	if (r == 0)
		r = read_config(q->options, &config, &e);
	if (r == 0)
		r = sandbox_bundle_write(q->bundle_path, q->sandbox_id, q->netns_path,
					 (const Runtime__V1__PodSandboxConfig *)config, &e);
	if (r == 0) {
		s->sandbox.id = strdup(q->sandbox_id);
		s->sandbox.bundle = strdup(q->bundle_path);
		if (!s->sandbox.id || !s->sandbox.bundle) {
			service_sandbox_fini(s);
			r = err_sys(&e, ENOMEM, "cannot keep the sandbox");
		}
	}
	if (r < 0)
		answer_error(req, r, &e);
	else
		ttrpc_reply(req, &answer.base);
}

/* Nothing in the guest is waited for: these are told inside of the calls that begin them. */
struct created {
	int result;
	struct err *e;
};

static void on_created(int result, pid_t pid, const struct err *e, void *userdata)
{
	struct created *c = userdata;

	c->result = result;
	if (result < 0)
		*c->e = *e;
}

static void on_started(int result, pid_t pid, const struct err *e, void *userdata)
{
	struct task_service *s = userdata;

	s->sandbox.pid = result < 0 ? 0 : pid;
	if (result < 0)
		log_error("sandbox %s: %s", s->sandbox.id, e->text);
}

static int start(struct task_service *s, struct err *e)
{
	struct created created = { .e = e };
	Containerd__Task__V2__CreateTaskRequest q = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	struct pod_container_params p = {
		.id = s->sandbox.id, .bundle = s->sandbox.bundle, .sandbox_only = true, .standin_fd = -1
	};
	int r;

	clock_gettime(CLOCK_REALTIME, &s->sandbox.created);
	q.id = s->sandbox.id;
	q.bundle = s->sandbox.bundle;
	r = s->params.make_pod(&q, service_on_pod_event, s, &s->pod, e, s->params.userdata);
	if (r == 0) {
		pod_create(s->pod, &p, on_created, &created);
		r = created.result;
	}
	if (r == 0)
		pod_start(s->pod, s->sandbox.id, "", on_started, s);
	if (r == 0 && !s->sandbox.pid)
		r = err_set(e, ERR_SYSTEM, EIO, "the sandbox does not start");
	if (r < 0)
		pod_free(take_ptr(s->pod));
	return r;
}

HANDLER(handle_start_sandbox)
{
	const Containerd__Runtime__Sandbox__V1__StartSandboxRequest *q =
		(const Containerd__Runtime__Sandbox__V1__StartSandboxRequest *)request;
	Containerd__Runtime__Sandbox__V1__StartSandboxResponse answer =
		CONTAINERD__RUNTIME__SANDBOX__V1__START_SANDBOX_RESPONSE__INIT;
	Google__Protobuf__Any spec = GOOGLE__PROTOBUF__ANY__INIT;
	Google__Protobuf__Timestamp at;
	_cleanup_free_ char *text = NULL;
	struct task_service *s = userdata;
	struct err e = { 0 };
	int r;

	if (!is_sandbox(s, req, q->sandbox_id))
		return;
	r = s->pod || s->sandbox.pid ? err_set(&e, ERR_CONFIG, EBUSY, "the sandbox has been started before")
				     : start(s, &e);
	if (r == 0)
		r = sandbox_bundle_spec(s->sandbox.bundle, &text, &e);
	if (r < 0) {
		log_error("sandbox %s: %s", q->sandbox_id, err_is_set(&e) ? e.text : strerror(-r));
		answer_error(req, r == -ESRCH ? -EBUSY : r, &e);
		return;
	}
	answer.pid = (uint32_t)s->sandbox.pid;
	answer.created_at = answer_time(&s->sandbox.created, &at);
	spec.type_url = (char *)ANY_OCI_SPEC;
	spec.value.data = (uint8_t *)text;
	spec.value.len = strlen(text);
	answer.spec = &spec;
	ttrpc_reply(req, &answer.base);
}

/* ---- look ---- */

HANDLER(handle_platform)
{
	const Containerd__Runtime__Sandbox__V1__PlatformRequest *q =
		(const Containerd__Runtime__Sandbox__V1__PlatformRequest *)request;
	Containerd__Runtime__Sandbox__V1__PlatformResponse answer =
		CONTAINERD__RUNTIME__SANDBOX__V1__PLATFORM_RESPONSE__INIT;
	Containerd__Runtime__Sandbox__V1__Platform platform = CONTAINERD__RUNTIME__SANDBOX__V1__PLATFORM__INIT;

	if (!is_sandbox(userdata, req, q->sandbox_id))
		return;
	platform.os = (char *)"linux";
	platform.architecture = (char *)oci_host_architecture();
	answer.platform = &platform;
	ttrpc_reply(req, &answer.base);
}

HANDLER(handle_sandbox_status)
{
	const Containerd__Runtime__Sandbox__V1__SandboxStatusRequest *q =
		(const Containerd__Runtime__Sandbox__V1__SandboxStatusRequest *)request;
	Containerd__Runtime__Sandbox__V1__SandboxStatusResponse answer =
		CONTAINERD__RUNTIME__SANDBOX__V1__SANDBOX_STATUS_RESPONSE__INIT;
	const struct task_service *s = userdata;
	struct pod_process_state st = { .status = POD_STOPPED, .exit = s->sandbox.exit };
	Containerd__Runtime__Sandbox__V1__SandboxStatusResponse__InfoEntry
		info = CONTAINERD__RUNTIME__SANDBOX__V1__SANDBOX_STATUS_RESPONSE__INFO_ENTRY__INIT,
		*list[] = { &info };
	Google__Protobuf__Timestamp created, exited;
	_cleanup_free_ char *text = NULL;

	if (!is_sandbox(s, req, q->sandbox_id))
		return;
	if (q->verbose && (text = sandbox_bundle_info(s->sandbox.bundle, s->sandbox.pid))) {
		info.key = (char *)"info";
		info.value = text;
		answer.info = list;
		answer.n_info = 1;
	}
	if (service_sandbox_runs(s))
		pod_state(s->pod, s->sandbox.id, "", &st, NULL);
	answer.sandbox_id = s->sandbox.id;
	answer.pid = (uint32_t)s->sandbox.pid;
	answer.state = (char *)(st.status == POD_RUNNING ? "SANDBOX_READY" : "SANDBOX_NOTREADY");
	answer.created_at = answer_time(&s->sandbox.created, &created);
	if (st.status == POD_STOPPED)
		answer.exited_at = answer_time(&st.exit.at, &exited);
	ttrpc_reply(req, &answer.base);
}

HANDLER(handle_ping_sandbox)
{
	const Containerd__Runtime__Sandbox__V1__PingRequest *q =
		(const Containerd__Runtime__Sandbox__V1__PingRequest *)request;
	Containerd__Runtime__Sandbox__V1__PingResponse answer = CONTAINERD__RUNTIME__SANDBOX__V1__PING_RESPONSE__INIT;

	if (is_sandbox(userdata, req, q->sandbox_id))
		ttrpc_reply(req, &answer.base);
}

/*
 * All of the pod as the host accounts it, in the form of a container's. (containerd 2.3 looks at kubelet's cgroup of
 * the pod itself for CRI's PodSandboxStats; this is for who asks its Sandbox Controller.)
 */
HANDLER(handle_sandbox_metrics)
{
	const Containerd__Runtime__Sandbox__V1__SandboxMetricsRequest *q =
		(const Containerd__Runtime__Sandbox__V1__SandboxMetricsRequest *)request;
	Containerd__Runtime__Sandbox__V1__SandboxMetricsResponse answer =
		CONTAINERD__RUNTIME__SANDBOX__V1__SANDBOX_METRICS_RESPONSE__INIT;
	Containerd__Types__Metric metric = CONTAINERD__TYPES__METRIC__INIT;
	Google__Protobuf__Any data = GOOGLE__PROTOBUF__ANY__INIT;
	const struct task_service *s = userdata;
	struct host_cgroup_usage usage;
	Google__Protobuf__Timestamp at;
	struct timespec now;
	struct err e = { 0 };
	int r;

	if (!is_sandbox(s, req, q->sandbox_id))
		return;
	if (!service_sandbox_runs(s)) {
		ttrpc_reply_error(req, TTRPC_UNAVAILABLE, "sandbox %.100s does not run: unavailable", q->sandbox_id);
		return;
	}
	r = pod_usage(s->pod, &usage, &e);
	if (r == 0)
		r = stats_pack_usage(&usage, stats_host_is_v2(CGROUP_ROOT), &data);
	if (r < 0) {
		answer_error(req, r, &e);
		return;
	}
	clock_gettime(CLOCK_REALTIME, &now);
	metric.timestamp = answer_time(&now, &at);
	metric.id = s->sandbox.id;
	metric.data = &data;
	answer.metrics = &metric;
	ttrpc_reply(req, &answer.base);
	any_fini(&data);
}

/* ---- end ---- */

static void on_waited(const struct pod_exit *exit, void *userdata)
{
	Containerd__Runtime__Sandbox__V1__WaitSandboxResponse answer =
		CONTAINERD__RUNTIME__SANDBOX__V1__WAIT_SANDBOX_RESPONSE__INIT;
	Google__Protobuf__Timestamp at;

	answer.exit_status = (uint32_t)exit->status;
	answer.exited_at = answer_time(&exit->at, &at);
	ttrpc_reply(userdata, &answer.base);
}

HANDLER(handle_wait_sandbox)
{
	const Containerd__Runtime__Sandbox__V1__WaitSandboxRequest *q =
		(const Containerd__Runtime__Sandbox__V1__WaitSandboxRequest *)request;
	struct task_service *s = userdata;
	struct err e = { 0 };
	int r = 0;

	if (!is_sandbox(s, req, q->sandbox_id))
		return;
	if (service_sandbox_runs(s))
		r = pod_wait(s->pod, s->sandbox.id, "", on_waited, req, &e);
	else
		on_waited(&s->sandbox.exit, req);
	if (r < 0)
		answer_error(req, r, &e);
}

/* containerd has ended the containers before; one that it lost goes with the VM. */
static void stop(struct task_service *s)
{
	struct pod_process_state st = { 0 };

	if (!service_sandbox_runs(s))
		return;
	pod_state(s->pod, s->sandbox.id, "", &st, NULL);
	s->sandbox.exit = st.exit;
	if (st.status != POD_STOPPED) {
		s->sandbox.exit.status = STOPPED_BY;
		clock_gettime(CLOCK_REALTIME, &s->sandbox.exit.at);
	}
	pod_free(take_ptr(s->pod)); /* answers those that wait */
}

HANDLER(handle_stop_sandbox)
{
	const Containerd__Runtime__Sandbox__V1__StopSandboxRequest *q =
		(const Containerd__Runtime__Sandbox__V1__StopSandboxRequest *)request;
	Containerd__Runtime__Sandbox__V1__StopSandboxResponse answer =
		CONTAINERD__RUNTIME__SANDBOX__V1__STOP_SANDBOX_RESPONSE__INIT;

	if (!is_sandbox(userdata, req, q->sandbox_id))
		return;
	stop(userdata);
	ttrpc_reply(req, &answer.base);
}

/* Also after a Create that failed, of which there is nothing here. */
HANDLER(handle_shutdown_sandbox)
{
	Containerd__Runtime__Sandbox__V1__ShutdownSandboxResponse answer =
		CONTAINERD__RUNTIME__SANDBOX__V1__SHUTDOWN_SANDBOX_RESPONSE__INIT;
	struct task_service *s = userdata;

	stop(s);
	loop_timer_set(s->shutdown, LINGER_MS);
	ttrpc_reply(req, &answer.base);
}
