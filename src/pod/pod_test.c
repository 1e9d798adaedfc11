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
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "oci/spec.h"
#include "pod/plan.h"
#include "pod/pod.h"
#include "pod/pod_fixture.h"

#include <sys/sysmacros.h>
#include "pod/state.h"

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
		"attach 1", /* as many queues as the VM has CPUs, at most */
		"nic 0",
		"show / /etc/hosts",
		"rescan",
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

	t.config->hypervisor.network_queues = 4;
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
	assert_string_equal(record.namespace, "ns1");
	assert_string_equal(record.cgroup, "/pods/c1");
	assert_int_equal(record.n_containers, 1);
	assert_string_equal(record.containers[0].bundle, tmp("c1"));
	assert_int_equal(record.containers[0].pid, state_of("c1", "").pid);
	pod_state_fini(&record);
	assert_int_equal(try_delete("c1", "", false, &(struct deletion_outcome){ 0 }), -EBUSY);
	ask_kill("c1", "", SIGTERM);
	assert_true(seen("SignalProcess c1 c1 15"));
	until_event("waited before 143");
	/* Who hears of it finds its pid gone. */
	assert_int_equal(kill(state_of("c1", "").pid, 0), -1);
	assert_int_equal(errno, ESRCH);
	assert_int_equal(state_of("c1", "").status, POD_STOPPED);
	assert_int_equal(try_kill("c1", "", SIGTERM, false, &e), -ESRCH);
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

/* What clients find below /proc/PID/root can be written where the guest sees it, and nowhere else. */
static void test_what_is_shown(void **state)
{
	more_mounts = "{\"destination\":\"/dev\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"},"
		      "{\"destination\":\"/tmp\",\"type\":\"tmpfs\",\"source\":\"tmpfs\"},"
		      "{\"destination\":\"/ro\",\"type\":\"bind\",\"source\":\"/etc\",\"options\":[\"ro\"]},"
		      "{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/dev/shm\"},";
	put_bundle("c1", SINGLE);
	make_pod();
	create("c1");
	assert_true(strv_contains(&host.seen, "show / /tmp- /ror /dev/shm- /etc/hosts"));
	delete ("c1", "");
}

static void test_what_is_shown_of_copies(void **state)
{
	config_free(t.config);
	load_config("none");
	make_pod();
	create("c1");
	assert_true(strv_contains(&host.seen, "show /r /etc/hostsr"));
	delete ("c1", "");
}

/* ---- mounts of the host below volumes ---- */

static void put_following(const char *options)
{
	more_mounts = options;
	assert_int_equal(dir_make(tmp("vol/sub"), 0755), 0);
	assert_int_equal(dir_make(tmp("vol/first"), 0755), 0);
	put_bundle("c1", SANDBOX);
	more_mounts = "";
}

static void mount_there(const char *place, const char *file)
{
	assert_int_equal(mount("tmpfs", tmp(place), "tmpfs", 0, NULL), 0);
	assert_int_equal(file_replace(tmp(file), "x", 1, 0644), 0);
}

static bool comes(const char *path, bool there)
{
	for (int i = 0; i < 200 && (access(tmp(path), F_OK) == 0) != there; i++)
		loop_run_once(t.loop, 10);
	return access(tmp(path), F_OK) == 0;
}

#define STAGED "state/p1/shared/c1-mount-"

