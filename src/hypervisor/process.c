/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/process.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

#define OUTPUT_PIPE (1 << 20) /* as much as the kernel gives anybody */

struct process {
	const char *name;
	pid_t pid;
	int pidfd;
	bool ended;
	int status;
	struct console *output;
};

int process_start(struct loop *loop, const struct spawn *s, const char *name, struct process **ret, struct err *e)
{
	_cleanup_close_ int out_r = -1, out_w = -1;
	struct spawn spec = *s;
	struct process *p;
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot start %s", s->path);
	out_r = fds[0];
	out_w = fds[1];
	/* A verbose start's worth: while we wait for an answer or for the guest, nobody reads. */
	fcntl(out_w, F_SETPIPE_SZ, OUTPUT_PIPE);
	p = calloc(1, sizeof *p);
	if (!p)
		return err_sys(e, ENOMEM, "cannot start %s", s->path);
	p->name = name;
	p->pidfd = -1;
	r = console_new(loop, take_fd(&out_r), NULL, 0, "VMM: ", &p->output, e);
	if (r < 0) {
		process_free(p);
		return r;
	}
	spec.stderr_fd = out_w;
	if (spec.stdout_fd <= STDERR_FILENO)
		spec.stdout_fd = out_w;
	spec.die_with_parent = spec.own_session = true;
	r = spawn_start(&spec, &p->pid, &p->pidfd, e);
	if (r < 0) {
		p->pid = 0;
		process_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void process_free(struct process *p)
{
	if (!p)
		return;
	process_stop(p, 0);
	fd_close(&p->pidfd);
	console_free(p->output);
	free(p);
}

pid_t process_pid(const struct process *p)
{
	return p->pid;
}

int process_exit_fd(const struct process *p)
{
	return p->pidfd;
}

bool process_ended(struct process *p)
{
	if (!p->ended && p->pid > 0 && waitpid(p->pid, &p->status, WNOHANG) == p->pid)
		p->ended = true;
	return p->ended;
}

int process_wait(struct process *p, uint64_t deadline_ms)
{
	while (!process_ended(p)) {
		struct pollfd w = { .fd = p->pidfd, .events = POLLIN };
		uint64_t now = clock_ms();

		/* Keep its pipe flowing: a process that waits for us to read does not end. */
		console_drain(p->output);
		if (now >= deadline_ms)
			return -ETIMEDOUT;
		poll(&w, 1, deadline_ms - now < 100 ? (int)(deadline_ms - now) : 100);
	}
	return 0;
}

void process_stop(struct process *p, int grace_ms)
{
	if (p->pid <= 0 || process_ended(p))
		return;
	p->status = spawn_stop(p->pid, p->pidfd, grace_ms);
	p->ended = true;
}

int process_status(const struct process *p)
{
	return p->status;
}

void process_describe(struct process *p, char *text, size_t size)
{
	if (!process_ended(p))
		snprintf(text, size, "%s is running", p->name);
	else if (WIFSIGNALED(p->status))
		snprintf(text, size, "%s was killed by signal %d (%s)", p->name, WTERMSIG(p->status),
			 strsignal(WTERMSIG(p->status)));
	else
		snprintf(text, size, "%s exited with status %d", p->name, WEXITSTATUS(p->status));
}

void process_last_words(struct process *p, char *text, size_t size)
{
	/* All that the pipe can hold; each takes 64 KiB at most. */
	for (unsigned i = 0; i <= OUTPUT_PIPE >> 16; i++)
		console_drain(p->output);
	console_last_lines(p->output, 4, text, size);
}
