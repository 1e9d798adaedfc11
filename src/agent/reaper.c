/* SPDX-License-Identifier: Apache-2.0 */
/*
 * SIGCHLD → waitpid(-1) until nothing is left → the watcher of that pid, if any. Signals of several deaths merge into
 * one, hence the loop; a child that nobody watches is an orphan that PID 1 inherited and is only buried.
 */
#include "agent/reaper.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "base/list.h"

struct watch {
	struct list node;
	pid_t pid;
	void (*fn)(pid_t pid, int wait_status, void *userdata);
	void *userdata;
};

struct reaper {
	struct loop_source *signal;
	struct list watches;
};

static struct watch *find(struct reaper *r, pid_t pid)
{
	struct watch *w;

	list_foreach (w, &r->watches, struct watch, node)
		if (w->pid == pid)
			return w;
	return NULL;
}

static void on_sigchld(struct loop_source *s, int signo, void *userdata)
{
	struct reaper *r = userdata;
	pid_t pid;
	int status;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0 || (pid < 0 && errno == EINTR)) {
		struct watch *w = pid > 0 ? find(r, pid) : NULL;

		if (!w)
			continue;
		list_remove(&w->node);
		w->fn(pid, status, w->userdata);
		free(w);
	}
}

int reaper_new(struct loop *loop, struct reaper **ret, struct err *e)
{
	struct reaper *r = calloc(1, sizeof(*r));
	int rc;

	if (!r)
		return err_sys(e, ENOMEM, "create the reaper");
	list_init(&r->watches);
	rc = loop_add_signal(loop, SIGCHLD, on_sigchld, r, &r->signal);
	if (rc < 0) {
		free(r);
		return err_sys(e, -rc, "watch for ended children");
	}
	*ret = r;
	return 0;
}

void reaper_free(struct reaper *r)
{
	struct watch *w;

	if (!r)
		return;
	loop_source_free(r->signal);
	list_foreach (w, &r->watches, struct watch, node)
		free(w);
	free(r);
}

int reaper_watch(struct reaper *r, pid_t pid, void (*fn)(pid_t pid, int wait_status, void *userdata), void *userdata)
{
	struct watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	*w = (struct watch){ .pid = pid, .fn = fn, .userdata = userdata };
	list_append(&r->watches, &w->node);
	return 0;
}

void reaper_unwatch(struct reaper *r, pid_t pid)
{
	struct watch *w = find(r, pid);

	if (w) {
		list_remove(&w->node);
		free(w);
	}
}
