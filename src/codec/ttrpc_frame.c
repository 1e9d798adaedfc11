/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/ttrpc_frame.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "codec/pb.h"

/* Buffers up to this size are kept while idle. */
#define KEEP_SIZE 4096u
/* How far the reader's buffer may run ahead of the data: enough for the usual chunk of standard output in one piece. */
#define AHEAD_MAX (260u << 10)

void ttrpc_header_encode(const struct ttrpc_header *h, uint8_t out[TTRPC_HEADER_SIZE])
{
	uint32_t len = htobe32(h->len), stream = htobe32(h->stream);

	memcpy(out, &len, 4);
	memcpy(out + 4, &stream, 4);
	out[8] = h->type;
	out[9] = h->flags;
}

void ttrpc_header_decode(const uint8_t in[TTRPC_HEADER_SIZE], struct ttrpc_header *ret)
{
	uint32_t len, stream;

	memcpy(&len, in, 4);
	memcpy(&stream, in + 4, 4);
	ret->len = be32toh(len);
	ret->stream = be32toh(stream);
	ret->type = in[8];
	ret->flags = in[9];
}

bool ttrpc_reader_next(struct ttrpc_reader *r, struct ttrpc_frame *ret)
{
	size_t have = r->in.len - r->pos;
	struct ttrpc_header h;

	if (r->skip) {
		size_t n = have < r->skip ? have : r->skip;

		r->pos += n;
		r->skip -= (uint32_t)n;
		have -= n;
	}
	if (have < TTRPC_HEADER_SIZE)
		return false;
	ttrpc_header_decode((const uint8_t *)r->in.data + r->pos, &h);
	if (h.len > TTRPC_MESSAGE_MAX) {
		r->pos += TTRPC_HEADER_SIZE;
		r->skip = h.len;
		*ret = (struct ttrpc_frame){ .header = h, .too_big = true };
		return true;
	}
	if (have - TTRPC_HEADER_SIZE < h.len)
		return false;
	*ret = (struct ttrpc_frame){ .header = h, .data = (const uint8_t *)r->in.data + r->pos + TTRPC_HEADER_SIZE };
	r->pos += TTRPC_HEADER_SIZE + h.len;
	return true;
}

static int received(ssize_t n)
{
	if (n > 0)
		return 1;
	if (n == 0)
		return 0;
	return errno == EINTR || errno == EWOULDBLOCK ? -EAGAIN : -errno;
}

/* Drop the data of a frame that is too big. */
static int reader_drop(struct ttrpc_reader *r, int fd)
{
	char scratch[16384];
	ssize_t n = recv(fd, scratch, r->skip < sizeof scratch ? r->skip : sizeof scratch, MSG_DONTWAIT);

	if (n > 0)
		r->skip -= (uint32_t)n;
	return received(n);
}

/* How many bytes to make room for behind what is there. */
static size_t reader_room(const struct ttrpc_reader *r)
{
	size_t have = r->in.len, ahead = have > AHEAD_MAX ? have : AHEAD_MAX, missing;
	struct ttrpc_header h;

	if (have < TTRPC_HEADER_SIZE)
		return KEEP_SIZE - 1 - have;
	ttrpc_header_decode((const uint8_t *)r->in.data, &h);
	missing = TTRPC_HEADER_SIZE + (size_t)h.len - have;
	return missing < ahead ? missing : ahead;
}

int ttrpc_reader_fill(struct ttrpc_reader *r, int fd)
{
	ssize_t n;
	int ret;

	buf_consume(&r->in, r->pos);
	r->pos = 0;
	if (r->skip)
		return reader_drop(r, fd);
	ret = buf_reserve(&r->in, reader_room(r));
	if (ret < 0)
		return ret;
	n = recv(fd, r->in.data + r->in.len, r->in.size - r->in.len - 1, MSG_DONTWAIT);
	ret = received(n);
	if (ret > 0)
		r->in.len += (size_t)n;
	if (ret == -EAGAIN && !r->in.len && r->in.size > KEEP_SIZE)
		buf_fini(&r->in);
	return ret;
}

void ttrpc_reader_fini(struct ttrpc_reader *r)
{
	buf_fini(&r->in);
	*r = (struct ttrpc_reader){ 0 };
}

int ttrpc_writer_put(struct ttrpc_writer *w, uint32_t stream, enum ttrpc_message_type type,
		     const ProtobufCMessage *message)
{
	struct ttrpc_header h = { .stream = stream, .type = (uint8_t)type };
	size_t start = w->out.len;
	int r;

	r = buf_reserve(&w->out, TTRPC_HEADER_SIZE);
	if (r < 0)
		return r;
	w->out.len += TTRPC_HEADER_SIZE;
	r = pb_pack(message, TTRPC_MESSAGE_MAX, &w->out);
	if (r < 0) {
		w->out.len = start;
		return r;
	}
	h.len = (uint32_t)(w->out.len - start - TTRPC_HEADER_SIZE);
	ttrpc_header_encode(&h, (uint8_t *)w->out.data + start);
	return 0;
}

int ttrpc_writer_flush(struct ttrpc_writer *w, int fd)
{
	while (w->pos < w->out.len) {
		ssize_t n = send(fd, w->out.data + w->pos, w->out.len - w->pos, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			break;
		if (n < 0)
			return -errno;
		w->pos += (size_t)n;
	}
	if (w->pos == w->out.len) {
		w->pos = w->out.len = 0;
		if (w->out.size > KEEP_SIZE)
			buf_fini(&w->out);
	} else if (w->pos > w->out.len / 2) {
		/* Moves less than was sent since the last time. */
		buf_consume(&w->out, w->pos);
		w->pos = 0;
	}
	return 0;
}

void ttrpc_writer_fini(struct ttrpc_writer *w)
{
	buf_fini(&w->out);
	*w = (struct ttrpc_writer){ 0 };
}
