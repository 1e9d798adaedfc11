/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See handover.h. One message each way: the client's is a structure of fixed size with the descriptor beside it, the
 * owner's an error's text, empty when there is none. Both ends are the same program, by the same user: the socket's
 * mode says so.
 */
#include "cli/handover.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/strv.h"
#include "base/unix_socket.h"

#define NAME_SIZE 128
/* An owner that starts another container of the pod meanwhile answers when that is done. */
#define ANSWER_TIMEOUT_MS 120000

struct wire {
	int32_t pid;
	char id[NAME_SIZE], exec_id[NAME_SIZE], bundle[PATH_MAX];
};

struct visitor {
	struct list link;
	struct handover *h;
	struct loop_source *source;
	int fd, standin_fd;
	struct wire offer;
};

struct handover {
	struct handover_params params;
	char *path;
	struct list visitors;
	struct loop_source *source, *round_over;
	int listen_fd;
	int interrupt_fd; /* epoll: the visitors whose stand-in was taken in this round */
};

static void visitor_free(struct visitor *v)
{
	list_remove(&v->link);
	loop_source_free(v->source);
	fd_close(&v->standin_fd);
	fd_close(&v->fd);
	free(v);
}

/* One message with one descriptor. *ret_fd -1: none came. 0, -ENODATA at the end, or another negative errno. */
static int receive(int fd, struct wire *ret, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char data[CMSG_SPACE(sizeof(int))];
	} control;
	struct iovec v = { .iov_base = ret, .iov_len = sizeof *ret };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL;

	*ret_fd = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	if (n == sizeof *ret)
		return 0;
	fd_close(ret_fd);
	return n == 0 ? -ENODATA : n < 0 ? -errno : -EBADMSG;
}

