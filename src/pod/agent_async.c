/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that answer from the loop: long polls, and what must not wait for a slow guest. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/strv.h"
#include "codec/ttrpc.h"
#include "pod/agent.h"
#include "pod/agent_call.h"
#include "proto/empty.pb-c.h"
#include "proto/names.pb-c.h"

struct agent_call {
	struct ttrpc_call *call;
	const char *service, *method; /* literals; service NULL: the protocol's own */
	char *subject;
	union {
		agent_wait_fn wait;
		agent_read_fn read;
		agent_write_fn write;
		agent_done_fn done;
		agent_oom_fn oom;
		agent_text_fn text;
		agent_stats_fn stats;
		agent_volume_fn volume;
		agent_name_fn name;
		agent_rules_fn rules;
	} fn;
	/* Takes the answer apart for fn; m is NULL when result < 0. */
	void (*deliver)(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e);
	void *userdata;
	size_t n;       /* bytes of a write */
	int timeout_ms; /* 0: none */
};

static void call_free(struct agent_call *call)
{
	free(call->subject);
	free(call);
}

static void on_answer(int result, const ProtobufCMessage *m, const struct err *e, void *userdata)
{
	struct agent_call *call = userdata;
	struct err wrapped = { 0 };

	if (result < 0) {
		wrapped = *e;
		agent_wrap(&wrapped, result, call->method, call->subject);
	}
	call->deliver(call, result, result < 0 ? NULL : m, &wrapped);
	call_free(call);
}

/* draft: service, method, fn, deliver, userdata, n, timeout_ms. */
static int start(struct agent *a, const struct agent_call *draft, const char *subject, const ProtobufCMessage *request,
		 const ProtobufCMessageDescriptor *response, struct agent_call **ret, struct err *e)
{
	struct agent_call *call = malloc(sizeof *call);
	int r;

	if (!call)
		return err_sys(e, ENOMEM, "guest agent: %s", draft->method);
	*call = *draft;
	call->subject = strdup(subject ? subject : "");
	if (!call->subject)
		r = err_sys(e, ENOMEM, "cannot start the call");
	else
		r = ttrpc_call_async(a->client, draft->service ? draft->service : AGENT_SERVICE, draft->method, request,
				     response, draft->timeout_ms ? draft->timeout_ms : -1, on_answer, call, &call->call,
				     e);
	if (r < 0) {
		agent_wrap(e, r, draft->method, subject);
		call_free(call);
		return r;
	}
	if (ret)
		*ret = call;
	return 0;
}

void agent_call_cancel(struct agent_call *call)
{
	if (!call)
		return;
	ttrpc_call_cancel(call->call);
	call_free(call);
}

static void deliver_wait(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	call->fn.wait(result, m ? ((const Grpc__WaitProcessResponse *)m)->status : 0, e, call->userdata);
}

int agent_wait_async(struct agent *a, const char *id, const char *exec_id, agent_wait_fn fn, void *userdata,
		     struct agent_call **ret, struct err *e)
{
	struct agent_call draft = {
		.method = "WaitProcess", .fn.wait = fn, .deliver = deliver_wait, .userdata = userdata
	};
	Grpc__WaitProcessRequest q = GRPC__WAIT_PROCESS_REQUEST__INIT;

	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	return start(a, &draft, id, &q.base, &grpc__wait_process_response__descriptor, ret, e);
}

static void deliver_read(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	const Grpc__ReadStreamResponse *answer = (const Grpc__ReadStreamResponse *)m;

	call->fn.read(result, m ? answer->data.data : NULL, m ? answer->data.len : 0, e, call->userdata);
}

int agent_read_async(struct agent *a, const char *id, const char *exec_id, enum agent_stream stream, uint32_t max,
		     agent_read_fn fn, void *userdata, struct agent_call **ret, struct err *e)
{
	struct agent_call draft = { .fn.read = fn, .deliver = deliver_read, .userdata = userdata };
	Grpc__ReadStreamRequest q = GRPC__READ_STREAM_REQUEST__INIT;

	draft.method = stream == AGENT_STDERR ? "ReadStderr" : "ReadStdout";
	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	q.len = max;
	return start(a, &draft, id, &q.base, &grpc__read_stream_response__descriptor, ret, e);
}

