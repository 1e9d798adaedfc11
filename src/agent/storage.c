// SPDX-License-Identifier: Apache-2.0
/*
 * A driver is a function that makes one storage; most of them find a source and mount it. Undoing is the same for all:
 * unmount, and remove the mount point if we made it.
 */
#include "agent/storage.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/device.h"
#include "agent/modules.h"
#include "agent/watchable.h"
#include "base/fd.h"
#include "base/log.h"
#include "sys/inroot.h"
#include "sys/mounts.h"

#define WATCHABLE_DIR    AGENT_SHARE_DIR "/watchable"
#define WATCHABLES_MAX   64 /* more are mounted, and give no events */
#define CREATE_DIRECTORY "io.katacontainers.volume.overlayfs.create_directory="

struct storage {
	struct list node;
	struct agent *agent;
	char *mount_point;
	unsigned int refs;
	bool mounted, made_dir, made_tree; /* made_tree: with its content ours to delete (local) */
	struct watchable *watchable;
};

struct driver {
	const char *name;
	const char *device; /* the kind for device_resolve() of its source; NULL: the source is no device */
	int (*make)(struct storage *s, const Grpc__Storage *spec, struct err *e);
};

bool storage_path_valid(const char *path)
{
	if (!path || path[0] != '/' || strlen(path) >= PATH_MAX)
		return false;
	for (const char *p = path; *p;) {
		size_t n;

		p += strspn(p, "/");
		n = strcspn(p, "/");
		if (n > NAME_MAX || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
			return false;
		p += n;
	}
	return path[strspn(path, "/")] != '\0';
}

static struct storage *find_storage(struct agent *a, const char *mount_point)
{
	struct storage *s;

	list_foreach (s, &a->storages, struct storage, node)
		if (!strcmp(s->mount_point, mount_point))
			return s;
	return NULL;
}

static int make_mount_point(struct storage *s, bool file, struct err *e)
{
	_cleanup_free_ char *parent = NULL;
	struct stat st;
	int r;

	if (stat(s->mount_point, &st) == 0)
		return 0;
	if (file) {
		parent = strdup(s->mount_point);
		if (!parent)
			return err_sys(e, ENOMEM, "cannot make mount point %s", s->mount_point);
		*strrchr(parent, '/') = '\0';
		r = *parent ? dir_make(parent, 0755) : 0;
		if (r == 0) {
			_cleanup_close_ int fd =
				open(s->mount_point, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0644);

			r = fd < 0 ? -errno : 0;
		}
	} else {
		r = dir_make(s->mount_point, 0755);
	}
	if (r < 0)
		return err_sys(e, -r, "cannot make mount point %s", s->mount_point);
	s->made_dir = true;
	return 0;
}

static int mount_spec(struct storage *s, const char *source, const char *fstype, char *const *options, size_t n,
		      struct err *e)
{
	_cleanup_mount_options_ struct mount_options o = { 0 };
	struct stat st;
	int r = mount_options_parse(options, n, &o, e);

	if (r == 0)
		r = make_mount_point(s, o.bind && stat(source, &st) == 0 && !S_ISDIR(st.st_mode), e);
	if (r == 0 && !o.bind)
		module_load_for_filesystem(fstype);
	if (r == 0)
		r = mount_at_path(source, s->mount_point, fstype, &o, e);
	if (r < 0)
		return r;
	s->mounted = true;
	return 0;
}

static int make_mount(struct storage *s, const Grpc__Storage *spec, struct err *e)
{
	return mount_spec(s, spec->source, spec->fstype, spec->options, spec->n_options, e);
}

static int make_bind(struct storage *s, const Grpc__Storage *spec, struct err *e)
{
	struct strv options = { 0 };
	int r;

	if (!storage_path_valid(spec->source))
		return err_set(e, ERR_PROTOCOL, EINVAL, "source \"%.128s\" of a bind storage is not an absolute path",
			       spec->source);
	r = strv_copy(&options, spec->options, spec->n_options);
	if (r == 0 && !strv_contains(&options, "rbind"))
		r = strv_add(&options, "bind");
	if (r < 0)
		err_sys(e, ENOMEM, "cannot mount %s", s->mount_point);
	else
		r = mount_spec(s, spec->source, "bind", options.v, options.len, e);
	strv_fini(&options);
	return r;
}

/*
 * A part of another storage, which the pod's containers write to: they may have put links there, and must not lead us
 * out. "path=": where; a folder that is not there is made, of "mode=".
 */
static int make_subpath(struct storage *s, const Grpc__Storage *spec, struct err *e)
{
	_cleanup_close_ int volume = -1, part = -1, copy = -1;
	const char *path = NULL, *v;
	uint64_t mode = 0755;
	struct stat st;
	int r;

	for (size_t i = 0; i < spec->n_driver_options; i++) {
		if ((v = str_after(spec->driver_options[i], "path=")))
			path = v;
		else if (!(v = str_after(spec->driver_options[i], "mode=")) || str_to_u64(v, 8, &mode) < 0 ||
			 mode > 07777)
			return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.64s\" is not an option", spec->driver_options[i]);
	}
	if (!path || !find_storage(s->agent, spec->source))
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.128s\" is no storage with a part \"%.128s\"", spec->source,
			       path ? path : "");
	volume = open(spec->source, O_PATH | O_DIRECTORY | O_CLOEXEC);
	part = volume < 0 ? -errno : inroot_make_plain(volume, path, (mode_t)mode);
	if (part < 0)
		return err_sys(e, -part, "cannot use %.128s of %s", path, spec->source);
	if (fstat(part, &st) < 0)
		return err_sys(e, errno, "cannot use %.128s of %s", path, spec->source);
	r = make_mount_point(s, !S_ISDIR(st.st_mode), e);
	if (r < 0)
		return r;
	copy = mount_clone_at(part, "", true);
	r = copy < 0 ? copy : mount_attach_path(copy, s->mount_point);
	if (r < 0)
		return err_sys(e, -r, "cannot mount %.128s of %s", path, spec->source);
	s->mounted = true;
	return 0;
}

