/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent is told by the kernel command line (agent.*) and, in tests, by its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"

enum agent_transport { AGENT_VSOCK, AGENT_UNIX };

struct agent_address {
	enum agent_transport transport;
	uint32_t cid, port; /* vsock; cid UINT32_MAX: any */
	char path[108];     /* unix */
};

struct agent_config {
	struct agent_address address;
	enum log_level log_level;
	uint32_t log_port; /* 0: no log stream */
	bool debug_console;
	uint32_t debug_console_port; /* 0: on the kernel's console only, which we do not serve */
	uint32_t hotplug_timeout_ms;
	uint32_t pipe_size; /* 0: the kernel's default */
};

void agent_config_defaults(struct agent_config *c);

/* "vsock://-1:1024", "vsock://3:1024" or "unix:///path". 0 or -EINVAL. */
int agent_address_parse(const char *text, struct agent_address *ret);

/*
 * Take the agent.* parameters of a kernel command line over, others are skipped. What is unknown or malformed is
 * logged and ignored: a guest that does not start tells nobody why.
 */
void agent_config_parse(struct agent_config *c, const char *cmdline);
