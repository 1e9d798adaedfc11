/* SPDX-License-Identifier: Apache-2.0 */
/* See owner.h. One loop, one thread; the pod below it may have more. */
#include "cli/owner.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "cli/command.h"
#include "cli/handover.h"
#include "cli/owner_link.h"
#include "oci/spec.h"
#include "pod/settings.h"
#include "pod/state.h"
#include "sys/namespaces.h"
#include "task/group.h"
#include "task/service.h"

/* For the first client to come: it is the one that started us, and if it ends before, we need not wait. */
#define FIRST_CLIENT_MS 30000

/* A container that is written down. */
struct kept {
	struct list link;
	char *id;
	struct state_dir *dir; /* the sandbox's own is the owner's */
};

/* A process of `exec`, to be forgotten when it has ended: its client may be gone by then. */
struct passing {
	struct list link;
	struct owner *owner;
	char *id, *exec_id;
	bool waited_for, ended;
};

struct owner {
	const struct globals *g;
	const char *sandbox;
	struct loop *loop;
	struct loop_source *term, *interrupt, *idle, *starter;
	int starter_fd;
	struct state_dir *dir;
	struct config *config;
	const struct hypervisor_driver *driver;
	struct task_service *service;
	struct handover *handover;
	struct list kept, passing;
};

static void forget_record(struct state_dir *dir)
{
	_cleanup_free_ char *path = str_printf("%s/oci.json", state_dir_path(dir));

	if (path)
		unlink(path);
}

static void kept_free(struct kept *k, struct owner *o)
{
	list_remove(&k->link);
	if (k->dir != o->dir)
		state_dir_remove(k->dir);
	free(k->id);
	free(k);
}

static void passing_free(struct passing *p)
{
	list_remove(&p->link);
	free(p->id);
	free(p->exec_id);
	free(p);
}

/* ---- what is no longer needed ---- */

static bool pod_has(struct pod *pod, const char *id)
{
	struct pod_process_state s;

	return pod && pod_state(pod, id, "", &s, NULL) == 0;
}

static void on_passing_end(const struct pod_exit *exit, void *userdata)
{
	struct passing *p = userdata;

	(void)exit;
	p->ended = true;
	loop_timer_set(p->owner->idle, 0);
}

static void on_forgotten(int result, pid_t pid, const struct pod_exit *exit, const struct err *e, void *userdata)
{
	(void)pid;
	(void)exit;
	(void)userdata;
	if (result < 0)
		log_debug("%s", e->text);
}

static void forget_process(struct pod *pod, const struct passing *p)
{
	if (pod)
		pod_delete(pod, p->id, p->exec_id, true, on_forgotten, NULL);
}

/*
 * A process of exec: once its client has gone, it runs, or will never: also when the guest is starting it. Returns
 * whether it is done with.
 */
static bool passing_step(struct owner *o, struct pod *pod, struct passing *p)
{
	struct pod_process_state s;

	if (p->ended) {
		forget_process(pod, p);
		return true;
	}
	if (p->waited_for || handover_is_busy(o->handover, p->id))
		return false;
	if (!pod || pod_state(pod, p->id, p->exec_id, &s, NULL) < 0)
		return true;
	if (s.status == POD_CREATED) {
		forget_process(pod, p);
		return true;
	}
	p->waited_for = pod_wait(pod, p->id, p->exec_id, on_passing_end, p, NULL) == 0;
	return !p->waited_for;
}

/* Or it is being created only, perhaps. */
static bool is_empty(struct pod *pod)
{
	_cleanup_strv_ struct strv ids = { 0 };

	return !pod || (pod_containers(pod, &ids, NULL) == 0 && !ids.len);
}

/* Forget what has ended or did not come to be; end when nothing is left, or to come that anybody waits for. */
static void on_idle(struct loop_source *s, void *userdata)
{
	struct owner *o = userdata;
	struct pod *pod = task_service_pod(o->service);
	struct passing *p;
	struct kept *k;

	(void)s;
	list_foreach (p, &o->passing, struct passing, link)
		if (passing_step(o, pod, p))
			passing_free(p);
	list_foreach (k, &o->kept, struct kept, link) {
		if (handover_is_busy(o->handover, k->id) || pod_has(pod, k->id))
			continue;
		/* The sandbox's own record goes at the very end, when the virtual machine has, or others want that. */
		if (k->dir == o->dir && ((pod && !pod_is_empty(pod)) || handover_is_busy(o->handover, NULL)))
			forget_record(o->dir);
		kept_free(k, o);
	}
	if (is_empty(pod) && !handover_is_busy(o->handover, NULL))
		loop_quit(o->loop, 0);
}

