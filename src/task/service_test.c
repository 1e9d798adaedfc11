/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Task service over a pod without a VM, called by ttrpc clients on the same loop. Answers and error texts are those
 * that containerd's clients know from the runc shim.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"
#include "proto/empty.pb-c.h"
#include "proto/events.pb-c.h"
#include "proto/forward.pb-c.h"
#include "proto/metrics_v1.pb-c.h"
#include "proto/metrics_v2.pb-c.h"
#include "proto/runc_options.pb-c.h"
#include "task/any.h"
#include "task/fake_pod.h"
#include "task/service.h"

#define TASK   "containerd.task.v2.Task"
#define EVENTS "containerd.services.events.ttrpc.v1.Events"

typedef Containerd__Services__Events__Ttrpc__V1__ForwardRequest ForwardRequest;

struct fixture {
	struct loop *loop;
	struct task_service *service;
	struct ttrpc_client *client;
	struct ttrpc_server *containerd; /* gets the events */
	struct publisher *publisher;
	struct strv topics; /* "/tasks/exit c1 e1 137" */
	char dir[64], socket[96], events[96];
	int shutdowns, pods, deleted;
	bool no_pod;
};

/* ---- containerd's side of the events ---- */

static void note_event(struct fixture *f, const char *topic, const Google__Protobuf__Any *any)
{
	Containerd__Events__TaskExit *exit;

	assert_non_null(strchr(any->type_url, '.'));
	if (!any_is_message(any, &containerd__events__task_exit__descriptor)) {
		strv_addf(&f->topics, "%s %s", topic, any->type_url);
		return;
	}
	exit = containerd__events__task_exit__unpack(NULL, any->value.len, any->value.data);
	strv_addf(&f->topics, "%s %s %s %u %u", topic, exit->container_id, exit->id, exit->pid, exit->exit_status);
	containerd__events__task_exit__free_unpacked(exit, NULL);
}

static void on_forward(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const ForwardRequest *q = (const ForwardRequest *)m;
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	assert_string_equal(q->envelope->namespace_, "ns1");
	assert_true(q->envelope->timestamp->seconds > 0);
	note_event(userdata, q->envelope->topic, q->envelope->event);
	ttrpc_reply(req, &empty.base);
}

static const struct ttrpc_method event_methods[] = {
	{ "Forward", &containerd__services__events__ttrpc__v1__forward_request__descriptor, on_forward },
};
static const struct ttrpc_service event_services[] = { { EVENTS, event_methods, 1 } };

/* ---- the owner's side ---- */

static int make_pod(const Containerd__Task__V2__CreateTaskRequest *request,
		    void (*event)(const struct pod_event *event, void *userdata), void *event_userdata,
		    struct pod **ret, struct err *e, void *userdata)
{
	struct fixture *f = userdata;
	struct pod_params p = { .loop = f->loop, .id = request->id, .event = event, .userdata = event_userdata };

	if (f->no_pod)
		return err_set(e, ERR_CONFIG, EINVAL, "no configuration");
	f->pods++;
	return pod_new(&p, ret, e);
}

static void on_shutdown(void *userdata)
{
	((struct fixture *)userdata)->shutdowns++;
}

static void on_deleted(const char *id, void *userdata)
{
	((struct fixture *)userdata)->deleted++;
}

