/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting a sandbox, step by step, with a fake driver (no VM behind it) and a fake agent (a ttrpc server in a thread).
 * Every step is made to fail in every way that a guest and a user have, and each memory allocation in turn: there is
 * always one error, and nothing is left: no descriptor, process, mount or file.
 *
 * Linked with --wrap for the allocators and time limits (codec/hurry.h): see the meson.build.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "base/log.h"
#include "codec/hurry.h"
#include "codec/ttrpc.h"
#include "oci/spec.h"
#include "pod/fake_guest.h"
#include "pod/sandbox.h"

/* ---- the Nth allocation of the testing thread fails ---- */

static __thread unsigned allocations_left; /* 0: not counting */
static __thread bool allocation_failed;

static bool deny(void)
{
	if (!allocations_left || --allocations_left)
		return false;
	allocation_failed = true;
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
int __real_vasprintf(char **ret, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_vasprintf(char **ret, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));

void *__wrap_malloc(size_t n)
{
	return deny() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return deny() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return deny() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return deny() ? NULL : __real_strdup(s);
}

int __wrap_vasprintf(char **ret, const char *fmt, va_list ap)
{
	return deny() ? -1 : __real_vasprintf(ret, fmt, ap);
}

/* ---- time limits that a test can wait for ---- */

/* A VM that has closed its connections is given a moment to end. Here it stays. */
static bool vm_stays;

bool __real_vm_wait_exit(const struct vm *vm, int timeout_ms);
bool __wrap_vm_wait_exit(const struct vm *vm, int timeout_ms);

bool __wrap_vm_wait_exit(const struct vm *vm, int timeout_ms)
{
	assert_true(timeout_ms <= 5000);
	return __real_vm_wait_exit(vm, vm_stays ? 0 : timeout_ms);
}

/* ---- the test's own state ---- */

static struct {
	char *dir, *run_dir;
	struct config *config;
	struct plan *plan;
	struct loop *loop;
} t;

static int net_fd = -1; /* the VM is connected to passt */

/* As a VMM does at its start. */
static void connect_network(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	if (!t.plan->passt_socket)
		return;
	snprintf(a.sun_path, sizeof a.sun_path, "%s", t.plan->passt_socket);
	net_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_return_code(connect(net_fd, (struct sockaddr *)&a, sizeof a), errno);
}

static void disconnect_network(void)
{
	fd_close(&net_fd);
}

/* ---- set-up, and what must be left: nothing ---- */

#define SPEC                                                                                                           \
	"{\"ociVersion\":\"1.1.0\",\"process\":{\"cwd\":\"/\",\"args\":[\"/bin/true\"]},\"root\":{\"path\":\"r\"},"    \
	"\"linux\":{}}"

static char *tmp(const char *name)
{
	static char path[4][256];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, sizeof path[0], "%s/%s", t.dir, name);
	return p;
}

static int set_up(void **state)
{
	char dir[] = "/tmp/sandbox-test-XXXXXX";

	t.dir = strdup(mkdtemp(dir));
	t.run_dir = strdup(tmp("run"));
	fake_guest_init(t.dir);
	guest.on_start = connect_network;
	guest.on_free = disconnect_network;
	assert_int_equal(mkdir(t.run_dir, 0755), 0);
	assert_int_equal(mkdir(tmp("root"), 0755), 0);
	assert_int_equal(file_replace(tmp("image"), "XFSB", 4, 0644), 0);
	assert_int_equal(file_replace(tmp("kernel"), "k", 1, 0644), 0);
	assert_int_equal(file_replace(tmp("virtiofsd"), "#!/bin/sh\nexec sleep 1000\n", 26, 0755), 0);
	hurry = vm_stays = false;
	return loop_new(&t.loop, NULL);
}

static int tear_down(void **state)
{
	plan_free(take_ptr(t.plan));
	config_free(take_ptr(t.config));
	loop_free(t.loop);
	fake_guest_fini();
	dir_remove(t.dir);
	free(t.dir);
	free(t.run_dir);
	return 0;
}

