/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/plan_devices.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "oci/spec.h"
#include "pod/plan_direct.h"
#include "pod/plan_list.h"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot plan the container's devices");
}

bool plan_takes_disks(const struct plan *p)
{
	struct vm_capabilities can = { 0 };

	p->driver->capabilities(&p->config->hypervisor, &can);
	return can.block;
}

/*
 * Majors that every Linux has alike: mem (null, zero …), tty and ptmx, and misc (10): those with a number of their own
 * (fuse, tun, kvm …); the others a kernel hands out as drivers come (linux/miscdevice.h).
 */
static bool same_everywhere(const Grpc__LinuxDevice *d)
{
	return str_eq(d->type, "p") || d->major == 1 || d->major == 5 ||
	       (d->major == 10 && d->minor >= 128 && d->minor < 255);
}

/* The host's name for the number; its path in the container may be another. */
static int find_block(const Grpc__LinuxDevice *d, char **ret, struct err *e)
{
	_cleanup_free_ char *uevent = str_printf("/sys/dev/block/%lld:%lld/uevent", (long long)d->major,
						 (long long)d->minor),
			    *text = NULL;
	const char *name;
	struct stat st;

	if (!uevent)
		return out_of_memory(e);
	if (stat(d->path, &st) == 0 && S_ISBLK(st.st_mode) &&
	    st.st_rdev == makedev((unsigned)d->major, (unsigned)d->minor)) {
		*ret = strdup(d->path);
		return *ret ? 0 : out_of_memory(e);
	}
	if (file_read(uevent, 4096, &text, NULL) < 0 || !(name = strstr(text, "DEVNAME=")))
		return err_set(e, ERR_CONFIG, ENODEV,
			       "device %s of the container: this host has no block device %lld:%lld", d->path,
			       (long long)d->major, (long long)d->minor);
	name += strlen("DEVNAME=");
	*ret = str_printf("/dev/%.*s", (int)strcspn(name, "\n"), name);
	return *ret ? 0 : out_of_memory(e);
}

/* May the container write to it? Without a rule for it, it may do nothing anyway. */
static bool is_writable(const Grpc__LinuxResources *res, const Grpc__LinuxDevice *d)
{
	bool known = false;

	for (size_t i = 0; res && i < res->n_devices; i++) {
		const Grpc__LinuxDeviceCgroup *rule = res->devices[i];

		if (!rule->allow || rule->major != d->major || rule->minor != d->minor)
			continue;
		known = true;
		if (strchr(rule->access, 'w'))
			return true;
	}
	return !known;
}

/* The disk for one of the spec's devices, whose numbers are those of the block device at path. */
static int add_disk(struct plan *p, struct plan_container *c, const Grpc__LinuxDevice *d, const char *path,
		    bool readonly, struct err *e)
{
	struct plan_block *blocks = realloc(c->blocks, (c->n_blocks + 1) * sizeof *blocks);
	struct vm_device *disk;

	if (!blocks)
		return out_of_memory(e);
	c->blocks = blocks;
	disk = plan_hold_block(p, c, path, makedev((unsigned)d->major, (unsigned)d->minor),
			       readonly || !is_writable(c->spec->linux->resources, d));
	if (!disk)
		return out_of_memory(e);
	blocks[c->n_blocks] = (struct plan_block){ .device = disk, .container_path = strdup(d->path) };
	return blocks[c->n_blocks++].container_path ? 0 : out_of_memory(e);
}

static int check_takes_disks(const struct plan *p, const char *path, struct err *e)
{
	return plan_takes_disks(p) ? 0
				   : err_set(e, ERR_CONFIG, ENOTSUP,
					     "device %s of the container is a block device, and this hypervisor has "
					     "none for guests",
					     path);
}

static int add_block(struct plan *p, struct plan_container *c, const Grpc__LinuxDevice *d, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r = check_takes_disks(p, d->path, e);

	if (r == 0)
		r = find_block(d, &path, e);
	return r < 0 ? r : add_disk(p, c, d, path, false, e);
}

static int note(struct plan_container *c, const char *path, struct err *e)
{
	return strv_addf(&c->notes, "%s is a device of the host, and this guest does not get it", path) < 0
		       ? out_of_memory(e)
		       : 0;
}

int plan_devices(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e)
{
	Grpc__Linux *l = c->spec->linux;
	bool privileged = q->pod && l && oci_spec_is_privileged(c->spec);
	size_t kept = 0;
	int r = 0;

	if (!q->pod || !l)
		return 0;
	for (size_t i = 0; i < l->n_devices; i++) {
		Grpc__LinuxDevice *d = l->devices[i];
		bool keep = same_everywhere(d);

		l->devices[i] = NULL;
		if (r == 0 && str_eq(d->type, "b") && !privileged) {
			r = add_block(p, c, d, e);
			keep = true;
		} else if (r == 0 && !keep && !privileged) {
			r = note(c, d->path, e);
		}
		if (keep)
			l->devices[kept++] = d;
		else
			grpc__linux_device__free_unpacked(d, NULL);
	}
	l->n_devices = kept;
	return r;
}

/* ---- bind mounts of them ---- */

static bool has_device(const Grpc__Linux *l, const char *path)
{
	for (size_t i = 0; l && i < l->n_devices; i++)
		if (str_eq(l->devices[i]->path, path))
			return true;
	return false;
}

/* Behind the spec's own devices, as the bind mount would show it. NULL: out of memory. */
static Grpc__LinuxDevice *append_device(Grpc__Spec *spec, const char *path, const struct stat *st)
{
	Grpc__LinuxDevice *d, **list;

	if (!spec->linux && (spec->linux = malloc(sizeof *spec->linux)))
		grpc__linux__init(spec->linux);
	list = spec->linux ? realloc(spec->linux->devices, (spec->linux->n_devices + 1) * sizeof *list) : NULL;
	if (!list)
		return NULL;
	spec->linux->devices = list;
	d = malloc(sizeof *d);
	if (!d)
		return NULL;
	grpc__linux_device__init(d);
	list[spec->linux->n_devices++] = d;
	d->path = strdup(path);
	d->type = strdup("b");
	d->major = major(st->st_rdev);
	d->minor = minor(st->st_rdev);
	d->filemode = st->st_mode & 07777;
	d->uid = st->st_uid;
	d->gid = st->st_gid;
	return d->path && d->type ? d : NULL;
}

int plan_bound_device(struct plan *p, struct plan_container *c, const char *source, const char *target, bool readonly,
		      struct err *e)
{
	const Grpc__LinuxDevice *d;
	struct stat st;
	int r;

	if (stat(source, &st) < 0 || !S_ISBLK(st.st_mode))
		return 0;
	if (has_device(c->spec->linux, target))
		return 1;
	r = check_takes_disks(p, target, e);
	if (r < 0)
		return r;
	d = append_device(c->spec, target, &st);
	if (!d)
		return out_of_memory(e);
	r = add_disk(p, c, d, source, readonly, e);
	return r < 0 ? r : 1;
}
