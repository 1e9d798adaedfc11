/* SPDX-License-Identifier: Apache-2.0 */
/* caisson: the command line. Finds the command and hands over; see caisson(1). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strv.h"
#include "cli/command.h"
#include "sys/spawn.h"

static const struct command {
	const char *name;
	int (*run)(const struct globals *g, int argc, char **argv);
	const char *help; /* NULL: not for people */
} commands[] = {
	{ "run", command_run, "run a container in a virtual machine" },
	{ "exec", command_exec, "run another command in a running container" },
	{ "kill", command_kill, "send a signal to a container" },
	{ "list", command_list, "list containers; --prune removes what dead ones left" },
	{ "logs", command_logs, "show what a container or its guest's console printed" },
	{ "metrics", command_metrics, "print the metrics of running pods, for Prometheus" },
	{ "check", command_check, "check what Caisson needs on this host, and how to mend it" },
	{ "hypervisors", command_hypervisors, "list hypervisors and what they can do here" },
	{ "config", command_config, "print the effective configuration and where it comes from" },
	{ "version", command_version, "print versions" },
	{ "create", command_create, "OCI: create a container from a bundle" },
	{ "start", command_start, "OCI: start the process of a created container" },
	{ "state", command_state, "OCI: print a container's state" },
	{ "delete", command_delete, "OCI: delete a container that has ended" },
	{ "ps", command_ps, "OCI: list a container's processes" },
	{ "pause", command_pause, "OCI: suspend all processes of a container" },
	{ "resume", command_resume, "OCI: let them go on" },
	{ "update", command_update, "OCI: change a container's limits" },
	{ "events", command_events, "OCI: print a container's statistics" },
	{ "spec", command_spec, "OCI: write a config.json to begin with" },
	{ "features", command_features, "OCI: print what this runtime can do" },
	{ "pod-owner", command_pod_owner, NULL },
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *out)
{
	fprintf(out, "usage: caisson [FLAGS] COMMAND [ARG...]\n\n"
		     "Runs containers, each inside a virtual machine of its own.\n\nCommands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		if (commands[i].help)
			fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\nFlags:\n%s\nTry: caisson run --rootfs DIR -- CMD; caisson COMMAND --help; man caisson\n",
		globals_help);
}

/* A program started with a standard descriptor closed would find sockets there: fill the gaps. */
static void open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

int main(int argc, char **argv)
{
	struct globals g;
	struct err e = { 0 };
	int at;

	open_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);
	spawn_keep_children();
	if (globals_parse(&g, argc, argv, &at, &e) < 0 || globals_open_log(&g, &e) < 0) {
		log_error("%s", e.text);
		return EXIT_CAISSON;
	}
	if (g.version)
		return command_version(&g, 1, argv);
	if (g.help || (at < argc && str_eq(argv[at], "help"))) {
		usage(stdout);
		return 0;
	}
	for (size_t i = 0; at < argc && i < N_COMMANDS; i++)
		if (str_eq(argv[at], commands[i].name))
			return commands[i].run(&g, argc - at, argv + at);
	if (at < argc)
		log_error("there is no command \"%s\"; see: caisson --help", argv[at]);
	else
		usage(stderr);
	return EXIT_CAISSON;
}
