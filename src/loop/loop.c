/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One epoll descriptor; every source is a descriptor (signalfd, pidfd) or, for timers, an entry in a sorted list.
 * Freed sources are unlinked at once and released at the end of the round, so that an event already fetched for them
 * finds it dead.
 *
 * Callbacks run under the mutex `inside`, which loop_enter() takes too. Whoever waits for it holds `gate` meanwhile,
 * and the loop passes through `gate` first: a busy loop lets a waiter in after each round.
 */
#include "loop/loop.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/list.h"

enum source_kind { SOURCE_IO, SOURCE_TIMER, SOURCE_SIGNAL, SOURCE_CHILD };

struct loop_source {
	struct list node;
	struct loop *loop;
	enum source_kind kind;
	bool dead, was_blocked;
	int fd; /* owned for signals and children */
	int signo;
	pid_t pid;
	uint64_t due_ms;
	union {
		loop_io_fn io;
		loop_timer_fn timer;
		loop_signal_fn signal;
		loop_child_fn child;
	} fn;
	void *userdata;
};

struct posted {
	struct list node;
	void (*fn)(void *userdata);
	void *userdata;
};

struct loop {
	int epoll_fd, wake_fd;
	struct list sources, timers, dead; /* timers: sorted by due_ms, armed ones only */
	pthread_mutex_t lock;              /* guards posted */
	pthread_mutex_t gate, inside;      /* see above */
	_Atomic(pthread_t) owner;          /* of inside; meaningful while depth is not 0 */
	atomic_uint depth;                 /* how often the owner is in */
	bool polling, dispatching;         /* guarded by inside */
	struct list posted;
	atomic_bool quit;
	atomic_int code;
};

static void on_wake(struct loop *loop)
{
	uint64_t n;

	if (read(loop->wake_fd, &n, sizeof n) < 0 && errno != EAGAIN)
		return;
	for (;;) {
		struct posted *p;

		pthread_mutex_lock(&loop->lock);
		p = list_first(&loop->posted, struct posted, node);
		if (p)
			list_remove(&p->node);
		pthread_mutex_unlock(&loop->lock);
		if (!p)
			return;
		p->fn(p->userdata);
		free(p);
	}
}

int loop_new(struct loop **ret, struct err *e)
{
	struct loop *loop = calloc(1, sizeof *loop);
	struct epoll_event ev = { .events = EPOLLIN };
	int code;

	if (!loop)
		return err_sys(e, ENOMEM, "cannot create an event loop");
	list_init(&loop->sources);
	list_init(&loop->timers);
	list_init(&loop->dead);
	list_init(&loop->posted);
	pthread_mutex_init(&loop->lock, NULL);
	pthread_mutex_init(&loop->gate, NULL);
	pthread_mutex_init(&loop->inside, NULL);
	loop->wake_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd >= 0)
		loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0 || epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->wake_fd, &ev) < 0) {
		code = errno;
		loop_free(loop);
		return err_sys(e, code, "cannot create an event loop");
	}
	*ret = loop;
	return 0;
}

static void release_dead(struct loop *loop)
{
	struct loop_source *s;

	list_foreach (s, &loop->dead, struct loop_source, node) {
		list_remove(&s->node);
		free(s);
	}
}

void loop_free(struct loop *loop)
{
	struct loop_source *s;
	struct posted *p;

	if (!loop)
		return;
	list_foreach (s, &loop->sources, struct loop_source, node)
		loop_source_free(s);
	list_foreach (s, &loop->timers, struct loop_source, node)
		loop_source_free(s);
	release_dead(loop);
	list_foreach (p, &loop->posted, struct posted, node)
		free(p);
	fd_close(&loop->epoll_fd);
	fd_close(&loop->wake_fd);
	pthread_mutex_destroy(&loop->inside);
	pthread_mutex_destroy(&loop->gate);
	pthread_mutex_destroy(&loop->lock);
	free(loop);
}

static struct loop_source *source_new(struct loop *loop, enum source_kind kind, int fd, void *userdata)
{
	struct loop_source *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	s->loop = loop;
	s->kind = kind;
	s->fd = fd;
	s->userdata = userdata;
	list_init(&s->node);
	return s;
}