static void take_offer(struct visitor *v)
{
	struct wire *w = &v->offer;
	struct handover_offer offer = { .id = w->id, .exec_id = w->exec_id, .bundle = w->bundle, .pid = w->pid };
	struct err e = { 0 };

	w->id[sizeof w->id - 1] = w->exec_id[sizeof w->exec_id - 1] = w->bundle[sizeof w->bundle - 1] = '\0';
	if (v->h->params.arrived(&offer, &e, v->h->params.userdata) < 0)
		fd_close(&v->standin_fd);
	if (send(v->fd, e.text, strlen(e.text) + 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		log_debug("stand-in of %s: the client has gone", w->id);
}

static void on_visitor(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct visitor *v = userdata;
	struct handover_params params = v->h->params;
	int r, standin_fd;

	(void)s;
	(void)revents;
	if (v->standin_fd < 0 && !v->offer.id[0]) {
		r = receive(fd, &v->offer, &standin_fd);
		if (r == -EAGAIN)
			return;
		v->standin_fd = standin_fd;
		if (r == 0 && standin_fd >= 0) {
			take_offer(v);
			return;
		}
	}
	/* Nothing more is to come but the end. */
	visitor_free(v);
	params.left(params.userdata);
}

static void on_connection(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct handover *h = userdata;
	struct visitor *v;
	int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)s;
	(void)revents;
	if (conn < 0)
		return;
	v = calloc(1, sizeof *v);
	if (!v) {
		close(conn);
		return;
	}
	v->h = h;
	v->fd = conn;
	v->standin_fd = -1;
	list_append(&h->visitors, &v->link);
	if (loop_add_io(h->params.loop, conn, EPOLLIN, on_visitor, v, &v->source) < 0)
		visitor_free(v);
}

static void on_round_over(struct loop_source *s, void *userdata)
{
	struct handover *h = userdata;
	struct visitor *v;

	(void)s;
	list_foreach (v, &h->visitors, struct visitor, link)
		(void)epoll_ctl(h->interrupt_fd, EPOLL_CTL_DEL, v->fd, NULL);
}

int handover_new(const struct handover_params *params, struct handover **ret, struct err *e)
{
	struct handover *h = calloc(1, sizeof *h);
	int r;

	if (!h)
		return err_sys(e, ENOMEM, "cannot take stand-ins");
	h->params = *params;
	h->listen_fd = -1;
	list_init(&h->visitors);
	h->interrupt_fd = epoll_create1(EPOLL_CLOEXEC);
	r = h->interrupt_fd < 0 ? err_sys(e, errno, "cannot take stand-ins")
				: unix_listen(params->path, 0600, &h->listen_fd, e);
	if (r == 0 && (!(h->path = strdup(params->path)) ||
		       loop_add_io(params->loop, h->listen_fd, EPOLLIN, on_connection, h, &h->source) < 0 ||
		       loop_add_timer(params->loop, UINT64_MAX, on_round_over, h, &h->round_over) < 0))
		r = err_sys(e, ENOMEM, "cannot take stand-ins");
	if (r < 0) {
		handover_free(h);
		return r;
	}
	*ret = h;
	return 0;
}

void handover_free(struct handover *h)
{
	struct visitor *v;

	if (!h)
		return;
	list_foreach (v, &h->visitors, struct visitor, link)
		visitor_free(v);
	loop_source_free(h->source);
	loop_source_free(h->round_over);
	fd_close(&h->listen_fd);
	fd_close(&h->interrupt_fd);
	if (h->path)
		unlink(h->path);
	free(h->path);
	free(h);
}

int handover_take(struct handover *h, const char *id, const char *exec_id, pid_t *ret_pid)
{
	struct epoll_event event = { .events = EPOLLRDHUP };
	struct visitor *v;

	list_foreach (v, &h->visitors, struct visitor, link) {
		if (v->standin_fd < 0 || !str_eq(v->offer.id, id) || !str_eq(v->offer.exec_id, exec_id))
			continue;
		(void)epoll_ctl(h->interrupt_fd, EPOLL_CTL_ADD, v->fd, &event);
		loop_timer_set(h->round_over, 0);
		*ret_pid = v->offer.pid;
		return take_fd(&v->standin_fd);
	}
	return -1;
}

bool handover_is_busy(struct handover *h, const char *id)
{
	struct visitor *v;

	list_foreach (v, &h->visitors, struct visitor, link)
		if (!id || str_eq(v->offer.id, id))
			return true;
	return false;
}

int handover_interrupt_fd(const struct handover *h)
{
	return h->interrupt_fd;
}

/* ---- client ---- */

static int send_offer(int fd, const struct wire *w, int standin_fd)
{
	union {
		struct cmsghdr header;
		char data[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec v = { .iov_base = (void *)w, .iov_len = sizeof *w };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);

	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &standin_fd, sizeof(int));
	return sendmsg(fd, &m, MSG_NOSIGNAL) == sizeof *w ? 0 : -errno;
}

int handover_offer(const char *path, const struct handover_offer *offer, int standin_fd, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct wire w = { .pid = offer->pid };
	struct pollfd p = { .events = POLLIN };
	char answer[ERR_TEXT_MAX];
	ssize_t n;
	int r;

	if (snprintf(w.id, sizeof w.id, "%s", offer->id) >= NAME_SIZE ||
	    snprintf(w.exec_id, sizeof w.exec_id, "%s", offer->exec_id) >= NAME_SIZE ||
	    snprintf(w.bundle, sizeof w.bundle, "%s", offer->bundle) >= PATH_MAX)
		return err_set(e, ERR_CONFIG, ENAMETOOLONG, "the names of %s are too long", offer->id);
	r = unix_connect(path, &fd);
	if (r == 0)
		r = send_offer(fd, &w, standin_fd);
	if (r < 0)
		return err_sys(e, -r, "cannot reach the owner of %s", offer->id);
	p.fd = fd;
	do
		r = poll(&p, 1, ANSWER_TIMEOUT_MS);
	while (r < 0 && errno == EINTR);
	n = r == 1 ? recv(fd, answer, sizeof answer, MSG_DONTWAIT) : 0;
	if (n <= 0)
		return err_set(e, ERR_SYSTEM, r == 0 ? ETIMEDOUT : ECONNRESET, "the owner of %s %s", offer->id,
			       r == 0 ? "does not answer" : "has ended");
	answer[sizeof answer - 1] = '\0';
	if (answer[0])
		return err_set(e, ERR_SYSTEM, EEXIST, "%s", answer);
	*ret_fd = take_fd(&fd);
	return 0;
}
