/* SPDX-License-Identifier: Apache-2.0 */
/* Processes with namespaces of their own stand for the stand-ins of living pods. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "pod/pod_join.h"
#include "sys/namespaces.h"

static char root[] = "/tmp/caisson-join-XXXXXX";

/* p1 of no namespace of containerd's: x, and y which came later; p2 of another one, and p3 of none: one each. */
static struct {
	pid_t x, y, p2, p3;
	struct state_dir *dirs[3];
} t;

static pid_t fork_standin(int flags)
{
	pid_t pid = clone_process((unsigned)flags, -1);

	if (pid == 0) {
		pause();
		_exit(0);
	}
	assert_true(pid > 0);
	return pid;
}

static struct state_dir *keep(const char *id, const char *namespace, const char *const *ids, const pid_t *pids)
{
	struct pod_state s = { .id = (char *)id, .namespace = (char *)namespace };
	struct state_dir *d;

	for (size_t i = 0; ids[i]; i++)
		assert_int_equal(pod_state_add_container(&s, ids[i], "/b", NULL, pids[i]), 0);
	assert_int_equal(state_dir_create(root, id, &d, NULL), 0);
	assert_int_equal(state_dir_write(d, &s, NULL), 0);
	pod_state_clear_containers(&s);
	return d;
}

static int set_up(void **state)
{
	if (geteuid() != 0)
		return 0;
	assert_non_null(mkdtemp(root));
	t.x = fork_standin(CLONE_NEWNET | CLONE_NEWPID);
	/* As one that was made in the same network. */
	t.y = fork_standin(CLONE_NEWPID);
	t.p2 = fork_standin(CLONE_NEWNET | CLONE_NEWPID);
	t.p3 = fork_standin(CLONE_NEWNET | CLONE_NEWPID);
	t.dirs[0] = keep("p1", "", (const char *[]){ "gone", "x", "y", NULL }, (pid_t[]){ 0, t.x, t.y });
	t.dirs[1] = keep("p2", "k8s.io", (const char *[]){ "z", NULL }, &t.p2);
	t.dirs[2] = keep("p3", "", (const char *[]){ "w", NULL }, &t.p3);
	return 0;
}

static int tear_down(void **state)
{
	if (geteuid() != 0)
		return 0;
	for (int i = 0; i < 3; i++)
		state_dir_remove(t.dirs[i]);
	kill(t.x, SIGKILL);
	kill(t.y, SIGKILL);
	kill(t.p2, SIGKILL);
	kill(t.p3, SIGKILL);
	while (wait(NULL) > 0)
		;
	return dir_remove(root);
}

/* Namespaces as "TYPE=PATH", or "TYPE" for a new one. The pod, "" for none; NULL: refused. */
static char *find(const char *namespace, struct err *e, const char *const *namespaces)
{
	Grpc__LinuxNamespace ns[8], *list[8];
	Grpc__Linux l = GRPC__LINUX__INIT;
	Grpc__Spec spec = GRPC__SPEC__INIT;
	static char text[8][128];
	char *sandbox = NULL;
	int r;

	for (l.n_namespaces = 0; namespaces[l.n_namespaces]; l.n_namespaces++) {
		size_t i = l.n_namespaces;
		char *equals;

		snprintf(text[i], sizeof text[i], "%s", namespaces[i]);
		grpc__linux_namespace__init(&ns[i]);
		ns[i].type = text[i];
		equals = strchr(text[i], '=');
		if (equals) {
			*equals = '\0';
			ns[i].path = equals + 1;
		}
		list[i] = &ns[i];
	}
	l.namespaces = list;
	spec.linux = &l;
	*e = (struct err){ 0 };
	r = join_find_pod(root, namespace, &spec, &sandbox, e);
	if (r < 0) {
		assert_int_equal(r, -ENOTSUP);
		assert_null(sandbox);
		return NULL;
	}
	return sandbox ? sandbox : strdup("");
}

static char *of(pid_t pid, const char *type)
{
	static char buf[8][64];
	static unsigned next;
	char *text = buf[next++ % 8];

	snprintf(text, sizeof buf[0], "%s=/proc/%d/ns/%s", type, (int)pid, namespace_proc_name(namespace_flag(type)));
	return text;
}

