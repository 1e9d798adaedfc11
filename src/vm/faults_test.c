/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Nth thing that the host gives fails: memory, a descriptor, a mapping, a thread, an ioctl of KVM. For each N a VM
 * with every kind of device is made, started, paused, saved, resumed and freed again, as far as it goes. What fails
 * says so in words, and nothing is left: descriptor, thread or mapping.
 *
 * Linked with --wrap: see the meson.build. Only calls of the testing thread fail. There are more than a thousand of
 * them, most for the pieces of a saved state: of those beyond the first FEW every STEP-th fails, or every one with
 * FAULTS_STEP=1 in the environment.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/entries.h"
#include "base/log.h"
#include "state/state.h"
#include "vm/machine.h"
#include "vm/small_guest.h"

#define RAM  (16 << 20)
#define FEW  60
#define STEP 11

/* ---- what fails ---- */

static _Thread_local long left = -1; /* so many calls succeed; -1: all do */
static _Thread_local const char *failed;

/* Shall this call fail? */
static bool fails(const char *what)
{
	if (left < 0 || left--)
		return false;
	failed = what;
	return true;
}

#define WRAP(type, name, parameters, arguments, code, result)                                                          \
	type __real_##name parameters;                                                                                 \
	type __wrap_##name parameters;                                                                                 \
	type __wrap_##name parameters                                                                                  \
	{                                                                                                              \
		if (fails(#name)) {                                                                                    \
			errno = code;                                                                                  \
			return result;                                                                                 \
		}                                                                                                      \
		return __real_##name arguments;                                                                        \
	}

WRAP(void *, malloc, (size_t n), (n), ENOMEM, NULL)
WRAP(void *, calloc, (size_t n, size_t size), (n, size), ENOMEM, NULL)
WRAP(void *, realloc, (void *p, size_t n), (p, n), ENOMEM, NULL)
WRAP(void *, reallocarray, (void *p, size_t n, size_t size), (p, n, size), ENOMEM, NULL)
WRAP(char *, strdup, (const char *s), (s), ENOMEM, NULL)
WRAP(int, ioctl, (int fd, unsigned long request, void *arg), (fd, request, arg), ENOSPC, -1)
WRAP(int, eventfd, (unsigned n, int flags), (n, flags), EMFILE, -1)
WRAP(int, epoll_create1, (int flags), (flags), EMFILE, -1)
WRAP(int, epoll_ctl, (int fd, int op, int of, struct epoll_event *ev), (fd, op, of, ev), ENOSPC, -1)
WRAP(int, memfd_create, (const char *name, unsigned flags), (name, flags), EMFILE, -1)
WRAP(int, socket, (int domain, int type, int protocol), (domain, type, protocol), EMFILE, -1)
WRAP(int, open64, (const char *path, int flags, int mode), (path, flags, mode), EMFILE, -1)
WRAP(int, fcntl64, (int fd, int op, void *arg), (fd, op, arg), EMFILE, -1)
WRAP(void *, mmap64, (void *at, size_t n, int prot, int flags, int fd, off_t o), (at, n, prot, flags, fd, o), ENOMEM,
     MAP_FAILED)
WRAP(int, pthread_create, (pthread_t * t, const pthread_attr_t *attr, void *(*fn)(void *), void *arg),
     (t, attr, fn, arg), 0, EAGAIN)

/* ---- what is left ---- */

struct usage {
	unsigned descriptors, threads, objects; /* objects: mappings of something that is no library */
	unsigned long size;                     /* of the address space, bytes */
};

static struct usage usage(void)
{
	struct usage u = { .descriptors = count_fds(), .threads = count_entries("/proc/self/task") };
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];

	while (fgets(line, sizeof line, f)) {
		unsigned long from, to;

		assert_int_equal(sscanf(line, "%lx-%lx", &from, &to), 2);
		u.size += to - from;
		u.objects += strstr(line, "anon_inode") || strstr(line, "/memfd") || strstr(line, "(deleted)");
	}
	fclose(f);
	if (!machine_can_confine())
		u.size = 0; /* the sanitizers' own memory grows and grows */
	return u;
}

/* ---- the VM ---- */

MICRO_GUEST(idle, "1: cli\n hlt\n jmp 1b\n");

struct host {
	char dir[40], disk_path[64], kernel_path[40], passt_path[64], state_path[64], memory_path[64];
	int kernel, passt;
	enum vmm_shape shape;
	bool from_snapshot;
};

/* 0, or what the failing function returned, which must have said something. */
static int said(int r, const struct err *e, const char *what)
{
	if (r < 0 && (!e->text[0] || !e->code))
		fail_msg("%s: %d without a message when %s failed", what, r, failed);
	if (r < 0 && r != -e->code)
		fail_msg("%s: returns %d and says %d: %s", what, r, e->code, e->text);
	return r;
}

