// SPDX-License-Identifier: Apache-2.0
/*
 * Containers through the protocol, made of a static busybox: create, start, talk to, signal, wait for, remove. In
 * namespaces of this machine, or in a virtual machine (tests/agent/vm).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/agent_harness.h"
#include "base/fd.h"
#include "base/strv.h"

#define CHUNK (1u << 20)

static struct harness h;
static bool usable;
static char root[128];
static uint32_t stdout_port; /* of the next create() */
static bool as_kata, sandbox_pidns, mounts_cgroup;
static const char *ns_paths[4]; /* of the namespaces of the next create(): ipc, uts, mount, pid; NULL: none */
static Grpc__Storage *storage;

struct pending {
	int result;
	uint32_t len;
	bool done;
	char text[ERR_TEXT_MAX];
};

static struct ttrpc_client *later_client; /* asks for the next create(), */
static struct pending *later;             /* which is answered here */

#define NEED_AGENT()                                                                                                   \
	do {                                                                                                           \
		if (!usable)                                                                                           \
			skip();                                                                                        \
	} while (0)

/* ---- requests ---- */

static void on_done(int result, const ProtobufCMessage *response, const struct err *e, void *userdata)
{
	struct pending *p = userdata;

	(void)response;
	p->result = result;
	p->done = true;
	snprintf(p->text, sizeof p->text, "%s", e->text);
}

static int create(const char *id, const char *script, bool terminal)
{
	Grpc__CreateContainerRequest req = GRPC__CREATE_CONTAINER_REQUEST__INIT;
	Grpc__Spec spec = GRPC__SPEC__INIT;
	Grpc__Process process = GRPC__PROCESS__INIT;
	Grpc__User user = GRPC__USER__INIT;
	Grpc__Root r = GRPC__ROOT__INIT;
	Grpc__Linux l = GRPC__LINUX__INIT;
	Grpc__LinuxNamespace ns[4], *ns_list[4];
	Grpc__Mount proc = GRPC__MOUNT__INIT, dev = GRPC__MOUNT__INIT, pts = GRPC__MOUNT__INIT, cg = GRPC__MOUNT__INIT;
	Grpc__Mount *mounts[] = { &proc, &dev, &pts, &cg };
	char *pts_options[] = { (char *)"newinstance", (char *)"ptmxmode=0666" };
	/* Kata's Rust runtime leaves the PID namespace out, and has names of its own. */
	const char *const types[] = { "ipc", "uts", as_kata ? "mnt" : "mount", "pid" };
	char *args[] = { (char *)"/bin/sh", (char *)"-c", (char *)script };
	char *env[] = { (char *)"PATH=/bin" };

	for (int i = 0; i < 4; i++) {
		grpc__linux_namespace__init(&ns[i]);
		ns[i].type = (char *)types[i];
		if (ns_paths[i])
			ns[i].path = (char *)ns_paths[i];
		ns_list[i] = &ns[i];
	}
	l.namespaces = ns_list;
	l.n_namespaces = as_kata ? 3 : 4;
	proc.destination = (char *)"/proc";
	proc.type = proc.source = (char *)"proc";
	dev.destination = (char *)"/dev";
	dev.type = dev.source = (char *)"tmpfs";
	pts.destination = (char *)"/dev/pts";
	pts.type = pts.source = (char *)"devpts";
	pts.options = pts_options;
	pts.n_options = 2;
	cg.destination = (char *)"/cgroup";
	cg.type = cg.source = (char *)"cgroup";
	spec.mounts = mounts;
	spec.n_mounts = mounts_cgroup ? 4 : 3;
	process.terminal = terminal;
	process.user = &user;
	process.args = args;
	process.n_args = 3;
	process.env = env;
	process.n_env = 1;
	process.cwd = (char *)"/";
	r.path = root;
	spec.version = (char *)"1.1.0";
	spec.process = &process;
	spec.root = &r;
	spec.linux = &l;
	req.container_id = (char *)id;
	req.oci = &spec;
	req.stdout_port = stdout_port;
	req.sandbox_pidns = sandbox_pidns;
	req.storages = &storage;
	req.n_storages = storage ? 1 : 0;
	if (later)
		return ttrpc_call_async(later_client, "grpc.AgentService", "CreateContainer", &req.base,
					&google__protobuf__empty__descriptor, -1, on_done, later, NULL, NULL);
	return harness_do(&h, "CreateContainer", &req.base);
}

static void create_later(struct ttrpc_client *client, const char *id, struct pending *p)
{
	*p = (struct pending){ 0 };
	later_client = client;
	later = p;
	assert_int_equal(create(id, "exec sleep 1000", false), 0);
	later = NULL;
}

static int start(const char *id)
{
	Grpc__StartContainerRequest req = GRPC__START_CONTAINER_REQUEST__INIT;

	req.container_id = (char *)id;
	return harness_do(&h, "StartContainer", &req.base);
}

static int delete (const char *id)
{
	Grpc__RemoveContainerRequest req = GRPC__REMOVE_CONTAINER_REQUEST__INIT;

	req.container_id = (char *)id;
	return harness_do(&h, "RemoveContainer", &req.base);
}

static int wait_for(const char *id, const char *exec_id)
{
	Grpc__WaitProcessRequest req = GRPC__WAIT_PROCESS_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	int r;

	req.container_id = (char *)id;
	req.exec_id = (char *)exec_id;
	r = harness_call(&h, "WaitProcess", &req.base, &grpc__wait_process_response__descriptor, &m);
	if (r == 0) {
		r = ((Grpc__WaitProcessResponse *)m)->status;
		protobuf_c_message_free_unpacked(m, NULL);
	}
	return r;
}

static int send_signal(const char *id, const char *exec_id, int signo)
{
	Grpc__SignalProcessRequest req = GRPC__SIGNAL_PROCESS_REQUEST__INIT;

	req.container_id = (char *)id;
	req.exec_id = (char *)exec_id;
	req.signal = (uint32_t)signo;
	return harness_do(&h, "SignalProcess", &req.base);
}

/* One read; 0 at the end, else the number of bytes appended. */
static size_t read_once(const char *id, const char *exec_id, const char *method, struct buf *out)
{
	Grpc__ReadStreamRequest req = GRPC__READ_STREAM_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	size_t n;

	req.container_id = (char *)id;
	req.exec_id = (char *)exec_id;
	req.len = 65536;
	assert_int_equal(harness_call(&h, method, &req.base, &grpc__read_stream_response__descriptor, &m), 0);
	n = ((Grpc__ReadStreamResponse *)m)->data.len;
	assert_true(n <= 65536);
	assert_int_equal(buf_append(out, ((Grpc__ReadStreamResponse *)m)->data.data, n), 0);
	protobuf_c_message_free_unpacked(m, NULL);
	return n;
}

static void assert_output(const char *id, const char *exec_id, const char *method, const char *text)
{
	_cleanup_buf_ struct buf out = { 0 };

	while (read_once(id, exec_id, method, &out) > 0)
		;
	assert_string_equal(out.data ? out.data : "", text);
}

static void assert_first_line(const char *id, const char *text)
{
	_cleanup_buf_ struct buf out = { 0 };

	while (out.len < strlen(text) && read_once(id, "", "ReadStdout", &out) > 0)
		;
	assert_string_equal(out.data ? out.data : "", text);
}

