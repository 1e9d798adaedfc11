/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson exec in a container of an OCI client: the process is given as a document, or made from the bundle's; a
 * stand-in of ours stands for it. With --detach it is left to the nearest subreaper.
 */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/attend.h"
#include "cli/command.h"
#include "cli/exec.h"
#include "cli/exec_process.h"
#include "cli/launch.h"
#include "oci/spec.h"

#define PROCESS_FILE_MAX (4u << 20)
#define RESUME_POLL_MS   100

/* As it is given; what the flags say beside it does not count, but for the terminal. */
static int given_process(const struct exec_flags *f, Grpc__Process **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(f->process, PROCESS_FILE_MAX, &text, &len);

	if (r < 0)
		return err_sys(e, -r, "cannot read --process %s", f->process);
	r = oci_spec_parse_process(text, len, f->process, ret, NULL, e);
	if (r == 0 && f->terminal)
		(*ret)->terminal = true;
	return r;
}

static int process_json(const Grpc__Process *p, char **ret, struct launch_streams *streams, struct err *e)
{
	streams->terminal = p->terminal;
	if (p->consolesize) {
		streams->rows = p->consolesize->height;
		streams->columns = p->consolesize->width;
	}
	*ret = oci_process_to_json(p);
	return *ret ? 0 : err_sys(e, ENOMEM, "cannot start the command");
}

/* What the container's own process has is where the new one starts from. */
static int made_process(const struct exec_flags *f, const struct oci_record *c, char **ret,
			struct launch_streams *streams, struct err *e)
{
	_cleanup_spec_ Grpc__Spec *spec = NULL;
	Grpc__Process none = GRPC__PROCESS__INIT;
	struct exec_process p;
	int r = oci_spec_load(c->bundle, &spec, NULL, e);

	if (r < 0)
		return r;
	r = exec_process_build(&p, f, spec->process ? spec->process : &none, c->rootfs, e);
	if (r == 0)
		r = process_json(&p.process, ret, streams, e);
	exec_process_fini(&p);
	return r;
}

static int find_process(const struct exec_flags *f, const struct oci_record *c, char **ret,
			struct launch_streams *streams, struct err *e)
{
	_cleanup_(oci_process_free_p) Grpc__Process *given = NULL;
	int r;

	if (!f->process)
		return made_process(f, c, ret, streams, e);
	r = given_process(f, &given, e);
	return r < 0 ? r : process_json(given, ret, streams, e);
}

/* --ignore-paused: runc's process waits, too, frozen in the container's group, until the container goes on. */
static int await_resume(struct owner_link *l, struct err *e)
{
	struct owner_state s;
	int r;

	while ((r = owner_state(l, &s, e)) == 0 && s.status == OCI_PAUSED)
		usleep(RESUME_POLL_MS * 1000);
	return r;
}

int exec_in_pod(const struct globals *g, const struct exec_flags *f, struct owner_link *l, struct err *e)
{
	struct launch_streams streams = { .console_socket = f->console_socket, .detached = f->detach };
	struct launch launch = LAUNCH_NONE;
	_cleanup_free_ char *process = NULL;
	char exec_id[EXEC_ID_SIZE];
	int r, status = 0;

	r = launch_check_fds(f->preserve_fds, NULL, e);
	/* Before signals are kept for the process: one ends the waiting. */
	if (r == 0 && f->ignore_paused)
		r = await_resume(l, e);
	if (r == 0)
		r = find_process(f, &l->record, &process, &streams, e);
	if (r == 0)
		r = exec_make_id(exec_id, e);
	if (r == 0 && !f->detach)
		r = attend_begin(e);
	/* The link's life goes on in the launch. */
	launch.link = *l;
	*l = (struct owner_link){ 0 };
	if (r == 0)
		r = launch_exec(&launch, g, exec_id, f->args, f->n_args, process, &streams, e);
	if (r == 0)
		r = launch_write_pid(&launch, f->pid_file, e);
	if (r == 0 && !f->detach) {
		fd_close(&launch.offer_fd);
		r = status = attend(launch.pid, launch.console.master, e);
	}
	launch_end(&launch, r < 0);
	if (r >= 0)
		return status;
	err_wrap(e, "exec failed");
	return EXIT_OCI_EXEC;
}
