// SPDX-License-Identifier: Apache-2.0
/*
 * caisson-agent: Kata's agent protocol inside the guest. As PID 1 it sets the guest up and never ends; otherwise it is
 * a service of a larger system, which has done that already.
 */
#include <errno.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent.h"
#include "agent/init.h"
#include "agent/modprobe.h"
#include "base/fd.h"
#include "base/log.h"

#define VSOCK_WAIT_MS 30000 /* for a transport whose module something else loads */

static void usage(FILE *out)
{
	fputs("usage: caisson-agent [--server-addr vsock://CID:PORT|unix://PATH] [--no-init] [--log LEVEL]\n"
	      "                     [--log-fd FD] [--log-port PORT] [--debug-console] [--version]\n",
	      out);
}

/* Returns an exit status, or -1 to go on. */
static int parse_arguments(int argc, char **argv, struct agent_config *config, int *log_fd)
{
	static const struct option options[] = {
		{ "server-addr", required_argument, NULL, 'a' },
		{ "no-init", no_argument, NULL, 'n' },
		{ "log", required_argument, NULL, 'l' },
		{ "log-fd", required_argument, NULL, 'f' },
		{ "log-port", required_argument, NULL, 'p' },
		{ "debug-console", no_argument, NULL, 'd' },
		{ "version", no_argument, NULL, 'V' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	struct err e = { 0 };
	uint64_t v;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) >= 0) {
		if (c == 'a' && sock_addr_parse(optarg, &config->address, &e) < 0) {
			fprintf(stderr, "caisson-agent: %s\n", e.text);
			return 2;
		} else if (c == 'l' && log_level_parse(optarg, &config->log_level) < 0) {
			fprintf(stderr, "caisson-agent: \"%s\" is not a log level\n", optarg);
			return 2;
		} else if (c == 'f' || c == 'p') {
			if (str_to_u64(optarg, 10, &v) < 0 || v > INT32_MAX) {
				fprintf(stderr, "caisson-agent: \"%s\" is not a number\n", optarg);
				return 2;
			}
			if (c == 'f')
				*log_fd = (int)v;
			else
				config->log_port = (uint32_t)v;
		} else if (c == 'd') {
			config->debug_console = true;
			config->debug_console_port = 1026;
		} else if (c == 'V') {
			puts("caisson-agent " CAISSON_VERSION);
			return 0;
		} else if (c == 'h' || c == '?') {
			usage(c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	return -1;
}

static void on_terminate(struct loop_source *s, int signo, void *userdata)
{
	(void)signo;
	(void)userdata;
	loop_quit(loop_source_loop(s), 0);
}

static bool is_missing_transport(const struct err *e)
{
	return e->code == EAFNOSUPPORT || e->code == ENODEV || e->code == EADDRNOTAVAIL;
}

static int start(const struct agent_config *config, bool is_init, struct loop *loop, struct agent **ret, struct err *e)
{
	uint64_t deadline = clock_ms() + VSOCK_WAIT_MS;
	int r;

	for (;;) {
		*e = (struct err){ 0 };
		r = agent_new(config, is_init, loop, ret, e);
		if (r == 0 || config->address.kind != SOCK_ADDR_VSOCK || !is_missing_transport(e) ||
		    clock_ms() >= deadline)
			return r;
		usleep(10000);
	}
}

static int run(const struct agent_config *config, bool is_init, struct err *e)
{
	struct loop_source *term = NULL, *interrupt = NULL;
	struct agent *agent = NULL;
	_cleanup_(loop_free_p) struct loop *loop = NULL;
	int r = loop_new(&loop, e);

	if (r < 0)
		return r;
	if (!is_init) {
		loop_add_signal(loop, SIGTERM, on_terminate, NULL, &term);
		loop_add_signal(loop, SIGINT, on_terminate, NULL, &interrupt);
	}
	r = start(config, is_init, loop, &agent, e);
	if (r == 0 && is_init)
		r = init_finish(e);
	if (r == 0) {
		log_debug("caisson-agent " CAISSON_VERSION " is ready after %llu ms",
			  (unsigned long long)((clock_us() - config->started_us) / 1000));
		r = loop_run(loop);
		if (r < 0)
			err_sys(e, -r, "the event loop failed");
	}
	agent_free(agent);
	loop_source_free(term);
	loop_source_free(interrupt);
	return r;
}

int main(int argc, char **argv)
{
	_cleanup_free_ char *cmdline = NULL;
	uint64_t started_us = clock_us();
	struct agent_config config;
	/* PID 1 of a namespace, in a test, is no init. */
	bool is_init = getpid() == 1 && !(argc > 1 && !strcmp(argv[1], "--no-init"));
	struct err e = { 0 };
	int log_fd = STDERR_FILENO, r = 0;

	if (modprobe_called(argv[0]))
		return modprobe_main(argc, argv);
	log_set_sink(log_fd, LOG_FORMAT_TEXT, "caisson-agent");
	agent_config_defaults(&config);
	config.started_us = started_us;
	/* Large requests go back to the kernel at once, so that what we hold is what we use. */
	mallopt(M_MMAP_THRESHOLD, 65536);
	mallopt(M_TRIM_THRESHOLD, 65536);
	/* PID 1 is given the kernel parameters that nobody knew as its arguments: not for us. */
	if (is_init)
		r = init_begin(&e);
	if (r == 0 && file_read("/proc/cmdline", 65536, &cmdline, NULL) == 0)
		agent_config_parse(&config, cmdline);
	if (!is_init) {
		int status = parse_arguments(argc, argv, &config, &log_fd);

		if (status >= 0)
			return status;
		signal(SIGPIPE, SIG_IGN);
	}
	log_set_level(config.log_level);
	log_set_sink(log_fd, LOG_FORMAT_TEXT, "caisson-agent");
	if (r == 0)
		r = run(&config, is_init, &e);
	if (is_init)
		init_power_off(err_is_set(&e) ? e.text : "the agent has ended");
	if (r < 0)
		log_error("%s", e.text);
	return r < 0 ? 1 : r;
}