static int add_all(struct vmm *vm, const struct host *h, struct err *e)
{
	const struct vmm_memory memory = { .max = 64 << 20, .requested = 2 << 20 };
	char uds[64];
	const struct vmm_block disk = { .fd = -1, .path = h->disk_path, .io_uring = true, .own_thread = true };
	int r = vmm_add_block(vm, "disk", &disk, e);

	snprintf(uds, sizeof uds, "%s/vsock", h->dir);
	if (r == 0)
		r = vmm_add_pmem(vm, "pmem", &(struct vmm_pmem){ .path = h->kernel_path, .readonly = true }, e);
	if (r == 0)
		r = vmm_add_rng(vm, "rng", NULL, e);
	if (r == 0)
		r = vmm_add_balloon(vm, "balloon", &(struct vmm_balloon){ .stats_interval_s = 1 }, e);
	if (r == 0)
		r = vmm_add_console(vm, "console", &(struct vmm_console){ .in = -1, .out = -1 }, e);
	if (r == 0)
		r = vmm_add_memory(vm, "memory", &memory, e);
	if (r == 0)
		r = vmm_add_vsock(vm, "vsock", &(struct vmm_vsock){ .cid = 3, .uds_path = uds }, e);
	if (r == 0)
		r = vmm_add_net(vm, "net", &(struct vmm_net){ .socket = h->passt_path }, e);
	return said(r, e, "vmm_add");
}

static int live(struct vmm *vm, const struct host *h, struct err *e)
{
	int r = add_all(vm, h, e);

	if (r == 0)
		r = said(vmm_start(vm, e), e, "vmm_start");
	if (r == 0)
		r = said(vmm_pause(vm, e), e, "vmm_pause");
	if (r == 0)
		r = said(vmm_snapshot(vm, &(struct vmm_snapshot){ h->state_path, h->memory_path }, e), e,
			 "vmm_snapshot");
	if (r == 0)
		r = said(vmm_resume(vm, e), e, "vmm_resume");
	return r;
}

static int make(const struct host *h, struct vmm **ret, struct err *e)
{
	const struct vmm_config c = { .name = "faults",
				      .shape = h->shape,
				      .split_irqchip = h->shape == VMM_SHAPE_CLOUD,
				      .vcpus = 2,
				      .max_vcpus = 3,
				      .memory = RAM,
				      .shared_memory = true,
				      .track_dirty = true,
				      .kernel = h->kernel_path,
				      .serial_in = -1,
				      .serial_out = -1,
				      .seccomp = true };

	return said(vmm_new(&c, ret, e), e, "vmm_new");
}

static int restore(const struct host *h, struct vmm **ret, struct err *e)
{
	const struct vmm_restore c = { .state_path = h->state_path,
				       .memory_path = h->memory_path,
				       .track_dirty = true,
				       .serial_in = -1,
				       .serial_out = -1,
				       .seccomp = true };
	int r = said(vmm_restore(&c, ret, e), e, "vmm_restore");

	return r < 0 ? r : said(vmm_resume(*ret, e), e, "vmm_resume");
}

/* A VM's life in which call n fails, or none: -1. True: there was a call n. */
static bool life(const struct host *h, long n)
{
	struct vmm *vm = NULL;
	struct err e = { 0 };
	bool there;
	int r;

	failed = NULL;
	left = n;
	r = h->from_snapshot ? restore(h, &vm, &e) : make(h, &vm, &e);
	if (r == 0 && !h->from_snapshot)
		r = live(vm, h, &e);
	there = left < 0;
	left = -1;
	if (r < 0 && !failed)
		fail_msg("nothing failed, and yet: %s", e.text);
	if (vm)
		vmm_stop(vm);
	vmm_free(vm);
	return there && n >= 0;
}

/* Take the connections of those that are gone. */
static void accept_all(const struct host *h)
{
	int fd;

	while ((fd = accept4(h->passt, NULL, NULL, SOCK_CLOEXEC)) >= 0)
		close(fd);
}

static void set_up(struct host *h)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int disk;

	*h = (struct host){ .dir = "/tmp/caisson-faults-XXXXXX" };
	assert_non_null(mkdtemp(h->dir));
	h->kernel = make_kernel(micro_idle, (size_t)(micro_idle_end - micro_idle));
	snprintf(h->kernel_path, sizeof h->kernel_path, "/proc/self/fd/%d", h->kernel);
	snprintf(h->disk_path, sizeof h->disk_path, "%s/disk", h->dir);
	snprintf(h->state_path, sizeof h->state_path, "%s/state", h->dir);
	snprintf(h->memory_path, sizeof h->memory_path, "%s/memory", h->dir);
	disk = open(h->disk_path, O_CREAT | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(disk, 1 << 20), 0);
	close(disk);
	snprintf(h->passt_path, sizeof h->passt_path, "%s/passt", h->dir);
	strcpy(sa.sun_path, h->passt_path);
	h->passt = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(h->passt, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(h->passt, 16), 0);
	/* Address space that threads of the C library keep for their own heaps would look like a leak. */
	mallopt(M_ARENA_MAX, 1);
	log_set_level(LOG_LEVEL_ERROR);
}

