/* SPDX-License-Identifier: Apache-2.0 */
/* State, Pids, Stats, Connect: what only looks. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/strv.h"
#include "proto/runc_options.pb-c.h"
#include "sys/cgroup.h"
#include "task/any.h"
#include "task/service_internal.h"
#include "task/stats.h"

static Containerd__V1__Types__Status status(enum pod_status s)
{
	switch (s) {
	case POD_CREATED:
		return CONTAINERD__V1__TYPES__STATUS__CREATED;
	case POD_RUNNING:
		return CONTAINERD__V1__TYPES__STATUS__RUNNING;
	case POD_STOPPED:
		return CONTAINERD__V1__TYPES__STATUS__STOPPED;
	case POD_PAUSED:
		return CONTAINERD__V1__TYPES__STATUS__PAUSED;
	}
	return CONTAINERD__V1__TYPES__STATUS__UNKNOWN;
}

static char *or_empty(const char *s)
{
	return (char *)(s ? s : "");
}

HANDLER(handle_state)
{
	const Containerd__Task__V2__StateRequest *q = (const Containerd__Task__V2__StateRequest *)request;
	Containerd__Task__V2__StateResponse answer = CONTAINERD__TASK__V2__STATE_RESPONSE__INIT;
	Google__Protobuf__Timestamp at;
	struct pod_process_state st;

	if (!answer_find(userdata, req, q->id, q->exec_id, &st))
		return;
	answer.id = str_empty(q->exec_id) ? q->id : q->exec_id;
	answer.exec_id = q->exec_id;
	answer.bundle = or_empty(st.bundle);
	answer.pid = (uint32_t)st.pid;
	answer.status = status(st.status);
	answer.stdin = or_empty(st.io.in);
	answer.stdout = or_empty(st.io.out);
	answer.stderr = or_empty(st.io.err);
	answer.terminal = st.io.terminal;
	if (st.status == POD_STOPPED) {
		answer.exit_status = (uint32_t)st.exit.status;
		answer.exited_at = answer_time(&st.exit.at, &at);
	}
	ttrpc_reply(req, &answer.base);
}

static const struct exec_note *exec_of(const struct task_service *s, const char *id, pid_t pid)
{
	const struct exec_note *n;

	list_foreach (n, &s->execs, struct exec_note, node)
		if (n->pid == pid && str_eq(n->id, id))
			return n;
	return NULL;
}

/* What a process of Exec is called, as the runc shim tells it. */
static int details(const struct exec_note *n, Google__Protobuf__Any *ret)
{
	Containerd__Runc__V1__ProcessDetails m = CONTAINERD__RUNC__V1__PROCESS_DETAILS__INIT;

	m.exec_id = n->exec_id;
	return any_pack(&m.base, ret);
}

static int reply_pids(struct task_service *s, struct ttrpc_request *req, const char *id, const pid_t *pids, size_t n)
{
	Containerd__Task__V2__PidsResponse answer = CONTAINERD__TASK__V2__PIDS_RESPONSE__INIT;
	_cleanup_free_ Containerd__V1__Types__ProcessInfo *infos = calloc(n + 1, sizeof *infos);
	_cleanup_free_ Containerd__V1__Types__ProcessInfo **list = calloc(n + 1, sizeof(void *));
	_cleanup_free_ Google__Protobuf__Any *anys = calloc(n + 1, sizeof *anys);
	int r = infos && list && anys ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < n; i++) {
		const struct exec_note *note = exec_of(s, id, pids[i]);

		containerd__v1__types__process_info__init(&infos[i]);
		infos[i].pid = (uint32_t)pids[i];
		if (note && (r = details(note, &anys[i])) == 0)
			infos[i].info = &anys[i];
		list[i] = &infos[i];
	}
	answer.processes = list;
	answer.n_processes = n;
	if (r == 0)
		ttrpc_reply(req, &answer.base);
	for (size_t i = 0; anys && i < n; i++)
		any_fini(&anys[i]);
	return r;
}

HANDLER(handle_pids)
{
	const Containerd__Task__V2__PidsRequest *q = (const Containerd__Task__V2__PidsRequest *)request;
	_cleanup_free_ pid_t *pids = NULL;
	struct task_service *s = userdata;
	struct err e = { 0 };
	size_t n = 0;
	int r;

	if (!answer_find(s, req, q->id, NULL, NULL))
		return;
	r = pod_pids(s->pod, q->id, &pids, &n, &e);
	if (r == 0)
		r = reply_pids(s, req, q->id, pids, n);
	if (r < 0)
		answer_error(req, r, &e);
}

static void on_stats(int result, const Grpc__StatsContainerResponse *stats, const struct err *e, void *userdata)
{
	Containerd__Task__V2__StatsResponse answer = CONTAINERD__TASK__V2__STATS_RESPONSE__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	struct ttrpc_request *req = userdata;

	if (result == 0)
		result = stats_pack(stats, stats_host_is_v2(CGROUP_ROOT), &any);
	if (result < 0) {
		answer_error(req, result, e);
		return;
	}
	answer.stats = &any;
	ttrpc_reply(req, &answer.base);
	any_fini(&any);
}

HANDLER(handle_stats)
{
	const Containerd__Task__V2__StatsRequest *q = (const Containerd__Task__V2__StatsRequest *)request;
	struct task_service *s = userdata;
	struct err e = { 0 };
	int r;

	if (!answer_find(s, req, q->id, NULL, NULL))
		return;
	r = pod_stats(s->pod, q->id, on_stats, req, &e);
	if (r < 0)
		answer_error(req, r, &e);
}

/* Asked first by a containerd that was started again: of a container that is not there too. */
HANDLER(handle_connect)
{
	const Containerd__Task__V2__ConnectRequest *q = (const Containerd__Task__V2__ConnectRequest *)request;
	Containerd__Task__V2__ConnectResponse answer = CONTAINERD__TASK__V2__CONNECT_RESPONSE__INIT;
	const struct task_service *s = userdata;
	struct pod_process_state st;

	answer.shim_pid = (uint32_t)getpid();
	if (s->pod && pod_state(s->pod, q->id, "", &st, NULL) == 0)
		answer.task_pid = (uint32_t)st.pid;
	ttrpc_reply(req, &answer.base);
}
