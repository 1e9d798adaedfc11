/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver with a real Firecracker, or with caisson-vmm, which speaks its dialect, and a real guest: disks before and
 * after the start, pause, snapshots, the jail, and how a guest ends.
 *
 * Needs KVM, CAISSON_TEST_FIRECRACKER (the binary), CAISSON_TEST_KERNEL (an ELF vmlinux) and CAISSON_TEST_INITRD
 * (real_guest.h); skipped without. CAISSON_TEST_JAILER: the jailer of the same release, for the tests in the
 * jail. tests/vmm/firecracker runs it in the laboratory.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hypervisor/real_guest.h"

static int set_up(void **state)
{
	const struct config_hypervisor given = { .path = getenv("CAISSON_TEST_FIRECRACKER"),
						 .jailer_path = STR(""),
						 .default_bridges = 1,
						 .disable_guest_selinux = true };
	int r = real_guest_set_up("firecracker", &given);

	config.vcpus = config.max_vcpus = 2;
	return r;
}

static struct vm *prepare(struct vm_device *root)
{
	struct vm *vm = prepared();
	struct err e = { 0 };

	ok(driver->add_device(vm, root, &e));
	return vm;
}

/* The first time, when it may be written, it grows. */
static void attach_and_detach(struct vm *vm, struct vm_device *late)
{
	bool grown = late->u.block.readonly;
	struct err e = { 0 };

	ok(driver->add_device(vm, late, &e));
	assert_string_equal(late->address, grown ? "/dev/vdf" : "/dev/vdb");
	expect_console(vm, grown ? "SIZES vda=" IMAGE_SECTORS " vdf=" GROWN_SECTORS "."
				 : "SIZES vda=" IMAGE_SECTORS " vdb=" IMAGE_SECTORS ".");
	if (!grown)
		expect_growth(vm, late, "SIZES vda=" IMAGE_SECTORS " vdb=" GROWN_SECTORS ".");
	ok(driver->remove_device(vm, late->id, &e));
}

static void live(void)
{
	_cleanup_free_ char *root_path = make_image("root.img"), *late_path = make_image("late.img"),
			    *snapshot = str_printf("%s/snapshot", dir), *second = str_printf("%s/second", dir);
	struct vm_device root = { .kind = VM_DEVICE_BLOCK, .id = STR("rootfs"), .u.block = { .path = root_path } };
	struct vm_device late = { .kind = VM_DEVICE_BLOCK, .id = STR("late"), .u.block = { .path = late_path } };
	struct vm_process_info info = { 0 };
	struct err e = { 0 };
	struct vm *vm;

	/* Of a test that failed. */
	assert_int_equal(dir_remove(snapshot), 0);
	assert_int_equal(dir_remove(second), 0);
	assert_int_equal(mkdir(snapshot, 0700), 0);
	vm = prepare(&root);
	assert_string_equal(root.address, "/dev/vda");
	ok(driver->start(vm, &e));
	expect_console(vm, "SIZES vda=" IMAGE_SECTORS ".");
	ok(driver->info(vm, &info, &e));
	assert_true(info.vmm_pid > 0 && info.n_vcpus == 2 && info.vcpu_tids[0] > 0 && info.vcpu_tids[1] > 0);
	attach_and_detach(vm, &late);
	expect_vsock_refused(vm, 3000);
	ok(driver->pause(vm, &e));
	ok(driver->save(vm, snapshot, &e));
	ok(driver->resume(vm, &e));
	ok(driver->stop(vm, 0, &e));
	driver->free(vm);

	/* A second life, in another folder. */
	config.run_dir = second;
	assert_int_equal(mkdir(second, 0700), 0);
	vm = prepare(&root);
	ok(driver->restore(vm, snapshot, &e));
	ok(driver->resume(vm, &e));
	late.u.block.readonly = true;
	attach_and_detach(vm, &late);
	expect_vsock_refused(vm, 3000);
	driver->free(vm);
	assert_int_equal(dir_remove(snapshot), 0);
	assert_int_equal(dir_remove(second), 0);
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

static void test_ends(void **state)
{
	config.vcpus = 1;
	expect_death("test=reboot", "the guest powered off, rebooted or crashed", "");
	expect_death("test=early-panic", "the guest kernel panicked: ", "");
}

static void test_what_it_refuses(void **state)
{
	struct vm_device root = { .kind = VM_DEVICE_BLOCK,
				  .id = STR("rootfs"),
				  .u.block = { .path = STR("/nonexistent") } };
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
	static const char *const needed[] = { "CAISSON_TEST_FIRECRACKER", "CAISSON_TEST_KERNEL", "CAISSON_TEST_INITRD",
					      NULL };

	return real_guest_run(needed, tests, sizeof tests / sizeof *tests);
}