static void on_starter_end(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct owner *o = userdata;

	(void)s;
	(void)fd;
	(void)revents;
	loop_source_free(take_ptr(o->starter));
	fd_close(&o->starter_fd);
	loop_timer_set(o->idle, 0);
}

static void on_left(void *userdata)
{
	struct owner *o = userdata;

	loop_timer_set(o->idle, 0);
}

static void on_deleted(const char *id, void *userdata)
{
	(void)id;
	on_left(userdata);
}

static void on_shutdown(void *userdata)
{
	struct owner *o = userdata;

	loop_quit(o->loop, 0);
}

/* ---- clients with stand-ins ---- */

static int write_down(struct owner *o, struct kept *k, const char *bundle, struct err *e)
{
	_cleanup_oci_record_ struct oci_record record = { 0 };
	_cleanup_spec_ Grpc__Spec *spec = NULL;
	int r = oci_spec_load(bundle, &spec, NULL, e);

	if (r == 0)
		r = oci_record_make(k->id, o->sandbox, bundle, spec, &record, e);
	return r < 0 ? r : oci_record_write(&record, state_dir_path(k->dir), e);
}

static int keep_container(struct owner *o, const struct handover_offer *offer, struct err *e)
{
	struct kept *k;
	int r;

	list_foreach (k, &o->kept, struct kept, link)
		if (str_eq(k->id, offer->id))
			return err_set(e, ERR_CONFIG, EEXIST, "container with given ID already exists");
	k = calloc(1, sizeof *k);
	if (!k || !(k->id = strdup(offer->id))) {
		free(k);
		return err_sys(e, ENOMEM, "cannot create the container");
	}
	list_append(&o->kept, &k->link);
	if (str_eq(k->id, o->sandbox)) {
		k->dir = o->dir;
		r = 0;
	} else {
		r = state_dir_create(o->g->root, k->id, &k->dir, e);
		if (r == -EEXIST)
			err_set(e, ERR_CONFIG, EEXIST, "container with given ID already exists");
	}
	if (r == 0)
		r = write_down(o, k, offer->bundle, e);
	if (r < 0)
		kept_free(k, o);
	return r;
}

static int keep_exec(struct owner *o, const struct handover_offer *offer, struct err *e)
{
	struct passing *p = calloc(1, sizeof *p);

	if (!p)
		return err_sys(e, ENOMEM, "cannot start the process");
	p->owner = o;
	p->id = strdup(offer->id);
	p->exec_id = strdup(offer->exec_id);
	list_append(&o->passing, &p->link);
	if (!p->id || !p->exec_id) {
		passing_free(p);
		return err_sys(e, ENOMEM, "cannot start the process");
	}
	return 0;
}

static int on_arrived(const struct handover_offer *offer, struct err *e, void *userdata)
{
	struct owner *o = userdata;

	return str_empty(offer->exec_id) ? keep_container(o, offer, e) : keep_exec(o, offer, e);
}

static void take_standin(const char *id, const char *exec_id, int *ret_fd, pid_t *ret_pid, void *userdata)
{
	struct owner *o = userdata;

	*ret_fd = handover_take(o->handover, id, exec_id, ret_pid);
}

/* ---- the pod ---- */

static int make_pod(const Containerd__Task__V2__CreateTaskRequest *request,
		    void (*event)(const struct pod_event *event, void *userdata), void *event_userdata,
		    struct pod **ret, struct err *e, void *userdata)
{
	struct owner *o = userdata;
	_cleanup_task_group_ struct task_group group = { 0 };
	struct settings_request q = { .config = o->g->config[0] ? o->g->config : NULL };
	struct pod_params p = { .loop = o->loop,
				.id = o->sandbox,
				.state_root = o->g->root,
				.state_dir = o->dir,
				.interrupt_fd = handover_interrupt_fd(o->handover),
				.event = event,
				.userdata = event_userdata };
	int r = task_group_read(request->bundle, request->id, &group, e);

	if (r < 0)
		return r;
	q.annotations = &group.config;
	config_free(take_ptr(o->config));
	r = settings_load(&q, &o->config, &o->driver, e);
	if (r < 0)
		return r;
	p.config = o->config;
	p.driver = o->driver;
	return pod_new(&p, ret, e);
}

