/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a pod share. See pod.h. */
#pragma once

#include "base/list.h"
#include "pod/forward.h"
#include "pod/host_cgroup.h"
#include "pod/io.h"
#include "pod/monitor.h"
#include "pod/network.h"
#include "pod/nics_watch.h"
#include "pod/pod.h"
#include "pod/pod_role.h"
#include "pod/resolver.h"
#include "pod/sandbox.h"
#include "pod/share_follow.h"
#include "pod/sizing.h"
#include "pod/state.h"
#include "pod/volume_watch.h"

/* CPUs and memory nodes of the host, see pod_cpuset.c. Empty: nothing was said. */
struct pod_cpuset {
	struct cpu_list cpus, mems;
};

struct pod {
	struct loop *loop;
	struct pod_params params; /* strings: ours */
	struct state_dir *state;
	struct pod_state record;
	char *run_dir; /* sockets and logs of the VM: the state directory, or a short-named one where that is too long
			*/
	bool own_mounts;
	int mounts_fd; /* the mount namespace that the pod was made in: its engine's, for a shim; -1: it is not known */
	struct pod_monitor *monitor; /* NULL: it could not be started */
	/* ---- the host's side of the sandbox (pod_host.c) ---- */
	enum pod_role role; /* of the first container */
	struct strv origin; /* of the container with the pod's id: see pod_check_origin(); empty: none came yet */
	int netns_fd;       /* keeps the network namespace; -1: the host's own */
	char *netns;        /* a path to it; NULL */
	struct host_cgroup *cgroup;
	Grpc__LinuxMemory *memory_limit; /* that it was given last; NULL: none */
	struct pod_cpuset cpuset;        /* of cgroup, as it was set */
	bool pinned;                     /* each vCPU's thread to a CPU of that */
	struct pod_network *network;
	struct sizing size;                  /* that the VM began with */
	struct sizing_now now;               /* that it has */
	struct sizing_now online;            /* of that, what its guest uses as far as we know */
	bool cpus_doubtful, memory_doubtful; /* a resize failed: it may have more or less */
	/* ---- the VM ---- */
	struct plan *plan;
	struct sandbox *sandbox;
	struct volume_watch *volumes; /* NULL: none is copied */
	struct share_follow *follow;  /* NULL: no volume's mounts follow the host's */
	struct resolver *resolver;    /* NULL: in the host's network */
	struct pod_forward *forward;  /* NULL: none; see forward_ports() */
	struct loop_source *end;
	struct agent_call *oom; /* NULL: not asked */
	struct loop_source *oom_pause;
	uint64_t oom_since_ms; /* the first of oom_burst answers */
	unsigned oom_burst;
	bool lost; /* the VM has ended by itself, or its agent is not to be talked to any more */
	char reason[160];
	struct list containers;
	/* Answers to pod_wait() that are due, and the timer that gives them. */
	struct list due;
	struct loop_source *due_timer;
};

struct pod_container {
	struct list node;
	struct pod *pod;
	char *id, *bundle, *rootfs; /* rootfs: what the guest gets as root: a folder or a disk */
	Grpc__Spec *spec;           /* as the client wrote it: hooks, annotations */
	struct plan_container *plan;
	struct sizing_demand demand;
	struct pod_cpuset cpuset;
	/* Whose IPC and UTS namespaces it is in, an id: its own, another one's, or the sandbox's (NULL). */
	char *ipc_of, *uts_of;
	size_t n_mounts;            /* on BUNDLE/rootfs */
	struct strv overlays;       /* places: see pod/overlays.h */
	struct strv client_mounts;  /* see pod/client_mounts.h */
	struct host_cgroup *cgroup; /* of a later container: where its stand-ins are; the first one's is the pod's */
	struct {
		/* The guest has not answered yet: first that there is room for it, then that it is there. */
		struct agent_call *call;
		struct sandbox_creation *creation;
		pod_create_fn fn; /* NULL: it has been created */
		void *userdata;
	} create;
	bool in_guest, paused;
	bool pausing; /* or resuming */
	bool updating;
	struct list asks;        /* pod_ask */
	struct pod_ask *removal; /* the first delete's, while the guest removes it; NULL: none */
	bool sandbox_only;       /* see pod_container_params */
	bool brought_vm;         /* it came first, or is that one come again: the pod's cgroup is for its limits */
	bool hooked;             /* hooks of its creation have run */
	struct list processes;   /* the first one is the container's own */
};

struct pod_process {
	struct list node;
	struct pod_container *container;
	char *exec_id;
	Grpc__Process *spec; /* of an exec until it is started */
	struct pod_io io;    /* strings: ours */
	struct pod_streams *streams;
	bool tried; /* to be started: of what that left nothing can be begun again */
	struct {
		struct agent_call *call; /* the guest has not answered yet */
		bool looks;              /* at the network, before that */
		struct nics_look look;
		pod_start_fn fn; /* NULL: answered */
		void *userdata;
		int signo; /* it was sent meanwhile; 0: none */
	} start;
	uint32_t columns, rows; /* of its terminal, told before it was started; 0: not */
	bool pumping;           /* streams are being moved */
	bool answered;          /* the guest has told the status; what is missing is output */
	pid_t standin_pid;
	bool standin_ours; /* a child of this process that is not reaped yet */
	int standin_fd;
	struct loop_source *standin;
	enum pod_status status;
	struct pod_exit exit;
	struct agent_call *wait;
	struct loop_source *drain;
	struct loop_source *deadline; /* SIGKILL was sent */
	struct list waiters;
};