static void deliver_write(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	size_t written = m ? ((const Grpc__WriteStreamResponse *)m)->len : 0;

	if (result == 0 && (written > call->n || (!written && call->n))) {
		result = err_set(e, ERR_PROTOCOL, EPROTO, "%zu bytes written of %zu", written, call->n);
		agent_wrap(e, result, call->method, call->subject);
	}
	call->fn.write(result, written, e, call->userdata);
}

int agent_write_stdin_async(struct agent *a, const char *id, const char *exec_id, const void *data, size_t n,
			    agent_write_fn fn, void *userdata, struct agent_call **ret, struct err *e)
{
	struct agent_call draft = {
		.method = "WriteStdin", .fn.write = fn, .deliver = deliver_write, .userdata = userdata, .n = n
	};
	Grpc__WriteStreamRequest q = GRPC__WRITE_STREAM_REQUEST__INIT;

	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	q.data.data = (uint8_t *)data;
	q.data.len = n;
	return start(a, &draft, id, &q.base, &grpc__write_stream_response__descriptor, ret, e);
}

static void deliver_done(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	if (call->fn.done)
		call->fn.done(result, e, call->userdata);
	else if (result < 0)
		log_debug("%s", e->text);
}

/* Of calls whose answer says nothing that anybody wants. */
static int start_plain(struct agent *a, const char *method, unsigned timeout_ms, const char *subject,
		       const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response, agent_done_fn fn,
		       void *userdata, struct agent_call **ret, struct err *e)
{
	struct agent_call draft = { .method = method,
				    .fn.done = fn,
				    .deliver = deliver_done,
				    .userdata = userdata,
				    .timeout_ms = (int)timeout_ms };

	return start(a, &draft, subject, request, response, ret, e);
}

/* Of calls that answer with nothing. */
static int start_done(struct agent *a, const char *method, unsigned timeout_ms, const char *id,
		      const ProtobufCMessage *request, agent_done_fn fn, void *userdata, struct agent_call **ret,
		      struct err *e)
{
	return start_plain(a, method, timeout_ms, id, request, &google__protobuf__empty__descriptor, fn, userdata, ret,
			   e);
}

int agent_create_container_async(struct agent *a, const Grpc__CreateContainerRequest *request, agent_done_fn fn,
				 void *userdata, struct agent_call **ret, struct err *e)
{
	return start_done(a, "CreateContainer", a->create_container_ms, request->container_id, &request->base, fn,
			  userdata, ret, e);
}

int agent_start_container_async(struct agent *a, const char *id, agent_done_fn fn, void *userdata,
				struct agent_call **ret, struct err *e)
{
	Grpc__StartContainerRequest q = GRPC__START_CONTAINER_REQUEST__INIT;

	q.container_id = (char *)id;
	return start_done(a, "StartContainer", AGENT_TIMEOUT_MS, id, &q.base, fn, userdata, ret, e);
}

int agent_remove_container_async(struct agent *a, const char *id, agent_done_fn fn, void *userdata,
				 struct agent_call **ret, struct err *e)
{
	Grpc__RemoveContainerRequest q = GRPC__REMOVE_CONTAINER_REQUEST__INIT;

	q.container_id = (char *)id;
	return start_done(a, "RemoveContainer", AGENT_TIMEOUT_MS, id, &q.base, fn, userdata, ret, e);
}

int agent_exec_async(struct agent *a, const Grpc__ExecProcessRequest *request, agent_done_fn fn, void *userdata,
		     struct agent_call **ret, struct err *e)
{
	return start_done(a, "ExecProcess", AGENT_TIMEOUT_MS, request->container_id, &request->base, fn, userdata, ret,
			  e);
}

