/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/fc_folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"

int fc_folder_init(struct fc_folder *f, const char *run_dir, bool jailed, const char *program, struct err *e)
{
	const char *slash = strrchr(program, '/'), *name = slash ? slash + 1 : program;

	*f = (struct fc_folder){ .jailed = jailed, .host_root = -1 };
	f->top = jailed ? str_printf("%s/%s", run_dir, name) : str_printf("%s/vmm", run_dir);
	if (f->top)
		f->path = jailed ? str_printf("%s/" FC_JAIL_ID "/root", f->top) : strdup(f->top);
	return f->path ? 0 : err_sys(e, ENOMEM, "cannot name Firecracker's folder");
}

/* The folder as a mount of its own: devices and programs work on it whatever is said of /run, and mounts propagate. */
static int make_jail_mount(struct fc_folder *f, struct err *e)
{
	struct mount_attr attr = { .attr_clr = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, .propagation = MS_SHARED };

	f->host_root = open("/", O_PATH | O_CLOEXEC);
	if (f->host_root < 0)
		return err_sys(e, errno, "cannot open /");
	if (unshare(CLONE_NEWNS) < 0)
		return err_sys(e, errno, "jailer_path: cannot make a private mount namespace (are you root?)");
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(e, errno, "jailer_path: cannot make the mount namespace private");
	if (mount(f->path, f->path, NULL, MS_BIND, NULL) < 0)
		return err_sys(e, errno, "jailer_path: cannot mount %s", f->path);
	f->mounted = true;
	if (syscall(SYS_mount_setattr, AT_FDCWD, f->path, 0, &attr, sizeof attr) < 0)
		return err_sys(e, errno, "jailer_path: cannot let devices and programs work in %s", f->path);
	return 0;
}

int fc_folder_make(struct fc_folder *f, struct err *e)
{
	int r = dir_make(f->path, 0700);

	if (r < 0)
		return err_sys(e, -r, "cannot make %s", f->path);
	f->made = true;
	return f->jailed ? make_jail_mount(f, e) : 0;
}

/*
 * A file without a name (a packed root file system) cannot be bind-mounted: it gets a name for that moment. path is the
 * descriptor in /proc, which was opened on a mount of the namespace that we had before; the link is made there.
 */
static int bind_nameless(const struct fc_folder *f, const char *path, const char *target)
{
	char real[PATH_MAX];
	_cleanup_free_ char *name = NULL;
	ssize_t n = readlink(path, real, sizeof real - 1);
	char *slash;
	int r;

	if (n < 0)
		return -errno;
	real[n] = 0;
	slash = strrchr(real, '/');
	if (!slash)
		return -ENOENT;
	*slash = 0;
	name = str_printf("%s/.caisson-jail-%d", real, (int)getpid());
	if (!name)
		return -ENOMEM;
	if (linkat(AT_FDCWD, path, f->host_root, name + 1, AT_SYMLINK_FOLLOW) < 0)
		return -errno;
	r = mount(name, target, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
	unlink(name);
	return r;
}

static int bring_into_jail(const struct fc_folder *f, const char *target, const char *host_path, struct err *e)
{
	struct stat st;
	int fd, r;

	if (stat(host_path, &st) < 0)
		return err_sys(e, errno, "cannot bring %s into Firecracker's jail", host_path);
	if (S_ISDIR(st.st_mode)) {
		if (mkdir(target, 0700) < 0)
			return err_sys(e, errno, "cannot make %s", target);
	} else {
		fd = open(target, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (fd < 0)
			return err_sys(e, errno, "cannot make %s", target);
		close(fd);
	}
	if (S_ISREG(st.st_mode) && st.st_nlink == 0)
		r = bind_nameless(f, host_path, target);
	else
		r = mount(host_path, target, NULL, MS_BIND, NULL) < 0 ? -errno : 0;
	return r < 0 ? err_sys(e, -r, "cannot bring %s into Firecracker's jail", host_path) : 0;
}

int fc_folder_bring(const struct fc_folder *f, const char *name, const char *host_path, struct err *e)
{
	_cleanup_free_ char *target = str_printf("%s/%s", f->path, name);

	if (!target)
		return err_sys(e, ENOMEM, "cannot bring %s to Firecracker", host_path);
	if (f->jailed)
		return bring_into_jail(f, target, host_path, e);
	return symlink(host_path, target) < 0 ? err_sys(e, errno, "cannot make the link %s", target) : 0;
}

void fc_folder_drop(const struct fc_folder *f, const char *name)
{
	_cleanup_free_ char *target = str_printf("%s/%s", f->path, name);

	if (!target)
		return;
	if (f->jailed)
		umount2(target, MNT_DETACH);
	if (unlink(target) < 0 && errno == EISDIR)
		rmdir(target);
}

int fc_folder_touch(const struct fc_folder *f, const char *name, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/%s", f->path, name);
	int fd = path ? open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600) : -1;

	if (fd < 0)
		return err_sys(e, path ? errno : ENOMEM, "cannot make %s in %s", name, f->path);
	close(fd);
	return 0;
}

int fc_folder_fifo(const struct fc_folder *f, const char *name, int *ret_fd, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/%s", f->path, name);
	int fd;

	if (!path || mkfifo(path, 0600) < 0)
		return err_sys(e, path ? errno : ENOMEM, "cannot make %s in %s", name, f->path);
	fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	*ret_fd = fd;
	return 0;
}

void fc_folder_fini(struct fc_folder *f)
{
	int r;

	/* Lazy: what is mounted below goes with it. */
	if (f->mounted && umount2(f->path, MNT_DETACH) < 0)
		log_warn("cannot unmount %s: %s", f->path, strerror(errno));
	if (f->made)
		fd_close(&f->host_root);
	r = f->made ? dir_remove(f->top) : 0;
	if (r < 0)
		log_warn("cannot remove %s: %s", f->top, strerror(-r));
	free(f->path);
	free(f->top);
	*f = (struct fc_folder){ 0 };
}
