/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of ttrpc on a non-blocking stream socket, for the client and the server of this folder.
 *
 * A frame is a header of ten bytes, big-endian: length of the data (32 bits), stream (32), type (8), flags (8); then
 * the data. The reader holds at most one frame and what was received behind it. It grows with what arrives, not with
 * what a header announces, and a frame over TTRPC_MESSAGE_MAX is reported once and its data dropped unread. Both
 * reader and writer give their memory back when they are idle.
 */
#pragma once

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/strv.h"
#include "codec/ttrpc.h"

struct ttrpc_header {
	uint32_t len, stream;
	uint8_t type, flags;
};

void ttrpc_header_encode(const struct ttrpc_header *h, uint8_t out[TTRPC_HEADER_SIZE]);
void ttrpc_header_decode(const uint8_t in[TTRPC_HEADER_SIZE], struct ttrpc_header *ret);

struct ttrpc_frame {
	struct ttrpc_header header;
	const uint8_t *data; /* header.len bytes, until the next ttrpc_reader_fill(); NULL when too_big */
	bool too_big;        /* more than TTRPC_MESSAGE_MAX */
};

/* Zero-initialise. */
struct ttrpc_reader {
	struct buf in;
	size_t pos;    /* of the first byte of `in` that is not consumed */
	uint32_t skip; /* bytes still to be dropped */
};

/* Take the next frame out of what was received: true; false when more must be received first. */
bool ttrpc_reader_next(struct ttrpc_reader *r, struct ttrpc_frame *ret);
/*
 * Receive once. To be called when ttrpc_reader_next() has returned false. 1: something came; 0: the peer has closed;
 * -EAGAIN: nothing there; another negative errno.
 */
int ttrpc_reader_fill(struct ttrpc_reader *r, int fd);
void ttrpc_reader_fini(struct ttrpc_reader *r);

/* Zero-initialise. */
struct ttrpc_writer {
	struct buf out;
	size_t pos; /* of the first byte of `out` that is not sent */
};

/* Queue one frame that holds the packed message. 0, -EMSGSIZE, -ENOMEM; on failure nothing is queued. */
int ttrpc_writer_put(struct ttrpc_writer *w, uint32_t stream, enum ttrpc_message_type type,
		     const ProtobufCMessage *message);
/* Send what the socket takes. 0: see ttrpc_writer_pending() for what is left; negative errno. Never raises SIGPIPE. */
int ttrpc_writer_flush(struct ttrpc_writer *w, int fd);
static inline size_t ttrpc_writer_pending(const struct ttrpc_writer *w)
{
	return w->out.len - w->pos;
}
void ttrpc_writer_fini(struct ttrpc_writer *w);
