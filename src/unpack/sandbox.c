/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The archive is hostile and libarchive is large: whoever takes this program over finds a directory, an open file, no
 * program to execute, no network, no other process, and the capabilities that unpacking needs on that directory.
 */
#include "unpack/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/close_range.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/sanitizer.h"
#include "base/strv.h"

#if SANITIZED
/* The leak check at exit needs /proc, which is out of reach in the chroot; the fuzzer looks for leaks. */
int __lsan_is_turned_off(void);
int __lsan_is_turned_off(void)
{
	return 1;
}
#endif

#define CPU_SECONDS_MAX   3600
#define ADDRESS_SPACE_MAX (2ul << 30)

static int write_map(const char *path, const char *text)
{
	return file_write(path, text);
}

/* Not root: a user namespace of our own, where we are, so that chroot(2) is allowed. */
static int become_root_of_namespace(struct err *e)
{
	_cleanup_free_ char *uid_map = str_printf("0 %u 1\n", (unsigned)geteuid());
	_cleanup_free_ char *gid_map = str_printf("0 %u 1\n", (unsigned)getegid());
	int r;

	if (!uid_map || !gid_map)
		return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	if (unshare(CLONE_NEWUSER) < 0) {
		r = errno;
		err_sys(e, r, "unpacking needs root or user namespaces");
		return -r;
	}
	r = write_map("/proc/self/setgroups", "deny");
	if (r == 0)
		r = write_map("/proc/self/uid_map", uid_map);
	if (r == 0)
		r = write_map("/proc/self/gid_map", gid_map);
	return r < 0 ? err_sys(e, -r, "cannot set up a user namespace") : 0;
}

static int close_others(int input_fd)
{
	if (input_fd > 3 && syscall(SYS_close_range, 3, input_fd - 1, 0) < 0)
		return -errno;
	return syscall(SYS_close_range, input_fd < 3 ? 3 : input_fd + 1, ~0u, 0) < 0 ? -errno : 0;
}

static int drop_capabilities(void)
{
	const uint32_t keep = 1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_FOWNER | 1u << CAP_FSETID |
			      1u << CAP_MKNOD | 1u << CAP_SETFCAP;
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { .effective = keep, .permitted = keep } }, now[2];

	if (syscall(SYS_capget, &head, now) < 0)
		return -errno;
	for (int i = 0; i < 64; i++)
		if ((i >= 32 || !(keep & 1u << i)) && prctl(PR_CAPBSET_DROP, i) < 0 && errno == EPERM)
			break; /* no CAP_SETPCAP: without no_new_privs the set would matter; with it it does not */
	/* Less than wanted when our own caller holds less. */
	data[0].effective &= now[0].permitted;
	data[0].permitted &= now[0].permitted;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	return syscall(SYS_capset, &head, data) < 0 ? -errno : 0;
}

static int set_limit(int what, rlim_t value)
{
	struct rlimit now, want = { value, value };

	if (getrlimit(what, &now) < 0)
		return -errno;
	if (now.rlim_max < want.rlim_max)
		want.rlim_cur = want.rlim_max = now.rlim_max;
	return setrlimit(what, &want) < 0 ? -errno : 0;
}

static int set_limits(uint64_t max_bytes)
{
	int r = set_limit(RLIMIT_CORE, 0);

	if (r == 0)
		r = set_limit(RLIMIT_FSIZE, max_bytes);
	if (r == 0)
		r = set_limit(RLIMIT_NOFILE, 256);
	if (r == 0)
		r = set_limit(RLIMIT_NPROC, 0);
	if (r == 0)
		r = set_limit(RLIMIT_CPU, CPU_SECONDS_MAX);
	/* The sanitizers reserve terabytes. */
	if (r == 0 && !SANITIZED)
		r = set_limit(RLIMIT_AS, ADDRESS_SPACE_MAX);
	return r;
}

