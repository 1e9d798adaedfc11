/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole command lines against tests/qemu/NAME.args, one argument per line. After an intended change run the test with
 * UPDATE_GOLDEN=1 and read the difference.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hypervisor/qemu_argv.h"

#define STR(s) ((char *)(uintptr_t)(s))

static struct config_hypervisor hv;
static struct vm_config config;
static struct qemu_facts facts;

static char *params[] = { STR("reboot=k"), STR("caisson.test=1"), STR("panic=5"), NULL };

static int reset(void **state)
{
	hv = (struct config_hypervisor){ .default_bridges = 1, .disable_guest_selinux = true, .default_memory = 256 };
	config = (struct vm_config){ .id = STR("abc"),
				     .run_dir = STR("/run/caisson/abc"),
				     .kernel = STR("/k/vmlinuz"),
				     .initrd = STR("/k/initrd"),
				     .image = STR(""),
				     .kernel_params = { .v = params, .len = 3 },
				     .vcpus = 1,
				     .max_vcpus = 1,
				     .memory_mib = 256,
				     .max_memory_mib = 256,
				     .hv = &hv };
	facts = (struct qemu_facts){
		.path = "/usr/bin/qemu-system-x86_64", .arch = "x86_64", .major = 7, .minor = 2, .tsc_khz = 2445404
	};
	return 0;
}

static int build(struct vm_device *devices, size_t n, int vsock, struct strv *argv, struct err *e)
{
	struct qemu_fds fds = { .monitor = 10, .console = 11, .vsock = vsock, .guest_cid = 77 };
	struct qemu_plan plan = { 0 };
	int r = qemu_plan_init(&plan, &config, &facts, e);

	for (size_t i = 0; i < n && r == 0; i++)
		r = qemu_plan_device(&plan, &devices[i], e);
	if (r == 0)
		r = qemu_argv(&plan, &fds, argv, e);
	qemu_plan_fini(&plan);
	return r;
}

static void compare(const char *name, const struct strv *argv)
{
	_cleanup_free_ char *path = str_printf("%s/tests/qemu/%s.args", getenv("SOURCE_ROOT"), name), *golden = NULL;
	_cleanup_buf_ struct buf b = { 0 };

	for (size_t i = 0; i < argv->len; i++)
		assert_int_equal(buf_printf(&b, "%s\n", argv->v[i]), 0);
	if (getenv("UPDATE_GOLDEN"))
		assert_int_equal(file_replace(path, b.data, b.len, 0644), 0);
	assert_int_equal(file_read(path, 1 << 16, &golden, NULL), 0);
	assert_string_equal(b.data, golden);
}

static void golden_with(const char *name, struct vm_device *devices, size_t n, int vsock)
{
	_cleanup_strv_ struct strv argv = { 0 };
	struct err e = { 0 };

	if (build(devices, n, vsock, &argv, &e) < 0)
		fail_msg("%s: %s", name, e.text);
	compare(name, &argv);
}

static void golden(const char *name)
{
	golden_with(name, NULL, 0, -1);
}

static void test_machines(void **state)
{
	golden("q35-tcg");
	config.fixed_devices = true;
	golden("q35-fixed");
	config.fixed_devices = false;
	facts.kvm = true;
	golden("q35-kvm");
	hv.machine_type = STR("microvm");
	golden("microvm-kvm");
	facts.kvm = false;
	golden("microvm-tcg");
	facts = (struct qemu_facts){ .path = "/usr/bin/qemu-system-aarch64", .arch = "aarch64", .major = 7 };
	hv.machine_type = STR("virt");
	golden("virt-tcg");
}

static void test_images(void **state)
{
	config.initrd = STR("");
	config.image = STR("/i/kata,containers.img");
	facts.image_bytes = 256 << 20;
	golden("image-nvdimm");
	facts.image_dax = DAX_IMAGE_PAGES;
	golden("image-nvdimm-dax");
	hv.rootfs_type = STR("erofs");
	hv.kernel_verity_params =
		STR("root_hash=ab12,salt=cd,data_blocks=1000,data_block_size=4096,hash_block_size=4096");
	golden("image-nvdimm-verity");
	hv.kernel_verity_params = NULL;
	hv.disable_image_nvdimm = true;
	golden("image-blk");
}

static void test_memory_and_cpus(void **state)
{
	config.max_vcpus = 8;
	config.vcpus = 2;
	config.max_memory_mib = 2048;
	hv.memory_slots = 4;
	hv.memory_offset = 64;
	hv.enable_mem_prealloc = true;
	hv.enable_hugepages = true;
	hv.reclaim_guest_freed_memory = true;
	hv.cpu_features = STR("pmu=off");
	golden("hotplug-hugepages-balloon");
	hv.enable_virtio_mem = true;
	hv.enable_hugepages = hv.enable_mem_prealloc = false;
	golden("virtio-mem");
}

