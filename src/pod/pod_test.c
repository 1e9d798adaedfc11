/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a pod, with a fake guest (driver and agent) and a fake host: what is asked of whom and in which order,
 * what others are told, and that every failure at every step leaves nothing: no process, descriptor, mount, file,
 * cgroup or network.
 */
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

#include "base/fd.h"
#include "base/log.h"
#include "oci/spec.h"
#include "pod/fake_guest.h"
#include "pod/fake_host.h"
#include "pod/plan.h"
#include "pod/pod.h"
#include "pod/state.h"

static struct {
	char *dir;
	struct config *config;
	struct loop *loop;
	struct pod *pod;
	struct strv events;
	unsigned fds;
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

static const char *resources = "";

static void put_bundle(const char *id, const char *more)
{
	_cleanup_free_ char *dir = str_printf("%s/%s", t.dir, id), *root = str_printf("%s/rootfs", dir),
			    *file = str_printf("%s/config.json", dir);
	_cleanup_free_ char *text = str_printf(
		"{\"ociVersion\":\"1.1.0\",\"process\":{\"cwd\":\"/\",\"args\":[\"/bin/%s\"]},"
		"\"root\":{\"path\":\"rootfs\"},%s\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\","
		"\"source\":\"proc\"}],\"linux\":{%s\"cgroupsPath\":\"/pods/%s\",\"namespaces\":[{\"type\":\"mount\"},"
		"{\"type\":\"network\"},{\"type\":\"pid\"}]}}",
		id, more, resources, id);

	dir_make(root, 0755);
	assert_int_equal(file_replace(file, text, strlen(text), 0644), 0);
}

/* ---- set-up, and what must be left: nothing ---- */

static unsigned count_fds(void)
{
	_cleanup_closedir_ DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	return n;
}

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
	resources = "";
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
				.state_root = tmp("state"),
				.config = t.config,
				.driver = &fake_driver,
				.interrupt_fd = guest.interrupt_fd,
				.event = on_event };
	struct err e = { 0 };

	if (pod_new(&p, &t.pod, &e) < 0)
		fail_msg("%s", e.text);
}

static int try_create(const char *id, struct err *e)
{
	struct pod_container_params p = { .id = id, .bundle = tmp(id), .io = { .out = "/the/fifo" }, .standin_fd = -1 };
	pid_t pid = 0;
	int r = pod_create(t.pod, &p, &pid, e);

	if (r == 0)
		assert_int_equal(kill(pid, 0), 0);
	return r;
}

static void create(const char *id)
{
	struct err e = { 0 };

	if (try_create(id, &e) < 0)
		fail_msg("%s", e.text);
}

static void start(const char *id, const char *exec_id)
{
	struct err e = { 0 };
	pid_t pid;

	if (pod_start(t.pod, id, exec_id, &pid, &e) < 0)
		fail_msg("%s", e.text);
}

static void ask_kill(const char *id, const char *exec_id, int signo)
{
	struct err e = { 0 };

	if (pod_kill(t.pod, id, exec_id, signo, false, &e) < 0)
		fail_msg("%s", e.text);
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
	return strv_contains(&guest.seen, line);
}

/* ---- the ordinary life ---- */

static void on_waited(const struct pod_exit *exit, void *userdata)
{
	strv_addf(&t.events, "waited %s %d%s%s", (const char *)userdata, exit->status, *exit->reason ? ": " : "",
		  exit->reason);
}

static void test_ordinary_life(void **state)
{
	static const char *const on_host[] = {
		"streams c1  out=/the/fifo",
		"standin /bin/c1 in a new network",
		"cgroup /pods/c1",
		"into /pods/c1 owner",
		"into /pods/c1 stand-in",
		"model",
		"scan",
		"attach",
		"nic 0",
		"pump c1 ",
		"detach",
		"remove cgroup /pods/c1",
		NULL,
	};
	static const char *const events[] = { "create c1",        "start c1",      "exit c1 143", "waited before 143",
					      "waited after 143", "delete c1 143", NULL };
	struct pod_state record = { 0 };
	struct err e = { 0 };
	bool alive = false;

	make_pod();
	assert_true(pod_is_empty(t.pod));
	create("c1");
	assert_int_equal(state_of("c1", "").status, POD_CREATED);
	assert_int_equal(pod_wait(t.pod, "c1", "", on_waited, (void *)"before", &e), 0);
	start("c1", "");
	assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	assert_int_equal(state_read(tmp("state"), "p1", &record, &alive, &e), 0);
	assert_true(alive);
	assert_string_equal(record.status, "running");
	assert_string_equal(record.cgroup, "/pods/c1");
	assert_int_equal(record.n_containers, 1);
	assert_string_equal(record.containers[0].bundle, tmp("c1"));
	assert_int_equal(record.containers[0].pid, state_of("c1", "").pid);
	pod_state_fini(&record);
	assert_int_equal(pod_delete(t.pod, "c1", "", false, &(pid_t){ 0 }, &(struct pod_exit){ 0 }, &e), -EBUSY);
	ask_kill("c1", "", SIGTERM);
	assert_true(seen("SignalProcess c1 c1 15"));
	until_event("waited before 143");
	assert_int_equal(state_of("c1", "").status, POD_STOPPED);
	assert_int_equal(pod_kill(t.pod, "c1", "", SIGTERM, false, &e), -ESRCH);
	assert_string_equal(e.text, "process already finished");
	assert_int_equal(pod_wait(t.pod, "c1", "", on_waited, (void *)"after", &e), 0);
	until_event("waited after 143");
	delete ("c1", "");
	assert_true(pod_is_empty(t.pod));
	assert_int_equal(guest.vms, 0);
	assert_true(seen("RemoveContainer c1"));
	assert_string_equal(guest.seen.v[guest.seen.len - 1], "DestroySandbox");
	list_is(&host.seen, "step", on_host);
	list_is(&t.events, "event", events);
}