static int try_plan(const char *shared_fs, const char *rootfs, const char *net, bool writable, struct err *e)
{
	struct plan_request q = { .id = "c1",
				  .run_dir = t.run_dir,
				  .driver = &fake_driver,
				  .rootfs = rootfs,
				  .rootfs_writable = writable,
				  .net = net,
				  .hostname = "box" };
	int r = oci_spec_parse(SPEC, strlen(SPEC), "config.json", &q.spec, NULL, e);

	if (r < 0)
		return r;
	q.config = t.config;
	return plan_build(&q, &t.plan, e);
}

static void load_config(const char *shared_fs)
{
	_cleanup_free_ char *body =
		str_printf("[hypervisor.qemu]\nvirtio_fs_daemon = \"%s\"\ndefault_memory = 128\n"
			   "default_vcpus = 1\nkernel = \"%s\"\ninitrd = \"%s\"\nshared_fs = \"%s\"\n%s",
			   tmp("virtiofsd"), tmp("kernel"), tmp("kernel"), shared_fs,
			   hurry ? "[agent.kata]\nreconnect_timeout_ms = 2000\n" : "");
	struct config_load_options o = { .body = body };
	struct err e = { 0 };

	if (config_load(&o, &t.config, NULL, &e) < 0)
		fail_msg("%s", e.text);
}

static void make_plan(const char *shared_fs, const char *rootfs, const char *net, bool writable)
{
	struct err e = { 0 };

	load_config(shared_fs);
	if (try_plan(shared_fs, tmp(rootfs), net, writable, &e) < 0)
		fail_msg("%s", e.text);
}

/* fds: how many there were before. The agent's side of a connection may take a moment to go. */
static void nothing_left(unsigned fds)
{
	_cleanup_closedir_ DIR *d = NULL;
	_cleanup_free_ char *mounts = NULL;
	struct dirent *entry;

	assert_int_equal(count_fds(), fds);
	assert_int_equal(guest.vms, 0);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(file_read("/proc/thread-self/mounts", 1 << 20, &mounts, NULL), 0);
	assert_null(strstr(mounts, t.dir));
	d = opendir(t.run_dir);
	while ((entry = readdir(d)))
		if (entry->d_name[0] != '.')
			fail_msg("%s is left in the run directory", entry->d_name);
}

/* As cli/run.c does it. */
static int start_all(struct err *e)
{
	_cleanup_(sandbox_free_p) struct sandbox *s = NULL;
	int r = sandbox_start(t.loop, t.plan, guest.interrupt_fd, &s, e);

	if (r == 0)
		r = sandbox_create_container(s, t.plan->container, e);
	if (r == 0)
		r = sandbox_start_container(s, t.plan->container, e);
	return r;
}

static void seen_is(const char *const *expected)
{
	size_t n = 0;

	for (; expected[n]; n++)
		if (n >= guest.seen.len || !str_eq(guest.seen.v[n], expected[n]))
			fail_msg("request %zu is \"%s\", not \"%s\"", n,
				 n < guest.seen.len ? guest.seen.v[n] : "(none)", expected[n]);
	assert_int_equal(guest.seen.len, n);
}

static int readable(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0);
}

/* ---- the good way ---- */

#define SHARE "/run/kata-containers/shared/containers"

