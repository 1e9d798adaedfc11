/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "sys/spawn.h"

static int find_in_path(const char *name, char *ret, size_t size)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *copy = strdup(path && *path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin");
	char *save = NULL;

	for (char *dir = copy ? strtok_r(copy, ":", &save) : NULL; dir; dir = strtok_r(NULL, ":", &save)) {
		if (snprintf(ret, size, "%s/%s", dir, name) < (int)size && access(ret, X_OK) == 0)
			return 0;
	}
	ret[0] = 0;
	return -ENOENT;
}

int program_find(const struct program *p, const char *configured, char *ret, size_t size, struct err *e)
{
	if (str_empty(configured))
		return find_in_path(p->file, ret, size) == 0
			       ? 0
			       : err_set(e, ERR_HYPERVISOR, ENOENT,
					 "%s is not in PATH: %s or set path in [hypervisor.%s]", p->file, p->advice,
					 p->section);
	if (!strchr(configured, '/'))
		return find_in_path(configured, ret, size) == 0
			       ? 0
			       : err_set(e, ERR_CONFIG, ENOENT, "there is no %s in PATH (key path)", configured);
	if (snprintf(ret, size, "%s", configured) >= (int)size)
		return err_set(e, ERR_CONFIG, ENAMETOOLONG, "%s's path %s is too long", p->name, configured);
	if (access(ret, X_OK) < 0)
		return err_sys(e, errno, "there is no %s at %s (key path)", p->name, ret);
	return 0;
}

int program_version(const char *path, const char *option, unsigned timeout_ms, char *text, size_t size, struct err *e)
{
	const char *const argv[] = { path, option, NULL };
	_cleanup_close_ int r_fd = -1, w_fd = -1, pidfd = -1;
	uint64_t deadline = clock_ms() + timeout_ms;
	struct spawn s = { .path = path,
			   .argv = (char *const *)(uintptr_t)argv,
			   .stdin_fd = -1,
			   .stderr_fd = -1,
			   .die_with_parent = true };
	size_t n = 0;
	pid_t pid;
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot run %s %s", path, option);
	r_fd = p[0];
	w_fd = p[1];
	s.stdout_fd = w_fd;
	r = spawn_start(&s, &pid, &pidfd, e);
	if (r < 0)
		return r;
	fd_close(&w_fd);
	while (n + 1 < size) {
		struct pollfd w = { .fd = r_fd, .events = POLLIN };
		uint64_t now = clock_ms();
		ssize_t k;

		if (now >= deadline || poll(&w, 1, (int)(deadline - now)) == 0) {
			spawn_stop(pid, pidfd, 0);
			return err_set(e, ERR_HYPERVISOR, ETIMEDOUT, "%s %s does not answer", path, option);
		}
		k = read(r_fd, text + n, size - 1 - n);
		if (k <= 0)
			break;
		n += (size_t)k;
	}
	text[n] = 0;
	spawn_stop(pid, pidfd, 500);
	return 0;
}
