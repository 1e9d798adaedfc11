// SPDX-License-Identifier: Apache-2.0
#include "pod/nics_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"

#define QUIET_MS 300
/* Where something changes all the time it is looked at all the same. */
#define UNREST_MAX_MS 5000
/* An attempt that fails makes taps and takes them away, which is told as well: each is twice as late as the last. */
#define QUIET_MAX_MS 60000

struct nics_watch {
	struct plan *plan;
	struct vm *vm;
	struct agent *agent;
	struct loop_source *changes, *quiet;
	int fd;
	unsigned warned, quiet_ms;
	void (*tell)(void *userdata); /* NULL: nobody */
	void *tell_userdata;
	uint64_t first_change; /* since the last look; 0: none */
};

static void on_change(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct nics_watch *w = userdata;
	uint64_t now = clock_ms(), latest;
	char message[8192];

	/* What has changed is seen by looking; ENOBUFS, that messages were lost, is one more reason to. */
	for (int i = 0; i < 64; i++)
		if (recv(fd, message, sizeof message, 0) < 0 && errno == EAGAIN)
			break;
	if (!w->first_change)
		w->first_change = now;
	latest = w->first_change + (w->quiet_ms > UNREST_MAX_MS ? w->quiet_ms : UNREST_MAX_MS);
	loop_timer_set(w->quiet, now >= latest ? 0 : latest - now < w->quiet_ms ? latest - now : w->quiet_ms);
}

int nics_watch_look(struct nics_watch *w, struct err *e)
{
	struct nics_changes n = { 0 };
	int r;

	/* Of a VM that has ended the engine takes the interfaces away as well. */
	if (!w || vm_wait_exit(w->vm, 0))
		return 0;
	w->first_change = 0;
	r = nics_follow(w->plan, w->vm, w->agent, &n, e);
	if (n.plugged || n.unplugged || n.returned)
		log_info("network cards of the VM: %zu more, %zu less, %zu used again", n.plugged, n.unplugged,
			 n.returned);
	if (n.again_ms)
		loop_timer_set(w->quiet, n.again_ms);
	return r;
}

static void on_quiet(struct loop_source *s, void *userdata)
{
	struct nics_watch *w = userdata;
	struct err e = { 0 };
	int r = nics_watch_look(w, &e);

	if (w->tell)
		w->tell(w->tell_userdata);
	if (r == 0) {
		w->quiet_ms = QUIET_MS;
		return;
	}
	log_warn_few(&w->warned, "%s", e.text);
	w->quiet_ms = w->quiet_ms < QUIET_MAX_MS / 2 ? 2 * w->quiet_ms : QUIET_MAX_MS;
	/* A guest that does not answer holds the loop up each time: it is told with the next change. */
	if (r != -ENOTSUP && r != -ETIMEDOUT)
		loop_timer_set(w->quiet, w->quiet_ms);
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

void nics_watch_tell(struct nics_watch *w, void (*fn)(void *userdata), void *userdata)
{
	if (!w)
		return;
	w->tell = fn;
	w->tell_userdata = userdata;
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
