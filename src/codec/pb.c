/* SPDX-License-Identifier: Apache-2.0 */
/* The budget counts what is allocated and gives nothing back for what is freed: it bounds work as well as memory. */
#include "codec/pb.h"

#include <errno.h>
#include <stdbool.h>

struct budget {
	size_t left;
	bool exceeded;
};

static void *budget_alloc(void *userdata, size_t size)
{
	/* The allocator's own cost per block counts too: many small blocks are the cheapest amplification. */
	const size_t overhead = 16;
	struct budget *b = userdata;

	if (size > b->left || b->left - size < overhead) {
		b->exceeded = true;
		return NULL;
	}
	b->left -= size + overhead;
	return malloc(size);
}

static void budget_free(void *userdata, void *p)
{
	(void)userdata;
	free(p);
}

int pb_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t len, size_t *budget,
	      ProtobufCMessage **ret)
{
	struct budget b = { .left = *budget };
	ProtobufCAllocator allocator = { .alloc = budget_alloc, .free = budget_free, .allocator_data = &b };
	static const uint8_t nothing[1];
	ProtobufCMessage *m;

	m = protobuf_c_message_unpack(type, &allocator, len, len ? data : nothing);
	*budget = b.left;
	if (!m)
		return b.exceeded ? -E2BIG : -EBADMSG;
	*ret = m;
	return 0;
}

int pb_pack(const ProtobufCMessage *message, size_t max, struct buf *out)
{
	size_t size = protobuf_c_message_get_packed_size(message);
	int r;

	if (size > max)
		return -EMSGSIZE;
	r = buf_reserve(out, size);
	if (r < 0)
		return r;
	out->len += protobuf_c_message_pack(message, (uint8_t *)out->data + out->len);
	out->data[out->len] = '\0';
	return 0;
}

void *pb_copy(const ProtobufCMessage *message)
{
	_cleanup_buf_ struct buf packed = { 0 };

	if (pb_pack(message, SIZE_MAX, &packed) < 0)
		return NULL;
	return protobuf_c_message_unpack(message->descriptor, NULL, packed.len, (const uint8_t *)packed.data);
}

void pb_free(ProtobufCMessage *message)
{
	if (message)
		protobuf_c_message_free_unpacked(message, NULL);
}
