/* SPDX-License-Identifier: Apache-2.0 */
#include "task/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/strv.h"
#include "codec/pb.h"
#include "config/config.h"
#include "proto/bootstrap.pb-c.h"
#include "proto/runc_options.pb-c.h"
#include "proto/runtime_options.pb-c.h"
#include "task/any.h"

#define OLD_CRI_OPTIONS "cri.runtimeoptions.v1.Options"

static int no_message(const Google__Protobuf__Any *any, int r, struct err *e)
{
	return err_set(e, ERR_PROTOCOL, -r, "runtime options: the bytes are no %.100s", any->type_url);
}

static int keep(const Runtimeoptions__V1__Options *o, struct task_options *ret, struct err *e)
{
	if (memchr(o->config_body.data ? (const void *)o->config_body.data : "", 0, o->config_body.len))
		return err_set(e, ERR_CONFIG, EINVAL, "runtime options: config_body holds a NUL byte");
	if (!str_empty(o->config_path) && !(ret->config_path = strdup(o->config_path)))
		return err_sys(e, ENOMEM, "runtime options");
	if (o->config_body.len && !(ret->config_body = strndup((const char *)o->config_body.data, o->config_body.len)))
		return err_sys(e, ENOMEM, "runtime options");
	return 0;
}

/* NULL: not one that is known here. */
static const ProtobufCMessageDescriptor *type_of(const Google__Protobuf__Any *any)
{
	if (any_is_message(any, &runtimeoptions__v1__options__descriptor) || any_is(any, OLD_CRI_OPTIONS))
		return &runtimeoptions__v1__options__descriptor;
	if (any_is_message(any, &containerd__runc__v1__options__descriptor))
		return &containerd__runc__v1__options__descriptor;
	return NULL;
}

int task_options_parse(const Google__Protobuf__Any *any, struct task_options *ret, struct err *e)
{
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	size_t budget = 2 * (size_t)CONFIG_FILE_MAX;
	const ProtobufCMessageDescriptor *type;
	int r;

	*ret = (struct task_options){ 0 };
	if (!any || str_empty(any->type_url))
		return 0;
	type = type_of(any);
	if (!type)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "runtime options of type \"%.100s\" are not known here; %s with ConfigPath is",
			       any->type_url, runtimeoptions__v1__options__descriptor.name);
	r = pb_unpack(type, any->value.data, any->value.len, &budget, &m);
	if (r < 0)
		return no_message(any, r == -EBADMSG ? -EINVAL : r, e);
	if (type != &runtimeoptions__v1__options__descriptor)
		return 0;
	r = keep((const Runtimeoptions__V1__Options *)m, ret, e);
	if (r < 0)
		task_options_fini(ret);
	return r;
}

/*
 * The options are one extension among others, which may come with any containerd: an unknown one is passed over.
 * Options of an unknown type are refused nevertheless, because Create brings the same ones.
 */
static int read_extensions(const Containerd__Runtime__Bootstrap__V1__BootstrapParams *params, struct task_options *ret,
			   struct err *e)
{
	for (size_t i = 0; i < params->n_extensions; i++)
		if (type_of(params->extensions[i]->value))
			return task_options_parse(params->extensions[i]->value, ret, e);
	return 0;
}

/* An Any has no such fields, and containerd always tells its address. */
static bool is_bootstrap(const Containerd__Runtime__Bootstrap__V1__BootstrapParams *params)
{
	return !str_empty(params->containerd_grpc_address);
}

int task_options_read(const void *data, size_t n, struct task_options *ret, struct err *e)
{
	_cleanup_(pb_free_p) ProtobufCMessage *params = NULL, *any = NULL;
	size_t budget = 4 * (size_t)CONFIG_FILE_MAX;
	int r;

	*ret = (struct task_options){ 0 };
	r = pb_unpack(&containerd__runtime__bootstrap__v1__bootstrap_params__descriptor, data, n, &budget, &params);
	if (r == 0 && is_bootstrap((const Containerd__Runtime__Bootstrap__V1__BootstrapParams *)params))
		return read_extensions((const Containerd__Runtime__Bootstrap__V1__BootstrapParams *)params, ret, e);
	r = pb_unpack(&google__protobuf__any__descriptor, data, n, &budget, &any);
	if (r < 0)
		return err_set(e, ERR_PROTOCOL, EINVAL, "runtime options: the bytes are no google.protobuf.Any");
	return task_options_parse((const Google__Protobuf__Any *)any, ret, e);
}

void task_options_fini(struct task_options *o)
{
	free(take_ptr(o->config_path));
	free(take_ptr(o->config_body));
}
