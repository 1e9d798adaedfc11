/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod whose guest lies or says nothing, and one on a host without memory: an error for the client, nothing that
 * hangs, nothing that is left. (Refusals, garbage and hang-ups at every step are in pod_test.c.)
 *
 * Linked with --wrap: see codec/hurry.h and the meson.build.
 */
#include "pod/pod_fixture.h"

#include "codec/hurry.h"

/* ---- silence ---- */

/* Every call that waits for the guest ends. */
static void test_silence(void **state)
{
	static const char *const steps[] = { "Check", "SetGuestDateTime", "CreateSandbox", "UpdateInterface",
					     "CreateContainer" };
	struct err e = { 0 };

	hurry = true;
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		guest.at = steps[i];
		guest.act = NEVER;
		make_pod();
		assert_true(try_create("c1", &e) < 0);
		if (e.code != ETIMEDOUT)
			fail_msg("%s: %d, %s", steps[i], e.code, e.text);
		assert_true(pod_is_empty(t.pod));
		pod_free(take_ptr(t.pod));
		agent_stop();
		nothing_left();
		assert_int_equal(count_fds(), t.fds);
		agent_start();
	}
	hurry = false;
}

/* What a guest creates after all has to go: nobody knows of it. */
static void test_late_creation(void **state)
{
	struct err e = { 0 };

	put_bundle("c1", SANDBOX);
	put_bundle("c2", MEMBER);
	make_pod();
	create("c1");
	start("c1", "");
	hurry = true;
	guest.at = "CreateContainer";
	guest.act = NEVER;
	assert_int_equal(try_create("c2", &e), -ETIMEDOUT);
	guest.act = ANSWER;
	hurry = false;
	for (int i = 0; i < 2000 && !seen("RemoveContainer c2"); i++)
		loop_run_once(t.loop, 10);
	assert_true(seen("RemoveContainer c2"));
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
}

static int pause_it(void)
{
	return try_pause("c1", &(struct err){ 0 });
}

static int update(void)
{
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;

	return try_update("c1", &res, &(struct err){ 0 });
}

static int signal_it(void)
{
	return try_kill("c1", "", SIGTERM, false, &(struct err){ 0 });
}

/* A verb that is not answered fails by itself: the pod goes on, and can be ended. */
static void test_silent_verbs(void **state)
{
	static const struct {
		const char *at;
		int (*verb)(void);
	} verbs[] = { { "PauseContainer", pause_it }, { "UpdateContainer", update }, { "SignalProcess", signal_it } };
	struct deletion_outcome d;

	make_pod();
	create("c1");
	start("c1", "");
	hurry = true;
	for (size_t i = 0; i < sizeof verbs / sizeof verbs[0]; i++) {
		guest.at = verbs[i].at;
		guest.act = NEVER;
		if (verbs[i].verb() != -ETIMEDOUT)
			fail_msg("%s", verbs[i].at);
		assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	}
	guest.at = "RemoveContainer";
	assert_int_equal(try_delete("c1", "", true, &d), 0);
	assert_int_equal(d.exit.status, 137);
	assert_int_equal(guest.vms, 0);
	hurry = false;
}

/* Its deletion takes so long, that of the others no time any more; the pod goes on meanwhile. */
static void test_silent_removal(void **state)
{
	static struct deletion_outcome d; /* told at the latest when the pod ends */
	size_t asked;

	put_bundle("c1", SANDBOX);
	put_bundle("c2", MEMBER);
	make_pod();
	create("c1");
	start("c1", "");
	create("c2");
	hurry = true;
	guest.at = "RemoveContainer";
	guest.act = NEVER;
	d = (struct deletion_outcome){ 0 };
	pod_delete(t.pod, "c2", "", false, on_deleted, &d);
	assert_int_equal(try_pause("c1", NULL), 0);
	assert_int_equal(try_resume("c1", NULL), 0);
	assert_false(d.o.done);
	assert_int_equal(await_outcome(&d.o, NULL), 0);
	assert_int_equal(d.exit.status, 137);
	assert_string_equal(t.events.v[t.events.len - 1], "delete c2 137");
	asked = fake_asked_so_far();
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
	assert_int_equal(fake_asked_at("RemoveContainer c1", asked), SIZE_MAX);
	hurry = false;
}

static struct outcome started; /* told at the latest when the pod ends */

/* Its network has changed since it was created, and the guest does not say that it knows. */
static void begin_start(bool in_a_hurry)
{
	host.mtu = 0;
	guest.act = ANSWER;
	make_pod();
	create("c1");
	host.mtu = 1300;
	guest.at = "UpdateInterface";
	guest.act = NEVER;
	started = (struct outcome){ 0 };
	hurry = in_a_hurry;
	pod_start(t.pod, "c1", "", on_pid, &started);
	assert_false(started.done);
}