static void test_mounts_that_follow(void **state)
{
	_cleanup_free_ char *mounts = str_printf(
		"{\"destination\":\"/s\",\"type\":\"bind\",\"source\":\"%s/vol\",\"options\":[\"rbind\",\"rslave\","
		"\"ro\"]},{\"destination\":\"/p\",\"type\":\"bind\",\"source\":\"%s/vol\",\"options\":[\"rbind\","
		"\"rprivate\"]},",
		t.dir, t.dir);

	make_pod();
	put_following(mounts);
	create("c1");
	start("c1", "");
	assert_false(comes(STAGED "0/first/f", false));
	mount_there("vol/sub", "vol/sub/f");
	assert_true(comes(STAGED "0/sub/f", true));
	assert_int_equal(access(tmp(STAGED "1/sub/f"), F_OK), -1);
	/* As all that the volume has: read-only, and without devices. */
	assert_int_equal(open(tmp(STAGED "0/sub/new"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(dir_make(tmp("vol/sub/n"), 0755), 0);
	mount_there("vol/sub/n", "vol/sub/n/g");
	assert_true(comes(STAGED "0/sub/n/g", true));
	/* The host is not kept from it by what the guest has. */
	assert_int_equal(umount(tmp("vol/sub/n")), 0);
	assert_false(comes(STAGED "0/sub/n/g", false));
	assert_true(comes(STAGED "0/sub/f", true));
	/* Another one, with the ids of the first. */
	assert_int_equal(umount(tmp("vol/sub")), 0);
	mount_there("vol/sub", "vol/sub/other");
	assert_true(comes(STAGED "0/sub/other", true));
	assert_int_equal(umount(tmp("vol/sub")), 0);
	assert_false(comes(STAGED "0/sub/other", false));
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
}

/* What was mounted when it began goes like what came later. */
static void test_mounts_that_were_there(void **state)
{
	_cleanup_free_ char *mounts = str_printf(
		"{\"destination\":\"/s\",\"type\":\"bind\",\"source\":\"%s/vol\",\"options\":[\"rbind\",\"rshared\"]},",
		t.dir);

	make_pod();
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), 0);
	put_following(mounts);
	mount_there("vol/first", "vol/first/f");
	create("c1");
	start("c1", "");
	assert_true(comes(STAGED "0/first/f", true));
	assert_int_equal(umount(tmp("vol/first")), 0);
	assert_false(comes(STAGED "0/first/f", false));
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
}

static size_t count_mounts(void)
{
	_cleanup_free_ char *mounts = NULL;
	size_t n = 0;

	assert_int_equal(file_read("/proc/thread-self/mounts", 1 << 20, &mounts, NULL), 0);
	for (const char *s = mounts; (s = strstr(s, t.dir)); s++)
		n++;
	return n;
}

/* The volume has all of the host, and so the stage. */
static void test_mounts_that_are_ours(void **state)
{
	_cleanup_free_ char *mounts =
		str_printf("{\"destination\":\"/s\",\"type\":\"bind\",\"source\":\"%s\",\"options\":"
			   "[\"rbind\",\"rslave\"]},",
			   t.dir);
	size_t n;

	make_pod();
	put_following(mounts);
	create("c1");
	start("c1", "");
	mount_there("vol/sub", "vol/sub/f");
	assert_true(comes(STAGED "0/vol/sub/f", true));
	n = count_mounts();
	for (int i = 0; i < 20; i++)
		loop_run_once(t.loop, 10);
	assert_int_equal(count_mounts(), n);
	assert_int_equal(umount(tmp("vol/sub")), 0);
	assert_false(comes(STAGED "0/vol/sub/f", false));
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
}

/* ---- several containers ---- */

static void test_two_containers(void **state)
{
	struct pod_state record = { 0 };
	struct err e = { 0 };
	bool alive;

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
	assert_int_equal(state_read(tmp("state"), "p1", &record, &alive, &e), 0);
	assert_string_equal(record.cgroup, "/pods/c1");
	assert_string_equal(record.containers[0].cgroup, "");
	/* Its stand-in is in the pod's: a group of its own would count next to nothing. */
	assert_string_equal(record.containers[1].cgroup, "");
	pod_state_fini(&record);
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

/* ---- one that shares what it says ---- */

/* Its spec names these namespaces of another one's stand-in by paths, and wants all others of its own. */
static void put_sharing_as(const char *id, const char *more, const char *with, const char *what)
{
	static const char *const types[][2] = {
		{ "network", "net" }, { "pid", "pid" }, { "ipc", "ipc" }, { "uts", "uts" }
	};
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < 4; i++) {
		buf_printf(&b, "%s{\"type\":\"%s\"", i ? "," : "", types[i][0]);
		if (strstr(what, types[i][0]))
			buf_printf(&b, ",\"path\":\"/proc/%d/ns/%s\"", (int)state_of(with, "").pid, types[i][1]);
		buf_puts(&b, "}");
	}
	namespaces = b.data;
	put_bundle(id, more);
	namespaces = NAMESPACES;
}

static void put_sharing(const char *id, const char *with, const char *what)
{
	put_sharing_as(id, SINGLE, with, what);
}

#define SHM "{\"destination\":\"/dev/shm\",\"type\":\"bind\",\"source\":\"/dev/shm\"},"

static void make_shared_pod(const char *feature)
{
	guest.feature = feature;
	more_mounts = SHM;
	put_bundle("c1", SINGLE);
	make_pod();
	create("c1");
	start("c1", "");
}

/* In its network, and else by itself. */
static void test_shares_network(void **state)
{
	make_shared_pod(PLAN_JOIN_FEATURE);
	put_sharing("c2", "c1", "network");
	create("c2");
	assert_int_equal(guest.vms, 1);
	assert_int_equal(host.networks, 1);
	assert_true(seen("  ipc namespace private"));
	assert_true(seen("  uts namespace private"));
	assert_false(seen("  pid namespace container:c1"));
	assert_true(seen("  storage ephemeral shm tmpfs " GUEST_SHM_DIR "-c2 noexec"));
	assert_true(strv_contains(&host.seen, "show / /dev/shm- /etc/hosts"));
	/* What a third one shares with the second one is not the first one's. */
	start("c2", "");
	put_sharing("c3", "c2", "network ipc uts");
	create("c3");
	assert_true(seen("  ipc namespace container:c2"));
	assert_true(seen("  uts namespace container:c2"));
	assert_true(strv_contains(&host.seen, "show / /dev/shm- /etc/hosts"));
	/* When the second one comes again it leaves that to the third one. */
	ask_kill("c2", "", SIGKILL);
	until_event("exit c2 137");
	delete ("c2", "");
	put_sharing("c2", "c1", "network");
	create("c2");
	assert_true(seen("  storage ephemeral shm tmpfs " GUEST_SHM_DIR "-c2+1 noexec"));
	delete ("c3", "");
}

static void test_shares_all(void **state)
{
	make_shared_pod(PLAN_JOIN_FEATURE);
	put_sharing("c2", "c1", "network pid ipc uts");
	create("c2");
	assert_true(seen("  pid namespace container:c1"));
	/* The first one's are the sandbox's. */
	assert_false(seen("  ipc namespace container:c1"));
	assert_false(seen("  uts namespace private"));
	assert_false(seen("  storage ephemeral shm tmpfs " GUEST_SHM_DIR "-c2 noexec"));
	delete ("c2", "");
}

/* Kata's agent knows nothing of it: what cannot be is refused. */
static void test_shares_with_another_agent(void **state)
{
	struct err e = { 0 };

	make_shared_pod(NULL);
	put_sharing("c2", "c1", "network pid");
	assert_int_equal(try_create("c2", &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "the guest's agent cannot"));
	put_sharing("c2", "c1", "network ipc");
	create("c2");
	assert_false(seen("  uts namespace private"));
	delete ("c2", "");
}

static void make_targets(const char *feature)
{
	guest.feature = feature;
	put_bundle("p1", SANDBOX);
	make_pod();
	create("p1");
	put_bundle("c1", MEMBER);
	create("c1");
}

/* kubectl debug --target: the processes of one of the pod's containers. */
static void test_targets_a_container(void **state)
{
	make_targets(PLAN_JOIN_FEATURE);
	put_sharing_as("c2", MEMBER, "c1", "pid");
	create("c2");
	assert_true(seen("  pid namespace container:c1"));
	assert_false(seen("  shares processes"));
	/* shareProcessNamespace is another thing. */
	put_sharing_as("c3", MEMBER, "p1", "pid");
	create("c3");
	assert_false(seen("  pid namespace container:p1"));
	assert_true(seen("  shares processes"));
}

static void test_targets_with_another_agent(void **state)
{
	make_targets(NULL);
	put_sharing_as("c2", MEMBER, "c1", "pid");
	create("c2");
	assert_false(seen("  pid namespace container:c1"));
	assert_true(seen("  shares processes"));
}

static void test_shares_too_little(void **state)
{
	struct err e = { 0 };

	make_shared_pod(PLAN_JOIN_FEATURE);
	put_sharing("c2", "c1", "pid");
	assert_int_equal(try_create("c2", &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "add --network container:c1"));
}

/* One of a pod's shares what it names by paths; what it does not is its own, where the agent can. */
static void test_shares_less_in_pod(void **state)
{
	guest.feature = PLAN_JOIN_FEATURE;
	put_bundle("c1", SANDBOX);
	make_pod();
	create("c1");
	more_mounts = SHM;
	namespaces = "{\"type\":\"network\"},{\"type\":\"pid\",\"path\":\"/proc/1/ns/pid\"},"
		     "{\"type\":\"ipc\",\"path\":\"/proc/1/ns/ipc\"},{\"type\":\"uts\"}";
	put_bundle("c2", MEMBER);
	create("c2");
	assert_true(seen("  uts namespace private"));
	assert_true(seen("  shares processes"));
	assert_false(seen("  ipc namespace private"));
	assert_false(seen("  storage ephemeral shm tmpfs " GUEST_SHM_DIR "-c2 noexec"));
	namespaces = NAMESPACES ",{\"type\":\"ipc\"},{\"type\":\"uts\",\"path\":\"/proc/1/ns/uts\"}";
	put_bundle("c3", MEMBER);
	create("c3");
	assert_true(seen("  ipc namespace private"));
	assert_true(seen("  storage ephemeral shm tmpfs " GUEST_SHM_DIR "-c3 noexec"));
	namespaces = NAMESPACES;
	delete ("c3", "");
	delete ("c2", "");
}

/* Limits that change are its own, and not those of the VM on the host, which are the first one's. */
static void test_shares_limits(void **state)
{
	Grpc__LinuxResources wanted = GRPC__LINUX_RESOURCES__INIT;
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	struct err e = { 0 };
	size_t before;

	make_shared_pod(PLAN_JOIN_FEATURE);
	put_sharing("c2", "c1", "network");
	create("c2");
	wanted.memory = &memory;
	memory.limit = 64 << 20;
	before = host.seen.len;
	assert_int_equal(try_update("c2", &wanted, &e), 0);
	assert_int_equal(host.seen.len, before);
	assert_int_equal(try_update("c1", &wanted, &e), 0);
	assert_true(host.seen.len > before);
}

static unsigned times_seen(const char *line)
{
	unsigned n = 0;

	for (size_t i = 0; i < host.seen.len; i++)
		n += str_eq(host.seen.v[i], line);
	return n;
}

/* The pod is named after its first container, which ends and comes again: into its group, and the network that is
 * there. */
static void test_comes_again(void **state)
{
	struct err e = { 0 };

	guest.feature = PLAN_JOIN_FEATURE;
	more_mounts = SHM;
	namespaces = NAMESPACES ",{\"type\":\"ipc\"}";
	put_bundle("p1", SINGLE);
	make_pod();
	create("p1");
	put_sharing("c2", "p1", "network ipc uts");
	create("c2");
	ask_kill("p1", "", SIGKILL);
	until_event("exit p1 137");
	delete ("p1", "");
	assert_int_equal(guest.vms, 1);
	assert_false(seen("  ipc namespace private"));
	create("p1");
	assert_true(seen("  ipc namespace private"));
	assert_true(seen("  storage ephemeral shm tmpfs " GUEST_SHM_DIR "-p1 noexec"));
	assert_int_equal(times_seen("cgroup /pods/p1"), 1);
	assert_int_equal(times_seen("into /pods/p1 stand-in"), 2);
	start("p1", "");
	ask_kill("p1", "", SIGKILL);
	until_event("exit p1 137");
	delete ("p1", "");
	/* Its client has made another network for it, where this VM is not. */
	namespaces = "{\"type\":\"network\",\"path\":\"/proc/self/ns/uts\"}";
	put_bundle("p1", SINGLE);
	assert_int_equal(try_create("p1", &e), -EBUSY);
	assert_non_null(strstr(e.text, "p1 cannot have the network namespace /proc/self/ns/uts"));
}

/* An id that people chose again: what it names now is not let into the VM of what it named before. */
static void test_id_comes_again(void **state)
{
	static const char *const options[] = { "upperdir=/another" };
	struct pod_mount root = {
		.type = "overlay", .source = "overlay", .target = "", .options = options, .n_options = 1
	};
	struct pod_container_params p = { .id = "p1", .rootfs = &root, .n_rootfs = 1, .standin_fd = -1 };
	struct err e = { 0 };

	guest.feature = PLAN_JOIN_FEATURE;
	put_bundle("p1", SINGLE);
	put_bundle("other", SINGLE);
	make_pod();
	create("p1");
	put_sharing("c2", "p1", "network");
	create("c2");
	delete ("p1", "");
	p.bundle = tmp("p1");
	assert_int_equal(try_create_with(&p, &e), -EEXIST);
	assert_non_null(strstr(e.text, "another one of that id"));
	p.n_rootfs = 0;
	p.bundle = tmp("other");
	assert_int_equal(try_create_with(&p, &e), -EEXIST);
	create("p1");
}

static struct outcome first_start, second_start; /* told at the latest when the pod ends */

/* Both wait for the guest to know the network: the container that is the first now, and the one the pod is named after.
 */
static void begin_two_starts(void)
{
	guest.feature = PLAN_JOIN_FEATURE;
	host.mtu = 0;
	put_bundle("p1", SINGLE);
	make_pod();
	create("p1");
	put_sharing("c2", "p1", "network");
	create("c2");
	delete ("p1", "");
	create("p1");
	first_start = second_start = (struct outcome){ 0 };
	host.mtu = 1300;
	pod_start(t.pod, "c2", "", on_pid, &first_start);
	pod_start(t.pod, "p1", "", on_pid, &second_start);
	assert_false(first_start.done || second_start.done);
}

static void test_two_starts(void **state)
{
	begin_two_starts();
	assert_int_equal(await_outcome(&second_start, NULL), 0);
	assert_int_equal(await_outcome(&first_start, NULL), 0);
	pod_free(take_ptr(t.pod));
	/* One that goes meanwhile does not take the other one along. */
	begin_two_starts();
	assert_int_equal(try_delete("p1", "", true, &(struct deletion_outcome){ 0 }), 0);
	assert_int_equal(second_start.result, -ESRCH);
	assert_int_equal(await_outcome(&first_start, NULL), 0);
}

/* ---- what others do in its network ---- */

static void live_once(const char *role)
{
	strv_fini(&host.seen);
	put_bundle("c1", role);
	make_pod();
	create("c1");
	pod_free(take_ptr(t.pod));
}

/* Of a Kubernetes pod with a network namespace that is not ours. */
static void test_ports_are_forwarded(void **state)
{
	_cleanup_free_ char *path = NULL;
	uint64_t one = 1;
	int ready[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		(void)!unshare(CLONE_NEWNET);
		(void)!write(ready[1], "", 1);
		pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	close(ready[1]);
	live_once(SANDBOX);
	assert_false(strv_contains(&host.seen, "forward to hvsock:"));
	namespaces = path =
		str_printf("{\"type\":\"network\",\"path\":\"/proc/%d/ns/net\"},{\"type\":\"pid\"}", (int)pid);
	live_once(SINGLE);
	assert_false(strv_contains(&host.seen, "forward to hvsock:"));
	live_once(SANDBOX);
	assert_true(strv_contains(&host.seen, "forward to hvsock:"));
	assert_true(strv_contains(&host.seen, "forward no more"));
	/* Not for longer than its VM, whose address may be another's by then. */
	strv_fini(&host.seen);
	make_pod();
	create("c1");
	assert_int_equal(write(guest.exit_fd, &one, sizeof one), 8);
	until_event("exit c1 255");
	assert_true(strv_contains(&host.seen, "forward no more"));
	pod_free(take_ptr(t.pod));
	(void)!read(guest.exit_fd, &one, sizeof one);
	/* What a kernel lacks is no failure. */
	host.fail_at = "forward";
	live_once(SANDBOX);
	assert_true(strv_contains(&host.seen, "forward to hvsock:"));
	assert_false(strv_contains(&host.seen, "forward no more"));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* A pod by itself: a VM and a stand-in, and the guest has nothing of it. */
static void test_sandbox_only(void **state)
{
	struct strv ids = { 0 };
	struct err e = { 0 };

	put_bundle("c1", SANDBOX);
	put_bundle("c2", MEMBER);
	make_pod();
	assert_int_equal(try_create_as("c1", true, &e), 0);
	start("c1", "");
	assert_int_equal(guest.vms, 1);
	assert_int_equal(host.networks, 1);
	assert_int_equal(try_create_as("c2", true, &e), -EBUSY);
	create("c2");
	start("c2", "");
	assert_int_equal(pod_containers(t.pod, &ids, &e), 0);
	assert_int_equal(ids.len, 1);
	assert_string_equal(ids.v[0], "c2");
	strv_fini(&ids);
	ask_kill("c2", "", SIGKILL);
	until_event("exit c2 137");
	delete ("c2", "");
	assert_int_equal(state_of("c1", "").status, POD_RUNNING);
	assert_int_equal(guest.vms, 1);
	/* A pause container does not end by these either. */
	ask_kill("c1", "", SIGUSR1);
	assert_int_equal(kill(state_of("c1", "").pid, SIGCONT), 0);
	assert_true(loop_run_once(t.loop, 1000) == 0 && state_of("c1", "").status == POD_RUNNING);
	ask_kill("c1", "", SIGKILL);
	assert_int_equal(state_of("c1", "").status, POD_STOPPED);
	delete ("c1", "");
	assert_int_equal(guest.vms, 0);
	for (size_t i = 0; i < guest.seen.len; i++)
		assert_null(strstr(guest.seen.v[i], "Container c1"));
}

static size_t count_proc_mounts(void)
{
	_cleanup_free_ char *text = NULL;
	size_t n = 0;

	assert_int_equal(file_read("/proc/thread-self/mounts", 1 << 20, &text, NULL), 0);
	for (const char *at = text; (at = strstr(at, " /proc proc ")); at++)
		n++;
	return n;
}

/* A stand-in with mounts of its own, that ends when its other end says so. */
static pid_t start_client(int *ret_fd)
{
	int pair[2];
	char byte;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0) {
		close(pair[0]);
		if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0 ||
		    mount("proc", "/proc", "proc", 0, NULL) < 0 || write(pair[1], "", 1) != 1)
			_exit(1);
		_exit(read(pair[1], &byte, 1) < 0);
	}
	close(pair[1]);
	assert_int_equal(read(pair[0], &byte, 1), 1);
	*ret_fd = pair[0];
	return pid;
}

static int try_create_for(const char *id, int standin, pid_t client, struct err *e)
{
	struct pod_container_params p = { .id = id, .bundle = tmp(id), .standin_fd = standin, .standin_pid = client };

	return try_create_with(&p, e);
}

/* podman run --pod P -v /proc:/host: the client's is not put over the owner's. */
static void test_proc_of_a_client(void **state)
{
	struct err e = { 0 };
	size_t before;
	pid_t client;
	int standin;

	more_mounts = "{\"destination\":\"/host\",\"type\":\"bind\",\"source\":\"/proc\"},";
	put_bundle("c1", SANDBOX);
	put_bundle("c2", MEMBER);
	make_pod();
	create("c1");
	before = count_proc_mounts();
	client = start_client(&standin);
	if (try_create_for("c2", standin, client, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(count_proc_mounts(), before);
	/* podman reads the group's files. */
	assert_true(strv_contains(&host.seen, "cgroup /pods/c2"));
	delete ("c2", "");
	assert_int_equal(waitpid(client, NULL, 0), client);
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
	Grpc__Process *p = process("{\"cwd\":\"/\",\"args\":[\"/bin/ps\"],\"selinuxLabel\":\"s\","
				   "\"apparmorProfile\":\"a\"}");
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
	assert_int_equal(try_kill("c1", "e1", SIGTERM, false, &e), -EBUSY);
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
	/* One that is never started goes without a trace in the guest, and has no status. */
	exec("c1", "e2");
	assert_int_equal(delete ("c1", "e2").status, 0);
	assert_false(seen("ExecProcess c1 e2 /bin/ps"));
	assert_string_equal(t.events.v[t.events.len - 1], "exec-added c1 e2");
	assert_int_equal(try_pause("c1", &e), 0);
	assert_int_equal(try_exec("c1", "e3", &e), -EBUSY);
	assert_non_null(strstr(e.text, "cannot exec in a paused container"));
	assert_int_equal(try_resume("c1", &e), 0);
	/* The pod ends with processes in it. */
	exec("c1", "e3");
	start("c1", "e3");
}

/* Some clients tell an exec's terminal its size before they start it. */
static void test_size_before_the_start(void **state)
{
	Grpc__Process *p = process("{\"cwd\":\"/\",\"args\":[\"/bin/sh\"],\"terminal\":true}");
	struct pod_io io = { .out = "/other", .terminal = true };
	struct err e = { 0 };

	make_pod();
	create("c1");
	start("c1", "");
	assert_int_equal(pod_exec(t.pod, "c1", "e1", p, &io, -1, 0, &e), 0);
	oci_process_free(p);
	assert_int_equal(pod_resize_pty(t.pod, "c1", "e1", 77, 33, &e), 0);
	assert_false(seen("TtyWinResize c1 e1 77x33"));
	start("c1", "e1");
	for (int i = 0; i < 2000 && !seen("TtyWinResize c1 e1 77x33"); i++)
		loop_run_once(t.loop, 10);
	assert_true(seen("TtyWinResize c1 e1 77x33"));
	exec("c1", "e2");
	assert_int_equal(pod_resize_pty(t.pod, "c1", "e2", 77, 33, &e), -EINVAL);
}

static void begin_start(const char *exec_id, struct outcome *s)
{
	char line[64];

	*s = (struct outcome){ 0 };
	snprintf(line, sizeof line, "ExecProcess c1 %s /bin/ps", exec_id);
	guest.at = "ExecProcess";
	guest.act = NEVER;
	exec("c1", exec_id);
	pod_start(t.pod, "c1", exec_id, on_pid, s);
	for (int i = 0; i < 2000 && !seen(line); i++)
		loop_run_once(t.loop, 10);
	assert_true(seen(line));
	guest.act = ANSWER;
}

/* A container that holds its execs up keeps the pod from nothing else. */
static void test_exec_that_does_not_come(void **state)
{
	struct outcome slow;
	struct err e = { 0 };
	uint64_t one = 1;

	make_pod();
	create("c1");
	start("c1", "");
	begin_start("e1", &slow);
	exec("c1", "e2");
	start("c1", "e2");
	assert_false(slow.done);
	assert_int_equal(state_of("c1", "e1").status, POD_CREATED);
	assert_int_equal(try_exec("c1", "e1", &e), -EEXIST);
	assert_int_equal(try_start("c1", "e1", &e), -EBUSY);
	assert_int_equal(try_delete("c1", "e1", false, &(struct deletion_outcome){ 0 }), -EBUSY);
	assert_false(slow.done);
	/* Whoever kills it waits for its end. */
	ask_kill("c1", "e1", SIGKILL);
	until_event("exit c1 e1 137");
	assert_int_equal(slow.result, -EREMOTEIO);
	assert_non_null(strstr(slow.e.text, "died before it was ready"));
	assert_int_equal(delete ("c1", "e1").status, 137);
	/* Nobody has asked for the end of one that could not be started. */
	begin_start("e3", &slow);
	assert_int_equal(try_delete("c1", "e3", true, &(struct deletion_outcome){ 0 }), 0);
	assert_true(slow.done);
	assert_int_equal(slow.result, -ESRCH);
	/* The VM ends. */
	begin_start("e4", &slow);
	(void)!write(guest.exit_fd, &one, sizeof one);
	assert_int_equal(await_outcome(&slow, NULL), -ESRCH);
	delete ("c1", "e4");
	delete ("c1", "e2");
	delete ("c1", "");
}

static void test_pod_ends_before_an_exec_comes(void **state)
{
	struct outcome one, other;

	make_pod();
	create("c1");
	start("c1", "");
	begin_start("e1", &one);
	begin_start("e2", &other);
	pod_free(take_ptr(t.pod));
	assert_true(one.done);
	assert_true(other.done);
}

/* What ends so quickly that its end comes before the answer to its start has been started all the same. */
static void test_end_before_the_answer(void **state)
{
	make_pod();
	create("c1");
	guest.at = "StartContainer";
	guest.act = END_FIRST;
	start("c1", "");
	guest.act = ANSWER;
	until_event("exit c1 7");
	list_is(&t.events, "event", (const char *const[]){ "create c1", "start c1", "exit c1 7", NULL });
	delete ("c1", "");
}

static void on_stats(int result, const Grpc__StatsContainerResponse *stats, const struct err *e, void *userdata)
{
}

/* Who pauses what ends meanwhile is told so, and nobody hears of a pause behind the end. */
static void test_end_before_the_pause(void **state)
{
	static struct outcome o; /* told at the latest when the pod ends */
	struct err e = { 0 };

	make_pod();
	create("c1");
	start("c1", "");
	guest.at = "PauseContainer";
	guest.act = HOLD;
	pod_pause(t.pod, "c1", on_done, &o);
	assert_int_equal(try_exec("c1", "e1", &e), -EBUSY);
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	assert_false(o.done);
	assert_int_equal(pod_stats(t.pod, "c1", on_stats, NULL, NULL), 0);
	assert_int_equal(await_outcome(&o, NULL), -EBUSY);
	assert_string_equal(o.e.text, "container c1 is not running");
	delete ("c1", "");
	list_is(&t.events, "event",
		(const char *const[]){ "create c1", "start c1", "exit c1 137", "delete c1 137", NULL });
}

static void until_asked(const char *line, size_t from)
{
	while (fake_asked_at(line, from) == SIZE_MAX)
		usleep(1000);
}

/* The guest does not answer to any of these. */
struct verbs {
	struct outcome pause, update, kill;
};

static void begin_verbs(struct verbs *v)
{
	Grpc__LinuxResources *r = calloc(1, sizeof *r);
	size_t before = fake_asked_so_far();

	*v = (struct verbs){ 0 };
	grpc__linux_resources__init(r);
	make_pod();
	create("c1");
	start("c1", "");
	guest.act = NEVER;
	guest.at = "PauseContainer";
	pod_pause(t.pod, "c1", on_done, &v->pause);
	until_asked("PauseContainer c1", before);
	guest.at = "UpdateContainer";
	pod_update(t.pod, "c1", r, on_done, &v->update);
	until_asked("UpdateContainer c1 memory 0 quota 0 cpus \"\"", before);
	guest.at = "SignalProcess";
	pod_kill(t.pod, "c1", "", SIGTERM, false, on_done, &v->kill);
	until_asked("SignalProcess c1 c1 15", before);
	guest.act = ANSWER;
	assert_false(v->pause.done || v->update.done || v->kill.done);
}

static void expect_verbs(const struct verbs *v, int result)
{
	assert_true(v->pause.done && v->update.done && v->kill.done);
	assert_int_equal(v->pause.result, result);
	assert_int_equal(v->update.result, result);
	assert_int_equal(v->kill.result, -ESRCH);
}

static void test_end_before_the_answers(void **state)
{
	static struct verbs v; /* told at the latest when the pod ends */
	uint64_t one = 1;

	/* The container. */
	begin_verbs(&v);
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
	expect_verbs(&v, -ESRCH);
	assert_string_equal(v.kill.e.text, "container c1 was deleted meanwhile");
	pod_free(take_ptr(t.pod));
	/* The pod. */
	begin_verbs(&v);
	pod_free(take_ptr(t.pod));
	expect_verbs(&v, -ESRCH);
	/* The VM. */
	begin_verbs(&v);
	assert_int_equal(write(guest.exit_fd, &one, sizeof one), 8);
	until_event("exit c1 255");
	await_outcome(&v.kill, NULL);
	expect_verbs(&v, -ENOTCONN);
	delete ("c1", "");
	(void)!read(guest.exit_fd, &one, sizeof one);
}

/* The guest does not say that it has started it. */
static void begin_first_start(struct outcome *o)
{
	size_t before = fake_asked_so_far();

	*o = (struct outcome){ 0 };
	make_pod();
	create("c1");
	guest.act = NEVER;
	guest.at = "StartContainer";
	pod_start(t.pod, "c1", "", on_pid, o);
	until_asked("StartContainer c1", before);
	guest.act = ANSWER;
	assert_false(o->done);
}

static void test_end_before_it_has_started(void **state)
{
	static struct outcome o; /* told at the latest when the pod ends */
	uint64_t one = 1;

	/* The VM. */
	begin_first_start(&o);
	assert_int_equal(try_delete("c1", "", false, &(struct deletion_outcome){ 0 }), -EBUSY);
	assert_int_equal(write(guest.exit_fd, &one, sizeof one), 8);
	until_event("exit c1 255");
	assert_int_equal(o.result, -ESRCH);
	list_is(&t.events, "event", (const char *const[]){ "create c1", "exit c1 255", NULL });
	delete ("c1", "");
	(void)!read(guest.exit_fd, &one, sizeof one);
	pod_free(take_ptr(t.pod));
	/* The container. */
	begin_first_start(&o);
	assert_int_equal(try_delete("c1", "", true, &(struct deletion_outcome){ 0 }), 0);
	assert_int_equal(o.result, -ESRCH);
	pod_free(take_ptr(t.pod));
	/* The pod. */
	begin_first_start(&o);
	pod_free(take_ptr(t.pod));
	assert_int_equal(o.result, -ESRCH);
}

/* The guest lets us wait for the creation of this container. */
static void begin_create(const char *id, struct outcome *o)
{
	struct pod_container_params p = { .id = id, .bundle = tmp(id), .standin_fd = -1 };
	_cleanup_free_ char *line =
		str_printf("CreateContainer %s %s root=" GUEST_SHARE_DIR "/%s-rootfs args=/bin/%s", id, id, id, id);
	size_t before = fake_asked_so_far();

	*o = (struct outcome){ 0 };
	guest.at = "CreateContainer";
	guest.act = HOLD;
	pod_create(t.pod, &p, on_pid, o);
	for (int i = 0; i < 2000 && fake_asked_at(line, before) == SIZE_MAX && !o->done; i++)
		loop_run_once(t.loop, 10);
	assert_false(o->done);
	guest.act = ANSWER;
}

static void make_pod_with_member(void)
{
	put_bundle("c1", SANDBOX);
	put_bundle("c2", MEMBER);
	make_pod();
	create("c1");
	start("c1", "");
}

/* Others live on meanwhile; it is there when it is there. */
static void test_creation_that_takes_long(void **state)
{
	_cleanup_strv_ struct strv ids = { 0 };
	static struct outcome o; /* told at the latest when the pod ends */
	struct err e = { 0 };

	make_pod_with_member();
	begin_create("c2", &o);
	exec("c1", "e1");
	start("c1", "e1");
	assert_int_equal(try_pause("c1", NULL), 0);
	assert_int_equal(try_resume("c1", NULL), 0);
	assert_false(o.done);
	assert_int_equal(pod_containers(t.pod, &ids, NULL), 0);
	assert_int_equal(ids.len, 1);
	assert_int_equal(try_create("c2", &e), -EEXIST);
	assert_int_equal(try_start("c2", "", &e), -EBUSY);
	assert_string_equal(e.text, "container c2 is being created");
	assert_int_equal(try_exec("c2", "e2", &e), -EBUSY);
	assert_int_equal(pod_wait(t.pod, "c2", "", on_waited, (void *)"c2", &e), -EBUSY);
	assert_int_equal(try_kill("c2", "", SIGKILL, false, &e), -EBUSY);
	assert_int_equal(try_delete("c2", "", true, &(struct deletion_outcome){ 0 }), -EBUSY);
	/* What happens to its stand-in has its effect later. */
	kill(state_of("c2", "").pid, SIGKILL);
	for (int i = 0; i < 5; i++)
		loop_run_once(t.loop, 10);
	assert_false(seen("SignalProcess c2 c2 9"));
	assert_int_equal(pod_stats(t.pod, "c1", on_stats, NULL, NULL), 0);
	assert_int_equal(await_outcome(&o, NULL), 0);
	until_event("exit c2 137");
	assert_true(seen("SignalProcess c2 c2 9"));
	delete ("c2", "");
}

static void test_vm_ends_while_creating(void **state)
{
	static struct outcome o; /* told at the latest when the pod ends */
	uint64_t one = 1;

	make_pod_with_member();
	begin_create("c2", &o);
	assert_int_equal(write(guest.exit_fd, &one, sizeof one), 8);
	assert_int_equal(await_outcome(&o, NULL), -ENOTCONN);
	assert_string_equal(o.e.text, "the fake guest panicked");
	until_event("exit c1 255");
	assert_false(strv_contains(&t.events, "exit c2 255"));
	assert_int_equal(pod_state(t.pod, "c2", "", &(struct pod_process_state){ 0 }, NULL), -ENOENT);
	delete ("c1", "");
	(void)!read(guest.exit_fd, &one, sizeof one);
}

static void test_pod_ends_while_creating(void **state)
{
	static struct outcome o; /* told at the latest when the pod ends */

	make_pod_with_member();
	begin_create("c2", &o);
	pod_free(take_ptr(t.pod));
	assert_true(o.done);
	assert_int_equal(o.result, -ECANCELED);
	make_pod();
	begin_create("c1", &o);
	pod_free(take_ptr(t.pod));
	assert_int_equal(o.result, -ECANCELED);
}

/* ---- a deletion that takes long ---- */

static struct deletion_outcome removal, second; /* told at the latest when the pod ends */

static void begin_delete_of_member(void)
{
	create("c2");
	start("c2", "");
	ask_kill("c2", "", SIGKILL);
	until_event("exit c2 137");
	removal = second = (struct deletion_outcome){ 0 };
	guest.creation = NULL;
	guest.at = "RemoveContainer";
	guest.act = HOLD;
	pod_delete(t.pod, "c2", "", false, on_deleted, &removal);
	for (int i = 0; i < 2000 && !guest.creation; i++)
		loop_run_once(t.loop, 10);
	guest.act = ANSWER;
	pod_delete(t.pod, "c2", "", false, on_deleted, &second);
	assert_false(removal.o.done || second.o.done);
}

static void begin_delete(void)
{
	make_pod_with_member();
	begin_delete_of_member();
}

/* Others live on meanwhile; it is there, and has stopped, until it is gone. */
static void test_deletion_that_takes_long(void **state)
{
	struct err e = { 0 };

	begin_delete();
	assert_int_equal(try_pause("c1", NULL), 0);
	assert_int_equal(try_resume("c1", NULL), 0);
	assert_int_equal(state_of("c2", "").status, POD_STOPPED);
	assert_int_equal(state_of("c2", "").exit.status, 137);
	assert_int_equal(pod_wait(t.pod, "c2", "", on_waited, (void *)"c2", &e), 0);
	until_event("waited c2 137");
	assert_int_equal(try_kill("c2", "", SIGKILL, false, &e), -ESRCH);
	assert_int_equal(try_exec("c2", "e2", &e), -EBUSY);
	assert_string_equal(e.text, "container c2 is being deleted");
	assert_int_equal(try_create("c2", &e), -EEXIST);
	assert_false(removal.o.done || second.o.done);
	assert_int_equal(pod_stats(t.pod, "c1", on_stats, NULL, NULL), 0);
	assert_int_equal(await_outcome(&removal.o, NULL), 0);
	assert_int_equal(removal.exit.status, 137);
	assert_int_equal(second.o.result, -ESRCH);
	assert_int_equal(pod_state(t.pod, "c2", "", &(struct pod_process_state){ 0 }, NULL), -ENOENT);
	assert_string_equal(t.events.v[t.events.len - 1], "delete c2 137");
	create("c2");
}

static void test_vm_ends_while_deleting(void **state)
{
	uint64_t one = 1;

	begin_delete();
	assert_int_equal(write(guest.exit_fd, &one, sizeof one), 8);
	assert_int_equal(await_outcome(&removal.o, NULL), 0);
	assert_int_equal(removal.exit.status, 137);
	assert_int_equal(second.o.result, -ESRCH);
	for (int i = 0; i < 2000 && state_of("c1", "").status != POD_STOPPED; i++)
		loop_run_once(t.loop, 10);
	assert_true(strv_contains(&t.events, "exit c1 255"));
	delete ("c1", "");
	(void)!read(guest.exit_fd, &one, sizeof one);
}

static void test_pod_ends_while_deleting(void **state)
{
	begin_delete();
	pod_free(take_ptr(t.pod));
	assert_true(removal.o.done && second.o.done);
	assert_int_equal(removal.o.result, 0);
	assert_int_equal(removal.exit.status, 137);
	assert_int_equal(second.o.result, -ESRCH);
}

/* The guest may be writing to it still, until it has heard that the pod ends. */
static void test_disk_is_left_to_the_guest(void **state)
{
	_cleanup_free_ char *mount =
		str_printf("{\"destination\":\"/dev/xvda\",\"type\":\"bind\",\"source\":\"%s\"},", tmp("disk"));

	if (mknod(tmp("disk"), S_IFBLK | 0640, makedev(7, 99)) < 0)
		skip();
	make_pod_with_member();
	more_mounts = mount;
	put_bundle("c2", MEMBER);
	more_mounts = "";
	begin_delete_of_member();
	pod_free(take_ptr(t.pod));
	assert_true(seen("DestroySandbox"));
	assert_int_equal(guest.devices.len, 1);
}

static void end_pod(int result, pid_t pid, const struct err *e, void *userdata)
{
	assert_int_equal(result, -EREMOTEIO);
	assert_true(pod_is_empty(t.pod));
	pod_free(take_ptr(t.pod));
	*(bool *)userdata = true;
}

/* As the Task service does it, to try again with another configuration. */
static void test_pod_ended_by_who_is_told(void **state)
{
	struct pod_container_params p = { .id = "c1", .bundle = tmp("c1"), .standin_fd = -1 };
	bool done = false;

	make_pod();
	guest.at = "CreateContainer";
	guest.act = REFUSE;
	guest.words = "no";
	pod_create(t.pod, &p, end_pod, &done);
	for (int i = 0; i < 2000 && !done; i++)
		loop_run_once(t.loop, 10);
	assert_true(done);
}

static void start_it(int result, pid_t pid, const struct err *e, void *userdata)
{
	assert_int_equal(result, 0);
	pod_start(t.pod, "c1", "", on_pid, userdata);
}

static void delete_it(int result, pid_t pid, const struct err *e, void *userdata)
{
	assert_int_equal(result, 0);
	delete (userdata, "");
}

static void create_and(const char *id, pod_create_fn fn, void *userdata)
{
	struct pod_container_params p = { .id = id, .bundle = tmp(id), .standin_fd = -1 };

	pod_create(t.pod, &p, fn, userdata);
}

/* As the Task service does it with what has come meanwhile; the guest is asked again, and goes with the last one. */
static void test_handled_by_who_is_told(void **state)
{
	struct outcome o = { 0 };

	put_bundle("c1", SANDBOX);
	put_bundle("c2", MEMBER);
	put_bundle("c3", SANDBOX);
	make_pod();
	create_and("c1", start_it, &o);
	assert_int_equal(await_outcome(&o, NULL), 0);
	create_and("c2", delete_it, (void *)"c2");
	until_event("delete c2 137");
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
	create_and("c3", delete_it, (void *)"c3");
	until_event("delete c3 137");
	assert_true(pod_is_empty(t.pod));
	assert_int_equal(guest.vms, 0);
}

/* What a failed start has begun goes on: a second one must not begin it again. */
static void test_start_again(void **state)
{
	struct err e = { 0 };

	make_pod();
	create("c1");
	guest.at = "StartContainer";
	guest.act = REFUSE;
	assert_true(try_start("c1", "", &e) < 0);
	guest.act = ANSWER;
	assert_int_equal(try_start("c1", "", &e), -EBUSY);
	assert_string_equal(e.text, "c1 has been started before");
	exec("c1", "e1");
	host.fail_at = "pump";
	assert_true(try_start("c1", "e1", &e) < 0);
	for (int i = 0; i < 2000 && !seen("SignalProcess c1 e1 9"); i++)
		loop_run_once(t.loop, 10);
	assert_true(seen("SignalProcess c1 e1 9"));
	host.fail_at = NULL;
	assert_int_equal(try_start("c1", "e1", &e), -EBUSY);
	delete ("c1", "e1");
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
}

/* Whoever reads the output of what ends before it is started sees the end of it; of the rest the pump tells. */
static void test_end_before_start(void **state)
{
	uint64_t one = 1;

	make_pod();
	create("c1");
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	assert_true(strv_contains(&host.seen, "hang up c1 "));
	delete ("c1", "");

	create("c1");
	strv_fini(&host.seen);
	start("c1", "");
	exec("c1", "e1");
	assert_int_equal(write(guest.exit_fd, &one, sizeof one), 8);
	until_event("exit c1 e1 255");
	assert_true(strv_contains(&host.seen, "hang up c1 e1"));
	assert_false(strv_contains(&host.seen, "hang up c1 "));
	delete ("c1", "");
	(void)!read(guest.exit_fd, &one, sizeof one);
}

/* A full /run, here a record that cannot be replaced: what is done is done. Only nothing new begins. */
static void test_record_cannot_be_written(void **state)
{
	struct err e = { 0 };

	make_pod();
	create("c1");
	assert_int_equal(unlink(tmp("state/p1/state.json")), 0);
	assert_int_equal(dir_make(tmp("state/p1/state.json/x"), 0700), 0);
	start("c1", "");
	assert_int_equal(try_pause("c1", &e), 0);
	assert_int_equal(try_resume("c1", &e), 0);
	exec("c1", "e1");
	delete ("c1", "e1");
	ask_kill("c1", "", SIGKILL);
	until_event("exit c1 137");
	delete ("c1", "");
	assert_true(try_create("c1", &e) < 0);
	assert_non_null(strstr(e.text, "state.json"));
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

/* ---- the owner's end ---- */

static void leave_dead(const char *id)
{
	struct pod_state s = { .id = (char *)id, .run_dir = tmp("sockets"), .cgroup = (char *)"/pods/c1" };
	struct state_dir *d;
	int status;
	pid_t pid;

	assert_int_equal(dir_make(tmp("sockets/x"), 0700), 0);
	assert_int_equal(pod_state_add_container(&s, "c1", "/b", NULL, 1), 0);
	assert_int_equal(pod_state_add_container(&s, "c2", "/b", "/pods/c2", 1), 0);
	pid = fork();
	if (pid == 0)
		_exit(state_dir_create(tmp("state"), id, &d, NULL) < 0 || state_dir_write(d, &s, NULL) < 0);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	pod_state_clear_containers(&s);
}

/* Each way of cleaning up after it finds all that it left. */
static void test_killed_owner(void **state)
{
	static const char *const on_host[] = { "cgroup /pods/c2",
					       "kill cgroup /pods/c2",
					       "remove cgroup /pods/c2",
					       "cgroup /pods/c1",
					       "kill cgroup /pods/c1",
					       "remove cgroup /pods/c1",
					       NULL };
	_cleanup_strv_ struct strv removed = { 0 };
	struct state_dir *next;

	leave_dead("p2");
	assert_int_equal(pod_cleanup(tmp("state"), "p2", NULL), 0);
	list_is(&host.seen, "step", on_host);
	assert_int_equal(access(tmp("sockets"), F_OK), -1);
	strv_fini(&host.seen);
	leave_dead("p2");
	assert_int_equal(state_prune(tmp("state"), &removed, NULL), 0);
	assert_int_equal(removed.len, 1);
	list_is(&host.seen, "step", on_host);
	assert_int_equal(access(tmp("sockets"), F_OK), -1);
	/* Another one takes its place. */
	strv_fini(&host.seen);
	leave_dead("p2");
	assert_int_equal(state_dir_create(tmp("state"), "p2", &next, NULL), 0);
	list_is(&host.seen, "step", on_host);
	assert_int_equal(access(tmp("sockets"), F_OK), -1);
	state_dir_remove(next);
}

/* ---- the VM's end ---- */

static void test_vm_death(void **state)
{
	struct err e = { 0 };
	pid_t client;
	int standin;
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
	assert_int_equal(try_kill("c1", "", SIGTERM, false, &e), -ESRCH);
	assert_int_equal(try_exec("c1", "e2", &e), -ESRCH);
	assert_string_equal(e.text, "the virtual machine has ended: the fake guest panicked");
	/* A client's stand-in is not kept for what cannot be. */
	put_bundle("c2", MEMBER);
	client = start_client(&standin);
	assert_int_equal(try_create_for("c2", standin, client, &e), -ESRCH);
	assert_int_equal(waitpid(client, NULL, 0), client);
	assert_int_equal(delete ("c1", "").status, 255);
	assert_true(pod_is_empty(t.pod));
	(void)!read(guest.exit_fd, &one, sizeof one);
}

/* A client kills before the owner's loop has heard of the VM's end: there is nothing any more that could be killed. */
static void kill_in(enum act act)
{
	uint64_t one;
	struct err e = { 0 };

	make_pod();
	create("c1");
	start("c1", "");
	guest.at = "SignalProcess";
	guest.act = act;
	assert_int_equal(try_kill("c1", "", SIGKILL, true, &e), -ESRCH);
	assert_string_equal(e.text, "process already finished");
	until_event("exit c1 255");
	delete ("c1", "");
	(void)!read(guest.exit_fd, &one, sizeof one);
}

/* The VM ends, and its agent does not answer any more. */
static void test_kill_after_the_vm(void **state)
{
	kill_in(DIE);
}

/* The agent's connection ends a moment before the VM does. */
static void test_kill_while_the_vm_ends(void **state)
{
	kill_in(DIE_SLOWLY);
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
	int r = try_create("c1", e);

	if (r == 0)
		r = try_start("c1", "", e);
	if (r < 0 && !pod_is_empty(t.pod))
		try_delete("c1", "", true, &(struct deletion_outcome){ 0 });
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

/* What a hook has made for a container that comes to nothing, another one takes back. */
static void test_hooks_of_what_fails(void **state)
{
	static const char *const steps[] = { "createRuntime", "cgroup", "attach" };
	struct err e = { 0 };

	put_bundle("c1", "\"hooks\":{\"createRuntime\":[{\"path\":\"/make\"}],\"createContainer\":[{\"path\":\"/in\"}],"
			 "\"poststop\":[{\"path\":\"/undo\"}]},");
	make_pod();
	for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
		strv_fini(&host.seen);
		host.fail_at = steps[i];
		assert_true(try_create("c1", &e) < 0);
		assert_true(strv_contains(&host.seen, "createRuntime /make c1 creating pid=yes"));
		assert_true(strv_contains(&host.seen, "poststop /undo c1 stopped pid=no"));
		assert_int_equal(
			strv_contains(&host.seen, "createContainer /in c1 creating pid=yes in the network in the root"),
			i > 0);
	}
	/* Nothing to be taken back. */
	strv_fini(&host.seen);
	host.fail_at = "standin";
	assert_true(try_create("c1", &e) < 0);
	assert_false(strv_contains(&host.seen, "poststop /undo c1 stopped pid=no"));
	host.fail_at = NULL;
	create("c1");
	strv_fini(&host.seen);
	delete ("c1", "");
	assert_true(strv_contains(&host.seen, "poststop /undo c1 stopped pid=no"));
}

/* "If any poststart hook fails, the runtime MUST generate an error, stop the container". */
static void test_poststart_fails(void **state)
{
	struct err e = { 0 };

	put_bundle("c1", "\"hooks\":{\"poststart\":[{\"path\":\"/h\"}]},");
	make_pod();
	create("c1");
	host.fail_at = "poststart";
	assert_true(try_start("c1", "", &e) < 0);
	assert_string_equal(e.text, "the fake host refuses: poststart");
	host.fail_at = NULL;
	assert_true(strv_contains(&host.seen, "poststart /h c1 running pid=yes"));
	for (int i = 0; i < 2000 && state_of("c1", "").status != POD_STOPPED; i++)
		loop_run_once(t.loop, 10);
	assert_true(seen("SignalProcess c1 c1 9"));
	assert_int_equal(state_of("c1", "").status, POD_STOPPED);
	delete ("c1", "");
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

/* ---- names ---- */

#define RESOLV_CONF                                                                                                    \
	"{\"destination\":\"/etc/resolv.conf\",\"type\":\"bind\",\"source\":\"%s\",\"options\":[\"rbind\"]},"

static void put_resolv_conf(const char *text)
{
	assert_int_equal(file_replace(tmp("resolv.conf"), text, strlen(text), 0644), 0);
}

static void end_of(const char *id)
{
	_cleanup_free_ char *event = str_printf("exit %s 137", id);

	ask_kill(id, "", SIGKILL);
	until_event(event);
	delete (id, "");
}

/* The guest is told which name server there is on the loopback of the pod's network: at the latest when it starts. */
static void test_names(void **state)
{
	_cleanup_free_ char *mount = str_printf(RESOLV_CONF, tmp("resolv.conf"));

	more_mounts = mount;
	put_bundle("c1", SINGLE);
	put_resolv_conf("nameserver 127.0.0.11\n");
	host.own_network = true;
	make_pod();
	create("c1");
	for (int i = 0; i < 500 && !seen("Next 127.0.0.11"); i++)
		loop_run_once(t.loop, 10);
	assert_true(seen("Next 127.0.0.11"));
	put_resolv_conf("nameserver 127.0.0.12\n");
	start("c1", "");
	assert_true(fake_asked_at("Next 127.0.0.12", 0) < fake_asked_at("StartContainer c1", 0));
	end_of("c1");
	/* Nor when its network is the one that we are in. */
	host.own_network = false;
	put_resolv_conf("nameserver 127.0.0.13\n");
	create("c1");
	start("c1", "");
	assert_false(seen("Next 127.0.0.13"));
	end_of("c1");
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_ordinary_life),
		T(test_what_is_shown),
		T(test_what_is_shown_of_copies),
		T(test_ports_are_forwarded),
		T(test_mounts_that_follow),
		T(test_mounts_that_are_ours),
		T(test_mounts_that_were_there),
		T(test_two_containers),
		T(test_shares_network),
		T(test_shares_all),
		T(test_shares_with_another_agent),
		T(test_targets_a_container),
		T(test_targets_with_another_agent),
		T(test_shares_too_little),
		T(test_shares_less_in_pod),
		T(test_shares_limits),
		T(test_comes_again),
		T(test_id_comes_again),
		T(test_two_starts),
		T(test_sandbox_only),
		T(test_exec),
		T(test_size_before_the_start),
		T(test_exec_that_does_not_come),
		T(test_pod_ends_before_an_exec_comes),
		T(test_end_before_the_answer),
		T(test_end_before_the_pause),
		T(test_end_before_the_answers),
		T(test_end_before_it_has_started),
		T(test_creation_that_takes_long),
		T(test_vm_ends_while_creating),
		T(test_pod_ends_while_creating),
		T(test_deletion_that_takes_long),
		T(test_vm_ends_while_deleting),
		T(test_pod_ends_while_deleting),
		T(test_disk_is_left_to_the_guest),
		T(test_pod_ended_by_who_is_told),
		T(test_handled_by_who_is_told),
		T(test_start_again),
		T(test_end_before_start),
		T(test_record_cannot_be_written),
		T(test_output_comes_first),
		T(test_killed_owner),
		T(test_vm_death),
		T(test_agent_hangs_up),
		T(test_kill_after_the_vm),
		T(test_kill_while_the_vm_ends),
		T(test_host_fails),
		T(test_driver_fails),
		T(test_guest_fails),
		T(test_hooks_of_what_fails),
		T(test_poststart_fails),
		T(test_proc_of_a_client),
		T(test_names),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("pod", tests, NULL, NULL);
}
