/* SPDX-License-Identifier: Apache-2.0 */
/* caisson spec: write a config.json to begin with. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/strv.h"
#include "cli/command.h"
#include "cli/oci_command.h"
#include "oci/builder.h"

static int write_spec(const char *bundle, struct err *e)
{
	/* As little as runc's and crun's document gives. */
	static char *const few[] = { (char *)"AUDIT_WRITE", (char *)"KILL", (char *)"NET_BIND_SERVICE" },
			   *const all[] = { (char *)"ALL" }, *const locked[] = { (char *)"no-new-privileges" },
			   *const files[] = { (char *)"nofile=1024" };
	const struct strv add = { .v = (char **)few, .len = 3 }, drop = { .v = (char **)all, .len = 1 },
			  security = { .v = (char **)locked, .len = 1 }, limits = { .v = (char **)files, .len = 1 };
	_cleanup_strv_ struct strv args = { 0 }, warnings = { 0 };
	struct oci_run_options o = { .args = &args,
				     .cap_add = &add,
				     .cap_drop = &drop,
				     .security_opts = &security,
				     .ulimits = &limits,
				     .rootfs_fd = -1,
				     .tty = true,
				     .read_only = true,
				     .hostname = "caisson",
				     .rootfs = "rootfs" };
	_cleanup_spec_ Grpc__Spec *spec = NULL;
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *text = NULL;
	char path[PATH_MAX];
	int r = strv_add(&args, "sh");

	if (r < 0)
		return err_sys(e, -r, "cannot make a spec");
	r = oci_spec_build(&o, &spec, &warnings, e);
	if (r < 0)
		return r;
	text = oci_spec_to_json(spec);
	if (!text)
		return err_sys(e, ENOMEM, "cannot make a spec");
	if (snprintf(path, sizeof path, "%s/config.json", bundle) >= (int)sizeof path)
		return err_sys(e, ENAMETOOLONG, "%s", bundle);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, ERR_CONFIG, EEXIST, "File config.json exists. Remove it first");
	r = fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));
	return r < 0 ? err_sys(e, -r, "cannot write %s", path) : 0;
}

int command_spec(const struct globals *g, int argc, char **argv)
{
	static const struct option options[] = { { "bundle", required_argument, NULL, 'b' },
						 { "rootless", no_argument, NULL, 'r' },
						 { "help", no_argument, NULL, 'h' },
						 { 0 } };
	const char *bundle = ".";
	struct err e = { 0 };
	int flag;

	(void)g;
	while ((flag = getopt_long(argc, argv, "b:h", options, NULL)) != -1) {
		if (flag == 'b')
			bundle = optarg;
		else if (flag != 'r')
			break;
	}
	if (flag != -1 || optind < argc)
		return oci_command_usage("spec [--bundle DIR]", flag == 'h');
	return oci_command_end(write_spec(bundle, &e), &e);
}
