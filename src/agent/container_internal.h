/* SPDX-License-Identifier: Apache-2.0 */
/* What container.c, process.c, process_setup.c and stats.c share. Everybody else uses container.h. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/child.h"
#include "agent/container.h"
#include "agent/seccomp.h"
#include "base/list.h"
#include "sys/cgroup.h"

#define SETUP_TIMEOUT_MS 30000

struct process_setup;
struct hook_run;
struct starting;

struct process {
	struct list node; /* in container.execs, unless it is init */
	struct container *c;
	char *id;             /* exec id; "" for init */
	Grpc__Process *owned; /* the copied request of an exec */
	const Grpc__Process *spec;
	pid_t pid;                   /* 0: none yet */
	struct process_setup *setup; /* until it has executed, when that is waited for in the loop */
	int early_signal;            /* came before the pid; 0: none */
	int in_fd, out_fd, err_fd;   /* the agent's ends */
	int slave_fd;                /* see process_keep_terminal() */
	bool terminal;
	bool exited;
	int status;
	struct list watches;
	struct loop_source *late_timer; /* tells watchers of an end that the reaper does not tell */
	bool doomed;                    /* see process_doom() */
	bool notifying, dead;           /* process_free() waits until the watchers have been told */
};

struct container {
	char *id, *bundle;
	Grpc__Spec *spec;
	struct loop *loop;
	struct reaper *reaper;
	uint32_t pipe_size, setup_timeout_ms;
	struct cgroup *cgroup;
	struct seccomp_filter seccomp;
	struct process *init;
	struct list execs;
	int sync_fd; /* to init until it has started */
	int init_pidfd;
	int cgroup_ns_fd; /* of init, for execs; -1: the agent's own */
	int joined;       /* CLONE_NEW*: the namespaces of init that are not the agent's, for execs */
	bool own_pid_ns;
	bool created, stopped;
	container_created_fn created_fn;
	void *created_userdata;
	struct hook_run *hooks;    /* poststart, poststop */
	struct starting *starting; /* waits for poststart */
	void (*stopped_fn)(void *userdata);
	void *stopped_userdata;
	struct {
		int fd;
		uint64_t count;
		struct loop_source *source;
		void (*fn)(struct container *c, void *userdata);
		void *userdata;
	} oom;
};

/* Tell that memory ran out, if it did since we last looked. */
void container_look_for_oom(struct container *c);

/* An unborn process of c; spec is borrowed. */
struct process *process_new(struct container *c, const char *id, const Grpc__Process *spec);
/* Stop watching, close, free. The kernel's process must be gone or is left to the reaper. */
void process_free(struct process *p);
DEFINE_CLEANUP(struct process *, process_free)
/* Of an exec that failed and was killed: to be freed when it ends, or with its container. Its id is free at once. */
void process_doom(struct process *p);
/*
 * The pipes of a process without terminal: the agent's ends into p, the child's into stdio. With a terminal stdio is
 * all -1: the child sends the master later.
 */
int process_open_stdio(struct process *p, int stdio[3], struct err *e);
/* It lives as pid: have the reaper tell us when it ends. */
int process_born(struct process *p, pid_t pid, struct err *e);
/* SIGKILL, wait (at most timeout_ms) and reap at once, without the loop. */
void process_kill_now(struct process *p, int timeout_ms);
/* The same, of a process whose container stays: who waits for its end is told by the loop. */
void process_end_now(struct process *p, int timeout_ms);

/* ---- process_setup.c: from fork to exec ---- */

/*
 * Called once, from the loop or by process_setup_cancel(). On failure, which is also that it took longer than
 * setup_timeout_ms, the process has been sent SIGKILL; fn may free it.
 */
typedef void (*process_ready_fn)(struct process *p, int result, const struct err *e, void *userdata);
/*
 * Fork and let it exec. hold: not NULL: it waits before exec, and our end of its socket goes there, for
 * process_release(). On failure fn is never called, and what was forked is killed.
 */
int process_set_up(struct process *p, struct child_plan *plan, int *hold, process_ready_fn fn, void *userdata,
		   struct err *e);
/* Let a process that waits before exec go on. Takes *sync_fd over, whatever it returns. */
int process_release(struct process *p, int *sync_fd, process_ready_fn fn, void *userdata, struct err *e);
/* Fail with this error now. Does nothing when the process is not being set up. */
void process_setup_cancel(struct process *p, const struct err *e);
