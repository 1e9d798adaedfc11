/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: the real agent program as a service on a Unix socket, in namespaces of its own (mount, network, UTS, IPC,
 * PID), so that what it does to "the guest" stays there. Needs root.
 *
 * With AGENT_HYBRID=SOCKET the agent is one in a virtual machine, behind a hybrid vsock socket ("CONNECT 1024").
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "codec/ttrpc.h"
#include "loop/loop.h"
#include "proto/agent.pb-c.h"
#include "proto/empty.pb-c.h"

#define VETH_HW "02:00:00:00:00:07"

struct harness {
	char dir[64]; /* scratch, at the same path inside */
	bool remote;  /* an agent in a virtual machine: its files cannot be looked at */
	pid_t pid;
	struct loop *loop;
	struct ttrpc_client *client;
	struct err e; /* of the last call */
};

/* read_only: everything but /run and the scratch folder. False: cannot run here (not root). */
bool harness_start(struct harness *h, bool read_only);
/* Ends the agent with SIGTERM; returns its wait status. */
int harness_stop(struct harness *h);

/* Call grpc.AgentService/method. 0 or a negative errno; *ret may be NULL. */
int harness_call(struct harness *h, const char *method, const ProtobufCMessage *request,
		 const ProtobufCMessageDescriptor *response, ProtobufCMessage **ret);
/* The same for methods that answer with nothing. */
int harness_do(struct harness *h, const char *method, const ProtobufCMessage *request);
/* A path as the agent sees it, through /proc; static buffer. */
const char *harness_path(const struct harness *h, const char *path);
