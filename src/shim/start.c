/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The socket listens before the process that serves it exists, so containerd's first request cannot come too early; the
 * new process is a fork that goes on with what was read here: listener, options, flags.
 */
#include "shim/start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "oci/spec.h"
#include "pod/state.h"
#include "shim/address.h"
#include "shim/serve.h"
#include "task/group.h"
#include "task/options.h"

#define OPTIONS_MAX (2u << 20)
#define LOG_FIFO    "log"
#define PID_FILE    "shim.pid"

/* PR_SCHED_CORE (Linux 5.14), absent from older headers. */
#define SCHED_CORE_PRCTL        62
#define SCHED_CORE_CREATE       1
#define SCHED_CORE_THREAD_GROUP 1

/*
 * containerd reads BUNDLE/log and copies it to its own log. Opened for reading too, the FIFO outlives a containerd that
 * is started again; when it is full, lines are lost. Without it, the log goes nowhere.
 */
static void redirect_streams(void)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC), log = open(LOG_FIFO, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	dup2(null, STDIN_FILENO);
	dup2(null, STDOUT_FILENO);
	dup2(log >= 0 ? log : null, STDERR_FILENO);
	fd_close(&null);
	fd_close(&log);
}

/* containerd is to survive its shims when memory is short. Best effort: without CAP_SYS_RESOURCE it may go up only. */
static void adjust_oom_score(pid_t containerd)
{
	_cleanup_free_ char *path = str_printf("/proc/%d/oom_score_adj", (int)containerd), *text = NULL;
	char value[16];
	long score;

	if (!path || file_read(path, 64, &text, NULL) < 0)
		return;
	score = strtol(text, NULL, 10);
	snprintf(value, sizeof value, "%ld", score < 1000 ? score + 1 : score);
	if (file_write("/proc/self/oom_score_adj", value) < 0)
		log_debug("cannot set the OOM score");
}

/* containerd asks for it by SCHED_CORE: no hyper-thread is shared with other pods. */
static void isolate_core(void)
{
	if (prctl(SCHED_CORE_PRCTL, SCHED_CORE_CREATE, 0, SCHED_CORE_THREAD_GROUP, 0) < 0)
		log_warn("core scheduling is asked for and cannot be had: %s", strerror(errno));
}

static __attribute__((noreturn)) void child(const struct shim_serve *params, const struct shim_flags *flags,
					    pid_t containerd, int ready_fd)
{
	struct err e = { 0 };
	char byte = 0;
	int r;

	setsid();
	/* Who connects learns this process's id from the socket (SO_PEERCRED); until now it was the caller's. */
	listen(params->listen_fd, 128);
	redirect_streams();
	log_set_level(flags->debug ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO);
	log_set_sink(STDERR_FILENO, LOG_FORMAT_TEXT, flags->id);
	adjust_oom_score(containerd);
	if (getenv("SCHED_CORE"))
		isolate_core();
	if (chdir("/") < 0)
		log_debug("cannot leave the bundle");
	if (write(ready_fd, &byte, 1) < 0)
		log_debug("nobody waits for this shim");
	close(ready_fd);
	r = shim_serve(params, &e);
	if (r < 0)
		log_error("%s", e.text);
	_exit(r < 0);
}

/* Fork the process that serves. Returns when it is its own master. */
static int launch(const struct shim_serve *params, const struct shim_flags *flags, struct err *e)
{
	_cleanup_close_ int ready_r = -1, ready_w = -1;
	pid_t containerd = getppid(), pid;
	char byte, text[16];
	int p[2], n;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot start the shim");
	ready_r = p[0];
	ready_w = p[1];
	pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "cannot start the shim");
	if (pid == 0) {
		fd_close(&ready_r);
		child(params, flags, containerd, take_fd(&ready_w));
	}
	fd_close(&ready_w);
	if (fd_read_full(ready_r, &byte, 1) < 0)
		return err_set(e, ERR_SYSTEM, EIO, "the shim ended at once");
	n = snprintf(text, sizeof text, "%d", (int)pid);
	if (file_replace(PID_FILE, text, (size_t)n, 0644) < 0)
		log_debug("cannot write " PID_FILE);
	return 0;
}

static int read_options(struct task_options *ret, struct err *e)
{
	_cleanup_free_ char *data = NULL;
	size_t n = 0;
	int r = fd_read_all(STDIN_FILENO, OPTIONS_MAX, &data, &n);

	if (r < 0)
		return err_sys(e, -r, "cannot read the runtime options from stdin");
	return task_options_read(data, n, ret, e);
}

static int print_address(const char *address, struct err *e)
{
	int r = shim_write_address(".", address, e);

	if (r < 0)
		return r;
	r = fd_write_full(STDOUT_FILENO, address, strlen(address));
	return r < 0 ? err_sys(e, -r, "cannot write the address") : 0;
}

/* A bundle without config.json is that of a sandbox, of which the Sandbox service is told all else. */
static int read_group(const struct shim_flags *flags, struct task_group *ret, struct err *e)
{
	if (access("config.json", F_OK) == 0 || errno != ENOENT) {
		_cleanup_spec_ Grpc__Spec *spec = NULL;
		char root[PATH_MAX];
		int r = oci_spec_load(".", &spec, NULL, e);

		if (r == 0)
			r = task_group_of(spec, flags->id, ret, e);
		return r < 0 ? r
			     : task_group_join(ret, spec, state_default_root(root, sizeof root), flags->namespace, e);
	}
	*ret = (struct task_group){ .sandbox = strdup(flags->id) };
	return ret->sandbox ? 0 : err_sys(e, ENOMEM, "cannot start the shim");
}

/* The shim of the pod's first container serves this one too. */
static int join(const struct task_group *group, const char *address, struct err *e)
{
	if (!shim_is_alive(address))
		return err_set(e, ERR_CONFIG, ENOENT,
			       "the pod sandbox %s, which this container belongs to, does not run", group->sandbox);
	return print_address(address, e);
}

int shim_start(const struct shim_flags *flags, struct err *e)
{
	_cleanup_task_options_ struct task_options options = { 0 };
	_cleanup_task_group_ struct task_group group = { 0 };
	_cleanup_free_ char *address = NULL;
	struct shim_serve serve = { .namespace = flags->namespace,
				    .publish_binary = flags->publish_binary,
				    .containerd_address = flags->address,
				    .ttrpc_address = getenv("TTRPC_ADDRESS"),
				    .options = &options };
	int r = read_options(&options, e);

	if (r == 0)
		r = read_group(flags, &group, e);
	if (r < 0)
		return r;
	address = shim_address(flags->address, flags->namespace, group.sandbox);
	if (!address)
		return err_sys(e, ENOMEM, "cannot start the shim");
	if (group.is_member)
		return join(&group, address, e);
	r = shim_listen(address, &serve.listen_fd, e);
	if (r == -EADDRINUSE)
		return print_address(address, e);
	if (r < 0)
		return r;
	serve.address = address;
	r = launch(&serve, flags, e);
	close(serve.listen_fd);
	if (r < 0)
		unlink(shim_address_path(address));
	return r < 0 ? r : print_address(address, e);
}