#define FIND(namespace, ...) find(namespace, &e, (const char *const[]){ __VA_ARGS__, NULL })
#define IS(expected, namespace, ...)                                                                                   \
	do {                                                                                                           \
		_cleanup_free_ char *found_ = FIND(namespace, __VA_ARGS__);                                            \
		assert_non_null(found_);                                                                               \
		assert_string_equal(found_, expected);                                                                 \
	} while (0)
#define REFUSED(words, namespace, ...)                                                                                 \
	do {                                                                                                           \
		assert_null(FIND(namespace, __VA_ARGS__));                                                             \
		if (!strstr(e.text, words))                                                                            \
			fail_msg("no \"%s\" in \"%s\"", words, e.text);                                                \
	} while (0)

static void test_found(void **state)
{
	struct err e;
	char other_name[64];

	if (geteuid() != 0)
		skip();
	IS("", NULL, "mount", "network", "pid", "ipc", "uts");
	IS("", NULL, "mount", "network=/run/netns/of-nobody", "pid");
	IS("", NULL, "mount", "network=/proc/self/ns/net");
	IS("p1", NULL, "mount", of(t.x, "network"), "pid");
	IS("p1", NULL, of(t.x, "network"), of(t.x, "pid"), of(t.y, "ipc"), of(t.x, "uts"));
	/* By another name, as engines have for namespaces that they make. */
	snprintf(other_name, sizeof other_name, "%s/netns", root);
	assert_int_equal(file_replace(other_name, "", 0, 0600), 0);
	assert_int_equal(mount(strchr(of(t.x, "network"), '/'), other_name, NULL, MS_BIND, NULL), 0);
	snprintf(other_name, sizeof other_name, "network=%s/netns", root);
	IS("p1", NULL, other_name);
	assert_int_equal(umount(strchr(other_name, '/')), 0);
	IS("p2", "k8s.io", of(t.p2, "network"));
}

static void test_refused(void **state)
{
	struct err e;

	if (geteuid() != 0)
		skip();
	REFUSED("add --network container:x", NULL, "network", of(t.x, "pid"));
	REFUSED("add --network container:y", NULL, of(t.y, "ipc"));
	REFUSED("leave --pid out", NULL, "network", of(getpid(), "pid"));
	REFUSED("leave --ipc out", NULL, of(t.x, "network"), of(getpid(), "ipc"));
	/* Nobody's, and each namespace of containerd's has its own containers. */
	REFUSED("processes would lose it", NULL, of(getpid(), "network"));
	REFUSED("processes would lose it", NULL, of(t.p2, "network"));
	REFUSED("processes would lose it", "k8s.io", of(t.x, "network"));
	/* Not in one virtual machine. */
	REFUSED("leave --pid out", NULL, of(t.x, "network"), of(t.p3, "pid"));
	REFUSED("", NULL, of(t.p3, "network"), of(t.x, "pid"));
}

/* A pod that has ended has nothing to share. */
static void test_dead(void **state)
{
	struct err e;

	if (geteuid() != 0)
		skip();
	IS("p3", NULL, of(t.p3, "network"));
	state_dir_remove(take_ptr(t.dirs[2]));
	REFUSED("processes would lose it", NULL, of(t.p3, "network"));
}

/* Who looks for what it is itself. */
static void test_but(void **state)
{
	Grpc__LinuxNamespace ns = GRPC__LINUX_NAMESPACE__INIT, *list = &ns;
	Grpc__Linux l = GRPC__LINUX__INIT;
	Grpc__Spec spec = GRPC__SPEC__INIT;
	struct pod_state s = { 0 };
	struct join j;

	if (geteuid() != 0)
		skip();
	ns.type = (char *)"network";
	ns.path = strchr(of(t.x, "network"), '/');
	l.namespaces = &list;
	l.n_namespaces = 1;
	spec.linux = &l;
	assert_int_equal(pod_state_add_container(&s, "x", "/b", NULL, t.x), 0);
	assert_true(join_in_pod(&s, &spec, "y", &j));
	assert_int_equal(j.of[JOIN_NETWORK], 0);
	assert_int_equal(j.of[JOIN_PID], -1);
	assert_false(join_in_pod(&s, &spec, "x", &j));
	pod_state_clear_containers(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_found),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_but),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