static void serve(struct fixture *f, bool undo_unanswered)
{
	struct task_service_params p = { .loop = f->loop,
					 .make_pod = make_pod,
					 .deleted = on_deleted,
					 .shutdown = on_shutdown,
					 .events = f->publisher,
					 .undo_unanswered = undo_unanswered,
					 .userdata = f };
	int fd;

	unlink(f->socket);
	assert_int_equal(unix_listen(f->socket, 0600, &p.listen_fd, NULL), 0);
	assert_int_equal(task_service_new(&p, &f->service, NULL), 0);
	assert_int_equal(unix_connect(f->socket, &fd), 0);
	assert_int_equal(ttrpc_client_new(f->loop, fd, -1, &f->client, NULL), 0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct publisher_params events = { .namespace = "ns1" };
	int fd;

	log_set_level(LOG_LEVEL_ERROR);
	log_set_sink(-1, LOG_FORMAT_TEXT, "");
	strcpy(f->dir, "/tmp/task-service-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->socket, sizeof f->socket, "%s/s", f->dir);
	snprintf(f->events, sizeof f->events, "%s/e", f->dir);
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(unix_listen(f->events, 0600, &fd, NULL), 0);
	assert_int_equal(ttrpc_server_new(f->loop, fd, event_services, 1, f, &f->containerd, NULL), 0);
	events.loop = f->loop;
	events.ttrpc_address = f->events;
	assert_int_equal(publisher_new(&events, &f->publisher, NULL), 0);
	serve(f, false);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	ttrpc_client_free(f->client);
	task_service_free(f->service);
	publisher_free(f->publisher);
	ttrpc_server_free(f->containerd);
	loop_free(f->loop);
	strv_fini(&f->topics);
	strv_fini(&fake_pod_calls);
	dir_remove(f->dir);
	free(f);
	return 0;
}

/* ---- calls ---- */

struct answer {
	bool done;
	int result;
	struct err e;
	ProtobufCMessage *message; /* a copy; freed by answer_fini() */
};

static void on_answer(int result, const ProtobufCMessage *response, const struct err *e, void *userdata)
{
	struct answer *a = userdata;

	a->done = true;
	a->result = result;
	if (result < 0) {
		a->e = *e;
		return;
	}
	a->message = pb_copy(response);
}

static void begin(struct ttrpc_client *client, const char *method, const ProtobufCMessage *request,
		  const ProtobufCMessageDescriptor *response, struct answer *a)
{
	*a = (struct answer){ 0 };
	assert_int_equal(ttrpc_call_async(client, TASK, method, request, response, 10000, on_answer, a, NULL, NULL), 0);
}

static void finish(struct fixture *f, struct answer *a)
{
	while (!a->done)
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
}

static void call(struct fixture *f, const char *method, const ProtobufCMessage *request,
		 const ProtobufCMessageDescriptor *response, struct answer *a)
{
	begin(f->client, method, request, response, a);
	finish(f, a);
}

static void call_empty(struct fixture *f, const char *method, const ProtobufCMessage *request)
{
	struct answer a;

	call(f, method, request, &google__protobuf__empty__descriptor, &a);
	if (a.result < 0)
		fail_msg("%s: %s", method, a.e.text);
	pb_free(a.message);
}

/* text: exactly what the peer said. */
static void call_fails(struct fixture *f, const char *method, const ProtobufCMessage *request, int result,
		       const char *text)
{
	struct answer a;

	call(f, method, request, &google__protobuf__empty__descriptor, &a);
	assert_int_equal(a.result, result);
	assert_string_equal(a.e.text, text);
}

static uint32_t create(struct fixture *f, const char *id)
{
	Containerd__Task__V2__CreateTaskRequest q = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	struct answer a;
	uint32_t pid;

	q.id = (char *)id;
	q.bundle = f->dir;
	q.stdout = (char *)"/run/out";
	call(f, "Create", &q.base, &containerd__task__v2__create_task_response__descriptor, &a);
	assert_int_equal(a.result, 0);
	pid = ((Containerd__Task__V2__CreateTaskResponse *)a.message)->pid;
	pb_free(a.message);
	return pid;
}

static uint32_t start(struct fixture *f, const char *id, const char *exec_id)
{
	Containerd__Task__V2__StartRequest q = CONTAINERD__TASK__V2__START_REQUEST__INIT;
	struct answer a;
	uint32_t pid;

	q.id = (char *)id;
	q.exec_id = (char *)exec_id;
	call(f, "Start", &q.base, &containerd__task__v2__start_response__descriptor, &a);
	if (a.result < 0)
		fail_msg("%s", a.e.text);
	pid = ((Containerd__Task__V2__StartResponse *)a.message)->pid;
	pb_free(a.message);
	return pid;
}

static void exec_json(Containerd__Task__V2__ExecProcessRequest *q, Google__Protobuf__Any *any, const char *id,
		      const char *exec_id, const char *json)
{
	*q = (Containerd__Task__V2__ExecProcessRequest)CONTAINERD__TASK__V2__EXEC_PROCESS_REQUEST__INIT;
	*any = (Google__Protobuf__Any)GOOGLE__PROTOBUF__ANY__INIT;
	any->type_url = (char *)ANY_OCI_PROCESS;
	any->value.data = (uint8_t *)json;
	any->value.len = strlen(json);
	q->id = (char *)id;
	q->exec_id = (char *)exec_id;
	q->spec = any;
}

#define PROCESS "{\"args\":[\"/bin/ls\",\"-l\"],\"cwd\":\"/\"}"

static void exec_in(struct fixture *f, const char *id, const char *exec_id)
{
	Containerd__Task__V2__ExecProcessRequest q;
	Google__Protobuf__Any any;

	exec_json(&q, &any, id, exec_id, PROCESS);
	q.terminal = true;
	call_empty(f, "Exec", &q.base);
}

static void kill_with(struct fixture *f, const char *id, const char *exec_id, uint32_t signo)
{
	Containerd__Task__V2__KillRequest q = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;

	q.id = (char *)id;
	q.exec_id = (char *)exec_id;
	q.signal = signo;
	call_empty(f, "Kill", &q.base);
}

static void expect_state(struct fixture *f, const char *id, const char *exec_id, int status, uint32_t pid,
			 uint32_t exit_status)
{
	Containerd__Task__V2__StateRequest q = CONTAINERD__TASK__V2__STATE_REQUEST__INIT;
	Containerd__Task__V2__StateResponse *m;
	struct answer a;

	q.id = (char *)id;
	q.exec_id = (char *)exec_id;
	call(f, "State", &q.base, &containerd__task__v2__state_response__descriptor, &a);
	assert_int_equal(a.result, 0);
	m = (Containerd__Task__V2__StateResponse *)a.message;
	assert_string_equal(m->id, *exec_id ? exec_id : id);
	assert_string_equal(m->bundle, f->dir);
	assert_int_equal(m->status, status);
	assert_int_equal(m->pid, pid);
	assert_int_equal(m->exit_status, exit_status);
	assert_int_equal(m->exited_at != NULL, status == CONTAINERD__V1__TYPES__STATUS__STOPPED);
	pb_free(a.message);
}

static void expect_delete(struct fixture *f, const char *id, const char *exec_id, uint32_t pid, uint32_t exit_status)
{
	Containerd__Task__V2__DeleteRequest q = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;
	Containerd__Task__V2__DeleteResponse *m;
	struct answer a;

	q.id = (char *)id;
	q.exec_id = (char *)exec_id;
	call(f, "Delete", &q.base, &containerd__task__v2__delete_response__descriptor, &a);
	assert_int_equal(a.result, 0);
	m = (Containerd__Task__V2__DeleteResponse *)a.message;
	assert_int_equal(m->pid, pid);
	assert_int_equal(m->exit_status, exit_status);
	pb_free(a.message);
}

static void shut_down(struct fixture *f, const char *id, bool now)
{
	Containerd__Task__V2__ShutdownRequest q = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;

	q.id = (char *)id;
	q.now = now;
	call_empty(f, "Shutdown", &q.base);
	while (loop_run_once(f->loop, 0) == 0 && now && !f->shutdowns)
		;
}

static void expect_topics(struct fixture *f, ...)
{
	va_list ap;
	const char *want;

	publisher_drain(f->publisher, 10000);
	assert_int_equal(publisher_pending(f->publisher), 0);
	va_start(ap, f);
	for (size_t i = 0; (want = va_arg(ap, const char *)); i++) {
		assert_true(i < f->topics.len);
		assert_string_equal(f->topics.v[i], want);
	}
	va_end(ap);
}

/* ---- tests ---- */

static void test_life(void **state)
{
	struct fixture *f = *state;
	uint32_t pid = create(f, "c1");
	char *text, path[128];

	expect_state(f, "c1", "", CONTAINERD__V1__TYPES__STATUS__CREATED, pid, 0);
	snprintf(path, sizeof path, "%s/init.pid", f->dir);
	assert_int_equal(file_read(path, 16, &text, NULL), 0);
	assert_int_equal(atoi(text), pid);
	free(text);
	assert_int_equal(start(f, "c1", ""), pid);
	expect_state(f, "c1", "", CONTAINERD__V1__TYPES__STATUS__RUNNING, pid, 0);
	kill_with(f, "c1", "", 15);
	expect_state(f, "c1", "", CONTAINERD__V1__TYPES__STATUS__STOPPED, pid, 143);
	shut_down(f, "c1", false); /* not yet: it is still there */
	assert_int_equal(f->shutdowns, 0);
	expect_delete(f, "c1", "", pid, 143);
	shut_down(f, "c1", false);
	while (!f->shutdowns)
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
	expect_topics(f, "/tasks/create containerd.events.TaskCreate", "/tasks/start containerd.events.TaskStart",
		      "/tasks/exit c1 c1 1000 143", "/tasks/delete containerd.events.TaskDelete", NULL);
	assert_int_equal(f->topics.len, 4);
}

static void test_exec(void **state)
{
	struct fixture *f = *state;
	Containerd__Task__V2__ExecProcessRequest q;
	Google__Protobuf__Any any;
	uint32_t pid;

	create(f, "c1");
	start(f, "c1", "");
	exec_in(f, "c1", "e1");
	assert_string_equal(fake_pod_calls.v[1], "exec c1 e1 /bin/ls 1");
	exec_json(&q, &any, "c1", "e1", PROCESS);
	call_fails(f, "Exec", &q.base, -EREMOTEIO, "id e1: already exists");
	exec_json(&q, &any, "c1", "e2", "{\"args\":3}");
	q.spec->type_url = (char *)"else";
	call_fails(f, "Exec", &q.base, -EINVAL,
		   "the process is of type \"else\", not " ANY_OCI_PROCESS ": invalid argument");
	expect_state(f, "c1", "e1", CONTAINERD__V1__TYPES__STATUS__CREATED, 0, 0);
	pid = start(f, "c1", "e1");
	fake_pod_end(task_service_pod(f->service), "c1", "e1", 3);
	expect_state(f, "c1", "e1", CONTAINERD__V1__TYPES__STATUS__STOPPED, pid, 3);
	expect_delete(f, "c1", "e1", pid, 3);
	expect_state(f, "c1", "", CONTAINERD__V1__TYPES__STATUS__RUNNING, 1000, 0);
	expect_topics(f, "/tasks/create containerd.events.TaskCreate", "/tasks/start containerd.events.TaskStart",
		      "/tasks/exec-added containerd.events.TaskExecAdded",
		      "/tasks/exec-started containerd.events.TaskExecStarted", "/tasks/exit c1 e1 1001 3", NULL);
	assert_int_equal(f->topics.len, 5); /* no delete event of an exec */
}

/* An exec that its container holds up. */
static void test_slow_start(void **state)
{
	struct fixture *f = *state;
	Containerd__Task__V2__StartRequest q = CONTAINERD__TASK__V2__START_REQUEST__INIT;
	struct answer slow;

	create(f, "c1");
	start(f, "c1", "");
	exec_in(f, "c1", "slow");
	q.id = (char *)"c1";
	q.exec_id = (char *)"slow";
	begin(f->client, "Start", &q.base, &containerd__task__v2__start_response__descriptor, &slow);
	expect_state(f, "c1", "slow", CONTAINERD__V1__TYPES__STATUS__CREATED, 0, 0);
	assert_false(slow.done);
	kill_with(f, "c1", "slow", 9);
	finish(f, &slow);
	assert_int_equal(slow.result, -EREMOTEIO);
	assert_string_equal(slow.e.text, "the new process died");
	expect_delete(f, "c1", "slow", 0, 137);
	/* The pod's end answers, too. */
	exec_in(f, "c1", "slow");
	begin(f->client, "Start", &q.base, &containerd__task__v2__start_response__descriptor, &slow);
	expect_state(f, "c1", "slow", CONTAINERD__V1__TYPES__STATUS__CREATED, 0, 0);
	task_service_free(f->service);
	f->service = NULL;
	finish(f, &slow);
	assert_int_equal(slow.result, -EREMOTEIO);
}

struct slow_creation {
	struct answer create, again, state, kill, delete;
};

/* A creation that takes long, and what is asked about it meanwhile. */
static void begin_creation(struct fixture *f, struct slow_creation *c)
{
	Containerd__Task__V2__CreateTaskRequest create = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	Containerd__Task__V2__StateRequest state = CONTAINERD__TASK__V2__STATE_REQUEST__INIT;
	Containerd__Task__V2__KillRequest kill = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;
	Containerd__Task__V2__DeleteRequest delete = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;

	create.id = state.id = kill.id = delete.id = (char *)"slow";
	create.bundle = f->dir;
	kill.signal = 9;
	begin(f->client, "Create", &create.base, &containerd__task__v2__create_task_response__descriptor, &c->create);
	begin(f->client, "State", &state.base, &containerd__task__v2__state_response__descriptor, &c->state);
	begin(f->client, "Kill", &kill.base, &google__protobuf__empty__descriptor, &c->kill);
	begin(f->client, "Delete", &delete.base, &containerd__task__v2__delete_response__descriptor, &c->delete);
	call(f, "Create", &create.base, &containerd__task__v2__create_task_response__descriptor, &c->again);
	assert_int_equal(c->again.result, -EREMOTEIO);
	assert_string_equal(c->again.e.text, "container slow is being created: already exists");
}

static void slow_creation_fini(struct slow_creation *c)
{
	pb_free(c->create.message);
	pb_free(c->state.message);
	pb_free(c->kill.message);
	pb_free(c->delete.message);
}

/* Others are served; who asks about it gets an answer when it is there, in turn. */
static void test_slow_creation(void **state)
{
	struct fixture *f = *state;
	struct slow_creation c;

	create(f, "c1");
	begin_creation(f, &c);
	start(f, "c1", "");
	expect_state(f, "c1", "", CONTAINERD__V1__TYPES__STATUS__RUNNING, 1000, 0);
	assert_false(c.create.done || c.state.done || c.kill.done || c.delete.done);
	fake_pod_go_on(task_service_pod(f->service), 0);
	finish(f, &c.delete);
	assert_true(c.create.done && c.state.done && c.kill.done);
	assert_int_equal(((Containerd__Task__V2__CreateTaskResponse *)c.create.message)->pid, 1001);
	assert_int_equal(((Containerd__Task__V2__StateResponse *)c.state.message)->status,
			 CONTAINERD__V1__TYPES__STATUS__CREATED);
	assert_int_equal(((Containerd__Task__V2__DeleteResponse *)c.delete.message)->exit_status, 137);
	slow_creation_fini(&c);
	expect_topics(f, "/tasks/create containerd.events.TaskCreate", "/tasks/start containerd.events.TaskStart",
		      "/tasks/create containerd.events.TaskCreate", NULL);
}

/* containerd gives up, deletes and says goodbye: it does not come back. */
static void test_shutdown_while_creating(void **state)
{
	struct fixture *f = *state;
	Containerd__Task__V2__ShutdownRequest q = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;
	struct slow_creation c;
	struct answer shutdown;

	begin_creation(f, &c);
	q.id = (char *)"slow";
	begin(f->client, "Shutdown", &q.base, &google__protobuf__empty__descriptor, &shutdown);
	loop_run_once(f->loop, 10);
	assert_int_equal(f->shutdowns, 0);
	fake_pod_go_on(task_service_pod(f->service), 0);
	finish(f, &shutdown);
	assert_true(c.delete.done);
	for (int i = 0; i < 100 && !f->shutdowns; i++)
		loop_run_once(f->loop, 10);
	assert_int_equal(f->shutdowns, 1);
	slow_creation_fini(&c);
	pb_free(shutdown.message);
}

/* Nobody comes back for what this client wanted. */
static void test_client_goes_while_creating(void **state)
{
	Containerd__Task__V2__CreateTaskRequest q = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	Containerd__Task__V2__StateRequest look = CONTAINERD__TASK__V2__STATE_REQUEST__INIT;
	struct fixture *f = *state;
	struct ttrpc_client *other;
	struct answer created, looked;
	int fd;

	for (int undo = 0; undo < 2; undo++) {
		if (undo) {
			ttrpc_client_free(f->client);
			task_service_free(f->service);
			serve(f, true);
		}
		create(f, "c1");
		assert_int_equal(unix_connect(f->socket, &fd), 0);
		assert_int_equal(ttrpc_client_new(f->loop, fd, -1, &other, NULL), 0);
		q.id = look.id = (char *)"slow";
		q.bundle = f->dir;
		begin(other, "Create", &q.base, &containerd__task__v2__create_task_response__descriptor, &created);
		while (fake_pod_calls.len < 2)
			assert_int_equal(loop_run_once(f->loop, 10), 0);
		ttrpc_client_free(other);
		begin(f->client, "State", &look.base, &containerd__task__v2__state_response__descriptor, &looked);
		for (int i = 0; i < 5; i++)
			assert_int_equal(loop_run_once(f->loop, 10), 0);
		assert_false(looked.done);
		fake_pod_go_on(task_service_pod(f->service), 0);
		finish(f, &looked);
		assert_int_equal(looked.result, undo ? -ENOENT : 0);
		assert_int_equal(f->deleted, undo);
		pb_free(looked.message);
		strv_fini(&fake_pod_calls);
	}
	expect_state(f, "c1", "", CONTAINERD__V1__TYPES__STATUS__CREATED, 1000, 0);
}

/* The guest takes its time to remove it: others are served, and containerd's goodbye waits for it. */
static void test_lasting_delete(void **state)
{
	Containerd__Task__V2__DeleteRequest q = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;
	Containerd__Task__V2__ShutdownRequest goodbye = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;
	struct answer deleted, shutdown;
	struct fixture *f = *state;
	uint32_t pid = create(f, "lasting");

	start(f, "lasting", "");
	kill_with(f, "lasting", "", 9);
	q.id = goodbye.id = (char *)"lasting";
	begin(f->client, "Delete", &q.base, &containerd__task__v2__delete_response__descriptor, &deleted);
	begin(f->client, "Shutdown", &goodbye.base, &google__protobuf__empty__descriptor, &shutdown);
	expect_state(f, "lasting", "", CONTAINERD__V1__TYPES__STATUS__STOPPED, pid, 137);
	assert_false(deleted.done || shutdown.done);
	assert_int_equal(f->deleted, 0);
	fake_pod_removed(task_service_pod(f->service));
	finish(f, &shutdown);
	assert_true(deleted.done);
	assert_int_equal(((Containerd__Task__V2__DeleteResponse *)deleted.message)->exit_status, 137);
	assert_int_equal(f->deleted, 1);
	for (int i = 0; i < 100 && !f->shutdowns; i++)
		loop_run_once(f->loop, 10);
	assert_int_equal(f->shutdowns, 1);
	pb_free(deleted.message);
	pb_free(shutdown.message);
	expect_topics(f, "/tasks/create containerd.events.TaskCreate", "/tasks/start containerd.events.TaskStart",
		      "/tasks/exit lasting lasting 1000 137", "/tasks/delete containerd.events.TaskDelete", NULL);
}

/* The pod's end answers, too. */
static void test_end_while_deleting(void **state)
{
	Containerd__Task__V2__DeleteRequest q = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;
	struct fixture *f = *state;
	struct answer deleted;
	uint32_t pid = create(f, "lasting");

	q.id = (char *)"lasting";
	begin(f->client, "Delete", &q.base, &containerd__task__v2__delete_response__descriptor, &deleted);
	expect_state(f, "lasting", "", CONTAINERD__V1__TYPES__STATUS__CREATED, pid, 0);
	task_service_free(take_ptr(f->service));
	finish(f, &deleted);
	assert_int_equal(deleted.result, 0);
	pb_free(deleted.message);
}

static void expect_not_created(struct fixture *f, struct slow_creation *c)
{
	finish(f, &c->delete);
	assert_int_equal(c->create.result, -EREMOTEIO);
	assert_string_equal(c->create.e.text, "the container cannot be created");
	assert_int_equal(c->state.result, -ENOENT);
	assert_int_equal(c->kill.result, -ENOENT);
	assert_string_equal(c->delete.e.text, "container not created: not found");
}

/* It was the only container: its pod goes, too. Another one may have another configuration. */
static void test_slow_creation_fails(void **state)
{
	struct fixture *f = *state;
	struct slow_creation c;

	begin_creation(f, &c);
	fake_pod_go_on(task_service_pod(f->service), -EIO);
	expect_not_created(f, &c);
	assert_int_equal(f->deleted, 1);
	assert_null(task_service_pod(f->service));
	create(f, "c1");
	assert_int_equal(f->pods, 2);
}

static void test_end_while_creating(void **state)
{
	struct fixture *f = *state;
	struct slow_creation c;

	begin_creation(f, &c);
	task_service_free(f->service);
	f->service = NULL;
	finish(f, &c.create);
	assert_true(c.create.result < 0);
}

static void test_errors(void **state)
{
	struct fixture *f = *state;
	Containerd__Task__V2__CreateTaskRequest create_q = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	Containerd__Task__V2__CheckpointTaskRequest check = CONTAINERD__TASK__V2__CHECKPOINT_TASK_REQUEST__INIT;
	Containerd__Task__V2__DeleteRequest del = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;
	Containerd__Task__V2__StartRequest begin_q = CONTAINERD__TASK__V2__START_REQUEST__INIT;
	Containerd__Task__V2__KillRequest kill_q = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;
	Containerd__Task__V2__ResumeRequest resume = CONTAINERD__TASK__V2__RESUME_REQUEST__INIT;

	kill_q.id = (char *)"c1";
	kill_q.signal = 9;
	call_fails(f, "Kill", &kill_q.base, -ENOENT, "container not created: not found");
	/* That the program is not there does not mean that the container is not there. */
	create_q.id = (char *)"fail1";
	create_q.bundle = f->dir;
	call_fails(f, "Create", &create_q.base, -EREMOTEIO, "exec: \"nothing\": no such file or directory");
	create_q.id = (char *)"late1";
	call_fails(f, "Create", &create_q.base, -EREMOTEIO, "the virtual machine has ended: failed precondition");
	assert_null(task_service_pod(f->service));
	create(f, "c1");
	assert_int_equal(f->pods, 3);
	create_q.id = (char *)"c1";
	call_fails(f, "Create", &create_q.base, -EREMOTEIO, "id c1: already exists");
	call_fails(f, "Checkpoint", &check.base, -ENOSYS,
		   "a container in a virtual machine has no CRIU checkpoint: not implemented");
	kill_q.exec_id = (char *)"e9";
	call_fails(f, "Kill", &kill_q.base, -ENOENT, "process does not exist e9: not found");
	kill_q.exec_id = (char *)"";
	start(f, "c1", "");
	begin_q.id = (char *)"c1";
	call_fails(f, "Start", &begin_q.base, -EREMOTEIO, "cannot start a running process: failed precondition");
	del.id = (char *)"c1";
	call_fails(f, "Delete", &del.base, -EREMOTEIO, "cannot delete a running process: failed precondition");
	resume.id = (char *)"c1";
	call_fails(f, "Resume", &resume.base, -EREMOTEIO, "the container is not paused: failed precondition");
	kill_q.signal = 4000;
	call_fails(f, "Kill", &kill_q.base, -EINVAL, "4000 is no signal: invalid argument");
	kill_with(f, "c1", "", 9);
	kill_q.signal = 9;
	call_fails(f, "Kill", &kill_q.base, -ENOENT, "process already finished: not found");
	create_q.id = (char *)"wrong";
	create(f, "wrong");
	begin_q.id = (char *)"wrong";
	call_fails(f, "Start", &begin_q.base, -EREMOTEIO, "no such file or directory");
}

static void test_no_pod(void **state)
{
	struct fixture *f = *state;
	Containerd__Task__V2__CreateTaskRequest q = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;

	f->no_pod = true;
	q.id = (char *)"c1";
	q.bundle = f->dir;
	call_fails(f, "Create", &q.base, -EINVAL, "no configuration: invalid argument");
	shut_down(f, "c1", false);
	while (!f->shutdowns)
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
}

#define WAITERS 200

static void test_many_waits(void **state)
{
	Containerd__Task__V2__WaitRequest q = CONTAINERD__TASK__V2__WAIT_REQUEST__INIT;
	static struct answer answers[WAITERS], late;
	struct fixture *f = *state;
	struct ttrpc_client *other;
	int fd;

	create(f, "c1");
	start(f, "c1", "");
	q.id = (char *)"c1";
	for (int i = 0; i < WAITERS; i++)
		begin(f->client, "Wait", &q.base, &containerd__task__v2__wait_response__descriptor, &answers[i]);
	/* Clients that come, wait, and go: containerd that is started again. */
	for (int i = 0; i < 50; i++) {
		assert_int_equal(unix_connect(f->socket, &fd), 0);
		assert_int_equal(ttrpc_client_new(f->loop, fd, -1, &other, NULL), 0);
		begin(other, "Wait", &q.base, &containerd__task__v2__wait_response__descriptor, &late);
		for (int k = 0; k < 3; k++)
			assert_int_equal(loop_run_once(f->loop, 0), 0);
		ttrpc_client_free(other);
		assert_int_equal(late.result, -ECANCELED);
	}
	fake_pod_end(task_service_pod(f->service), "c1", "", 7);
	for (int i = 0; i < WAITERS; i++) {
		Containerd__Task__V2__WaitResponse *m;

		finish(f, &answers[i]);
		m = (Containerd__Task__V2__WaitResponse *)answers[i].message;
		assert_int_equal(m->exit_status, 7);
		assert_int_equal(m->exited_at->seconds, 1700000000);
		pb_free(answers[i].message);
	}
	call(f, "Wait", &q.base, &containerd__task__v2__wait_response__descriptor, &late);
	assert_int_equal(((Containerd__Task__V2__WaitResponse *)late.message)->exit_status, 7);
	pb_free(late.message);
}

/* Who waits when all ends gets an answer all the same. */
static void test_waits_at_the_end(void **state)
{
	Containerd__Task__V2__WaitRequest q = CONTAINERD__TASK__V2__WAIT_REQUEST__INIT;
	struct fixture *f = *state;
	struct answer a;

	create(f, "c1");
	q.id = (char *)"c1";
	begin(f->client, "Wait", &q.base, &containerd__task__v2__wait_response__descriptor, &a);
	shut_down(f, "c1", true);
	assert_int_equal(f->shutdowns, 1);
	assert_false(a.done);
	task_service_free(take_ptr(f->service));
	finish(f, &a);
	assert_int_equal(a.result, 0);
	assert_int_equal(((Containerd__Task__V2__WaitResponse *)a.message)->exit_status, 255);
	pb_free(a.message);
}

static void test_pids(void **state)
{
	Containerd__Task__V2__PidsRequest q = CONTAINERD__TASK__V2__PIDS_REQUEST__INIT;
	Containerd__Runc__V1__ProcessDetails *details;
	struct fixture *f = *state;
	Containerd__Task__V2__PidsResponse *m;
	struct answer a;
	uint32_t pid;

	create(f, "c1");
	start(f, "c1", "");
	exec_in(f, "c1", "e1");
	pid = start(f, "c1", "e1");
	q.id = (char *)"c1";
	call(f, "Pids", &q.base, &containerd__task__v2__pids_response__descriptor, &a);
	assert_int_equal(a.result, 0);
	m = (Containerd__Task__V2__PidsResponse *)a.message;
	assert_int_equal(m->n_processes, 2);
	assert_int_equal(m->processes[0]->pid, 1000);
	assert_null(m->processes[0]->info);
	assert_int_equal(m->processes[1]->pid, pid);
	assert_string_equal(m->processes[1]->info->type_url, "containerd.runc.v1.ProcessDetails");
	details = containerd__runc__v1__process_details__unpack(NULL, m->processes[1]->info->value.len,
								m->processes[1]->info->value.data);
	assert_string_equal(details->exec_id, "e1");
	containerd__runc__v1__process_details__free_unpacked(details, NULL);
	pb_free(a.message);
}

static void test_stats(void **state)
{
	Containerd__Task__V2__StatsRequest q = CONTAINERD__TASK__V2__STATS_REQUEST__INIT;
	const Google__Protobuf__Any *any;
	struct fixture *f = *state;
	struct answer a;

	create(f, "c1");
	q.id = (char *)"c1";
	call(f, "Stats", &q.base, &containerd__task__v2__stats_response__descriptor, &a);
	assert_int_equal(a.result, 0);
	any = ((Containerd__Task__V2__StatsResponse *)a.message)->stats;
	/* Whatever this host has. */
	assert_true(any_is_message(any, &io__containerd__cgroups__v1__metrics__descriptor) ||
		    any_is_message(any, &io__containerd__cgroups__v2__metrics__descriptor));
	pb_free(a.message);
}

static void test_control(void **state)
{
	Containerd__Task__V2__PauseRequest pause_q = CONTAINERD__TASK__V2__PAUSE_REQUEST__INIT;
	Containerd__Task__V2__ResumeRequest resume = CONTAINERD__TASK__V2__RESUME_REQUEST__INIT;
	Containerd__Task__V2__ResizePtyRequest resize = CONTAINERD__TASK__V2__RESIZE_PTY_REQUEST__INIT;
	Containerd__Task__V2__CloseIORequest close_io = CONTAINERD__TASK__V2__CLOSE_IOREQUEST__INIT;
	Containerd__Task__V2__UpdateTaskRequest update = CONTAINERD__TASK__V2__UPDATE_TASK_REQUEST__INIT;
	Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	const char *json = "{\"memory\":{\"limit\":4096}}";
	struct fixture *f = *state;

	create(f, "c1");
	start(f, "c1", "");
	pause_q.id = resume.id = resize.id = close_io.id = update.id = (char *)"c1";
	call_empty(f, "Pause", &pause_q.base);
	expect_state(f, "c1", "", CONTAINERD__V1__TYPES__STATUS__PAUSED, 1000, 0);
	call_empty(f, "Resume", &resume.base);
	resize.width = 80;
	resize.height = 25;
	call_empty(f, "ResizePty", &resize.base);
	call_empty(f, "CloseIO", &close_io.base); /* of nothing */
	close_io.stdin = true;
	call_empty(f, "CloseIO", &close_io.base);
	any.type_url = (char *)ANY_OCI_RESOURCES;
	any.value.data = (uint8_t *)json;
	any.value.len = strlen(json);
	update.resources = &any;
	call_empty(f, "Update", &update.base);
	any.value.len--;
	{
		struct answer a;

		call(f, "Update", &update.base, &google__protobuf__empty__descriptor, &a);
		assert_int_equal(a.result, -EINVAL);
	}
	assert_int_equal(fake_pod_calls.len, 4);
	assert_string_equal(fake_pod_calls.v[1], "resize c1/ 80x25");
	assert_string_equal(fake_pod_calls.v[2], "close-stdin c1/");
	assert_string_equal(fake_pod_calls.v[3], "update c1 4096");
	fake_pod_oom(task_service_pod(f->service), "c1");
	expect_topics(f, "/tasks/create containerd.events.TaskCreate", "/tasks/start containerd.events.TaskStart",
		      "/tasks/paused containerd.events.TaskPaused", "/tasks/resumed containerd.events.TaskResumed",
		      "/tasks/oom containerd.events.TaskOOM", NULL);
}

static void test_rootfs_and_console(void **state)
{
	Containerd__Task__V2__CreateTaskRequest q = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	Containerd__Types__Mount m = CONTAINERD__TYPES__MOUNT__INIT, *list[] = { &m };
	struct fixture *f = *state;
	char want[160];
	struct answer a;

	m.type = (char *)"overlay";
	q.id = (char *)"c1";
	q.bundle = f->dir;
	q.rootfs = list;
	q.n_rootfs = 1;
	q.terminal = true;
	q.stdin = (char *)TASK_CONSOLE_SOCKET "/tmp/console";
	call(f, "Create", &q.base, &containerd__task__v2__create_task_response__descriptor, &a);
	assert_int_equal(a.result, 0);
	pb_free(a.message);
	snprintf(want, sizeof want, "create c1 %s 1 overlay/tmp/console", f->dir);
	assert_string_equal(fake_pod_calls.v[0], want);
}

static void test_connect(void **state)
{
	Containerd__Task__V2__ConnectRequest q = CONTAINERD__TASK__V2__CONNECT_REQUEST__INIT;
	Containerd__Task__V2__ConnectResponse *m;
	struct fixture *f = *state;
	struct answer a;

	q.id = (char *)"c1";
	for (int i = 0; i < 2; i++) {
		call(f, "Connect", &q.base, &containerd__task__v2__connect_response__descriptor, &a);
		assert_int_equal(a.result, 0);
		m = (Containerd__Task__V2__ConnectResponse *)a.message;
		assert_int_equal(m->shim_pid, getpid());
		assert_int_equal(m->task_pid, i ? 1000 : 0);
		pb_free(a.message);
		if (!i)
			create(f, "c1");
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life),
		TEST(test_exec),
		TEST(test_slow_start),
		TEST(test_slow_creation),
		TEST(test_slow_creation_fails),
		TEST(test_shutdown_while_creating),
		TEST(test_end_while_creating),
		TEST(test_client_goes_while_creating),
		TEST(test_lasting_delete),
		TEST(test_end_while_deleting),
		TEST(test_errors),
		TEST(test_no_pod),
		TEST(test_many_waits),
		TEST(test_waits_at_the_end),
		TEST(test_pids),
		TEST(test_stats),
		TEST(test_control),
		TEST(test_rootfs_and_console),
		TEST(test_connect),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
