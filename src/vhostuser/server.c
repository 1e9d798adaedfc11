/* SPDX-License-Identifier: Apache-2.0 */
#include "vhostuser/server.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/unix_socket.h"
#include "vhostuser/session.h"

#define RETRY_MS 500

struct vhost_user_server {
	struct loop *loop;
	struct virtio_device *dev;
	struct vhost_user_session *session;
	struct loop_source *listener, *retry;
	int fd;
	char *path; /* to unlink */
	pthread_t thread;
	bool running;
};

static void on_ended(struct vhost_user_session *session, void *userdata)
{
	struct vhost_user_server *s = userdata;

	vhost_user_session_free(session);
	s->session = NULL;
	loop_io_set_events(s->listener, EPOLLIN);
}

static void on_retry(struct loop_source *source, void *userdata)
{
	struct vhost_user_server *s = userdata;

	if (!s->session)
		loop_io_set_events(s->listener, EPOLLIN);
}

static void on_accept(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vhost_user_server *s = userdata;
	int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK), r;

	if (client < 0) {
		if (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED)
			return;
		/* Out of descriptors, most likely. Asking again at once would spin. */
		log_error("vhost-user: cannot accept the VMM's connection: %s; trying again", strerror(errno));
		loop_io_set_events(source, 0);
		loop_timer_set(s->retry, RETRY_MS);
		return;
	}
	r = vhost_user_session_new(s->loop, client, s->dev, on_ended, s, &s->session);
	if (r < 0)
		log_error("vhost-user: cannot serve the VMM: %s", strerror(-r));
	else
		loop_io_set_events(source, 0); /* the next one waits until this one is gone */
}

static void *thread_main(void *arg)
{
	struct vhost_user_server *s = arg;
	int r = loop_run(s->loop);

	if (r < 0)
		log_error("vhost-user: the device thread ended: %s", strerror(-r));
	return NULL;
}

static int start_thread(struct vhost_user_server *s, const char *name)
{
	int r = thread_start(&s->thread, thread_main, s);

	if (r == 0) {
		s->running = true;
		if (name)
			pthread_setname_np(s->thread, name);
	}
	return r;
}

static int start(struct vhost_user_server *s, const struct vhost_user_server_config *c, struct err *e)
{
	int r = loop_new(&s->loop, e);

	if (r == 0)
		r = c->factory(s->loop, c->userdata, &s->dev, e);
	if (r == 0 && c->path) {
		r = unix_listen(c->path, 0600, &s->fd, e);
		if (r == 0 && !(s->path = strdup(c->path))) {
			unlink(c->path);
			r = err_sys(e, ENOMEM, "cannot serve %s", c->path);
		}
	}
	if (r < 0)
		return r;
	r = fd_set_nonblock(s->fd, true);
	if (r == 0)
		r = loop_add_io(s->loop, s->fd, EPOLLIN, on_accept, s, &s->listener);
	if (r == 0)
		r = loop_add_timer(s->loop, UINT64_MAX, on_retry, s, &s->retry);
	if (r == 0)
		r = start_thread(s, c->thread_name);
	return r < 0 ? err_sys(e, -r, "cannot start the vhost-user server at %s", c->path ? c->path : "its socket") : 0;
}

int vhost_user_server_start(const struct vhost_user_server_config *c, struct vhost_user_server **ret, struct err *e)
{
	struct vhost_user_server *s = calloc(1, sizeof *s);
	int r;

	if (!s) {
		if (!c->path)
			close(c->fd);
		return err_sys(e, ENOMEM, "cannot start a vhost-user server");
	}
	s->fd = c->path ? -1 : c->fd;
	r = start(s, c, e);
	if (r < 0) {
		vhost_user_server_stop(s);
		return r;
	}
	*ret = s;
	return 0;
}

void vhost_user_server_stop(struct vhost_user_server *s)
{
	if (!s)
		return;
	if (s->running) {
		loop_quit(s->loop, 0);
		pthread_join(s->thread, NULL);
	}
	vhost_user_session_free(s->session);
	virtio_device_free(s->dev);
	loop_source_free(s->listener);
	loop_source_free(s->retry);
	fd_close(&s->fd);
	if (s->path)
		unlink(s->path);
	free(s->path);
	loop_free(s->loop);
	free(s);
}
