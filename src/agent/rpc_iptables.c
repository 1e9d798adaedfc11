// SPDX-License-Identifier: Apache-2.0
/*
 * The packet filter's rules, by the guest's own programs. They run in the agent's network namespace, which is that of
 * all containers.
 */
#include <errno.h>
#include <stdlib.h>

#include "agent/rpc.h"
#include "agent/tool.h"

#define RULES_MAX   (1u << 20)
#define TIMEOUT_MS  8000
#define LOCK_WAIT_S "5" /* for another program that changes the rules */
#define AT_ONCE     4

struct iptables_job {
	struct list node;
	struct ttrpc_request *req;
	struct tool *tool;
	bool set;
};

static void job_free(struct iptables_job *job)
{
	list_remove(&job->node);
	tool_cancel(job->tool);
	free(job);
}

static void on_done(int r, const struct buf *output, const struct err *e, void *userdata)
{
	Grpc__GetIPTablesResponse got = GRPC__GET_IPTABLES_RESPONSE__INIT;
	Grpc__SetIPTablesResponse was_set = GRPC__SET_IPTABLES_RESPONSE__INIT;
	ProtobufCBinaryData data = { .data = (uint8_t *)output->data, .len = output->len };
	struct iptables_job *job = userdata;

	job->tool = NULL;
	got.data = was_set.data = data;
	if (r < 0)
		rpc_fail(job->req, e);
	else
		ttrpc_reply(job->req, job->set ? &was_set.base : &got.base);
	job_free(job);
}

static void on_caller_gone(struct ttrpc_request *req, void *userdata)
{
	job_free(userdata);
	ttrpc_reply_error(req, TTRPC_CANCELLED, "the caller has gone");
}

void iptables_end(struct agent *a)
{
	struct iptables_job *job;

	list_foreach (job, &a->iptables, struct iptables_job, node) {
		ttrpc_reply_error(job->req, TTRPC_UNAVAILABLE, "the agent is ending");
		job_free(job);
	}
}

static int check(const struct agent *a, size_t n_input, struct err *e)
{
	const struct iptables_job *job;
	unsigned n = 0;

	list_foreach (job, &a->iptables, const struct iptables_job, node)
		n++;
	if (n >= AT_ONCE)
		return err_set(e, ERR_LIMIT, EBUSY, "%u such requests are under way", n);
	return n_input > RULES_MAX ? err_set(e, ERR_LIMIT, E2BIG, "the rules are more than %u bytes", RULES_MAX) : 0;
}

static void run(struct agent *a, struct ttrpc_request *req, char **argv, const ProtobufCBinaryData *input)
{
	struct iptables_job *job = calloc(1, sizeof *job);
	struct tool_params params = { .loop = a->loop,
				      .reaper = a->reaper,
				      .name = argv[0],
				      .argv = argv,
				      .input = input ? input->data : NULL,
				      .n_input = input ? input->len : 0,
				      .output_max = RULES_MAX,
				      .timeout_ms = TIMEOUT_MS };
	struct err e = { 0 };
	int r = job ? check(a, params.n_input, &e) : err_sys(&e, ENOMEM, "%s", argv[0]);

	if (job)
		list_init(&job->node);
	if (r == 0)
		r = tool_start(&params, on_done, job, &job->tool, &e);
	if (r < 0) {
		rpc_fail(req, &e);
		free(job);
		return;
	}
	job->req = req;
	job->set = input != NULL;
	list_append(&a->iptables, &job->node);
	ttrpc_request_on_close(req, on_caller_gone, job);
}

RPC(rpc_get_iptables)
{
	const Grpc__GetIPTablesRequest *m = (const Grpc__GetIPTablesRequest *)message;

	run(userdata, req, (char *[]){ (char *)(m->is_ipv6 ? "ip6tables-save" : "iptables-save"), NULL }, NULL);
}

RPC(rpc_set_iptables)
{
	const Grpc__SetIPTablesRequest *m = (const Grpc__SetIPTablesRequest *)message;

	run(userdata, req,
	    (char *[]){ (char *)(m->is_ipv6 ? "ip6tables-restore" : "iptables-restore"), (char *)"--wait",
			(char *)LOCK_WAIT_S, NULL },
	    &m->data);
}
