/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/dns_stream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

static int failure(void)
{
	return errno == EAGAIN || errno == EINTR ? 0 : -errno;
}

int dns_receive(struct dns_incoming *m, int fd)
{
	while (!m->data || m->have < sizeof m->head + m->len) {
		uint8_t *to = m->data ? m->data + (m->have - sizeof m->head) : m->head + m->have;
		size_t room = (m->data ? sizeof m->head + m->len : sizeof m->head) - m->have;
		ssize_t n = recv(fd, to, room, MSG_DONTWAIT);

		if (n <= 0)
			return n < 0 ? failure() : -EPIPE;
		m->have += (size_t)n;
		if (m->data || m->have < sizeof m->head)
			continue;
		m->len = (size_t)m->head[0] << 8 | m->head[1];
		m->data = malloc(m->len + 1);
		if (!m->data)
			return -ENOMEM;
	}
	return 1;
}

void dns_incoming_reset(struct dns_incoming *m)
{
	free(m->data);
	*m = (struct dns_incoming){ 0 };
}

int dns_outgoing_set(struct dns_outgoing *m, const void *data, size_t len)
{
	if (len > DNS_MESSAGE_MAX)
		return -EMSGSIZE;
	m->data = malloc(len + 2);
	if (!m->data)
		return -ENOMEM;
	m->data[0] = (uint8_t)(len >> 8);
	m->data[1] = (uint8_t)len;
	if (len)
		memcpy(m->data + 2, data, len);
	m->len = len + 2;
	m->at = 0;
	return 0;
}

int dns_send(struct dns_outgoing *m, int fd)
{
	while (m->at < m->len) {
		ssize_t n = send(fd, m->data + m->at, m->len - m->at, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0)
			return failure();
		m->at += (size_t)n;
	}
	return 1;
}

void dns_outgoing_reset(struct dns_outgoing *m)
{
	free(m->data);
	*m = (struct dns_outgoing){ 0 };
}
