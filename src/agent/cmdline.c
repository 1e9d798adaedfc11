// SPDX-License-Identifier: Apache-2.0
#include "agent/cmdline.h"

#include <errno.h>
#include <string.h>

#include "base/strv.h"
#include "codec/forward.h"

void agent_config_defaults(struct agent_config *c)
{
	*c = (struct agent_config){
		.address = { .kind = SOCK_ADDR_VSOCK, .cid = VSOCK_CID_ANY, .port = 1024 },
		.log_level = LOG_LEVEL_WARN,
		.forward_port = FORWARD_VSOCK_PORT,
		.hotplug_timeout_ms = 3000,
	};
}

static int parse_u32(const char *text, uint32_t *ret)
{
	uint64_t v;
	int r = str_to_u64(text, 10, &v);

	if (r < 0)
		return r;
	if (v > UINT32_MAX)
		return -ERANGE;
	*ret = (uint32_t)v;
	return 0;
}

/* "3" and Kata's "3s". */
static int parse_seconds(const char *value, uint32_t *ret_ms)
{
	char number[16];
	size_t n = strlen(value);
	uint32_t s;

	if (n > 0 && value[n - 1] == 's')
		n--;
	if (n == 0 || n >= sizeof number)
		return -EINVAL;
	memcpy(number, value, n);
	number[n] = '\0';
	if (parse_u32(number, &s) < 0 || s > 3600)
		return -EINVAL;
	*ret_ms = s * 1000;
	return 0;
}

/* Parameters of Kata's agent that need nothing from ours. */
static bool is_harmless(const char *name)
{
	static const char *const names[] = {
		"trace",
		"launch_process_timeout",
		"cdh_api_timeout",
		"unified_cgroup_hierarchy",
		"devmode",
		"visible_cdi_devices",
		"cdi_timeout",
		"guest_components_rest_api",
		"guest_components_procs",
		"image_registry_auth",
		"https_proxy",
		"no_proxy",
		"secure_storage_integrity",
		"passfd_listener_port",
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (!strcmp(name, names[i]))
			return true;
	return str_after(name, "mem_agent_") != NULL;
}

static bool parse_bool(const char *value)
{
	return *value == '\0' || !strcmp(value, "true") || !strcmp(value, "1");
}

static void parse_parameter(struct agent_config *c, char *name)
{
	char *value = strchr(name, '=');
	int r = 0;

	if (value)
		*value++ = '\0';
	else
		value = name + strlen(name);
	if (!strcmp(name, "log"))
		r = log_level_parse(value, &c->log_level);
	else if (!strcmp(name, "log_vport"))
		r = parse_u32(value, &c->log_port);
	else if (!strcmp(name, "debug_console"))
		c->debug_console = parse_bool(value);
	else if (!strcmp(name, "debug_console_vport"))
		r = parse_u32(value, &c->debug_console_port);
	else if (!strcmp(name, "server_addr"))
		r = sock_addr_parse(value, &c->address, NULL);
	else if (!strcmp(name, "hotplug_timeout"))
		r = parse_seconds(value, &c->hotplug_timeout_ms);
	else if (!strcmp(name, "container_pipe_size"))
		r = parse_u32(value, &c->pipe_size);
	else if (is_harmless(name))
		log_debug("kernel parameter agent.%s has no effect on this agent", name);
	else
		log_warn("unknown kernel parameter agent.%s is ignored", name);
	if (r < 0)
		log_warn("kernel parameter agent.%s=%s cannot be understood and is ignored", name, value);
}

void agent_config_parse(struct agent_config *c, const char *cmdline)
{
	char word[256];

	while (*cmdline) {
		size_t n = strcspn(cmdline, " \t\n");

		/* Longer words exist (dm-mod.create=…), but not among ours. */
		if (n > strlen("agent.") && n < sizeof word && str_after(cmdline, "agent.")) {
			memcpy(word, cmdline, n);
			word[n] = '\0';
			parse_parameter(c, word + strlen("agent."));
		}
		cmdline += n;
		cmdline += strspn(cmdline, " \t\n");
	}
	/* A debug console without a port is on the usual one. */
	if (c->debug_console && c->debug_console_port == 0)
		c->debug_console_port = 1026;
}
