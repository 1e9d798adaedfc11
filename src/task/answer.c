/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Errors as containerd's runc shim words them. containerd makes an error class of the code and cuts ": CLASS" off the
 * text (its errdefs), so texts end in the name of their class.
 */
#include <errno.h>
#include <string.h>

#include "base/strv.h"
#include "proto/empty.pb-c.h"
#include "task/service_internal.h"

void answer_empty(struct ttrpc_request *req)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	ttrpc_reply(req, &empty.base);
}

void answer_error(struct ttrpc_request *req, int r, const struct err *e)
{
	const char *text = err_is_set(e) ? e->text : strerror(-r);

	switch (-r) {
	case ESRCH:
		ttrpc_reply_error(req, TTRPC_NOT_FOUND, "process already finished: not found");
		return;
	case EEXIST:
		ttrpc_reply_error(req, TTRPC_ALREADY_EXISTS, "%s: already exists", text);
		return;
	case EBUSY:
		ttrpc_reply_error(req, TTRPC_FAILED_PRECONDITION, "%s: failed precondition", text);
		return;
	case EINVAL:
		ttrpc_reply_error(req, TTRPC_INVALID_ARGUMENT, "%s: invalid argument", text);
		return;
	case ENOSYS:
	case EOPNOTSUPP:
		ttrpc_reply_error(req, TTRPC_UNIMPLEMENTED, "%s: not implemented", text);
		return;
	default:
		ttrpc_reply_error(req, TTRPC_UNKNOWN, "%s", text);
	}
}

void answer_done(int result, const struct err *e, void *userdata)
{
	if (result < 0)
		answer_error(userdata, result, e);
	else
		answer_empty(userdata);
}

bool answer_find(struct task_service *s, struct ttrpc_request *req, const char *id, const char *exec_id,
		 struct pod_process_state *ret)
{
	struct pod_process_state state;
	struct err e = { 0 };
	int r;

	if (service_park(s, req, id))
		return false;
	if (!s->pod || pod_state(s->pod, id, "", &state, NULL) == -ENOENT) {
		ttrpc_reply_error(req, TTRPC_NOT_FOUND, "container not created: not found");
		return false;
	}
	r = pod_state(s->pod, id, exec_id ? exec_id : "", ret ? ret : &state, &e);
	if (r == -ENOENT)
		ttrpc_reply_error(req, TTRPC_NOT_FOUND, "process does not exist %s: not found", exec_id);
	else if (r < 0)
		answer_error(req, r, &e);
	return r == 0;
}

Google__Protobuf__Timestamp *answer_time(const struct timespec *at, Google__Protobuf__Timestamp *ret)
{
	google__protobuf__timestamp__init(ret);
	ret->seconds = at->tv_sec;
	ret->nanos = (int32_t)at->tv_nsec;
	return at->tv_sec ? ret : NULL;
}