/* Something that a guest was asked to do to a container, while somebody waits for the answer. */
struct pod_ask {
	struct list node; /* in pod_container.asks */
	struct pod_container *container;
	struct agent_call *call;
	pod_done_fn fn;
	void *userdata;
	/* Of one kind each: */
	int signo;
	bool pause;
	struct sizing_demand before;
	struct pod_cpuset cpuset_before;
	Grpc__LinuxResources *resources;
};

/* ---- pod.c ---- */

struct pod_container *pod_find(struct pod *pod, const char *id, struct err *e);
struct pod_process *pod_find_process(struct pod *pod, const char *id, const char *exec_id, struct err *e);
struct pod_process *pod_init_process(const struct pod_container *c);
void pod_emit(struct pod *pod, enum pod_event_kind kind, const struct pod_process *p);
/* What clean-up needs, and what listings show. */
int pod_write_state(struct pod *pod, struct err *e);
/* The same after something that cannot be undone: a failure (a full /run) is told, and changes nothing. */
void pod_note_state(struct pod *pod);
/* A call to the guest failed: when the VM's end is the reason, e says so. Returns -e->code. */
int pod_explain(struct pod *pod, int r, struct err *e);
/* -EBUSY with the reason when the guest is not to be talked to. */
int pod_check_guest(const struct pod *pod, struct err *e);

/* ---- pod_rootfs.c ---- */

/* Decide what the guest gets as root, and mount what must be mounted for it. */
int pod_make_rootfs(struct pod_container *c, const struct pod_container_params *params, bool *ret_writable,
		    struct err *e);
/* The overlays among its mounts. */
int pod_make_overlays(struct pod_container *c, struct err *e);
/*
 * What the client of a later container mounted for it, we do not see by ourselves. Its /proc is its own, must not come
 * to lie over ours, and is not shared with the guest either.
 */
int pod_fetch_client_mounts(struct pod_container *c, const struct pod_container_params *params, struct err *e);
/* The spec that is planned with. */
int pod_container_spec(const struct pod_container *c, Grpc__Spec **ret, struct err *e);
/* Its clients see its root below the stand-in's /proc/PID/root. */
void pod_show_root(const struct pod_container *c);

/* ---- pod_hooks.c ---- */

/* Before the network is looked at: docker's comes by one of these. */
int pod_run_create_hooks(struct pod_container *c, struct err *e);
/* It runs: the hooks for that. One that fails is the container's end, which the caller sees to. */
int pod_container_started(struct pod_container *c, struct err *e);
void pod_run_poststop_hooks(const struct pod_container *c);

/* ---- pod_host.c: each has its undo in pod_host_stop() ---- */

/* Mounts of ours are nobody else's. */
int pod_enter_mount_namespace(struct pod *pod, struct err *e);
/* The network namespace that the spec asks for. A new one is that of the stand-in (pid). */
int pod_open_netns(struct pod *pod, const Grpc__Spec *spec, pid_t pid, struct err *e);
int pod_make_cgroup(struct pod *pod, struct pod_container *c, struct err *e);
/* resources: of the container that is the whole pod, or of the pod's first; may be NULL. */
int pod_limit_cgroup(struct pod *pod, const Grpc__LinuxResources *resources, struct err *e);
/* The VM has grown: so does the limit that it was given with its first container, which is not all the VM's any more.
 */
int pod_follow_memory(struct pod *pod, struct err *e);
/* What sizing_*() are asked, but for the demand. */
void pod_sizing_request(const struct pod *pod, struct sizing_request *ret);
/* Decide pod->size, for the first container. */
int pod_size_vm(struct pod *pod, const struct pod_container *c, struct err *e);
int pod_attach_network(struct pod *pod, struct err *e);
/* The VM with its agent, planned for the first container. */
int pod_start_vm(struct pod *pod, struct pod_container *c, bool rootfs_writable, struct err *e);
/* End the VM and undo what is above, in any half-done state. */
void pod_host_stop(struct pod *pod);

/* ---- pod_cpuset.c ---- */

/* Of a spec, or of an update, in which "" changes nothing. -EINVAL: no such list, and *ret is as it was. */
int pod_read_cpuset(const Grpc__LinuxResources *resources, struct pod_cpuset *ret, struct err *e);
/* A container is there, or has another cpuset: the pod's cgroup gets what follows from that. -EINVAL: it cannot have
 * any of it. On failure nothing has changed. */
