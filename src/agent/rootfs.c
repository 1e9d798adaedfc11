/* SPDX-License-Identifier: Apache-2.0 */
/* See rootfs.h. */
#include "agent/rootfs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "sys/inroot.h"
#include "sys/mounts.h"

#define MOUNTINFO_MAX (4u << 20)

bool rootfs_is_cgroup(const Grpc__Mount *m)
{
	return str_eq(m->type, "cgroup") || str_eq(m->type, "cgroup2");
}

static int parse_options(const Grpc__Mount *m, struct mount_options *ret, struct err *e)
{
	int r = mount_options_parse(m->options, m->n_options, ret, e);

	if (r < 0) {
		err_wrap(e, "mount at %s", m->destination);
		return r;
	}
	if (str_eq(m->type, "bind") && !ret->bind && !ret->remount)
		ret->bind = ret->recursive = true;
	return 0;
}

static bool shared_root(const Grpc__Spec *spec)
{
	const char *p = spec->linux ? spec->linux->rootfspropagation : "";

	return str_eq(p, "shared") || str_eq(p, "rshared");
}

/* A detached copy of source for m. Slave unless the spec wants mounts to travel out: they still travel in. */
static int open_source(const struct rootfs *r, const Grpc__Mount *m, const char *source, const struct mount_options *o,
		       struct err *e)
{
	struct mount_attr slave = { .propagation = MS_SLAVE };
	_cleanup_close_ int fd = mount_clone_at(AT_FDCWD, source, o->recursive);
	int rc;

	if (fd < 0)
		return err_sys(e, -fd, "bind mount %s at %s", source, m->destination);
	if (!shared_root(r->spec) && mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &slave, sizeof(slave)) < 0)
		return err_sys(e, errno, "bind mount %s at %s", source, m->destination);
	rc = mount_apply_attributes(fd, o, e);
	if (rc < 0) {
		err_wrap(e, "bind mount %s at %s", source, m->destination);
		return rc;
	}
	return take_fd(&fd);
}

int rootfs_open_sources(struct rootfs *r, struct err *e)
{
	const Grpc__Spec *spec = r->spec;
	struct mount_options whole = { .bind = true, .recursive = true };
	struct mount_attr private = { .propagation = MS_PRIVATE };
	Grpc__Mount root = { .destination = (char *)"/" };

	r->source_fds = calloc(spec->n_mounts + 1, sizeof(int));
	if (!r->source_fds)
		return err_sys(e, ENOMEM, "prepare mounts");
	for (size_t i = 0; i < spec->n_mounts; i++)
		r->source_fds[i] = -1;
	r->root_fd = open_source(r, &root, spec->root->path, &whole, e);
	if (r->root_fd < 0) {
		err_wrap(e, "root file system");
		return r->root_fd;
	}
	/* The mount itself, whatever rootfsPropagation says: see rootfs_enter(). */
	if (mount_setattr(r->root_fd, "", AT_EMPTY_PATH, &private, sizeof(private)) < 0)
		return err_sys(e, errno, "root file system %s", spec->root->path);
	for (size_t i = 0; i < spec->n_mounts; i++) {
		_cleanup_mount_options_ struct mount_options o = { 0 };
		const Grpc__Mount *m = spec->mounts[i];
		bool sysfs = r->user_ns && str_eq(m->type, "sysfs");

		if (parse_options(m, &o, e) < 0)
			return -e->code;
		/* A new sysfs belongs to who owns the network namespace, and that is not a user namespace's root. */
		if (!o.remount && (o.bind || sysfs)) {
			r->source_fds[i] = open_source(r, m, o.bind ? m->source : "/sys", &o, e);
			if (r->source_fds[i] < 0)
				return -e->code;
		}
	}
	return r->user_ns ? rootfs_open_devices(r, e) : 0;
}

