/* SPDX-License-Identifier: Apache-2.0 */
/* Events by containerd's own program: `PROGRAM --address A publish --topic T --namespace N`, the event on its stdin. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"
#include "sys/spawn.h"
#include "task/publish_path.h"

struct binary_path {
	struct publish_path base;
	char *program, *address, *namespace;
	pid_t pid; /* 0: none runs */
	int pidfd;
	struct loop_source *child, *timer;
	struct err err;
};

static void end_child(struct binary_path *p)
{
	loop_source_free(take_ptr(p->child));
	if (p->pid > 0)
		spawn_stop(p->pid, p->pidfd, 0);
	p->pid = 0;
	fd_close(&p->pidfd);
}

/* The program takes too long, or could not be started. */
static void on_timer(struct loop_source *s, void *userdata)
{
	struct binary_path *p = userdata;

	if (p->pid > 0) {
		end_child(p);
		err_set(&p->err, ERR_LIMIT, ETIMEDOUT, "%s publish took longer than %d s", p->program,
			PUBLISH_TIMEOUT_MS / 1000);
	}
	p->base.done(PUBLISH_UNREACHABLE, &p->err, p->base.userdata);
}

static void on_exit_status(struct loop_source *s, pid_t pid, int wait_status, void *userdata)
{
	struct binary_path *p = userdata;

	p->pid = 0;
	end_child(p);
	loop_timer_set(p->timer, UINT64_MAX);
	if (WIFEXITED(wait_status) && WEXITSTATUS(wait_status) == 0) {
		p->base.done(PUBLISH_SENT, NULL, p->base.userdata);
		return;
	}
	err_set(&p->err, ERR_SYSTEM, EIO, "%s publish ended with status %d", p->program,
		WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status));
	p->base.done(PUBLISH_REFUSED, &p->err, p->base.userdata);
}

/* The packed event in a file of its own: the program may read it as late as it likes. */
static int event_file(const struct publish_event *event)
{
	_cleanup_close_ int fd = memfd_create("event", MFD_CLOEXEC);
	_cleanup_buf_ struct buf packed = { 0 };
	int r;

	if (fd < 0)
		return -errno;
	r = pb_pack(&event->any.base, TTRPC_MESSAGE_MAX, &packed);
	if (r == 0)
		r = fd_write_full(fd, packed.data, packed.len);
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	return r < 0 ? r : take_fd(&fd);
}

static int start(struct binary_path *p, const struct publish_event *event, struct err *e)
{
	char *argv[] = { p->program,
			 (char *)"--address",
			 p->address,
			 (char *)"publish",
			 (char *)"--topic",
			 (char *)event->topic,
			 (char *)"--namespace",
			 p->namespace,
			 NULL };
	_cleanup_close_ int in = event_file(event);
	struct spawn s = { .path = p->program,
			   .argv = argv,
			   .stdin_fd = in,
			   .stdout_fd = -1,
			   .stderr_fd = -1,
			   .die_with_parent = true };
	int r;

	if (in < 0)
		return err_sys(e, -in, "cannot write the event down");
	r = spawn_start(&s, &p->pid, &p->pidfd, e);
	if (r < 0)
		return r;
	r = loop_add_child(p->base.loop, p->pid, on_exit_status, p, &p->child);
	return r < 0 ? err_sys(e, -r, "cannot wait for %s", p->program) : 0;
}

static void send_event(struct publish_path *path, const struct publish_event *event)
{
	struct binary_path *p = (struct binary_path *)path;
	int r = start(p, event, &p->err);

	if (r < 0)
		end_child(p);
	loop_timer_set(p->timer, r < 0 ? 0 : PUBLISH_TIMEOUT_MS);
}

static void path_free(struct publish_path *path)
{
	struct binary_path *p = (struct binary_path *)path;

	end_child(p);
	loop_source_free(p->timer);
	free(p->program);
	free(p->address);
	free(p->namespace);
	free(p);
}

int publish_binary_new(struct loop *loop, const char *program, const char *address, const char *namespace,
		       struct publish_path **ret, struct err *e)
{
	struct binary_path *p = calloc(1, sizeof *p);
	int r = -ENOMEM;

	if (p) {
		p->base = (struct publish_path){ .send = send_event, .free = path_free, .loop = loop };
		p->pidfd = -1;
		p->program = strdup(program);
		p->address = strdup(address ? address : "");
		p->namespace = strdup(namespace);
		if (p->program && p->address && p->namespace)
			r = loop_add_timer(loop, UINT64_MAX, on_timer, p, &p->timer);
		if (r < 0)
			path_free(&p->base);
	}
	if (r < 0)
		return err_sys(e, -r, "cannot set up the publishing of events");
	*ret = &p->base;
	return 0;
}
