/* SPDX-License-Identifier: Apache-2.0 */
/* caisson state: the state of a container as the OCI runtime spec has it. */
#include <errno.h>
#include <stdio.h>

#include "cli/command.h"
#include "cli/oci_command.h"

static int print_state(struct owner_link *l, struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *text = NULL;
	struct owner_state s;
	int r = owner_state(l, &s, e);

	if (r < 0)
		return r;
	o = oci_record_state(&l->record, oci_status_name(s.status), s.pid, "");
	text = json_write(o, true);
	if (!text)
		return err_sys(e, ENOMEM, "cannot print the state of %s", l->record.id);
	puts(text);
	return 0;
}

int command_state(const struct globals *g, int argc, char **argv)
{
	_cleanup_owner_link_ struct owner_link l = { 0 };
	struct err e = { 0 };
	int r, status;
	const char *id = oci_command_id(argc, argv, "print the state of a container", &status);

	if (!id)
		return status;
	r = owner_link_open(&l, g->root, id, &e);
	if (r == 0)
		r = print_state(&l, &e);
	return oci_command_end(r, &e);
}
