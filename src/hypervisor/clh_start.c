/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Cloud Hypervisor's process and the three ways in which it speaks to us.
 *
 * API: it inherits a socket on which we listen already, so that the first request can be made at once and waits there.
 * Events: the writing end of a pipe. Console: a FIFO that it opens by path when the VM is made (vm.create, vm.restore);
 * a FIFO and not an inherited pipe because Landlock knows files that have a name.
 *
 * The FIFO lies in a folder of its own, and both are removed as soon as the guest runs. Besides leaving nothing behind,
 * this is what ends a VM whose guest resets: Cloud Hypervisor would start the guest anew in the same process, opens
 * the console first, cannot, and exits. There is no option for that, and to kill it on the event alone would come late:
 * the guest would boot again while our loop is busy elsewhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "hypervisor/clh_vm.h"
#include "hypervisor/console.h"

#define CONSOLE_LOG_MAX (1u << 20)
#define CONSOLE_PIPE_MAX                                                                                               \
	(256 << 10)  /* a boot's worth, so that the guest is not held up while we wait for an answer                   \
		      */
#define DRAIN_MAX 64 /* reads in one go: the loop has others to serve */

/* --- events --- */

static void on_event(const char *source, const char *event, struct json_object *properties, void *userdata)
{
	struct clh_vm *q = userdata;
	const char *id = json_get_str(properties, "id");

	log_debug("Cloud Hypervisor: event %s/%s%s%s", source, event, id ? " " : "", id ? id : "");
	if (str_eq(source, "guest") && str_eq(event, "panic"))
		q->panicked = true;
	if (!str_eq(source, "vm"))
		return;
	if (str_eq(event, "rebooting")) {
		q->resetting = true;
	} else if (str_eq(event, "rebooted") && q->process) {
		/* It should not come to this: see above. */
		process_stop(q->process, 0);
	} else if (str_eq(event, "device-removed") && id) {
		clh_hotplug_gone(q, id);
	}
}

void clh_drain_events(struct clh_vm *q)
{
	char data[4096];

	for (unsigned i = 0; i < DRAIN_MAX && q->events_fd >= 0; i++) {
		ssize_t n = read(q->events_fd, data, sizeof data);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return;
		if (n > 0 && clh_events_feed(&q->events, data, (size_t)n, on_event, q) == 0)
			continue;
		/* Its end, or nonsense: nothing more to learn. That Cloud Hypervisor ended is told by exit_fd. */
		loop_source_free(q->events_source);
		q->events_source = NULL;
		fd_close(&q->events_fd);
	}
}

static void on_events(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	clh_drain_events(userdata);
}

static int open_events(struct clh_vm *q, int *ret_write_end, struct err *e)
{
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe for Cloud Hypervisor's events");
	q->events_fd = p[0];
	*ret_write_end = p[1];
	r = fd_set_nonblock(p[0], true);
	if (r == 0)
		r = loop_add_io(q->loop, p[0], EPOLLIN, on_events, q, &q->events_source);
	return r < 0 ? err_sys(e, -r, "events") : 0;
}

/* --- console --- */