/* Frees s and closes nothing on failure. */
static int source_watch(struct loop_source *s, uint32_t events, struct loop_source **ret)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	if (epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_ADD, s->fd, &ev) < 0) {
		int r = -errno;

		free(s);
		return r;
	}
	list_append(&s->loop->sources, &s->node);
	*ret = s;
	return 0;
}

int loop_add_io(struct loop *loop, int fd, uint32_t events, loop_io_fn fn, void *userdata, struct loop_source **ret)
{
	struct loop_source *s = source_new(loop, SOURCE_IO, fd, userdata);

	if (!s)
		return -ENOMEM;
	s->fn.io = fn;
	return source_watch(s, events, ret);
}

int loop_io_set_events(struct loop_source *s, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = s };

	return epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_MOD, s->fd, &ev) < 0 ? -errno : 0;
}

int loop_add_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn fn, void *userdata, struct loop_source **ret)
{
	struct loop_source *s = source_new(loop, SOURCE_TIMER, -1, userdata);

	if (!s)
		return -ENOMEM;
	s->fn.timer = fn;
	loop_timer_set(s, delay_ms);
	*ret = s;
	return 0;
}

static void wake(struct loop *loop)
{
	uint64_t one = 1;

	if (write(loop->wake_fd, &one, sizeof one) < 0) {
		/* Full counter: the loop is awake already. */
	}
}

void loop_timer_set(struct loop_source *s, uint64_t delay_ms)
{
	struct list *at;

	list_remove(&s->node);
	if (delay_ms == UINT64_MAX || s->dead) {
		/* Not armed, yet still found by loop_free(). */
		list_append(&s->loop->sources, &s->node);
		return;
	}
	s->due_ms = clock_ms() + delay_ms;
	for (at = s->loop->timers.prev; at != &s->loop->timers; at = at->prev)
		if (container_of(at, struct loop_source, node)->due_ms <= s->due_ms)
			break;
	/* Insert behind `at`: list_append() puts a node in front of its first argument. */
	list_append(at->next, &s->node);
	if (s->loop->polling && !s->loop->dispatching && s->loop->timers.next == &s->node)
		wake(s->loop); /* it waits for a later one */
}

int loop_add_signal(struct loop *loop, int signo, loop_signal_fn fn, void *userdata, struct loop_source **ret)
{
	struct loop_source *s;
	sigset_t set, old;
	int r, fd;

	sigemptyset(&set);
	sigaddset(&set, signo);
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (fd < 0)
		return -errno;
	s = source_new(loop, SOURCE_SIGNAL, fd, userdata);
	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	s->fn.signal = fn;
	s->signo = signo;
	pthread_sigmask(SIG_BLOCK, &set, &old);
	s->was_blocked = sigismember(&old, signo) == 1;
	r = source_watch(s, EPOLLIN, ret);
	if (r < 0) {
		close(fd);
		pthread_sigmask(SIG_SETMASK, &old, NULL);
	}
	return r;
}

int loop_add_child(struct loop *loop, pid_t pid, loop_child_fn fn, void *userdata, struct loop_source **ret)
{
	int r, fd = (int)syscall(SYS_pidfd_open, pid, 0);
	struct loop_source *s;

	if (fd < 0)
		return -errno;
	s = source_new(loop, SOURCE_CHILD, fd, userdata);
	if (!s) {
		close(fd);
		return -ENOMEM;
	}
	s->fn.child = fn;
	s->pid = pid;
	r = source_watch(s, EPOLLIN, ret);
	if (r < 0)
		close(fd);
	return r;
}

void loop_source_free(struct loop_source *s)
{
	if (!s || s->dead)
		return;
	s->dead = true;
	if (s->fd >= 0)
		epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	if (s->kind == SOURCE_SIGNAL && !s->was_blocked) {
		sigset_t set;

		sigemptyset(&set);
		sigaddset(&set, s->signo);
		pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	}
	if (s->kind == SOURCE_SIGNAL || s->kind == SOURCE_CHILD)
		fd_close(&s->fd);
	list_remove(&s->node);
	list_append(&s->loop->dead, &s->node);
	if (s->loop->polling && !s->loop->dispatching)
		wake(s->loop); /* it releases the dead */
}

struct loop *loop_source_loop(struct loop_source *s)
{
	return s->loop;
}

