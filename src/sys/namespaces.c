/* SPDX-License-Identifier: Apache-2.0 */
/* See namespaces.h. */
#include "sys/namespaces.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/strv.h"

static const struct {
	const char *type, *proc;
	int flag;
} namespaces[] = {
	{ "pid", "pid", CLONE_NEWPID },    { "network", "net", CLONE_NEWNET },      { "mount", "mnt", CLONE_NEWNS },
	{ "ipc", "ipc", CLONE_NEWIPC },    { "uts", "uts", CLONE_NEWUTS },          { "user", "user", CLONE_NEWUSER },
	{ "time", "time", CLONE_NEWTIME }, { "cgroup", "cgroup", CLONE_NEWCGROUP },
};
#define N_NAMESPACES (sizeof(namespaces) / sizeof(namespaces[0]))

int namespace_flag(const char *type)
{
	for (size_t i = 0; i < N_NAMESPACES; i++)
		if (str_eq(namespaces[i].type, type) || str_eq(namespaces[i].proc, type))
			return namespaces[i].flag;
	return 0;
}

const char *namespace_proc_name(int flag)
{
	for (size_t i = 0; i < N_NAMESPACES; i++)
		if (namespaces[i].flag == flag)
			return namespaces[i].proc;
	return NULL;
}

const char *namespace_type(int flag)
{
	for (size_t i = 0; i < N_NAMESPACES; i++)
		if (namespaces[i].flag == flag)
			return namespaces[i].type;
	return NULL;
}

pid_t clone_process(unsigned long long flags, int cgroup_fd)
{
	struct clone_args args = {
		.flags = flags | (cgroup_fd >= 0 ? CLONE_INTO_CGROUP : 0),
		/* With CLONE_PARENT the signal is the caller's own, and a value here is refused. */
		.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
		.cgroup = cgroup_fd >= 0 ? (uint64_t)cgroup_fd : 0,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	return pid < 0 ? -errno : (pid_t)pid;
}

int namespace_open(pid_t pid, const char *name)
{
	char path[64];
	int fd;

	if (pid)
		snprintf(path, sizeof path, "/proc/%d/ns/%s", (int)pid, name);
	else
		snprintf(path, sizeof path, "/proc/self/ns/%s", name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int pidfd_of(pid_t pid)
{
	long fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : (int)fd;
}
