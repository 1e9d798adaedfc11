/* SPDX-License-Identifier: Apache-2.0 */
/* caisson exec: another command in a running container. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/session.h"
#include "oci/spec.h"
#include "oci/user.h"

#define PROCESS_FILE_MAX (4u << 20)

struct exec_flags {
	const char *root, *workdir, *user;
	bool interactive, terminal;
	struct strv env;
	char **args;
	size_t n_args;
	const char *id;
};

static const char usage[] =
	"usage: caisson exec [-i] [-t] [-e NAME=VALUE] [-w DIR] [-u USER[:GROUP]] [--root DIR] ID COMMAND [ARG...]\n";

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

/* What the container's own process has is where the new one starts from, as docker exec has it. */
static int load_process(const struct attachment *a, Grpc__Process **ret, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/" STATE_PROCESS_FILE, a->dir), *text = NULL;
	size_t len;
	int r = path ? file_read(path, PROCESS_FILE_MAX, &text, &len) : -ENOMEM;

	if (r < 0)
		return err_sys(e, -r, "cannot read the process of container %s", a->state.id);
	return oci_spec_parse_process(text, len, path, ret, NULL, e);
}

/* Borrowed parts of a message that another one owns, given back before that is freed. */
struct exec_parts {
	struct strv env;
	Grpc__User user;
	uint32_t groups[OCI_USER_GROUPS_MAX];
};

static int set_user(struct exec_parts *parts, const struct attachment *a, const char *user, Grpc__Process *process,
		    struct err *e)
{
	_cleanup_close_ int rootfs = open(a->state.rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct oci_user who;
	int r = oci_user_resolve(user, rootfs, &who, e);

	if (r < 0)
		return r;
	grpc__user__init(&parts->user);
	parts->user.uid = who.uid;
	parts->user.gid = who.gid;
	memcpy(parts->groups, who.groups, who.n_groups * sizeof *who.groups);
	parts->user.additionalgids = parts->groups;
	parts->user.n_additionalgids = who.n_groups;
	process->user = &parts->user;
	return 0;
}

static int set_env(struct exec_parts *parts, const struct exec_flags *f, const Grpc__Process *own, struct err *e)
{
	int r = strv_copy(&parts->env, own->env, own->n_env);

	if (r == 0 && f->terminal && !strv_get_env(&parts->env, "TERM"))
		r = strv_add(&parts->env, "TERM=xterm");
	for (size_t i = 0; r == 0 && i < f->env.len; i++)
		r = strv_set_env(&parts->env, f->env.v[i]);
	return r < 0 ? err_sys(e, ENOMEM, "cannot start the command") : 0;
}

static int exec_process(struct attachment *a, const struct exec_flags *f, const char *exec_id, struct err *e)
{
	_cleanup_(oci_process_free_p) Grpc__Process *own = NULL;
	Grpc__ExecProcessRequest q = GRPC__EXEC_PROCESS_REQUEST__INIT;
	struct exec_parts parts = { 0 };
	Grpc__Process process;
	int r = load_process(a, &own, e);

	if (r < 0)
		return r;
	process = *own;
	r = set_env(&parts, f, own, e);
	if (r == 0 && f->user)
		r = set_user(&parts, a, f->user, &process, e);
	if (r == 0) {
		process.terminal = f->terminal;
		process.args = f->args;
		process.n_args = f->n_args;
		process.env = parts.env.v;
		process.n_env = parts.env.len;
		if (f->workdir)
			process.cwd = (char *)f->workdir;
		q.container_id = a->state.id;
		q.exec_id = (char *)exec_id;
		q.process = &process;
		r = agent_exec(a->agent, &q, e);
	}
	strv_fini(&parts.env);
	return r;
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

int command_exec(const struct globals *g, int argc, char **argv)
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