/* What libarchive, malloc and stdio use. Everything else fails as if the kernel did not have it. */
static const int allowed[] = {
	SCMP_SYS(read),          SCMP_SYS(pread64),      SCMP_SYS(write),
	SCMP_SYS(pwrite64),      SCMP_SYS(writev),       SCMP_SYS(lseek),
	SCMP_SYS(ftruncate),     SCMP_SYS(open),         SCMP_SYS(openat),
	SCMP_SYS(close),         SCMP_SYS(dup),          SCMP_SYS(fcntl),
	SCMP_SYS(stat),          SCMP_SYS(fstat),        SCMP_SYS(lstat),
	SCMP_SYS(newfstatat),    SCMP_SYS(statx),        SCMP_SYS(fstatfs),
	SCMP_SYS(statfs),        SCMP_SYS(access),       SCMP_SYS(faccessat),
	SCMP_SYS(readlink),      SCMP_SYS(readlinkat),   SCMP_SYS(getdents64),
	SCMP_SYS(mkdir),         SCMP_SYS(mkdirat),      SCMP_SYS(rmdir),
	SCMP_SYS(unlink),        SCMP_SYS(unlinkat),     SCMP_SYS(rename),
	SCMP_SYS(renameat),      SCMP_SYS(renameat2),    SCMP_SYS(link),
	SCMP_SYS(linkat),        SCMP_SYS(symlink),      SCMP_SYS(symlinkat),
	SCMP_SYS(mknod),         SCMP_SYS(mknodat),      SCMP_SYS(chmod),
	SCMP_SYS(fchmod),        SCMP_SYS(fchmodat),     SCMP_SYS(chown),
	SCMP_SYS(lchown),        SCMP_SYS(fchown),       SCMP_SYS(fchownat),
	SCMP_SYS(utimensat),     SCMP_SYS(setxattr),     SCMP_SYS(lsetxattr),
	SCMP_SYS(fsetxattr),     SCMP_SYS(getxattr),     SCMP_SYS(lgetxattr),
	SCMP_SYS(fgetxattr),     SCMP_SYS(umask),        SCMP_SYS(chdir),
	SCMP_SYS(fchdir),        SCMP_SYS(brk),          SCMP_SYS(mmap),
	SCMP_SYS(munmap),        SCMP_SYS(mremap),       SCMP_SYS(mprotect),
	SCMP_SYS(madvise),       SCMP_SYS(futex),        SCMP_SYS(getrandom),
	SCMP_SYS(clock_gettime), SCMP_SYS(gettimeofday), SCMP_SYS(time),
	SCMP_SYS(getuid),        SCMP_SYS(geteuid),      SCMP_SYS(getgid),
	SCMP_SYS(getegid),       SCMP_SYS(getpid),       SCMP_SYS(gettid),
	SCMP_SYS(tgkill),        SCMP_SYS(rt_sigaction), SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),  SCMP_SYS(sigaltstack),  SCMP_SYS(restart_syscall),
	SCMP_SYS(exit),          SCMP_SYS(exit_group),
};

static int forbid_system_calls(void)
{
	scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
	int r = f ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < sizeof allowed / sizeof allowed[0]; i++)
		if (allowed[i] >= 0) /* negative: this architecture does not have it */
			r = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
	if (r == 0)
		r = seccomp_load(f);
	seccomp_release(f);
	return r;
}

int sandbox_enter(int target_fd, int input_fd, uint64_t max_bytes, bool *ret_owners, struct err *e)
{
	bool root = geteuid() == 0;
	int r = root ? 0 : become_root_of_namespace(e);

	if (r < 0)
		return r;
	if (fchdir(target_fd) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_sys(e, errno, "cannot enter the target directory");
	r = close_others(input_fd);
	if (r < 0)
		return err_sys(e, -r, "cannot close the other files");
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(e, errno, "cannot set no_new_privs");
	r = drop_capabilities();
	if (r < 0)
		return err_sys(e, -r, "cannot drop capabilities");
	r = set_limits(max_bytes);
	if (r < 0)
		return err_sys(e, -r, "cannot set limits");
	/* AddressSanitizer's leak check needs processes and ptrace. */
	r = SANITIZED ? 0 : forbid_system_calls();
	if (r < 0)
		return err_sys(e, -r, "cannot load the system call filter");
	*ret_owners = root;
	return 0;
}
