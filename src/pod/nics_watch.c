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
	/* A look: first what is done here, then the guest is told. */
	struct nics_tell *telling; /* NULL: nobody looks */
	int result;                /* of its first part */
	struct err why;
	bool again;         /* it is to be looked at again */
	struct list askers; /* nics_look */
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

static void look(struct nics_watch *w);

/* To ret: those for whom the look that is over was. */
static void take_served(struct nics_watch *w, struct list *ret)
{
	struct nics_look *l;

	list_init(ret);
	list_foreach (l, &w->askers, struct nics_look, node) {
		if (!l->served)
			continue;
		list_remove(&l->node);
		list_append(ret, &l->node);
	}
}

/* A look is over: who asked for it hears of it, and else it is tried again. */
static void looked(struct nics_watch *w, int r, const struct err *e)
{
	struct err why = *e;
	struct nics_look *l;
	struct list served;

	take_served(w, &served);
	if (list_empty(&served) && r == 0) {
		w->quiet_ms = QUIET_MS;
	} else if (list_empty(&served)) {
		log_warn_few(&w->warned, "%s", e->text);
		w->quiet_ms = w->quiet_ms < QUIET_MAX_MS / 2 ? 2 * w->quiet_ms : QUIET_MAX_MS;
		/* A VMM that does not answer holds the loop up each time: it is asked with the next change. */
		w->again |= r != -ENOTSUP && w->result != -ETIMEDOUT;
	}
	if (w->again)
		loop_timer_set(w->quiet, w->quiet_ms);
	if (!list_empty(&w->askers))
		look(w);
	while ((l = list_first(&served, struct nics_look, node))) {
		list_remove(&l->node);
		l->fn(r, &why, l->userdata);
	}
}

static void on_told(int result, const struct err *e, void *userdata)
{
	struct nics_watch *w = userdata;

	w->telling = NULL;
	if (w->result < 0)
		looked(w, w->result, &w->why);
	else
		looked(w, result, e);
}

static void look(struct nics_watch *w)
{
	struct nics_changes n = { 0 };
	struct err e = { 0 };
	struct nics_look *l;
	int r;

	list_foreach (l, &w->askers, struct nics_look, node)
		l->served = true;
	w->again = false;
	w->first_change = 0;
	w->why = (struct err){ 0 };
	w->result = nics_follow(w->plan, w->vm, &n, &w->why);
	if (n.plugged || n.unplugged || n.returned)
		log_info("network cards of the VM: %zu more, %zu less, %zu used again", n.plugged, n.unplugged,
			 n.returned);
	if (n.again_ms)
		loop_timer_set(w->quiet, n.again_ms);
	r = nics_tell_agent_async(w->plan, w->agent, on_told, w, &w->telling, &e);
	if (r <= 0)
		on_told(r, &e, w);
}

static void on_quiet(struct loop_source *s, void *userdata)
{
	struct nics_watch *w = userdata;

	/* Of a VM that has ended the engine takes the interfaces away as well. */
	if (vm_wait_exit(w->vm, 0))
		return;
	if (w->tell)
		w->tell(w->tell_userdata);
	if (w->telling)
		w->again = true;
	else
		look(w);
}

void nics_watch_look(struct nics_watch *w, struct nics_look *l, agent_done_fn fn, void *userdata)
{
	struct err e = { 0 };

	if (!w || vm_wait_exit(w->vm, 0)) {
		fn(0, &e, userdata);
		return;
	}
	*l = (struct nics_look){ .fn = fn, .userdata = userdata };
	list_append(&w->askers, &l->node);
	if (!w->telling)
		look(w);
}

void nics_watch_forget(struct nics_look *l)
{
	list_remove(&l->node);
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
	list_init(&w->askers);
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
	nics_tell_cancel(w->telling);
	loop_source_free(w->changes);
	loop_source_free(w->quiet);
	fd_close(&w->fd);
	free(w);
}
