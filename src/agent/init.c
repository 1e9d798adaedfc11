// SPDX-License-Identifier: Apache-2.0
#include "agent/init.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <net/if.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/modules.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"

static const struct {
	const char *source, *target, *type, *data;
	unsigned long flags;
	bool needed, early;
} mounts[] = {
	{ "proc", "/proc", "proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true, true },
	{ "sysfs", "/sys", "sysfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, true, true },
	{ "devtmpfs", "/dev", "devtmpfs", "mode=0755", MS_NOSUID, true, true },
	{ "devpts", "/dev/pts", "devpts", "newinstance,ptmxmode=0666,mode=0620,gid=5", MS_NOSUID | MS_NOEXEC, false,
	  false },
	{ "shm", "/dev/shm", "tmpfs", "mode=1777", MS_NOSUID | MS_NODEV, false, false },
	{ "mqueue", "/dev/mqueue", "mqueue", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC, false, false },
	{ "tmpfs", "/run", "tmpfs", "mode=0755", MS_NOSUID | MS_NODEV, true, false },
	{ "cgroup2", "/sys/fs/cgroup", "cgroup2", "nsdelegate", MS_NOSUID | MS_NODEV | MS_NOEXEC, false, false },
};

/*
 * pivot_root(2), which every container needs, refuses where the root is the kernel's initial root file system: that has
 * no mount that it could be detached from. A bind mount of it has.
 */
static bool leave_initial_root(void)
{
	struct statfs st;

	if (statfs("/", &st) < 0 || (st.f_type != RAMFS_MAGIC && st.f_type != TMPFS_MAGIC))
		return false;
	if ((mkdir("/run", 0755) < 0 && errno != EEXIST) || mount("/", "/run", NULL, MS_BIND, NULL) < 0 ||
	    chdir("/run") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 || chdir("/") < 0)
		log_error("cannot leave the initial root file system: %s", strerror(errno));
	return true;
}

/*
 * The kernel starts /sbin/modprobe for what it misses: in an initramfs with modules that is this program. The archive
 * does not have the name, because a booting kernel asks five times for what is not there, and each time a whole
 * program would start to say so.
 */
static void become_modprobe(void)
{
	char self[PATH_MAX];
	ssize_t n = access("/lib/modules", F_OK) == 0 ? readlink("/proc/self/exe", self, sizeof self - 1) : 0;

	if (n <= 0)
		return;
	self[n] = '\0';
	if ((mkdir("/sbin", 0755) < 0 && errno != EEXIST) || (symlink(self, "/sbin/modprobe") < 0 && errno != EEXIST))
		log_warn("cannot make /sbin/modprobe: %s", strerror(errno));
}

static int mount_those(bool early, struct err *e)
{
	for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
		int r;

		if (mounts[i].early != early)
			continue;
		r = mkdir(mounts[i].target, 0755) < 0 && errno != EEXIST ? -errno : 0;

		/* EBUSY: the kernel or an initramfs script was there first. */
		if (r == 0 &&
		    mount(mounts[i].source, mounts[i].target, mounts[i].type, mounts[i].flags, mounts[i].data) < 0 &&
		    errno != EBUSY)
			r = -errno;
		if (r < 0 && mounts[i].needed)
			return err_sys(e, -r, "cannot mount %s on %s", mounts[i].type, mounts[i].target);
		if (r < 0)
			log_warn("cannot mount %s on %s: %s", mounts[i].type, mounts[i].target, strerror(-r));
	}
	return 0;
}

static void make_dev_links(void)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "/dev/fd" },
		{ "/proc/self/fd/0", "/dev/stdin" },
		{ "/proc/self/fd/1", "/dev/stdout" },
		{ "/proc/self/fd/2", "/dev/stderr" },
	};

	/* devtmpfs's own ptmx leads to the instance of devpts that is mounted beside it at "pts" (since Linux 4.7). */
	for (size_t i = 0; i < sizeof links / sizeof links[0]; i++)
		if (symlink(links[i][0], links[i][1]) < 0 && errno != EEXIST)
			log_warn("cannot make %s: %s", links[i][1], strerror(errno));
}

static void loopback_up(void)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_name = "lo" };

	if (fd < 0 || ioctl(fd, SIOCGIFFLAGS, &ifr) < 0) {
		log_warn("no loopback interface: %s", strerror(errno));
		return;
	}
	ifr.ifr_flags |= IFF_UP;
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		log_warn("cannot bring the loopback interface up: %s", strerror(errno));
}

static void raise_limits(void)
{
	struct rlimit files = { 1048576, 1048576 }, unlimited = { RLIM_INFINITY, RLIM_INFINITY };

	setrlimit(RLIMIT_NOFILE, &files);
	setrlimit(RLIMIT_NPROC, &unlimited);
	setrlimit(RLIMIT_MEMLOCK, &unlimited);
}

/* The kernel opens /dev/console for us only where the initramfs contains that node. */
static void open_stdio(void)
{
	int fd;

	if (fcntl(STDERR_FILENO, F_GETFD) >= 0)
		return;
	while ((fd = open("/dev/null", O_RDWR)) >= 0 && fd < STDERR_FILENO)
		;
	if (fd > STDERR_FILENO)
		close(fd);
	fd = open("/dev/console", O_WRONLY | O_NOCTTY | O_CLOEXEC);
	if (fd >= 0) {
		dup2(fd, STDERR_FILENO);
		close(fd);
	}
}

int init_begin(struct err *e)
{
	bool initramfs;
	int r;

	umask(022);
	signal(SIGPIPE, SIG_IGN);
	initramfs = leave_initial_root();
	r = mount_those(true, e);
	if (r < 0)
		return r;
	open_stdio();
	if (initramfs)
		become_modprobe();
	modules_load_list(MODULES_LIST);
	return 0;
}

int init_finish(struct err *e)
{
	int r = mount_those(false, e);

	if (r < 0)
		return r;
	reboot(RB_DISABLE_CAD);
	make_dev_links();
	loopback_up();
	raise_limits();
	if (sethostname("localhost", strlen("localhost")) < 0)
		log_warn("cannot set the host name: %s", strerror(errno));
	return 0;
}

void init_power_off(const char *why)
{
	log_error("%s; ending the virtual machine", why);
	sync();
	reboot(RB_POWER_OFF);
	reboot(RB_AUTOBOOT); /* a machine without power management */
	for (;;)
		pause();
}
