/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent_*.c files share: the connection, and how an error names its call. */
#pragma once

#include "codec/ttrpc.h"
#include "pod/agent.h"

#define AGENT_SERVICE  "grpc.AgentService"
#define HEALTH_SERVICE "grpc.Health"
#define NAMES_SERVICE  "caisson.Names" /* which agents of others do not have */

struct agent {
	struct ttrpc_client *client;
	unsigned create_container_ms;
};

/* Put "guest agent: METHOD SUBJECT" in front. subject: container, path or "". Returns -e->code, or r without e. */
int agent_wrap(struct err *e, int r, const char *method, const char *subject);
