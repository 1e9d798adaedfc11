/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes from outside in google.protobuf.Any and as names: runtime options on stdin and in Create, a process in
 * Exec, resources in Update; names of streams and logging programs. First byte: which.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "codec/pb.h"
#include "oci/spec.h"
#include "pod/io_end.h"
#include "pod/io_logger.h"
#include "base/strv.h"
#include "proto/agent.pb-c.h"
#include "proto/task.pb-c.h"
#include "task/any.h"
#include "task/options.h"
#include "task/stats.h"

static void fuzz_options(const uint8_t *data, size_t n)
{
	struct task_options o;
	struct err e;

	if (task_options_read(data, n, &o, &e) == 0)
		task_options_fini(&o);
}

static void fuzz_exec(const uint8_t *data, size_t n)
{
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	const Google__Protobuf__Any *any;
	Grpc__LinuxResources *resources;
	Grpc__Process *process;
	size_t budget = 1 << 20;
	struct err e;

	if (pb_unpack(&containerd__task__v2__exec_process_request__descriptor, data, n, &budget, &m) < 0)
		return;
	any = ((Containerd__Task__V2__ExecProcessRequest *)m)->spec;
	if (any_is(any, ANY_OCI_PROCESS) &&
	    oci_spec_parse_process((const char *)any->value.data, any->value.len, "process", &process, NULL, &e) == 0)
		oci_process_free(process);
	if (any_is(any, ANY_OCI_RESOURCES) &&
	    oci_resources_parse((const char *)any->value.data, any->value.len, "resources", &resources, NULL, &e) == 0)
		oci_resources_free(resources);
}

static void fuzz_names(const uint8_t *data, size_t n)
{
	_cleanup_free_ char *text = strndup((const char *)data, n);
	_cleanup_strv_ struct strv argv = { 0 };
	struct io_end end;
	struct err e;

	if (!text)
		return;
	(void)io_logger_argv(text, &argv);
	free(io_uri_decode(text, strlen(text)));
	/* Names that open nothing of this machine's. */
	if (!strncmp(text, "fd:", 3) && io_end_open(text, true, &end, &e) == 0)
		io_end_close(&end);
}

/* A hostile guest's statistics. */
static void fuzz_stats(const uint8_t *data, size_t n)
{
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	size_t budget = 4 << 20;

	if (pb_unpack(&grpc__stats_container_response__descriptor, data, n, &budget, &m) < 0)
		return;
	for (int v2 = 0; v2 < 2; v2++) {
		_cleanup_any_ Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;

		(void)stats_pack((const Grpc__StatsContainerResponse *)m, v2, &any);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parts[])(const uint8_t *data, size_t n) = { fuzz_options, fuzz_exec, fuzz_names,
									fuzz_stats };

	if (size)
		parts[data[0] % 4](data + 1, size - 1);
	return 0;
}
