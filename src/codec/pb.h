/* SPDX-License-Identifier: Apache-2.0 */
/*
 * protobuf-c with a bound on memory. A few bytes on the wire can become a large structure (an empty sub-message costs
 * two bytes there and a hundred here), so messages of a peer are unpacked under a budget: what they may allocate in
 * all. Budgeted messages come from malloc() and are freed with pb_free() or with protobuf-c's own functions and a NULL
 * allocator.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/strv.h"

#define PB_BUDGET_DEFAULT ((size_t)64 << 20)

/*
 * Unpack len bytes. *budget: bytes that may be allocated, lowered by what was (also on failure).
 * 0; -EBADMSG: not such a message; -E2BIG: over the budget; -ENOMEM.
 */
int pb_unpack(const ProtobufCMessageDescriptor *type, const void *data, size_t len, size_t *budget,
	      ProtobufCMessage **ret);

/* Append the packed message. max: largest size accepted, in bytes. 0, -EMSGSIZE, -ENOMEM. */
int pb_pack(const ProtobufCMessage *message, size_t max, struct buf *out);

/* A deep copy by way of the wire form: the only one that protobuf-c offers. NULL: out of memory. */
void *pb_copy(const ProtobufCMessage *message);

/* NULL does nothing. */
void pb_free(ProtobufCMessage *message);
DEFINE_CLEANUP(ProtobufCMessage *, pb_free)