/* ---- several containers ---- */

static void test_two_containers(void **state)
{
	struct err e = { 0 };

	put_bundle("c1", SANDBOX);
	put_bundle("c2", MEMBER);
	make_pod();
	create("c1");
	start("c1", "");
	create("c2");
	assert_int_equal(access(tmp("state/p1/shared/c2-rootfs"), F_OK), 0);
	assert_true(seen("CreateContainer c2 c2 root=" GUEST_SHARE_DIR "/c2-rootfs args=/bin/c2"));
	start("c2", "");
	assert_int_equal(guest.vms, 1);
	assert_int_equal(host.networks, 1);
	assert_int_equal(try_create("c2", &e), -EEXIST);
	ask_kill("c2", "", SIGKILL);
	until_event("exit c2 137");
	assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	delete ("c2", "");
	assert_int_equal(access(tmp("state/p1/shared/c2-rootfs"), F_OK), -1);
	assert_int_equal(guest.vms, 1);
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
	assert_int_equal(guest.vms, 0);
}

/* ---- exec ---- */

static Grpc__Process *process(const char *text)
{
	Grpc__Process *p = NULL;
	struct err e = { 0 };

	if (oci_spec_parse_process(text, strlen(text), "process", &p, NULL, &e) < 0)
		fail_msg("%s", e.text);
	return p;
}

static int try_exec(const char *id, const char *exec_id, struct err *e)
{
	Grpc__Process *p = process("{\"cwd\":\"/\",\"args\":[\"/bin/ps\"]}");
	struct pod_io io = { .out = "/other" };
	int r = pod_exec(t.pod, id, exec_id, p, &io, -1, 0, e);

	oci_process_free(p);
	return r;
}

static void exec(const char *id, const char *exec_id)
{
	struct err e = { 0 };

	if (try_exec(id, exec_id, &e) < 0)
		fail_msg("%s", e.text);
}

static void test_exec(void **state)
{
	static const char *const events[] = { "create c1",          "start c1",       "exec-added c1 e1",
					      "exec-started c1 e1", "exit c1 e1 137", NULL };
	struct err e = { 0 };
	pid_t *pids;
	size_t n;

	make_pod();
	create("c1");
	start("c1", "");
	exec("c1", "e1");
	assert_false(seen("ExecProcess c1 e1 /bin/ps"));
	assert_int_equal(pod_kill(t.pod, "c1", "e1", SIGTERM, false, &e), -EBUSY);
	assert_int_equal(try_exec("c1", "e1", &e), -EEXIST);
	assert_int_equal(try_exec("c1", "../x", &e), -EINVAL);
	assert_int_equal(try_exec("nothing", "e1", &e), -ENOENT);
	start("c1", "e1");
	assert_true(seen("ExecProcess c1 e1 /bin/ps"));
	assert_int_equal(pod_pids(t.pod, "c1", &pids, &n, &e), 0);
	assert_int_equal(n, 2);
	free(pids);
	ask_kill("c1", "e1", SIGKILL);
	until_event("exit c1 e1 137");
	assert_int_equal(delete ("c1", "e1").status, 137);
	assert_int_equal(pod_state(t.pod, "c1", "e1", &(struct pod_process_state){ 0 }, &e), -ENOENT);
	list_is(&t.events, "event", events);
	/* One that is never started goes without a trace in the guest. */
	exec("c1", "e2");
	delete ("c1", "e2");
	assert_false(seen("ExecProcess c1 e2 /bin/ps"));
	/* The pod ends with processes in it. */
	exec("c1", "e3");
	start("c1", "e3");
}

/* What is still written when the process has ended is waited for. */
static void test_output_comes_first(void **state)
{
	struct err none = { 0 };

	host.hold_output = true;
	make_pod();
	create("c1");
	start("c1", "");
	ask_kill("c1", "", SIGKILL);
	for (int i = 0; i < 20; i++)
		loop_run_once(t.loop, 10);
	assert_string_equal(t.events.v[t.events.len - 1], "start c1");
	assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	host.last->params.done(0, &none, host.last->params.userdata);
	assert_string_equal(t.events.v[t.events.len - 1], "exit c1 137");
}

