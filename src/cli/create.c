/* SPDX-License-Identifier: Apache-2.0 */
/*
 * caisson create: a container from a bundle, ready to be started. What stays is the pod's owner and the container's
 * stand-in, which becomes the child of the nearest subreaper when we end; its pid is the container's to the caller.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/strv.h"
#include "cli/command.h"
#include "cli/create_flags.h"
#include "cli/launch.h"
#include "cli/oci_command.h"

int command_create(const struct globals *g, int argc, char **argv)
{
	struct launch_streams streams = { .detached = true };
	_cleanup_free_ char *bundle = NULL;
	struct launch l = LAUNCH_NONE;
	struct create_flags f;
	struct err e = { 0 };
	int r;

	if (create_flags_parse(&f, argc, argv) < 0)
		return oci_command_usage("create [--bundle DIR] [--pid-file FILE] [--console-socket SOCKET] ID",
					 f.help);
	streams.console_socket = f.console_socket;
	streams.preserve_fds = f.preserve_fds;
	bundle = realpath(f.bundle ? f.bundle : ".", NULL);
	if (!bundle)
		r = err_sys(&e, errno, "cannot use the bundle %s", f.bundle ? f.bundle : ".");
	else
		r = launch_container(&l, g, f.id, bundle, &streams, &e);
	if (r == 0)
		r = launch_write_pid(&l, f.pid_file, &e);
	launch_end(&l, r < 0);
	if (r < 0)
		err_wrap(&e, "create failed");
	return oci_command_end(r, &e);
}
