/* SPDX-License-Identifier: Apache-2.0 */
#include "task/any.h"

#include <errno.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/strv.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"

#define GOOGLE_PREFIX "type.googleapis.com/"

bool any_is(const Google__Protobuf__Any *any, const char *url)
{
	return any && str_eq(any->type_url, url);
}

bool any_is_message(const Google__Protobuf__Any *any, const ProtobufCMessageDescriptor *type)
{
	const char *bare = any && any->type_url ? str_after(any->type_url, GOOGLE_PREFIX) : NULL;

	return any_is(any, type->name) || str_eq(bare, type->name);
}

int any_pack(const ProtobufCMessage *message, Google__Protobuf__Any *ret)
{
	_cleanup_buf_ struct buf packed = { 0 };
	int r = pb_pack(message, TTRPC_MESSAGE_MAX, &packed);

	if (r < 0)
		return r;
	google__protobuf__any__init(ret);
	ret->type_url = (char *)message->descriptor->name;
	ret->value.len = packed.len;
	ret->value.data = (uint8_t *)buf_take(&packed);
	return ret->value.data ? 0 : -ENOMEM;
}

void any_fini(Google__Protobuf__Any *any)
{
	free(take_ptr(any->value.data));
}