static void assert_nothing_left(const char *id)
{
	char path[128];
	struct stat st;

	for (int i = 0; !h.remote && i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", i ? "/sys/fs/cgroup/kata" : "/run/kata-containers", id);
		assert_int_equal(stat(harness_path(&h, path), &st), -1);
	}
	assert_int_equal(start(id), -ENOENT);
}

/* ---- tests ---- */

static void test_output_and_status(void **state)
{
	(void)state;
	NEED_AGENT();
	assert_int_equal(create("c1", "echo out; echo err >&2; echo $$; exit 7", false), 0);
	assert_int_equal(create("c1", "true", false), -EREMOTEIO);
	assert_non_null(strstr(h.e.text, "exists already"));
	assert_int_equal(start("c1"), 0);
	assert_output("c1", "", "ReadStdout", "out\n1\n"); /* PID 1 of its namespace */
	assert_output("c1", "", "ReadStderr", "err\n");
	assert_int_equal(wait_for("c1", ""), 7);
	assert_int_equal(wait_for("c1", "c1"), 7); /* its own id is init too; and again */
	assert_output("c1", "", "ReadStdout", "");
	assert_int_equal(delete ("c1"), 0);
	assert_nothing_left("c1");
}

/* A pod of Kata's Rust runtime whose containers share its first one's processes, and one that does not. */
static void test_pid_namespaces_of_kata(void **state)
{
	(void)state;
	NEED_AGENT();
	as_kata = true;
	assert_int_equal(create("pause", "echo $$; exec sleep 100", false), 0);
	assert_int_equal(start("pause"), 0);
	assert_int_equal(create("alone", "echo $$", false), 0);
	assert_int_equal(start("alone"), 0);
	assert_output("alone", "", "ReadStdout", "1\n");
	sandbox_pidns = true;
	/* The first process becomes sleep(1) in its own time. */
	assert_int_equal(
		create("beside", "until grep -qx sleep /proc/1/comm; do :; done; [ $$ != 1 ] && echo shared", false),
		0);
	as_kata = sandbox_pidns = false;
	assert_int_equal(start("beside"), 0);
	assert_output("beside", "", "ReadStdout", "shared\n");
	assert_int_equal(wait_for("beside", ""), 0);
	assert_int_equal(delete ("beside"), 0);
	assert_int_equal(delete ("alone"), 0);
	assert_int_equal(delete ("pause"), 0);
}

/* Without that in the spec: a container that sees a hierarchy sees it as its own. */
static void test_cgroup_namespace(void **state)
{
	char outer[64], inner[64];

	(void)state;
	NEED_AGENT();
	for (int i = 0; i < 2; i++) {
		_cleanup_buf_ struct buf out = { 0 };

		mounts_cgroup = i;
		assert_int_equal(create("c1", "readlink /proc/self/ns/cgroup", false), 0);
		mounts_cgroup = false;
		assert_int_equal(start("c1"), 0);
		while (read_once("c1", "", "ReadStdout", &out) > 0)
			;
		snprintf(i ? inner : outer, sizeof outer, "%s", out.data);
		assert_int_equal(wait_for("c1", ""), 0);
		assert_int_equal(delete ("c1"), 0);
	}
	assert_non_null(str_after(inner, "cgroup:["));
	assert_string_not_equal(inner, outer);
}

static void test_network_stats(void **state)
{
	Grpc__StatsContainerRequest req = GRPC__STATS_CONTAINER_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	Grpc__StatsContainerResponse *s;
	bool found = false;

	(void)state;
	NEED_AGENT();
	assert_int_equal(create("c1", "exec sleep 100", false), 0);
	req.container_id = (char *)"c1";
	assert_int_equal(harness_call(&h, "StatsContainer", &req.base, &grpc__stats_container_response__descriptor, &m),
			 0);
	s = (Grpc__StatsContainerResponse *)m;
	assert_non_null(s->cgroup_stats);
	for (size_t i = 0; i < s->n_network_stats; i++) {
		assert_string_not_equal(s->network_stats[i]->name, "lo");
		found |= str_eq(s->network_stats[i]->name, "v0");
	}
	if (!h.remote)
		assert_true(found);
	protobuf_c_message_free_unpacked(m, NULL);
	assert_int_equal(delete ("c1"), 0);
}

/* The agent does not say that it can pass descriptors, so a host that asks for it is told, not ignored. */
static void test_passed_descriptors(void **state)
{
	Grpc__ExecProcessRequest exec = GRPC__EXEC_PROCESS_REQUEST__INIT;
	Grpc__GuestDetailsRequest details = GRPC__GUEST_DETAILS_REQUEST__INIT;
	Grpc__Process process = GRPC__PROCESS__INIT;
	char *args[] = { (char *)"/bin/true" };
	ProtobufCMessage *m = NULL;

	(void)state;
	NEED_AGENT();
	assert_int_equal(
		harness_call(&h, "GetGuestDetails", &details.base, &grpc__guest_details_response__descriptor, &m), 0);
	for (size_t i = 0; i < ((Grpc__GuestDetailsResponse *)m)->agent_details->n_extra_features; i++)
		assert_null(strstr(((Grpc__GuestDetailsResponse *)m)->agent_details->extra_features[i], "passfd"));
	protobuf_c_message_free_unpacked(m, NULL);
	stdout_port = 5;
	assert_int_equal(create("c1", "true", false), -ENOSYS);
	stdout_port = 0;
	assert_int_equal(create("c1", "exec sleep 100", false), 0);
	assert_int_equal(start("c1"), 0);
	process.args = args;
	process.n_args = 1;
	process.cwd = (char *)"/";
	exec.container_id = (char *)"c1";
	exec.exec_id = (char *)"e1";
	exec.process = &process;
	exec.stdin_port = 5;
	assert_int_equal(harness_do(&h, "ExecProcess", &exec.base), -ENOSYS);
	assert_int_equal(wait_for("c1", "e1"), -ENOENT);
	assert_int_equal(delete ("c1"), 0);
}

static void test_missing_command(void **state)
{
	char saved[sizeof root];

	(void)state;
	NEED_AGENT();
	strcpy(saved, root);
	strcat(root, "/no-such-root");
	assert_int_equal(create("c1", "true", false), -ENOENT);
	strcpy(root, saved);
	assert_nothing_left("c1");
	assert_int_equal(create("../c1", "true", false), -EINVAL);
	assert_int_equal(create(".c1", "true", false), -EINVAL);
	assert_int_equal(create("", "true", false), -EINVAL);
	assert_int_not_equal(create("shared", "true", false), 0); /* a folder of the protocol */
}

static void on_written(int result, const ProtobufCMessage *response, const struct err *e, void *userdata)
{
	struct pending *p = userdata;

	(void)e;
	p->result = result;
	p->len = response ? ((const Grpc__WriteStreamResponse *)response)->len : 0;
	p->done = true;
}

static void write_async(const char *id, const uint8_t *data, size_t n, struct pending *p)
{
	Grpc__WriteStreamRequest req = GRPC__WRITE_STREAM_REQUEST__INIT;

	*p = (struct pending){ 0 };
	req.container_id = (char *)id;
	req.data.data = (uint8_t *)data;
	req.data.len = n;
	assert_int_equal(ttrpc_call_async(h.client, "grpc.AgentService", "WriteStdin", &req.base,
					  &grpc__write_stream_response__descriptor, -1, on_written, p, NULL, NULL),
			 0);
}

