/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/plan_direct.h"

#include <errno.h>
#include <limits.h>
#include <nettle/base64.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "codec/json.h"
#include "pod/plan_devices.h"
#include "pod/plan_list.h"

#define INFO_BYTES_MAX   65536
#define GUEST_DIRECT_DIR GUEST_RUN_DIR "/sandbox/storage"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot plan the container's volumes");
}

/* ---- disks that several containers have ---- */

static struct plan_direct *find(const struct plan *p, const struct vm_device *d)
{
	for (size_t i = 0; i < p->n_direct; i++)
		if (p->direct[i].device == d)
			return &p->direct[i];
	return NULL;
}

const struct plan_direct *plan_direct_find(const struct plan *p, const char *volume)
{
	for (size_t i = 0; i < p->n_direct; i++)
		if (p->direct[i].where &&
		    (str_eq(p->direct[i].source, volume) || str_eq(p->direct[i].device->u.block.path, volume)))
			return &p->direct[i];
	return NULL;
}

unsigned plan_disk_holders(const struct plan *p, const struct vm_device *d)
{
	const struct plan_direct *v = find(p, d);

	return v ? v->holders : 1;
}

bool plan_disk_drop(struct plan *p, const struct vm_device *d)
{
	struct plan_direct *v = find(p, d);

	if (!v)
		return true;
	if (--v->holders)
		return false;
	free(v->source);
	free(v->where);
	*v = p->direct[--p->n_direct];
	return true;
}

/* A disk that is there, for one container more, or again for the same one, which has it once. NULL: out of memory. */
static struct vm_device *hold_again(struct plan_container *c, struct plan_direct *v)
{
	for (size_t i = 0; i < c->n_devices; i++)
		if (c->devices[i] == v->device)
			return v->device;
	if (plan_hold_disk(c, v->device) < 0)
		return NULL;
	v->holders++;
	return v->device;
}

static bool make_room(struct plan *p)
{
	struct plan_direct *grown = realloc(p->direct, (p->n_direct + 1) * sizeof *grown);

	if (grown)
		p->direct = grown;
	return grown;
}

struct vm_device *plan_hold_block(struct plan *p, struct plan_container *c, const char *path, dev_t number,
				  bool readonly)
{
	struct vm_device *disk;

	for (size_t i = 0; i < p->n_direct; i++) {
		struct plan_direct *v = &p->direct[i];

		if (!v->where && v->number == number && v->device->u.block.readonly == readonly)
			return hold_again(c, v);
	}
	disk = make_room(p) ? plan_add_disk(p, c, "device", path, readonly) : NULL;
	if (disk)
		p->direct[p->n_direct++] = (struct plan_direct){ .number = number, .device = disk, .holders = 1 };
	return disk;
}

/* The disk of the volume, for one container more. NULL: out of memory. */
static struct vm_device *hold_disk(struct plan *p, struct plan_container *c, const char *source, const char *where,
				   const char *device, bool readonly)
{
	_cleanup_free_ char *source_copy = NULL, *where_copy = NULL;
	struct vm_device *disk;

	for (size_t i = 0; i < p->n_direct; i++)
		if (str_eq(p->direct[i].source, source))
			return hold_again(c, &p->direct[i]);
	if (!make_room(p))
		return NULL;
	source_copy = strdup(source);
	where_copy = strdup(where);
	disk = source_copy && where_copy ? plan_add_disk(p, c, "volume", device, readonly) : NULL;
	if (disk)
		p->direct[p->n_direct++] = (struct plan_direct){
			.source = take_ptr(source_copy), .where = take_ptr(where_copy), .device = disk, .holders = 1
		};
	return disk;
}

/* ---- mountInfo.json ---- */

/* base64url with padding, as Go's URLEncoding. */
static char *encoded(const char *text)
{
	size_t length = strlen(text);
	char *name = malloc(BASE64_ENCODE_LENGTH(length) + BASE64_ENCODE_FINAL_LENGTH + 1);
	struct base64_encode_ctx ctx;
	size_t n;

	if (!name)
		return NULL;
	base64url_encode_init(&ctx);
	n = base64_encode_update(&ctx, name, length, (const uint8_t *)text);
	n += base64_encode_final(&ctx, name + n);
	name[n] = 0;
	return name;
}