int agent_update_container_async(struct agent *a, const char *id, const Grpc__LinuxResources *resources,
				 agent_done_fn fn, void *userdata, struct agent_call **ret, struct err *e)
{
	Grpc__UpdateContainerRequest q = GRPC__UPDATE_CONTAINER_REQUEST__INIT;

	q.container_id = (char *)id;
	q.resources = (Grpc__LinuxResources *)resources;
	return start_done(a, "UpdateContainer", AGENT_TIMEOUT_MS, id, &q.base, fn, userdata, ret, e);
}

int agent_pause_async(struct agent *a, const char *id, agent_done_fn fn, void *userdata, struct agent_call **ret,
		      struct err *e)
{
	Grpc__PauseContainerRequest q = GRPC__PAUSE_CONTAINER_REQUEST__INIT;

	q.container_id = (char *)id;
	return start_done(a, "PauseContainer", AGENT_TIMEOUT_MS, id, &q.base, fn, userdata, ret, e);
}

int agent_resume_async(struct agent *a, const char *id, agent_done_fn fn, void *userdata, struct agent_call **ret,
		       struct err *e)
{
	Grpc__ResumeContainerRequest q = GRPC__RESUME_CONTAINER_REQUEST__INIT;

	q.container_id = (char *)id;
	return start_done(a, "ResumeContainer", AGENT_TIMEOUT_MS, id, &q.base, fn, userdata, ret, e);
}

int agent_close_stdin_async(struct agent *a, const char *id, const char *exec_id, agent_done_fn fn, void *userdata,
			    struct agent_call **ret, struct err *e)
{
	Grpc__CloseStdinRequest q = GRPC__CLOSE_STDIN_REQUEST__INIT;

	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	return start_done(a, "CloseStdin", 0, id, &q.base, fn, userdata, ret, e);
}

int agent_signal_async(struct agent *a, const char *id, const char *exec_id, int signo, agent_done_fn fn,
		       void *userdata, struct agent_call **ret, struct err *e)
{
	Grpc__SignalProcessRequest q = GRPC__SIGNAL_PROCESS_REQUEST__INIT;

	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	q.signal = (uint32_t)signo;
	return start_done(a, "SignalProcess", AGENT_TIMEOUT_MS, id, &q.base, fn, userdata, ret, e);
}

int agent_tty_resize_async(struct agent *a, const char *id, const char *exec_id, uint32_t rows, uint32_t columns,
			   agent_done_fn fn, void *userdata, struct agent_call **ret, struct err *e)
{
	Grpc__TtyWinResizeRequest q = GRPC__TTY_WIN_RESIZE_REQUEST__INIT;

	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	q.row = rows;
	q.column = columns;
	return start_done(a, "TtyWinResize", 0, id, &q.base, fn, userdata, ret, e);
}

static void deliver_oom(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	call->fn.oom(result, m ? ((const Grpc__OOMEvent *)m)->container_id : NULL, e, call->userdata);
}

int agent_get_oom_event_async(struct agent *a, agent_oom_fn fn, void *userdata, struct agent_call **ret, struct err *e)
{
	struct agent_call draft = {
		.method = "GetOOMEvent", .fn.oom = fn, .deliver = deliver_oom, .userdata = userdata
	};
	Grpc__GetOOMEventRequest q = GRPC__GET_OOMEVENT_REQUEST__INIT;

	return start(a, &draft, NULL, &q.base, &grpc__oomevent__descriptor, ret, e);
}

static void deliver_text(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	call->fn.text(result, m ? ((const Grpc__Metrics *)m)->metrics : NULL, e, call->userdata);
}

int agent_get_metrics_async(struct agent *a, int timeout_ms, agent_text_fn fn, void *userdata, struct agent_call **ret,
			    struct err *e)
{
	struct agent_call draft = { .method = "GetMetrics",
				    .fn.text = fn,
				    .deliver = deliver_text,
				    .userdata = userdata,
				    .timeout_ms = timeout_ms };
	Grpc__GetMetricsRequest q = GRPC__GET_METRICS_REQUEST__INIT;