/* Each call in turn; returns how many there were. */
static long sweep_lives(const struct host *h)
{
	struct usage before, after;
	const char *wish = getenv("FAULTS_STEP");
	long n = 0, step = wish ? atol(wish) : STEP;

	/* The stacks of threads are kept for the next ones. */
	for (int i = 0; i < 3; i++)
		life(h, -1);
	accept_all(h);
	before = usage();
	for (; life(h, n); n += n < FEW ? 1 : step) {
		accept_all(h);
		after = usage();
		if (after.descriptors != before.descriptors || after.threads != before.threads ||
		    after.objects != before.objects || after.size > before.size + RAM / 4)
			fail_msg("when %s, call %ld, failed: %u descriptors, %u threads, %u mapped objects, %lu bytes "
				 "of address space became %u, %u, %u, %lu",
				 failed, n, before.descriptors, before.threads, before.objects, before.size,
				 after.descriptors, after.threads, after.objects, after.size);
	}
	return n;
}

static void sweep(enum vmm_shape shape)
{
	struct host h;
	long n;

	if (!micro_guest_possible())
		skip();
	set_up(&h);
	h.shape = shape;
	n = sweep_lives(&h);
	print_message("%ld calls of a new machine\n", n);
	assert_true(n > 100);
	life(&h, -1);
	h.from_snapshot = true;
	n = sweep_lives(&h);
	print_message("%ld calls of a restored machine\n", n);
	assert_true(n > 100);
	close(h.kernel);
	close(h.passt);
	assert_int_equal(dir_remove(h.dir), 0);
}

/* Call n of the plugging of a CPU fails; asked again, it is a whole CPU or none. False: there was no call n. */
static bool plug(struct host *h, long n)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	struct vmm *vm = NULL;
	struct err e = { 0 };
	const void *features;
	uint32_t count;
	size_t len = 0;
	int r;

	if (make(h, &vm, &e) < 0 || vmm_start(vm, &e) < 0)
		fail_msg("%s", e.text);
	failed = NULL;
	left = n;
	r = said(vmm_set_vcpus(vm, 3, &count, &e), &e, "vmm_set_vcpus");
	left = -1;
	if (failed && r < 0 && vmm_set_vcpus(vm, 3, &count, &e) == 0) {
		assert_int_equal(state_new(&s), 0);
		if (vmm_pause(vm, &e) < 0 || kvm_vcpu_save(vm->vcpus[2].kvm, s, &e) < 0 ||
		    state_get_blob(s, "cpuid", &features, &len, &e) < 0)
			fail_msg("%s", e.text);
		if (!len)
			fail_msg("a CPU without features, since %s, call %ld, failed", failed, n);
	}
	vmm_free(vm);
	return failed;
}

static void test_a_cpu_that_is_plugged(void **state)
{
	struct host h;
	long n = 0;

	if (!micro_guest_possible())
		skip();
	set_up(&h);
	h.shape = VMM_SHAPE_MICRO;
	while (plug(&h, n))
		n++;
	assert_true(n > 5);
	close(h.kernel);
	close(h.passt);
	assert_int_equal(dir_remove(h.dir), 0);
}

/* What was written in blocks that could not be unplugged is still part of the next difference. */
static void test_memory_that_stays(void **state)
{
	const struct vmm_memory m = { .max = 4 * MEMORY_LARGE_PAGE, .block = MEMORY_LARGE_PAGE };
	_cleanup_free_ uint64_t *dirty = NULL;
	struct vmm *vm = NULL;
	struct err e = { 0 };
	struct host h = { 0 };
	struct ram *ram;
	unsigned last;

	if (!micro_guest_possible())
		skip();
	if (make(&h, &vm, &e) < 0 || vmm_add_memory(vm, "memory", &m, &e) < 0)
		fail_msg("%s", e.text);
	last = vm->memory.n - 1;
	ram = &vm->memory.ram[last];
	assert_int_equal(memory_plug(vm, ram->gpa, 2 * ram->block), 0);
	dirty = calloc(memory_words(ram), sizeof *dirty);
	assert_int_equal(memory_take_dirty(vm, last, dirty, memory_words(ram)), 0);
	memset(dirty, 0, memory_words(ram) * sizeof *dirty);
	left = 1; /* the second block's slot */
	assert_int_equal(memory_unplug(vm, ram->gpa, 2 * ram->block), -ENOSPC);
	left = -1;
	assert_true(guestmem_valid(vm->mem, ram->gpa, 2 * ram->block));
	assert_int_equal(memory_take_dirty(vm, last, dirty, memory_words(ram)), 0);
	assert_true(dirty[0] == UINT64_MAX);
	vmm_free(vm);
}

static void test_micro(void **state)
{
	sweep(VMM_SHAPE_MICRO);
}

static void test_cloud(void **state)
{
	sweep(VMM_SHAPE_CLOUD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_cpu_that_is_plugged),
		cmocka_unit_test(test_memory_that_stays),
		cmocka_unit_test(test_micro),
		cmocka_unit_test(test_cloud),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
