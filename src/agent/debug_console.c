// SPDX-License-Identifier: Apache-2.0
/*
 * A session is a socket, the master of a pseudo-terminal and one buffer for each direction: a side is read only while
 * its buffer is empty. It ends when either side does; what the shell said last is still sent.
 */
#include "agent/debug_console.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"

#define SESSIONS_MAX 8
#define CHUNK        4096

struct flow {
	char data[CHUNK];
	size_t at, len;
};

struct session {
	struct debug_console *console;
	int sock, master; /* -1: free */
	pid_t shell;
	struct loop_source *sock_source, *master_source;
	struct flow in, out; /* to the shell, from it */
};

struct debug_console {
	struct loop *loop;
	struct reaper *reaper;
	int listen_fd;
	struct loop_source *source;
	struct session *sessions[SESSIONS_MAX];
};

static void session_end(struct session *s)
{
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (s->console->sessions[i] == s)
			s->console->sessions[i] = NULL;
	if (s->shell > 0)
		kill(-s->shell, SIGHUP); /* it reads the end of its terminal besides, and the reaper takes it */
	loop_source_free(s->sock_source);
	loop_source_free(s->master_source);
	fd_close(&s->sock);
	fd_close(&s->master);
	free(s);
}

/* 0: go on, negative: this direction has ended. */
static int move(int from, int to, struct flow *f)
{
	ssize_t n;

	if (f->len == 0) {
		n = read(from, f->data, sizeof f->data);
		if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
			return -EPIPE;
		if (n < 0)
			return 0;
		f->at = 0;
		f->len = (size_t)n;
	}
	while (f->len > 0) {
		n = write(to, f->data + f->at, f->len);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -EPIPE;
		f->at += (size_t)n;
		f->len -= (size_t)n;
	}
	return 0;
}

static void on_session(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct session *s = userdata;
	bool hung_up = revents & EPOLLHUP;

	(void)fd;
	if (move(s->sock, s->master, &s->in) < 0 || move(s->master, s->sock, &s->out) < 0 ||
	    (hung_up && source == s->sock_source && s->in.len)) {
		session_end(s);
		return;
	}
	/* It would be told again and again while the client does not take what the shell said last. */
	if (hung_up && source == s->master_source && s->out.len) {
		loop_source_free(s->master_source);
		s->master_source = NULL;
	}
	/* A side is read while its buffer is empty and written while the other's is not. */
	loop_io_set_events(s->sock_source,
			   (s->in.len ? 0 : EPOLLIN) | (s->out.len || !s->master_source ? EPOLLOUT : 0u));
	if (s->master_source)
		loop_io_set_events(s->master_source, (s->out.len ? 0 : EPOLLIN) | (s->in.len ? EPOLLOUT : 0u));
}

static const char *find_shell(void)
{
	static const char *const shells[] = { "/bin/bash", "/bin/sh", "/usr/bin/bash", "/usr/bin/sh" };

	for (size_t i = 0; i < sizeof shells / sizeof shells[0]; i++)
		if (access(shells[i], X_OK) == 0)
			return shells[i];
	return NULL;
}

__attribute__((noreturn)) static void shell_main(const char *shell, int slave)
{
	char *argv[] = { (char *)shell, NULL };
	char *env[] = { (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			(char *)"TERM=xterm", (char *)"HOME=/root", NULL };
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	setsid();
	ioctl(slave, TIOCSCTTY, 0);
	for (int i = 0; i < 3; i++)
		dup2(slave, i);
	syscall(SYS_close_range, 3u, ~0u, 0u);
	if (chdir("/root") < 0 && chdir("/") < 0)
		_exit(1);
	execve(shell, argv, env);
	_exit(127);
}

static void on_shell_end(pid_t pid, int status, void *userdata)
{
	/* The terminal tells the session; the process only has to be taken. */
	(void)pid;
	(void)status;
	(void)userdata;
}

static int start_shell(struct session *s, const char *shell)
{
	_cleanup_close_ int slave = -1;
	pid_t pid;

	s->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (s->master < 0 || unlockpt(s->master) < 0)
		return -errno;
	slave = ioctl(s->master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		shell_main(shell, slave);
	s->shell = pid;
	reaper_watch(s->console->reaper, pid, on_shell_end, NULL);
	fcntl(s->master, F_SETFL, O_RDWR | O_NONBLOCK);
	return 0;
}

static void refuse(int fd, const char *text)
{
	log_info("debug console: %s", text);
	if (send(fd, text, strlen(text), MSG_DONTWAIT | MSG_NOSIGNAL) > 0)
		send(fd, "\r\n", 2, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void on_connection(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct debug_console *c = userdata;
	_cleanup_close_ int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	const char *shell = find_shell();
	struct session **slot = NULL, *s;
	int r;

	(void)source;
	(void)revents;
	if (conn < 0)
		return;
	for (size_t i = 0; i < SESSIONS_MAX && !slot; i++)
		if (!c->sessions[i])
			slot = &c->sessions[i];
	if (!shell || !slot) {
		refuse(conn, shell ? "too many debug consoles are open" : "this guest image contains no shell");
		return;
	}
	s = calloc(1, sizeof *s);
	if (!s)
		return;
	s->console = c;
	s->master = -1;
	s->sock = take_fd(&conn);
	r = start_shell(s, shell);
	if (r == 0)
		r = loop_add_io(c->loop, s->sock, EPOLLIN, on_session, s, &s->sock_source);
	if (r == 0)
		r = loop_add_io(c->loop, s->master, EPOLLIN, on_session, s, &s->master_source);
	if (r < 0) {
		refuse(s->sock, strerror(-r));
		session_end(s);
		return;
	}
	*slot = s;
}

int debug_console_new(struct loop *loop, struct reaper *reaper, int listen_fd, struct debug_console **ret,
		      struct err *e)
{
	struct debug_console *c = calloc(1, sizeof *c);
	int r = -ENOMEM;

	if (c) {
		c->loop = loop;
		c->reaper = reaper;
		c->listen_fd = listen_fd;
		r = loop_add_io(loop, listen_fd, EPOLLIN, on_connection, c, &c->source);
	}
	if (r < 0) {
		free(c);
		close(listen_fd);
		return err_sys(e, -r, "cannot make the debug console");
	}
	*ret = c;
	return 0;
}

void debug_console_free(struct debug_console *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < SESSIONS_MAX; i++)
		if (c->sessions[i])
			session_end(c->sessions[i]);
	loop_source_free(c->source);
	fd_close(&c->listen_fd);
	free(c);
}