static void test_everything_else(void **state)
{
	char *flashes[] = { STR("/f/a.fd"), NULL };

	hv.machine_accelerators = STR("mem-merge=off");
	hv.firmware = STR("/f/OVMF.fd");
	golden("firmware");
	hv.firmware_volume = STR("/f/VARS.fd");
	hv.pflashes = (struct strv){ .v = flashes, .len = 1 };
	golden("pflash");
	reset(NULL);
	facts.kvm = true;
	hv.enable_iommu = true;
	hv.enable_iommu_platform = true;
	hv.pcie_root_port = 2;
	hv.default_bridges = 2;
	golden("iommu-ports-bridges");
	reset(NULL);
	hv.enable_debug = true;
	hv.extra_monitor_socket = STR("qmp-pretty");
	hv.entropy_source = STR("/dev/random");
	hv.seccomp_sandbox = STR("on,spawn=deny");
	golden("debug-virtconsole");
	hv.use_legacy_serial = true;
	hv.extra_monitor_socket = STR("hmp");
	hv.seccomp_sandbox = STR("off");
	golden("debug-legacy-serial");
	reset(NULL);
	golden_with("vhost-vsock", NULL, 0, 12);
}

static void test_block(void **state)
{
	struct vm_device d[] = {
		{ .kind = VM_DEVICE_BLOCK,
		  .id = STR("root"),
		  .u.block = { .path = STR("/d/root.img"), .readonly = true } },
		{ .kind = VM_DEVICE_BLOCK,
		  .id = STR("data"),
		  .u.block = { .path = STR("/d/data,1.img"), .discard = true, .serial = STR("S1") } },
	};

	golden_with("blk", d, 2, -1);
	assert_int_equal(d[0].address_kind, VM_ADDRESS_PCI);
	assert_string_equal(d[0].address, "04"); /* 1: rng, 2: bridge, 3: vsock */
	assert_string_equal(d[1].address, "05");
	hv.block_device_driver = STR("virtio-blk-pci");
	hv.block_device_aio = STR("native");
	hv.block_device_cache_set = hv.block_device_cache_noflush = true;
	hv.block_device_logical_sector_size = 512;
	hv.block_device_physical_sector_size = 4096;
	hv.num_queues = 4;
	hv.queue_size = 256;
	hv.indep_iothreads = 2;
	golden_with("blk-tuned", d, 2, -1);
	hv.block_device_driver = STR("virtio-scsi");
	hv.enable_iothreads = true;
	golden_with("scsi", d, 2, -1);
	assert_int_equal(d[1].address_kind, VM_ADDRESS_SCSI);
	assert_string_equal(d[1].address, "1:0");
	hv.machine_type = STR("microvm");
	golden_with("microvm-blk", d, 2, -1);
	assert_int_equal(d[1].address_kind, VM_ADDRESS_DEVICE);
	assert_string_equal(d[1].address, "/dev/vdb");
}

static void test_net_and_fs(void **state)
{
	int queues[] = { 20, 21 };
	char *publish[] = { STR("tcp:127.0.0.1:8080:80"), STR("udp::53:53"), NULL };
	struct vm_device d[] = {
		{ .kind = VM_DEVICE_NET,
		  .id = STR("eth0"),
		  .u.net = { .mode = STR("tap"), .tap = STR("tap0"), .mtu = 1400 } },
		{ .kind = VM_DEVICE_NET,
		  .id = STR("eth1"),
		  .u.net = { .mode = STR("tap"), .tap_fds = queues, .n_tap_fds = 2, .mac = "02:00:00:00:00:01" } },
		{ .kind = VM_DEVICE_NET,
		  .id = STR("eth2"),
		  .u.net = { .mode = STR("user"), .publish = { .v = publish, .len = 2 } } },
		{ .kind = VM_DEVICE_NET,
		  .id = STR("eth3"),
		  .u.net = { .mode = STR("passt"), .socket = STR("/run/p.sock") } },
		{ .kind = VM_DEVICE_FS,
		  .id = STR("share"),
		  .u.fs = { .tag = STR("kataShared"), .socket = STR("/run/fs.sock") } },
		{ .kind = VM_DEVICE_9P,
		  .id = STR("p9"),
		  .u.fs = { .tag = STR("nine"), .path = STR("/srv/a,b"), .readonly = true } },
	};

	facts.vhost_net = true;
	hv.network_queues = 2;
	hv.virtio_fs_queue_size = 512;
	golden_with("net-fs", d, 6, -1);
	assert_string_not_equal(d[0].u.net.mac, "");
	hv.disable_vhost_net = true;
	hv.network_queues = 0;
	hv.machine_type = STR("microvm");
	golden_with("microvm-net-fs", d, 5, -1);
}