static void await(struct pending *p)
{
	while (!p->done)
		assert_int_equal(loop_run_once(h.loop, 10000), 0);
}

/* 10 MiB through cat: every write is larger than the pipes on its way, so it must wait for the reader. */
static void test_stdin_comes_back(void **state)
{
	Grpc__CloseStdinRequest end = GRPC__CLOSE_STDIN_REQUEST__INIT;
	uint8_t *data = malloc(CHUNK);
	uint32_t x = 12345;

	(void)state;
	NEED_AGENT();
	assert_int_equal(create("cat", "cat", false), 0);
	assert_int_equal(start("cat"), 0);
	for (int i = 0; i < 10; i++) {
		_cleanup_buf_ struct buf out = { 0 };
		struct pending p;

		for (size_t k = 0; k < CHUNK; k++) {
			x = x * 1664525 + 1013904223;
			data[k] = (uint8_t)(x >> 24);
		}
		write_async("cat", data, CHUNK, &p);
		while (out.len < CHUNK)
			assert_true(read_once("cat", "", "ReadStdout", &out) > 0);
		await(&p);
		assert_int_equal(p.result, 0);
		assert_int_equal(p.len, CHUNK);
		assert_int_equal(out.len, CHUNK);
		assert_memory_equal(out.data, data, CHUNK);
	}
	free(data);
	end.container_id = (char *)"cat";
	assert_int_equal(harness_do(&h, "CloseStdin", &end.base), 0);
	assert_output("cat", "", "ReadStdout", "");
	assert_int_equal(wait_for("cat", ""), 0);
	assert_int_equal(delete ("cat"), 0);
}

/* A close goes behind the writes that wait; a write behind it fails. */
static void test_close_in_turn(void **state)
{
	Grpc__CloseStdinRequest end = GRPC__CLOSE_STDIN_REQUEST__INIT;
	uint8_t *data = calloc(1, CHUNK);
	struct pending first, second;

	(void)state;
	NEED_AGENT();
	assert_int_equal(create("wc", "sleep 0.2; wc -c", false), 0);
	assert_int_equal(start("wc"), 0);
	write_async("wc", data, CHUNK, &first);
	end.container_id = (char *)"wc";
	assert_int_equal(harness_do(&h, "CloseStdin", &end.base), 0);
	write_async("wc", data, 1, &second);
	assert_output("wc", "", "ReadStdout", "1048576\n");
	await(&first);
	await(&second);
	assert_int_equal(first.result, 0);
	assert_int_not_equal(second.result, 0);
	free(data);
	assert_int_equal(delete ("wc"), 0);
}

struct exec_request {
	Grpc__ExecProcessRequest m;
	Grpc__Process process;
	Grpc__User user;
	char *args[3], *env[1];
};

/* program: it alone; NULL: the shell with this script. */
static void exec_request(struct exec_request *q, const char *id, const char *exec_id, const char *program,
			 const char *script)
{
	*q = (struct exec_request){
		.m = GRPC__EXEC_PROCESS_REQUEST__INIT,
		.process = GRPC__PROCESS__INIT,
		.user = GRPC__USER__INIT,
		.args = { (char *)(program ? program : "/bin/sh"), (char *)"-c", (char *)script },
		.env = { (char *)"PATH=/bin" },
	};
	q->process.user = &q->user;
	q->process.args = q->args;
	q->process.n_args = program ? 1 : 3;
	q->process.env = q->env;
	q->process.n_env = 1;
	q->process.cwd = (char *)"/";
	q->m.container_id = (char *)id;
	q->m.exec_id = (char *)exec_id;
	q->m.process = &q->process;
}

static int exec_in(const char *id, const char *exec_id, const char *script)
{
	struct exec_request q;

	exec_request(&q, id, exec_id, NULL, script);
	return harness_do(&h, "ExecProcess", &q.m.base);
}

static void exec_async(struct ttrpc_client *client, const char *id, const char *exec_id, const char *program,
		       struct pending *p)
{
	struct exec_request q;

	*p = (struct pending){ 0 };
	exec_request(&q, id, exec_id, program, "true");
	assert_int_equal(ttrpc_call_async(client, "grpc.AgentService", "ExecProcess", &q.m.base,
					  &google__protobuf__empty__descriptor, -1, on_done, p, NULL, NULL),
			 0);
}

static int ask_for_nothing(const char *id)
{
	Grpc__UpdateContainerRequest nothing = GRPC__UPDATE_CONTAINER_REQUEST__INIT;

	nothing.container_id = (char *)id;
	return harness_do(&h, "UpdateContainer", &nothing.base);
}

/* Exec until the container has stopped one on its way: another request is then answered before it. */
static void exec_until_stopped(const char *id, char exec_id[16], struct pending *p)
{
	static int n;

	for (int tries = 0; tries < 200; tries++) {
		snprintf(exec_id, 16, "e%d", ++n);
		exec_async(h.client, id, exec_id, NULL, p);
		assert_int_equal(ask_for_nothing(id), 0);
		for (uint64_t end = clock_ms() + 1000; !p->done && clock_ms() < end;)
			loop_run_once(h.loop, 100);
		if (!p->done)
			return;
	}
	fail_msg("each exec was answered before what was asked after it");
}

/* A container that stops all its processes whenever it can: that is its own loss. */
static void test_stopped_before_it_is_ready(void **state)
{
	struct pending p;
	char exec_id[16];

	(void)state;
	NEED_AGENT();
	assert_int_equal(create("hostile", "exec 2>/dev/null; echo ready; while :; do kill -STOP -1; done", false), 0);
	assert_int_equal(start("hostile"), 0);
	assert_first_line("hostile", "ready\n");
	exec_until_stopped("hostile", exec_id, &p);
	assert_int_equal(exec_in("hostile", exec_id, "true"), -EREMOTEIO); /* it has the id already */
	assert_int_equal(create("other", "exit 4", false), 0);
	assert_int_equal(start("other"), 0);
	assert_int_equal(wait_for("other", ""), 4);
	assert_int_equal(delete ("other"), 0);
	assert_false(p.done);
	assert_int_equal(send_signal("hostile", exec_id, SIGKILL), 0);
	await(&p);

	exec_until_stopped("hostile", exec_id, &p);
	assert_int_equal(delete ("hostile"), 0);
	await(&p);
	assert_int_not_equal(p.result, 0);
	assert_nothing_left("hostile");
}

static struct ttrpc_client *another_client(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct ttrpc_client *client;

	snprintf(sa.sun_path, sizeof sa.sun_path, "%.80s/agent.sock", h.dir);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(ttrpc_client_new(h.loop, fd, -1, &client, NULL), 0);
	return client;
}

