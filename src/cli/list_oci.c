/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/list_oci.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/calendar.h"
#include "base/log.h"
#include "cli/owner_link.h"
#include "cli/table.h"
#include "oci/spec.h"

static int64_t seconds_of(const char *stamp)
{
	struct tm t = { 0 };

	if (sscanf(stamp, "%d-%d-%dT%d:%d:%d", &t.tm_year, &t.tm_mon, &t.tm_mday, &t.tm_hour, &t.tm_min, &t.tm_sec) !=
	    6)
		return 0;
	t.tm_year -= 1900;
	t.tm_mon -= 1;
	return calendar_seconds(&t);
}

static char *hypervisor_of(const char *root, const char *sandbox)
{
	_cleanup_pod_state_ struct pod_state s = { 0 };
	bool alive;

	return strdup(state_read(root, sandbox, &s, &alive, NULL) == 0 ? s.hypervisor : "");
}

int list_oci_describe(const char *root, const char *id, struct pod_state *ret, const char **ret_status, struct err *e)
{
	_cleanup_owner_link_ struct owner_link l = { 0 };
	struct owner_state state;
	int r = owner_link_open(&l, root, id, e);

	if (r == 0)
		r = owner_state(&l, &state, e);
	if (r < 0)
		return r;
	*ret = (struct pod_state){
		.id = strdup(id),
		.hypervisor = hypervisor_of(root, l.record.sandbox),
		.command = strdup(l.record.bundle),
		.rootfs = strdup(l.record.rootfs),
		.pid = state.pid,
		.created = seconds_of(l.record.created),
	};
	*ret_status = oci_status_name(state.status);
	return ret->id && ret->hypervisor && ret->command && ret->rootfs ? 0 : err_sys(e, ENOMEM, "cannot list %s", id);
}

/* ---- as runc lists them ---- */

/* One of `caisson run`, in the form of the others. */
static int state_of_run(const char *root, const char *id, struct json_object **ret, struct err *e)
{
	_cleanup_pod_state_ struct pod_state s = { 0 };
	struct oci_record record = { 0 };
	char stamp[CALENDAR_STAMP_MAX + 1];
	bool alive;
	int r = state_read(root, id, &s, &alive, e);

	if (r < 0)
		return r;
	calendar_stamp(s.created, stamp);
	strcat(stamp, "Z");
	record.id = s.id;
	record.bundle = record.owner = (char *)"";
	record.rootfs = s.rootfs;
	record.created = stamp;
	record.oci_version = (char *)OCI_SPEC_VERSION;
	*ret = oci_record_state(&record, alive ? s.status : oci_status_name(OCI_STOPPED), alive ? s.pid : 0, "");
	return 0;
}

static int state_of(const char *root, const char *id, struct json_object **ret, struct err *e)
{
	_cleanup_owner_link_ struct owner_link l = { 0 };
	struct owner_state state;
	int r = owner_link_open(&l, root, id, e);

	if (r == -ENOENT) {
		*e = (struct err){ 0 };
		return state_of_run(root, id, ret, e);
	}
	if (r == 0)
		r = owner_state(&l, &state, e);
	if (r == 0)
		*ret = oci_record_state(&l.record, oci_status_name(state.status), state.pid, l.record.owner);
	return r;
}

static void print_row(struct json_object *o, struct table *t)
{
	static const char *const keys[] = { "status", "bundle", "created", "owner" };
	uint64_t pid = 0;

	(void)json_get_u64(o, "pid", &pid);
	table_cell(t, "%s", json_get_str(o, "id"));
	table_cell(t, "%llu", (unsigned long long)pid);
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		table_cell(t, "%s", json_get_str(o, keys[i]));
}

int list_as_runc(const char *root, const struct strv *ids, bool json, struct err *e)
{
	static const char *const heads[] = { "ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER" };
	_cleanup_json_ struct json_object *all = json_array_make();
	_cleanup_(table_fini) struct table t = { .columns = sizeof heads / sizeof heads[0] };
	_cleanup_free_ char *text = NULL;

	for (size_t i = 0; i < t.columns; i++)
		table_cell(&t, "%s", heads[i]);
	for (size_t i = 0; i < ids->len; i++) {
		struct json_object *o = NULL;
		int r = state_of(root, ids->v[i], &o, e);

		if (r < 0 && r != -ENOENT)
			log_warn("%s", e->text);
		*e = (struct err){ 0 };
		if (r < 0)
			continue;
		print_row(o, &t);
		json_add(all, o);
	}
	if (!json) {
		table_print(&t, stdout);
		return 0;
	}
	/* runc's Go writes an empty list so. */
	text = json_array_len(all) ? json_write(all, false) : strdup("null");
	if (!text)
		return err_sys(e, ENOMEM, "cannot list containers");
	puts(text);
	return 0;
}
