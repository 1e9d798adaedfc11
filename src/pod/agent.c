/* SPDX-License-Identifier: Apache-2.0 */
/* The synchronous calls. Each fills the request of its method; what is common to all is in call(). */
#include "pod/agent.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"
#include "pod/agent_call.h"
#include "proto/empty.pb-c.h"
#include "proto/health.pb-c.h"

int agent_new(struct loop *loop, int fd, int abort_fd, const struct config_agent *config, struct agent **ret,
	      struct err *e)
{
	struct agent *a = calloc(1, sizeof *a);
	int r;

	if (!a) {
		fd_close(&fd);
		return err_sys(e, ENOMEM, "cannot connect to the guest agent");
	}
	agent_set_create_container_timeout(a, config ? config->create_container_timeout : 0);
	r = ttrpc_client_new(loop, fd, abort_fd, &a->client, e);
	if (r < 0) {
		free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void agent_set_create_container_timeout(struct agent *a, unsigned seconds)
{
	a->create_container_ms = !seconds ? AGENT_TIMEOUT_MS : seconds > INT32_MAX / 1000 ? INT32_MAX : seconds * 1000;
}

void agent_free(struct agent *a)
{
	if (!a)
		return;
	ttrpc_client_free(a->client);
	free(a);
}

int agent_wrap(struct err *e, int r, const char *method, const char *subject)
{
	err_wrap(e, "guest agent: %s%s%s", method, str_empty(subject) ? "" : " ", subject ? subject : "");
	return r;
}

static int call_for(struct agent *a, const char *service, const char *method, const char *subject,
		    const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response, unsigned timeout_ms,
		    ProtobufCMessage **ret, struct err *e)
{
	int limit = timeout_ms > INT32_MAX ? INT32_MAX : (int)timeout_ms;
	uint64_t begin_us = clock_us();
	int r = ttrpc_call(a->client, service, method, request, response, limit, ret, e);

	log_debug("guest agent: %s took %.1f ms", method, (double)(clock_us() - begin_us) / 1000);
	return r < 0 ? agent_wrap(e, r, method, subject) : 0;
}

/* subject: what the call is about, for the message of an error; NULL: nothing in particular. */
static int call(struct agent *a, const char *method, const char *subject, const ProtobufCMessage *request,
		const ProtobufCMessageDescriptor *response, ProtobufCMessage **ret, struct err *e)
{
	return call_for(a, AGENT_SERVICE, method, subject, request, response, AGENT_TIMEOUT_MS, ret, e);
}

static int call_empty(struct agent *a, const char *method, const char *subject, const ProtobufCMessage *request,
		      struct err *e)
{
	return call(a, method, subject, request, &google__protobuf__empty__descriptor, NULL, e);
}

/* A copy of a string of an answer. */
static int take_text(const char *text, char **ret, struct err *e)
{
	char *copy = strdup(text ? text : "");

	if (!copy)
		return err_sys(e, ENOMEM, "cannot keep the answer of the guest agent");
	*ret = copy;
	return 0;
}

/* ---- health and details ---- */

int agent_check(struct agent *a, struct err *e)
{
	Grpc__CheckRequest q = GRPC__CHECK_REQUEST__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	int r = call_for(a, HEALTH_SERVICE, "Check", NULL, &q.base, &grpc__health_check_response__descriptor,
			 AGENT_TIMEOUT_MS, &m, e);

	if (r < 0)
		return r;
	if (((Grpc__HealthCheckResponse *)m)->status != GRPC__SERVING_STATUS__SERVING)
		return err_set(e, ERR_GUEST, EAGAIN, "guest agent: Check: the agent runs but does not serve");
	return 0;
}

int agent_version(struct agent *a, char **ret_version, struct err *e)
{
	Grpc__CheckRequest q = GRPC__CHECK_REQUEST__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	int r = call_for(a, HEALTH_SERVICE, "Version", NULL, &q.base, &grpc__version_check_response__descriptor,
			 AGENT_TIMEOUT_MS, &m, e);

	return r < 0 ? r : take_text(((Grpc__VersionCheckResponse *)m)->agent_version, ret_version, e);
}

int agent_get_guest_details(struct agent *a, bool mem_block_size, bool mem_hotplug_probe,
			    Grpc__GuestDetailsResponse **ret, struct err *e)
{
	Grpc__GuestDetailsRequest q = GRPC__GUEST_DETAILS_REQUEST__INIT;

	q.mem_block_size = mem_block_size;
	q.mem_hotplug_probe = mem_hotplug_probe;
	return call_for(a, AGENT_SERVICE, "GetGuestDetails", NULL, &q.base, &grpc__guest_details_response__descriptor,
			AGENT_SHORT_MS, (ProtobufCMessage **)ret, e);
}

int agent_get_metrics(struct agent *a, char **ret_text, struct err *e)
{
	Grpc__GetMetricsRequest q = GRPC__GET_METRICS_REQUEST__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	int r = call(a, "GetMetrics", NULL, &q.base, &grpc__metrics__descriptor, &m, e);

	return r < 0 ? r : take_text(((Grpc__Metrics *)m)->metrics, ret_text, e);
}

int agent_get_diagnostic_data(struct agent *a, const char *log_type, const char *id, char **ret_text, struct err *e)
{
	Grpc__GetDiagnosticDataRequest q = GRPC__GET_DIAGNOSTIC_DATA_REQUEST__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	int r;

	q.log_type = (char *)log_type;
	q.container_id = (char *)id;
	r = call(a, "GetDiagnosticData", id, &q.base, &grpc__get_diagnostic_data_response__descriptor, &m, e);
	return r < 0 ? r : take_text(((Grpc__GetDiagnosticDataResponse *)m)->data, ret_text, e);
}

/* ---- sandbox ---- */

int agent_create_sandbox(struct agent *a, const Grpc__CreateSandboxRequest *request, struct err *e)
{
	return call_empty(a, "CreateSandbox", request->sandbox_id, &request->base, e);
}

int agent_destroy_sandbox(struct agent *a, struct err *e)
{
	Grpc__DestroySandboxRequest q = GRPC__DESTROY_SANDBOX_REQUEST__INIT;

	return call_empty(a, "DestroySandbox", NULL, &q.base, e);
}

int agent_online_cpu_mem(struct agent *a, bool wait, uint32_t n_cpus, bool cpu_only, struct err *e)
{
	Grpc__OnlineCPUMemRequest q = GRPC__ONLINE_CPUMEM_REQUEST__INIT;

	q.wait = wait;
	q.nb_cpus = n_cpus;
	q.cpu_only = cpu_only;
	return call_empty(a, "OnlineCPUMem", NULL, &q.base, e);
}

int agent_mem_hotplug_by_probe(struct agent *a, const uint64_t *addresses, size_t n, struct err *e)
{
	Grpc__MemHotplugByProbeRequest q = GRPC__MEM_HOTPLUG_BY_PROBE_REQUEST__INIT;

	q.memhotplugprobeaddr = (uint64_t *)addresses;
	q.n_memhotplugprobeaddr = n;
	return call_empty(a, "MemHotplugByProbe", NULL, &q.base, e);
}

int agent_set_guest_date_time(struct agent *a, int64_t sec, int64_t usec, struct err *e)
{
	Grpc__SetGuestDateTimeRequest q = GRPC__SET_GUEST_DATE_TIME_REQUEST__INIT;

	q.sec = sec;
	q.usec = usec;
	return call_empty(a, "SetGuestDateTime", NULL, &q.base, e);
}

int agent_reseed_random(struct agent *a, const void *data, size_t n, struct err *e)
{
	Grpc__ReseedRandomDevRequest q = GRPC__RESEED_RANDOM_DEV_REQUEST__INIT;

	q.data.data = (uint8_t *)data;
	q.data.len = n;
	return call_empty(a, "ReseedRandomDev", NULL, &q.base, e);
}

int agent_set_policy(struct agent *a, const char *policy, struct err *e)
{
	Grpc__SetPolicyRequest q = GRPC__SET_POLICY_REQUEST__INIT;

	q.policy = (char *)policy;
	return call_empty(a, "SetPolicy", NULL, &q.base, e);
}

int agent_update_ephemeral_mounts(struct agent *a, Grpc__Storage *const *storages, size_t n, struct err *e)
{
	Grpc__UpdateEphemeralMountsRequest q = GRPC__UPDATE_EPHEMERAL_MOUNTS_REQUEST__INIT;

	q.storages = (Grpc__Storage **)storages;
	q.n_storages = n;
	return call_empty(a, "UpdateEphemeralMounts", NULL, &q.base, e);
}

/* ---- network ---- */

int agent_update_interface(struct agent *a, const Types__Interface *nic, struct err *e)
{
	Grpc__UpdateInterfaceRequest q = GRPC__UPDATE_INTERFACE_REQUEST__INIT;

	q.interface = (Types__Interface *)nic;
	return call(a, "UpdateInterface", nic->name, &q.base, &types__interface__descriptor, NULL, e);
}

int agent_update_routes(struct agent *a, Types__Route *const *routes, size_t n, struct err *e)
{
	Grpc__UpdateRoutesRequest q = GRPC__UPDATE_ROUTES_REQUEST__INIT;
	Grpc__Routes list = GRPC__ROUTES__INIT;

	list.routes = (Types__Route **)routes;
	list.n_routes = n;
	q.routes = &list;
	return call(a, "UpdateRoutes", NULL, &q.base, &grpc__routes__descriptor, NULL, e);
}

int agent_list_interfaces(struct agent *a, Grpc__Interfaces **ret, struct err *e)
{
	Grpc__ListInterfacesRequest q = GRPC__LIST_INTERFACES_REQUEST__INIT;

	return call(a, "ListInterfaces", NULL, &q.base, &grpc__interfaces__descriptor, (ProtobufCMessage **)ret, e);
}

int agent_list_routes(struct agent *a, Grpc__Routes **ret, struct err *e)
{
	Grpc__ListRoutesRequest q = GRPC__LIST_ROUTES_REQUEST__INIT;

	return call(a, "ListRoutes", NULL, &q.base, &grpc__routes__descriptor, (ProtobufCMessage **)ret, e);
}

int agent_add_arp_neighbors(struct agent *a, Types__ARPNeighbor *const *neighbors, size_t n, struct err *e)
{
	Grpc__AddARPNeighborsRequest q = GRPC__ADD_ARPNEIGHBORS_REQUEST__INIT;
	Grpc__ARPNeighbors list = GRPC__ARPNEIGHBORS__INIT;

	list.arpneighbors = (Types__ARPNeighbor **)neighbors;
	list.n_arpneighbors = n;
	q.neighbors = &list;
	return call_empty(a, "AddARPNeighbors", NULL, &q.base, e);
}

/* ---- containers and processes ---- */

int agent_create_container(struct agent *a, const Grpc__CreateContainerRequest *request, struct err *e)
{
	return call_for(a, AGENT_SERVICE, "CreateContainer", request->container_id, &request->base,
			&google__protobuf__empty__descriptor, a->create_container_ms, NULL, e);
}

int agent_start_container(struct agent *a, const char *id, struct err *e)
{
	Grpc__StartContainerRequest q = GRPC__START_CONTAINER_REQUEST__INIT;

	q.container_id = (char *)id;
	return call_empty(a, "StartContainer", id, &q.base, e);
}

int agent_remove_container(struct agent *a, const char *id, uint32_t timeout_s, struct err *e)
{
	Grpc__RemoveContainerRequest q = GRPC__REMOVE_CONTAINER_REQUEST__INIT;
	uint64_t ms = AGENT_TIMEOUT_MS + (uint64_t)timeout_s * 1000;

	q.container_id = (char *)id;
	q.timeout = timeout_s;
	return call_for(a, AGENT_SERVICE, "RemoveContainer", id, &q.base, &google__protobuf__empty__descriptor,
			ms > INT32_MAX ? INT32_MAX : (unsigned)ms, NULL, e);
}

int agent_exec(struct agent *a, const Grpc__ExecProcessRequest *request, struct err *e)
{
	return call_empty(a, "ExecProcess", request->container_id, &request->base, e);
}

int agent_signal(struct agent *a, const char *id, const char *exec_id, int signo, struct err *e)
{
	Grpc__SignalProcessRequest q = GRPC__SIGNAL_PROCESS_REQUEST__INIT;

	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	q.signal = (uint32_t)signo;
	return call_empty(a, "SignalProcess", id, &q.base, e);
}

int agent_tty_resize(struct agent *a, const char *id, const char *exec_id, uint32_t rows, uint32_t columns,
		     struct err *e)
{
	Grpc__TtyWinResizeRequest q = GRPC__TTY_WIN_RESIZE_REQUEST__INIT;

	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	q.row = rows;
	q.column = columns;
	return call_empty(a, "TtyWinResize", id, &q.base, e);
}

int agent_write_stdin(struct agent *a, const char *id, const char *exec_id, const void *data, size_t n,
		      size_t *ret_written, struct err *e)
{
	Grpc__WriteStreamRequest q = GRPC__WRITE_STREAM_REQUEST__INIT;
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	uint32_t written;
	int r;

	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	q.data.data = (uint8_t *)data;
	q.data.len = n;
	r = call(a, "WriteStdin", id, &q.base, &grpc__write_stream_response__descriptor, &m, e);
	if (r < 0)
		return r;
	written = ((Grpc__WriteStreamResponse *)m)->len;
	if (written > n)
		return err_set(e, ERR_PROTOCOL, EPROTO, "guest agent: WriteStdin %s: %u bytes written of %zu", id,
			       written, n);
	*ret_written = written;
	return 0;
}

int agent_close_stdin(struct agent *a, const char *id, const char *exec_id, struct err *e)
{
	Grpc__CloseStdinRequest q = GRPC__CLOSE_STDIN_REQUEST__INIT;

	q.container_id = (char *)id;
	q.exec_id = (char *)exec_id;
	return call_empty(a, "CloseStdin", id, &q.base, e);
}

int agent_copy_file(struct agent *a, const Grpc__CopyFileRequest *request, struct err *e)
{
	return call_empty(a, "CopyFile", request->path, &request->base, e);
}
