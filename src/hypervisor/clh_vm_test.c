/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver with the real Cloud Hypervisor and a real guest: hot-plug both ways, pause, snapshots, and every way to
 * die.
 *
 * Needs KVM that runs ordinary guests (tests/lab), CAISSON_TEST_CLH (the program), CAISSON_TEST_KERNEL (a Debian cloud
 * kernel) and CAISSON_TEST_INITRD (real_guest.h); skipped without. A guest takes half a minute to boot in the
 * laboratory, so that each is asked much.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "hypervisor/clh_vm.h"
#include "hypervisor/real_guest.h"

static int set_up(void **state)
{
	const struct config_hypervisor given = { .path = getenv("CAISSON_TEST_CLH"),
						 .disable_guest_selinux = true,
						 .disable_image_nvdimm = true,
						 .num_queues = 1,
						 .queue_size = 128,
						 .network_queues = 1 };
	int r = real_guest_set_up("clh", &given);

	config.console_log = false;
	return r;
}

/* A guest that is emulated takes its time to let go of something. */
static void be_patient(struct vm *vm)
{
	clh_vm_of(vm)->unplug_ms = PATIENCE_MS;
}

static void plug_disks_and_nics(struct vm *vm, struct vm_device *blk)
{
	int queues[2] = { open_tap("tap1", IFF_MULTI_QUEUE), open_tap("tap1", IFF_MULTI_QUEUE) };
	struct vm_device net = { .kind = VM_DEVICE_NET,
				 .id = STR("eth1"),
				 .u.net = { .mode = STR("tap"), .tap_fds = queues, .n_tap_fds = 2 } };
	struct err e = { 0 };

	ok(driver->add_device(vm, blk, &e));
	assert_int_equal(blk->address_kind, VM_ADDRESS_PCI);
	print_message("  plugged in at %s\n", blk->address);
	expect_console(vm, "STATE disks=vda vdb nics=eth0 ");
	expect_growth(vm, blk, "SIZES vda=" IMAGE_SECTORS " vdb=" GROWN_SECTORS ".");
	assert_int_equal(driver->add_device(vm, blk, &e), -EEXIST);
	ok(driver->add_device(vm, &net, &e));
	fd_close(&queues[0]);
	fd_close(&queues[1]);
	expect_console(vm, "STATE disks=vda vdb nics=eth0 eth1 ");
	ok(driver->remove_device(vm, "data", &e));
	expect_console(vm, "STATE disks=vda nics=eth0 eth1 ");
	ok(driver->remove_device(vm, "eth1", &e));
	expect_console(vm, "STATE disks=vda nics=eth0 cpus");
	assert_int_equal(driver->remove_device(vm, "eth1", &e), -ENODEV);
}

static void resize(struct vm *vm)
{
	struct err e = { 0 };
	uint32_t cpus = 0;
	uint64_t mib = 0;

	ok(driver->resize_vcpus(vm, 3, &cpus, &e));
	assert_int_equal(cpus, 3);
	expect_console(vm, "cpus=3");
	ok(driver->resize_vcpus(vm, 2, &cpus, &e));
	assert_int_equal(cpus, 2);
	ok(driver->resize_memory(vm, 500, &mib, &e));
	assert_int_equal(mib, 512);
	expect_console(vm, "cpus=2 memory=7.");
}

static void note_counter(const char *kind, const char *device, const char *name, uint64_t value, void *userdata)
{
	if (str_eq(device, "root") && str_eq(name, "read_bytes"))
		*(uint64_t *)userdata = value;
}