	return start(a, &draft, NULL, &q.base, &grpc__metrics__descriptor, ret, e);
}

static void deliver_stats(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	call->fn.stats(result, (const Grpc__StatsContainerResponse *)m, e, call->userdata);
}

int agent_stats_async(struct agent *a, const char *id, int timeout_ms, agent_stats_fn fn, void *userdata,
		      struct agent_call **ret, struct err *e)
{
	struct agent_call draft = { .method = "StatsContainer",
				    .fn.stats = fn,
				    .deliver = deliver_stats,
				    .userdata = userdata,
				    .timeout_ms = timeout_ms };
	Grpc__StatsContainerRequest q = GRPC__STATS_CONTAINER_REQUEST__INIT;

	q.container_id = (char *)id;
	return start(a, &draft, id, &q.base, &grpc__stats_container_response__descriptor, ret, e);
}

static void deliver_volume(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	call->fn.volume(result, (const Grpc__VolumeStatsResponse *)m, e, call->userdata);
}

int agent_get_volume_stats_async(struct agent *a, const char *guest_path, int timeout_ms, agent_volume_fn fn,
				 void *userdata, struct agent_call **ret, struct err *e)
{
	struct agent_call draft = { .method = "GetVolumeStats",
				    .fn.volume = fn,
				    .deliver = deliver_volume,
				    .userdata = userdata,
				    .timeout_ms = timeout_ms };
	Grpc__VolumeStatsRequest q = GRPC__VOLUME_STATS_REQUEST__INIT;

	q.volume_guest_path = (char *)guest_path;
	return start(a, &draft, guest_path, &q.base, &grpc__volume_stats_response__descriptor, ret, e);
}

int agent_online_cpu_mem_async(struct agent *a, bool wait, uint32_t n_cpus, bool cpu_only, agent_done_fn fn,
			       void *userdata, struct agent_call **ret, struct err *e)
{
	Grpc__OnlineCPUMemRequest q = GRPC__ONLINE_CPUMEM_REQUEST__INIT;

	q.wait = wait;
	q.nb_cpus = n_cpus;
	q.cpu_only = cpu_only;
	return start_done(a, "OnlineCPUMem", AGENT_TIMEOUT_MS, NULL, &q.base, fn, userdata, ret, e);
}

int agent_update_interface_async(struct agent *a, const Types__Interface *nic, agent_done_fn fn, void *userdata,
				 struct agent_call **ret, struct err *e)
{
	Grpc__UpdateInterfaceRequest q = GRPC__UPDATE_INTERFACE_REQUEST__INIT;

	q.interface = (Types__Interface *)nic;
	return start_plain(a, "UpdateInterface", AGENT_TIMEOUT_MS, nic->name, &q.base, &types__interface__descriptor,
			   fn, userdata, ret, e);
}

int agent_update_routes_async(struct agent *a, Types__Route *const *routes, size_t n, agent_done_fn fn, void *userdata,
			      struct agent_call **ret, struct err *e)
{
	Grpc__UpdateRoutesRequest q = GRPC__UPDATE_ROUTES_REQUEST__INIT;
	Grpc__Routes list = GRPC__ROUTES__INIT;

	list.routes = (Types__Route **)routes;
	list.n_routes = n;
	q.routes = &list;
	return start_plain(a, "UpdateRoutes", AGENT_TIMEOUT_MS, NULL, &q.base, &grpc__routes__descriptor, fn, userdata,
			   ret, e);
}

int agent_add_arp_neighbors_async(struct agent *a, Types__ARPNeighbor *const *neighbors, size_t n, agent_done_fn fn,
				  void *userdata, struct agent_call **ret, struct err *e)
{
	Grpc__AddARPNeighborsRequest q = GRPC__ADD_ARPNEIGHBORS_REQUEST__INIT;
	Grpc__ARPNeighbors list = GRPC__ARPNEIGHBORS__INIT;

	list.arpneighbors = (Types__ARPNeighbor **)neighbors;
	list.n_arpneighbors = n;
	q.neighbors = &list;
	return start_done(a, "AddARPNeighbors", AGENT_TIMEOUT_MS, NULL, &q.base, fn, userdata, ret, e);
}