/* Nobody would know of the process. */
static void test_exec_whose_caller_goes(void **state)
{
	struct ttrpc_client *client;
	struct pending p;
	char path[256];
	int lease;

	(void)state;
	NEED_AGENT();
	if (h.remote)
		skip();
	/* Who opens the program waits for as long as somebody has a lease on it. */
	snprintf(path, sizeof path, "cp /bin/busybox %s/leased", root);
	assert_int_equal(system(path), 0);
	snprintf(path, sizeof path, "%s/leased", root);
	lease = open(path, O_RDONLY | O_CLOEXEC);
	signal(SIGIO, SIG_IGN);
	if (fcntl(lease, F_SETLEASE, F_WRLCK) < 0) {
		close(lease);
		skip(); /* not with this file system */
	}
	assert_int_equal(create("c1", "exec sleep 1000", false), 0);
	assert_int_equal(start("c1"), 0);
	client = another_client();
	exec_async(client, "c1", "e1", "/leased", &p);
	for (int i = 0; i < 2000 && fcntl(lease, F_GETLEASE) == F_WRLCK; i++)
		loop_run_once(h.loop, 10);
	assert_int_equal(wait_for("c1", "e1"), -ENOENT); /* it is not ready */
	ttrpc_client_free(client);
	assert_true(p.done);
	/* The process ended, which is the process's own, as it was about to execute. */
	for (int i = 0; i < 2000 && wait_for("c1", "e1") != 128 + SIGKILL; i++)
		usleep(10000);
	assert_int_equal(fcntl(lease, F_SETLEASE, F_UNLCK), 0);
	close(lease);
	assert_int_equal(exec_in("c1", "e1", "true"), 0); /* the id is free again */
	assert_int_equal(delete ("c1"), 0);
}

/* A reader that pauses longer than an ended process is kept for by itself. */
static void test_output_that_is_read_late(void **state)
{
	(void)state;
	NEED_AGENT();
	assert_int_equal(create("late", "exec sleep 100", false), 0);
	assert_int_equal(start("late"), 0);
	assert_int_equal(exec_in("late", "e1", "echo here"), 0);
	assert_int_equal(wait_for("late", "e1"), 0);
	sleep(11);
	assert_output("late", "e1", "ReadStdout", "here\n");
	assert_int_equal(delete ("late"), 0);
}

static void test_exec_and_signals(void **state)
{
	Grpc__PauseContainerRequest pause = GRPC__PAUSE_CONTAINER_REQUEST__INIT;
	Grpc__ResumeContainerRequest resume = GRPC__RESUME_CONTAINER_REQUEST__INIT;

	(void)state;
	NEED_AGENT();
	assert_int_equal(create("long", "trap 'exit 3' USR1; while :; do sleep 0.05; done", false), 0);
	assert_int_equal(start("long"), 0);
	assert_int_equal(exec_in("long", "e1", "hostname; exit 5"), 0);
	assert_output("long", "e1", "ReadStdout", "pod-9\n"); /* the sandbox's UTS namespace */
	assert_int_equal(wait_for("long", "e1"), 5);
	assert_int_equal(exec_in("long", "e1", "exit 6"), 0); /* the name is free again */
	assert_int_equal(wait_for("long", "e1"), 6);
	assert_int_equal(exec_in("long", "bad/id", "true"), -EINVAL);
	assert_int_equal(exec_in("none", "e1", "true"), -ENOENT);

	/* Told at once: the process would not run, and the agent wait for it. */
	pause.container_id = resume.container_id = (char *)"long";
	assert_int_equal(harness_do(&h, "PauseContainer", &pause.base), 0);
	assert_int_not_equal(exec_in("long", "e1", "true"), 0);
	assert_non_null(strstr(h.e.text, "cannot exec in a paused container"));
	assert_int_equal(harness_do(&h, "ResumeContainer", &resume.base), 0);
	assert_int_equal(exec_in("long", "e1", "exit 7"), 0);
	assert_int_equal(wait_for("long", "e1"), 7);

	assert_int_equal(exec_in("long", "e2", "sleep 100"), 0);
	assert_int_equal(exec_in("long", "e2", "true"), -EREMOTEIO);
	assert_int_equal(send_signal("long", "e2", SIGKILL), 0);
	assert_int_equal(wait_for("long", "e2"), 128 + SIGKILL);
	assert_int_equal(send_signal("long", "e9", SIGKILL), -ENOENT);
	assert_int_equal(send_signal("long", "", 0), -EINVAL);
	assert_int_equal(send_signal("long", "", 999), -EINVAL);

	assert_int_equal(send_signal("long", "long", SIGUSR1), 0);
	assert_int_equal(wait_for("long", ""), 3);
	assert_int_equal(send_signal("long", "long", SIGTERM), 0); /* too late is no error */
	assert_int_equal(delete ("long"), 0);
}

/* PID 1 of a namespace ignores a SIGTERM that it does not handle: the agent makes it a SIGKILL. */
static void test_term_ends_init(void **state)
{
	(void)state;
	NEED_AGENT();
	assert_int_equal(create("term", "exec sleep 100", false), 0);
	assert_int_equal(start("term"), 0);
	assert_int_equal(send_signal("term", "", SIGTERM), 0);
	assert_int_equal(wait_for("term", ""), 128 + SIGKILL);
	assert_int_equal(delete ("term"), 0);
}

/* One that ignores it has its reasons: whoever stops it gives it time, and then kills it. */
static void test_term_is_ignored(void **state)
{
	(void)state;
	NEED_AGENT();
	assert_int_equal(
		create("deaf", "trap '' TERM; trap 'exit 7' USR1; echo ready; while :; do sleep 0.05; done", false), 0);
	assert_int_equal(start("deaf"), 0);
	assert_first_line("deaf", "ready\n");
	assert_int_equal(send_signal("deaf", "", SIGTERM), 0);
	assert_int_equal(send_signal("deaf", "", SIGUSR1), 0);
	assert_int_equal(wait_for("deaf", ""), 7);
	assert_int_equal(delete ("deaf"), 0);
}

/* Only SIGKILL without an exec id is for all: init itself ends its children when it is told to stop. */
static void test_term_is_for_init(void **state)
{
	Grpc__UpdateContainerRequest nothing = GRPC__UPDATE_CONTAINER_REQUEST__INIT;

	(void)state;
	NEED_AGENT();
	/* Had the child got SIGTERM as well, that would come first: 143. */
	assert_int_equal(create("stop",
				"sleep 100 & c=$!; trap 'kill -PROF $c; wait $c; exit $?' TERM; echo ready; "
				"while :; do sleep 0.05; done",
				false),
			 0);
	assert_int_equal(start("stop"), 0);
	assert_first_line("stop", "ready\n");
	nothing.container_id = (char *)"stop";
	assert_int_equal(harness_do(&h, "UpdateContainer", &nothing.base), 0);
	assert_int_equal(send_signal("stop", "", SIGTERM), 0);
	assert_int_equal(wait_for("stop", ""), 128 + SIGPROF);
	assert_int_equal(delete ("stop"), 0);
}

static void on_read_end(int result, const ProtobufCMessage *response, const struct err *e, void *userdata)
{
	struct pending *p = userdata;

	(void)e;
	p->result = result;
	p->len = response ? (uint32_t)((const Grpc__ReadStreamResponse *)response)->data.len : 1;
	p->done = true;
}

static void test_remove_ends_reads(void **state)
{
	Grpc__ReadStreamRequest req = GRPC__READ_STREAM_REQUEST__INIT;
	struct pending p = { 0 };

	(void)state;
	NEED_AGENT();
	assert_int_equal(create("quiet", "sleep 100", false), 0);
	assert_int_equal(start("quiet"), 0);
	req.container_id = (char *)"quiet";
	req.len = 10;
	assert_int_equal(ttrpc_call_async(h.client, "grpc.AgentService", "ReadStdout", &req.base,
					  &grpc__read_stream_response__descriptor, -1, on_read_end, &p, NULL, NULL),
			 0);
	assert_int_equal(delete ("quiet"), 0);
	await(&p);
	assert_int_equal(p.result, 0);
	assert_int_equal(p.len, 0);
	assert_nothing_left("quiet");
}

