/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/plan_volumes.h"

#include <dirent.h>
#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "pod/plan_list.h"
#include "sys/mountinfo.h"

/* The guest keeps what is mounted below these until the sandbox ends: an emptyDir outlives its containers. */
#define GUEST_EPHEMERAL_DIR GUEST_RUN_DIR "/sandbox/ephemeral"
#define GUEST_LOCAL_DIR     GUEST_RUN_DIR "/sandbox/local"
#define GUEST_SUBPATH_DIR   GUEST_RUN_DIR "/sandbox/subpath"
#define GUEST_WATCHABLE_DIR GUEST_SHARE_DIR "/watchable"
/*
 * Agents follow 16 entries at most, copies and links, and Kata's runtime gives them folders of up to 8 (kata.md §8.3).
 */
#define WATCHED_ENTRIES_MAX 8

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot plan the container's volumes");
}

/* ".../PLUGIN/NAME": NAME. NULL: not a volume of that plugin, or something inside one. */
static const char *volume_name(const char *source, const char *plugin)
{
	const char *at = strstr(source, plugin), *name;

	if (!at || at == source || at[-1] != '/' || at[strlen(plugin)] != '/')
		return NULL;
	name = at + strlen(plugin) + 1;
	return *name && !strchr(name, '/') && !str_eq(name, ".") && !str_eq(name, "..") ? name : NULL;
}

enum plan_volume_kind plan_volume_kind(const char *source)
{
	static const char *const changing[] = { "kubernetes.io~configmap", "kubernetes.io~secret",
						"kubernetes.io~projected", "kubernetes.io~downward-api" };
	struct statfs fs;

	for (size_t i = 0; i < sizeof changing / sizeof changing[0]; i++)
		if (volume_name(source, changing[i]))
			return PLAN_VOLUME_CHANGING;
	if (!volume_name(source, "kubernetes.io~empty-dir") || statfs(source, &fs) < 0)
		return PLAN_VOLUME_PLAIN;
	return fs.f_type == TMPFS_MAGIC       ? PLAN_VOLUME_MEMORY
	       : fs.f_type == HUGETLBFS_MAGIC ? PLAN_VOLUME_HUGE_PAGES
					      : PLAN_VOLUME_EMPTY;
}

/* ---- volumes that live in the guest ---- */

/* The kubelet's mode and fsGroup for the volume's folder. */
static int add_owner(struct plan_storage *s, const struct stat *st, bool mode)
{
	int r = 0;

	if (mode)
		r |= strv_addf(&s->options, "mode=%04o", st->st_mode & 07777);
	if (st->st_gid)
		r |= strv_addf(&s->options, "fsgid=%u", st->st_gid);
	return r;
}

/* "2MB", "1GB" of the OCI runtime spec (config-linux.md "Huge page limits"). */
static uint64_t page_size(const char *text)
{
	char *end;
	unsigned long long n = strtoull(text, &end, 10);
	unsigned shift = str_eq(end, "KB") ? 10 : str_eq(end, "MB") ? 20 : str_eq(end, "GB") ? 30 : 64;

	return shift < 64 && n <= UINT64_MAX >> shift ? n << shift : 0;
}

/*
 * How much of the guest's memory becomes huge pages: what the file system holds at most, or else what the container may
 * use. 0: nobody tells.
 */
static uint64_t huge_bytes(const struct plan_container *c, const struct statfs *fs)
{
	const Grpc__LinuxResources *res = c->spec->linux ? c->spec->linux->resources : NULL;

	if (fs->f_blocks)
		return (uint64_t)fs->f_blocks * (uint64_t)fs->f_bsize;
	for (size_t i = 0; res && i < res->n_hugepagelimits; i++)
		if (page_size(res->hugepagelimits[i]->pagesize) == (uint64_t)fs->f_bsize)
			return res->hugepagelimits[i]->limit;
	return 0;
}

static int add_huge_pages(struct plan_container *c, const char *source, const char *where, const struct stat *st,
			  struct err *e)
{
	struct plan_storage *s;
	struct statfs fs;
	uint64_t bytes;

