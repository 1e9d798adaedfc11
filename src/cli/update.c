/* SPDX-License-Identifier: Apache-2.0 */
/* caisson update: other limits for a running container, from a document of linux.resources or from single flags. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/strv.h"
#include "cli/command.h"
#include "cli/oci_command.h"
#include "cli/update_flags.h"
#include "oci/spec.h"
#include "proto/any.pb-c.h"
#include "proto/empty.pb-c.h"
#include "task/any.h"

#define RESOURCES_MAX (1u << 20)

static const char usage[] = "update [--resources FILE|-] [--memory SIZE] [--cpu-quota US] [--cpu-period US] "
			    "[--cpu-share N] [--cpuset-cpus LIST] [--pids-limit N] ... ID";

static int read_document(const char *path, char **ret, struct err *e)
{
	int r = str_eq(path, "-") ? fd_read_all(STDIN_FILENO, RESOURCES_MAX, ret, NULL)
				  : file_read(path, RESOURCES_MAX, ret, NULL);

	return r < 0 ? err_sys(e, -r, "cannot read the resources from %s", path) : 0;
}

static int send_update(struct owner_link *l, const char *text, struct err *e)
{
	Containerd__Task__V2__UpdateTaskRequest q = CONTAINERD__TASK__V2__UPDATE_TASK_REQUEST__INIT;
	_cleanup_(oci_resources_free_p) Grpc__LinuxResources *checked = NULL;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	struct owner_state s;
	int r = oci_resources_parse(text, strlen(text), "resources", &checked, NULL, e);

	if (r == 0)
		r = owner_state(l, &s, e);
	if (r == 0 && s.status == OCI_STOPPED)
		r = err_set(e, ERR_CONFIG, EBUSY, "container not running");
	if (r < 0)
		return r;
	any.type_url = (char *)ANY_OCI_RESOURCES;
	any.value.data = (uint8_t *)text;
	any.value.len = strlen(text);
	q.id = l->record.id;
	q.resources = &any;
	return owner_call(l, "Update", &q.base, &google__protobuf__empty__descriptor, OWNER_TIMEOUT_MS, NULL, e);
}

int command_update(const struct globals *g, int argc, char **argv)
{
	_cleanup_owner_link_ struct owner_link l = { 0 };
	struct update_flags f = { 0 };
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	int r = update_flags_parse(&f, argc, argv, &e);

	if (r > 0)
		return oci_command_usage(usage, f.help);
	if (r == 0)
		r = owner_link_open(&l, g->root, f.id, &e);
	if (r == 0 && f.document)
		r = read_document(f.document, &text, &e);
	else if (r == 0 && !(text = update_flags_document(&f)))
		r = err_sys(&e, ENOMEM, "cannot read the flags");
	if (r == 0)
		r = send_update(&l, text, &e);
	return oci_command_end(r, &e);
}
