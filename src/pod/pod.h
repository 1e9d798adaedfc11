/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod that lives: one VM with any number of containers, and in each any number of processes. It belongs to one
 * process, its owner (a containerd shim, or the process that `caisson create` leaves behind), and to that process's
 * loop.
 *
 * What a guest can hold up is answered from the loop, so that one container never stops what is done to another;
 * starting the VM and taking devices from it is waited for (see pod/agent.h). What happens by itself (exits, out of
 * memory, the VM's end) is told by pod_params.event, always from the loop. A process is named by its container
 * and its exec id; "" is the container's first process.
 *
 * Errors: -ENOENT no such container or process; -EEXIST the id is taken; -ESRCH it has ended ("process already
 * finished"); -EBUSY not in this state; else what the guest or the host said.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"
#include "config/config.h"
#include "hypervisor/driver.h"
#include "loop/loop.h"
#include "proto/agent.pb-c.h"

struct pod;
struct state_dir;

enum pod_status { POD_CREATED = 1, POD_RUNNING, POD_STOPPED, POD_PAUSED };

/* The end of a process. */
struct pod_exit {
	int status; /* exit code, or 128 + signal; 255 when the VM ended under it */
	struct timespec at;
	char reason[160]; /* why, when the VM ended under it; else "" */
};

enum pod_event_kind {
	POD_EVENT_CREATE,
	POD_EVENT_START,
	POD_EVENT_EXEC_ADDED,
	POD_EVENT_EXEC_STARTED,
	POD_EVENT_EXIT,
	POD_EVENT_OOM,
	POD_EVENT_PAUSED,
	POD_EVENT_RESUMED,
	POD_EVENT_DELETE,
};

struct pod_event {
	enum pod_event_kind kind;
	const char *container_id, *exec_id;
	pid_t pid;            /* of the stand-in */
	struct pod_exit exit; /* EXIT, DELETE */
};

struct pod_params {
	struct loop *loop;
	const char *id;         /* the sandbox: the id of its first container */
	const char *namespace;  /* containerd's; NULL: none */
	const char *state_root; /* ROOT/ID is made there (pod/state.h) */
	/* ROOT/ID where the owner has made it already; borrowed, outlives the pod. NULL: pod_new() makes it. */
	struct state_dir *state_dir;
	/* Borrowed, outlive the pod; annotations of the first container have been applied to it already. */
	const struct config *config;
	const struct hypervisor_driver *driver;
	int interrupt_fd; /* readable: give up starting; -1: none */
	/* Must not call pod_free(). NULL: nobody listens. */
	void (*event)(const struct pod_event *event, void *userdata);
	void *userdata;
};

/*
 * Nothing is started yet: the first container's create starts the VM, because its bundle says how large it is and in
 * which network namespace.
 */
int pod_new(const struct pod_params *params, struct pod **ret, struct err *e);
/* End the VM with all in it, undo everything on the host. NULL does nothing. */
void pod_free(struct pod *pod);
/*
 * After an owner that was killed: undo on the host what ROOT/ID tells of, as pod_free() would have. 0 also when there
 * is nothing; -EBUSY: the owner lives.
 */
int pod_cleanup(const char *state_root, const char *id, struct err *e);
const char *pod_id(const struct pod *pod);
/* Whether no container is left. */
bool pod_is_empty(const struct pod *pod);

/* Where a process's streams come from and go to. */
struct pod_io {
	/*
	 * NULL or "": none. A path: FIFO (containerd) or file. "file://PATH", "binary://PATH?args" as containerd's
	 * logging URIs. "fd:PID:N": descriptor N of process PID. See pod/io.h.
	 */
	const char *in, *out, *err;
	bool terminal;
	const char *console_socket; /* terminal: send the pty's master there (OCI), instead of in and out; NULL: no */
};

/* A mount that makes up a root file system, as containerd tells it. */
struct pod_mount {
	const char *type, *source, *target; /* target: below the root, "" usually */
	const char *const *options;
	size_t n_options;
};

struct pod_container_params {
	const char *id;
	const char *bundle;             /* holds config.json */
	const struct pod_mount *rootfs; /* to be mounted at BUNDLE/rootfs; none: the spec's root is there already */
	size_t n_rootfs;
	struct pod_io io;
	/*
	 * Of the first one: it is the pod and nothing else. It has a stand-in and holds the VM, but the guest has no
	 * container for it: no root, no process, no streams.
	 */
	bool sandbox_only;
	/* Connected socket of a stand-in that the caller made (pod/standin.h), taken over; -1: make one. */
	int standin_fd;
	pid_t standin_pid;
};

/*
 * result 0: pid is the stand-in's. Else a negative errno, and e says why. fn may call pod_free().
 */
typedef void (*pod_create_fn)(int result, pid_t pid, const struct err *e, void *userdata);
/*
 * The first one starts the VM, which is waited for here. fn runs once: before this returns, or, since the guest may
 * have to fetch or unpack much, from the loop later. Until then the container has its id, and no more can be done to
 * it (-EBUSY). A creation that fails leaves nothing.
 */
void pod_create(struct pod *pod, const struct pod_container_params *params, pod_create_fn fn, void *userdata);
/* process: of the OCI runtime spec; copied. The process is there only after pod_start(). standin_*: as above. */
int pod_exec(struct pod *pod, const char *id, const char *exec_id, const Grpc__Process *process,
	     const struct pod_io *io, int standin_fd, pid_t standin_pid, struct err *e);

/*
 * result 0: pid is the stand-in's. Else a negative errno, and e says why; an exec that was signalled meanwhile has then
 * ended, any other can only be deleted.
 */
typedef void (*pod_start_fn)(int result, pid_t pid, const struct err *e, void *userdata);
/*
 * fn runs once: before this returns, or, since a container can hold up its own processes and those of its pod, from the
 * loop later. Until then the process can be killed, but not deleted. pod_free() calls what is left.
 */
void pod_start(struct pod *pod, const char *id, const char *exec_id, pod_start_fn fn, void *userdata);
/*
 * From SIGKILL to the end of the process in the guest: much memory may have to be freed, on a busy machine. A guest
 * that takes longer is not believed any more: the process counts as ended, and for a container's first one the VM ends.
 */
#define POD_KILL_MS 30000
/*
 * How something ended that the guest was asked to do: 0 or a negative errno, and e says why. Runs once: before the
 * function returns that it was given to, or from the loop later; -ESRCH when the container is deleted meanwhile.
 */
typedef void (*pod_done_fn)(int result, const struct err *e, void *userdata);
/* all: every process of the container (exec_id "" only). SIGKILL: it ends within POD_KILL_MS, whatever the guest does.
 */
void pod_kill(struct pod *pod, const char *id, const char *exec_id, int signo, bool all, pod_done_fn fn,
	      void *userdata);
/* result 0: of whom pid was, and how it ended; *exit is valid in the callback. Else a negative errno, and e says why.
 */
typedef void (*pod_delete_fn)(int result, pid_t pid, const struct pod_exit *exit, const struct err *e, void *userdata);
/*
 * Only what has ended, or was never started; force: end it first. The last container's delete ends the VM. fn runs
 * once: before this returns, or, when the guest has a container to remove, from the loop later; meanwhile the container
 * is there, stopped. A guest that refuses or is silent keeps nothing: AGENT_TIMEOUT_MS after it was asked the container
 * is gone. -ESRCH: another delete was first. pod_free() calls what is left; fn must not call that.
 */
void pod_delete(struct pod *pod, const char *id, const char *exec_id, bool force, pod_delete_fn fn, void *userdata);

struct pod_process_state {
	const char *bundle;
	pid_t pid;
	enum pod_status status;
	struct pod_io io; /* borrowed */
	struct pod_exit exit;
};
int pod_state(struct pod *pod, const char *id, const char *exec_id, struct pod_process_state *ret, struct err *e);

typedef void (*pod_wait_fn)(const struct pod_exit *exit, void *userdata);
/* fn runs once, from the loop, also when it has ended already or is deleted; pod_free() calls what is left. */
int pod_wait(struct pod *pod, const char *id, const char *exec_id, pod_wait_fn fn, void *userdata, struct err *e);

/* Only one of them at a time: -EBUSY. */
void pod_pause(struct pod *pod, const char *id, pod_done_fn fn, void *userdata);
void pod_resume(struct pod *pod, const char *id, pod_done_fn fn, void *userdata);
int pod_resize_pty(struct pod *pod, const char *id, const char *exec_id, uint32_t width, uint32_t height,
		   struct err *e);
int pod_close_stdin(struct pod *pod, const char *id, const char *exec_id, struct err *e);
/*
 * Limits in the guest, of the VM (when it can be resized), and of the sandbox's cgroup. resources: taken over. One at a
 * time for each container: -EBUSY.
 */
void pod_update(struct pod *pod, const char *id, Grpc__LinuxResources *resources, pod_done_fn fn, void *userdata);
/* stats: of this call only; NULL when result is a negative errno, and e says why. */
typedef void (*pod_stats_fn)(int result, const Grpc__StatsContainerResponse *stats, const struct err *e,
			     void *userdata);
/*
 * The guest's own accounting of the container. It is asked for again and again: a guest that does not answer must hold
 * up nothing else. fn runs once, from the loop, when this returned 0; pod_free() and the VM's end call what is left.
 */
int pod_stats(struct pod *pod, const char *id, pod_stats_fn fn, void *userdata, struct err *e);
/* What the host accounts for all of the pod, its VM with it. -EOPNOTSUPP: it has no cgroup. */
struct host_cgroup_usage;
int pod_usage(const struct pod *pod, struct host_cgroup_usage *ret, struct err *e);
/* Host pids that stand for the container's processes: the stand-ins of those that live. Caller frees *ret. */
int pod_pids(struct pod *pod, const char *id, pid_t **ret, size_t *ret_n, struct err *e);
/* For listings and metrics: those that the guest has. */
int pod_containers(struct pod *pod, struct strv *ret, struct err *e);
struct vm *pod_vm(struct pod *pod);       /* NULL: not started */
struct agent *pod_agent(struct pod *pod); /* NULL: not started */
/* Where the guest has a direct-assigned volume, by its path or its device on the host; NULL: there is none such. */
const char *pod_direct_volume(const struct pod *pod, const char *volume);
/* The device of such a volume has grown: show that to the guest. -ENOENT; -ENOTSUP: this hypervisor cannot. */
int pod_resize_direct_volume(struct pod *pod, const char *volume, struct err *e);
