// SPDX-License-Identifier: Apache-2.0
#include "pod/nics_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"

#define QUIET_MS 300
/* An attempt that fails makes taps and takes them away, which is told as well: each is twice as late as the last. */
#define QUIET_MAX_MS 60000

struct nics_watch {
	struct plan *plan;
	struct vm *vm;
	struct agent *agent;
	struct loop_source *changes, *quiet;
	int fd;
	unsigned warned, quiet_ms;
};

static void on_change(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct nics_watch *w = userdata;
	char message[8192];

	/* What has changed is seen by looking; ENOBUFS, that messages were lost, is one more reason to. */
	for (int i = 0; i < 64; i++)
		if (recv(fd, message, sizeof message, 0) < 0 && errno == EAGAIN)
			break;
	loop_timer_set(w->quiet, w->quiet_ms);
}

int nics_watch_look(struct nics_watch *w, struct err *e)
{
	size_t n = 0;
	int r = w ? nics_plug(w->plan, w->vm, w->agent, &n, e) : 0;

	if (r == 0 && n)
		log_info("%zu interface%s more in the VM", n, n == 1 ? "" : "s");
	return r;
}

static void on_quiet(struct loop_source *s, void *userdata)
{
	struct nics_watch *w = userdata;
	struct err e = { 0 };

	if (nics_watch_look(w, &e) == 0) {
		w->quiet_ms = QUIET_MS;
		return;
	}
	log_warn_few(&w->warned, "%s", e.text);
	w->quiet_ms = w->quiet_ms < QUIET_MAX_MS / 2 ? 2 * w->quiet_ms : QUIET_MAX_MS;
}

int nics_watch_new(struct loop *loop, struct plan *p, struct vm *vm, struct agent *a, struct nics_watch **ret,
		   struct err *e)
{
	struct nics_watch *w;
	int r;

	*ret = NULL;
	if (!p->network)
		return 0;
	w = calloc(1, sizeof *w);
	if (!w)
		return err_sys(e, ENOMEM, "cannot watch the network");
	*w = (struct nics_watch){ .plan = p, .vm = vm, .agent = a, .fd = -1, .quiet_ms = QUIET_MS };
	r = pod_network_watch(p->network, &w->fd, e);
	if (r == 0) {
		r = loop_add_io(loop, w->fd, EPOLLIN, on_change, w, &w->changes);
		if (r == 0)
			/* What has changed since the network was looked at is not told any more. */
			r = loop_add_timer(loop, QUIET_MS, on_quiet, w, &w->quiet);
		if (r < 0)
			err_sys(e, -r, "cannot watch the network");
	}
	if (r < 0) {
		nics_watch_free(w);
		return r;
	}
	*ret = w;
	return 0;
}

void nics_watch_free(struct nics_watch *w)
{
	if (!w)
		return;
	loop_source_free(w->changes);
	loop_source_free(w->quiet);
	fd_close(&w->fd);
	free(w);
}
