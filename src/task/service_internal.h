/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the Task service share. */
#pragma once

#include "base/list.h"
#include "codec/ttrpc.h"
#include "task/service.h"

/* A process that Exec made and Start started, for the answer to Pids. */
struct exec_note {
	struct list node;
	char *id, *exec_id;
	pid_t pid;
};

/* A container's Create or Delete that is not answered yet, and what waits for it. */
struct change {
	struct list node;
	struct task_service *service;
	struct ttrpc_request *req;
	const char *id; /* in the request */
	bool deletes;
	bool unwanted; /* a creation whose client has gone, and does not come back */
	struct list parked;
};

struct task_service {
	struct task_service_params params;
	struct ttrpc_server *server;
	struct pod *pod;
	struct list execs, changes;
	struct loop_source *shutdown; /* calls params.shutdown() from the loop */
	/* The pod's own, when it was made by the Sandbox service (service_sandbox.c). */
	struct {
		char *id, *bundle; /* NULL: there is none */
		struct timespec created;
		pid_t pid;            /* 0: not started */
		struct pod_exit exit; /* at.tv_sec 0: it has not ended */
	} sandbox;
};

/* ---- answers (answer.c) ---- */

void answer_empty(struct ttrpc_request *req);
/* For a negative errno of pod.h, but for -ENOENT (see answer_find()); e may be empty. */
void answer_error(struct ttrpc_request *req, int r, const struct err *e);
/* pod_done_fn: userdata is the request, which is answered by an empty message or the error. */
void answer_done(int result, const struct err *e, void *userdata);
/*
 * Look the process up. NULL exec_id: the container's first one. False: it is not there, and the request has been
 * answered; or its container is being created, and the handler will be called again after that. So what says -ENOENT
 * later on is not "no such process".
 */
bool answer_find(struct task_service *s, struct ttrpc_request *req, const char *id, const char *exec_id,
		 struct pod_process_state *ret);
/* ret is for one use in a message; at: 0 gives NULL, which means "not yet". */
Google__Protobuf__Timestamp *answer_time(const struct timespec *at, Google__Protobuf__Timestamp *ret);

/* ---- events (service_events.c) ---- */

void service_on_pod_event(const struct pod_event *event, void *userdata);
void service_tell_create(struct task_service *s, const Containerd__Task__V2__CreateTaskRequest *request, pid_t pid);
void service_tell_start(struct task_service *s, const char *id, const char *exec_id, pid_t pid);
void service_tell_delete(struct task_service *s, const char *id, pid_t pid, const struct pod_exit *exit);
void service_tell_exec_added(struct task_service *s, const char *id, const char *exec_id);
void service_tell_paused(struct task_service *s, const char *id);
void service_tell_resumed(struct task_service *s, const char *id);

/* ---- handlers ---- */

#define HANDLER(name) void name(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)

/* service_process.c: what begins and ends processes */
HANDLER(handle_create);
HANDLER(handle_start);
HANDLER(handle_exec);
HANDLER(handle_kill);
HANDLER(handle_delete);
HANDLER(handle_wait);
/* service_look.c: what only looks */
HANDLER(handle_state);
HANDLER(handle_pids);
HANDLER(handle_stats);
HANDLER(handle_connect);
/* service_control.c: the rest */
HANDLER(handle_pause);
HANDLER(handle_resume);
HANDLER(handle_resize_pty);
HANDLER(handle_close_io);
HANDLER(handle_update);
HANDLER(handle_checkpoint);
HANDLER(handle_shutdown);

/* Whether the request waits for the creation of this container now, or for its deletion. */
bool service_park(struct task_service *s, struct ttrpc_request *req, const char *id);
bool service_park_behind_delete(struct task_service *s, struct ttrpc_request *req, const char *id);

/* service_sandbox.c: containerd.runtime.sandbox.v1.Sandbox */
HANDLER(handle_create_sandbox);
HANDLER(handle_start_sandbox);
HANDLER(handle_platform);
HANDLER(handle_stop_sandbox);
HANDLER(handle_wait_sandbox);
HANDLER(handle_sandbox_status);
HANDLER(handle_ping_sandbox);
HANDLER(handle_sandbox_metrics);
HANDLER(handle_shutdown_sandbox);

/* False also when there is no such sandbox. */
bool service_sandbox_runs(const struct task_service *s);
void service_sandbox_fini(struct task_service *s);

void exec_note_add(struct task_service *s, const char *id, const char *exec_id, pid_t pid);
/* exec_id NULL: all of the container. */
void exec_note_remove(struct task_service *s, const char *id, const char *exec_id);