static void test_all_steps_copied(void **state)
{
	static const char *const expected[] = {
		"Check",
		"SetGuestDateTime now",
		"CreateSandbox c1 box dns=10.0.2.3",
		"  module i915, 2: enable_ppgtt=0 a=1,2",
		"  module e1000e, 0: - -",
		"UpdateInterface eth0 10.0.2.15/24 mtu 1500",
		"UpdateRoutes 1 \"\" via 10.0.2.2 dev eth0",
		"CopyFile " SHARE "/c1-hosts 100644",
		"CopyFile " SHARE "/c1-hostname 100644",
		"CopyFile " SHARE "/c1-resolv.conf 100644",
		"CreateContainer c1 c1 root=/run/kata-containers/c1/rootfs args=/bin/true",
		"  storage blk 02/01 xfs /run/kata-containers/sandbox/image-c1 ro",
		"  storage ephemeral tmpfs tmpfs /run/kata-containers/sandbox/layer-c1 mode=0755",
		"  storage overlayfs overlay overlay /run/kata-containers/c1/rootfs "
		"lowerdir=/run/kata-containers/sandbox/image-c1/.",
		"StartContainer c1",
		NULL,
	};
	struct sandbox *s = NULL;
	struct err e = { 0 };
	unsigned fds = count_fds();
	uint64_t one = 1;

	make_plan("none", "image", "user", false);
	assert_int_equal(strv_add(&t.config->agent.kernel_modules, "  i915 enable_ppgtt=0  a=1,2 "), 0);
	assert_int_equal(strv_add(&t.config->agent.kernel_modules, " "), 0);
	assert_int_equal(strv_add(&t.config->agent.kernel_modules, "e1000e"), 0);
	/* passt needs its program: the VMM's own stack will do. */
	free(take_ptr(t.plan->passt_socket));
	agent_start();
	if (sandbox_start(t.loop, t.plan, guest.interrupt_fd, &s, &e) < 0 ||
	    sandbox_create_container(s, t.plan->container, &e) < 0 ||
	    sandbox_start_container(s, t.plan->container, &e) < 0)
		fail_msg("%s", e.text);
	/* A signal is the container's now; the VM's end is not. */
	assert_int_equal(write(guest.interrupt_fd, &one, sizeof one), 8);
	assert_int_equal(readable(sandbox_end_fd(s)), 0);
	assert_int_equal(write(guest.exit_fd, &one, sizeof one), 8);
	assert_int_equal(readable(sandbox_end_fd(s)), 1);
	assert_int_equal(sandbox_explain_end(s, -ENOTCONN, &e), -ENOTCONN);
	assert_string_equal(e.text, "the fake guest panicked");
	assert_true(s->times.begin <= s->times.vm_created && s->times.vm_created <= s->times.agent_up &&
		    s->times.agent_up <= s->times.container_started);
	sandbox_free(s);
	agent_stop();
	seen_is(expected);
	nothing_left(fds);
}

static void test_block_addresses(void **state)
{
	static const struct {
		enum vm_address_kind kind;
		const char *address, *expected;
	} cases[] = {
		{ VM_ADDRESS_PCI, "02/01", "  storage blk 02/01 xfs" },
		{ VM_ADDRESS_SCSI, "0:3", "  storage scsi 0:3 xfs" },
		{ VM_ADDRESS_DEVICE, "/dev/vdb", "  storage mmioblk /dev/vdb xfs" },
		{ VM_ADDRESS_PMEM, "/dev/pmem1", "  storage nvdimm /dev/pmem1 xfs" },
	};
	struct err e = { 0 };
	unsigned fds = count_fds();

	make_plan("none", "image", "none", false);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		guest.address_kind = cases[i].kind;
		guest.address = cases[i].address;
		strv_fini(&guest.seen);
		agent_start();
		if (start_all(&e) < 0)
			fail_msg("%s", e.text);
		agent_stop();
		assert_int_equal(guest.seen.len, 10);
		assert_int_equal(strncmp(guest.seen.v[6], cases[i].expected, strlen(cases[i].expected)), 0);
		nothing_left(fds);
	}
}

/* What is written to an image must reach it before the VM goes. */
static void test_writable_image_is_synced(void **state)
{
	struct err e = { 0 };
	unsigned fds = count_fds();

	make_plan("none", "image", "none", true);
	agent_start();
	if (start_all(&e) < 0)
		fail_msg("%s", e.text);
	agent_stop();
	assert_string_equal(guest.seen.v[guest.seen.len - 2], "RemoveContainer c1");
	assert_string_equal(guest.seen.v[guest.seen.len - 1], "DestroySandbox");
	nothing_left(fds);
}

/* A disk of which nobody knows whether it came is not left to the VM. */
static void test_late_disk(void **state)
{
	struct vm_device d = { .kind = VM_DEVICE_BLOCK, .id = (char *)"late", .u.block = { .path = (char *)"/x" } };
	struct vm_device *devices[] = { &d };
	struct plan_container later = { .id = (char *)"c2", .devices = devices, .n_devices = 1, .image_fd = -1 };
	struct sandbox *s = NULL;
	struct err e = { 0 };
	unsigned fds = count_fds();

	make_plan("none", "image", "none", false);
	agent_start();
	if (sandbox_start(t.loop, t.plan, guest.interrupt_fd, &s, &e) < 0)
		fail_msg("%s", e.text);
	guest.fail_at = "plug";
	assert_int_equal(sandbox_create_container(s, &later, &e), -ETIMEDOUT);
	assert_true(strv_contains(&guest.devices, "remove late"));
	guest.fail_at = NULL;
	sandbox_free(s);
	agent_stop();
	nothing_left(fds);
}

