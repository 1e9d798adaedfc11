/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of pods: one with a fake guest (driver and agent) and a fake host, bundles for it, and what must be left
 * when it has ended: no process, descriptor, mount, file, cgroup or network.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "base/log.h"
#include "codec/pb.h"
#include "oci/spec.h"
#include "pod/fake_guest.h"
#include "pod/fake_host.h"
#include "pod/plan.h"
#include "pod/pod.h"
#include "pod/state.h"

/* Each test uses what it needs. */
#pragma GCC diagnostic ignored "-Wunused-function"

static struct {
	char *dir;
	struct config *config;
	struct loop *loop;
	struct pod *pod;
	struct strv events;
	unsigned fds;
	pid_t client_standin; /* that a client made, and reaps */
} t;

static char *tmp(const char *name)
{
	static char path[4][256];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof path[0], "%s/%s", t.dir, name);
	return p;
}

/* ---- bundles ---- */

#define SINGLE ""
#define SANDBOX                                                                                                        \
	"\"annotations\":{\"io.kubernetes.cri.container-type\":\"sandbox\",\"io.kubernetes.cri.sandbox-id\":\"p1\"},"
#define MEMBER                                                                                                         \
	"\"annotations\":{\"io.kubernetes.cri.container-type\":\"container\",\"io.kubernetes.cri.sandbox-id\":\"p1\"}" \
	","

static const char *resources = "", *more_mounts = "", *netns = "";

static void put_bundle(const char *id, const char *more)
{
	_cleanup_free_ char *dir = str_printf("%s/%s", t.dir, id), *root = str_printf("%s/rootfs", dir),
			    *file = str_printf("%s/config.json", dir);
	_cleanup_free_ char *text = str_printf(
		"{\"ociVersion\":\"1.1.0\",\"process\":{\"cwd\":\"/\",\"args\":[\"/bin/%s\"]},"
		"\"root\":{\"path\":\"rootfs\"},%s\"mounts\":[%s{\"destination\":\"/proc\",\"type\":\"proc\","
		"\"source\":\"proc\"},{\"destination\":\"/etc/hosts\",\"type\":\"bind\",\"source\":\"/etc/"
		"hosts\"}],\"linux\":{%s\"cgroupsPath\":\"/pods/%s\",\"namespaces\":[{\"type\":\"mount\"},"
		"{\"type\":\"network\",\"path\":\"%s\"},{\"type\":\"pid\"}]}}",
		id, more, more_mounts, resources, id, netns);

	dir_make(root, 0755);
	assert_int_equal(file_replace(file, text, strlen(text), 0644), 0);
}

/* ---- set-up, and what must be left: nothing ---- */

static void load_config(const char *shared_fs)
{
	_cleanup_free_ char *body =
		str_printf("[hypervisor.qemu]\nvirtio_fs_daemon = \"%s\"\ndefault_memory = 128\n"
			   "default_vcpus = 1\nkernel = \"%s\"\ninitrd = \"%s\"\nshared_fs = \"%s\"\n"
			   "[runtime]\nstatic_sandbox_resource_mgmt = true\n",
			   tmp("virtiofsd"), tmp("kernel"), tmp("kernel"), shared_fs);
	struct config_load_options o = { .body = body };
	struct err e = { 0 };

	if (config_load(&o, &t.config, NULL, &e) < 0)
		fail_msg("%s", e.text);
}

static int set_up(void **state)
{
	char dir[] = "/tmp/pod-test-XXXXXX";

	if (geteuid() != 0)
		skip();
	t.dir = strdup(mkdtemp(dir));
	fake_guest_init(t.dir);
	fake_host_init();
	assert_int_equal(file_replace(tmp("kernel"), "k", 1, 0644), 0);
	assert_int_equal(file_replace(tmp("virtiofsd"), "#!/bin/sh\nexec sleep 1000\n", 26, 0755), 0);
	resources = more_mounts = netns = "";
	put_bundle("c1", SINGLE);
	load_config("virtio-fs");
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	t.fds = count_fds();
	agent_start();
	return 0;
}

