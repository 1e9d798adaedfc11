/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/oci_record.h"

#include <errno.h>
#include <limits.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/calendar.h"
#include "base/fd.h"
#include "base/strv.h"
#include "pod/state.h"

#define RECORD_FILE "oci.json"
#define RECORD_MAX  (4u << 20)

void oci_record_fini(struct oci_record *r)
{
	free(r->id);
	free(r->sandbox);
	free(r->bundle);
	free(r->rootfs);
	free(r->created);
	free(r->owner);
	free(r->oci_version);
	json_free(r->annotations);
	*r = (struct oci_record){ 0 };
}

static char *now(void)
{
	char stamp[CALENDAR_STAMP_MAX];
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	calendar_stamp(t.tv_sec, stamp);
	return str_printf("%s.%09ldZ", stamp, t.tv_nsec);
}

static char *user_name(void)
{
	const struct passwd *p = getpwuid(geteuid());

	return p ? strdup(p->pw_name) : str_printf("%u", geteuid());
}

static struct json_object *annotations_of(const Grpc__Spec *spec)
{
	struct json_object *o = json_object_make();

	for (size_t i = 0; i < spec->n_annotations; i++)
		json_set_str(o, spec->annotations[i]->key, spec->annotations[i]->value);
	return o;
}

int oci_record_make(const char *id, const char *sandbox, const char *bundle, const Grpc__Spec *spec,
		    struct oci_record *ret, struct err *e)
{
	const char *root = spec->root && !str_empty(spec->root->path) ? spec->root->path : "rootfs";
	struct oci_record r = {
		.id = strdup(id),
		.sandbox = strdup(sandbox),
		.bundle = strdup(bundle),
		.rootfs = root[0] == '/' ? strdup(root) : str_printf("%s/%s", bundle, root),
		.created = now(),
		.owner = user_name(),
		.oci_version = strdup(spec->version),
		.annotations = annotations_of(spec),
	};

	if (!r.id || !r.sandbox || !r.bundle || !r.rootfs || !r.created || !r.owner || !r.oci_version ||
	    !r.annotations) {
		oci_record_fini(&r);
		return err_sys(e, ENOMEM, "cannot keep the state of %s", id);
	}
	*ret = r;
	return 0;
}

struct json_object *oci_record_state(const struct oci_record *r, const char *status, pid_t pid, const char *owner)
{
	struct json_object *o = json_object_make();

	json_set_str(o, "ociVersion", r->oci_version);
	json_set_str(o, "id", r->id);
	json_set_u64(o, "pid", (uint64_t)pid);
	json_set_str(o, "status", status);
	json_set_str(o, "bundle", r->bundle);
	json_set_str(o, "rootfs", r->rootfs);
	json_set_str(o, "created", r->created);
	json_set(o, "annotations", json_ref(r->annotations));
	json_set_str(o, "owner", owner);
	return o;
}

int oci_record_write(const struct oci_record *r, const char *dir, struct err *e)
{
	_cleanup_json_ struct json_object *o = oci_record_state(r, "", 0, r->owner);
	_cleanup_free_ char *path = str_printf("%s/" RECORD_FILE, dir), *text = NULL;
	int ret;

	json_set_str(o, "sandbox", r->sandbox);
	text = json_write(o, true);
	ret = path && text ? file_replace(path, text, strlen(text), 0600) : -ENOMEM;
	return ret < 0 ? err_sys(e, -ret, "cannot write %s/" RECORD_FILE, dir) : 0;
}

static char *get(const struct json_object *o, const char *key)
{
	const char *s = json_get_str(o, key);

	return strdup(s ? s : "");
}

static int record_from_json(const struct json_object *o, const char *id, struct oci_record *ret, struct err *e)
{
	struct oci_record r = {
		.id = strdup(id),
		.sandbox = get(o, "sandbox"),
		.bundle = get(o, "bundle"),
		.rootfs = get(o, "rootfs"),
		.created = get(o, "created"),
		.owner = get(o, "owner"),
		.oci_version = get(o, "ociVersion"),
		.annotations = json_ref(json_get_object(o, "annotations")),
	};

	if (!r.annotations)
		r.annotations = json_object_make();
	if (!r.id || !r.sandbox || !r.bundle || !r.rootfs || !r.created || !r.owner || !r.oci_version ||
	    !r.annotations) {
		oci_record_fini(&r);
		return err_sys(e, ENOMEM, "cannot read the state of %s", id);
	}
	*ret = r;
	return 0;
}

int oci_record_read(const char *root, const char *id, struct oci_record *ret, struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	char path[PATH_MAX + 128];
	int r = state_check_id(id, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof path, "%s/%s/" RECORD_FILE, root, id);
	if (access(path, F_OK) < 0 && (errno == ENOENT || errno == ENOTDIR))
		return err_set(e, ERR_CONFIG, ENOENT, "container does not exist");
	r = json_parse_file(path, RECORD_MAX, &o, e);
	if (r < 0)
		return r;
	r = record_from_json(o, id, ret, e);
	if (r == 0 && state_check_id(ret->sandbox, NULL) < 0) {
		oci_record_fini(ret);
		return err_set(e, ERR_SYSTEM, EIO, "%s is damaged", path);
	}
	return r;
}