/* "" when it is not there or no text. */
static const char *get_text(const struct json_object *o, const char *key)
{
	const char *text = json_get_str(o, key);

	return text ? text : "";
}

/* A group as a number, or as text, which Kata's metadata are. */
static int read_group(const struct json_object *metadata, const char *path, struct plan_storage *s, struct err *e)
{
	uint64_t gid;

	if (!json_get(metadata, "fsGroup"))
		return 0;
	if ((json_get_u64(metadata, "fsGroup", &gid) < 0 && str_to_u64(get_text(metadata, "fsGroup"), 10, &gid) < 0) ||
	    gid > UINT32_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "%s: fsGroup is no group: %.40s", path,
			       get_text(metadata, "fsGroup"));
	s->has_fs_group = true;
	s->fs_group = (uint32_t)gid;
	s->fs_group_on_mismatch = str_eq(get_text(metadata, "fsGroupChangePolicy"), "OnRootMismatch");
	return 0;
}

static int read_options(const struct json_object *o, const char *path, struct strv *options, struct err *e)
{
	struct json_object *list = json_get_array(o, "options");

	for (size_t i = 0; i < json_array_len(list); i++) {
		const char *option = json_str(json_array_at(list, i));

		if (!option)
			return err_set(e, ERR_CONFIG, EINVAL, "%s: options must be texts", path);
		if (strv_add(options, option) < 0)
			return out_of_memory(e);
	}
	return 0;
}

static int check_info(const struct json_object *o, const char *path, struct err *e)
{
	const char *type = get_text(o, "volume-type");

	if (!str_eq(type, "directvol") && !str_eq(type, "block"))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "%s: volume-type \"%.40s\" is not known here: it can be directvol or block", path, type);
	if (get_text(o, "device")[0] != '/')
		return err_set(e, ERR_CONFIG, EINVAL, "%s: device must be the path of a block device", path);
	if (str_empty(get_text(o, "fstype")))
		return err_set(e, ERR_CONFIG, EINVAL, "%s: fstype is missing", path);
	return 0;
}

static int plan_info(struct plan *p, struct plan_container *c, const char *source, const struct json_object *o,
		     const char *path, const char *where, struct err *e)
{
	struct plan_storage *s;
	bool readonly;
	int r = check_info(o, path, e);

	if (r < 0)
		return r;
	if (!plan_takes_disks(p))
		return err_set(e, ERR_CONFIG, ENOTSUP, "%s is a block device, and this hypervisor has none for guests",
			       source);
	s = plan_container_storage(c, "blk", "", get_text(o, "fstype"), where);
	if (!s)
		return out_of_memory(e);
	r = read_options(o, path, &s->options, e);
	if (r == 0)
		r = read_group(json_get(o, "metadata"), path, s, e);
	if (r < 0)
		return r;
	readonly = strv_contains(&s->options, "ro");
	s->device = hold_disk(p, c, source, where, get_text(o, "device"), readonly);
	c->sync_guest |= !readonly;
	return s->device ? 0 : out_of_memory(e);
}

int plan_direct_volume(struct plan *p, struct plan_container *c, const struct plan_request *q, const char *source,
		       char **ret, struct err *e)
{
	_cleanup_free_ char *name = encoded(source), *where = NULL, *path = NULL, *text = NULL;
	_cleanup_json_ struct json_object *o = NULL;
	struct err why = { 0 };
	size_t length;
	int r;

	*ret = NULL;
	if (!name)
		return out_of_memory(e);
	if (strlen(name) > NAME_MAX)
		return 0;
	path = str_printf("%s/%s/mountInfo.json", q->direct_dir ? q->direct_dir : DIRECT_VOLUMES_DIR, name);
	where = str_printf(GUEST_DIRECT_DIR "/%s", name);
	if (!path || !where)
		return out_of_memory(e);
	r = file_read(path, INFO_BYTES_MAX, &text, &length);
	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_sys(e, -r, "cannot read %s", path);
	if (json_parse(text, length, INFO_BYTES_MAX, &o, &why) < 0 || !json_is_object(o))
		return err_set(e, ERR_CONFIG, EINVAL, "%s is no JSON object%s%s", path, *why.text ? ": " : "",
			       why.text);
	r = plan_info(p, c, source, o, path, where, e);
	if (r == 0)
		*ret = take_ptr(where);
	return r;
}
