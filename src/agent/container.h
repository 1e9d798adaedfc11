/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One container in the guest: namespaces, root file system, cgroup and processes, as the OCI runtime spec says.
 * It knows nothing of ttrpc, storages or devices: those are done before container_create() is called (spec.Root.Path
 * is then a mounted directory and linux.Devices hold the guest's numbers).
 *
 * Single-threaded: all functions and callbacks on the agent's loop thread. No function blocks for longer than its
 * comment says.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/reaper.h"
#include "base/err.h"
#include "loop/loop.h"
#include "proto/agent.pb-c.h"

struct container;
struct process; /* the init process of a container, or one started by exec */

struct container_params {
	const char *id;
	const Grpc__Spec *spec; /* borrowed during the call; the container keeps a copy */
	const char *bundle;     /* existing directory /run/kata-containers/ID: config.json and state go there */
	/* Namespaces of the sandbox that the container joins where its spec names the type without a path; -1: none. */
	int uts_ns_fd, ipc_ns_fd, pid_ns_fd;
	const char *cgroup_root; /* NULL: /sys/fs/cgroup */
	struct loop *loop;
	struct reaper *reaper;
	uint32_t pipe_size;        /* F_SETPIPE_SZ of the stdio pipes in bytes; 0: the kernel's default */
	uint32_t setup_timeout_ms; /* for a process to be ready, and to execute; 0: 30 s */
};

/*
 * Called once, from the loop or by container_free(): the container is there, or could not be made, or not in its time.
 * On failure its init has been sent SIGKILL, and nothing may be done with it but container_free(), which fn may call
 * itself where it is not that one that has called fn.
 */
typedef void (*container_created_fn)(struct container *c, int result, const struct err *e, void *userdata);

/*
 * Everything up to the moment before exec: init is forked and waits. Hooks prestart, createRuntime, createContainer run
 * meanwhile. What is begun is *ret; until fn is called it can be signalled, watched and freed only. On failure nothing
 * is left, and fn is never called. At most 30 s (prestart and createRuntime hooks have their own timeouts).
 */
int container_create(const struct container_params *params, container_created_fn fn, void *userdata,
		     struct container **ret, struct err *e);

/*
 * Called once, from the loop or by container_free(): the process has executed, or could not, was killed, or did not in
 * its time, whereupon it is killed. p: NULL on failure. Must not free the container.
 */
typedef void (*container_started_fn)(struct process *p, int result, const struct err *e, void *userdata);

/* Let init exec; startContainer hooks before, poststart after, then fn. It is told of a failed exec. */
int container_start(struct container *c, container_started_fn fn, void *userdata, struct err *e);
/*
 * Of a container that was created: kill what still runs (waits at most 2 s), remove mounts and cgroup, run poststop
 * hooks. fn is called once, here where there are none, or from the loop, or by container_free(), which is all that may
 * be done with the container from now on, also by fn.
 */
void container_stop(struct container *c, void (*fn)(void *userdata), void *userdata);
/* The same and free, waiting for the hooks. In the midst of container_stop() the one that runs is killed. */
void container_free(struct container *c);

/*
 * Before container_stop() or container_free() of first: the kernel ends PID 1 only when all of its PID namespace have
 * been buried, and those of other containers are so by us. Kill, and bury, those of c.
 */
void container_end_beside(struct container *c, const struct container *first);

const char *container_id(const struct container *c);
/* The copied spec. */
const Grpc__Spec *container_spec(const struct container *c);
/* exec_id "" or the container's id: init. NULL: no such process. */
struct process *container_find_process(struct container *c, const char *exec_id);
/*
 * Create and start another process. It is found by its id from now on, to be signalled; its streams and its end are
 * fn's to wait for.
 */
int container_exec(struct container *c, const char *exec_id, const Grpc__Process *process, container_started_fn fn,
		   void *userdata, struct err *e);
/* Drop an exec process that has ended. */
void container_forget_process(struct container *c, struct process *p);
/* Signal every process of the container (cgroup.procs). */
int container_signal_all(struct container *c, int signo, struct err *e);

int container_update(struct container *c, const Grpc__LinuxResources *resources, struct err *e);
/* Fill cgroup_stats of an initialised response; allocated so that protobuf_c_message_free_unpacked() frees it. */
int container_stats(struct container *c, Grpc__StatsContainerResponse *ret, struct err *e);
int container_pause(struct container *c, struct err *e);
int container_resume(struct container *c, struct err *e);
/* fn is called from the loop when the kernel killed a process of the container for lack of memory. */
void container_on_oom(struct container *c, void (*fn)(struct container *c, void *userdata), void *userdata);

/* ---- processes ---- */

pid_t process_pid(const struct process *p);
/* -ESRCH when it has ended. */
int process_signal(struct process *p, int signo, struct err *e);
/*
 * May this one be left to the signal? As PID 1 of its namespace it notices it by a handler, or by waiting for signals:
 * it has them blocked, and takes them by sigwait(3) or signalfd(2), as tini, catatonit and systemd do. One that ignores
 * it of its own accord wants all the time that it is given before SIGKILL.
 */
bool signal_is_noticed(pid_t pid, int signo);
bool process_exited(const struct process *p);
/* Exit code, or 128 + signal; valid once process_exited(). */
int process_exit_status(const struct process *p);
/*
 * fn is called once from the loop when the process ends (soon, when it has already). Several watchers may wait. The
 * watch is gone when fn is called: do not unwatch it then. fn may free the container. 0 or -ENOMEM.
 */
struct process_watch;
int process_watch_exit(struct process *p, void (*fn)(struct process *p, int status, void *userdata), void *userdata,
		       struct process_watch **ret);
void process_unwatch(struct process_watch *w);

/*
 * The agent's ends of the process's stdio, non-blocking, owned by the process; -1 where closed. With a terminal all
 * input and output is on the pseudo-terminal's master and stderr is -1.
 */
int process_stdin_fd(const struct process *p);
int process_stdout_fd(const struct process *p);
int process_stderr_fd(const struct process *p);
bool process_has_terminal(const struct process *p);
void process_close_stdin(struct process *p);
/*
 * A terminal's master says EIO whenever nobody has the terminal open, which may be for a moment only. True: the process
 * lives and may open it again; there is no EIO until it has ended. False: that was the end.
 */
bool process_keep_terminal(struct process *p);
int process_resize(struct process *p, uint16_t rows, uint16_t columns, struct err *e);
