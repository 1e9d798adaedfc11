/* SPDX-License-Identifier: Apache-2.0 */
/* caisson kill: a signal for a container. */
#include <getopt.h>
#include <stdio.h>

#include "base/log.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/signals.h"

int command_kill(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "signal", required_argument, NULL, 's' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	const char *root = NULL, *name = NULL;
	struct attachment a = { 0 };
	struct err e = { 0 };
	bool all = false;
	int flag, signo, r;

	while ((flag = getopt_long(argc, argv, "as:", options, NULL)) != -1) {
		if (flag == 'a')
			all = true;
		else if (flag == 's')
			name = optarg;
		else if (flag == 'r')
			root = optarg;
		else
			break;
	}
	if (flag != -1 || argc - optind < 1 || argc - optind > 2 || (name && argc - optind == 2)) {
		fprintf(flag == 'h' ? stdout : stderr, "usage: caisson kill [--all] [--root DIR] ID [SIGNAL]\n");
		return flag == 'h' ? 0 : EXIT_CAISSON;
	}
	if (argc - optind == 2)
		name = argv[optind + 1];
	signo = signal_number(name);
	if (signo < 0) {
		log_error("\"%s\" is no signal: use a name such as TERM or a number", name);
		return EXIT_CAISSON;
	}
	r = attach(&a, root, argv[optind], &e);
	/* The agent's protocol: an empty exec id means every process of the container. */
	if (r == 0)
		r = agent_signal(a.agent, a.state.id, all ? "" : a.state.id, signo, &e);
	detach(&a);
	if (r < 0)
		log_error("%s", e.text);
	return r < 0 ? EXIT_CAISSON : 0;
}