/* ---- the VM's end ---- */

static void test_vm_death(void **state)
{
	struct err e = { 0 };
	uint64_t one = 1;

	host.hold_output = true;
	make_pod();
	create("c1");
	start("c1", "");
	exec("c1", "e1");
	start("c1", "e1");
	assert_int_equal(pod_wait(t.pod, "c1", "e1", on_waited, (void *)"e1", &e), 0);
	assert_int_equal(write(guest.exit_fd, &one, sizeof one), 8);
	until_event("waited e1 255: the fake guest panicked");
	assert_true(strv_contains(&t.events, "exit c1 255"));
	assert_true(strv_contains(&t.events, "exit c1 e1 255"));
	assert_string_equal(state_of("c1", "").exit.reason, "the fake guest panicked");
	assert_int_equal(pod_kill(t.pod, "c1", "", SIGTERM, false, &e), -ESRCH);
	assert_int_equal(try_exec("c1", "e2", &e), -ESRCH);
	assert_string_equal(e.text, "the virtual machine has ended: the fake guest panicked");
	assert_int_equal(delete ("c1", "").status, 255);
	assert_true(pod_is_empty(t.pod));
	(void)!read(guest.exit_fd, &one, sizeof one);
}

/* An agent that is not there any more, in a VM that is. */
static void test_agent_hangs_up(void **state)
{
	make_pod();
	create("c1");
	start("c1", "");
	shutdown(guest.connection, SHUT_RDWR);
	until_event("exit c1 255");
	assert_non_null(strstr(state_of("c1", "").exit.reason, "connection"));
	delete ("c1", "");
}

/* ---- every step fails in every way ---- */

static int one_life(struct err *e)
{
	struct err ignored = { 0 };
	pid_t pid;
	int r = try_create("c1", e);

	if (r == 0)
		r = pod_start(t.pod, "c1", "", &pid, e);
	if (r < 0 && !pod_is_empty(t.pod))
		pod_delete(t.pod, "c1", "", true, &pid, &(struct pod_exit){ 0 }, &ignored);
	return r;
}

static void fails(const char *what, const char *text)
{
	struct err e = { 0 };
	uint64_t drain;

	make_pod();
	if (one_life(&e) >= 0 || !strstr(e.text, text))
		fail_msg("%s: \"%s\" instead of \"%s\"", what, e.text, text);
	if (!pod_is_empty(t.pod))
		fail_msg("%s: the pod is not empty", what);
	assert_int_equal(guest.vms, 0);
	assert_int_equal(host.streams, 0);
	assert_int_equal(host.cgroups, 0);
	assert_int_equal(host.networks, 0);
	pod_free(take_ptr(t.pod));
	agent_stop();
	nothing_left();
	assert_int_equal(count_fds(), t.fds);
	agent_start();
	(void)!read(guest.exit_fd, &drain, sizeof drain);
	(void)!read(guest.interrupt_fd, &drain, sizeof drain);
}

static void test_host_fails(void **state)
{
	static const char *const steps[] = { "streams", "standin", "prestart", "createRuntime", "createContainer",
					     "cgroup",  "into",    "limit",    "model",         "scan",
					     "attach",  "nic",     "pump" };

	resources = "\"resources\":{\"memory\":{\"limit\":67108864}},";
	put_bundle("c1", "\"hooks\":{\"prestart\":[{\"path\":\"/h\"}],\"createRuntime\":[{\"path\":\"/h\"}],"
			 "\"createContainer\":[{\"path\":\"/h\"}]},");
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		_cleanup_free_ char *text = str_printf("the fake host refuses: %s", steps[i]);

		host.fail_at = steps[i];
		fails(steps[i], text);
	}
}

static void test_driver_fails(void **state)
{
	static const char *const steps[] = { "prepare", "add", "start" };

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		guest.fail_at = steps[i];
		fails(steps[i], "the fake VM refuses to");
	}
}

static void test_guest_fails(void **state)
{
	static const char *const steps[] = { "Check",           "SetGuestDateTime", "CreateSandbox",
					     "UpdateInterface", "CreateContainer",  "StartContainer" };
	static const struct {
		enum act act;
		const char *text;
	} ways[] = { { REFUSE, "not today" },
		     { GARBAGE, "" },
		     { HANG_UP, "the peer has closed the connection" },
		     { DIE, "the fake guest panicked" },
		     { INTERRUPT, "interrupted" } };

	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++)
		for (size_t j = 0; j < sizeof ways / sizeof ways[0]; j++) {
			guest.at = steps[i];
			guest.act = ways[j].act;
			fails(steps[i], ways[j].text);
		}
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_ordinary_life),      T(test_two_containers), T(test_exec),
		T(test_output_comes_first), T(test_vm_death),       T(test_agent_hangs_up),
		T(test_host_fails),         T(test_driver_fails),   T(test_guest_fails),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("pod", tests, NULL, NULL);
}