static void nothing_left(void)
{
	_cleanup_closedir_ DIR *d = NULL;
	_cleanup_free_ char *mounts = NULL;
	struct dirent *entry;

	assert_int_equal(guest.vms, 0);
	assert_int_equal(host.cgroups, 0);
	assert_int_equal(host.networks, 0);
	assert_int_equal(host.streams, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(file_read("/proc/thread-self/mounts", 1 << 20, &mounts, NULL), 0);
	assert_null(strstr(mounts, t.dir));
	d = opendir(tmp("state"));
	while (d && (entry = readdir(d)))
		if (entry->d_name[0] != '.')
			fail_msg("%s is left in the state directory", entry->d_name);
}

static int tear_down(void **state)
{
	pod_free(take_ptr(t.pod));
	agent_stop();
	nothing_left();
	assert_int_equal(count_fds(), t.fds);
	config_free(take_ptr(t.config));
	strv_fini(&t.events);
	loop_free(t.loop);
	fake_guest_fini();
	fake_host_fini();
	dir_remove(t.dir);
	free(t.dir);
	return 0;
}

/* ---- driving a pod ---- */

static void on_event(const struct pod_event *event, void *userdata)
{
	static const char *const names[] = { "create", "start",  "exec-added", "exec-started", "exit",
					     "oom",    "paused", "resumed",    "delete" };
	bool ends = event->kind == POD_EVENT_EXIT || event->kind == POD_EVENT_DELETE;
	char status[16] = "";

	if (ends)
		snprintf(status, sizeof status, " %d", event->exit.status);
	strv_addf(&t.events, "%s %s%s%s%s%s", names[event->kind], event->container_id, *event->exec_id ? " " : "",
		  event->exec_id, status, event->pid > 0 ? "" : " without a pid");
}

static void make_pod(void)
{
	struct pod_params p = { .loop = t.loop,
				.id = "p1",
				.namespace = "ns1",
				.state_root = tmp("state"),
				.config = t.config,
				.driver = &fake_driver,
				.interrupt_fd = guest.interrupt_fd,
				.event = on_event };
	struct err e = { 0 };

	if (pod_new(&p, &t.pod, &e) < 0)
		fail_msg("%s", e.text);
}

/* What somebody waits for. */
struct outcome {
	bool done;
	int result;
	struct err e;
};

static void on_pid(int result, pid_t pid, const struct err *e, void *userdata)
{
	*(struct outcome *)userdata = (struct outcome){ true, result, *e };
	if (result == 0)
		assert_int_equal(kill(pid, 0), 0);
}

static void on_done(int result, const struct err *e, void *userdata)
{
	*(struct outcome *)userdata = (struct outcome){ true, result, *e };
}

/* Run the loop until it is there. */
static int await_outcome(struct outcome *o, struct err *e)
{
	for (int i = 0; i < 2000 && !o->done; i++)
		loop_run_once(t.loop, 10);
	assert_true(o->done);
	if (e)
		*e = o->e;
	return o->result;
}

static int try_create_with(const struct pod_container_params *params, struct err *e)
{
	struct outcome o = { 0 };

	pod_create(t.pod, params, on_pid, &o);
	return await_outcome(&o, e);
}

static int try_create_as(const char *id, bool sandbox_only, struct err *e)
{
	struct pod_container_params p = { .id = id,
					  .bundle = tmp(id),
					  .io = { .out = "/the/fifo" },
					  .sandbox_only = sandbox_only,
					  .standin_fd = -1 };

	return try_create_with(&p, e);
}

static int try_create(const char *id, struct err *e)
{
	return try_create_as(id, false, e);
}

static void create(const char *id)
{
	struct err e = { 0 };

	if (try_create(id, &e) < 0)
		fail_msg("%s", e.text);
}

static int try_start(const char *id, const char *exec_id, struct err *e)
{
	struct outcome o = { 0 };

	pod_start(t.pod, id, exec_id, on_pid, &o);
	return await_outcome(&o, e);
}

static void start(const char *id, const char *exec_id)
{
	struct err e = { 0 };

	if (try_start(id, exec_id, &e) < 0)
		fail_msg("%s", e.text);
}

static int try_kill(const char *id, const char *exec_id, int signo, bool all, struct err *e)
{
	struct outcome o = { 0 };

	pod_kill(t.pod, id, exec_id, signo, all, on_done, &o);
	return await_outcome(&o, e);
}

static void ask_kill(const char *id, const char *exec_id, int signo)
{
	struct err e = { 0 };

	if (try_kill(id, exec_id, signo, false, &e) < 0)
		fail_msg("%s", e.text);
}

static int try_pause(const char *id, struct err *e)
{
	struct outcome o = { 0 };

	pod_pause(t.pod, id, on_done, &o);
	return await_outcome(&o, e);
}

static int try_resume(const char *id, struct err *e)
{
	struct outcome o = { 0 };

	pod_resume(t.pod, id, on_done, &o);
	return await_outcome(&o, e);
}

/* wanted: borrowed. */
static int try_update(const char *id, const Grpc__LinuxResources *wanted, struct err *e)
{
	struct outcome o = { 0 };

	pod_update(t.pod, id, pb_copy(&wanted->base), on_done, &o);
	return await_outcome(&o, e);
}

static struct pod_exit delete (const char *id, const char *exec_id)
{
	struct pod_exit ret = { 0 };
	struct err e = { 0 };
	pid_t pid;

	if (pod_delete(t.pod, id, exec_id, false, &pid, &ret, &e) < 0)
		fail_msg("%s", e.text);
	return ret;
}

static struct pod_process_state state_of(const char *id, const char *exec_id)
{
	struct pod_process_state ret = { 0 };
	struct err e = { 0 };

	if (pod_state(t.pod, id, exec_id, &ret, &e) < 0)
		fail_msg("%s", e.text);
	return ret;
}

/* Run the loop until that is the last event. */
static void until_event(const char *event)
{
	for (int i = 0; i < 2000; i++) {
		if (t.events.len && str_eq(t.events.v[t.events.len - 1], event))
			return;
		loop_run_once(t.loop, 10);
	}
	fail_msg("the last event is \"%s\", not \"%s\"", t.events.len ? t.events.v[t.events.len - 1] : "(none)", event);
}

static void list_is(const struct strv *list, const char *what, const char *const *expected)
{
	size_t n = 0;

	for (; expected[n]; n++)
		if (n >= list->len || !str_eq(list->v[n], expected[n]))
			fail_msg("%s %zu is \"%s\", not \"%s\"", what, n, n < list->len ? list->v[n] : "(none)",
				 expected[n]);
	if (list->len != n)
		fail_msg("%s %zu is \"%s\", and should not be", what, n, list->v[n]);
}

static bool seen(const char *line)
{
	return fake_asked_at(line, 0) != SIZE_MAX;
}
