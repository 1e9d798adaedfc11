/* SPDX-License-Identifier: Apache-2.0 */
/*
 * containerd.task.v2.Task over a pod (pod/pod.h): what containerd calls a shim for, and what the runtime's own verbs
 * call the process for that owns their pod. Answers, error codes and error texts are those of containerd's runc shim,
 * since its clients look into them ("not found", "process already finished").
 *
 * Requests are worked off on the loop in the order in which they come. What the guest has to do is answered later, and
 * others are served meanwhile; but for those that concern a container that is being created: they wait for that.
 */
#pragma once

#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "loop/loop.h"
#include "pod/pod.h"
#include "proto/task.pb-c.h"
#include "task/publisher.h"

/*
 * Where a Create or Exec with a terminal names its streams so, the pty's master is sent to the socket at the path
 * behind it (OCI's --console-socket), in place of a FIFO pair. Only our own verbs do.
 */
#define TASK_CONSOLE_SOCKET "console:"

struct task_service;

struct task_service_params {
	struct loop *loop;
	int listen_fd;            /* taken over, also on failure */
	struct publisher *events; /* borrowed; NULL: nobody listens */
	bool sandboxes;           /* serve containerd.runtime.sandbox.v1.Sandbox, too */
	/*
	 * Make the pod: asked for with the first Create. event, event_userdata: for pod_params. The service takes the
	 * pod over; what it borrows has to outlive the service.
	 */
	int (*make_pod)(const Containerd__Task__V2__CreateTaskRequest *request,
			void (*event)(const struct pod_event *event, void *userdata), void *event_userdata,
			struct pod **ret, struct err *e, void *userdata);
	/*
	 * The stand-in that waits for this process, made by somebody else (pod/standin.h): its socket and pid, handed
	 * over. Left alone: there is none. NULL: never.
	 */
	void (*take_standin)(const char *id, const char *exec_id, int *ret_fd, pid_t *ret_pid, void *userdata);
	/*
	 * A container whose Create cannot be answered, for its client has gone, is deleted as soon as it is there: such
	 * clients do not come back (containerd does).
	 */
	bool undo_unanswered;
	/* A container has been deleted, or did not come to be; the answer goes out after this. NULL: nobody asks. */
	void (*deleted)(const char *id, void *userdata);
	/* Shutdown was asked for and answered, and nothing is left (or it was to be at once): end, from the loop. */
	void (*shutdown)(void *userdata);
	void *userdata;
};

int task_service_new(const struct task_service_params *params, struct task_service **ret, struct err *e);
/* Ends the pod with all in it; whoever waits gets an answer. NULL does nothing. */
void task_service_free(struct task_service *s);
DEFINE_CLEANUP(struct task_service *, task_service_free)
/* NULL before the first Create. */
struct pod *task_service_pod(const struct task_service *s);