/* Only who starts the first container waits for that. */
static void test_silent_network(void **state)
{
	struct err e = { 0 };

	put_bundle("c1", SANDBOX);
	put_bundle("c2", MEMBER);
	begin_start(true);
	create("c2");
	start("c2", "");
	assert_int_equal(try_pause("c2", NULL), 0);
	assert_int_equal(try_delete("c1", "", false, &(struct deletion_outcome){ 0 }), -EBUSY);
	assert_false(started.done);
	assert_int_equal(await_outcome(&started, NULL), -ETIMEDOUT);
	assert_int_equal(state_of("c1", "").status, POD_CREATED);
	assert_int_equal(try_start("c1", "", &e), -EBUSY);
	assert_false(seen("StartContainer c1"));
	hurry = false;
	delete ("c1", "");
	pod_free(take_ptr(t.pod));
	/* It is killed meanwhile. */
	begin_start(false);
	ask_kill("c1", "", SIGKILL);
	for (int i = 0; i < 5; i++)
		loop_run_once(t.loop, 10);
	assert_false(started.done);
	assert_int_equal(try_delete("c1", "", true, &(struct deletion_outcome){ 0 }), 0);
	assert_int_equal(started.result, -ESRCH);
	pod_free(take_ptr(t.pod));
	/* The VM ends, the pod ends. */
	begin_start(false);
	assert_int_equal(write(guest.exit_fd, &(uint64_t){ 1 }, sizeof(uint64_t)), 8);
	until_event("exit c1 255");
	assert_true(started.done && started.result < 0);
	(void)!read(guest.exit_fd, &(uint64_t){ 0 }, sizeof(uint64_t));
	pod_free(take_ptr(t.pod));
	begin_start(false);
	pod_free(take_ptr(t.pod));
	assert_int_equal(started.result, -ESRCH);
}

/* What the guest is told of it comes before the start. */
static void test_network_before_start(void **state)
{
	size_t told;

	make_pod();
	create("c1");
	host.mtu = 1300;
	start("c1", "");
	told = fake_asked_at("UpdateInterface eth0 -/- mtu 1300", 0);
	assert_int_not_equal(told, SIZE_MAX);
	assert_int_not_equal(fake_asked_at("StartContainer c1", told), SIZE_MAX);
	assert_int_equal(fake_asked_at("StartContainer c1", 0), fake_asked_at("StartContainer c1", told));
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
}

static void on_stats(int result, const Grpc__StatsContainerResponse *stats, const struct err *e, void *userdata)
{
	*(int *)userdata = result;
}

/* Who asks for statistics waits, and nobody else. */
static void test_silent_statistics(void **state)
{
	int late = 1, left = 1;

	make_pod();
	create("c1");
	start("c1", "");
	guest.at = "StatsContainer";
	guest.act = NEVER;
	hurry = true;
	assert_int_equal(pod_stats(t.pod, "c1", on_stats, &late, NULL), 0);
	assert_int_equal(try_pause("c1", NULL), 0);
	assert_int_equal(try_resume("c1", NULL), 0);
	assert_int_equal(late, 1);
	for (int i = 0; i < 2000 && late == 1; i++)
		loop_run_once(t.loop, 10);
	assert_int_equal(late, -ETIMEDOUT);
	hurry = false;
	assert_int_equal(pod_stats(t.pod, "c1", on_stats, &left, NULL), 0);
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
	assert_int_equal(left, -ECANCELED);
}

/* ---- processes that do not end ---- */

static void exec(const char *id, const char *exec_id)
{
	static const char text[] = "{\"cwd\":\"/\",\"args\":[\"/bin/ps\"]}";
	struct pod_io io = { .out = "/other" };
	Grpc__Process *p = NULL;
	struct err e = { 0 };

	assert_int_equal(oci_spec_parse_process(text, strlen(text), "process", &p, NULL, &e), 0);
	assert_int_equal(pod_exec(t.pod, id, exec_id, p, &io, -1, 0, &e), 0);
	oci_process_free(p);
}

static void begin_immortal(void)
{
	guest.immortal = hurry = true;
	make_pod();
	create("c1");
	start("c1", "");
}

/* It is ended all the same, by the end of the VM, and can be deleted. */
static void ends_with_the_vm(void)
{
	assert_int_equal(delete ("c1", "").status, 137);
	assert_true(pod_is_empty(t.pod));
	assert_int_equal(guest.vms, 0);
	hurry = false;
}

static void test_immortal(void **state)
{
	begin_immortal();
	ask_kill("c1", "", SIGTERM);
	for (int i = 0; i < 40; i++)
		loop_run_once(t.loop, 10);
	assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	ask_kill("c1", "", SIGKILL);
	assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	until_event("exit c1 137");
	assert_string_equal(state_of("c1", "").exit.reason, "the guest does not end its process");
	ends_with_the_vm();
}

