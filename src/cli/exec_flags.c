/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exec_flags.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>

const char exec_usage[] =
	"usage: caisson exec [-i] [-t] [-e NAME=VALUE] [-w DIR] [-u USER[:GROUP]] ID COMMAND [ARG...]\n"
	"       caisson exec --debug ID\n"
	"For containers of OCI clients also: [--process FILE] [--detach] [--pid-file FILE] [--console-socket SOCKET]\n"
	"       [--cap CAP] [--no-new-privs] [--additional-gids GID] [--ignore-paused]\n";

enum {
	FLAG_ROOT = 256,
	FLAG_PID_FILE,
	FLAG_CONSOLE_SOCKET,
	FLAG_NO_NEW_PRIVS,
	FLAG_IGNORE_PAUSED,
	FLAG_DEBUG,
	FLAG_PRESERVE_FDS,
	FLAG_IGNORED,
};

static const struct option options[] = {
	{ "interactive", no_argument, NULL, 'i' },
	{ "tty", no_argument, NULL, 't' },
	{ "env", required_argument, NULL, 'e' },
	{ "workdir", required_argument, NULL, 'w' },
	{ "cwd", required_argument, NULL, 'w' },
	{ "user", required_argument, NULL, 'u' },
	{ "root", required_argument, NULL, FLAG_ROOT },
	{ "debug", no_argument, NULL, FLAG_DEBUG },
	{ "help", no_argument, NULL, 'h' },
	{ "process", required_argument, NULL, 'p' },
	{ "detach", no_argument, NULL, 'd' },
	{ "pid-file", required_argument, NULL, FLAG_PID_FILE },
	{ "console-socket", required_argument, NULL, FLAG_CONSOLE_SOCKET },
	{ "cap", required_argument, NULL, 'c' },
	{ "additional-gids", required_argument, NULL, 'g' },
	{ "no-new-privs", no_argument, NULL, FLAG_NO_NEW_PRIVS },
	{ "ignore-paused", no_argument, NULL, FLAG_IGNORE_PAUSED },
	{ "preserve-fds", required_argument, NULL, FLAG_PRESERVE_FDS },
	/* A guest has no security modules to label for, and cgroups of its own. */
	{ "process-label", required_argument, NULL, FLAG_IGNORED },
	{ "apparmor", required_argument, NULL, FLAG_IGNORED },
	{ "cgroup", required_argument, NULL, FLAG_IGNORED },
	{ 0 },
};

/* false: it is none of these. */
static bool parse_docker_flag(struct exec_flags *f, int flag)
{
	switch (flag) {
	case 'i':
		f->interactive = true;
		return true;
	case 't':
		f->terminal = true;
		return true;
	case 'e':
		return strv_set_env(&f->env, optarg) == 0;
	case 'w':
		f->workdir = optarg;
		return true;
	case 'u':
		f->user = optarg;
		return true;
	case FLAG_ROOT:
		f->root = optarg;
		return true;
	case FLAG_DEBUG:
		f->debug = true;
		return true;
	default:
		return false;
	}
}

static bool parse_oci_flag(struct exec_flags *f, int flag)
{
	switch (flag) {
	case 'p':
		f->process = optarg;
		f->oci_only = "--process";
		return true;
	case 'd':
		f->detach = true;
		f->oci_only = "--detach";
		return true;
	case 'c':
		f->oci_only = "--cap";
		return strv_add(&f->caps, optarg) == 0;
	case 'g':
		f->oci_only = "--additional-gids";
		return strv_add(&f->groups, optarg) == 0;
	case FLAG_PID_FILE:
		f->pid_file = optarg;
		f->oci_only = "--pid-file";
		return true;
	case FLAG_CONSOLE_SOCKET:
		f->console_socket = optarg;
		f->oci_only = "--console-socket";
		return true;
	case FLAG_NO_NEW_PRIVS:
		f->no_new_privileges = true;
		f->oci_only = "--no-new-privs";
		return true;
	case FLAG_IGNORE_PAUSED:
		f->ignore_paused = true;
		return true;
	case FLAG_PRESERVE_FDS:
		return str_to_u64(optarg, 10, &f->preserve_fds) == 0;
	default:
		return flag == FLAG_IGNORED;
	}
}

int exec_flags_parse(struct exec_flags *f, int argc, char **argv)
{
	int flag;

	while ((flag = getopt_long(argc, argv, "+ite:w:u:p:dc:g:h", options, NULL)) != -1) {
		if (parse_docker_flag(f, flag) || parse_oci_flag(f, flag))
			continue;
		fputs(exec_usage, flag == 'h' ? stdout : stderr);
		return flag == 'h' ? 1 : -EINVAL;
	}
	/* The command is on the command line or in the process document. */
	if (f->debug ? argc - optind != 1 : argc - optind < (f->process ? 1 : 2)) {
		fputs(exec_usage, stderr);
		return -EINVAL;
	}
	f->id = argv[optind];
	f->args = argv + optind + 1;
	f->n_args = (size_t)(argc - optind - 1);
	return 0;
}

void exec_flags_fini(struct exec_flags *f)
{
	strv_fini(&f->env);
	strv_fini(&f->caps);
	strv_fini(&f->groups);
}
