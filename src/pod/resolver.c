/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/strv.h"
#include "codec/dns_stream.h"
#include "pod/plan_mounts.h"
#include "pod/resolv_conf.h"
#include "proto/names.pb-c.h"
#include "sys/netns.h"

#define PORT      53
#define FILES_MAX 256
/* Between one failure of the guest's and the next try. */
#define PAUSE_MIN_MS 1000
#define PAUSE_MAX_MS 60000

/* Who brings a network writes the file a little later. */
static const unsigned later_ms[] = { 1000, 3000, 10000 };

/* A query of the guest's. It ends when the guest has the answer, or says nothing to it. */
struct lookup {
	struct list node;
	struct resolver *r;
	uint64_t id;
	bool stream;
	int fd; /* -1: what there was to ask has been asked */
	struct loop_source *source, *deadline;
	struct dns_outgoing out; /* of a stream, and its answer */
	struct dns_incoming in;
	struct agent_call *tell;
};

struct resolver {
	struct loop *loop;
	struct agent *agent;
	int ns_fd;
	struct in_addr address; /* 0: none yet */
	struct agent_call *next;
	bool refused; /* the agent does not serve names, or has ended */
	bool pausing;
	unsigned pause_ms; /* the last one; 0: it did not fail since */
	struct loop_source *pause;
	struct list lookups;
	size_t n_lookups;
	unsigned warned;
	struct strv files; /* resolv.conf of each container, as the host has it */
	struct loop_source *timer;
	size_t later; /* of later_ms */
};

static void ask_next(struct resolver *r);

/* ---- one lookup ---- */

static void close_socket(struct lookup *l)
{
	loop_source_free(take_ptr(l->source));
	fd_close(&l->fd);
}

static void lookup_free(struct lookup *l)
{
	agent_call_cancel(l->tell);
	close_socket(l);
	loop_source_free(l->deadline);
	list_remove(&l->node);
	l->r->n_lookups--;
	dns_outgoing_reset(&l->out);
	dns_incoming_reset(&l->in);
	free(l);
}

static void lookup_end(struct lookup *l)
{
	struct resolver *r = l->r;

	lookup_free(l);
	ask_next(r);
}

static void on_told(int result, const struct err *e, void *userdata)
{
	struct lookup *l = userdata;

	l->tell = NULL;
	if (result < 0)
		log_debug("%s", e->text);
	lookup_end(l);
}

/* len 0: there is no answer. */
static void answer(struct lookup *l, const uint8_t *data, size_t len)
{
	struct err e = { 0 };

	close_socket(l);
	if (agent_answer_name_async(l->r->agent, l->id, data, len, on_told, l, &l->tell, &e) < 0) {
		log_debug("%s", e.text);
		lookup_end(l);
	}
}

/* Of a silent server there is nothing to tell; a guest that does not take an answer gets no second one. */
static void on_deadline(struct loop_source *s, void *userdata)
{
	lookup_end(userdata);
}