	if (statfs(source, &fs) < 0)
		return err_sys(e, errno, "cannot use the volume %s", source);
	bytes = huge_bytes(c, &fs);
	if (!bytes)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "%s has huge pages without a limit: the container needs a limit of hugepages-SIZE",
			       source);
	s = plan_container_storage(c, "ephemeral", "nodev", "hugetlbfs", where);
	if (!s || strv_addf(&s->options, "pagesize=%llu", (unsigned long long)fs.f_bsize) < 0 ||
	    strv_addf(&s->options, "size=%llu", (unsigned long long)bytes) < 0 || add_owner(s, st, true) < 0)
		return out_of_memory(e);
	return 0;
}

static int add_memory(struct plan_container *c, const char *source, const char *where, const struct stat *st,
		      struct err *e)
{
	struct plan_storage *s = plan_container_storage(c, "ephemeral", "tmpfs", "tmpfs", where);
	struct statfs fs;

	if (!s)
		return out_of_memory(e);
	/* The kubelet mounts it with the volume's sizeLimit. */
	if (statfs(source, &fs) == 0 && fs.f_blocks &&
	    strv_addf(&s->options, "size=%llu", (unsigned long long)fs.f_blocks * (unsigned long long)fs.f_bsize) < 0)
		return out_of_memory(e);
	return add_owner(s, st, true) < 0 ? out_of_memory(e) : 0;
}

static int add_local(struct plan *p, struct plan_container *c, const char *source, const char *where,
		     const struct stat *st, struct err *e)
{
	struct plan_storage *s = plan_container_storage(c, "local", "local", "local", where);

	if (!s || add_owner(s, st, true) < 0)
		return out_of_memory(e);
	return share_copies(&p->share) && strv_addf(&c->notes,
						    "%s is kept in the guest's memory (shared_fs is \"none\"), not on "
						    "the host's disk",
						    source) < 0
		       ? out_of_memory(e)
		       : 0;
}

static bool lives_in_guest(const struct plan *p, enum plan_volume_kind kind)
{
	if (kind == PLAN_VOLUME_EMPTY)
		return share_copies(&p->share) || !p->config->runtime.disable_guest_empty_dir;
	return kind == PLAN_VOLUME_MEMORY || kind == PLAN_VOLUME_HUGE_PAGES;
}

static int whole_volume(struct plan *p, struct plan_container *c, const char *source, char **ret, struct err *e)
{
	enum plan_volume_kind kind = plan_volume_kind(source);
	_cleanup_free_ char *where = NULL;
	const char *name = volume_name(source, "kubernetes.io~empty-dir");
	struct stat st;
	int r;

	*ret = NULL;
	if (!lives_in_guest(p, kind))
		return 0;
	if (stat(source, &st) < 0)
		return err_sys(e, errno, "cannot use the volume %s", source);
	where = str_printf("%s/%s", kind == PLAN_VOLUME_EMPTY ? GUEST_LOCAL_DIR : GUEST_EPHEMERAL_DIR, name);
	if (!where)
		return out_of_memory(e);
	r = kind == PLAN_VOLUME_EMPTY    ? add_local(p, c, source, where, &st, e)
	    : kind == PLAN_VOLUME_MEMORY ? add_memory(c, source, where, &st, e)
					 : add_huge_pages(c, source, where, &st, e);
	if (r == 0)
		*ret = take_ptr(where);
	return r;
}

/* ---- parts of them ---- */

int plan_subpath_volume(const char *source, char **ret)
{
	static const char folder[] = "/volume-subpaths/";
	const char *at = strstr(source, folder), *name = at ? at + strlen(folder) : NULL;
	size_t length = name ? strcspn(name, "/") : 0, parts = 0;

	*ret = NULL;
	for (const char *p = name; p && (p = strchr(p, '/')) && p[1] && p[1] != '/'; p++)
		parts++;
	if (!length || parts != 2 || source[strlen(source) - 1] == '/')
		return 0;
	*ret = str_printf("%.*s/volumes/kubernetes.io~empty-dir/%.*s", (int)(at - source), source, (int)length, name);
	return *ret ? 0 : -ENOMEM;
}

