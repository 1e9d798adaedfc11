/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver with the real QEMU and a real guest: hot-plug, pause, and every way to die.
 *
 * Needs CAISSON_TEST_KERNEL (a Debian cloud kernel) and CAISSON_TEST_INITRD (real_guest.h); skipped without.
 */
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cmocka.h>

#include "hypervisor/real_guest.h"

static int set_up(void **state)
{
	const struct config_hypervisor given = { .default_bridges = 1, .disable_guest_selinux = true };

	return real_guest_set_up("qemu", &given);
}

static void test_life(void **state)
{
	struct vm_process_info info = { 0 };
	struct err e = { 0 };
	struct vm *vm;

	vm = boot();
	expect_console(vm, "INIT ready");
	ok(driver->info(vm, &info, &e));
	assert_true(info.n_vcpus == 1 && info.vmm_pid > 0 && info.vcpu_tids[0] > 0);
	ok(driver->pause(vm, &e));
	ok(driver->resume(vm, &e));
	assert_int_equal(driver->save(vm, dir, &e), -ENOTSUP);
	expect_vsock_refused(vm, 1000);
	ok(driver->stop(vm, 0, &e));
	ok(driver->stop(vm, 0, &e));
	driver->free(vm);
	assert_int_equal(kill(info.vmm_pid, 0), -1);
}

static void test_cold_devices(void **state)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("root") }, blk2 = blk;
	struct vm_device net = { .kind = VM_DEVICE_NET, .id = STR("eth0"), .u.net = { .mode = STR("user") } };
	struct err e = { 0 };
	struct vm *vm = NULL;

	blk.u.block.path = make_image("a.img");
	blk2.u.block.path = make_image("b.img");
	blk2.id = STR("second");
	ok(driver->prepare(loop, &config, &vm, &e));
	ok(driver->add_device(vm, &blk, &e));
	ok(driver->add_device(vm, &blk2, &e));
	ok(driver->add_device(vm, &net, &e));
	ok(driver->start(vm, &e));
	expect_console(vm, "disks=vda vdb nics=eth0 cpus=1 memory=");
	driver->free(vm);
	free(blk.u.block.path);
	free(blk2.u.block.path);
}

static void plug_disk_and_nic(const char *with_disk)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("data"), .u.block = { .serial = STR("S1") } };
	struct vm_device net = { .kind = VM_DEVICE_NET, .id = STR("eth0"), .u.net = { .mode = STR("user") } };
	struct err e = { 0 };
	char text[64];
	struct vm *vm;

	blk.u.block.path = make_image("a.img");
	vm = boot();
	expect_console(vm, "STATE disks= nics= cpus=1");
	ok(driver->add_device(vm, &blk, &e));
	snprintf(text, sizeof text, "STATE disks=%s nics= ", with_disk);
	expect_console(vm, text);
	if (str_eq(with_disk, "vda")) /* of a SCSI disk the guest would have to be told to look */
		expect_growth(vm, &blk, "SIZES vda=" GROWN_SECTORS ".");
	assert_int_equal(driver->add_device(vm, &blk, &e), -EEXIST);
	ok(driver->add_device(vm, &net, &e));
	snprintf(text, sizeof text, "STATE disks=%s nics=eth0", with_disk);
	expect_console(vm, text);
	assert_int_equal(net.address_kind, VM_ADDRESS_PCI);
	assert_memory_equal(net.address, "02/0", 4);
	ok(driver->remove_device(vm, "data", &e));
	expect_console(vm, "STATE disks= nics=eth0");
	ok(driver->remove_device(vm, "eth0", &e));
	assert_int_equal(driver->remove_device(vm, "eth0", &e), -ENODEV);
	/* The slot, the node and the id are free again. */
	ok(driver->add_device(vm, &blk, &e));
	blk.id = STR("more");
	blk.u.block.path[0] = 'X';
	assert_true(driver->add_device(vm, &blk, &e) < 0);
	driver->free(vm);
	free(blk.u.block.path);
}

static void test_hotplug_pci(void **state)
{
	plug_disk_and_nic("vda");
}