int agent_copy_file_async(struct agent *a, const Grpc__CopyFileRequest *request, agent_done_fn fn, void *userdata,
			  struct agent_call **ret, struct err *e)
{
	return start_done(a, "CopyFile", AGENT_TIMEOUT_MS, request->path, &request->base, fn, userdata, ret, e);
}

int agent_resize_volume_async(struct agent *a, const char *guest_path, uint64_t size, agent_done_fn fn, void *userdata,
			      struct agent_call **ret, struct err *e)
{
	Grpc__ResizeVolumeRequest q = GRPC__RESIZE_VOLUME_REQUEST__INIT;

	q.volume_guest_path = (char *)guest_path;
	q.size = size;
	return start_done(a, "ResizeVolume", 0, guest_path, &q.base, fn, userdata, ret, e);
}

static void deliver_rules(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	const Grpc__GetIPTablesResponse *answer = (const Grpc__GetIPTablesResponse *)m;

	call->fn.rules(result, m ? answer->data.data : NULL, m ? answer->data.len : 0, e, call->userdata);
}

int agent_get_iptables_async(struct agent *a, bool ipv6, int timeout_ms, agent_rules_fn fn, void *userdata,
			     struct agent_call **ret, struct err *e)
{
	struct agent_call draft = { .method = "GetIPTables",
				    .fn.rules = fn,
				    .deliver = deliver_rules,
				    .userdata = userdata,
				    .timeout_ms = timeout_ms };
	Grpc__GetIPTablesRequest q = GRPC__GET_IPTABLES_REQUEST__INIT;

	q.is_ipv6 = ipv6;
	return start(a, &draft, NULL, &q.base, &grpc__get_iptables_response__descriptor, ret, e);
}

int agent_set_iptables_async(struct agent *a, bool ipv6, const void *rules, size_t n, int timeout_ms, agent_done_fn fn,
			     void *userdata, struct agent_call **ret, struct err *e)
{
	Grpc__SetIPTablesRequest q = GRPC__SET_IPTABLES_REQUEST__INIT;

	q.is_ipv6 = ipv6;
	q.data.data = (uint8_t *)rules;
	q.data.len = n;
	return start_plain(a, "SetIPTables", (unsigned)timeout_ms, NULL, &q.base,
			   &grpc__set_iptables_response__descriptor, fn, userdata, ret, e);
}

static void deliver_name(struct agent_call *call, int result, const ProtobufCMessage *m, struct err *e)
{
	call->fn.name(result, (const Caisson__NameQuery *)m, e, call->userdata);
}

int agent_next_name_async(struct agent *a, const char *address, agent_name_fn fn, void *userdata,
			  struct agent_call **ret, struct err *e)
{
	struct agent_call draft = {
		.service = NAMES_SERVICE, .method = "Next", .fn.name = fn, .deliver = deliver_name, .userdata = userdata
	};
	Caisson__NextNameQuery q = CAISSON__NEXT_NAME_QUERY__INIT;

	q.address = (char *)address;
	return start(a, &draft, address, &q.base, &caisson__name_query__descriptor, ret, e);
}

int agent_answer_name_async(struct agent *a, uint64_t id, const void *data, size_t n, agent_done_fn fn, void *userdata,
			    struct agent_call **ret, struct err *e)
{
	struct agent_call draft = { .service = NAMES_SERVICE,
				    .method = "Answer",
				    .fn.done = fn,
				    .deliver = deliver_done,
				    .userdata = userdata };
	Caisson__NameAnswer q = CAISSON__NAME_ANSWER__INIT;

	q.id = id;
	q.message.data = (uint8_t *)data;
	q.message.len = n;
	return start(a, &draft, NULL, &q.base, &google__protobuf__empty__descriptor, ret, e);
}
