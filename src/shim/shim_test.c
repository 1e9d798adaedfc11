/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The program as containerd calls it: start and delete as processes, the shim that goes on behind them, and the events
 * that it sends. The shim is built with a pod without a VM (task/fake_pod.h). /run is a file system of the test's own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"
#include "pod/state.h"
#include "proto/cri_pod.pb-c.h"
#include "proto/empty.pb-c.h"
#include "proto/forward.pb-c.h"
#include "proto/runtime_info.pb-c.h"
#include "proto/runtime_options.pb-c.h"
#include "proto/sandbox.pb-c.h"
#include "proto/task.pb-c.h"
#include "shim/address.h"
#include "task/any.h"

#define CONTAINERD "/run/test/containerd.sock"
#define TASK       "containerd.task.v2.Task"
#define SANDBOX    "containerd.runtime.sandbox.v1.Sandbox"
#define EVENTS     "containerd.services.events.ttrpc.v1.Events"

static const char *program;

struct fixture {
	struct loop *loop;
	struct ttrpc_server *containerd; /* gets the events */
	struct strv topics;
	struct buf out, err; /* of the last process */
};

/* ---- containerd ---- */

static void on_forward(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Containerd__Services__Events__Ttrpc__V1__ForwardRequest *q =
		(const Containerd__Services__Events__Ttrpc__V1__ForwardRequest *)m;
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	struct fixture *f = userdata;

	strv_add(&f->topics, q->envelope->topic);
	ttrpc_reply(req, &empty.base);
}

