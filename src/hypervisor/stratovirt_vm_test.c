/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver with the real StratoVirt and a real guest: plugging, pause, and how a guest ends.
 *
 * Needs KVM, /dev/vhost-vsock, CAISSON_TEST_STRATOVIRT (the program), CAISSON_TEST_KERNEL (a Debian cloud kernel,
 * bzImage) and CAISSON_TEST_INITRD (tests/qemu/make-initrd); skipped without. CAISSON_TEST_MICROVM is a kernel for the
 * machine microvm. The guest tells what it sees on its console, which is all that is looked at.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hypervisor/console.h"
#include "hypervisor/driver.h"

#define STR(s) ((char *)(uintptr_t)(s))

/* It only catches a hang: in the laboratory a guest takes a minute to boot. */
#define LIMIT_MS 300000

static struct config_hypervisor hv;
static struct vm_config config;
static char dir[] = "/tmp/caisson-stratovirt-test-XXXXXX";
static char *params[4];
static struct loop *loop;
static const struct hypervisor_driver *driver;

static int set_up(void **state)
{
	hv = (struct config_hypervisor){ .default_bridges = 1,
					 .disable_guest_selinux = true,
					 .path = getenv("CAISSON_TEST_STRATOVIRT") };
	params[0] = STR("loglevel=3");
	config = (struct vm_config){ .id = STR("test"),
				     .run_dir = dir,
				     .kernel = getenv("CAISSON_TEST_KERNEL"),
				     .initrd = getenv("CAISSON_TEST_INITRD"),
				     .image = STR(""),
				     .kernel_params = { .v = params, .len = 1 },
				     .vcpus = 1,
				     .max_vcpus = 1,
				     .memory_mib = 256,
				     .max_memory_mib = 256,
				     .start_timeout_ms = LIMIT_MS,
				     .hv = &hv };
	driver = hypervisor_find("stratovirt");
	return loop_new(&loop, NULL);
}

static int tear_down(void **state)
{
	loop_free(loop);
	return 0;
}

#define ok(call)                                                                                                       \
	do {                                                                                                           \
		struct err ok_err = { 0 }, *e = &ok_err;                                                               \
		if ((call) < 0)                                                                                        \
			fail_msg("%s: %s", #call, e->text);                                                            \
	} while (0)

static struct vm *boot(void)
{
	struct vm *vm = NULL;

	ok(driver->prepare(loop, &config, &vm, e));
	ok(driver->start(vm, e));
	return vm;
}

static void expect_console(struct vm *vm, const char *text)
{
	uint64_t deadline = clock_ms() + LIMIT_MS;
	char lines[2048];

	while (!console_find(vm->console, text)) {
		loop_run_once(loop, 100);
		if (clock_ms() < deadline && !vm_wait_exit(vm, 0))
			continue;
		console_last_lines(vm->console, 8, lines, sizeof lines);
		fail_msg("the guest never said \"%s\" but: %s", text, lines);
	}
}

static char *make_image(const char *name)
{
	char *path = str_printf("%s/%s", dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0 && ftruncate(fd, 16 << 20) == 0);
	close(fd);
	return path;
}

static int open_tap(void)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	assert_true(fd >= 0 && ioctl(fd, TUNSETIFF, &r) == 0);
	return fd;
}

/* Nobody in this guest listens, which its driver says itself: the device works. */
static void expect_vsock_refused(struct vm *vm)
{
	struct err e = { 0 };
	int fd;

	assert_int_equal(vm_connect(vm, 1024, clock_ms() + 20000, &fd, &e), -ETIMEDOUT);
	if (!strstr(e.text, "Connection reset") && !strstr(e.text, "Connection refused"))
		fail_msg("%s", e.text);
}

static void test_life(void **state)
{
	struct vm_process_info info = { 0 };
	struct vm *vm = boot();

	expect_console(vm, "INIT ready");
	ok(driver->info(vm, &info, e));
	assert_true(info.n_vcpus == 1 && info.vmm_pid > 0 && info.vcpu_tids[0] > 0);
	ok(driver->pause(vm, e));
	ok(driver->resume(vm, e));
	expect_vsock_refused(vm);
	ok(driver->stop(vm, 0, e));
	driver->free(vm);
}