static void expect_error(const char *part)
{
	_cleanup_strv_ struct strv argv = { 0 };
	struct err e = { 0 };

	assert_true(build(NULL, 0, -1, &argv, &e) < 0);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
	reset(NULL);
}

static void test_refusals(void **state)
{
	char dir[120], *many[4] = { NULL }, *big;

	hv.confidential_guest = true;
	expect_error("confidential_guest");
	config.initrd = STR("");
	config.image = STR("/i");
	facts.image_dax = DAX_IMAGE_SELF;
	expect_error("keep page tables in the image");
	config.initrd = STR("");
	config.image = STR("/i");
	facts.image_dax = DAX_IMAGE_BAD;
	expect_error("does not fit its size");
	hv.machine_type = STR("pc");
	expect_error("machine_type = \"pc\"");
	hv.machine_type = STR("microvm");
	config.vcpus = config.max_vcpus = 2;
	expect_error("without KVM can have one vCPU, not 2");
	config.image = STR("/i");
	expect_error("both a guest image and an initrd");
	config.initrd = STR("");
	expect_error("neither");
	config.memory_mib = 32;
	expect_error("64 MiB");
	memset(dir, 'd', sizeof dir);
	dir[0] = '/';
	dir[sizeof dir - 1] = 0;
	config.run_dir = dir;
	expect_error("107 bytes");
	big = malloc(3000);
	memset(big, 'x', 2999);
	big[2999] = 0;
	many[0] = big;
	config.kernel_params = (struct strv){ .v = many, .len = 1 };
	expect_error("kernel takes 2047");
	free(big);
	hv.enable_debug = true;
	hv.extra_monitor_socket = STR("telnet");
	expect_error("extra_monitor_socket");
	config.initrd = STR("");
	config.image = STR("/i");
	hv.kernel_verity_params = STR("root_hash=zz");
	expect_error("root_hash=zz");
}

static void expect_device_error(struct vm_device d, const char *part)
{
	_cleanup_strv_ struct strv argv = { 0 };
	struct err e = { 0 };

	assert_true(build(&d, 1, -1, &argv, &e) < 0);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
}

static void test_device_refusals(void **state)
{
	char *publish[] = { STR("tcp:[::1]:1:2"), NULL };

	expect_device_error((struct vm_device){ .kind = VM_DEVICE_BLOCK, .id = STR("a,b") }, "device id");
	expect_device_error((struct vm_device){ .kind = VM_DEVICE_BLOCK,
						.id = STR("a"),
						.u.block = { .path = STR("/x"), .serial = STR("a,b") } },
			    "serial");
	expect_device_error((struct vm_device){ .kind = VM_DEVICE_NET, .id = STR("a"), .u.net = { .mode = STR("x") } },
			    "mode \"x\"");
	expect_device_error(
		(struct vm_device){ .kind = VM_DEVICE_NET,
				    .id = STR("a"),
				    .u.net = { .mode = STR("user"), .publish = { .v = publish, .len = 1 } } },
		"IPV4");
	expect_device_error((struct vm_device){ .kind = VM_DEVICE_FS, .id = STR("a"), .u.fs = { .tag = STR("a,b") } },
			    "tag");
}

static void test_slots_run_out(void **state)
{
	struct vm_device d[40];
	_cleanup_strv_ struct strv argv = { 0 };
	struct err e = { 0 };
	char ids[40][8];

	for (size_t i = 0; i < 40; i++) {
		snprintf(ids[i], sizeof ids[i], "d%zu", i);
		d[i] = (struct vm_device){ .kind = VM_DEVICE_BLOCK, .id = ids[i], .u.block = { .path = STR("/x") } };
	}
	assert_int_equal(build(d, 40, -1, &argv, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "slots"));
	hv.block_device_driver = STR("virtio-scsi");
	assert_int_equal(build(d, 40, -1, &argv, &e), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_machines, reset),
		cmocka_unit_test_setup(test_images, reset),
		cmocka_unit_test_setup(test_memory_and_cpus, reset),
		cmocka_unit_test_setup(test_everything_else, reset),
		cmocka_unit_test_setup(test_block, reset),
		cmocka_unit_test_setup(test_net_and_fs, reset),
		cmocka_unit_test_setup(test_refusals, reset),
		cmocka_unit_test_setup(test_device_refusals, reset),
		cmocka_unit_test_setup(test_slots_run_out, reset),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
