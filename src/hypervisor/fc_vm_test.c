/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver with a real Firecracker, or with caisson-vmm, which speaks its dialect, and a real guest: disks before and
 * after the start, pause, snapshots, the jail, and how a guest ends.
 *
 * Needs KVM, CAISSON_TEST_FIRECRACKER (the binary), CAISSON_TEST_KERNEL (an ELF vmlinux) and CAISSON_TEST_INITRD
 * (tests/qemu/make-initrd); skipped without. CAISSON_TEST_JAILER: the jailer of the same release, for the tests in the
 * jail. tests/vmm/firecracker runs it in the laboratory. The guest tells what it sees on its console.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hypervisor/console.h"
#include "hypervisor/fc.h"

#define S(s) ((char *)(uintptr_t)(s))
/* Only to catch a hang: where processors are emulated all takes long. */
#define PATIENCE_MS 240000

static char dir[] = "/tmp/caisson-fc-vm-XXXXXX";
static char *params[] = { S("loglevel=3"), S("test=filled") };
static struct config_hypervisor hv;
static struct vm_config config;
static struct loop *loop;
static const struct hypervisor_driver *driver = &firecracker_driver;

static int set_up(void **state)
{
	hv = (struct config_hypervisor){ .path = getenv("CAISSON_TEST_FIRECRACKER"),
					 .jailer_path = S(""),
					 .default_bridges = 1,
					 .disable_guest_selinux = true };
	params[1] = S("test=filled");
	config = (struct vm_config){ .id = S("test"),
				     .run_dir = str_printf("%s/a", dir),
				     .kernel = getenv("CAISSON_TEST_KERNEL"),
				     .initrd = getenv("CAISSON_TEST_INITRD"),
				     .image = S(""),
				     .kernel_params = { .v = params, .len = 2 },
				     .vcpus = 2,
				     .max_vcpus = 2,
				     .memory_mib = 256,
				     .max_memory_mib = 256,
				     .console_log = true,
				     .start_timeout_ms = PATIENCE_MS,
				     .hv = &hv };
	assert_int_equal(mkdir(config.run_dir, 0700), 0);
	return loop_new(&loop, NULL);
}

static int tear_down(void **state)
{
	loop_free(loop);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(dir_remove(config.run_dir), 0);
	free(config.run_dir);
	return 0;
}

static void ok_(int r, const struct err *e, int line)
{
	if (r < 0)
		fail_msg("line %d: %d: %s", line, r, e->text);
}
#define ok(r) ok_((r), &e, __LINE__)

/* Run the loop until the console says so. */
static void expect_console(struct vm *vm, const char *text)
{
	uint64_t deadline = clock_ms() + PATIENCE_MS;
	char lines[2048];

	while (!console_find(vm->console, text)) {
		loop_run_once(loop, 100);
		if (clock_ms() > deadline || vm_wait_exit(vm, 0)) {
			console_last_lines(vm->console, 8, lines, sizeof lines);
			fail_msg("the guest never said \"%s\" but: %s", text, lines);
		}
	}
}

static char *make_image(const char *name)
{
	char *path = str_printf("%s/%s", dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0 && ftruncate(fd, 16 << 20) == 0);
	close(fd);
	return path;
}

static struct vm *prepare(struct vm_device *root)
{
	struct err e = { 0 };
	struct vm *vm = NULL;

	ok(driver->prepare(loop, &config, &vm, &e));
	ok(driver->add_device(vm, root, &e));
	return vm;
}

static void attach_and_detach(struct vm *vm, struct vm_device *late)
{
	struct err e = { 0 };

	ok(driver->add_device(vm, late, &e));
	assert_string_equal(late->address, late->u.block.readonly ? "/dev/vdf" : "/dev/vdb");
	expect_console(vm, late->u.block.readonly ? "FILLED vda vdf." : "FILLED vda vdb.");
	ok(driver->remove_device(vm, late->id, &e));
}

/* Nobody in this guest listens, which its driver says itself: the device works. */
static void expect_vsock_refused(struct vm *vm)
{
	struct err e = { 0 };
	int fd;

	assert_int_equal(vm_connect(vm, 1024, clock_ms() + 3000, &fd, &e), -ETIMEDOUT);
	if (!strstr(e.text, "Connection refused"))
		fail_msg("%s", e.text);
}

