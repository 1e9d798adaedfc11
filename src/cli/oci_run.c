/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci_run.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/attend.h"
#include "cli/command.h"
#include "cli/delete.h"
#include "cli/launch.h"
#include "cli/oci_command.h"
#include "cli/start.h"

/* Also when it was not started, or its owner has died: nothing of it is to stay. */
static void delete_again(const struct globals *g, const char *id)
{
	_cleanup_owner_link_ struct owner_link l = { 0 };
	struct err e = { 0 };
	int r = owner_link_open(&l, g->root, id, &e);

	if (r == 0)
		r = delete_container(&l, g->root, true, &e);
	if (r < 0 && r != -ENOENT)
		log_error("%s", e.text);
}

static int launch_and_start(struct launch *l, const struct globals *g, const struct create_flags *f, struct err *e)
{
	struct launch_streams streams = { .detached = f->detach,
					  .console_socket = f->console_socket,
					  .preserve_fds = f->preserve_fds };
	_cleanup_free_ char *bundle = realpath(f->bundle ? f->bundle : ".", NULL);
	int r;

	if (!bundle)
		return err_sys(e, errno, "cannot use the bundle %s", f->bundle ? f->bundle : ".");
	if (!f->bundle && access("config.json", F_OK) < 0)
		return err_set(e, ERR_CONFIG, ENOENT,
			       "there is no config.json here, and no --bundle (to run a command, name a root file "
			       "system: caisson run --rootfs PLACE -- COMMAND)");
	r = launch_container(l, g, f->id, bundle, &streams, e);
	if (r < 0)
		return r;
	r = launch_write_pid(l, f->pid_file, e);
	/* From here on the owner does not wait for more of us before it lets the container go. */
	fd_close(&l->offer_fd);
	if (r == 0)
		r = start_container(&l->link, e);
	if (r < 0)
		delete_again(g, f->id);
	return r;
}

int oci_run(const struct globals *g, const struct create_flags *f)
{
	struct launch l = LAUNCH_NONE;
	struct err e = { 0 };
	int r, status = 0;

	r = f->detach ? 0 : attend_begin(&e);
	if (r == 0)
		r = launch_and_start(&l, g, f, &e);
	if (r == 0 && !f->detach)
		r = status = attend(l.pid, l.console.master, &e);
	launch_end(&l, r < 0);
	if (r >= 0 && !f->detach && !f->keep)
		delete_again(g, f->id);
	if (r < 0)
		err_wrap(&e, "run failed");
	return r < 0 ? oci_command_end(r, &e) : status;
}
