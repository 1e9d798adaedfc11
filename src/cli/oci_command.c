/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci_command.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/strv.h"
#include "cli/command.h"

int oci_command_usage(const char *usage, bool help)
{
	fprintf(help ? stdout : stderr, "usage: caisson %s\n", usage);
	return help ? 0 : EXIT_OCI;
}

const char *oci_command_id(int argc, char **argv, const char *what, int *ret_status)
{
	bool help = argc == 2 && (str_eq(argv[1], "--help") || str_eq(argv[1], "-h"));
	char usage[128];

	if (argc == 2 && argv[1][0] != '-')
		return argv[1];
	snprintf(usage, sizeof usage, "%s ID: %s", argv[0], what);
	*ret_status = oci_command_usage(usage, help);
	return NULL;
}

int oci_command_end(int r, const struct err *e)
{
	if (r >= 0)
		return 0;
	log_error("%s", err_is_set(e) ? e->text : strerror(-r));
	return EXIT_OCI;
}

int oci_command_open(const struct globals *g, const char *id, struct owner_link *ret_link, bool *ret_is_oci,
		     struct err *e)
{
	char path[PATH_MAX + 96];
	int r = owner_link_open(ret_link, g->root, id, e);

	*ret_is_oci = true;
	if (r != -ENOENT)
		return r;
	snprintf(path, sizeof path, "%s/%s/state.json", g->root, id);
	if (access(path, F_OK) < 0)
		return r;
	*e = (struct err){ 0 };
	*ret_is_oci = false;
	return 0;
}