static void live(void)
{
	_cleanup_free_ char *root_path = make_image("root.img"), *late_path = make_image("late.img"),
			    *snapshot = str_printf("%s/snapshot", dir);
	struct vm_device root = { .kind = VM_DEVICE_BLOCK, .id = S("rootfs"), .u.block = { .path = root_path } };
	struct vm_device late = { .kind = VM_DEVICE_BLOCK, .id = S("late"), .u.block = { .path = late_path } };
	struct vm_process_info info = { 0 };
	struct err e = { 0 };
	struct vm *vm;

	assert_int_equal(dir_remove(snapshot), 0); /* of a test that failed */
	assert_int_equal(mkdir(snapshot, 0700), 0);
	vm = prepare(&root);
	assert_string_equal(root.address, "/dev/vda");
	ok(driver->start(vm, &e));
	expect_console(vm, "FILLED vda.");
	ok(driver->info(vm, &info, &e));
	assert_true(info.vmm_pid > 0 && info.n_vcpus == 2 && info.vcpu_tids[0] > 0 && info.vcpu_tids[1] > 0);
	attach_and_detach(vm, &late);
	expect_vsock_refused(vm);
	ok(driver->pause(vm, &e));
	ok(driver->save(vm, snapshot, &e));
	ok(driver->resume(vm, &e));
	ok(driver->stop(vm, 0, &e));
	driver->free(vm);

	/* A second life, in another folder. */
	assert_int_equal(dir_remove(config.run_dir), 0);
	config.run_dir[strlen(config.run_dir) - 1] = 'b';
	assert_int_equal(mkdir(config.run_dir, 0700), 0);
	vm = prepare(&root);
	ok(driver->restore(vm, snapshot, &e));
	ok(driver->resume(vm, &e));
	late.u.block.readonly = true;
	attach_and_detach(vm, &late);
	expect_vsock_refused(vm);
	driver->free(vm);
	assert_int_equal(dir_remove(snapshot), 0);
}

static void test_life(void **state)
{
	live();
}

static void test_life_in_the_jail(void **state)
{
	hv.jailer_path = getenv("CAISSON_TEST_JAILER");
	if (str_empty(hv.jailer_path))
		skip();
	live();
}

static void expect_end(const char *how, const char *text)
{
	_cleanup_free_ char *root_path = make_image("root.img");
	struct vm_device root = { .kind = VM_DEVICE_BLOCK, .id = S("rootfs"), .u.block = { .path = root_path } };
	uint64_t deadline = clock_ms() + PATIENCE_MS;
	struct err e = { 0 };
	struct vm *vm;

	params[1] = S(how);
	config.vcpus = 1;
	vm = prepare(&root);
	ok(driver->start(vm, &e));
	while (!vm_wait_exit(vm, 0) && clock_ms() < deadline)
		loop_run_once(loop, 100);
	assert_int_equal(vm_explain_exit(vm, &e), -EOWNERDEAD);
	assert_int_equal(e.domain, ERR_GUEST);
	if (!strstr(e.text, text))
		fail_msg("%s", e.text);
	driver->free(vm);
}

static void test_ends(void **state)
{
	expect_end("test=reboot", "the guest powered off, rebooted or crashed");
	expect_end("test=early-panic", "the guest kernel panicked: ");
}

static void test_what_it_refuses(void **state)
{
	struct vm_device root = { .kind = VM_DEVICE_BLOCK,
				  .id = S("rootfs"),
				  .u.block = { .path = S("/nonexistent") } };
	struct vm *vm = prepare(&root);
	struct err e = { 0 };

	assert_int_equal(driver->start(vm, &e), -EREMOTEIO);
	assert_non_null(strstr(e.text, "PUT /drives/rootfs"));
	assert_null(strchr(e.text, '\n'));
	driver->free(vm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(test_life),
		T(test_life_in_the_jail),
		T(test_ends),
		T(test_what_it_refuses),
	};
	int r;

	if (!getenv("CAISSON_TEST_FIRECRACKER") || !getenv("CAISSON_TEST_KERNEL") || !getenv("CAISSON_TEST_INITRD"))
		return 77;
	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dir_remove(dir);
	return r;
}
