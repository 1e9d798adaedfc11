// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <cmocka.h>

#include "agent/cmdline.h"

static void test_defaults(void **state)
{
	struct agent_config c;

	(void)state;
	agent_config_defaults(&c);
	agent_config_parse(&c, "reboot=k panic=1 quiet agentx.log=debug xagent.log=debug agent.\n");
	assert_int_equal(c.address.kind, SOCK_ADDR_VSOCK);
	assert_int_equal(c.address.cid, UINT32_MAX);
	assert_int_equal(c.address.port, 1024);
	assert_int_equal(c.log_level, LOG_LEVEL_WARN);
	assert_int_equal(c.log_port, 0);
	assert_false(c.debug_console);
	assert_int_equal(c.hotplug_timeout_ms, 3000);
}

static void test_kata_parameters(void **state)
{
	struct agent_config c;

	(void)state;
	agent_config_defaults(&c);
	agent_config_parse(&c, "agent.log=debug agent.log_vport=1025  agent.debug_console agent.hotplug_timeout=10 "
			       "agent.container_pipe_size=65536 agent.server_addr=unix:///run/a.sock foo\n");
	assert_int_equal(c.log_level, LOG_LEVEL_DEBUG);
	assert_int_equal(c.log_port, 1025);
	assert_true(c.debug_console);
	assert_int_equal(c.debug_console_port, 1026);
	assert_int_equal(c.hotplug_timeout_ms, 10000);
	assert_int_equal(c.pipe_size, 65536);
	assert_string_equal(c.address.path, "/run/a.sock");
}

static void test_malformed_is_ignored(void **state)
{
	struct agent_config c;
	char text[4096];

	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	agent_config_defaults(&c);
	agent_config_parse(&c, "agent.log=loud agent.log_vport=99999999999 agent.hotplug_timeout=s agent.what=1 "
			       "agent.server_addr=tcp://1:2 agent.debug_console=false");
	assert_int_equal(c.log_level, LOG_LEVEL_WARN);
	assert_int_equal(c.log_port, 0);
	assert_int_equal(c.hotplug_timeout_ms, 3000);
	assert_int_equal(c.address.port, 1024);
	assert_false(c.debug_console);
	memset(text, 'a', sizeof text - 1);
	text[sizeof text - 1] = '\0';
	memcpy(text, "agent.log=", 10);
	agent_config_parse(&c, text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_kata_parameters),
		cmocka_unit_test(test_malformed_is_ignored),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
