/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/passt.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "pod/plan_network.h"
#include "sys/spawn.h"

/* The VMM answers already; its connection is a matter of milliseconds. */
#define CONNECT_MS 5000

int passt_listen(struct passt *p, const struct plan *plan, struct err *e)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (!plan->passt_socket)
		return 0;
	if (strlen(plan->passt_socket) >= sizeof a.sun_path)
		return err_set(e, ERR_LIMIT, ENAMETOOLONG, "%s is too long for a Unix socket (107 bytes at most)",
			       plan->passt_socket);
	strcpy(a.sun_path, plan->passt_socket);
	p->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (p->listen_fd < 0 || bind(p->listen_fd, (struct sockaddr *)&a, sizeof a) < 0)
		return err_sys(e, errno, "cannot listen on %s", plan->passt_socket);
	p->socket = plan->passt_socket;
	return listen(p->listen_fd, 1) < 0 ? err_sys(e, errno, "cannot listen on %s", plan->passt_socket) : 0;
}

/* The VMM's connection, or a negative errno. */
static int accept_vmm(const struct passt *p, int end_fd, struct err *e)
{
	struct pollfd w[2] = { { .fd = p->listen_fd, .events = POLLIN }, { .fd = end_fd, .events = POLLIN } };
	uint64_t deadline = clock_ms() + CONNECT_MS, now;
	int fd;

	while ((now = clock_ms()) < deadline && !w[0].revents && !w[1].revents)
		if (poll(w, 2, (int)(deadline - now)) < 0 && errno != EINTR)
			return err_sys(e, errno, "cannot wait for the VM's network");
	if (w[1].revents)
		return err_set(e, ERR_SYSTEM, ECANCELED, "interrupted while the network was starting");
	if (!w[0].revents)
		return err_set(e, ERR_HYPERVISOR, ETIMEDOUT, "the VM did not connect to its network (%s)", p->socket);
	fd = accept4(p->listen_fd, NULL, NULL, SOCK_CLOEXEC);
	return fd < 0 ? err_sys(e, errno, "cannot connect the VM to passt") : fd;
}

int passt_start(struct passt *p, const struct plan *plan, int end_fd, struct err *e)
{
	_cleanup_strv_ struct strv argv = { 0 };
	_cleanup_close_ int fd = -1;
	struct spawn spawn;

	if (!p->socket)
		return 0;
	fd = accept_vmm(p, end_fd, e);
	if (fd < 0)
		return fd;
	if (plan_passt_argv(plan, fd, &argv) < 0)
		return err_sys(e, ENOMEM, "cannot start passt");
	spawn = (struct spawn){ .path = argv.v[0],
				.argv = argv.v,
				.stdin_fd = -1,
				.stdout_fd = -1,
				.stderr_fd = log_get_level() >= LOG_LEVEL_DEBUG ? STDERR_FILENO : -1,
				.keep_fds = &fd,
				.n_keep_fds = 1,
				.die_with_parent = true,
				.own_session = true };
	return spawn_start(&spawn, &p->pid, &p->pidfd, e);
}

int passt_check(const struct passt *p, struct err *e)
{
	struct pollfd w = { .fd = p->pidfd, .events = POLLIN };

	if (p->pid > 0 && poll(&w, 1, 0) > 0)
		return err_set(
			e, ERR_SYSTEM, ECHILD,
			"passt ended at once (is a published port in use?); --log-level debug shows what it says, "
			"and --net none or a tap does without it");
	return 0;
}

void passt_stop(struct passt *p)
{
	if (p->pid > 0)
		spawn_stop(p->pid, p->pidfd, 0);
	fd_close(&p->pidfd);
	fd_close(&p->listen_fd);
	if (p->socket)
		unlink(p->socket);
	*p = PASST_NONE;
}
