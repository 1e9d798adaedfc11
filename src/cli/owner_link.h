/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container as the OCI commands reach it: what is written down of it (cli/oci_record.h), and the Task service of its
 * pod's owner, if that lives. All calls wait, within limits.
 */
#pragma once

#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "cli/oci_record.h"
#include "codec/ttrpc.h"
#include "loop/loop.h"
#include "proto/task.pb-c.h"

/* In the sandbox's state directory. */
#define OWNER_SOCKET    "owner.sock"
#define STANDIN_SOCKET  "standin.sock"
#define OWNER_LOG       "owner.log"
#define TASK_SERVICE_V2 "containerd.task.v2.Task"

/* An owner answers at once, unless it waits for its guest. */
#define OWNER_TIMEOUT_MS 90000
/* Starting a virtual machine, under emulation, on a busy host. */
#define OWNER_CREATE_TIMEOUT_MS 600000

struct owner_link {
	struct oci_record record;
	struct loop *loop;
	struct ttrpc_client *client; /* NULL: the owner is dead */
};

/* Zero-initialise l; owner_link_close() in any case. -ENOENT "container does not exist". */
int owner_link_open(struct owner_link *l, const char *root, const char *id, struct err *e);
/* The client alone, for a container that is not there yet. -ECONNREFUSED or -ENOENT: nobody serves that sandbox. */
int owner_link_connect(struct owner_link *l, const char *root, const char *sandbox, struct err *e);
void owner_link_close(struct owner_link *l);
#define _cleanup_owner_link_ __attribute__((cleanup(owner_link_close)))

/*
 * Call a method of the Task service. *ret: as of ttrpc_call(), NULL if not wanted. -ESRCH when the owner is dead. The
 * error is the owner's own.
 */
int owner_call(struct owner_link *l, const char *method, const ProtobufCMessage *request,
	       const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret, struct err *e);

enum oci_status { OCI_CREATING, OCI_CREATED, OCI_RUNNING, OCI_PAUSED, OCI_STOPPED };
/* As the OCI runtime spec and runc write it. */
const char *oci_status_name(enum oci_status s);

struct owner_state {
	enum oci_status status;
	pid_t pid; /* of the stand-in; 0: it has ended */
	int exit_status;
};

/* Of the container's first process. A container whose owner is dead is stopped. */
int owner_state(struct owner_link *l, struct owner_state *ret, struct err *e);
int owner_kill(struct owner_link *l, int signo, bool all, struct err *e);
/* Wait for the end of the container's first process, at most so long: -ETIMEDOUT. */
int owner_wait(struct owner_link *l, int timeout_ms, struct err *e);