/* Copies must not go to the host: the folder that Kata has for them is inside the shared one. */
static int mount_watchables(struct agent *a, struct err *e)
{
	int r = a->watchables_mounted ? 0 : dir_make(WATCHABLE_DIR, 0755);

	if (r == 0 && !a->watchables_mounted &&
	    mount("tmpfs", WATCHABLE_DIR, "tmpfs", MS_NOSUID | MS_NODEV, "mode=0755") < 0)
		r = -errno;
	if (r < 0)
		return err_sys(e, -r, "cannot mount a tmpfs on " WATCHABLE_DIR);
	a->watchables_mounted = true;
	return 0;
}

static int make_watchable(struct storage *s, const Grpc__Storage *spec, struct err *e)
{
	struct agent *a = s->agent;
	struct err small = { 0 };
	struct stat st;
	int r = 0;

	if (!storage_path_valid(spec->source))
		return err_set(e, ERR_PROTOCOL, EINVAL, "source \"%.128s\" of a storage is not an absolute path",
			       spec->source);
	if (stat(spec->source, &st) < 0)
		return err_sys(e, errno, "cannot find %.256s", spec->source);
	if (str_after(s->mount_point, WATCHABLE_DIR "/"))
		r = mount_watchables(a, e);
	if (r == 0)
		r = make_mount_point(s, !S_ISDIR(st.st_mode), e);
	if (r < 0)
		return r;
	/* Where something was before, it is not ours to overwrite. */
	if (s->made_dir && a->n_watchables < WATCHABLES_MAX &&
	    (S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && st.st_size <= WATCHABLE_BYTES_MAX)) &&
	    watchable_new(a->loop, spec->source, s->mount_point, &s->watchable, &small) == 0) {
		s->made_tree = S_ISDIR(st.st_mode);
		a->n_watchables++;
		return 0;
	}
	if (err_is_set(&small))
		log_debug("%s; mounted without", small.text);
	return make_bind(s, spec, e);
}

