/* SPDX-License-Identifier: Apache-2.0 */
/* caisson exec: another command in a running container. */
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/session.h"
#include "oci/user.h"

struct exec_flags {
	const char *root, *workdir, *user;
	bool interactive, terminal;
	struct strv env;
	char **args;
	size_t n_args;
	const char *id;
};

static const char usage[] =
	"usage: caisson exec [-i] [-t] [-e NAME=VALUE] [-w DIR] [-u UID[:GID]] [--root DIR] ID COMMAND [ARG...]\n";

/* 0; 1: help was printed; -EINVAL. */
static int parse(struct exec_flags *f, int argc, char **argv)
{
	static const struct option options[] = {
		{ "interactive", no_argument, NULL, 'i' }, { "tty", no_argument, NULL, 't' },
		{ "env", required_argument, NULL, 'e' },   { "workdir", required_argument, NULL, 'w' },
		{ "user", required_argument, NULL, 'u' },  { "root", required_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },        { 0 },
	};
	int flag;

	while ((flag = getopt_long(argc, argv, "+ite:w:u:", options, NULL)) != -1) {
		if (flag == 'i')
			f->interactive = true;
		else if (flag == 't')
			f->terminal = true;
		else if (flag == 'e' && strv_set_env(&f->env, optarg) == 0)
			continue;
		else if (flag == 'w')
			f->workdir = optarg;
		else if (flag == 'u')
			f->user = optarg;
		else if (flag == 'r')
			f->root = optarg;
		else {
			fputs(usage, flag == 'h' ? stdout : stderr);
			return flag == 'h' ? 1 : -EINVAL;
		}
	}
	if (argc - optind < 2) {
		fputs(usage, stderr);
		return -EINVAL;
	}
	f->id = argv[optind];
	f->args = argv + optind + 1;
	f->n_args = (size_t)(argc - optind - 1);
	return 0;
}

/* The capabilities that docker gives a command, for one that an administrator starts in a running container. */
static char *default_capabilities[] = {
	(char *)"CAP_CHOWN",   (char *)"CAP_DAC_OVERRIDE", (char *)"CAP_FSETID",           (char *)"CAP_FOWNER",
	(char *)"CAP_MKNOD",   (char *)"CAP_NET_RAW",      (char *)"CAP_SETGID",           (char *)"CAP_SETUID",
	(char *)"CAP_SETFCAP", (char *)"CAP_SETPCAP",      (char *)"CAP_NET_BIND_SERVICE", (char *)"CAP_SYS_CHROOT",
	(char *)"CAP_KILL",    (char *)"CAP_AUDIT_WRITE",
};

static int exec_process(struct attachment *a, const struct exec_flags *f, const char *exec_id, struct err *e)
{
	Grpc__LinuxCapabilities caps = GRPC__LINUX_CAPABILITIES__INIT;
	Grpc__ExecProcessRequest q = GRPC__EXEC_PROCESS_REQUEST__INIT;
	Grpc__Process process = GRPC__PROCESS__INIT;
	Grpc__User user = GRPC__USER__INIT;
	_cleanup_strv_ struct strv env = { 0 };
	struct oci_user who;
	int r = oci_user_resolve(f->user, -1, &who, e);

	if (r < 0)
		return r;
	r = strv_add(&env, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
	if (f->terminal)
		r |= strv_add(&env, "TERM=xterm");
	for (size_t i = 0; i < f->env.len; i++)
		r |= strv_set_env(&env, f->env.v[i]);
	if (r)
		return err_sys(e, ENOMEM, "cannot start the command");
	user.uid = who.uid;
	user.gid = who.gid;
	caps.bounding = caps.effective = caps.permitted = default_capabilities;
	caps.n_bounding = caps.n_effective = caps.n_permitted =
		sizeof default_capabilities / sizeof default_capabilities[0];
	process.terminal = f->terminal;
	process.user = &user;
	process.capabilities = &caps;
	process.args = f->args;
	process.n_args = f->n_args;
	process.env = env.v;
	process.n_env = env.len;
	process.cwd = (char *)(f->workdir ? f->workdir : "/");
	q.container_id = a->state.id;
	q.exec_id = (char *)exec_id;
	q.process = &process;
	return agent_exec(a->agent, &q, e);
}

static int serve(struct attachment *a, const struct exec_flags *f, struct err *e)
{
	unsigned char random[8];
	char exec_id[24] = "exec-";
	struct session_options o = {
		.loop = a->loop,
		.agent = a->agent,
		.container_id = a->state.id,
		.exec_id = exec_id,
		.interactive = f->interactive,
		.terminal = f->terminal,
		.end_fd = -1,
	};
	struct session *session = NULL;
	int r, status = EXIT_CAISSON;

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return EXIT_CAISSON;
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(exec_id + 5 + 2 * i, 3, "%02x", random[i]);
	r = exec_process(a, f, exec_id, e);
	if (r < 0)
		return command_failure_status(r);
	r = session_start(&o, &session, e);
	if (r == 0)
		r = session_run(session, &status, e);
	session_free(session);
	return r < 0 ? EXIT_CAISSON : status;
}

int command_exec(int argc, char **argv)
{
	struct exec_flags f = { 0 };
	struct attachment a = { 0 };
	struct err e = { 0 };
	int status = EXIT_CAISSON, r = parse(&f, argc, argv);

	if (r == 0) {
		if (session_block_signals(&e) == 0 && attach(&a, f.root, f.id, &e) == 0)
			status = serve(&a, &f, &e);
		detach(&a);
		if (err_is_set(&e))
			log_error("%s", e.text);
	}
	strv_fini(&f.env);
	return r > 0 ? 0 : status;
}