static void test_immortal_without_standin(void **state)
{
	begin_immortal();
	kill(state_of("c1", "").pid, SIGKILL);
	until_event("exit c1 137");
	ends_with_the_vm();
}

static void test_immortal_that_does_not_answer(void **state)
{
	begin_immortal();
	guest.at = "SignalProcess";
	guest.act = NEVER;
	assert_int_equal(try_kill("c1", "", SIGKILL, false, NULL), 0);
	until_event("exit c1 137");
	ends_with_the_vm();
}

static void test_immortal_that_refuses(void **state)
{
	struct err e = { 0 };

	begin_immortal();
	guest.at = "SignalProcess";
	guest.act = REFUSE;
	assert_true(try_kill("c1", "", SIGKILL, false, &e) < 0);
	assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	until_event("exit c1 137");
	ends_with_the_vm();
}

/* The VM goes on without it. */
static void test_immortal_exec(void **state)
{
	begin_immortal();
	exec("c1", "e1");
	start("c1", "e1");
	ask_kill("c1", "e1", SIGKILL);
	until_event("exit c1 e1 137");
	delete ("c1", "e1");
	assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	guest.immortal = hurry = false;
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
}

static void begin_create(const char *id, struct outcome *o)
{
	struct pod_container_params p = { .id = id, .bundle = tmp(id), .standin_fd = -1 };

	*o = (struct outcome){ 0 };
	guest.creation = NULL;
	guest.at = "CreateContainer";
	guest.act = HOLD;
	pod_create(t.pod, &p, on_pid, o);
	while (!guest.creation)
		usleep(1000);
	guest.act = ANSWER;
}

static _Atomic bool answered;

static void answer_creation(void *userdata)
{
	fake_empty(guest.creation);
	guest.creation = NULL;
	answered = true;
}

static void let_create(void)
{
	assert_int_equal(loop_post(guest.agent_loop, answer_creation, NULL), 0);
	while (!answered)
		usleep(1000);
}

/* The guest's last word before its VM is ended: nobody would tell of the end of that container. */
static void test_created_too_late(void **state)
{
	static struct outcome o; /* told at the latest when the pod ends */
	struct err e = { 0 };

	put_bundle("c2", MEMBER);
	begin_immortal();
	hurry = answered = false;
	begin_create("c2", &o);
	guest.on_stop = let_create;
	hurry = true;
	ask_kill("c1", "", SIGKILL);
	assert_int_equal(await_outcome(&o, &e), -ESRCH);
	assert_string_equal(e.text, "the guest does not end its process");
	assert_int_equal(pod_state(t.pod, "c2", "", &(struct pod_process_state){ 0 }, NULL), -ENOENT);
	assert_false(strv_contains(&t.events, "create c2"));
	guest.on_stop = NULL;
	ends_with_the_vm();
}

/* The VM stays for the second one. */
static void test_first_of_two_is_not_created(void **state)
{
	static struct outcome first, second; /* told at the latest when the pod ends */

	put_bundle("c1", SANDBOX);
	put_bundle("c2", MEMBER);
	for (int i = 0; i < 2; i++) {
		make_pod();
		hurry = true;
		begin_create("c1", &first);
		hurry = answered = false;
		begin_create("c2", &second);
		assert_int_equal(await_outcome(&first, NULL), -ETIMEDOUT);
		assert_false(second.done);
		assert_int_equal(guest.vms, 1);
		if (i == 0) {
			let_create();
			assert_int_equal(await_outcome(&second, NULL), 0);
			start("c2", "");
			ask_kill("c2", "", SIGKILL);
			until_event("exit c2 137");
			delete ("c2", "");
		}
		pod_free(take_ptr(t.pod));
		assert_int_equal(second.result, i == 0 ? 0 : -ECANCELED);
		agent_stop();
		nothing_left();
		agent_start();
	}
}

/* ---- clients that do not read ---- */

/* A client with a stand-in of its own, for which that one's end is all, and output of an ended process for it. */
static void end_with_unread_output(int signo)
{
	struct standin_params q = { .name = "client's" };
	struct pod_container_params p = { .id = "c1", .bundle = tmp("c1"), .standin_fd = -1 };
	struct err e = { 0 };

	host.hold_output = host.full = true;
	hurry = true;
	make_pod();
	assert_int_equal(standin_start(&q, &p.standin_pid, &p.standin_fd, NULL), 0);
	t.client_standin = p.standin_pid;
	if (try_create_with(&p, &e) < 0)
		fail_msg("%s", e.text);
	start("c1", "");
	ask_kill("c1", "", signo);
	for (int i = 0; i < 15; i++)
		loop_run_once(t.loop, 10);
	assert_string_equal(t.events.v[t.events.len - 1], "start c1");
}

