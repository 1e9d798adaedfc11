/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver with the real StratoVirt and a real guest: plugging, pause, and how a guest ends.
 *
 * Needs KVM, /dev/vhost-vsock, CAISSON_TEST_STRATOVIRT (the program), CAISSON_TEST_KERNEL (a Debian cloud kernel,
 * bzImage) and CAISSON_TEST_INITRD (real_guest.h); skipped without. CAISSON_TEST_MICROVM is a kernel for the machine
 * microvm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hypervisor/real_guest.h"

static int set_up(void **state)
{
	const struct config_hypervisor given = { .default_bridges = 1,
						 .disable_guest_selinux = true,
						 .path = getenv("CAISSON_TEST_STRATOVIRT") };

	return real_guest_set_up("stratovirt", &given);
}

static void test_life(void **state)
{
	struct vm_process_info info = { 0 };
	struct vm *vm = boot();
	struct err e = { 0 };

	expect_console(vm, "INIT ready");
	ok(driver->info(vm, &info, &e));
	assert_true(info.n_vcpus == 1 && info.vmm_pid > 0 && info.vcpu_tids[0] > 0);
	ok(driver->pause(vm, &e));
	ok(driver->resume(vm, &e));
	expect_vsock_refused(vm, 20000);
	ok(driver->stop(vm, 0, &e));
	driver->free(vm);
}

static void test_plug(void **state)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("data"), .u.block = { .serial = STR("S1") } };
	int tap = open_tap("", 0);
	struct vm_device net = { .kind = VM_DEVICE_NET,
				 .id = STR("eth0"),
				 .u.net = { .mode = STR("tap"), .tap_fds = &tap, .n_tap_fds = 1 } };
	struct err e = { 0 };
	struct vm *vm;

	blk.u.block.path = make_image("a.img");
	vm = boot();
	expect_console(vm, "STATE disks= nics= cpus=1");
	ok(driver->add_device(vm, &blk, &e));
	assert_string_equal(blk.address, "01/00");
	expect_console(vm, "STATE disks=vda nics= ");
	ok(driver->add_device(vm, &net, &e));
	expect_console(vm, "STATE disks=vda nics=eth0");
	ok(driver->remove_device(vm, "data", &e));
	expect_console(vm, "STATE disks= nics=eth0");
	ok(driver->remove_device(vm, "eth0", &e));
	/* Port, back end and id are free again. */
	ok(driver->add_device(vm, &blk, &e));
	driver->free(vm);
	free(blk.u.block.path);
	close(tap);
}

static void test_microvm(void **state)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("data") };
	struct err e = { 0 };
	struct vm *vm;

	if (!getenv("CAISSON_TEST_MICROVM"))
		skip();
	config.kernel = getenv("CAISSON_TEST_MICROVM");
	hv.machine_type = STR("microvm");
	blk.u.block.path = make_image("b.img");
	vm = boot();
	/* Its places for devices are seen as empty disks and cards without a cable. */
	expect_console(vm, "STATE disks=vda vdb vdc vdd nics=eth0 eth1 cpus=1");
	ok(driver->add_device(vm, &blk, &e));
	assert_string_equal(blk.address, "/dev/vda");
	ok(driver->remove_device(vm, "data", &e));
	ok(driver->add_device(vm, &blk, &e));
	expect_vsock_refused(vm, 20000);
	driver->free(vm);
	free(blk.u.block.path);
}

static void test_death(void **state)
{
	expect_death("test=panic", "the guest kernel panicked", "Kernel panic");
	expect_death("test=poweroff", "the guest powered off", "");
	expect_death("test=reboot", "the guest powered off", "");
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

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(test_life), T(test_plug), T(test_microvm), T(test_death), T(test_options),
	};
	static const char *const needed[] = { "CAISSON_TEST_STRATOVIRT", "CAISSON_TEST_KERNEL", "CAISSON_TEST_INITRD",
					      NULL };

	return real_guest_run(needed, tests, sizeof tests / sizeof *tests);
}