static int open_console(struct clh_vm *q, struct err *e)
{
	const struct vm_config *c = q->vm.config;
	_cleanup_free_ char *log = c->console_log ? str_printf("%s/console.log", c->run_dir) : NULL;
	int fd, r;

	if (c->console_log && !log)
		return err_sys(e, ENOMEM, "console");
	if (mkdir(q->plan.console_dir, 0700) < 0 || mkfifo(q->plan.console, 0600) < 0)
		return err_sys(e, errno, "cannot make %s for the console", q->plan.console);
	/* For writing too: without a writer it would be at its end before Cloud Hypervisor has opened it. */
	fd = open(q->plan.console, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", q->plan.console);
	fcntl(fd, F_SETPIPE_SZ, CONSOLE_PIPE_MAX);
	r = console_new(q->loop, fd, log, CONSOLE_LOG_MAX, "guest: ", &q->vm.console, e);
	return r;
}

void clh_remove_console(struct clh_vm *q)
{
	if (!q->plan.console_dir)
		return;
	unlink(q->plan.console);
	rmdir(q->plan.console_dir);
}

/* --- the process --- */

static int spawn_vmm(struct clh_vm *q, int api, int events, struct err *e)
{
	_cleanup_strv_ struct strv argv = { 0 };
	int keep[] = { api, events };
	struct spawn s = {
		.path = q->facts.path,
		.stdin_fd = -1,
		.cwd = "/",
		.netns = q->vm.config->netns,
		.keep_fds = keep,
		.n_keep_fds = 2,
	};
	int r = clh_argv(&q->plan, q->facts.path, api, events, &argv, e);

	if (r < 0)
		return r;
	s.argv = argv.v;
	return process_start(q->loop, &s, "Cloud Hypervisor", &q->process, e);
}

static bool has_feature(const struct json_object *ping, const char *name)
{
	struct json_object *features = json_get_array(ping, "features");

	for (size_t i = 0; i < json_array_len(features); i++)
		if (str_eq(json_str(json_array_at(features, i)), name))
			return true;
	return false;
}

/* Which Cloud Hypervisor is it? It passes over what it does not know, so what must not be missing is asked for. */
static int hear_from_it(struct clh_vm *q, uint64_t deadline_ms, struct err *e)
{
	const struct config_hypervisor *hv = q->vm.config->hv;
	const char *confidential = hv->sev_snp_guest ? "sev_snp" : "tdx", *version;
	_cleanup_json_ struct json_object *ping = NULL;
	_cleanup_free_ char *text = NULL;
	int r = rest_wait(&q->rest, deadline_ms, e);

	if (r == 0)
		r = rest_call(&q->rest, "GET", "/api/v1/vmm.ping", NULL, NULL, 0, deadline_ms, &text, e);
	if (r < 0)
		return r;
	if (json_parse(text, strlen(text), REST_BODY_MAX, &ping, NULL) < 0 ||
	    !(version = json_get_str(ping, "version")) || clh_parse_version(version, &q->facts) < 0)
		return err_set(e, ERR_PROTOCOL, EPROTO, "%s does not say which version of Cloud Hypervisor it is",
			       q->facts.path);
	r = clh_check_version(&q->facts, e);
	if (r == 0 && hv->confidential_guest && !has_feature(ping, confidential))
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "confidential_guest: %s was built without %s, and would start an ordinary VM",
			       q->facts.path, confidential);
	if (r == 0)
		log_info("Cloud Hypervisor %u.%u with KVM", q->facts.major, q->facts.minor);
	return r;
}

static int launch(struct clh_vm *q, uint64_t deadline_ms, struct err *e)
{
	_cleanup_close_ int api = -1, events = -1;
	int r = unix_listen(q->plan.api_socket, 0600, &api, e);

	if (r == 0)
		r = open_events(q, &events, e);
	if (r == 0)
		r = open_console(q, e);
	if (r == 0)
		r = spawn_vmm(q, api, events, e);
	if (r < 0)
		return r;
	/* Ours have to be closed, or its end would not be seen. */
	fd_close(&api);
	fd_close(&events);
	q->vm.exit_fd = process_exit_fd(q->process);
	q->rest.exit_fd = q->vm.exit_fd;
	q->rest.interrupt_fd = q->vm.interrupt_fd;
	return hear_from_it(q, deadline_ms, e);
}

int clh_launch(struct clh_vm *q, uint64_t deadline_ms, struct err *e)
{
	int r;

	if (q->process)
		return err_set(e, ERR_HYPERVISOR, EALREADY, "the VM was started before");
	r = launch(q, deadline_ms, e);
	return r < 0 ? clh_launch_failed(q, r, e) : 0;
}

int clh_launch_failed(struct clh_vm *q, int code, struct err *e)
{
	char how[96], words[512];

	/* A connection ends a moment before the process does. */
	if (q->process && process_wait(q->process, clock_ms() + (code == -EPIPE ? 1000 : 0)) == 0) {
		process_describe(q->process, how, sizeof how);
		process_last_words(q->process, words, sizeof words);
		code = err_set(e, ERR_HYPERVISOR, EIO, "Cloud Hypervisor (%s) did not start: %s%s%s", q->facts.path,
			       how, words[0] ? ": " : "", words);
	} else if (q->process) {
		process_last_words(q->process, words, sizeof words);
		err_wrap(e, "Cloud Hypervisor (%s) did not start", q->facts.path);
		if (words[0] && code != -EREMOTEIO)
			err_append(e, "; it printed: %s", words);
	}
	clh_stop_all(q);
	process_free(q->process);
	q->process = NULL;
	console_free(q->vm.console);
	q->vm.console = NULL;
	q->vm.exit_fd = q->rest.exit_fd = -1;
	return code;
}

void clh_stop_all(struct clh_vm *q)
{
	q->running = false;
	if (q->process)
		process_stop(q->process, 0);
	rest_fini(&q->rest);
	clh_drain_events(q);
	loop_source_free(q->events_source);
	q->events_source = NULL;
	fd_close(&q->events_fd);
	buf_fini(&q->events);
	clh_remove_console(q);
	/* What it made itself stays when it is killed. */
	if (q->plan.api_socket)
		unlink(q->plan.api_socket);
	if (q->plan.vsock_socket)
		unlink(q->plan.vsock_socket);
}