static void test_plug(void **state)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("data"), .u.block = { .serial = STR("S1") } };
	int tap = open_tap();
	struct vm_device net = { .kind = VM_DEVICE_NET,
				 .id = STR("eth0"),
				 .u.net = { .mode = STR("tap"), .tap_fds = &tap, .n_tap_fds = 1 } };
	struct vm *vm;

	blk.u.block.path = make_image("a.img");
	vm = boot();
	expect_console(vm, "STATE disks= nics= cpus=1");
	ok(driver->add_device(vm, &blk, e));
	assert_string_equal(blk.address, "01/00");
	expect_console(vm, "STATE disks=vda nics= ");
	ok(driver->add_device(vm, &net, e));
	expect_console(vm, "STATE disks=vda nics=eth0");
	ok(driver->remove_device(vm, "data", e));
	expect_console(vm, "STATE disks= nics=eth0");
	ok(driver->remove_device(vm, "eth0", e));
	/* Port, back end and id are free again. */
	ok(driver->add_device(vm, &blk, e));
	driver->free(vm);
	free(blk.u.block.path);
	close(tap);
}

static void test_microvm(void **state)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("data") };
	struct vm *vm;

	if (!getenv("CAISSON_TEST_MICROVM"))
		skip();
	config.kernel = getenv("CAISSON_TEST_MICROVM");
	hv.machine_type = STR("microvm");
	blk.u.block.path = make_image("b.img");
	vm = boot();
	/* Its places for devices are seen as empty disks and cards without a cable. */
	expect_console(vm, "STATE disks=vda vdb vdc vdd nics=eth0 eth1 cpus=1");
	ok(driver->add_device(vm, &blk, e));
	assert_string_equal(blk.address, "/dev/vda");
	ok(driver->remove_device(vm, "data", e));
	ok(driver->add_device(vm, &blk, e));
	expect_vsock_refused(vm);
	driver->free(vm);
	free(blk.u.block.path);
}

static void expect_death(const char *how, const char *part)
{
	uint64_t deadline = clock_ms() + LIMIT_MS;
	struct err e = { 0 };
	struct vm *vm;

	params[1] = STR(how);
	config.kernel_params.len = 2;
	vm = boot();
	while (!vm_wait_exit(vm, 0)) {
		loop_run_once(loop, 100);
		assert_true(clock_ms() < deadline);
	}
	vm_explain_exit(vm, &e);
	if (e.domain != ERR_GUEST || !strstr(e.text, part))
		fail_msg("%s: \"%s\" does not say \"%s\"", how, e.text, part);
	driver->free(vm);
}

static void test_death(void **state)
{
	expect_death("test=panic", "the guest kernel panicked");
	expect_death("test=poweroff", "the guest powered off");
	expect_death("test=reboot", "the guest powered off");
}

/* Everything that the driver may put on a command line is taken. */
static void test_options(void **state)
{
	struct vm *vm;

	hv.reclaim_guest_freed_memory = hv.enable_mem_prealloc = hv.enable_debug = true;
	vm = boot();
	driver->free(vm);
	hv.enable_mem_prealloc = false;
	hv.disable_seccomp = true;
	config.vcpus = config.max_vcpus = 2;
	vm = boot();
	driver->free(vm);
}

static int make_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	_cleanup_free_ char *command = str_printf("rm -rf %s", dir);

	return system(command);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_life), TEST(test_plug), TEST(test_microvm), TEST(test_death), TEST(test_options),
	};

	if (!getenv("CAISSON_TEST_STRATOVIRT") || !getenv("CAISSON_TEST_KERNEL") || !getenv("CAISSON_TEST_INITRD")) {
		printf("skipped: CAISSON_TEST_STRATOVIRT, CAISSON_TEST_KERNEL and CAISSON_TEST_INITRD are not set\n");
		return 77;
	}
	cmocka_set_test_filter(getenv("CAISSON_TEST_ONLY"));
	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