/* One guest, asked about everything. */
static void test_life(void **state)
{
	int tap = open_tap("tap0", 0);
	struct vm_device root = { .kind = VM_DEVICE_BLOCK, .id = STR("root"), .u.block = { .readonly = true } };
	struct vm_device data = { .kind = VM_DEVICE_BLOCK, .id = STR("data"), .u.block = { .serial = STR("S1") } };
	struct vm_device net = {
		.kind = VM_DEVICE_NET,
		.id = STR("eth0"),
		.u.net = { .mode = STR("tap"), .tap_fds = &tap, .n_tap_fds = 1, .mac = "02:00:00:00:00:01" }
	};
	struct vm_process_info info = { 0 };
	uint64_t read_bytes = 0;
	struct err e = { 0 };
	struct vm *vm;

	config.vcpus = 2;
	config.max_vcpus = 3;
	config.max_memory_mib = 1024;
	root.u.block.path = make_image("a.img");
	data.u.block.path = make_image("b.img");
	vm = prepared();
	be_patient(vm);
	ok(driver->add_device(vm, &root, &e));
	ok(driver->add_device(vm, &net, &e));
	ok(driver->start(vm, &e));
	fd_close(&tap);
	expect_console(vm, "STATE disks=vda nics=eth0 cpus=2 memory=3.");
	ok(driver->info(vm, &info, &e));
	assert_true(info.n_vcpus == 2 && info.vmm_pid > 0 && info.vcpu_tids[0] > 0);
	expect_vsock_refused(vm, 10000);
	/* Looking for partitions. */
	ok(driver->counters(vm, note_counter, &read_bytes, &e));
	assert_true(read_bytes > 0);
	plug_disks_and_nics(vm, &data);
	ok(driver->pause(vm, &e));
	ok(driver->resume(vm, &e));
	resize(vm);
	ok(driver->stop(vm, 0, &e));
	ok(driver->stop(vm, 0, &e));
	driver->free(vm);
	assert_int_equal(kill(info.vmm_pid, 0), -1);
	free(root.u.block.path);
	free(data.u.block.path);
}

/* The clone lives beside the VM that was saved, and goes on where that was. */
static void test_snapshot(void **state)
{
	_cleanup_free_ char *saved = str_printf("%s/saved", dir), *clone_dir = str_printf("%s/clone", dir);
	struct vm_device data = { .kind = VM_DEVICE_BLOCK, .id = STR("data"), .u.block = { .readonly = true } };
	struct err e = { 0 };
	struct vm *vm, *clone;
	uint32_t cpus;

	assert_int_equal(mkdir(saved, 0700) + mkdir(clone_dir, 0700), 0);
	data.u.block.path = make_image("a.img");
	config.max_vcpus = 2;
	vm = boot();
	be_patient(vm);
	expect_console(vm, "STATE disks= ");
	assert_int_equal(driver->save(vm, saved, &e), -EREMOTEIO);
	ok(driver->pause(vm, &e));
	ok(driver->save(vm, saved, &e));
	config.run_dir = clone_dir;
	clone = prepared();
	be_patient(clone);
	ok(driver->restore(clone, saved, &e));
	ok(driver->resume(clone, &e));
	ok(driver->add_device(clone, &data, &e));
	expect_console(clone, "STATE disks=vda ");
	ok(driver->resize_vcpus(clone, 2, &cpus, &e));
	expect_console(clone, "cpus=2");
	expect_vsock_refused(clone, 10000);
	ok(driver->resume(vm, &e));
	ok(driver->add_device(vm, &data, &e));
	expect_console(vm, "STATE disks=vda ");
	driver->free(clone);
	driver->free(vm);
	assert_int_equal(count_entries(clone_dir), 2);
	dir_remove(saved);
	dir_remove(clone_dir);
	free(data.u.block.path);
}

static void test_virtio_mem(void **state)
{
	struct err e = { 0 };
	uint64_t mib = 0;
	struct vm *vm;

	hv.enable_virtio_mem = true;
	config.max_memory_mib = 1024;
	vm = boot();
	be_patient(vm);
	expect_console(vm, "cpus=1 memory=3.");
	ok(driver->resize_memory(vm, 512, &mib, &e));
	assert_int_equal(mib, 512);
	expect_console(vm, "cpus=1 memory=7.");
	ok(driver->resize_memory(vm, 256, &mib, &e));
	assert_int_equal(mib, 256);
	expect_console(vm, "cpus=1 memory=3.");
	driver->free(vm);
}

static void test_guest_ends(void **state)
{
	expect_death("test=panic", "the guest kernel panicked", "Kernel panic - not syncing: sysrq");
	expect_death("test=reboot", "the guest rebooted", "");
	expect_death("test=poweroff", "the guest powered off", "");
	assert_int_equal(count_entries(run_dir), 2);
}

static void test_killed(void **state)
{
	struct vm_process_info info = { 0 };
	struct err e = { 0 };
	struct vm *vm;
	int fd;

	vm = boot();
	ok(driver->info(vm, &info, &e));
	assert_int_equal(kill(info.vmm_pid, SIGKILL), 0);
	/* A connection attempt ends at once with the reason, not at its deadline. */
	assert_int_equal(vm_connect(vm, 1024, clock_ms() + PATIENCE_MS, &fd, &e), -EOWNERDEAD);
	assert_non_null(strstr(e.text, "Cloud Hypervisor was killed by signal 9 (Killed)"));
	assert_int_equal(driver->pause(vm, &e), -EOWNERDEAD);
	driver->free(vm);
	assert_int_equal(count_entries(run_dir), 2);
}

