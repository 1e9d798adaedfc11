/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/stdio_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"

/* A terminal is writable when it has room for more than 256 characters (n_tty's WAKEUP_CHARS). */
#define TTY_STEP 256

/* A second open file of the same pipe or terminal. -1 when it cannot be had. */
static int open_again(int fd, bool writing)
{
	char path[32];

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	return open(path, (writing ? O_WRONLY : O_RDONLY) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

int stdio_fd_open(struct stdio_fd *s, int fd, bool writing)
{
	struct stat st;

	*s = (struct stdio_fd){ .fd = -1 };
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	s->socket = S_ISSOCK(st.st_mode);
	s->tty = S_ISCHR(st.st_mode) && isatty(fd);
	if (S_ISFIFO(st.st_mode) || s->tty) {
		s->fd = open_again(fd, writing);
		if (s->fd >= 0)
			return 0;
		s->step = s->tty ? TTY_STEP : PIPE_BUF;
	}
	/* A copy: the loop takes a descriptor once, and the caller may give one twice or watch it itself. */
	s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return s->fd < 0 ? -errno : 0;
}

void stdio_fd_close(struct stdio_fd *s)
{
	fd_close(&s->fd);
}

static bool ready(int fd, short events)
{
	struct pollfd p = { .fd = fd, .events = events };

	return poll(&p, 1, 0) > 0;
}

ssize_t stdio_fd_read(const struct stdio_fd *s, void *data, size_t n)
{
	ssize_t r;

	if (s->step && !ready(s->fd, POLLIN))
		return -EAGAIN;
	r = s->socket ? recv(s->fd, data, n, MSG_DONTWAIT) : read(s->fd, data, n);
	if (r < 0 && errno == EINTR)
		return -EAGAIN;
	return r < 0 ? -errno : r;
}

/* write(2) whose SIGPIPE never reaches anybody, whatever the program does with that signal. */
static ssize_t write_quietly(int fd, const void *data, size_t n)
{
	const struct timespec now = { 0 };
	sigset_t pipe_set, old, pending;
	bool was_pending;
	ssize_t r;

	sigemptyset(&pipe_set);
	sigaddset(&pipe_set, SIGPIPE);
	sigpending(&pending);
	was_pending = sigismember(&pending, SIGPIPE) == 1;
	pthread_sigmask(SIG_BLOCK, &pipe_set, &old);
	r = write(fd, data, n);
	if (r < 0) {
		r = -errno;
		if (r == -EPIPE && !was_pending)
			sigtimedwait(&pipe_set, NULL, &now);
	}
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return r;
}

ssize_t stdio_fd_write(const struct stdio_fd *s, const void *data, size_t n)
{
	ssize_t r;

	if (s->socket) {
		r = send(s->fd, data, n, MSG_DONTWAIT | MSG_NOSIGNAL);
		r = r < 0 ? -errno : r;
	} else if (s->step && !ready(s->fd, POLLOUT)) {
		r = -EAGAIN;
	} else {
		r = write_quietly(s->fd, data, s->step && n > s->step ? s->step : n);
	}
	if (r == -EIO && s->tty)
		r = -EPIPE;
	return r == -EINTR ? -EAGAIN : r;
}