static int make_block(struct storage *s, const Grpc__Storage *spec, struct err *e)
{
	struct device_node node;
	int r;

	for (size_t i = 0; i < spec->n_driver_options; i++)
		if (!strcmp(spec->driver_options[i], "create_filesystem") ||
		    str_after(spec->driver_options[i], "encryption_key="))
			return err_set(e, ERR_PROTOCOL, ENOSYS,
				       "storage %s: formatting or encrypting a volume in the guest (\"%.64s\") is not "
				       "supported by this agent",
				       s->mount_point, spec->driver_options[i]);
	r = device_resolve("", spec->driver, spec->source, &node, e);
	if (r == 0)
		r = mount_spec(s, node.path, spec->fstype, spec->options, spec->n_options, e);
	if (r == 0 && spec->fs_group)
		r = storage_set_fsgroup(s->mount_point, spec->fs_group, e);
	return r;
}

/*
 * A lower directory may be the root of a file system that the host mounted in the shared folder: virtio-fs shows that
 * as a mount which is made when a path leads through it, and overlayfs does not do so. "lowerdir=A:B\:C:D", as the
 * kernel reads it. Returns whether *ret_top is the first one's.
 */
static bool enter_lower_dirs(const char *list, struct stat *ret_top)
{
	bool first = true, found = false;
	char path[PATH_MAX];
	size_t n = 0;

	for (const char *p = list;; p++) {
		if (*p && *p != ':') {
			if (*p == '\\' && p[1])
				p++;
			if (n < sizeof path)
				path[n++] = *p;
			continue;
		}
		if (n > 0 && n + sizeof "/." <= sizeof path) {
			_cleanup_close_ int fd = -1;

			strcpy(path + n, "/.");
			fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC); /* the mount says it better when it fails */
			found = first ? fd >= 0 && fstat(fd, ret_top) == 0 : found;
			first = false;
		}
		n = 0;
		if (!*p)
			return found;
	}
}

/*
 * The overlay's own folder is the upper one: it is to be whose the lower one is, and as open, or the root of a user
 * namespace is not at home in its own root.
 */
static int dress_upper_dir(const Grpc__Storage *spec, const struct stat *top, struct err *e)
{
	for (size_t i = 0; i < spec->n_driver_options; i++)
		for (size_t k = 0; k < spec->n_options; k++) {
			const char *made = str_after(spec->driver_options[i], CREATE_DIRECTORY);
			const char *upper = str_after(spec->options[k], "upperdir=");

			if (!made || !upper || !str_eq(made, upper))
				continue;
			if (chown(upper, top->st_uid, top->st_gid) < 0 || chmod(upper, top->st_mode & 07777) < 0)
				return err_sys(e, errno, "cannot set the owner and mode of overlay directory %s",
					       upper);
		}
	return 0;
}

static int make_overlay(struct storage *s, const Grpc__Storage *spec, struct err *e)
{
	for (size_t i = 0; i < spec->n_driver_options; i++) {
		const char *dir = str_after(spec->driver_options[i], CREATE_DIRECTORY);
		int r;

		if (!dir)
			continue;
		if (!storage_path_valid(dir))
			return err_set(e, ERR_PROTOCOL, EINVAL, "overlay directory \"%.128s\" is not an absolute path",
				       dir);
		r = dir_make(dir, 0755);
		if (r < 0)
			return err_sys(e, -r, "cannot make overlay directory %s", dir);
	}
	for (size_t i = 0; i < spec->n_options; i++) {
		const char *dirs = str_after(spec->options[i], "lowerdir=");
		struct stat top;

		if (dirs && enter_lower_dirs(dirs, &top) && dress_upper_dir(spec, &top, e) < 0)
			return -e->code;
	}
	return mount_spec(s, *spec->source ? spec->source : "overlay", *spec->fstype ? spec->fstype : "overlay",
			  spec->options, spec->n_options, e);
}

/* "mode=", "fsgid=" of local and ephemeral storages. 1: not one of these. */
static int take_option(const char *option, mode_t *mode, gid_t *gid)
{
	const char *v;
	uint64_t n;

	if ((v = str_after(option, "fsgid="))) {
		if (str_to_u64(v, 10, &n) < 0 || n >= UINT32_MAX)
			return -EINVAL;
		*gid = (gid_t)n;
		return 0;
	}
	if ((v = str_after(option, "mode="))) {
		if (str_to_u64(v, 8, &n) < 0 || n > 07777)
			return -EINVAL;
		*mode = (mode_t)n;
		return 0;
	}
	return 1;
}