/* Does this Cloud Hypervisor take the request? The guest need not come far. */
static void expect_start(const char *what, struct vm_device *device)
{
	struct err e = { 0 };
	struct vm *vm = prepared();

	if ((device && driver->add_device(vm, device, &e) < 0) || driver->start(vm, &e) < 0)
		fail_msg("%s: %s", what, e.text);
	driver->free(vm);
	print_message("  %s\n", what);
	hv = (struct config_hypervisor){ .path = getenv("CAISSON_TEST_CLH"),
					 .num_queues = 1,
					 .disable_image_nvdimm = true };
}

static void test_options(void **state)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("root"), .u.block = { .discard = true } };
	char *image = make_image("a.img");

	blk.u.block.path = image;
	config.vcpus = config.max_vcpus = 2;
	hv.num_queues = 2;
	hv.queue_size = 256;
	hv.disk_rate_limiter_bw_max_rate = 80000000;
	hv.disk_rate_limiter_bw_one_time_burst = 8000;
	hv.disk_rate_limiter_ops_max_rate = 1000;
	expect_start("a disk with queues and limits", &blk);
	hv.enable_iommu = hv.reclaim_guest_freed_memory = hv.enable_mem_prealloc = true;
	expect_start("IOMMU, balloon, preallocated memory", &blk);
	hv.enable_debug = hv.disable_seccomp = hv.disable_nested_virtualization = true;
	hv.hypervisor_loglevel = 3;
	expect_start("much to be logged, no seccomp, no nesting", NULL);
	if (clh_host_has_landlock()) {
		hv.enable_landlock = true;
		expect_start("Landlock", &blk);
	}
	config.initrd = STR("");
	config.image = image;
	expect_start("an image as disk", NULL);
	hv.vm_rootfs_driver = STR("virtio-pmem");
	expect_start("an image as persistent memory", NULL);
	free(image);
}

/* An NVMe controller of the host, where the laboratory has one (tests/lab/run --iommu). */
static void test_vfio(void **state)
{
	_cleanup_free_ char *bdf = NULL;
	struct vm_device d = { .kind = VM_DEVICE_VFIO, .id = STR("nvme") };
	struct err e = { 0 };
	struct vm *vm;

	if (file_read("/run/lab/vfio", 64, &bdf, NULL) < 0)
		skip();
	bdf[strcspn(bdf, "\n")] = 0;
	/* Nothing else that is here asks for it, and Cloud Hypervisor only looks whether it is there. */
	assert_int_equal(system("modprobe vfio_iommu_type1"), 0);
	d.u.vfio.path = str_printf("/sys/bus/pci/devices/%s", bdf);
	vm = boot();
	be_patient(vm);
	expect_console(vm, "STATE disks= ");
	ok(driver->add_device(vm, &d, &e));
	expect_console(vm, "STATE disks=nvme0n1 ");
	ok(driver->remove_device(vm, "nvme", &e));
	expect_console(vm, "STATE disks= nics= cpus=1");
	driver->free(vm);
	free(d.u.vfio.path);
}

/* What it refuses is said in its own words, and nothing is left. */
static void test_refused(void **state)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("root") };
	struct err e = { 0 };
	struct vm *vm = prepared();

	blk.u.block.path = STR("/nonexistent/disk");
	ok(driver->add_device(vm, &blk, &e));
	assert_int_equal(driver->start(vm, &e), -EREMOTEIO);
	print_message("  %s\n", e.text);
	assert_non_null(strstr(e.text, "did not start: Cloud Hypervisor PUT /api/v1/vm.boot: "));
	driver->free(vm);
	assert_int_equal(count_entries(run_dir), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(test_life),   T(test_snapshot), T(test_virtio_mem), T(test_guest_ends),
		T(test_killed), T(test_options),  T(test_vfio),       T(test_refused),
	};
	static const char *const needed[] = { "CAISSON_TEST_CLH", "CAISSON_TEST_KERNEL", "CAISSON_TEST_INITRD", NULL };

	if (!hypervisor_kvm_usable(NULL, 0))
		return 77; /* "skipped", to meson */
	/* The taps are in a network of the test's own. */
	if (unshare(CLONE_NEWNET) < 0)
		return 1;
	return real_guest_run(needed, tests, sizeof tests / sizeof *tests);
}
