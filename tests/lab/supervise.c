// SPDX-License-Identifier: Apache-2.0
/* Process 1 of the laboratory VM, after `init` has set up the root file system: runs one command, carries its streams
 * over virtio-serial ports to tests/lab/run, reports its exit status there, and reaps everybody's zombies.
 *
 * The command gets pipes, not the ports themselves: a port can be opened only once, so `echo >/dev/stderr` would fail.
 * Ports are written blocking: such a write returns when QEMU has passed the bytes on, and so the status, which is
 * written last, arrives last. What the command leaves running dies with the VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/reboot.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOB "/run/lab/"

enum { PORT_STDIN = 1, PORT_STDOUT, PORT_STDERR, PORT_STATUS }; // `nr` of the ports that tests/lab/run gives to QEMU

struct job {
	char **argv, **env, *cwd;
};

// Ends the VM without a status; tests/lab/run then shows the end of the console.
static void give_up(const char *what)
{
	fprintf(stderr, "lab: %s: %s\n", what, strerror(errno));
	reboot(RB_POWER_OFF);
	_exit(1);
}

static char *slurp(const char *path, size_t *ret_size)
{
	FILE *f = fopen(path, "re");
	char *data = NULL;
	size_t size = 0, room = 0;
	if (!f)
		give_up(path);
	for (;;) {
		if (size + 1 >= room && !(data = realloc(data, room = room * 2 + 4096)))
			give_up(path);
		size_t n = fread(data + size, 1, room - size - 1, f);
		if (!n)
			break;
		size += n;
	}
	fclose(f);
	data[size] = '\0';
	*ret_size = size;
	return data;
}

// A file of strings that end in NUL, as an argument vector.
static char **read_strings(const char *path)
{
	size_t size, count = 0;
	char *data = slurp(path, &size);
	for (size_t i = 0; i < size; i++)
		count += data[i] == '\0';
	char **v = calloc(count + 1, sizeof *v);
	if (!v)
		give_up(path);
	for (size_t i = 0; i < count; i++, data += strlen(data) + 1)
		v[i] = data;
	return v;
}

// The driver makes the node a moment after it was loaded; when it never does, tests/lab/run ends the wait.
static int open_port(int nr, int flags)
{
	char pattern[32];
	snprintf(pattern, sizeof pattern, "/dev/vport*p%d", nr);
	for (;;) {
		glob_t found;
		int fd = glob(pattern, 0, NULL, &found) ? -1 : open(found.gl_pathv[0], flags | O_CLOEXEC);
		globfree(&found);
		if (fd >= 0)
			return fd;
		usleep(10000);
	}
}

static void write_all(int fd, const char *data, size_t size)
{
	while (size) {
		ssize_t n = write(fd, data, size);
		if (n < 0 && errno != EINTR)
			give_up("write to a port");
		if (n > 0) {
			data += n;
			size -= (size_t)n;
		}
	}
}

// Moves what a read gives from a pipe to its port: the number of bytes, 0 at the end of the pipe, or a negative errno.
static ssize_t pump(int from, int to)
{
	char buffer[65536];
	ssize_t n = read(from, buffer, sizeof buffer);
	if (n < 0)
		return -errno;
	write_all(to, buffer, (size_t)n);
	return n;
}

// What the command wrote before it ended, and not what those that it left behind go on writing: at most a full pipe.
static void drain(int from, int to)
{
	ssize_t n;
	for (int left = fcntl(from, F_GETPIPE_SZ); left > 0 && (n = pump(from, to)) > 0; left -= (int)n)
		;
}

/* A process of its own, so that a command that does not read its input holds up nothing else. Until the host's end is
 * connected a read gives 0 as at the end of input, so tests/lab/run sends one byte ahead.
 */
static void feed(int port, int pipe)
{
	char buffer[4096];
	while (read(port, buffer, 1) <= 0)
		usleep(10000);
	for (;;) {
		ssize_t n = read(port, buffer, sizeof buffer);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || write(pipe, buffer, (size_t)n) != n) // no SIGPIPE handler: this process just ends
			_exit(0);
	}
}

static void become_command(const struct job *job, int in, int out, int err)
{
	sigset_t none;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	setsid();
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(err, 2) < 0)
		_exit(126);
	if (chdir(job->cwd) < 0) {
		dprintf(2, "lab: cannot enter %s: %s\n", job->cwd, strerror(errno));
		_exit(126);
	}
	clearenv();
	for (char **e = job->env; *e; e++)
		putenv(*e);
	execvp(job->argv[0], job->argv);
	int status = errno == ENOENT ? 127 : 126;
	dprintf(2, "lab: cannot run %s: %s\n", job->argv[0], strerror(errno));
	_exit(status);
}

static void make_pipe(int fd[2])
{
	if (pipe2(fd, O_CLOEXEC) < 0)
		give_up("pipe");
}

static pid_t start_child(void)
{
	pid_t pid = fork();
	if (pid < 0)
		give_up("fork");
	return pid;
}

// Reaps all there is; true when `command` was among them, with its status as a shell would have it.
static bool reap(pid_t command, int *status)
{
	bool ended = false;
	int s;
	for (pid_t pid; (pid = waitpid(-1, &s, WNOHANG)) > 0;) {
		if (pid != command)
			continue;
		ended = true;
		*status = WIFSIGNALED(s) ? 128 + WTERMSIG(s) : WEXITSTATUS(s);
	}
	return ended;
}

static int run_job(const struct job *job)
{
	int in[2], out[2], err[2];
	make_pipe(in);
	make_pipe(out);
	make_pipe(err);
	int port_out = open_port(PORT_STDOUT, O_WRONLY), port_err = open_port(PORT_STDERR, O_WRONLY);
	int port_in = open_port(PORT_STDIN, O_RDONLY);

	sigset_t child;
	sigemptyset(&child);
	sigaddset(&child, SIGCHLD);
	sigprocmask(SIG_BLOCK, &child, NULL);
	int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		give_up("signalfd");

	pid_t command = start_child();
	if (!command)
		become_command(job, in[0], out[1], err[1]);
	close(in[0]);
	close(out[1]);
	close(err[1]);
	if (!start_child())
		feed(port_in, in[1]);
	close(in[1]);

	fcntl(out[0], F_SETFL, O_NONBLOCK);
	fcntl(err[0], F_SETFL, O_NONBLOCK);
	struct pollfd fds[] = { { out[0], POLLIN, 0 }, { err[0], POLLIN, 0 }, { signals, POLLIN, 0 } };
	const int ports[] = { port_out, port_err };
	int status = 0;
	for (bool ended = false; !ended;) {
		if (poll(fds, 3, -1) < 0 && errno != EINTR)
			give_up("poll");
		struct signalfd_siginfo info;
		while (read(signals, &info, sizeof info) > 0)
			;
		ended = reap(command, &status);
		for (int i = 0; i < 2; i++)
			if (fds[i].revents && !pump(fds[i].fd, ports[i]))
				fds[i].fd = -1; // poll passes over it
	}
	drain(out[0], port_out);
	drain(err[0], port_err);
	return status;
}

int main(void)
{
	size_t size;
	struct job job = {
		.argv = read_strings(JOB "argv"),
		.env = read_strings(JOB "env"),
		.cwd = slurp(JOB "cwd", &size),
	};
	int status = run_job(&job);
	sync(); // the output folder
	int port = open_port(PORT_STATUS, O_WRONLY);
	char line[16];
	write_all(port, line, (size_t)snprintf(line, sizeof line, "%d\n", status));
	reboot(RB_POWER_OFF);
	pause();
	return 0;
}
