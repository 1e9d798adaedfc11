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

static const struct command {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *help;
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
};

#define N_COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *out)
{
	fprintf(out, "usage: caisson [--log-level error|warn|info|debug] [--log-format text|json] COMMAND [ARG...]\n\n"
		     "Runs containers, each inside a virtual machine of its own.\n\nCommands:\n");
	for (size_t i = 0; i < N_COMMANDS; i++)
		fprintf(out, "  %-12s %s\n", commands[i].name, commands[i].help);
	fprintf(out, "\nTry: caisson run --rootfs DIR -- CMD; caisson COMMAND --help; man caisson\n");
}

/* Flags in front of the command. Returns the index of the command, or -1. */
static int global_flags(int argc, char **argv)
{
	enum log_format format = LOG_FORMAT_TEXT;
	enum log_level level;
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		const char *flag = argv[i], *eq = strchr(flag, '='),
			   *value = eq             ? eq + 1
				    : i + 1 < argc ? argv[i + 1]
						   : "";
		size_t n = eq ? (size_t)(eq - flag) : strlen(flag);

		if (!strncmp(flag, "--log-level", n) && n == strlen("--log-level") &&
		    log_level_parse(value, &level) == 0)
			log_set_level(level);
		else if (!strncmp(flag, "--log-format", n) && n == strlen("--log-format") &&
			 (str_eq(value, "json") || str_eq(value, "text")))
			format = str_eq(value, "json") ? LOG_FORMAT_JSON : LOG_FORMAT_TEXT;
		else {
			fprintf(stderr, "caisson: %s: unknown flag or value; see: caisson --help\n", flag);
			return -1;
		}
		i += !eq;
	}
	log_set_sink(STDERR_FILENO, format, "caisson");
	return i;
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
	int at;

	open_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);
	if (argc > 1 && (str_eq(argv[1], "--version") || str_eq(argv[1], "-V")))
		return command_version(1, argv);
	if (argc < 2 || str_eq(argv[1], "--help") || str_eq(argv[1], "-h") || str_eq(argv[1], "help")) {
		usage(argc < 2 ? stderr : stdout);
		return argc < 2 ? EXIT_CAISSON : 0;
	}
	at = global_flags(argc, argv);
	if (at < 0)
		return EXIT_CAISSON;
	for (size_t i = 0; at < argc && i < N_COMMANDS; i++)
		if (str_eq(argv[at], commands[i].name))
			return commands[i].run(argc - at, argv + at);
	if (at < argc)
		fprintf(stderr, "caisson: there is no command \"%s\"; see: caisson --help\n", argv[at]);
	else
		usage(stderr);
	return EXIT_CAISSON;
}
