/* SPDX-License-Identifier: Apache-2.0 */
/* What the agent is told by the kernel command line (agent.*) and, in tests, by its own. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "sys/vsock.h"

struct agent_config {
	struct sock_addr address;
	enum log_level log_level;
	uint32_t log_port; /* 0: no log stream */
	bool debug_console;
	uint32_t debug_console_port; /* 0: on the kernel's console only, which we do not serve */
	uint32_t forward_port;       /* 0: none; see agent/forward.h */
	uint32_t hotplug_timeout_ms;
	uint32_t pipe_size;  /* 0: the kernel's default */
	uint64_t started_us; /* clock_us() at our start */
};

void agent_config_defaults(struct agent_config *c);

/*
 * Take the agent.* parameters of a kernel command line over, others are skipped. What is unknown or malformed is
 * logged and ignored: a guest that does not start tells nobody why.
 */
void agent_config_parse(struct agent_config *c, const char *cmdline);