static int give_to_group(const char *path, gid_t gid, struct err *e)
{
	struct stat st;

	if (stat(path, &st) < 0 || chown(path, (uid_t)-1, gid) < 0 || chmod(path, (st.st_mode & 07777) | 02000) < 0)
		return err_sys(e, errno, "cannot give %s to group %u", path, gid);
	return 0;
}

static uint64_t parse_size(const char *text)
{
	char *end;
	uint64_t v = strtoull(text, &end, 10);
	unsigned int shift = *end == 'k' || *end == 'K'   ? 10
			     : *end == 'm' || *end == 'M' ? 20
			     : *end == 'g' || *end == 'G' ? 30
							  : 0;

	return v > UINT64_MAX >> shift ? 0 : v << shift;
}

/* Reserve the pages of a hugetlbfs: "pagesize=2M", "size=…"; the guest boots with none. */
static int reserve_huge_pages(const Grpc__Storage *spec, struct err *e)
{
	_cleanup_free_ char *old = NULL;
	uint64_t page = 0, size = 0, have = 0;
	char path[128], text[32];
	int r;

	for (size_t i = 0; i < spec->n_options; i++) {
		const char *v;

		if ((v = str_after(spec->options[i], "pagesize=")))
			page = parse_size(v);
		else if ((v = str_after(spec->options[i], "size=")))
			size = parse_size(v);
	}
	if (page < 1024)
		return err_set(e, ERR_PROTOCOL, EINVAL, "hugetlbfs storage without a valid pagesize");
	snprintf(path, sizeof path, "/sys/kernel/mm/hugepages/hugepages-%llukB/nr_hugepages",
		 (unsigned long long)(page >> 10));
	if (file_read(path, 64, &old, NULL) < 0)
		return err_set(e, ERR_GUEST, ENOTSUP, "the guest kernel has no huge pages of %llu KiB",
			       (unsigned long long)(page >> 10));
	have = strtoull(old, NULL, 10);
	snprintf(text, sizeof text, "%llu", (unsigned long long)(have + size / page));
	r = file_write(path, text);
	if (r < 0)
		return err_sys(e, -r, "cannot reserve huge pages");
	return 0;
}

static int make_ephemeral(struct storage *s, const Grpc__Storage *spec, struct err *e)
{
	struct strv options = { 0 };
	gid_t gid = (gid_t)-1;
	mode_t mode = 0;
	int r = 0;

	if (strcmp(spec->fstype, "tmpfs") && strcmp(spec->fstype, "hugetlbfs"))
		return err_set(e, ERR_PROTOCOL, EINVAL, "an ephemeral storage is tmpfs or hugetlbfs, not \"%.32s\"",
			       spec->fstype);
	if (!strcmp(spec->fstype, "hugetlbfs"))
		r = reserve_huge_pages(spec, e);
	for (size_t i = 0; i < spec->n_options && r == 0; i++) {
		/* mode= is an option of tmpfs itself. */
		if (!str_after(spec->options[i], "fsgid="))
			r = strv_add(&options, spec->options[i]);
		else if (take_option(spec->options[i], &mode, &gid) < 0)
			r = err_set(e, ERR_PROTOCOL, EINVAL, "\"%.64s\" is not an option", spec->options[i]);
		if (r == -ENOMEM)
			err_sys(e, ENOMEM, "cannot mount %s", s->mount_point);
	}
	if (r == 0)
		r = mount_spec(s, *spec->source ? spec->source : spec->fstype, spec->fstype, options.v, options.len, e);
	if (r == 0 && gid != (gid_t)-1)
		r = give_to_group(s->mount_point, gid, e);
	strv_fini(&options);
	return r;
}