int rootfs_open_queues(struct rootfs *r, struct err *e)
{
	for (size_t i = 0; i < r->spec->n_mounts; i++) {
		_cleanup_mount_options_ struct mount_options o = { 0 };
		const Grpc__Mount *m = r->spec->mounts[i];

		if (!str_eq(m->type, "mqueue") || r->source_fds[i] >= 0)
			continue;
		if (parse_options(m, &o, e) < 0)
			return -e->code;
		if (!o.remount && mount_detached("mqueue", "mqueue", &o, &r->source_fds[i], e) < 0) {
			err_wrap(e, "mount at %s", m->destination);
			return -e->code;
		}
	}
	return 0;
}

/* pivot_root(2) and private bind mounts need a parent mount that does not share: find it above path. */
static void make_parent_private(const char *path)
{
	_cleanup_free_ char *p = strdup(path);

	while (p && *p) {
		if (mount(NULL, p, NULL, MS_PRIVATE, NULL) == 0)
			return;
		*strrchr(p, '/') = '\0';
	}
	mount(NULL, "/", NULL, MS_PRIVATE, NULL);
}

static int attach_root(struct rootfs *r, struct err *e)
{
	const char *path = r->spec->root->path;
	int rc;

	if (mount(NULL, "/", NULL, shared_root(r->spec) ? MS_SHARED | MS_REC : MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "set the propagation of /");
	if (shared_root(r->spec))
		make_parent_private(path);
	rc = mount_attach_path(r->root_fd, path);
	return rc < 0 ? err_sys(e, -rc, "mount the root file system %s", path) : 0;
}

static int cgroup_source(const struct rootfs *r, const Grpc__Mount *m, const struct mount_options *o, struct err *e)
{
	struct mount_options opts = *o;
	int fd, rc;

	/* v1 names a controller among the options, which means nothing to cgroup2. */
	opts.data = (struct strv){ 0 };
	if (r->cgroup_ns && mount_detached("cgroup", "cgroup2", &opts, &fd, e) == 0)
		return fd;
	if (!r->cgroup_path)
		return -ENODEV;
	*e = (struct err){ 0 };
	fd = mount_clone_at(AT_FDCWD, r->cgroup_path, true);
	if (fd < 0)
		return err_sys(e, -fd, "bind mount the cgroup at %s", m->destination);
	rc = mount_apply_attributes(fd, o, e);
	if (rc < 0)
		close(fd);
	return rc < 0 ? rc : fd;
}

static int copy_up(int target_fd, int mount_fd, struct err *e)
{
	_cleanup_close_ int from = openat(target_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int to = openat(mount_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = from < 0 || to < 0 ? -errno : copy_tree(from, to);

	return rc < 0 ? err_sys(e, -rc, "tmpcopyup") : 0;
}

/* As runc has it: a tmpfs whose mode nobody has said has that of the directory that it covers. */
static int inherit_mode(const struct rootfs *r, const Grpc__Mount *m, struct mount_options *o, struct err *e)
{
	_cleanup_close_ int fd = inroot_open(r->root_fd, m->destination, O_PATH | O_DIRECTORY, 0);
	struct stat st;

	for (size_t i = 0; i < o->data.len; i++)
		if (str_after(o->data.v[i], "mode="))
			return 0;
	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	return strv_addf(&o->data, "mode=%o", st.st_mode & 07777) < 0
		       ? err_sys(e, ENOMEM, "mount at %s", m->destination)
		       : 0;
}

/* CVE-2019-19921: an image whose /proc is a link has another one looked at than the one that is covered in part. */
static int check_plain(const struct rootfs *r, const Grpc__Mount *m, struct err *e)
{
	_cleanup_close_ int fd = inroot_open(r->root_fd, m->destination, O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && !S_ISDIR(st.st_mode)
		       ? err_set(e, ERR_CONFIG, ENOTDIR, "filesystem \"%s\" must be mounted on ordinary directory",
				 m->type)
		       : 0;
}

/* A new file system. Its "ro" waits until everything that is to be mounted or made inside exists. */
static int new_source(struct rootfs *r, const Grpc__Mount *m, struct mount_options *o, struct err *e)
{
	bool late_ro = str_eq(m->type, "tmpfs") && (o->attr_set & MOUNT_ATTR_RDONLY);
	int fd, rc = 0;

	if (str_eq(m->type, "tmpfs"))
		rc = inherit_mode(r, m, o, e);
	else if (str_eq(m->type, "proc") || str_eq(m->type, "sysfs"))
		rc = check_plain(r, m, e);
	if (rc < 0)
		return rc;
	if (late_ro && r->n_late_ro < sizeof(r->late_ro_fds) / sizeof(r->late_ro_fds[0])) {
		o->attr_set &= ~(uint64_t)MOUNT_ATTR_RDONLY;
		o->sb_flags &= ~(unsigned long)MS_RDONLY;
	} else {
		late_ro = false;
	}
	rc = mount_detached(str_empty(m->source) ? m->type : m->source, m->type, o, &fd, e);
	if (rc < 0) {
		err_wrap(e, "mount at %s", m->destination);
		return rc;
	}
	if (late_ro) {
		int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

		if (copy >= 0)
			r->late_ro_fds[r->n_late_ro++] = copy;
	}
	return fd;
}

/* "remount", or propagation alone: change what is mounted there. */
static int change_mount(struct rootfs *r, const Grpc__Mount *m, const struct mount_options *o, struct err *e)
{
	_cleanup_close_ int fd = inroot_open(r->root_fd, m->destination, O_PATH, 0);
	int rc;

	if (fd < 0)
		return err_sys(e, -fd, "remount %s", m->destination);
	rc = mount_apply_attributes(fd, o, e);
	if (rc < 0)
		err_wrap(e, "remount %s", m->destination);
	return rc;
}

static int do_mount(struct rootfs *r, size_t i, struct err *e)
{
	const Grpc__Mount *m = r->spec->mounts[i];
	_cleanup_mount_options_ struct mount_options o = { 0 };
	_cleanup_close_ int source = r->source_fds[i], target = -1;
	bool directory = true;
	struct stat st;
	int rc = parse_options(m, &o, e);

	r->source_fds[i] = -1;
	if (rc < 0)
		return rc;
	if (str_empty(m->destination))
		return err_set(e, ERR_CONFIG, EINVAL, "mount of %s: it has no destination", m->source);
	if (source < 0 && (o.remount || (o.n_propagation && (str_empty(m->type) || str_eq(m->type, "none")))))
		return change_mount(r, m, &o, e);
	if (source < 0 && rootfs_is_cgroup(m)) {
		source = cgroup_source(r, m, &o, e);
		if (source == -ENODEV) {
			*e = (struct err){ 0 };
			log_warn("no cgroup v2 hierarchy: nothing is mounted at %s", m->destination);
			return 0;
		}
	} else if (source < 0) {
		source = new_source(r, m, &o, e);
	}
	if (source < 0)
		return source;
	if (fstat(source, &st) < 0)
		return err_sys(e, errno, "mount at %s", m->destination);
	directory = S_ISDIR(st.st_mode);
	target = inroot_mount_point(r->root_fd, m->destination, directory);
	if (target < 0)
		return err_sys(e, -target, "mount point %s in the root file system", m->destination);
	rc = o.tmpcopyup && str_eq(m->type, "tmpfs") ? copy_up(target, source, e) : 0;
	if (rc < 0) {
		err_wrap(e, "mount at %s", m->destination);
		return rc;
	}
	rc = mount_attach(source, target);
	return rc < 0 ? err_sys(e, -rc, "mount %s at %s", m->source, m->destination) : 0;
}

int rootfs_build(struct rootfs *r, struct err *e)
{
	int rc = attach_root(r, e);

	for (size_t i = 0; i < r->spec->n_mounts && rc == 0; i++)
		rc = do_mount(r, i, e);
	return rc < 0 ? rc : rootfs_make_devices(r, e);
}

int rootfs_make_cwd(struct rootfs *r, const char *cwd, struct err *e)
{
	_cleanup_close_ int fd = inroot_open(r->root_fd, cwd, O_PATH | O_DIRECTORY, 0);

	if (fd == -ENOENT)
		fd = inroot_mkdir(r->root_fd, cwd, 0755);
	/* On a root that cannot be written: chdir(2) will say it better. */
	if (fd < 0 && fd != -EROFS && fd != -EACCES)
		return err_sys(e, -fd, "working directory %s", cwd);
	return 0;
}

int rootfs_bind_console(struct rootfs *r, int tty_fd, struct err *e)
{
	_cleanup_close_ int target = inroot_mount_point(r->root_fd, "/dev/console", false), fd = -1;
	int rc;

	if (target < 0)
		return err_sys(e, -target, "create /dev/console");
	fd = mount_clone_at(tty_fd, "", false);
	rc = fd < 0 ? fd : mount_attach(fd, target);
	return rc < 0 ? err_sys(e, -rc, "mount the terminal at /dev/console") : 0;
}

static int make_readonly(struct rootfs *r, const char *path, struct err *e)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	_cleanup_close_ int target = inroot_open(r->root_fd, path, O_PATH, 0), fd = -1;
	int rc;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return err_sys(e, -target, "read-only path %s", path);
	fd = mount_clone_at(target, "", true);
	if (fd < 0)
		return err_sys(e, -fd, "read-only path %s", path);
	if (mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &ro, sizeof(ro)) < 0)
		return err_sys(e, errno, "read-only path %s", path);
	rc = mount_attach(fd, target);
	return rc < 0 ? err_sys(e, -rc, "read-only path %s", path) : 0;
}

static int mask(struct rootfs *r, const char *path, struct err *e)
{
	static char *const options[] = { (char *)"ro,nosuid,nodev,noexec,size=0k" };
	_cleanup_close_ int target = inroot_open(r->root_fd, path, O_PATH, 0), fd = -1;
	struct mount_options o;
	struct stat st;
	int rc;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0 || fstat(target, &st) < 0)
		return err_sys(e, target < 0 ? -target : errno, "mask %s", path);
	if (S_ISDIR(st.st_mode)) {
		rc = mount_options_parse(options, 1, &o, e);
		if (rc == 0)
			rc = mount_detached("tmpfs", "tmpfs", &o, &fd, e);
		mount_options_fini(&o);
		if (rc < 0) {
			err_wrap(e, "mask %s", path);
			return rc;
		}
	} else {
		fd = mount_clone_at(AT_FDCWD, "/dev/null", false);
	}
	rc = fd < 0 ? fd : mount_attach(fd, target);
	return rc < 0 ? err_sys(e, -rc, "mask %s", path) : 0;
}

static int set_root_propagation(struct rootfs *r, struct err *e)
{
	const char *name = r->spec->linux ? r->spec->linux->rootfspropagation : "";
	struct mount_attr attr = { 0 };
	unsigned long type;
	bool recursive;

	if (str_empty(name))
		return 0;
	if (!mount_propagation_parse(name, &type, &recursive))
		return err_set(e, ERR_CONFIG, EINVAL, "rootfsPropagation \"%s\" is not known", name);
	attr.propagation = type;
	if (mount_setattr(r->root_fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof(attr)) < 0)
		return err_sys(e, errno, "set rootfsPropagation %s", name);
	return 0;
}

int rootfs_finish(struct rootfs *r, struct err *e)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	const Grpc__Linux *l = r->spec->linux;
	int rc = 0;

	for (size_t i = 0; i < r->n_late_ro; i++) {
		if (mount_setattr(r->late_ro_fds[i], "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0)
			return err_sys(e, errno, "make a mount read-only");
		fd_close(&r->late_ro_fds[i]);
	}
	if (r->spec->root->readonly && mount_setattr(r->root_fd, "", AT_EMPTY_PATH, &ro, sizeof(ro)) < 0)
		return err_sys(e, errno, "make the root file system read-only");
	for (size_t i = 0; l && i < l->n_readonlypaths && rc == 0; i++)
		rc = make_readonly(r, l->readonlypaths[i], e);
	for (size_t i = 0; l && i < l->n_maskedpaths && rc == 0; i++)
		rc = mask(r, l->maskedpaths[i], e);
	return rc;
}

/* What is mounted at "/" in our view: the kernel's own initial file system cannot be pivoted away. */
static bool on_initial_rootfs(void)
{
	_cleanup_free_ char *info = NULL;
	char *rest, *line;

	if (file_read("/proc/self/mountinfo", MOUNTINFO_MAX, &info, NULL) < 0)
		return false;
	rest = info;
	while ((line = strsep(&rest, "\n"))) {
		/* "36 35 98:0 / / rw,noatime shared:1 - ext3 /dev/root rw" (proc(5)) */
		const char *type = strstr(line, " - ");
		char mount_point[8];

		if (type && sscanf(line, "%*s %*s %*s %*s %7s", mount_point) == 1 && str_eq(mount_point, "/") &&
		    str_after(type, " - rootfs "))
			return true;
	}
	return false;
}

/*
 * On the initial root file system pivot_root(2) is refused. Our root is laid over "/"; what is left of the agent's
 * mounts is taken away, so that a container that manages to uncover "/" finds nothing but the initramfs's own files,
 * and we change into it. Each mount stops sharing before it goes: the agent keeps its own.
 */
static int leave_initial_rootfs(struct rootfs *r, struct err *e)
{
	_cleanup_free_ char *info = NULL;
	_cleanup_strv_ struct strv points = { 0 };
	char *rest, *line;
	int rc;

	mount(NULL, "/", NULL, MS_PRIVATE, NULL);
	rc = mount_attach_path(r->root_fd, "/");
	if (rc < 0)
		return err_sys(e, -rc, "mount the root file system");
	rc = file_read("/proc/self/mountinfo", MOUNTINFO_MAX, &info, NULL);
	if (rc < 0)
		return err_sys(e, -rc, "read the mount table");
	rest = info;
	while ((line = strsep(&rest, "\n"))) {
		char *point = NULL;

		if (sscanf(line, "%*s %*s %*s %*s %ms", &point) == 1 && !str_eq(point, "/"))
			rc = strv_add(&points, point);
		free(point);
		if (rc < 0)
			return err_sys(e, -rc, "read the mount table");
	}
	for (size_t i = 0; i < points.len; i++)
		mount(NULL, points.v[i], NULL, MS_SLAVE, NULL);
	for (size_t i = points.len; i > 0; i--)
		umount2(points.v[i - 1], MNT_DETACH | UMOUNT_NOFOLLOW);
	if (fchdir(r->root_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_sys(e, errno, "enter the root file system");
	return 0;
}

static int pivot(struct rootfs *r, struct err *e)
{
	_cleanup_close_ int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (old < 0 || fchdir(r->root_fd) < 0)
		return err_sys(e, errno, "enter the root file system");
	/* The old root lands on top of the new one, from where it is taken away. pivot_root(2), NOTES. */
	if (syscall(SYS_pivot_root, ".", ".") < 0)
		return errno == EINVAL && on_initial_rootfs() ? leave_initial_rootfs(r, e)
							      : err_sys(e, errno, "pivot_root");
	/* It stops sharing first, so that the agent keeps its mounts. "." must be the old root: the new one may share.
	 */
	if (fchdir(old) < 0 || mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL) < 0 || umount2(".", MNT_DETACH) < 0 ||
	    chdir("/") < 0)
		return err_sys(e, errno, "leave the agent's root file system");
	return 0;
}

int rootfs_enter(struct rootfs *r, struct err *e)
{
	int rc = pivot(r, e);

	/* Last: pivot_root(2) refuses a shared root. */
	return rc < 0 ? rc : set_root_propagation(r, e);
}

int rootfs_enter_empty(const char *place, struct err *e)
{
	static char *const options[] = { (char *)"ro,nosuid,nodev,noexec,size=0k,mode=0555" };
	_cleanup_mount_options_ struct mount_options o = { 0 };
	_cleanup_close_ int fd = -1;
	int rc = mount_options_parse(options, 1, &o, e);

	if (rc == 0)
		rc = mount_detached("tmpfs", "tmpfs", &o, &fd, e);
	if (rc < 0)
		return rc;
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "set the propagation of /");
	rc = mount_attach_path(fd, place);
	return rc < 0 ? err_sys(e, -rc, "mount an empty root file system")
		      : pivot(&(struct rootfs){ .root_fd = fd }, e);
}
