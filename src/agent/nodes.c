/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Device nodes and links under /dev of the container. OCI runtime spec 1.1, config-linux.md "Devices", "Default
 * Devices" and runtime-linux.md "Dev symbolic links".
 *
 * In a user namespace mknod(2) is not possible: the stage makes the nodes in the bundle, init mounts them, and the
 * agent takes the names away (not earlier: an unlinked file cannot be attached). Where nodes do not open, as in a root
 * that the host shares, init does all of this.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "agent/rootfs.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"
#include "oci/spec.h"
#include "sys/inroot.h"
#include "sys/mounts.h"

struct node {
	const char *path;
	mode_t type;
	int64_t major, minor;
	mode_t mode;
	uid_t uid;
	gid_t gid;
};

static const struct node defaults[] = {
	{ "/dev/null", S_IFCHR, 1, 3, 0666, 0, 0 },    { "/dev/zero", S_IFCHR, 1, 5, 0666, 0, 0 },
	{ "/dev/full", S_IFCHR, 1, 7, 0666, 0, 0 },    { "/dev/random", S_IFCHR, 1, 8, 0666, 0, 0 },
	{ "/dev/urandom", S_IFCHR, 1, 9, 0666, 0, 0 }, { "/dev/tty", S_IFCHR, 5, 0, 0666, 0, 0 },
};
#define N_DEFAULTS (sizeof(defaults) / sizeof(defaults[0]))

static int node_from_spec(const Grpc__LinuxDevice *d, struct node *ret, struct err *e)
{
	*ret = (struct node){ .path = d->path, .major = d->major, .minor = d->minor, .uid = d->uid, .gid = d->gid };
	ret->mode = d->filemode ? d->filemode & 07777 : 0666;
	if (str_eq(d->type, "c") || str_eq(d->type, "u"))
		ret->type = S_IFCHR;
	else if (str_eq(d->type, "b"))
		ret->type = S_IFBLK;
	else if (str_eq(d->type, "p"))
		ret->type = S_IFIFO;
	else
		return err_set(e, ERR_CONFIG, EINVAL, "device %s: type \"%s\" is not known", d->path, d->type);
	if (d->path[0] != '/')
		return err_set(e, ERR_CONFIG, EINVAL, "device \"%s\": the path is not absolute", d->path);
	if (ret->type != S_IFIFO && (d->major < 0 || d->minor < 0 || d->major > 0xfff || d->minor > 0xfffff))
		return err_set(e, ERR_CONFIG, EINVAL, "device %s: %lld:%lld is no device number", d->path,
			       (long long)d->major, (long long)d->minor);
	return 0;
}

static dev_t node_dev(const struct node *n)
{
	return n->type == S_IFIFO ? 0 : makedev((unsigned)n->major, (unsigned)n->minor);
}