/* A guest that keeps one is not waited for any more. */
static void test_kept_disks(void **state)
{
	struct vm_device a = { .id = (char *)"a", .address_kind = VM_ADDRESS_PCI }, b = a, *devices[] = { &a, &b };
	struct plan_container later = {
		.id = (char *)"c2", .devices = devices, .n_devices = 2, .image_fd = -1, .there = true
	};
	struct sandbox *s = NULL;
	struct err e = { 0 };
	unsigned fds = count_fds();

	b.id = (char *)"b";
	make_plan("none", "image", "none", false);
	agent_start();
	if (sandbox_start(t.loop, t.plan, guest.interrupt_fd, &s, &e) < 0)
		fail_msg("%s", e.text);
	guest.keeps = true;
	log_set_level(LOG_LEVEL_ERROR);
	sandbox_forget_container(s, &later);
	log_set_level(LOG_LEVEL_INFO);
	assert_int_equal(guest.devices.len, 2);
	assert_string_equal(guest.devices.v[0], "remove a and wait");
	assert_string_equal(guest.devices.v[1], "remove b");
	assert_int_equal(s->vm->unplug_ms, 0);
	sandbox_free(s);
	agent_stop();
	nothing_left(fds);
}

static void test_staged_share(void **state)
{
	struct sandbox *s = NULL;
	struct err e = { 0 };
	unsigned fds = count_fds();

	if (geteuid() != 0)
		skip();
	make_plan("virtio-fs", "root", "none", false);
	agent_start();
	if (sandbox_start(t.loop, t.plan, -1, &s, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(access(tmp("run/shared/c1-rootfs"), F_OK), 0);
	assert_int_equal(access(tmp("run/shared/c1-hosts"), R_OK), 0);
	/* Read-only: the container's writes go to the layer above. */
	assert_int_equal(mkdir(tmp("run/shared/c1-rootfs/x"), 0755), -1);
	assert_int_equal(errno, EROFS);
	assert_int_equal(kill(t.plan->share.daemon_pid, 0), 0);
	sandbox_free(s);
	agent_stop();
	assert_string_equal(guest.seen.v[3], "  storage virtio-fs kataShared virtiofs " SHARE " nodev");
	nothing_left(fds);
}

static void test_file_server_ends(void **state)
{
	struct err e = { 0 };
	unsigned fds = count_fds();

	if (geteuid() != 0)
		skip();
	make_plan("virtio-fs", "root", "none", false);
	assert_int_equal(file_replace(tmp("virtiofsd"), "#!/bin/sh\nexit 3\n", 17, 0755), 0);
	guest.at = "Check";
	guest.act = NEVER;
	agent_start();
	assert_int_equal(start_all(&e), -EPIPE);
	agent_stop();
	assert_string_equal(e.text, "the file server of the container (virtio-fs) has ended");
	nothing_left(fds);
}

/* A VM that ends closes its connections first: the server is gone a while before it. */
static void test_file_server_is_left(void **state)
{
	struct err e = { 0 };
	unsigned fds = count_fds();
	uint64_t drain, one = 1;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	make_plan("virtio-fs", "root", "none", false);
	assert_int_equal(file_replace(tmp("virtiofsd"), "#!/bin/sh\nexit 0\n", 17, 0755), 0);
	guest.at = "Check";
	guest.act = NEVER;
	pid = fork();
	if (pid == 0) {
		usleep(700000);
		_exit(write(guest.exit_fd, &one, sizeof one) != sizeof one);
	}
	agent_start();
	assert_true(start_all(&e) < 0);
	agent_stop();
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_string_equal(e.text, "the fake guest panicked");
	(void)!read(guest.exit_fd, &drain, sizeof drain);
	nothing_left(fds);
}

static void test_staging_fails(void **state)
{
	struct err e = { 0 };
	unsigned fds = count_fds();
	_cleanup_free_ char *expected = NULL;
	char *item;

	if (geteuid() != 0)
		skip();
	make_plan("virtio-fs", "root", "none", false);
	/* Gone since it was planned. */
	item = t.plan->share.items[0].source;
	t.plan->share.items[0].source = strdup("/nonexistent");
	free(item);
	assert_int_equal(start_all(&e), -ENOENT);
	assert_string_equal(e.text, "cannot share /nonexistent: No such file or directory");
	nothing_left(fds);
	free(t.plan->share.items[0].source);
	t.plan->share.items[0].source = strdup(tmp("root"));
	/* A run directory deep down. */
	item = t.plan->share.socket;
	t.plan->share.socket = str_printf("%s/%0120d", t.run_dir, 0);
	expected = str_printf("cannot listen at %s: the name is too long", t.plan->share.socket);
	assert_int_equal(start_all(&e), -ENAMETOOLONG);
	assert_string_equal(e.text, expected);
	nothing_left(fds);
	free(t.plan->share.socket);
	t.plan->share.socket = item;
	/* Something is where the staging folder goes. */
	assert_int_equal(mkdir(tmp("run/shared"), 0755), 0);
	assert_int_equal(start_all(&e), -EEXIST);
	assert_non_null(strstr(e.text, "cannot make "));
	assert_int_equal(rmdir(tmp("run/shared")), 0);
	nothing_left(fds);
	unlink(tmp("virtiofsd"));
	assert_int_equal(start_all(&e), -ENOENT);
	assert_non_null(strstr(e.text, "is not an executable file"));
	nothing_left(fds);
	/* The file server starts, the VM does not. */
	assert_int_equal(file_replace(tmp("virtiofsd"), "#!/bin/sh\nexec sleep 1000\n", 26, 0755), 0);
	guest.fail_at = "start";
	assert_int_equal(start_all(&e), -EIO);
	nothing_left(fds);
}

/* ---- passt ---- */

static void test_passt(void **state)
{
	static const char good[] =
		"#!/bin/sh\nfor a; do [ -S \"/proc/self/fd/${a#--fd=}\" ] && exec sleep 1000; done\nexit 1\n";
	_cleanup_free_ char *path = str_printf("%s:%s", t.dir, getenv("PATH")), *before = strdup(getenv("PATH"));
	struct passt passt = PASST_NONE;
	struct err e = { 0 };
	unsigned fds = count_fds();
	struct pollfd ended;

	if (access("/usr/bin/passt", X_OK) < 0)
		skip();
	setenv("PATH", path, 1);
	make_plan("none", "image", "passt", false);
	assert_int_equal(file_replace(tmp("passt"), good, strlen(good), 0755), 0);
	agent_start();
	if (start_all(&e) < 0)
		fail_msg("%s", e.text);
	agent_stop();
	nothing_left(fds);
	/* One that ends is noticed. */
	assert_int_equal(file_replace(tmp("passt"), "#!/bin/sh\nexit 1\n", 17, 0755), 0);
	assert_int_equal(dir_make(t.run_dir, 0700), 0);
	assert_int_equal(passt_listen(&passt, t.plan, &e), 0);
	connect_network();
	assert_int_equal(passt_start(&passt, t.plan, -1, &e), 0);
	ended = (struct pollfd){ .fd = passt.pidfd, .events = POLLIN };
	assert_int_equal(poll(&ended, 1, 10000), 1);
	assert_int_equal(passt_check(&passt, &e), -ECHILD);
	assert_string_equal(e.text,
			    "passt ended at once (is a published port in use?); --log-level debug shows what it "
			    "says, and --net none or a tap does without it");
	passt_stop(&passt);
	fd_close(&net_fd);
	/* A VM that is to be given up is not waited for. */
	assert_int_equal(passt_listen(&passt, t.plan, &e), 0);
	(void)!write(guest.interrupt_fd, &(uint64_t){ 1 }, sizeof(uint64_t));
	assert_int_equal(passt_start(&passt, t.plan, guest.interrupt_fd, &e), -ECANCELED);
	(void)!read(guest.interrupt_fd, &(uint64_t){ 0 }, sizeof(uint64_t));
	passt_stop(&passt);
	nothing_left(fds);
	setenv("PATH", before, 1);
}

/* ---- every phase × everything that can happen ---- */

static const char *const phases[] = { "Check",        "SetGuestDateTime", "CreateSandbox",   "UpdateInterface",
				      "UpdateRoutes", "CopyFile",         "CreateContainer", "StartContainer" };
#define N_PHASES (sizeof phases / sizeof phases[0])

/* fmt: %s is the phase. */
static void fails_in(const char *phase, enum act act, int code, const char *text)
{
	unsigned fds = count_fds();
	struct err e = { 0 };
	uint64_t drain;
	int r;

	guest.at = phase;
	guest.act = act;
	strv_fini(&guest.seen);
	agent_start();
	r = start_all(&e);
	agent_stop();
	if (r != -code || e.code != code || !strstr(e.text, text))
		fail_msg("in %s: %d, \"%s\", instead of %d, \"%s\"", phase, r, e.text, -code, text);
	nothing_left(fds);
	(void)!read(guest.exit_fd, &drain, sizeof drain);
	(void)!read(guest.interrupt_fd, &drain, sizeof drain);
	guest.at = NULL;
}

static void plan_for_phases(void)
{
	make_plan("none", "image", "user", false);
	free(take_ptr(t.plan->passt_socket));
}

static void test_refusals(void **state)
{
	plan_for_phases();
	for (size_t i = 0; i < N_PHASES; i++) {
		_cleanup_free_ char *text = str_printf("%s: not today [2J", phases[i]);

		fails_in(phases[i], REFUSE, EINVAL, text);
	}
}

/* Why a command could not be executed: 126 and 127 depend on it. */
static void test_exec_failures(void **state)
{
	plan_for_phases();
	guest.words = "rpc status: ENOENT: No such file or directory";
	fails_in("CreateContainer", REFUSE, ENOENT, "No such file");
	guest.words = "exec: \"nothing\": not found in $PATH";
	fails_in("StartContainer", REFUSE, ENOENT, "not found in $PATH");
	guest.words = "the file nothing was not found\n\nStack backtrace:\n   0: <unknown>";
	fails_in("CreateContainer", REFUSE, ENOENT, "was not found");
	guest.words = "EACCES: Permission denied";
	fails_in("CreateContainer", REFUSE, EACCES, "Permission denied");
	guest.words = "/bin/true: Exec format error (os error 8)";
	fails_in("StartContainer", REFUSE, ENOEXEC,
		 "; is it a program for another architecture, or a script without #!?");
	guest.words = "something else";
	fails_in("StartContainer", REFUSE, EREMOTEIO, "guest agent: StartContainer c1: something else");
}

static void test_vm_death(void **state)
{
	plan_for_phases();
	fails_in("boot", DIE, ENOTCONN, "the fake guest panicked");
	fails_in("connect", DIE, ENOTCONN, "the fake guest panicked");
	for (size_t i = 0; i < N_PHASES; i++)
		fails_in(phases[i], DIE, ENOTCONN, "the fake guest panicked");
}

static void test_interrupts(void **state)
{
	plan_for_phases();
	fails_in("boot", INTERRUPT, ECANCELED, "interrupted while the guest was starting");
	fails_in("connect", INTERRUPT, ECANCELED, "interrupted while the guest was starting");
	for (size_t i = 0; i < N_PHASES; i++)
		fails_in(phases[i], INTERRUPT, ECANCELED, "interrupted");
}

static void test_garbage(void **state)
{
	plan_for_phases();
	fails_in("connect", GARBAGE, EPROTO, "cannot connect to vsock port 1024 of the guest");
	for (size_t i = 0; i < N_PHASES; i++)
		fails_in(phases[i], GARBAGE, EPROTO, phases[i]);
}

static void test_hang_up(void **state)
{
	plan_for_phases();
	for (size_t i = 0; i < N_PHASES; i++) {
		vm_stays = i > 0;
		fails_in(phases[i], HANG_UP, ECONNRESET, "the peer has closed the connection");
	}
}

static void test_no_answer(void **state)
{
	struct err e = { 0 };
	unsigned fds = count_fds();

	hurry = true;
	plan_for_phases();
	fails_in("connect", REFUSE, ETIMEDOUT, "nothing in the guest answers on vsock port 1024 (Connection refused)");
	t.config->agent.reconnect_timeout_ms = 300;
	fails_in("connect", NEVER, ETIMEDOUT, "nothing in the guest answers on vsock port 1024 (no reply in time)");
	t.config->agent.reconnect_timeout_ms = 2000;
	for (size_t i = 0; i < N_PHASES; i++)
		fails_in(phases[i], NEVER, ETIMEDOUT, phases[i]);
	for (size_t i = 0; i < N_PHASES; i++)
		fails_in(phases[i], NOISE, ETIMEDOUT, phases[i]);
	/* Nobody listens at all. */
	t.config->agent.reconnect_timeout_ms = 300;
	assert_int_equal(start_all(&e), -ETIMEDOUT);
	nothing_left(fds);
}

static void test_driver_fails(void **state)
{
	static const char *const places[] = { "prepare", "add", "start" };
	unsigned fds = count_fds();

	plan_for_phases();
	for (size_t i = 0; i < 3; i++) {
		_cleanup_free_ char *text = str_printf("the fake VM refuses to %s", places[i]);
		struct err e = { 0 };

		guest.fail_at = places[i];
		assert_int_equal(start_all(&e), -EIO);
		assert_string_equal(e.text, text);
		nothing_left(fds);
	}
}

/* Packing a root may take minutes: that there is no hypervisor is told before. */
static void test_driver_fails_before_packing(void **state)
{
	struct err e = { 0 };

	plan_for_phases();
	free(t.plan->container->pack);
	t.plan->container->pack = strdup(tmp("no-such-directory"));
	guest.fail_at = "prepare";
	assert_int_equal(start_all(&e), -EIO);
	assert_string_equal(e.text, "the fake VM refuses to prepare");
	guest.fail_at = NULL;
	assert_true(start_all(&e) < 0);
	assert_null(strstr(e.text, "fake VM"));
}

/* ---- no memory ---- */

static void expect_clean_failure(int r, const struct err *e, unsigned n)
{
	if (r >= 0)
		return; /* a convenience that memory was missing for */
	if (!err_is_set(e) || e->code != -r)
		fail_msg("allocation %u: %d without an error (\"%s\", %d)", n, r, e->text, e->code);
}

static void sweep_plan(const char *shared_fs, const char *rootfs, const char *net)
{
	_cleanup_free_ char *place = strdup(tmp(rootfs));
	unsigned fds;

	load_config(shared_fs);
	fds = count_fds();
	for (unsigned n = 1;; n++) {
		struct buf text = { 0 };
		struct err e = { 0 };
		int r;

		assert_true(n < 10000);
		allocation_failed = false;
		allocations_left = n;
		r = try_plan(shared_fs, place, net, false, &e);
		if (r == 0)
			r = plan_print(t.plan, &text, &e);
		allocations_left = 0;
		expect_clean_failure(r, &e, n);
		buf_fini(&text);
		plan_free(take_ptr(t.plan));
		assert_int_equal(count_fds(), fds);
		if (!allocation_failed) {
			assert_int_equal(r, 0);
			break;
		}
	}
	config_free(take_ptr(t.config));
}

static void test_plan_without_memory(void **state)
{
	sweep_plan("virtio-fs", "root", "user");
	sweep_plan("none", "root", "none");
	sweep_plan("none", "image", "user");
}

static void sweep_start(void)
{
	unsigned fds = count_fds();

	for (unsigned n = 1;; n++) {
		struct err e = { 0 };
		int r;

		assert_true(n < 10000);
		strv_fini(&guest.seen);
		agent_start();
		allocation_failed = false;
		allocations_left = n;
		r = start_all(&e);
		allocations_left = 0;
		agent_stop();
		expect_clean_failure(r, &e, n);
		nothing_left(fds);
		if (!allocation_failed) {
			assert_int_equal(r, 0);
			break;
		}
	}
}

static void test_start_without_memory(void **state)
{
	plan_for_phases();
	sweep_start();
}

static void test_staged_start_without_memory(void **state)
{
	if (geteuid() != 0)
		skip();
	make_plan("virtio-fs", "root", "none", false);
	sweep_start();
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_all_steps_copied),
		T(test_block_addresses),
		T(test_writable_image_is_synced),
		T(test_late_disk),
		T(test_kept_disks),
		T(test_staged_share),
		T(test_file_server_ends),
		T(test_file_server_is_left),
		T(test_staging_fails),
		T(test_passt),
		T(test_refusals),
		T(test_exec_failures),
		T(test_vm_death),
		T(test_interrupts),
		T(test_garbage),
		T(test_hang_up),
		T(test_no_answer),
		T(test_driver_fails),
		T(test_driver_fails_before_packing),
		T(test_plan_without_memory),
		T(test_start_without_memory),
		T(test_staged_start_without_memory),
	};

	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests_name("sandbox", tests, NULL, NULL);
}