int pod_apply_cpuset(struct pod_container *c, struct err *e);
/* A container is not there any more, or has what it had. */
void pod_follow_cpuset(struct pod *pod);
/* The CPUs of the cgroup are others, or those of the VM. */
void pod_pin_vcpus(struct pod *pod);

/* ---- pod_resize.c ---- */

/*
 * Give the VM what its containers may use now. Nothing where it is sized before it starts. 1: fn is told from the loop
 * when the guest has taken it into use; 0: there is nothing to wait for.
 */
int pod_grow(struct pod *pod, agent_done_fn fn, void *userdata, struct agent_call **ret, struct err *e);
/* The same when they may use less: a failure is told, and changes nothing. */
void pod_shrink(struct pod *pod);
/* The guest has failed to: the next one asks it again. */
void pod_not_grown(struct pod *pod);
/* Tell of a container that may use more memory than its VM has, which was sized for another one. */
void pod_warn_of_size(const struct pod_container *c);

/* ---- pod_container.c ---- */

/* Forget it: nothing of it may be in the guest any more. */
void pod_container_free(struct pod_container *c);
/* End it wherever it is, and free it. */
void pod_container_end(struct pod_container *c);

/* ---- pod_create.c ---- */

/* -EBUSY: it is being created. */
int pod_check_created(const struct pod_container *c, struct err *e);
/* Its pod ends while it is being created. */
void pod_give_up_create(struct pod_container *c);

/*
 * pod_sharing.c, for a later container: what it shares with the others. *ret: for its plan, with strings of the
 * container's; none is set: what the pod's containers share. -ENOTSUP: that cannot be.
 */
struct pod_sharing {
	bool any;
	struct plan_sharing plan;
	char *pid, *ipc, *uts;
};
/* A container with the pod's id: is it the one that the pod began with? -EEXIST: another one, whose id is the same. */
int pod_check_origin(struct pod_container *c, const struct pod_container_params *params, bool first, struct err *e);
int pod_find_sharing(struct pod_container *c, struct pod_sharing *ret, struct err *e);
void pod_sharing_fini(struct pod_sharing *s);

/* ---- pod_ask.c ---- */

/* NULL: there was no memory, and fn has been told. */
struct pod_ask *pod_ask_new(struct pod_container *c, pod_done_fn fn, void *userdata);
/* Answer, and forget it. */
void pod_ask_done(struct pod_ask *ask, int result, const struct err *e);
/* It counts as ended, whatever its guest says: whoever has sent SIGKILL has what he wants. */
void pod_ask_killed(struct pod_container *c);
/* The container goes: answer whoever waits. */
void pod_ask_give_up(struct pod_container *c);

/* ---- pod_process.c ---- */

/*
 * Its streams are open, its stand-in lives; nothing of it is in the guest. netns, new_netns: for a stand-in made here.
 */
struct pod_process_params {
	const char *exec_id;
	const struct pod_io *io;
	int standin_fd; /* taken over in any case; -1: make one */
	pid_t standin_pid;
	const char *netns;
	bool new_netns;
	const char *name;
	char *const *args;
	size_t n_args;
};
int pod_process_new(struct pod_container *c, const struct pod_process_params *params, struct pod_process **ret,
		    struct err *e);
/* From now on what others do to its stand-in counts. */
int pod_process_listen(struct pod_process *p, struct err *e);
/* It must have ended, or never begun. */
void pod_process_free(struct pod_process *p);
/*
 * Its stand-in ends with its status. One that is a child of ours is gone when this returns, pid and all, unless it
 * hangs: clients that are told of the end look for it.
 */
void pod_process_end_standin(struct pod_process *p);

/* Whether it is being started, and a start that is not answered fails now. */
bool pod_process_is_starting(const struct pod_process *p);
void pod_process_fail_start(struct pod_process *p, const struct err *e);

/* ---- pod_exit.c ---- */

/* Its start was answered, or failed: it may have ended meanwhile. */
void pod_process_check_ended(struct pod_process *p);
/* Ask the guest for the end of a process that is there. */
int pod_process_watch(struct pod_process *p, struct err *e);
/* pod_streams_params.done */
void pod_process_output_done(int result, const struct err *e, void *userdata);
/* SIGKILL was sent to it: it ends in time, or without its guest. Nothing when it has ended, or never begun. */
void pod_process_must_end(struct pod_process *p);
/* The guest does not end it. */
void pod_process_give_up(struct pod_process *p);
/*
 * A signal for a process of which only output is missing: when that waits for a client that does not read, it is given
 * up, as such a signal would have ended a process that cannot write. False: it is another process.
 */
bool pod_process_give_up_output(struct pod_process *p, int signo);
/* It has ended: tell everybody. Nothing when it had before. */
void pod_process_ended(struct pod_process *p, int status, const char *reason);
/* From now on the VM's end, and out of memory, are noticed. */
int pod_watch_vm(struct pod *pod, struct err *e);
void pod_unwatch_vm(struct pod *pod);
/* Give the answers that are due now. */
void pod_flush_due(struct pod *pod);
