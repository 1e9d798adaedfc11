/* SPDX-License-Identifier: Apache-2.0 */
/* containerd-shim-caisson-v2: what containerd starts for each pod. See containerd-shim-caisson-v2(8). */
#include <errno.h>
#include <signal.h>
#include <stdio.h>

#include "base/log.h"
#include "base/strv.h"
#include "shim/delete.h"
#include "shim/flags.h"
#include "shim/info.h"
#include "shim/start.h"
#include "sys/spawn.h"

#define PROGRAM "containerd-shim-caisson-v2"

static void usage(FILE *out)
{
	fprintf(out, "usage: " PROGRAM " -namespace NS -id ID -address SOCKET [-publish-binary PATH] [-debug] start\n"
		     "       " PROGRAM " -namespace NS -id ID -address SOCKET [-bundle DIR] delete\n"
		     "       " PROGRAM " -info | -v\n\n"
		     "containerd starts it, in the bundle of a container; see " PROGRAM "(8).\n");
}

static int run(const struct shim_flags *flags, struct err *e)
{
	if (flags->info)
		return shim_info(e);
	if (str_empty(flags->namespace) || str_empty(flags->id))
		return err_set(e, ERR_CONFIG, EINVAL, "-namespace and -id are needed");
	/* CRI-O's is empty: it takes no events. */
	if (str_eq(flags->action, "start") && flags->address)
		return shim_start(flags, e);
	if (str_eq(flags->action, "start"))
		return err_set(e, ERR_CONFIG, EINVAL, "start: -address is needed");
	if (str_eq(flags->action, "delete"))
		return shim_delete(flags, e);
	return err_set(e, ERR_CONFIG, EINVAL, "the action must be start or delete, not \"%s\"",
		       flags->action ? flags->action : "");
}

int main(int argc, char **argv)
{
	struct shim_flags flags;
	struct err e = { 0 };
	int r;

	signal(SIGPIPE, SIG_IGN);
	spawn_keep_children();
	log_set_sink(STDERR_FILENO, LOG_FORMAT_TEXT, PROGRAM);
	r = shim_flags_parse(argc, argv, &flags, &e);
	if (r == 0 && (flags.version || flags.help)) {
		if (flags.help)
			usage(stdout);
		else
			printf(PROGRAM ":\n  Version:  %s\n", CAISSON_VERSION);
		return 0;
	}
	if (r == 0)
		r = run(&flags, &e);
	/* containerd shows stderr to who asked for the container. */
	if (r < 0)
		fprintf(stderr, PROGRAM ": %s\n", e.text);
	return r < 0;
}
