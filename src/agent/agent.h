/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the services of the agent share: the sandbox, its containers and their processes, and the requests that wait
 * for something. One thread, one loop; no function here blocks on the host or on a container.
 *
 *   main.c ── init.c (PID 1)            rpc_*.c: one file per theme of methods, listed in service.c
 *      └── agent.c ── service.c ── rpc_*.c ── container.h, storage.h, device.h, sys/
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "agent/cmdline.h"
#include "agent/container.h"
#include "agent/reaper.h"
#include "base/err.h"
#include "base/list.h"
#include "base/strv.h"
#include "codec/ttrpc.h"
#include "loop/loop.h"

/* Where Kata's hosts expect things in the guest: part of the protocol. */
#define AGENT_RUN_DIR     "/run/kata-containers"
#define AGENT_SHARE_DIR   AGENT_RUN_DIR "/shared/containers"
#define AGENT_SANDBOX_DIR AGENT_RUN_DIR "/sandbox"

#define AGENT_CONTAINERS_MAX 1024
#define AGENT_PROCESSES_MAX  1024 /* of one container */
#define AGENT_STORAGES_MAX   4096
#define AGENT_OOM_EVENTS_MAX 64

struct agent_container {
	struct list node;
	struct agent *agent;
	char *id, *bundle;
	struct container *c;
	bool creating; /* CreateContainer is not answered yet */
	bool removing; /* nor RemoveContainer */
	bool ending;   /* see agent_container_free() */
	struct list processes;
	size_t n_processes, n_starting; /* n_starting: execs that are not answered yet */
	struct strv storages;           /* mount points that it holds a reference to */
};

struct agent_process {
	struct list node;
	struct agent_container *container;
	struct process *process;
	char *exec_id;   /* "": init */
	struct list ops; /* reads, writes and waits that are not answered yet: struct stream_op */
	bool waited, out_ended, err_ended;
	struct loop_source *forget_timer;
};

struct agent {
	struct agent_config config;
	struct loop *loop;
	struct reaper *reaper;
	bool is_init; /* PID 1 of the guest */
	struct ttrpc_server *server;
	struct uevent_monitor *uevents;
	struct coldplug *coldplug; /* PID 1 only */
	struct log_stream *log_stream;
	struct debug_console *console;
	struct forward *forward;

	struct list containers;
	size_t n_containers;
	struct list storages; /* struct storage, see storage.c */
	size_t n_storages, n_watchables;
	bool watchables_mounted; /* a tmpfs for copies */

	struct list waiting; /* struct waiter: requests that wait for a device */
	struct loop_source *waiting_timer;

	char *oom_events[AGENT_OOM_EVENTS_MAX]; /* container ids nobody has fetched, oldest first */
	size_t n_oom_events;
	struct list oom_waiters;

	struct {
		bool created;
		int uts_ns_fd, ipc_ns_fd, pid_ns_fd; /* -1: none */
		pid_t pause_pid;                     /* PID 1 of pid_ns_fd; 0: that is the first container's */
		struct strv storages;
		char *guest_hooks;
		bool resolv_conf; /* bound over /etc/resolv.conf */
	} sandbox;

	struct {
		struct resolver *resolver;     /* NULL: the host has not asked for one */
		struct ttrpc_request *waiting; /* of the host, for the next query; NULL: none */
	} names;

	struct list iptables; /* struct iptables_job: requests whose program has not ended */

	uint64_t scrapes; /* of GetMetrics */
};

int agent_new(const struct agent_config *config, bool is_init, struct loop *loop, struct agent **ret, struct err *e);
void agent_free(struct agent *a);

/* The methods, for ttrpc_server_new(). */
extern const struct ttrpc_service agent_services[];
extern const size_t agent_n_services;

/* ---- containers and processes (agent.c) ---- */

/* Letters, digits, "_.-"; the first a letter or digit; at most 128. */
bool agent_id_valid(const char *id);
/* On failure the error says which. The protocol's strings may be NULL. */
int agent_find_container(struct agent *a, const char *id, struct agent_container **ret, struct err *e);
/* exec_id "" or the container's id: init. */
int agent_find_process(struct agent *a, const char *id, const char *exec_id, struct agent_process **ret, struct err *e);
int agent_process_new(struct agent_container *c, const char *exec_id, struct process *process,
		      struct agent_process **ret, struct err *e);
/* Its unanswered requests are ended. Does not touch the process itself. */
void agent_process_free(struct agent_process *p);
/* Before it is stopped: end the processes of others that are in its PID namespace. */
void agent_end_beside(struct agent_container *c);
/* Ends everything of it. NULL and one that is being freed do nothing, half-built ones are accepted. */
void agent_container_free(struct agent_container *c);
/* Drop an exec that has ended once its status and output were fetched. */
void agent_process_settle(struct agent_process *p);
/* rpc_stdio.c: end the unanswered requests of a process. */
void stream_ops_end(struct agent_process *p);

/* rpc_sandbox.c */
void sandbox_destroy(struct agent *a);
/* rpc_names.c: nothing more is answered, and nobody listens. */
void names_end(struct agent *a);
/* rpc_iptables.c: end the programs that run. */
void iptables_end(struct agent *a);
/* rpc_system.c */
void oom_event_add(struct agent *a, const char *container_id);
void oom_waiters_end(struct agent *a);

/* ---- answering (agent.c) ---- */

void rpc_done(struct ttrpc_request *req);
/* Log and answer with the code that fits the error. */
void rpc_fail(struct ttrpc_request *req, const struct err *e);
void rpc_result(struct ttrpc_request *req, int r, const struct err *e);

/*
 * Answer req as soon as a device that it needs is there. try: answers and returns true, or returns false because
 * something has not appeared yet; with `last` it must answer. It is called now, after each device event and now and
 * then; at most config.hotplug_timeout_ms.
 */
typedef bool (*agent_try_fn)(struct agent *a, struct ttrpc_request *req, bool last);
void agent_wait_device(struct agent *a, struct ttrpc_request *req, agent_try_fn fn);
