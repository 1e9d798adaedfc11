/* SPDX-License-Identifier: Apache-2.0 */
/* caisson exec: another command in a running container. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/attach.h"
#include "cli/command.h"
#include "cli/exec.h"
#include "cli/exec_debug.h"
#include "cli/exec_flags.h"
#include "cli/exec_process.h"
#include "cli/launch.h"
#include "cli/oci_command.h"
#include "cli/session.h"
#include "oci/spec.h"

#define PROCESS_FILE_MAX (4u << 20)

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

static int exec_process(struct attachment *a, const struct exec_flags *f, const char *exec_id, struct err *e)
{
	_cleanup_(oci_process_free_p) Grpc__Process *own = NULL;
	Grpc__ExecProcessRequest q = GRPC__EXEC_PROCESS_REQUEST__INIT;
	struct exec_process p;
	int r = load_process(a, &own, e);

	if (r < 0)
		return r;
	r = exec_process_build(&p, f, own, a->state.rootfs, e);
	if (r == 0) {
		q.container_id = a->state.id;
		q.exec_id = (char *)exec_id;
		q.process = &p.process;
		r = agent_exec(a->agent, &q, e);
	}
	exec_process_fini(&p);
	return r;
}

int exec_make_id(char ret[EXEC_ID_SIZE], struct err *e)
{
	unsigned char random[8];

	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
		return err_sys(e, errno, "cannot make up a name for the process");
	strcpy(ret, "exec-");
	for (size_t i = 0; i < sizeof random; i++)
		snprintf(ret + 5 + 2 * i, 3, "%02x", random[i]);
	return 0;
}

static int serve(struct attachment *a, const struct exec_flags *f, struct err *e)
{
	char exec_id[EXEC_ID_SIZE];
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

	r = exec_make_id(exec_id, e);
	if (r < 0)
		return EXIT_CAISSON;
	r = exec_process(a, f, exec_id, e);
	if (r < 0)
		return command_failure_status(r);
	r = session_start(&o, &session, e);
	if (r == 0)
		r = session_run(session, &status, e);
	session_free(session);
	return r < 0 ? EXIT_CAISSON : status;
}

/* In a container of `caisson run`: by the agent of its guest, with the streams that we have. */
static int exec_in_run(const struct exec_flags *f, const char *root, struct err *e)
{
	struct attachment a = { 0 };
	int status = EXIT_CAISSON;

	if (f->oci_only)
		err_set(e, ERR_CONFIG, EINVAL, "%s is for containers of OCI clients; %s is one of `caisson run`",
			f->oci_only, f->id);
	else if (launch_check_fds(f->preserve_fds, NULL, e) == 0 && session_block_signals(e) == 0 &&
		 attach(&a, root, f->id, e) == 0)
		status = serve(&a, f, e);
	detach(&a);
	return status;
}

int command_exec(const struct globals *g, int argc, char **argv)
{
	_cleanup_owner_link_ struct owner_link link = { 0 };
	struct globals globals = *g;
	struct exec_flags f = { 0 };
	struct err e = { 0 };
	bool is_oci = false;
	int status, r = exec_flags_parse(&f, argc, argv);

	if (r == 0 && f.root)
		snprintf(globals.root, sizeof globals.root, "%s", f.root);
	if (r != 0) {
		status = r > 0 ? 0 : EXIT_CAISSON;
	} else if (f.debug) {
		status = exec_debug(globals.root, f.id, &e) < 0 ? EXIT_CAISSON : 0;
	} else if (oci_command_open(&globals, f.id, &link, &is_oci, &e) < 0) {
		err_wrap(&e, "exec failed");
		status = EXIT_OCI_EXEC;
	} else {
		status = is_oci ? exec_in_pod(&globals, &f, &link, &e) : exec_in_run(&f, globals.root, &e);
	}
	if (err_is_set(&e))
		log_error("%s", e.text);
	exec_flags_fini(&f);
	return status;
}