static void test_hotplug_scsi(void **state)
{
	hv.block_device_driver = STR("virtio-scsi");
	plug_disk_and_nic("sda");
}

/* Out again where QEMU can: an emulated vCPU has to stay. */
static void shrink_cpus(struct vm *vm)
{
	struct err e = { 0 };
	uint32_t cpus = 0;

	if (!hypervisor_kvm_usable(NULL, 0)) {
		assert_int_equal(driver->resize_vcpus(vm, 1, &cpus, &e), -ENOTSUP);
		return;
	}
	ok(driver->resize_vcpus(vm, 3, &cpus, &e));
	expect_console(vm, "cpus=3");
	for (unsigned i = 0; i < 3; i++) {
		ok(driver->resize_vcpus(vm, 1, &cpus, &e));
		assert_int_equal(cpus, 1);
		ok(driver->resize_vcpus(vm, 2, &cpus, &e));
		assert_int_equal(cpus, 2);
	}
}

static void test_hotplug_cpu_and_memory(void **state)
{
	struct err e = { 0 };
	uint32_t cpus = 0;
	uint64_t mib = 0;
	struct vm *vm;

	config.max_vcpus = 3;
	config.max_memory_mib = 1024;
	vm = boot();
	expect_console(vm, "cpus=1 memory=2.");
	ok(driver->resize_vcpus(vm, 2, &cpus, &e));
	assert_int_equal(cpus, 2);
	expect_console(vm, "cpus=2");
	ok(driver->resize_memory(vm, 400, &mib, &e));
	assert_int_equal(mib, 512);
	expect_console(vm, "cpus=2 memory=6.");
	assert_int_equal(driver->resize_vcpus(vm, 4, &cpus, &e), -ERANGE);
	assert_int_equal(driver->resize_memory(vm, 2048, &mib, &e), -ERANGE);
	ok(driver->resize_memory(vm, 640, &mib, &e));
	expect_console(vm, "cpus=2 memory=8.");
	ok(driver->resize_memory(vm, 256, &mib, &e));
	assert_int_equal(mib, 256);
	/* With one of those DIMMs still there it would have more than this. */
	ok(driver->resize_memory(vm, 768, &mib, &e));
	expect_console(vm, "cpus=2 memory=10.");
	shrink_cpus(vm);
	driver->free(vm);
}

/* A guest whose kernel itself sits in the added memory. */
static void test_guest_keeps_memory(void **state)
{
	struct err e = { 0 };
	uint64_t mib = 0;
	struct vm *vm;

	params[1] = STR("test=keep-memory");
	config.kernel_params.len = 2;
	config.max_memory_mib = 1024;
	vm = boot();
	expect_console(vm, "cpus=1 memory=2.");
	ok(driver->resize_memory(vm, 512, &mib, &e));
	expect_console(vm, "cpus=1 memory=6.");
	mib = 0;
	assert_int_equal(driver->resize_memory(vm, 256, &mib, &e), -EBUSY);
	if (!strstr(e.text, "(it has 512 MiB): the guest did not release it: it is in use"))
		fail_msg("%s", e.text);
	assert_int_equal(mib, 0);
	/* It goes on with that memory, and may be asked again. */
	ok(driver->resize_memory(vm, 768, &mib, &e));
	assert_int_equal(mib, 768);
	expect_console(vm, "cpus=1 memory=10.");
	driver->free(vm);
}

/* Does this QEMU take the command line? The guest need not come far. */
static void expect_start(const char *what, struct vm_device *device)
{
	struct err e = { 0 };
	struct vm *vm = NULL;
	int r = driver->prepare(loop, &config, &vm, &e);

	if (r == 0 && device)
		r = driver->add_device(vm, device, &e);
	if (r == 0)
		r = driver->start(vm, &e);
	if (r < 0)
		fail_msg("%s: %s", what, e.text);
	driver->free(vm);
	hv = (struct config_hypervisor){ .default_bridges = 1 };
}