/* The init has gone, but a process that it left in another session holds its output: the stream ends all the same. */
static void test_drain(void **state)
{
	(void)state;
	NEED_AGENT();
	assert_int_equal(create("host", "while :; do sleep 0.05; done", false), 0);
	assert_int_equal(start("host"), 0);
	assert_int_equal(exec_in("host", "bg", "sleep 60 & echo started"), 0);
	assert_output("host", "bg", "ReadStdout", "started\n");
	assert_int_equal(wait_for("host", "bg"), 0);
	assert_int_equal(delete ("host"), 0);
}

static void test_terminal(void **state)
{
	Grpc__TtyWinResizeRequest size = GRPC__TTY_WIN_RESIZE_REQUEST__INIT;
	_cleanup_buf_ struct buf out = { 0 };
	struct pending p;

	(void)state;
	NEED_AGENT();
	assert_int_equal(create("tty", "read x; stty size; echo got $x; exit 4", true), 0);
	size.container_id = (char *)"tty";
	size.row = 33;
	size.column = 99;
	assert_int_equal(start("tty"), 0);
	assert_int_equal(harness_do(&h, "TtyWinResize", &size.base), 0);
	write_async("tty", (const uint8_t *)"hello\n", 6, &p);
	await(&p);
	assert_int_equal(p.result, 0);
	while (read_once("tty", "", "ReadStdout", &out) > 0)
		;
	assert_non_null(strstr(out.data, "33 99\r\n"));
	assert_non_null(strstr(out.data, "got hello\r\n"));
	assert_output("tty", "", "ReadStderr", "");
	assert_int_equal(wait_for("tty", ""), 4);
	size.row = 70000;
	assert_int_equal(harness_do(&h, "TtyWinResize", &size.base), -EINVAL);
	assert_int_equal(delete ("tty"), 0);
}

/* Nobody has it open for a moment; then it goes on, in both directions, and nothing of its last words is lost. */
static void test_terminal_closed_for_a_moment(void **state)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct pending p;

	(void)state;
	NEED_AGENT();
	assert_int_equal(
		create("tty2",
		       "stty -echo; t=$(busybox tty); echo a; exec <&- >&- 2>&-; sleep 0.3; exec <$t >$t 2>&1; "
		       "read x; echo got $x; busybox head -c 9000 /dev/zero; echo end; exit 4",
		       true),
		0);
	assert_int_equal(start("tty2"), 0);
	assert_first_line("tty2", "a\r\n");
	usleep(100000);
	write_async("tty2", (const uint8_t *)"hello\n", 6, &p);
	await(&p);
	assert_int_equal(p.result, 0);
	while (out.len < 11)
		assert_true(read_once("tty2", "", "ReadStdout", &out) > 0);
	assert_int_equal(wait_for("tty2", ""), 4);
	while (read_once("tty2", "", "ReadStdout", &out) > 0)
		;
	assert_int_equal(out.len, 11 + 9000 + 5);
	assert_memory_equal(out.data, "got hello\r\n", 11);
	assert_memory_equal(out.data + 11 + 9000, "end\r\n", 5);
	assert_int_equal(delete ("tty2"), 0);

	/* One that waits for output sees the end of a process that has closed its terminal. */
	assert_int_equal(create("tty2", "exec <&- >&- 2>&-; sleep 0.3; exit 5", true), 0);
	assert_int_equal(start("tty2"), 0);
	assert_output("tty2", "", "ReadStdout", "");
	assert_int_equal(wait_for("tty2", ""), 5);
	assert_int_equal(delete ("tty2"), 0);
}

/* What is left after all of the above is what the agent costs. */
static void test_memory(void **state)
{
	static const char name[] = "\nkata_agent_process_resident_memory_bytes ";
	Grpc__GetMetricsRequest req = GRPC__GET_METRICS_REQUEST__INIT;
	ProtobufCMessage *m = NULL;
	const char *value;
	double rss;

	(void)state;
	NEED_AGENT();
	assert_int_equal(harness_call(&h, "GetMetrics", &req.base, &grpc__metrics__descriptor, &m), 0);
	value = strstr(((Grpc__Metrics *)m)->metrics, name);
	assert_non_null(value);
	rss = strtod(value + sizeof name - 1, NULL);
	protobuf_c_message_free_unpacked(m, NULL);
	print_message("resident memory of the agent: %.0f KiB\n", rss / 1024);
	if (h.remote)
		assert_true(rss < 1.5 * 1024 * 1024);
}

#define VOLUME "/run/kata-containers/sandbox/ephemeral/cache"

static bool has_note(void)
{
	return access(harness_path(&h, VOLUME "/note"), F_OK) == 0;
}

/* An emptyDir outlives the containers that mount it; test_destroy_ends_all() sees its end. */
static void test_volume_of_the_pod(void **state)
{
	Grpc__Storage volume = GRPC__STORAGE__INIT, layer = GRPC__STORAGE__INIT, part = GRPC__STORAGE__INIT;
	char *path[] = { (char *)"path=link/etc" };

	(void)state;
	NEED_AGENT();
	/* Its files are looked at from here. */
	if (h.remote)
		skip();
	volume.driver = layer.driver = (char *)"ephemeral";
	volume.source = volume.fstype = layer.source = layer.fstype = (char *)"tmpfs";
	volume.mount_point = (char *)VOLUME;
	layer.mount_point = (char *)"/run/kata-containers/sandbox/layer-v2";
	storage = &volume;
	assert_int_equal(create("v1", "true", false), 0);
	assert_int_equal(file_replace(harness_path(&h, VOLUME "/note"), "x", 1, 0644), 0);
	assert_int_equal(delete ("v1"), 0);
	assert_true(has_note());
	assert_int_equal(create("v1", "true", false), 0);
	assert_true(has_note());
	assert_int_equal(delete ("v1"), 0);
	assert_true(has_note());
	/* A part of it, in whose place a container has left a link to the guest's root. */
	part.driver = (char *)"caisson.subpath";
	part.source = (char *)VOLUME;
	part.mount_point = (char *)"/run/kata-containers/sandbox/subpath/v1";
	part.driver_options = path;
	part.n_driver_options = 1;
	storage = &part;
	assert_int_equal(symlink("/", harness_path(&h, VOLUME "/link")), 0);
	assert_int_equal(create("v1", "true", false), -EREMOTEIO);
	assert_non_null(strstr(h.e.text, "Too many levels of symbolic links"));
	assert_int_equal(access(harness_path(&h, part.mount_point), F_OK), -1);
	path[0] = (char *)"path=note"; /* a file */
	assert_int_equal(create("v1", "true", false), 0);
	assert_int_equal(access(harness_path(&h, part.mount_point), F_OK), 0);
	assert_int_equal(delete ("v1"), 0);
	assert_int_equal(access(harness_path(&h, part.mount_point), F_OK), -1);
	assert_true(has_note());
	/* What is the container's own goes with it. */
	storage = &layer;
	assert_int_equal(create("v2", "true", false), 0);
	assert_int_equal(access(harness_path(&h, layer.mount_point), F_OK), 0);
	assert_int_equal(delete ("v2"), 0);
	assert_int_equal(access(harness_path(&h, layer.mount_point), F_OK), -1);
	storage = NULL;
}