static void client_ends(void)
{
	assert_int_equal(waitpid(t.client_standin, NULL, 0), t.client_standin);
	hurry = false;
	delete ("c1", "");
}

static void test_client_pauses(void **state)
{
	end_with_unread_output(SIGTERM);
	/* It reads on, but a child of the process holds the stream. */
	host.full = false;
	until_event("exit c1 143");
	client_ends();
}

static void test_client_does_not_come_back(void **state)
{
	struct err e = { 0 };

	end_with_unread_output(SIGTERM);
	assert_int_equal(try_kill("c1", "", SIGUSR1, false, &e), -ESRCH);
	assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	assert_int_equal(try_kill("c1", "", SIGKILL, false, &e), -ESRCH);
	assert_string_equal(t.events.v[t.events.len - 1], "exit c1 143");
	client_ends();
}

/* SIGKILL has its limit also then, and the VM is not to blame. */
static void test_killed_client_does_not_read(void **state)
{
	end_with_unread_output(SIGKILL);
	until_event("exit c1 137");
	assert_int_equal(try_pause("c1", &(struct err){ 0 }), -EBUSY); /* stopped, and not the VM's end */
	client_ends();
}

/* ---- lies ---- */

static void test_status_that_is_none(void **state)
{
	static const int lies[] = { -1, 256, 70000, INT32_MIN };

	for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
		guest.lie_status = lies[i];
		make_pod();
		create("c1");
		start("c1", "");
		ask_kill("c1", "", SIGKILL);
		until_event("exit c1 255");
		delete ("c1", "");
		pod_free(take_ptr(t.pod));
		strv_fini(&t.events);
	}
}

/* Asked once, answered with somebody who is not there: asked again after a pause only, and nobody is told. */
static void test_oom_of_strangers(void **state)
{
	guest.lie_oom = "who?";
	make_pod();
	create("c1");
	start("c1", "");
	for (int i = 0; i < 50; i++)
		loop_run_once(t.loop, 10);
	assert_false(strv_contains(&t.events, "oom who?"));
	assert_string_equal(t.events.v[t.events.len - 1], "start c1");
	/* A second long, at the least, is the pause; so much more on a machine that is busy. */
	assert_in_range(guest.oom_asked, 1, 30);
}

static void test_oom(void **state)
{
	guest.lie_oom = "c1";
	make_pod();
	create("c1");
	start("c1", "");
	until_event("oom c1");
	assert_int_equal(access(tmp("c1/oom"), F_OK), -1);
}

/* CRI-O looks for a file beside its config.json. */
static void test_oom_for_crio(void **state)
{
	put_bundle("c1", "\"annotations\":{\"io.kubernetes.cri-o.ContainerType\":\"sandbox\","
			 "\"io.kubernetes.cri-o.SandboxID\":\"c1\"},");
	guest.lie_oom = "c1";
	make_pod();
	create("c1");
	start("c1", "");
	until_event("oom c1");
	assert_int_equal(access(tmp("c1/oom"), F_OK), 0);
}

static unsigned count_ooms(void)
{
	unsigned n = 0;

	for (size_t i = 0; i < t.events.len; i++)
		n += str_eq(t.events.v[i], "oom c1");
	return n;
}

/* The next ones are told without a pause, but not without end. */
static void test_oom_again(void **state)
{
	uint64_t since;

	guest.lie_oom = "c1";
	make_pod();
	create("c1");
	start("c1", "");
	since = clock_ms();
	while (count_ooms() < 3)
		assert_int_equal(loop_run_once(t.loop, 5000), 0);
	assert_true(clock_ms() - since < 1000);
	while (clock_ms() - since < 500)
		loop_run_once(t.loop, 10);
	assert_in_range(count_ooms(), 3, 8 * (1 + (clock_ms() - since) / 1000));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_silence),
		T(test_late_creation),
		T(test_silent_verbs),
		T(test_silent_removal),
		T(test_silent_statistics),
		T(test_silent_network),
		T(test_network_before_start),
		T(test_status_that_is_none),
		T(test_oom_of_strangers),
		T(test_oom),
		T(test_oom_for_crio),
		T(test_oom_again),
		T(test_immortal),
		T(test_immortal_without_standin),
		T(test_immortal_that_does_not_answer),
		T(test_immortal_that_refuses),
		T(test_immortal_exec),
		T(test_created_too_late),
		T(test_first_of_two_is_not_created),
		T(test_client_pauses),
		T(test_client_does_not_come_back),
		T(test_killed_client_does_not_read),
	};

	signal(SIGPIPE, SIG_IGN);
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests_name("pod_hostile", tests, NULL, NULL);
}