static void test_command_lines(void **state)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("root") };
	struct vm_device user = { .kind = VM_DEVICE_NET, .id = STR("eth0"), .u.net = { .mode = STR("user") } };
	struct vm_device p9 = { .kind = VM_DEVICE_9P, .id = STR("p9"), .u.fs = { .tag = STR("t"), .path = dir } };
	char *publish[] = { STR("tcp:127.0.0.1:0:80"), NULL };

	blk.u.block.path = make_image("a,b.img");
	hv.reclaim_guest_freed_memory = hv.enable_iothreads = true;
	hv.block_device_driver = STR("virtio-scsi");
	expect_start("balloon, iothread, scsi", &blk);
	hv.block_device_aio = STR("native");
	hv.block_device_cache_set = hv.block_device_cache_noflush = true;
	hv.block_device_logical_sector_size = 512;
	hv.block_device_physical_sector_size = 4096;
	hv.num_queues = 4;
	hv.queue_size = 256;
	hv.indep_iothreads = 2;
	expect_start("disk options", &blk);
	hv.block_device_aio = STR("io_uring");
	expect_start("io_uring", &blk);
	hv.enable_iommu = hv.enable_iommu_platform = true;
	hv.pcie_root_port = 3;
	hv.default_bridges = 5;
	hv.cpu_features = STR("pmu=off");
	hv.machine_accelerators = STR("mem-merge=off");
	user.u.net.publish = (struct strv){ .v = publish, .len = 1 };
	expect_start("iommu, ports, bridges, user network", &user);
	hv.enable_debug = true;
	hv.extra_monitor_socket = STR("qmp-pretty");
	expect_start("debug, virtconsole", &p9);
	hv.enable_mem_prealloc = hv.enable_virtio_mem = true;
	config.max_memory_mib = 1024;
	expect_start("virtio-mem, prealloc", NULL);
	config.max_memory_mib = 256;
	config.image = blk.u.block.path;
	config.initrd = STR("");
	expect_start("image on nvdimm", NULL);
	hv.disable_image_nvdimm = true;
	expect_start("image on virtio-blk", NULL);
	free(blk.u.block.path);
}

/* A listening socket in place of passt: QEMU connects to it when it starts. */
static void test_passt_socket(void **state)
{
	struct vm_device d = { .kind = VM_DEVICE_NET, .id = STR("eth0"), .u.net = { .mode = STR("passt") } };
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd;

	snprintf(a.sun_path, sizeof a.sun_path, "%s/passt.sock", dir);
	d.u.net.socket = a.sun_path;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 1), 0);
	expect_start("passt", &d);
	close(fd);
}

/* In a network namespace of its own: needs root and /dev/net/tun. Must be the last test. */
static void test_taps(void **state)
{
	int queues[2] = { -1, -1 }, one = -1, named;
	struct vm_device d = { .kind = VM_DEVICE_NET,
			       .id = STR("eth0"),
			       .u.net = { .mode = STR("tap"), .tap_fds = queues, .n_tap_fds = 2 } };
	struct err e = { 0 };
	struct vm *vm = NULL;

	if (unshare(CLONE_NEWNET) < 0 || access("/dev/net/tun", R_OK | W_OK) < 0)
		skip();
	queues[0] = open_tap("tap0", IFF_MULTI_QUEUE);
	queues[1] = open_tap("tap0", IFF_MULTI_QUEUE);
	one = open_tap("tap1", 0);
	named = open_tap("tap2", 0);
	assert_int_equal(ioctl(named, TUNSETPERSIST, 1), 0);
	fd_close(&named);
	ok(driver->prepare(loop, &config, &vm, &e));
	ok(driver->add_device(vm, &d, &e));
	fd_close(&queues[0]); /* the driver has its own by now */
	fd_close(&queues[1]);
	ok(driver->start(vm, &e));
	expect_console(vm, "nics=eth0 cpus");
	d.id = STR("eth1");
	d.u.net = (struct vm_net){ .mode = STR("tap"), .tap_fds = &one, .n_tap_fds = 1 };
	ok(driver->add_device(vm, &d, &e));
	expect_console(vm, "nics=eth0 eth1 cpus");
	d.id = STR("eth2");
	d.u.net = (struct vm_net){ .mode = STR("tap"), .tap = STR("tap2") };
	ok(driver->add_device(vm, &d, &e));
	expect_console(vm, "nics=eth0 eth1 eth2 cpus");
	d.id = STR("eth3");
	d.u.net = (struct vm_net){ .mode = STR("tap"), .tap = STR("tap2") };
	assert_true(driver->add_device(vm, &d, &e) < 0); /* busy */
	assert_non_null(strstr(e.text, "cannot plug in device eth3"));
	driver->free(vm);
	fd_close(&one);
}