static int make_local(struct storage *s, const Grpc__Storage *spec, struct err *e)
{
	gid_t gid = (gid_t)-1;
	mode_t mode = 0755;
	struct stat st;
	int r;

	for (size_t i = 0; i < spec->n_options; i++)
		if (take_option(spec->options[i], &mode, &gid) < 0)
			return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.64s\" is not an option", spec->options[i]);
	s->made_tree = stat(s->mount_point, &st) < 0;
	r = dir_make(s->mount_point, 0755);
	if (r == 0 && chmod(s->mount_point, mode) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(e, -r, "cannot make %s", s->mount_point);
	return gid == (gid_t)-1 ? 0 : give_to_group(s->mount_point, gid, e);
}

static const struct driver drivers[] = {
	{ "virtio-fs", NULL, make_mount },
	{ "9p", NULL, make_mount },
	{ "blk", "blk", make_block },
	{ "mmioblk", "mmioblk", make_block },
	{ "scsi", "scsi", make_block },
	{ "nvdimm", "nvdimm", make_block },
	{ "overlayfs", NULL, make_overlay },
	{ "ephemeral", NULL, make_ephemeral },
	{ "local", NULL, make_local },
	{ "bind", NULL, make_bind },
	{ "caisson.subpath", NULL, make_subpath },
	{ "watchable-bind", NULL, make_watchable },
};

const char *const storage_driver_names[] = {
	"virtio-fs", "9p",    "blk",  "mmioblk",         "scsi",           "nvdimm", "overlayfs",
	"ephemeral", "local", "bind", "caisson.subpath", "watchable-bind", NULL
};

static const struct driver *find_driver(const Grpc__Storage *spec, struct err *e)
{
	for (size_t i = 0; i < sizeof drivers / sizeof drivers[0]; i++)
		if (!strcmp(drivers[i].name, spec->driver))
			return &drivers[i];
	err_set(e, ERR_PROTOCOL, ENOSYS, "storage driver \"%.64s\" is not supported by this agent", spec->driver);
	return NULL;
}

int storages_ready(Grpc__Storage *const *storages, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct driver *d = find_driver(storages[i], e);
		struct device_node node;
		int r;

		if (!d)
			return -ENOSYS;
		r = d->device ? device_resolve("", d->device, storages[i]->source, &node, e) : 0;
		if (r < 0)
			return r;
	}
	return 0;
}

static void storage_free(struct storage *s)
{
	if (s->mounted && umount2(s->mount_point, UMOUNT_NOFOLLOW) < 0 &&
	    umount2(s->mount_point, UMOUNT_NOFOLLOW | MNT_DETACH) < 0)
		log_warn("cannot unmount %s: %s", s->mount_point, strerror(errno));
	if (s->watchable)
		s->agent->n_watchables--;
	watchable_free(s->watchable);
	if (s->made_tree)
		dir_remove(s->mount_point);
	else if (s->made_dir && rmdir(s->mount_point) < 0 && errno == ENOTDIR)
		unlink(s->mount_point);
	list_remove(&s->node);
	free(s->mount_point);
	free(s);
}

static void release(struct agent *a, const char *mount_point)
{
	struct storage *s = find_storage(a, mount_point);

	if (s && --s->refs == 0) {
		a->n_storages--;
		storage_free(s);
	}
	if (a->watchables_mounted && a->n_storages == 0) {
		umount2(WATCHABLE_DIR, MNT_DETACH); /* may have gone with what it was mounted on */
		a->watchables_mounted = false;
	}
}

static int add_one(struct agent *a, const Grpc__Storage *spec, struct err *e)
{
	const struct driver *d = find_driver(spec, e);
	struct storage *s;
	int r;

	if (!d)
		return -ENOSYS;
	if (!storage_path_valid(spec->mount_point))
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.128s\" is not a valid mount point", spec->mount_point);
	s = find_storage(a, spec->mount_point);
	if (s) {
		s->refs++;
		return 0;
	}
	if (a->n_storages >= AGENT_STORAGES_MAX)
		return err_set(e, ERR_LIMIT, ENOSPC, "there are %d storages already", AGENT_STORAGES_MAX);
	s = calloc(1, sizeof *s);
	if (!s)
		return err_sys(e, ENOMEM, "cannot mount %s", spec->mount_point);
	list_init(&s->node);
	s->agent = a;
	s->refs = 1;
	s->mount_point = strdup(spec->mount_point);
	r = s->mount_point ? d->make(s, spec, e) : err_sys(e, ENOMEM, "cannot mount %s", spec->mount_point);
	if (r < 0) {
		if (s->mount_point)
			storage_free(s);
		else
			free(s);
		return r;
	}
	list_append(&a->storages, &s->node);
	a->n_storages++;
	log_debug("storage %s (%s) is ready", spec->mount_point, spec->driver);
	return 0;
}

