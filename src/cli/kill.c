/* SPDX-License-Identifier: Apache-2.0 */
/* caisson kill: a signal for a container. */
#include <getopt.h>
#include <stdio.h>
#include <errno.h>

#include "base/log.h"
#include "base/strv.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/oci_command.h"
#include "cli/signals.h"

static const char usage[] = "kill [--all] ID [SIGNAL]";

static int kill_in_run(const char *root, const char *id, int signo, bool all, struct err *e)
{
	struct attachment a = { 0 };
	int r = attach(&a, root, id, e);

	/* The agent's protocol: an empty exec id means every process of the container. */
	if (r == 0 && signo)
		r = agent_signal(a.agent, a.state.id, all ? "" : a.state.id, signo, e);
	detach(&a);
	return r;
}

static int kill_in_pod(struct owner_link *l, int signo, bool all, struct err *e)
{
	struct owner_state s;
	int r = owner_state(l, &s, e);

	if (r < 0)
		return r;
	if (s.status != OCI_STOPPED) {
		r = signo ? owner_kill(l, signo, all, e) : 0;
		if (r != -ENOENT && r != -ECONNRESET)
			return r;
		/* It has ended meanwhile, or its owner has. */
		*e = (struct err){ 0 };
	}
	/* To end all that is left of what has ended is no error: containerd does so. */
	return all ? 0 : err_set(e, ERR_CONFIG, ESRCH, "container not running");
}

int command_kill(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ "signal", required_argument, NULL, 's' },
		{ "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ 0 },
	};
	_cleanup_owner_link_ struct owner_link link = { 0 };
	struct globals globals = *g;
	const char *name = NULL;
	struct err e = { 0 };
	bool all = false, is_oci = true;
	int flag, signo, r;

	while ((flag = getopt_long(argc, argv, "as:h", options, NULL)) != -1) {
		if (flag == 'a')
			all = true;
		else if (flag == 's')
			name = optarg;
		else if (flag == 'r')
			snprintf(globals.root, sizeof globals.root, "%s", optarg);
		else
			break;
	}
	if (flag != -1 || argc - optind < 1 || argc - optind > 2 || (name && argc - optind == 2))
		return oci_command_usage(usage, flag == 'h');
	if (argc - optind == 2)
		name = argv[optind + 1];
	r = oci_command_open(&globals, argv[optind], &link, &is_oci, &e);
	/* 0 only asks whether it lives, as kill(2) has it. */
	signo = str_eq(name, "0") ? 0 : signal_number(name);
	if (r == 0 && signo < 0)
		r = err_set(&e, ERR_CONFIG, EINVAL, "unknown signal \"%s\": use a name such as TERM or a number", name);
	if (r == 0)
		r = is_oci ? kill_in_pod(&link, signo, all, &e)
			   : kill_in_run(globals.root, argv[optind], signo, all, &e);
	r = oci_command_end(r, &e);
	return r != 0 && !is_oci ? EXIT_CAISSON : r;
}