static void test_virtio_mem(void **state)
{
	struct err e = { 0 };
	uint64_t mib = 0;
	struct vm *vm;

	hv.enable_virtio_mem = true;
	config.max_memory_mib = 1024;
	vm = boot();
	expect_console(vm, "cpus=1 memory=2.");
	ok(driver->resize_memory(vm, 512, &mib, &e));
	assert_int_equal(mib, 512);
	expect_console(vm, "cpus=1 memory=6.");
	ok(driver->resize_memory(vm, 256, &mib, &e));
	expect_console(vm, "cpus=1 memory=2.");
	driver->free(vm);
}

static void test_guest_ends(void **state)
{
	expect_death("test=panic", "the guest kernel panicked", "Kernel panic - not syncing: sysrq");
	expect_death("test=early-panic", "the guest kernel panicked", "Attempted to kill init");
	expect_death("test=reboot", "the guest rebooted", "");
	expect_death("test=poweroff", "the guest powered off", "");
}

static void test_corrupt_initrd(void **state)
{
	char *path;

	path = make_image("initrd");
	config.initrd = path;
	expect_death("x=1", "the guest kernel panicked", "Unable to mount root fs");
	free(path);
}

static void test_killed(void **state)
{
	struct vm_process_info info = { 0 };
	struct err e = { 0 };
	uint64_t start;
	struct vm *vm;
	int fd;

	vm = boot();
	expect_console(vm, "INIT ready");
	ok(driver->info(vm, &info, &e));
	assert_int_equal(kill(info.vmm_pid, SIGKILL), 0);
	start = clock_ms();
	/* A connection attempt ends at once with the reason, not at its deadline. */
	assert_int_equal(vm_connect(vm, 1024, start + 60000, &fd, &e), -EOWNERDEAD);
	assert_true(clock_ms() - start < 10000);
	assert_non_null(strstr(e.text, "QEMU was killed by signal 9 (Killed)"));
	assert_non_null(strstr(e.text, "last console lines: "));
	assert_int_equal(driver->pause(vm, &e), -EOWNERDEAD);
	driver->free(vm);
}

static void test_microvm(void **state)
{
	struct vm_device blk = { .kind = VM_DEVICE_BLOCK, .id = STR("root") }, blk2 = blk;
	struct err e = { 0 };
	struct vm *vm = NULL;

	hv.machine_type = STR("microvm");
	blk.u.block.path = make_image("a.img");
	blk2.u.block.path = make_image("b.img");
	blk2.id = STR("second");
	blk2.u.block.readonly = true;
	ok(driver->prepare(loop, &config, &vm, &e));
	ok(driver->add_device(vm, &blk, &e));
	ok(driver->add_device(vm, &blk2, &e));
	ok(driver->start(vm, &e));
	expect_console(vm, "disks=vda vdb nics= cpus=1");
	expect_vsock_refused(vm, 1000);
	driver->free(vm);
	free(blk.u.block.path);
	free(blk2.u.block.path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(test_life),
		T(test_cold_devices),
		T(test_hotplug_pci),
		T(test_hotplug_scsi),
		T(test_hotplug_cpu_and_memory),
		T(test_guest_keeps_memory),
		T(test_command_lines),
		T(test_virtio_mem),
		T(test_guest_ends),
		T(test_corrupt_initrd),
		T(test_killed),
		T(test_microvm),
		T(test_passt_socket),
		T(test_taps),
	};
	static const char *const needed[] = { "CAISSON_TEST_KERNEL", "CAISSON_TEST_INITRD", NULL };

	return real_guest_run(needed, tests, sizeof tests / sizeof *tests);
}