static void hold(const char *hook, bool on)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", h.dir, hook);
	unlink(path);
	snprintf(path, sizeof path, "%s/hold-%s", h.dir, hook);
	if (on)
		assert_int_equal(file_replace(path, "", 0, 0644), 0);
	else
		assert_int_equal(unlink(path), 0);
}

static void wait_for_hook(const char *hook)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", h.dir, hook);
	for (uint64_t end = clock_ms() + 20000; access(path, F_OK) < 0 && clock_ms() < end;)
		loop_run_once(h.loop, 10);
	assert_int_equal(access(path, F_OK), 0);
}

/* All have been buried. */
static void assert_no_child(void)
{
	_cleanup_free_ char *children = NULL;
	char path[64];

	snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)h.pid, (int)h.pid);
	for (int i = 0; i < 1000; i++) {
		free(take_ptr(children));
		assert_int_equal(file_read(path, 4096, &children, NULL), 0);
		if (!*children)
			return;
		usleep(10000);
	}
	assert_string_equal(children, "");
}

static int ask(const char *method, const char *id, const ProtobufCMessageDescriptor *response)
{
	Grpc__StatsContainerRequest m = GRPC__STATS_CONTAINER_REQUEST__INIT; /* an id, as all of these */

	m.container_id = (char *)id;
	return harness_call(&h, method, &m.base, response, NULL);
}

/* What others ask for is answered meanwhile, and what cannot be done with half a container is refused. */
static void test_creation_that_takes_long(void **state)
{
	struct ttrpc_client *client;
	struct pending p;

	(void)state;
	NEED_AGENT();
	if (h.remote)
		skip();
	assert_int_equal(create("other", "exec sleep 1000", false), 0);
	assert_int_equal(start("other"), 0);
	hold("prestart", true);
	create_later(h.client, "slow", &p);
	wait_for_hook("prestart");
	assert_int_equal(exec_in("other", "e1", "exit 3"), 0);
	assert_int_equal(wait_for("other", "e1"), 3);
	assert_int_equal(ask("StatsContainer", "other", &grpc__stats_container_response__descriptor), 0);
	assert_int_equal(create("slow", "true", false), -EREMOTEIO);
	assert_non_null(strstr(h.e.text, "exists already"));
	assert_int_equal(start("slow"), -EREMOTEIO);
	assert_non_null(strstr(h.e.text, "container slow is still being created"));
	assert_int_equal(exec_in("slow", "e1", "true"), -EREMOTEIO);
	assert_int_equal(ask_for_nothing("slow"), -EREMOTEIO);
	assert_int_equal(ask("StatsContainer", "slow", &grpc__stats_container_response__descriptor), -EREMOTEIO);
	assert_int_equal(ask("PauseContainer", "slow", &google__protobuf__empty__descriptor), -EREMOTEIO);
	assert_int_equal(ask("ResumeContainer", "slow", &google__protobuf__empty__descriptor), -EREMOTEIO);
	assert_int_equal(wait_for("slow", ""), -ENOENT);
	assert_false(p.done);
	hold("prestart", false);
	await(&p);
	assert_int_equal(p.result, 0);
	assert_int_equal(start("slow"), 0);
	assert_int_equal(delete ("slow"), 0);

	hold("prestart", true);
	create_later(h.client, "slow", &p);
	wait_for_hook("prestart");
	assert_int_equal(delete ("slow"), 0);
	await(&p);
	assert_non_null(strstr(p.text, "was removed before"));
	assert_nothing_left("slow");

	for (int i = 0; i < 2; i++) {
		hold("prestart", true);
		create_later(h.client, "slow", &p);
		wait_for_hook("prestart");
		assert_int_equal(send_signal("slow", "", i ? SIGTERM : SIGKILL), 0);
		await(&p);
		assert_non_null(strstr(p.text, "died before it was ready"));
		assert_nothing_left("slow");
	}

	/* Nobody would know of it. */
	client = another_client();
	hold("prestart", true);
	create_later(client, "slow", &p);
	wait_for_hook("prestart");
	ttrpc_client_free(client);
	assert_true(p.done);
	for (int i = 0; i < 1000 && start("slow") != -ENOENT; i++)
		usleep(10000);
	assert_nothing_left("slow");

	hold("prestart", false);
	assert_int_equal(create("slow", "true", false), 0);
	assert_int_equal(delete ("slow"), 0);
	assert_int_equal(delete ("other"), 0);
	assert_no_child();
}

/* What is being created has nothing of what the others have: neither does it keep their input open. */
static void test_input_ends_during_a_creation(void **state)
{
	Grpc__CloseStdinRequest end = GRPC__CLOSE_STDIN_REQUEST__INIT;
	Grpc__WaitProcessRequest wait = GRPC__WAIT_PROCESS_REQUEST__INIT;
	struct pending p, q = { 0 };

	(void)state;
	NEED_AGENT();
	if (h.remote)
		skip();
	assert_int_equal(create("cat", "cat", false), 0);
	assert_int_equal(start("cat"), 0);
	hold("prestart", true);
	create_later(h.client, "slow", &p);
	wait_for_hook("prestart");
	end.container_id = wait.container_id = (char *)"cat";
	assert_int_equal(harness_do(&h, "CloseStdin", &end.base), 0);
	assert_int_equal(ttrpc_call_async(h.client, "grpc.AgentService", "WaitProcess", &wait.base,
					  &grpc__wait_process_response__descriptor, 5000, on_done, &q, NULL, NULL),
			 0);
	await(&q);
	hold("prestart", false);
	await(&p);
	assert_int_equal(q.result, 0);
	assert_int_equal(delete ("slow"), 0);
	assert_int_equal(delete ("cat"), 0);
}

static void delete_later(const char *id, struct pending *p)
{
	Grpc__RemoveContainerRequest req = GRPC__REMOVE_CONTAINER_REQUEST__INIT;

	*p = (struct pending){ 0 };
	req.container_id = (char *)id;
	assert_int_equal(ttrpc_call_async(h.client, "grpc.AgentService", "RemoveContainer", &req.base,
					  &google__protobuf__empty__descriptor, -1, on_done, p, NULL, NULL),
			 0);
}

/* The same for a removal. */
static void test_removal_that_takes_long(void **state)
{
	struct pending p, q;

	(void)state;
	NEED_AGENT();
	if (h.remote)
		skip();
	assert_int_equal(create("other", "exec sleep 1000", false), 0);
	assert_int_equal(start("other"), 0);
	assert_int_equal(create("slow", "exec sleep 1000", false), 0);
	assert_int_equal(start("slow"), 0);
	hold("poststop", true);
	delete_later("slow", &p);
	wait_for_hook("poststop");
	assert_int_equal(exec_in("other", "e1", "exit 3"), 0);
	assert_int_equal(wait_for("other", "e1"), 3);
	delete_later("slow", &q);
	await(&q);
	assert_non_null(strstr(q.text, "container slow is being removed"));
	assert_int_equal(exec_in("slow", "e1", "true"), -EREMOTEIO);
	assert_int_equal(create("slow", "true", false), -EREMOTEIO);
	assert_int_equal(send_signal("slow", "", SIGKILL), -ENOENT);
	assert_int_equal(wait_for("slow", ""), -ENOENT);
	assert_false(p.done);
	hold("poststop", false);
	await(&p);
	assert_int_equal(p.result, 0);
	assert_nothing_left("slow");
	assert_int_equal(delete ("other"), 0);
	assert_no_child();
}