static void release_from(struct agent *a, struct strv *held, size_t keep)
{
	while (held->len > keep) {
		char *last = held->v[--held->len];

		held->v[held->len] = NULL;
		release(a, last);
		free(last);
	}
}

/*
 * An emptyDir of a pod outlives the container that is the first to mount it, as a restarted one expects: the sandbox
 * holds a reference, too. Told by the places that Kata's runtime and ours have for them.
 */
static int hold_for_sandbox(struct agent *a, const char *mount_point)
{
	struct storage *s = find_storage(a, mount_point);

	if (s->refs > 1 || (!str_after(mount_point, AGENT_SANDBOX_DIR "/ephemeral/") &&
			    !str_after(mount_point, AGENT_SANDBOX_DIR "/local/")))
		return 0;
	if (strv_add(&a->sandbox.storages, mount_point) < 0)
		return -ENOMEM;
	s->refs++;
	return 0;
}

int storages_add(struct agent *a, Grpc__Storage *const *storages, size_t n, struct strv *held, struct err *e)
{
	size_t before = held->len;

	for (size_t i = 0; i < n; i++) {
		int r = add_one(a, storages[i], e);

		if (r < 0) {
			err_wrap(e, "storage %zu (%.64s on %.128s)", i, storages[i]->driver, storages[i]->mount_point);
		} else if (strv_add(held, storages[i]->mount_point) < 0) {
			release(a, storages[i]->mount_point);
			r = err_sys(e, ENOMEM, "cannot mount %s", storages[i]->mount_point);
		} else if (held != &a->sandbox.storages && hold_for_sandbox(a, storages[i]->mount_point) < 0) {
			r = err_sys(e, ENOMEM, "cannot mount %s", storages[i]->mount_point);
		}
		if (r < 0) {
			release_from(a, held, before);
			return r;
		}
	}
	return 0;
}

void storages_release(struct agent *a, struct strv *held)
{
	release_from(a, held, 0);
}

/* Change options of a mounted file system; the flags of the mount stay. */
static int reconfigure(const char *mount_point, const struct mount_options *o)
{
	_cleanup_close_ int fd = (int)syscall(SYS_fspick, AT_FDCWD, mount_point, FSPICK_CLOEXEC);

	if (fd < 0)
		return -errno;
	for (size_t i = 0; i < o->data.len; i++) {
		char *key = o->data.v[i], *value = strchr(key, '=');
		long r;

		if (value)
			*value++ = '\0';
		r = syscall(SYS_fsconfig, fd, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, key, value, 0);
		if (r < 0)
			return -errno;
	}
	return syscall(SYS_fsconfig, fd, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0) < 0 ? -errno : 0;
}

int storages_remount(struct agent *a, Grpc__Storage *const *storages, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		_cleanup_mount_options_ struct mount_options o = { 0 };
		const Grpc__Storage *spec = storages[i];
		int r;

		if (strcmp(spec->driver, "ephemeral") || strcmp(spec->fstype, "tmpfs"))
			return err_set(e, ERR_PROTOCOL, EINVAL, "only ephemeral tmpfs storages can be changed");
		if (!find_storage(a, spec->mount_point))
			return err_set(e, ERR_PROTOCOL, ENOENT, "there is no storage on \"%.128s\"", spec->mount_point);
		r = mount_options_parse(spec->options, spec->n_options, &o, e);
		if (r == 0 && (r = reconfigure(spec->mount_point, &o)) < 0)
			err_sys(e, -r, "cannot change the options of %s", spec->mount_point);
		if (r < 0)
			return r;
	}
	return 0;
}