int loop_post(struct loop *loop, void (*fn)(void *userdata), void *userdata)
{
	struct posted *p = malloc(sizeof *p);

	if (!p)
		return -ENOMEM;
	p->fn = fn;
	p->userdata = userdata;
	pthread_mutex_lock(&loop->lock);
	list_append(&loop->posted, &p->node);
	pthread_mutex_unlock(&loop->lock);
	wake(loop);
	return 0;
}

static void dispatch_signal(struct loop_source *s)
{
	struct signalfd_siginfo info;

	while (!s->dead && read(s->fd, &info, sizeof info) == (ssize_t)sizeof info)
		s->fn.signal(s, (int)info.ssi_signo, s->userdata);
}

static void dispatch_child(struct loop_source *s)
{
	int status;
	pid_t pid;

	do
		pid = waitpid(s->pid, &status, WNOHANG);
	while (pid < 0 && errno == EINTR);
	if (pid == 0)
		return;
	if (pid < 0)
		status = 0xff00; /* somebody else reaped it: the status is lost, the end is not */
	epoll_ctl(s->loop->epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
	s->fn.child(s, s->pid, status, s->userdata);
}

static void dispatch(struct loop_source *s, uint32_t revents)
{
	if (s->dead)
		return;
	if (s->kind == SOURCE_IO)
		s->fn.io(s, s->fd, revents, s->userdata);
	else if (s->kind == SOURCE_SIGNAL)
		dispatch_signal(s);
	else
		dispatch_child(s);
}

static void run_timers(struct loop *loop)
{
	uint64_t now = clock_ms();
	struct loop_source *s;

	while ((s = list_first(&loop->timers, struct loop_source, node)) && s->due_ms <= now) {
		loop_timer_set(s, UINT64_MAX);
		s->fn.timer(s, s->userdata);
	}
}

static int wait_time(struct loop *loop, int timeout_ms)
{
	struct loop_source *s = list_first(&loop->timers, struct loop_source, node);
	uint64_t now, left;

	if (!s)
		return timeout_ms;
	now = clock_ms();
	left = s->due_ms > now ? s->due_ms - now : 0;
	if (left > 3600000)
		left = 3600000;
	return timeout_ms >= 0 && (uint64_t)timeout_ms < left ? timeout_ms : (int)left;
}

void loop_enter(struct loop *loop)
{
	pthread_t self = pthread_self();

	/* Only this thread can have made it the owner, so a stale answer is never "yes". */
	if (!atomic_load(&loop->depth) || !pthread_equal(atomic_load(&loop->owner), self)) {
		pthread_mutex_lock(&loop->gate);
		pthread_mutex_lock(&loop->inside);
		pthread_mutex_unlock(&loop->gate);
		atomic_store(&loop->owner, self);
	}
	atomic_fetch_add(&loop->depth, 1);
}

void loop_leave(struct loop *loop)
{
	if (atomic_fetch_sub(&loop->depth, 1) == 1)
		pthread_mutex_unlock(&loop->inside);
}

/* Wait for events outside of the mutex. */
static int poll_events(struct loop *loop, struct epoll_event *events, int max, int timeout_ms)
{
	int n;

	loop_enter(loop);
	timeout_ms = wait_time(loop, timeout_ms);
	loop->polling = true;
	loop_leave(loop);
	n = epoll_wait(loop->epoll_fd, events, max, timeout_ms);
	if (n < 0)
		n = errno == EINTR ? 0 : -errno;
	loop_enter(loop);
	loop->polling = false;
	return n;
}

int loop_run_once(struct loop *loop, int timeout_ms)
{
	struct epoll_event events[32];
	int n = poll_events(loop, events, 32, timeout_ms);
	bool nested = loop->dispatching;

	if (n < 0) {
		loop_leave(loop);
		return n;
	}
	loop->dispatching = true;
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr)
			dispatch(events[i].data.ptr, events[i].events);
		else
			on_wake(loop);
	}
	run_timers(loop);
	release_dead(loop);
	loop->dispatching = nested;
	loop_leave(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	while (!atomic_load(&loop->quit)) {
		int r = loop_run_once(loop, -1);

		if (r < 0)
			return r;
	}
	atomic_store(&loop->quit, false);
	return atomic_load(&loop->code);
}

static void nothing(void *userdata)
{
	(void)userdata;
}

void loop_quit(struct loop *loop, int code)
{
	atomic_store(&loop->code, code);
	atomic_store(&loop->quit, true);
	loop_post(loop, nothing, NULL);
}