/* Whoever comes after one that is being removed is the first of the sandbox again. */
static void test_first_after_a_removal(void **state)
{
	struct pending p = { 0 };

	(void)state;
	NEED_AGENT();
	if (h.remote)
		skip();
	assert_int_equal(create("slow", "exec sleep 1000", false), 0);
	assert_int_equal(start("slow"), 0);
	hold("poststop", true);
	delete_later("slow", &p);
	wait_for_hook("poststop");
	assert_int_equal(create("other", "exec sleep 1000", false), 0);
	assert_int_equal(start("other"), 0);
	hold("poststop", false);
	await(&p);
	sandbox_pidns = true;
	assert_int_equal(create("beside", "exit 3", false), 0);
	sandbox_pidns = false;
	assert_int_equal(start("beside"), 0);
	assert_int_equal(wait_for("beside", ""), 3);
	assert_int_equal(delete ("beside"), 0);
	assert_int_equal(delete ("other"), 0);
}

/* A container that stops all processes beside it whenever it can. */
static void test_stopped_by_a_neighbour(void **state)
{
	struct pending p = { 0 };
	int tries = 0;

	(void)state;
	NEED_AGENT();
	/* The first of a sandbox, whose processes the others share. */
	assert_int_equal(create("hostile", "exec 2>/dev/null; echo ready; while :; do kill -STOP -1; done", false), 0);
	assert_int_equal(start("hostile"), 0);
	assert_first_line("hostile", "ready\n");
	assert_int_equal(create("other", "exec sleep 1000", false), 0);
	assert_int_equal(start("other"), 0);
	for (;;) {
		sandbox_pidns = true;
		create_later(h.client, "beside", &p);
		sandbox_pidns = false;
		for (uint64_t end = clock_ms() + 1000; !p.done && clock_ms() < end;)
			loop_run_once(h.loop, 100);
		if (!p.done)
			break;
		assert_int_equal(delete ("beside"), 0);
		assert_true(++tries < 200);
	}
	assert_int_equal(exec_in("other", "e1", "exit 3"), 0);
	assert_int_equal(wait_for("other", "e1"), 3);
	assert_false(p.done);
	assert_int_equal(delete ("beside"), 0);
	await(&p);
	assert_non_null(strstr(p.text, "was removed before"));
	assert_nothing_left("beside");
	assert_int_equal(delete ("hostile"), 0);
	assert_int_equal(delete ("other"), 0);
}

static void test_destroy_ends_all(void **state)
{
	Grpc__DestroySandboxRequest destroy = GRPC__DESTROY_SANDBOX_REQUEST__INIT;
	struct pending p = { .done = true }, q = { .done = true };

	(void)state;
	NEED_AGENT();
	assert_int_equal(create("a", "sleep 100", false), 0);
	assert_int_equal(create("b", "sleep 100", false), 0); /* never started */
	assert_int_equal(start("a"), 0);
	if (!h.remote) {
		hold("prestart", true);
		create_later(h.client, "c", &p); /* never ready */
		wait_for_hook("prestart");
		hold("prestart", false);
		assert_int_equal(create("d", "sleep 100", false), 0);
		hold("poststop", true);
		delete_later("d", &q); /* not gone yet */
		wait_for_hook("poststop");
		hold("poststop", false);
	}
	assert_int_equal(harness_do(&h, "DestroySandbox", &destroy.base), 0);
	await(&p);
	await(&q);
	assert_nothing_left("a");
	assert_nothing_left("b");
	assert_nothing_left("c");
	assert_nothing_left("d");
	assert_false(has_note());
}

static void assert_empty(pid_t pid, const char *name)
{
	char path[64];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
	dir = opendir(path);
	assert_non_null(dir);
	while ((d = readdir(dir)))
		assert_int_equal(d->d_name[0], '.');
	closedir(dir);
}

/* The process that keeps a shared PID namespace takes the orphans, and has nothing that a container could use. */
static void test_shared_processes(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	Grpc__DestroySandboxRequest destroy = GRPC__DESTROY_SANDBOX_REQUEST__INIT;
	_cleanup_free_ char *children = NULL;
	char path[64];
	pid_t pid;

	(void)state;
	NEED_AGENT();
	req.sandbox_pidns = sandbox_pidns = true;
	assert_int_equal(harness_do(&h, "CreateSandbox", &req.base), 0);
	assert_int_equal(create("c1",
				"grep -E '^(Name|Uid|Gid|Groups|Cap|NoNew)' /proc/1/status; "
				"sh -c 'sleep 0.1 & echo $!' >/orphan; sleep 0.5; "
				"[ -e /proc/$(cat /orphan) ] || echo reaped; read x",
				false),
			 0);
	sandbox_pidns = false;
	assert_int_equal(start("c1"), 0);
	assert_first_line("c1", "Name:\tpause\nUid:\t65534\t65534\t65534\t65534\nGid:\t65534\t65534\t65534\t65534\n"
				"Groups:\t \nCapInh:\t0000000000000000\nCapPrm:\t0000000000000000\n"
				"CapEff:\t0000000000000000\nCapBnd:\t0000000000000000\nCapAmb:\t0000000000000000\n"
				"NoNewPrivs:\t1\nreaped\n");
	if (!h.remote) {
		snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)h.pid, (int)h.pid);
		assert_int_equal(file_read(path, 4096, &children, NULL), 0);
		/* The oldest child first. */
		pid = (pid_t)strtol(children, NULL, 10);
		assert_empty(pid, "root");
		assert_empty(pid, "fd");
	}
	assert_int_equal(delete ("c1"), 0);
	assert_int_equal(harness_do(&h, "DestroySandbox", &destroy.base), 0);
}

/* Our hosts' words for namespaces of other containers, and for new ones where the sandbox has one. */
static void test_namespaces_of_others(void **state)
{
	(void)state;
	NEED_AGENT();
	assert_int_equal(create("c1", "exec sleep 1000", false), 0);
	assert_int_equal(start("c1"), 0);
	ns_paths[0] = ns_paths[1] = "private";
	ns_paths[3] = "container:c1";
	assert_int_equal(
		create("c2",
		       "cd /proc; tr '\\0' ' ' <1/cmdline; echo; for n in ipc uts pid; do "
		       "[ $(readlink self/ns/$n) = $(readlink 1/ns/$n) ] && echo same || echo own; done; read x",
		       false),
		0);
	ns_paths[0] = "container:c2";
	ns_paths[1] = ns_paths[3] = NULL;
	assert_int_equal(start("c2"), 0);
	assert_first_line("c2", "sleep 1000 \nown\nown\nsame\n");
	ns_paths[3] = "container:c1";
	assert_int_equal(create("c3", "exec sleep 1000", false), 0);
	ns_paths[3] = NULL;
	assert_int_equal(start("c3"), 0);
	/* As it is not PID 1, SIGTERM alone ends it. */
	assert_int_equal(send_signal("c3", "", SIGTERM), 0);
	assert_int_equal(wait_for("c3", ""), 128 + SIGTERM);
	ns_paths[0] = "container:c4";
	assert_int_equal(create("c5", "exit 0", false), -ENOENT);
	/* The first one takes along who is among its processes. */
	assert_int_equal(send_signal("c1", "", SIGKILL), 0);
	assert_int_equal(wait_for("c2", ""), 128 + SIGKILL);
	assert_int_equal(wait_for("c1", ""), 128 + SIGKILL);
	ns_paths[0] = "container:c1";
	assert_int_equal(create("c5", "exit 0", false), -ENOENT);
	assert_non_null(strstr(h.e.text, "container c1, whose ipc namespace is to be shared, has ended"));
	ns_paths[0] = NULL;
	assert_int_equal(delete ("c1"), 0);
	assert_int_equal(delete ("c2"), 0);
	assert_int_equal(delete ("c3"), 0);
}