/* ---- life ---- */

static void on_signal(struct loop_source *s, int signo, void *userdata)
{
	struct owner *o = userdata;

	(void)s;
	log_info("ended by signal %d", signo);
	loop_quit(o->loop, 0);
}

static int open_log(struct owner *o, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/" OWNER_LOG, state_dir_path(o->dir));
	_cleanup_close_ int fd = path ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

	if (fd < 0 || dup2(fd, STDERR_FILENO) < 0)
		return err_sys(e, errno, "cannot open the log %s", path ? path : "");
	return 0;
}

static int set_up(struct owner *o, struct err *e)
{
	struct task_service_params service = { .make_pod = make_pod,
					       .take_standin = take_standin,
					       .undo_unanswered = true,
					       .deleted = on_deleted,
					       .shutdown = on_shutdown,
					       .userdata = o };
	struct handover_params handover = { .arrived = on_arrived, .left = on_left, .userdata = o };
	_cleanup_free_ char *owner_path = NULL, *standin_path = NULL;
	int r = loop_new(&o->loop, e);

	if (r < 0)
		return r;
	r = state_dir_create(o->g->root, o->sandbox, &o->dir, e);
	if (r == -EEXIST)
		return err_set(e, ERR_CONFIG, EEXIST, "container with given ID already exists");
	if (r < 0 || (r = open_log(o, e)) < 0)
		return r;
	owner_path = str_printf("%s/" OWNER_SOCKET, state_dir_path(o->dir));
	standin_path = str_printf("%s/" STANDIN_SOCKET, state_dir_path(o->dir));
	if (!owner_path || !standin_path || loop_add_signal(o->loop, SIGTERM, on_signal, o, &o->term) < 0 ||
	    loop_add_signal(o->loop, SIGINT, on_signal, o, &o->interrupt) < 0 ||
	    loop_add_timer(o->loop, FIRST_CLIENT_MS, on_idle, o, &o->idle) < 0)
		return err_sys(e, ENOMEM, "cannot set up the owner of %s", o->sandbox);
	if (o->starter_fd >= 0 && loop_add_io(o->loop, o->starter_fd, EPOLLIN, on_starter_end, o, &o->starter) < 0)
		return err_sys(e, ENOMEM, "cannot set up the owner of %s", o->sandbox);
	handover.loop = service.loop = o->loop;
	handover.path = standin_path;
	r = handover_new(&handover, &o->handover, e);
	if (r == 0)
		r = unix_listen(owner_path, 0600, &service.listen_fd, e);
	return r < 0 ? r : task_service_new(&service, &o->service, e);
}

static void take_down(struct owner *o)
{
	struct passing *p;
	struct kept *k;

	task_service_free(o->service);
	handover_free(o->handover);
	list_foreach (p, &o->passing, struct passing, link)
		passing_free(p);
	list_foreach (k, &o->kept, struct kept, link)
		kept_free(k, o);
	loop_source_free(o->term);
	loop_source_free(o->interrupt);
	loop_source_free(o->idle);
	loop_source_free(o->starter);
	fd_close(&o->starter_fd);
	state_dir_remove(o->dir);
	config_free(o->config);
	loop_free(o->loop);
}

static void tell(int fd, const char *text, size_t n)
{
	(void)!write(fd, text, n);
	close(fd);
}

/* pod-owner READY_FD SANDBOX */
int command_pod_owner(const struct globals *g, int argc, char **argv)
{
	struct owner o = { .g = g, .starter_fd = pidfd_of(getppid()) };
	struct err e = { 0 };
	uint64_t ready_fd;
	int r;

	/* Until here we died with it. */
	prctl(PR_SET_PDEATHSIG, 0);
	if (argc != 3 || str_to_u64(argv[1], 10, &ready_fd) < 0 || ready_fd > INT_MAX)
		return EXIT_CAISSON;
	fd_set_cloexec((int)ready_fd, true);
	o.sandbox = argv[2];
	list_init(&o.kept);
	list_init(&o.passing);
	r = set_up(&o, &e);
	if (r == 0) {
		tell((int)ready_fd, "", 1);
		r = loop_run(o.loop);
		take_down(&o);
	} else {
		/* Who hears of it may try again at once. */
		take_down(&o);
		tell((int)ready_fd, e.text, strlen(e.text));
	}
	return r < 0 ? EXIT_CAISSON : 0;
}