/*
 * The path of the subPath in its volume: the kubelet has made it in the host's folder, without following links, and
 * told nobody but the kernel. *ret NULL: it is not in there.
 */
static int find_part(const char *volume, const char *source, char **ret)
{
	_cleanup_free_ char *whole = NULL, *part = NULL;
	const char *rest;
	dev_t whole_dev, part_dev;

	*ret = NULL;
	if (mountinfo_place(volume, &whole_dev, &whole) < 0 || mountinfo_place(source, &part_dev, &part) < 0 ||
	    whole_dev != part_dev)
		return 0;
	rest = str_eq(whole, "/") ? part : str_after(part, whole);
	if (!rest || *rest != '/' || !rest[1])
		return 0;
	*ret = strdup(rest + 1);
	return *ret ? 0 : -ENOMEM;
}

/* The guest's agent makes the folder there, too, as the kubelet has made it here. */
static int add_part(struct plan_container *c, const char *volume, const char *part, const struct stat *st, char **ret,
		    struct err *e)
{
	_cleanup_free_ char *where = str_printf(GUEST_SUBPATH_DIR "/%s-%zu", c->id, c->n_storages);
	struct plan_storage *s = where ? plan_container_storage(c, PLAN_SUBPATH_DRIVER, volume, "bind", where) : NULL;

	if (!s || strv_addf(&s->driver_options, "path=%s", part) < 0 ||
	    strv_addf(&s->driver_options, "mode=%04o", st->st_mode & 07777) < 0)
		return out_of_memory(e);
	*ret = take_ptr(where);
	return 0;
}

static int note_part(struct plan_container *c, const char *source, const char *volume, struct err *e)
{
	return strv_addf(&c->notes,
			 "%s is shared with the host, not with the containers that mount all of %s: this guest's agent "
			 "does not mount parts of volumes",
			 source, volume) < 0
		       ? out_of_memory(e)
		       : 0;
}

int plan_guest_volume(struct plan *p, struct plan_container *c, const char *source, char **ret, struct err *e)
{
	_cleanup_free_ char *volume = NULL, *part = NULL, *where = NULL;
	struct stat st;
	int r;

	*ret = NULL;
	if (plan_subpath_volume(source, &volume) < 0 || (volume && find_part(volume, source, &part) < 0))
		return out_of_memory(e);
	if (!part)
		return whole_volume(p, c, source, ret, e);
	if (!lives_in_guest(p, plan_volume_kind(volume)))
		return 0;
	if (!p->subpaths)
		return note_part(c, source, volume, e);
	if (stat(source, &st) < 0)
		return err_sys(e, errno, "cannot use the volume %s", source);
	r = whole_volume(p, c, volume, &where, e);
	return r < 0 ? r : add_part(c, where, part, &st, ret, e);
}

/* ---- volumes that change ---- */

static bool is_small(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	if (!d)
		return false;
	for (struct dirent *entry; n <= WATCHED_ENTRIES_MAX && (entry = readdir(d));)
		n += !str_eq(entry->d_name, ".") && !str_eq(entry->d_name, "..");
	closedir(d);
	return n <= WATCHED_ENTRIES_MAX;
}

int plan_watched_item(struct plan *p, struct plan_container *c, const char *source, const char *item, char **ret,
		      struct err *e)
{
	_cleanup_free_ char *from = NULL, *where = NULL;
	struct plan_storage *s;

	*ret = NULL;
	if (share_copies(&p->share) || plan_volume_kind(source) != PLAN_VOLUME_CHANGING || !is_small(source))
		return 0;
	from = str_printf(GUEST_SHARE_DIR "/%s", item);
	where = str_printf(GUEST_WATCHABLE_DIR "/%s", item);
	s = from && where ? plan_container_storage(c, "watchable-bind", from, "bind", where) : NULL;
	if (!s || strv_add(&s->options, "bind") < 0)
		return out_of_memory(e);
	*ret = take_ptr(where);
	return 0;
}