/* PID 1 ends only when all that see it have been buried, by us: its container is removed at once all the same. */
static void test_removal_before_others(void **state)
{
	uint64_t begin;

	(void)state;
	NEED_AGENT();
	assert_int_equal(create("c1", "exec sleep 1000", false), 0);
	ns_paths[3] = "container:c1";
	assert_int_equal(create("c2", "sleep 1000 & wait", false), 0);
	ns_paths[3] = NULL;
	assert_int_equal(start("c2"), 0);
	assert_int_equal(exec_in("c2", "e1", "exec sleep 1000"), 0);
	begin = clock_ms();
	assert_int_equal(delete ("c1"), 0);
	assert_true(clock_ms() - begin < 1000);
	assert_nothing_left("c1");
	assert_int_equal(wait_for("c2", ""), 128 + SIGKILL);
	assert_int_equal(wait_for("c2", "e1"), 128 + SIGKILL);
	assert_int_equal(delete ("c2"), 0);
	assert_nothing_left("c2");
}

/* ---- a root file system ---- */

static const char *const tools[] = { "sh", "cat", "echo", "sleep", "hostname", "stty", "wc", "true", "grep" };

/* A hook of the guest image: leaves what it was told of each container, and waits while it is held: hold(). */
static void make_hook(const char *kind)
{
	char path[256], text[512];

	snprintf(path, sizeof path, "%s/hooks/%s", h.dir, kind);
	assert_int_equal(dir_make(path, 0755), 0);
	snprintf(path, sizeof path, "%s/hooks/%s/10-mark", h.dir, kind);
	snprintf(text, sizeof text, "#!/bin/sh\ncat >%s/%s\nwhile [ -e %s/hold-%s ]; do sleep 0.1; done\n", h.dir, kind,
		 h.dir, kind);
	assert_int_equal(file_replace(path, text, strlen(text), 0755), 0);
}

static void test_guest_hook(void **state)
{
	_cleanup_free_ char *text = NULL;
	char path[256];

	(void)state;
	NEED_AGENT();
	if (h.remote)
		skip();
	assert_int_equal(create("hooked", "true", false), 0);
	snprintf(path, sizeof path, "%s/prestart", h.dir);
	assert_int_equal(file_read(path, 65536, &text, NULL), 0);
	assert_non_null(strstr(text, "hooked")); /* the state of the container on standard input */
	assert_int_equal(delete ("hooked"), 0);
}

static int make_root(void)
{
	char path[256];

	snprintf(root, sizeof root, "%s/root", h.dir);
	snprintf(path, sizeof path, "mkdir -p %s/bin %s/proc %s/dev && cp /bin/busybox %s/bin/busybox", root, root,
		 root, root);
	if (system(path) != 0)
		return -1;
	for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++) {
		snprintf(path, sizeof path, "%s/bin/%s", root, tools[i]);
		if (symlink("busybox", path) < 0)
			return -1;
	}
	return 0;
}

static int copy(const char *name, uint32_t mode, const void *data, size_t n)
{
	Grpc__CopyFileRequest req = GRPC__COPY_FILE_REQUEST__INIT;
	char path[256];

	snprintf(path, sizeof path, "%s/%s", root, name);
	req.path = path;
	req.file_mode = mode;
	req.dir_mode = 0755;
	req.file_size = S_ISREG(mode) ? (int64_t)n : 0;
	for (size_t at = 0; at == 0 || at < n; at += req.data.len) {
		req.offset = (int64_t)at;
		req.data.data = (uint8_t *)data + at;
		req.data.len = n - at < CHUNK ? n - at : CHUNK;
		if (harness_do(&h, "CopyFile", &req.base) < 0)
			return -1;
		if (req.data.len == 0)
			break;
	}
	return 0;
}

/* The same where only the protocol reaches. */
static int copy_root(void)
{
	_cleanup_free_ char *busybox = NULL;
	char path[64];
	size_t n;

	strcpy(root, "/run/kata-containers/shared/containers/root");
	if (file_read("/bin/busybox", 16 << 20, &busybox, &n) < 0 ||
	    copy("bin/busybox", S_IFREG | 0755, busybox, n) < 0 || copy("proc", S_IFDIR | 0755, NULL, 0) < 0 ||
	    copy("dev", S_IFDIR | 0755, NULL, 0) < 0)
		return -1;
	for (size_t i = 0; i < sizeof tools / sizeof tools[0]; i++) {
		snprintf(path, sizeof path, "bin/%s", tools[i]);
		if (copy(path, S_IFLNK | 0777, "busybox", 7) < 0)
			return -1;
	}
	return 0;
}

static int setup(void **state)
{
	Grpc__CreateSandboxRequest req = GRPC__CREATE_SANDBOX_REQUEST__INIT;
	char hooks[128];

	(void)state;
	if (access("/bin/busybox", X_OK) < 0 || !harness_start(&h, false))
		return 0;
	usable = true;
	req.hostname = (char *)"pod-9";
	if (!h.remote) {
		make_hook("prestart");
		make_hook("poststop");
		snprintf(hooks, sizeof hooks, "%s/hooks", h.dir);
		req.guest_hook_path = hooks;
	}
	return (h.remote ? copy_root() : make_root()) < 0 || harness_do(&h, "CreateSandbox", &req.base) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
	(void)state;
	return usable && harness_stop(&h) != 0 ? -1 : 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_output_and_status),
		cmocka_unit_test(test_pid_namespaces_of_kata),
		cmocka_unit_test(test_cgroup_namespace),
		cmocka_unit_test(test_missing_command),
		cmocka_unit_test(test_network_stats),
		cmocka_unit_test(test_passed_descriptors),
		cmocka_unit_test(test_stdin_comes_back),
		cmocka_unit_test(test_close_in_turn),
		cmocka_unit_test(test_output_that_is_read_late),
		cmocka_unit_test(test_exec_and_signals),
		cmocka_unit_test(test_stopped_before_it_is_ready),
		cmocka_unit_test(test_exec_whose_caller_goes),
		cmocka_unit_test(test_term_ends_init),
		cmocka_unit_test(test_term_is_ignored),
		cmocka_unit_test(test_term_is_for_init),
		cmocka_unit_test(test_remove_ends_reads),
		cmocka_unit_test(test_drain),
		cmocka_unit_test(test_terminal),
		cmocka_unit_test(test_terminal_closed_for_a_moment),
		cmocka_unit_test(test_guest_hook),
		cmocka_unit_test(test_volume_of_the_pod),
		cmocka_unit_test(test_creation_that_takes_long),
		cmocka_unit_test(test_input_ends_during_a_creation),
		cmocka_unit_test(test_removal_that_takes_long),
		cmocka_unit_test(test_first_after_a_removal),
		cmocka_unit_test(test_stopped_by_a_neighbour),
		cmocka_unit_test(test_destroy_ends_all),
		cmocka_unit_test(test_shared_processes),
		cmocka_unit_test(test_namespaces_of_others),
		cmocka_unit_test(test_removal_before_others),
		cmocka_unit_test(test_memory),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