static const struct ttrpc_method event_methods[] = {
	{ "Forward", &containerd__services__events__ttrpc__v1__forward_request__descriptor, on_forward },
};
static const struct ttrpc_service event_services[] = { { EVENTS, event_methods, 1 } };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	int fd;

	assert_int_equal(mount("none", "/run", "tmpfs", 0, "mode=755"), 0);
	assert_int_equal(mkdir("/run/test", 0700), 0);
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(unix_listen(CONTAINERD ".ttrpc", 0600, &fd, NULL), 0);
	assert_int_equal(ttrpc_server_new(f->loop, fd, event_services, 1, f, &f->containerd, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	/* Nothing may be left: each test ends its shims. */
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	ttrpc_server_free(f->containerd);
	loop_free(f->loop);
	strv_fini(&f->topics);
	buf_fini(&f->out);
	buf_fini(&f->err);
	free(f);
	assert_int_equal(umount2("/run", MNT_DETACH), 0);
	return 0;
}

/* ---- processes ---- */

static void read_into(int fd, struct buf *b)
{
	char data[4096];
	ssize_t n;

	while ((n = read(fd, data, sizeof data)) > 0)
		buf_append(b, data, (size_t)n);
	close(fd);
}

/* Run the program in a folder; its exit status. What it wrote is in f->out and f->err, read to their end. */
static int run(struct fixture *f, const char *cwd, const void *in, size_t n_in, const char *const *args)
{
	int in_pipe[2], out_pipe[2], err_pipe[2], status;
	pid_t pid;

	f->out.len = f->err.len = 0;
	assert_int_equal(buf_puts(&f->out, ""), 0);
	assert_int_equal(buf_puts(&f->err, ""), 0);
	assert_int_equal(pipe2(in_pipe, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out_pipe, O_CLOEXEC), 0);
	assert_int_equal(pipe2(err_pipe, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		dup2(in_pipe[0], 0);
		dup2(out_pipe[1], 1);
		dup2(err_pipe[1], 2);
		setenv("TTRPC_ADDRESS", CONTAINERD ".ttrpc", 1);
		if (chdir(cwd) == 0)
			execv(program, (char **)args);
		_exit(127);
	}
	close(in_pipe[0]);
	close(out_pipe[1]);
	close(err_pipe[1]);
	assert_int_equal(write(in_pipe[1], in, n_in), n_in);
	close(in_pipe[1]);
	read_into(out_pipe[0], &f->out);
	read_into(err_pipe[0], &f->err);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#define FLAGS(id) "shim", "-namespace", "ns1", "-address", CONTAINERD, "-publish-binary", "/bin/false", "-id", id

static int start(struct fixture *f, const char *id, const char *bundle)
{
	return run(f, bundle, "", 0, (const char *[]){ FLAGS(id), "start", NULL });
}

static int delete (struct fixture *f, const char *id, const char *bundle)
{
	return run(f, bundle, "", 0, (const char *[]){ FLAGS(id), "-bundle", bundle, "delete", NULL });
}

/* A bundle at /run/test/ID. sandbox: NULL, or the pod that it is a container of. */
static const char *make_bundle(const char *id, const char *sandbox)
{
	static char path[64];
	char annotations[256] = "", json[512];
	char *file;

	snprintf(path, sizeof path, "/run/test/%s", id);
	assert_int_equal(mkdir(path, 0700), 0);
	if (sandbox)
		snprintf(annotations, sizeof annotations,
			 "\"io.kubernetes.cri.container-type\":\"%s\",\"io.kubernetes.cri.sandbox-id\":\"%s\"",
			 str_eq(id, sandbox) ? "sandbox" : "container", sandbox);
	snprintf(json, sizeof json,
		 "{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"/bin/true\"],\"cwd\":\"/\"},"
		 "\"root\":{\"path\":\"rootfs\"},\"annotations\":{%s}}",
		 annotations);
	file = str_printf("%s/config.json", path);
	assert_int_equal(file_replace(file, json, strlen(json), 0600), 0);
	free(file);
	return path;
}

/* The shim, once it has ended; its exit status. */
static int reap(struct fixture *f)
{
	int status;

	while (waitpid(-1, &status, WNOHANG) == 0)
		assert_int_equal(loop_run_once(f->loop, 10), 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* ---- calls ---- */

static int call_service(const char *address, const char *service, const char *method, const ProtobufCMessage *request,
			const ProtobufCMessageDescriptor *response, ProtobufCMessage **ret, struct err *e)
{
	struct ttrpc_client *client;
	struct loop *loop;
	int fd, r;

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(unix_connect(shim_address_path(address), &fd), 0);
	assert_int_equal(ttrpc_client_new(loop, fd, -1, &client, NULL), 0);
	r = ttrpc_call(client, service, method, request, response, 20000, ret, e);
	ttrpc_client_free(client);
	loop_free(loop);
	return r;
}

static int call_raw(const char *address, const char *method, const ProtobufCMessage *request,
		    const ProtobufCMessageDescriptor *response, ProtobufCMessage **ret, struct err *e)
{
	return call_service(address, TASK, method, request, response, ret, e);
}

static void call(const char *address, const char *method, const ProtobufCMessage *request,
		 const ProtobufCMessageDescriptor *response)
{
	struct err e = { 0 };

	if (call_raw(address, method, request, response, NULL, &e) < 0)
		fail_msg("%s: %s", method, e.text);
}

static void create(const char *address, const char *id, const char *bundle)
{
	Containerd__Task__V2__CreateTaskRequest q = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;

	q.id = (char *)id;
	q.bundle = (char *)bundle;
	call(address, "Create", &q.base, &containerd__task__v2__create_task_response__descriptor);
}

static void kill_and_delete(const char *address, const char *id)
{
	Containerd__Task__V2__KillRequest kill_q = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;
	Containerd__Task__V2__DeleteRequest q = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;

	kill_q.id = q.id = (char *)id;
	kill_q.signal = SIGKILL;
	call(address, "Kill", &kill_q.base, &google__protobuf__empty__descriptor);
	call(address, "Delete", &q.base, &containerd__task__v2__delete_response__descriptor);
}

static void shut_down(const char *address, const char *id)
{
	Containerd__Task__V2__ShutdownRequest q = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;

	q.id = (char *)id;
	call(address, "Shutdown", &q.base, &google__protobuf__empty__descriptor);
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

static void expect_deleted(struct fixture *f, uint32_t pid)
{
	Containerd__Task__V2__DeleteResponse *m =
		containerd__task__v2__delete_response__unpack(NULL, f->out.len, (uint8_t *)f->out.data);

	assert_non_null(m);
	assert_int_equal(m->pid, pid);
	assert_int_equal(m->exit_status, 137);
	assert_true(m->exited_at->seconds > 1700000000);
	containerd__task__v2__delete_response__free_unpacked(m, NULL);
}

/* ---- tests ---- */

static void test_life(void **state)
{
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);
	_cleanup_free_ char *address = NULL, *text = NULL;
	_cleanup_close_ int log = -1;

	assert_int_equal(mkfifo("/run/test/c1/log", 0600), 0);
	log = open("/run/test/c1/log", O_RDWR | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(start(f, "c1", bundle), 0);
	assert_string_equal(f->err.data, "");
	address = shim_address(CONTAINERD, "ns1", "c1");
	assert_string_equal(f->out.data, address);
	assert_int_equal(file_read("/run/test/c1/address", 256, &text, NULL), 0);
	assert_string_equal(text, address);
	free(take_ptr(text));
	assert_int_equal(file_read("/run/test/c1/shim.pid", 256, &text, NULL), 0);
	assert_int_equal(kill(atoi(text), 0), 0);
	create(address, "c1", bundle);
	shut_down(address, "c1"); /* not while there is a container */
	kill_and_delete(address, "c1");
	shut_down(address, "c1");
	assert_int_equal(reap(f), 0);
	assert_false(exists(shim_address_path(address)));
	assert_int_equal(f->topics.len, 3);
	assert_string_equal(f->topics.v[0], "/tasks/create");
	assert_string_equal(f->topics.v[1], "/tasks/exit");
	assert_string_equal(f->topics.v[2], "/tasks/delete");
	/* containerd asks for this always. */
	assert_int_equal(delete (f, "c1", bundle), 0);
	expect_deleted(f, 1000);
	assert_true(exists("/run/caisson/c1.cleaned"));
}

static void test_pod(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *pod = strdup(make_bundle("pod", "pod")), *c1 = strdup(make_bundle("c1", "pod")),
			    *address = shim_address(CONTAINERD, "ns1", "pod"), *text = NULL;

	assert_int_equal(start(f, "c1", c1), 1);
	assert_string_equal(f->out.data, "");
	assert_string_equal(f->err.data,
			    "containerd-shim-caisson-v2: the pod sandbox pod, which this container belongs "
			    "to, does not run\n");
	assert_int_equal(start(f, "pod", pod), 0);
	assert_string_equal(f->out.data, address);
	create(address, "pod", pod);
	assert_int_equal(start(f, "c1", c1), 0);
	assert_string_equal(f->out.data, address);
	assert_int_equal(file_read("/run/test/c1/address", 256, &text, NULL), 0);
	assert_string_equal(text, address);
	assert_false(exists("/run/test/c1/shim.pid"));
	create(address, "c1", c1);
	/* containerd lost one container: that one goes, the pod stays. Also when its bundle is half gone. */
	assert_int_equal(unlink("/run/test/c1/config.json"), 0);
	assert_int_equal(delete (f, "c1", c1), 0);
	expect_deleted(f, 1001);
	assert_true(shim_is_alive(address));
	assert_false(exists("/run/caisson/pod.cleaned"));
	kill_and_delete(address, "pod");
	shut_down(address, "c1");
	assert_int_equal(reap(f), 0);
}

/* A container in the network of a single one: of its shim, which goes on when that one goes first. */
static void test_sharing_network(void **state)
{
	struct fixture *f = *state;
	struct pod_state s = { .id = (char *)"main", .namespace = (char *)"ns1", .pid = getpid() };
	_cleanup_free_ char *bundle = strdup(make_bundle("main", NULL)), *side = strdup(make_bundle("side", NULL)),
			    *address = shim_address(CONTAINERD, "ns1", "main"), *json = NULL;
	struct state_dir *d;

	/* The process is any that lives. */
	json = str_printf("{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"/bin/true\"],\"cwd\":\"/\"},\"root\":{"
			  "\"path\":\"rootfs\"},\"linux\":{\"namespaces\":[{\"type\":\"network\",\"path\":"
			  "\"/proc/%d/ns/net\"}]}}",
			  (int)getpid());
	assert_int_equal(file_replace("/run/test/side/config.json", json, strlen(json), 0600), 0);
	assert_int_equal(start(f, "main", bundle), 0);
	create(address, "main", bundle);
	assert_int_equal(start(f, "side", side), 1);
	assert_non_null(strstr(f->err.data, "its processes would lose it"));
	assert_int_equal(state_dir_create("/run/caisson", "main", &d, NULL), 0);
	assert_int_equal(pod_state_add_container(&s, "main", bundle, NULL, getpid()), 0);
	assert_int_equal(state_dir_write(d, &s, NULL), 0);
	assert_int_equal(start(f, "side", side), 0);
	assert_string_equal(f->out.data, address);
	create(address, "side", side);
	assert_int_equal(pod_state_add_container(&s, "side", side, NULL, getpid()), 0);
	assert_int_equal(state_dir_write(d, &s, NULL), 0);
	assert_int_equal(delete (f, "main", bundle), 0);
	assert_true(shim_is_alive(address));
	assert_false(exists("/run/caisson/main.cleaned"));
	assert_int_equal(delete (f, "side", side), 0);
	assert_true(shim_is_alive(address));
	shut_down(address, "side");
	assert_int_equal(reap(f), 0);
	pod_state_clear_containers(&s);
	state_dir_remove(d);
}

/* The state of a pod whose shim has died. */
static void leave_state(const struct pod_state *s)
{
	struct state_dir *d;
	int status;
	pid_t pid = fork();

	if (pid == 0)
		_exit(state_dir_create("/run/caisson", s->id, &d, NULL) < 0 || state_dir_write(d, s, NULL) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* Their shim was killed: who brought the VM takes it along, or, when that has gone before, the other one. */
static void test_sharing_network_of_a_dead_one(void **state)
{
	static const char json[] = "{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"/bin/true\"],\"cwd\":\"/\"},"
				   "\"root\":{\"path\":\"rootfs\"},\"hooks\":{\"poststop\":[{\"path\":\"/bin/sh\","
				   "\"args\":[\"sh\",\"-c\",\"echo x >>/run/test/hook\"]}]}}";
	struct pod_state s = { .id = (char *)"main", .namespace = (char *)"ns1" };
	struct fixture *f = *state;
	_cleanup_free_ char *side = strdup(make_bundle("side", NULL)),
			    *address = shim_address(CONTAINERD, "ns1", "main"), *text = NULL;

	assert_int_equal(file_replace("/run/test/side/config.json", json, strlen(json), 0600), 0);
	assert_int_equal(file_replace("/run/test/side/address", address, strlen(address), 0600), 0);
	assert_int_equal(pod_state_add_container(&s, "side", side, NULL, 0), 0);
	leave_state(&s);
	assert_int_equal(delete (f, "side", side), 0);
	assert_true(exists("/run/caisson/main.cleaned"));
	assert_int_equal(unlink("/run/caisson/main.cleaned"), 0);
	assert_int_equal(pod_state_add_container(&s, "main", "/run/test/main", NULL, 0), 0);
	leave_state(&s);
	assert_int_equal(delete (f, "side", side), 0);
	assert_false(exists("/run/caisson/main.cleaned"));
	/* The one that brought it first: nothing tells of the other one afterwards but its bundle. */
	assert_int_equal(delete (f, "main", make_bundle("main", NULL)), 0);
	assert_true(exists("/run/caisson/main.cleaned"));
	assert_int_equal(dir_remove("/run/caisson/main"), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(delete (f, "side", side), 0);
	assert_int_equal(file_read("/run/test/hook", 64, &text, NULL), 0);
	assert_string_equal(text, "x\nx\nx\n");
	pod_state_clear_containers(&s);
}

/* CRI-O takes no events, and so has no address. */
static void test_no_address(void **state)
{
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);
	_cleanup_free_ char *address = shim_address("", "default", "c1");

	assert_int_equal(run(f, bundle, "", 0,
			     (const char *[]){ "shim", "-namespace", "default", "-address", "", "-publish-binary",
					       "/bin/false", "-id", "c1", "start", NULL }),
			 0);
	assert_string_equal(f->out.data, address);
	create(address, "c1", bundle);
	kill_and_delete(address, "c1");
	shut_down(address, "c1");
	assert_int_equal(reap(f), 0);
}

static void test_delete_of_a_live_one(void **state)
{
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);
	_cleanup_free_ char *address = shim_address(CONTAINERD, "ns1", "c1");

	assert_int_equal(start(f, "c1", bundle), 0);
	create(address, "c1", bundle);
	assert_int_equal(delete (f, "c1", bundle), 0);
	expect_deleted(f, 1000);
	assert_int_equal(reap(f), 0); /* it ended as it should */
	assert_false(exists(shim_address_path(address)));
	assert_true(exists("/run/caisson/c1.cleaned"));
}

/* A container of that id in another namespace, or of another client, is not this one's. */
static void test_delete_beside_another(void **state)
{
	struct pod_state other = { .id = (char *)"c1", .namespace = (char *)"ns2", .pid = getpid() };
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);
	struct state_dir *d;

	assert_int_equal(state_dir_create("/run/caisson", "c1", &d, NULL), 0);
	assert_int_equal(state_dir_write(d, &other, NULL), 0);
	assert_int_equal(delete (f, "c1", bundle), 0);
	expect_deleted(f, 0);
	assert_false(exists("/run/caisson/c1.cleaned"));
	other.namespace = (char *)"ns1";
	assert_int_equal(state_dir_write(d, &other, NULL), 0);
	assert_int_equal(delete (f, "c1", bundle), 0);
	assert_true(exists("/run/caisson/c1.cleaned"));
	state_dir_remove(d);
}

/* One that does not answer any more. */
static void test_delete_of_a_stopped_one(void **state)
{
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);
	_cleanup_free_ char *address = shim_address(CONTAINERD, "ns1", "c1"), *text = NULL;

	assert_int_equal(start(f, "c1", bundle), 0);
	assert_int_equal(file_read("/run/test/c1/shim.pid", 256, &text, NULL), 0);
	kill(atoi(text), SIGSTOP);
	assert_int_equal(delete (f, "c1", bundle), 0);
	expect_deleted(f, 0); /* it had no process yet */
	assert_int_equal(reap(f), 128 + SIGKILL);
	assert_false(exists(shim_address_path(address)));
	assert_true(exists("/run/caisson/c1.cleaned"));
}

static void test_after_a_killed_one(void **state)
{
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);
	_cleanup_free_ char *address = shim_address(CONTAINERD, "ns1", "c1"), *text = NULL;

	assert_int_equal(start(f, "c1", bundle), 0);
	assert_int_equal(file_read("/run/test/c1/shim.pid", 256, &text, NULL), 0);
	kill(atoi(text), SIGKILL);
	assert_int_equal(reap(f), 128 + SIGKILL);
	assert_true(exists(shim_address_path(address)));
	/* Its socket is in nobody's way. */
	assert_int_equal(start(f, "c1", bundle), 0);
	assert_string_equal(f->out.data, address);
	assert_true(shim_is_alive(address));
	shut_down(address, "c1");
	assert_int_equal(reap(f), 0);
}

/* What a dead shim had left to be done. */
static void test_poststop_hooks(void **state)
{
	static const char json[] = "{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"/bin/true\"],\"cwd\":\"/\"},"
				   "\"root\":{\"path\":\"rootfs\"},\"hooks\":{\"poststop\":[{\"path\":\"/bin/sh\","
				   "\"args\":[\"sh\",\"-c\",\"echo x >>/run/test/hook\"]}]}}";
	struct pod_state dead = { .id = (char *)"c1", .namespace = (char *)"ns1" };
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);
	_cleanup_free_ char *text = NULL;

	assert_int_equal(file_replace("/run/test/c1/config.json", json, strlen(json), 0600), 0);
	/* One that has ended as it should ran them itself. */
	assert_int_equal(delete (f, "c1", bundle), 0);
	assert_false(exists("/run/test/hook"));
	assert_int_equal(pod_state_add_container(&dead, "c1", bundle, NULL, 0), 0);
	leave_state(&dead);
	assert_int_equal(delete (f, "c1", bundle), 0);
	expect_deleted(f, 0);
	assert_int_equal(file_read("/run/test/hook", 64, &text, NULL), 0);
	assert_string_equal(text, "x\n");
	pod_state_clear_containers(&dead);
}

static void test_sigterm(void **state)
{
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);
	_cleanup_free_ char *address = shim_address(CONTAINERD, "ns1", "c1"), *text = NULL;

	assert_int_equal(start(f, "c1", bundle), 0);
	create(address, "c1", bundle);
	assert_int_equal(file_read("/run/test/c1/shim.pid", 256, &text, NULL), 0);
	kill(atoi(text), SIGTERM);
	assert_int_equal(reap(f), 0);
	assert_false(exists(shim_address_path(address)));
}

static void test_options(void **state)
{
	Runtimeoptions__V1__Options o = RUNTIMEOPTIONS__V1__OPTIONS__INIT;
	Containerd__Task__V2__CreateTaskRequest q = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);
	_cleanup_free_ char *address = shim_address(CONTAINERD, "ns1", "c1");
	_cleanup_buf_ struct buf packed = { 0 };
	Google__Protobuf__Any any;
	struct err e = { 0 };

	o.config_path = (char *)"/run/test/missing.toml";
	assert_int_equal(any_pack(&o.base, &any), 0);
	assert_int_equal(pb_pack(&any.base, 4096, &packed), 0);
	assert_int_equal(run(f, bundle, packed.data, packed.len, (const char *[]){ FLAGS("c1"), "start", NULL }), 0);
	q.id = (char *)"c1";
	q.bundle = (char *)bundle;
	assert_true(call_raw(address, "Create", &q.base, &containerd__task__v2__create_task_response__descriptor, NULL,
			     &e) < 0);
	assert_non_null(strstr(e.text, "/run/test/missing.toml"));
	any_fini(&any);
	/* The request's own count more. */
	o.config_path = (char *)"/run/test/other.toml";
	assert_int_equal(any_pack(&o.base, &any), 0);
	q.options = &any;
	assert_true(call_raw(address, "Create", &q.base, &containerd__task__v2__create_task_response__descriptor, NULL,
			     &e) < 0);
	assert_non_null(strstr(e.text, "/run/test/other.toml"));
	any_fini(&any);
	o.config_path = (char *)"";
	o.config_body.data = (uint8_t *)"[hypervisor.qemu]\n";
	o.config_body.len = 18;
	assert_int_equal(any_pack(&o.base, &any), 0);
	assert_int_equal(
		call_raw(address, "Create", &q.base, &containerd__task__v2__create_task_response__descriptor, NULL, &e),
		0);
	any_fini(&any);
	kill_and_delete(address, "c1");
	shut_down(address, "c1");
	assert_int_equal(reap(f), 0);
}

/* ---- the Sandbox API ---- */

static ProtobufCMessage *ask_sandbox(const char *address, const char *method, const ProtobufCMessage *request,
				     const ProtobufCMessageDescriptor *response)
{
	ProtobufCMessage *m = NULL;
	struct err e = { 0 };

	if (call_service(address, SANDBOX, method, request, response, &m, &e) < 0)
		fail_msg("%s: %s", method, e.text);
	return m;
}

static void create_sandbox(const char *address, const char *id, const char *bundle)
{
	Containerd__Runtime__Sandbox__V1__CreateSandboxRequest q =
		CONTAINERD__RUNTIME__SANDBOX__V1__CREATE_SANDBOX_REQUEST__INIT;
	Runtime__V1__PodSandboxConfig pod = RUNTIME__V1__POD_SANDBOX_CONFIG__INIT;
	Runtime__V1__LinuxPodSandboxConfig config = RUNTIME__V1__LINUX_POD_SANDBOX_CONFIG__INIT;
	Runtime__V1__LinuxPodSandboxConfig__SysctlsEntry
		sysctl = RUNTIME__V1__LINUX_POD_SANDBOX_CONFIG__SYSCTLS_ENTRY__INIT,
		*sysctls[] = { &sysctl };
	Runtime__V1__DNSConfig dns = RUNTIME__V1__DNSCONFIG__INIT;
	char *server = (char *)"10.9.8.7";
	Google__Protobuf__Any any;

	sysctl.key = (char *)"net.ipv4.ip_forward";
	sysctl.value = (char *)"1";
	config.sysctls = sysctls;
	config.n_sysctls = 1;
	config.cgroup_parent = (char *)"/kubepods/pod1";
	dns.servers = &server;
	dns.n_servers = 1;
	pod.hostname = (char *)"podded";
	pod.dns_config = &dns;
	pod.linux = &config;
	assert_int_equal(any_pack(&pod.base, &any), 0);
	q.sandbox_id = (char *)id;
	q.bundle_path = (char *)bundle;
	q.netns_path = (char *)"/run/netns/pod1";
	q.options = &any;
	pb_free(ask_sandbox(address, "CreateSandbox", &q.base,
			    &containerd__runtime__sandbox__v1__create_sandbox_response__descriptor));
	any_fini(&any);
}

static void expect_in_file(const char *path, const char *text)
{
	_cleanup_free_ char *got = NULL;

	assert_int_equal(file_read(path, 1 << 16, &got, NULL), 0);
	if (!strstr(got, text))
		fail_msg("%s has no %s: %s", path, text, got);
}

static void expect_sandbox_state(const char *address, const char *id, const char *state)
{
	Containerd__Runtime__Sandbox__V1__SandboxStatusRequest q =
		CONTAINERD__RUNTIME__SANDBOX__V1__SANDBOX_STATUS_REQUEST__INIT;
	Containerd__Runtime__Sandbox__V1__SandboxStatusResponse *m;

	q.sandbox_id = (char *)id;
	q.verbose = true;
	m = (Containerd__Runtime__Sandbox__V1__SandboxStatusResponse *)ask_sandbox(
		address, "SandboxStatus", &q.base,
		&containerd__runtime__sandbox__v1__sandbox_status_response__descriptor);
	assert_string_equal(m->state, state);
	assert_int_equal(m->pid, 1000);
	assert_non_null(strstr(m->info[0]->value, "\"pid\":1000"));
	pb_free(&m->base);
}

static void expect_sandbox_metrics(const char *address, const char *id)
{
	Containerd__Runtime__Sandbox__V1__SandboxMetricsRequest q =
		CONTAINERD__RUNTIME__SANDBOX__V1__SANDBOX_METRICS_REQUEST__INIT;
	Containerd__Runtime__Sandbox__V1__SandboxMetricsResponse *m;

	q.sandbox_id = (char *)id;
	m = (Containerd__Runtime__Sandbox__V1__SandboxMetricsResponse *)ask_sandbox(
		address, "SandboxMetrics", &q.base,
		&containerd__runtime__sandbox__v1__sandbox_metrics_response__descriptor);
	assert_string_equal(m->metrics->id, id);
	assert_true(m->metrics->timestamp->seconds > 0);
	assert_non_null(str_after(m->metrics->data->type_url, "io.containerd.cgroups.v"));
	assert_true(m->metrics->data->value.len > 0);
	pb_free(&m->base);
}

/* A pod without a pause container: containerd gives it an empty bundle. */
static void test_sandbox(void **state)
{
	Containerd__Runtime__Sandbox__V1__StartSandboxRequest start_q =
		CONTAINERD__RUNTIME__SANDBOX__V1__START_SANDBOX_REQUEST__INIT;
	Containerd__Runtime__Sandbox__V1__StopSandboxRequest stop_q =
		CONTAINERD__RUNTIME__SANDBOX__V1__STOP_SANDBOX_REQUEST__INIT;
	Containerd__Runtime__Sandbox__V1__WaitSandboxRequest wait_q =
		CONTAINERD__RUNTIME__SANDBOX__V1__WAIT_SANDBOX_REQUEST__INIT;
	Containerd__Runtime__Sandbox__V1__ShutdownSandboxRequest end_q =
		CONTAINERD__RUNTIME__SANDBOX__V1__SHUTDOWN_SANDBOX_REQUEST__INIT;
	Containerd__Runtime__Sandbox__V1__SandboxMetricsRequest metrics_q =
		CONTAINERD__RUNTIME__SANDBOX__V1__SANDBOX_METRICS_REQUEST__INIT;
	Containerd__Runtime__Sandbox__V1__StartSandboxResponse *started;
	Containerd__Runtime__Sandbox__V1__WaitSandboxResponse *waited;
	struct fixture *f = *state;
	_cleanup_free_ char *c1 = strdup(make_bundle("c1", "pod")), *address = shim_address(CONTAINERD, "ns1", "pod");
	struct err e = { 0 };

	start_q.sandbox_id = stop_q.sandbox_id = wait_q.sandbox_id = end_q.sandbox_id = (char *)"pod";
	metrics_q.sandbox_id = (char *)"pod";
	assert_int_equal(mkdir("/run/test/pod", 0700), 0);
	assert_int_equal(start(f, "pod", "/run/test/pod"), 0);
	assert_string_equal(f->out.data, address);
	assert_int_equal(call_service(address, SANDBOX, "StartSandbox", &start_q.base,
				      &containerd__runtime__sandbox__v1__start_sandbox_response__descriptor, NULL, &e),
			 -ENOENT);
	create_sandbox(address, "pod", "/run/test/pod");
	expect_in_file("/run/test/pod/config.json", "/kubepods/pod1/pod");
	expect_in_file("/run/test/pod/config.json", "/run/netns/pod1");
	expect_in_file("/run/test/pod/resolv.conf", "nameserver 10.9.8.7\n");
	expect_in_file("/run/test/pod/hostname", "podded\n");
	started = (Containerd__Runtime__Sandbox__V1__StartSandboxResponse *)ask_sandbox(
		address, "StartSandbox", &start_q.base,
		&containerd__runtime__sandbox__v1__start_sandbox_response__descriptor);
	assert_int_equal(started->pid, 1000);
	assert_string_equal(started->spec->type_url, ANY_OCI_SPEC);
	pb_free(&started->base);
	expect_sandbox_state(address, "pod", "SANDBOX_READY");
	expect_sandbox_metrics(address, "pod");
	/* Its container gets what a pause container's pod has by itself. */
	assert_int_equal(start(f, "c1", c1), 0);
	assert_string_equal(f->out.data, address);
	create(address, "c1", c1);
	expect_in_file("/run/test/c1/config.json", "/run/test/pod/resolv.conf");
	expect_in_file("/run/test/c1/config.json", "/dev/shm");
	expect_in_file("/run/test/c1/config.json", "net.ipv4.ip_forward");
	kill_and_delete(address, "c1");
	shut_down(address, "c1"); /* the pod goes on without containers */
	expect_sandbox_state(address, "pod", "SANDBOX_READY");
	pb_free(ask_sandbox(address, "StopSandbox", &stop_q.base,
			    &containerd__runtime__sandbox__v1__stop_sandbox_response__descriptor));
	expect_sandbox_state(address, "pod", "SANDBOX_NOTREADY");
	assert_true(call_service(address, SANDBOX, "SandboxMetrics", &metrics_q.base,
				 &containerd__runtime__sandbox__v1__sandbox_metrics_response__descriptor, NULL,
				 &e) < 0);
	assert_string_equal(e.text, "sandbox pod does not run: unavailable");
	waited = (Containerd__Runtime__Sandbox__V1__WaitSandboxResponse *)ask_sandbox(
		address, "WaitSandbox", &wait_q.base,
		&containerd__runtime__sandbox__v1__wait_sandbox_response__descriptor);
	assert_int_equal(waited->exit_status, 137);
	pb_free(&waited->base);
	shut_down(address, "c1");
	assert_true(shim_is_alive(address));
	pb_free(ask_sandbox(address, "ShutdownSandbox", &end_q.base,
			    &containerd__runtime__sandbox__v1__shutdown_sandbox_response__descriptor));
	assert_int_equal(reap(f), 0);
	/* Of the pod itself nothing was told as of a container. */
	assert_int_equal(f->topics.len, 3);
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;
	const char *bundle = make_bundle("c1", NULL);

	assert_int_equal(run(f, bundle, "\xff\xff", 2, (const char *[]){ FLAGS("c1"), "start", NULL }), 1);
	assert_string_equal(f->err.data, "containerd-shim-caisson-v2: runtime options: the bytes are no "
					 "google.protobuf.Any\n");
	assert_int_equal(run(f, bundle, "\n\003a.b", 5, (const char *[]){ FLAGS("c1"), "start", NULL }), 1);
	assert_non_null(strstr(f->err.data, "runtime options of type \"a.b\" are not known here"));
	assert_int_equal(file_replace("/run/test/c1/config.json", "[]", 2, 0600), 0);
	assert_int_equal(run(f, bundle, "", 0, (const char *[]){ FLAGS("c1"), "start", NULL }), 1);
	assert_non_null(strstr(f->err.data, "config.json"));
	assert_int_equal(run(f, bundle, "", 0, (const char *[]){ "shim", "start", NULL }), 1);
	assert_int_equal(run(f, bundle, "", 0, (const char *[]){ FLAGS("c1"), "restart", NULL }), 1);
	assert_string_equal(f->out.data, "");
}

static void test_about(void **state)
{
	struct fixture *f = *state;
	Containerd__Types__RuntimeInfo *m;

	assert_int_equal(run(f, "/", "", 0, (const char *[]){ "shim", "-v", NULL }), 0);
	assert_non_null(strstr(f->out.data, CAISSON_VERSION));
	assert_int_equal(run(f, "/", "\n\003a.b", 5, (const char *[]){ "shim", "-info", NULL }), 0);
	m = containerd__types__runtime_info__unpack(NULL, f->out.len, (uint8_t *)f->out.data);
	assert_string_equal(m->name, "io.containerd.caisson.v2");
	assert_string_equal(m->version->version, CAISSON_VERSION);
	assert_string_equal(m->options->type_url, "a.b");
	assert_string_equal(m->features->type_url, ANY_OCI_FEATURES);
	assert_non_null(memmem(m->features->value.data, m->features->value.len, "\"rro\"", 5));
	containerd__types__runtime_info__free_unpacked(m, NULL);
}

static int own_run(void **state)
{
	/* The shims become our children when `start` ends, so that we see them end. */
	return prctl(PR_SET_CHILD_SUBREAPER, 1) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),
		TEST(test_pod),
		TEST(test_sharing_network),
		TEST(test_sharing_network_of_a_dead_one),
		TEST(test_no_address),
		TEST(test_delete_of_a_live_one),
		TEST(test_delete_beside_another),
		TEST(test_delete_of_a_stopped_one),
		TEST(test_after_a_killed_one),
		TEST(test_poststop_hooks),
		TEST(test_sigterm),
		TEST(test_options),
		TEST(test_sandbox),
		TEST(test_refusals),
		TEST(test_about),
	};

	/* It is run in other folders. */
	program = argc > 1 ? realpath(argv[1], NULL) : NULL;
	assert_non_null(program);
	if (unshare(geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) < 0) {
		fprintf(stderr, "skipped: no mount namespace can be had: %s\n", strerror(errno));
		return 77;
	}
	return cmocka_run_group_tests(tests, own_run, NULL);
}