static int make_at(int parent_fd, const char *name, const struct node *n)
{
	struct stat st;

	if (fstatat(parent_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if ((st.st_mode & S_IFMT) == n->type && st.st_rdev == node_dev(n))
			goto owner;
		if (unlinkat(parent_fd, name, 0) < 0)
			return -errno;
	}
	if (mknodat(parent_fd, name, n->type | n->mode, node_dev(n)) < 0)
		return -errno;
owner:
	if (fchownat(parent_fd, name, n->uid, n->gid, AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(parent_fd, name, n->mode, 0) < 0)
		return -errno;
	return 0;
}

/* Where the node with this number is in the bundle. */
struct place {
	char name[32];
};

static struct place place(size_t i)
{
	struct place p;

	snprintf(p.name, sizeof(p.name), ".dev%zu", i);
	return p;
}

static int open_bundle(const char *bundle)
{
	return open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* The i-th node in the bundle, as a mount. That is on a file system whose nodes do not open, as a rule. */
static int node_mount(const struct rootfs *r, const struct node *n, size_t i)
{
	struct mount_attr dev = { .attr_clr = MOUNT_ATTR_NODEV };
	_cleanup_close_ int dir = open_bundle(r->bundle), fd = -1;
	struct place p = place(i);
	int rc = dir < 0 ? -errno : make_at(dir, p.name, n);

	if (rc < 0)
		return rc;
	fd = mount_clone_at(dir, p.name, false);
	if (fd >= 0 && mount_setattr(fd, "", AT_EMPTY_PATH, &dev, sizeof(dev)) < 0)
		return -errno;
	return take_fd(&fd);
}

static int attach_node(struct rootfs *r, const struct node *n, int source_fd, struct err *e)
{
	_cleanup_close_ int target = inroot_mount_point(r->root_fd, n->path, false);
	int rc = target < 0 ? target : mount_attach(source_fd, target);

	return rc < 0 ? err_sys(e, -rc, "mount device %s", n->path) : 0;
}

static void forget_nodes(const char *bundle, size_t first, size_t end)
{
	_cleanup_close_ int dir = open_bundle(bundle);

	for (size_t i = first; dir >= 0 && i < end; i++)
		unlinkat(dir, place(i).name, 0);
}

static int make_node(struct rootfs *r, const struct node *n, size_t i, struct err *e)
{
	_cleanup_close_ int parent = -1, source = -1;
	struct statvfs fs;
	const char *name;
	int rc;

	parent = inroot_parent(r->root_fd, n->path, &name);
	if (parent >= 0 && n->type != S_IFIFO && fstatvfs(parent, &fs) == 0 && (fs.f_flag & ST_NODEV)) {
		source = node_mount(r, n, i);
		rc = source < 0 ? err_sys(e, -source, "prepare device %s", n->path) : attach_node(r, n, source, e);
		forget_nodes(r->bundle, i, i + 1);
		return rc;
	}
	rc = parent < 0 ? parent : make_at(parent, name, n);
	return rc < 0 ? err_sys(e, -rc, "create device %s", n->path) : 0;
}

/* Visit default devices, then the spec's: the latter win. */
static int for_each(struct rootfs *r, int (*fn)(struct rootfs *, const struct node *, size_t, struct err *),
		    struct err *e)
{
	size_t n_spec = r->spec->linux ? r->spec->linux->n_devices : 0;
	int rc = 0;

	for (size_t i = 0; i < N_DEFAULTS + n_spec && rc == 0; i++) {
		struct node n;

		if (i < N_DEFAULTS)
			n = defaults[i];
		else
			rc = node_from_spec(r->spec->linux->devices[i - N_DEFAULTS], &n, e);
		if (rc == 0)
			rc = fn(r, &n, i, e);
	}
	return rc;
}

static int open_node(struct rootfs *r, const struct node *n, size_t i, struct err *e)
{
	int rc = r->device_fds[i] = node_mount(r, n, i);

	return rc < 0 ? err_sys(e, -rc, "prepare device %s", n->path) : 0;
}

int rootfs_open_devices(struct rootfs *r, struct err *e)
{
	size_t n = N_DEFAULTS + (r->spec->linux ? r->spec->linux->n_devices : 0);

	r->device_fds = calloc(n, sizeof(int));
	if (!r->device_fds)
		return err_sys(e, ENOMEM, "prepare devices");
	for (size_t i = 0; i < n; i++)
		r->device_fds[i] = -1;
	return for_each(r, open_node, e);
}

void rootfs_forget_devices(const Grpc__Spec *spec, const char *bundle)
{
	forget_nodes(bundle, 0, N_DEFAULTS + (spec->linux ? spec->linux->n_devices : 0));
}

static int place_node(struct rootfs *r, const struct node *n, size_t i, struct err *e)
{
	int rc;

	if (!r->device_fds)
		return make_node(r, n, i, e);
	rc = attach_node(r, n, r->device_fds[i], e);
	fd_close(&r->device_fds[i]);
	return rc;
}

/* ---- the guest's devices, for privileged containers ---- */

/*
 * As runc gives such a container all devices of its kernel. Terminals are the guest's console and of use to nobody
 * else; what is mounted below /dev is skipped by its device number.
 */
static bool is_for_others(const char *name)
{
	static const char *const prefixes[] = { "console", "ptmx", "tty", "hvc", "vcs" };

	for (size_t i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (str_after(name, prefixes[i]))
			return true;
	return false;
}

/* What the container has there already was asked for. */
static int add_node(struct rootfs *r, const struct node *n, struct err *e)
{
	_cleanup_close_ int there = inroot_open(r->root_fd, n->path, O_PATH | O_NOFOLLOW, 0);

	return there >= 0 ? 0 : make_node(r, n, N_DEFAULTS + r->spec->linux->n_devices, e);
}

static int add_nodes_of(struct rootfs *r, const char *path, dev_t dev, struct err *e)
{
	_cleanup_closedir_ DIR *d = opendir(path);
	struct dirent *entry;
	int rc = 0;

	/* A device may go while we look. */
	while (d && rc == 0 && (entry = readdir(d))) {
		_cleanup_free_ char *at = str_printf("%s/%s", path, entry->d_name);
		struct stat st;

		if (!at)
			return err_sys(e, ENOMEM, "list the devices");
		if (entry->d_name[0] == '.' || is_for_others(entry->d_name) || lstat(at, &st) < 0 || st.st_dev != dev)
			continue;
		if (S_ISDIR(st.st_mode)) {
			rc = add_nodes_of(r, at, dev, e);
		} else if (S_ISCHR(st.st_mode) || S_ISBLK(st.st_mode)) {
			struct node n = { at,
					  st.st_mode & S_IFMT,
					  major(st.st_rdev),
					  minor(st.st_rdev),
					  st.st_mode & 07777,
					  st.st_uid,
					  st.st_gid };

			rc = add_node(r, &n, e);
		}
	}
	return rc;
}

/* Those whose drivers the kernel looks for when they are opened, so that a small guest does not show them before. */
static int add_nodes_to_be(struct rootfs *r, struct err *e)
{
	static const struct node list[] = {
		{ "/dev/fuse", S_IFCHR, 10, 229, 0666, 0, 0 },
		{ "/dev/net/tun", S_IFCHR, 10, 200, 0666, 0, 0 },
		{ "/dev/loop-control", S_IFCHR, 10, 237, 0660, 0, 6 },
		{ "/dev/mapper/control", S_IFCHR, 10, 236, 0600, 0, 0 },
	};
	int rc = 0;

	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]) && rc == 0; i++)
		rc = add_node(r, &list[i], e);
	/* Without udev inside, nobody else would make the nodes of those that loop-control hands out. */
	for (int i = 0; i < 8 && rc == 0; i++) {
		char path[16];
		struct node n = { path, S_IFBLK, 7, i, 0660, 0, 6 };

		snprintf(path, sizeof(path), "/dev/loop%d", i);
		rc = add_node(r, &n, e);
	}
	return rc;
}

static int add_guests_nodes(struct rootfs *r, struct err *e)
{
	struct stat st;
	int rc = 0;

	/* With a user namespace they could not be opened. */
	if (r->device_fds || !oci_spec_is_privileged(r->spec))
		return 0;
	if (stat("/dev", &st) == 0)
		rc = add_nodes_of(r, "/dev", st.st_dev, e);
	return rc < 0 ? rc : add_nodes_to_be(r, e);
}

static int make_links(struct rootfs *r, struct err *e)
{
	static const char *const links[][2] = {
		{ "fd", "/proc/self/fd" },       { "stdin", "/proc/self/fd/0" }, { "stdout", "/proc/self/fd/1" },
		{ "stderr", "/proc/self/fd/2" }, { "core", "/proc/kcore" },      { "ptmx", "pts/ptmx" },
	};
	_cleanup_close_ int dev = inroot_mkdir(r->root_fd, "/dev", 0755);

	if (dev < 0)
		return err_sys(e, -dev, "open /dev of the root file system");
	/* A ptmx of the image's own would be the agent's terminals. */
	if (unlinkat(dev, "ptmx", 0) < 0 && errno != ENOENT)
		return err_sys(e, errno, "replace /dev/ptmx");
	for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++)
		if (symlinkat(links[i][1], dev, links[i][0]) < 0 && errno != EEXIST)
			return err_sys(e, errno, "link /dev/%s", links[i][0]);
	return 0;
}

int rootfs_make_devices(struct rootfs *r, struct err *e)
{
	mode_t old;
	int rc;

	/* When /dev is bound from outside, it is somebody else's and complete (as runc has it). */
	for (size_t i = 0; i < r->spec->n_mounts; i++) {
		const Grpc__Mount *m = r->spec->mounts[i];

		for (size_t k = 0; str_eq(m->destination, "/dev") && k < m->n_options; k++)
			if (str_eq(m->options[k], "bind") || str_eq(m->options[k], "rbind"))
				return 0;
	}
	old = umask(0);
	rc = for_each(r, place_node, e);
	if (rc == 0)
		rc = add_guests_nodes(r, e);
	umask(old);
	return rc < 0 ? rc : make_links(r, e);
}