static void serve_datagram(struct lookup *l)
{
	uint8_t packet[DNS_MESSAGE_MAX];
	ssize_t n = recv(l->fd, packet, sizeof packet, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* ECONNREFUSED: nobody listens there (any more). */
	answer(l, packet, n < 0 ? 0 : (size_t)n);
}

/* 1: all of the answer is there. */
static int serve_stream(struct lookup *l)
{
	int r;

	if (l->out.at == l->out.len)
		return dns_receive(&l->in, l->fd);
	r = dns_send(&l->out, l->fd);
	return r > 0 ? loop_io_set_events(l->source, EPOLLIN) : r;
}

static void on_socket(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct lookup *l = userdata;
	int r;

	if (!l->stream) {
		serve_datagram(l);
		return;
	}
	r = serve_stream(l);
	if (r != 0)
		answer(l, l->in.data, r < 0 ? 0 : l->in.len);
}

static int open_there(void *userdata)
{
	struct lookup *l = userdata;
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = l->r->address, .sin_port = htons(PORT) };

	l->fd = socket(AF_INET, (l->stream ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (l->fd < 0)
		return -errno;
	return connect(l->fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS ? -errno : 0;
}

/* Each has a socket of its own: a server that was started anew is another one, and a port is guessed only once. */
static int lookup_begin(struct lookup *l, const ProtobufCBinaryData *message)
{
	int r = loop_add_timer(l->r->loop, RESOLVER_TIMEOUT_MS, on_deadline, l, &l->deadline);

	if (r < 0)
		return r;
	if (message->len > DNS_MESSAGE_MAX)
		return -EMSGSIZE;
	if (l->stream && (r = dns_outgoing_set(&l->out, message->data, message->len)) < 0)
		return r;
	r = netns_run(l->r->ns_fd, open_there, l);
	if (r == 0 && !l->stream && send(l->fd, message->data, message->len, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		r = -errno;
	if (r == 0)
		r = loop_add_io(l->r->loop, l->fd, l->stream ? EPOLLOUT : EPOLLIN, on_socket, l, &l->source);
	return r;
}

static void look_up(struct resolver *r, const Caisson__NameQuery *q)
{
	struct lookup *l = calloc(1, sizeof *l);
	int result;

	if (!l)
		return;
	l->r = r;
	l->id = q->id;
	l->stream = q->stream;
	l->fd = -1;
	list_append(&r->lookups, &l->node);
	r->n_lookups++;
	result = lookup_begin(l, &q->message);
	if (result < 0) {
		log_warn_few(&r->warned, "cannot ask the pod's name server: %s", strerror(-result));
		answer(l, NULL, 0);
	}
}

/* ---- the guest's queries ---- */

static void end_pause(struct resolver *r)
{
	r->pausing = false;
	loop_timer_set(r->pause, UINT64_MAX);
}

static void on_pause_over(struct loop_source *s, void *userdata)
{
	struct resolver *r = userdata;

	r->pausing = false;
	ask_next(r);
}

/* Its memory may be short, or port 53 of that address a container's: for how long, nobody tells. */
static void try_later(struct resolver *r, const struct err *e)
{
	log_warn_few(&r->warned, "the guest does not serve names now, those of the pod's network do not resolve: %s",
		     e->text);
	r->pause_ms = !r->pause_ms ? PAUSE_MIN_MS : r->pause_ms < PAUSE_MAX_MS / 2 ? 2 * r->pause_ms : PAUSE_MAX_MS;
	r->pausing = true;
	loop_timer_set(r->pause, r->pause_ms);
}

static void on_query(int result, const Caisson__NameQuery *q, const struct err *e, void *userdata)
{
	struct resolver *r = userdata;
	/* How agents of others say that they do not know such a service: Kata's in the second way. */
	bool unknown = result == -ENOSYS || result == -EINVAL;

	r->next = NULL;
	if (result == 0) {
		r->pause_ms = 0;
		look_up(r, q);
		ask_next(r);
		return;
	}
	/* The others are the end of the guest, or of the pod. */
	r->refused = unknown || result == -ECANCELED || result == -ECONNRESET || result == -EPIPE;
	if (unknown)
		log_warn("the guest does not serve names, those of the pod's network do not resolve: %s", e->text);
	else if (r->refused)
		log_debug("%s", e->text);
	else
		try_later(r, e);
}

static void ask_next(struct resolver *r)
{
	char address[INET_ADDRSTRLEN];
	struct err e = { 0 };

	if (r->next || r->refused || r->pausing || !r->address.s_addr || r->n_lookups >= RESOLVER_LOOKUPS_MAX)
		return;
	inet_ntop(AF_INET, &r->address, address, sizeof address);
	if (agent_next_name_async(r->agent, address, on_query, r, &r->next, &e) < 0)
		on_query(-e.code, NULL, &e, r);
}

static void serve(struct resolver *r, struct in_addr address)
{
	if (r->address.s_addr != address.s_addr) {
		agent_call_cancel(take_ptr(r->next));
		r->address = address;
		r->refused = false;
		r->pause_ms = 0;
		end_pause(r);
	}
	ask_next(r);
}

/* ---- resolv.conf ---- */

static int look_at(struct resolver *r, const char *path)
{
	struct in_addr address;
	int result = resolv_conf_read(path, &address);

	if (result > 0)
		serve(r, address);
	return result < 0 ? result : 0;
}

/* Of a container that has gone its file has, too. */
static void look_at_all(struct resolver *r)
{
	for (size_t i = r->files.len; i-- > 0;)
		if (look_at(r, r->files.v[i]) < 0) {
			free(r->files.v[i]);
			r->files.v[i] = r->files.v[--r->files.len];
			r->files.v[r->files.len] = NULL;
		}
}

static void on_later(struct loop_source *s, void *userdata)
{
	struct resolver *r = userdata;

	look_at_all(r);
	if (++r->later < sizeof later_ms / sizeof later_ms[0])
		loop_timer_set(s, later_ms[r->later]);
}

void resolver_network_changed(struct resolver *r)
{
	if (!r || !r->files.len)
		return;
	look_at_all(r);
	r->later = 0;
	loop_timer_set(r->timer, later_ms[0]);
}

void resolver_look(struct resolver *r, const Grpc__Spec *spec)
{
	for (size_t i = 0; r && i < spec->n_mounts; i++) {
		const Grpc__Mount *m = spec->mounts[i];
		int result;

		if (!str_eq(m->destination, "/etc/resolv.conf") || !plan_is_bind(m))
			continue;
		result = look_at(r, m->source);
		if (result < 0)
			log_warn_few(&r->warned, "cannot read %s: %s", m->source, strerror(-result));
		else if (!strv_contains(&r->files, m->source) && r->files.len < FILES_MAX)
			strv_add(&r->files,
				 m->source); /* without, names of a network that comes later do not resolve */
	}
}

/* ---- all of it ---- */

int resolver_new(struct loop *loop, struct agent *a, int ns_fd, struct resolver **ret, struct err *e)
{
	struct resolver *r;
	int result = netns_is_ours(ns_fd);

	*ret = NULL;
	if (result < 0)
		return err_sys(e, -result, "cannot look at the pod's network namespace");
	if (result > 0)
		return 0;
	r = calloc(1, sizeof *r);
	if (!r)
		return err_sys(e, ENOMEM, "cannot serve names");
	r->loop = loop;
	r->agent = a;
	r->ns_fd = ns_fd;
	list_init(&r->lookups);
	result = loop_add_timer(loop, UINT64_MAX, on_later, r, &r->timer);
	if (result == 0)
		result = loop_add_timer(loop, UINT64_MAX, on_pause_over, r, &r->pause);
	if (result < 0) {
		resolver_free(r);
		return err_sys(e, -result, "cannot serve names");
	}
	*ret = r;
	return 0;
}

void resolver_free(struct resolver *r)
{
	struct lookup *l;

	if (!r)
		return;
	agent_call_cancel(r->next);
	while ((l = list_first(&r->lookups, struct lookup, node)))
		lookup_free(l);
	loop_source_free(r->timer);
	loop_source_free(r->pause);
	strv_fini(&r->files);
	free(r);
}
