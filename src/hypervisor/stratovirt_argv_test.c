/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whole command lines against tests/stratovirt/NAME.args, one argument per line. After an intended change run the test
 * with UPDATE_GOLDEN=1 and read the difference.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hypervisor/stratovirt_argv.h"

#define STR(s) ((char *)(uintptr_t)(s))

static struct config_hypervisor hv;
static struct vm_config config;
static struct stratovirt_facts facts;

static char *params[] = { STR("reboot=k"), STR("caisson.test=1"), STR("panic=5"), NULL };

static int reset(void **state)
{
	hv = (struct config_hypervisor){ .default_bridges = 1, .disable_guest_selinux = true };
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
	facts = (struct stratovirt_facts){ .path = "/usr/bin/stratovirt", .arch = "x86_64", .major = 2, .minor = 5 };
	return 0;
}

static int build(struct vm_device *devices, size_t n, struct strv *argv, struct err *e)
{
	struct stratovirt_fds fds = { .console = 11, .vsock = 12, .guest_cid = 77 };
	struct stratovirt_plan plan = { 0 };
	int r = stratovirt_plan_init(&plan, &config, &facts, e);

	for (size_t i = 0; i < n && r == 0; i++)
		r = stratovirt_plan_device(&plan, &devices[i], e);
	if (r == 0)
		r = stratovirt_argv(&plan, &fds, argv, e);
	stratovirt_plan_fini(&plan);
	return r;
}

static void golden_with(const char *name, struct vm_device *devices, size_t n)
{
	_cleanup_free_ char *path = str_printf("%s/tests/stratovirt/%s.args", getenv("SOURCE_ROOT"), name),
			    *text = NULL;
	_cleanup_strv_ struct strv argv = { 0 };
	_cleanup_buf_ struct buf b = { 0 };
	struct err e = { 0 };

	if (build(devices, n, &argv, &e) < 0)
		fail_msg("%s: %s", name, e.text);
	for (size_t i = 0; i < argv.len; i++)
		assert_int_equal(buf_printf(&b, "%s\n", argv.v[i]), 0);
	if (getenv("UPDATE_GOLDEN"))
		assert_int_equal(file_replace(path, b.data, b.len, 0644), 0);
	assert_int_equal(file_read(path, 1 << 16, &text, NULL), 0);
	assert_string_equal(b.data, text);
}

static void golden(const char *name)
{
	golden_with(name, NULL, 0);
}

static void refused(struct vm_device *devices, size_t n, const char *part)
{
	_cleanup_strv_ struct strv argv = { 0 };
	struct err e = { 0 };

	assert_true(build(devices, n, &argv, &e) < 0);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
}

static void test_machines(void **state)
{
	golden("q35");
	config.fixed_devices = true;
	config.shared_memory = true;
	golden("q35-fixed-shared");
	config.fixed_devices = false;
	hv.machine_type = STR("microvm");
	golden("microvm-shared");
	facts = (struct stratovirt_facts){ .path = "/usr/bin/stratovirt", .arch = "aarch64", .major = 2, .minor = 5 };
	hv.machine_type = NULL;
	golden("virt");
	hv.machine_type = STR("microvm");
	golden("microvm-arm64");
	hv.machine_type = STR("q35");
	refused(NULL, 0, "machine_type = \"q35\": StratoVirt on aarch64 has \"virt\" and \"microvm\"");
}

static void test_settings(void **state)
{
	config.vcpus = config.max_vcpus = 4;
	hv.enable_hugepages = hv.enable_mem_prealloc = hv.disable_seccomp = hv.enable_debug = true;
	hv.reclaim_guest_freed_memory = true;
	hv.entropy_source = STR("/dev/random");
	hv.firmware = STR("/f/OVMF_CODE.fd");
	hv.firmware_volume = STR("/f/OVMF_VARS.fd");
	hv.default_bridges = 2;
	golden("everything-set");
}

static void test_images(void **state)
{
	config.initrd = STR("");
	config.image = STR("/i/kata-containers.img");
	golden("image");
	hv.machine_type = STR("microvm");
	hv.rootfs_type = STR("erofs");
	hv.kernel_verity_params =
		STR("root_hash=ab12,salt=cd,data_blocks=1000,data_block_size=4096,hash_block_size=4096");
	golden("image-microvm-verity");
}

static void test_devices(void **state)
{
	int fds[] = { 20, 21 };
	struct vm_device d[] = {
		{ .kind = VM_DEVICE_FS,
		  .id = STR("share"),
		  .u.fs = { .tag = STR("kataShared"), .socket = STR("/r/fs.sock") } },
		{ .kind = VM_DEVICE_BLOCK,
		  .id = STR("rootfs"),
		  .u.block = { .path = STR("/d/root.img"), .readonly = true } },
		{ .kind = VM_DEVICE_BLOCK,
		  .id = STR("data"),
		  .u.block = { .path = STR("/d/data.img"), .discard = true, .serial = STR("S1") } },
		{ .kind = VM_DEVICE_NET, .id = STR("eth0"), .u.net = { .mode = STR("tap"), .tap = STR("tap7") } },
		{ .kind = VM_DEVICE_NET,
		  .id = STR("eth1"),
		  .u.net = { .mode = STR("tap"), .tap_fds = fds, .n_tap_fds = 2, .mac = "02:00:00:00:00:01" } },
	};

	config.shared_memory = true;
	hv.block_device_cache_set = hv.block_device_cache_direct = true;
	golden_with("devices", d, 5);
	assert_int_equal(d[0].address_kind, VM_ADDRESS_PCI);
	assert_string_equal(d[1].address, "08"); /* 1 to 4: root ports, 5: rng, 6: vsock, 7: share */
	assert_string_equal(d[4].address, "0b");
	hv = (struct config_hypervisor){ .machine_type = STR("microvm") };
	d[4].u.net.n_tap_fds = 1;
	golden_with("devices-microvm", d, 5);
	assert_int_equal(d[0].address_kind, VM_ADDRESS_NONE);
	assert_int_equal(d[2].address_kind, VM_ADDRESS_DEVICE);
	assert_string_equal(d[2].address, "/dev/vdb");
}

static void test_refusals(void **state)
{
	int fds[] = { 20, 21 };
	struct vm_device comma = { .kind = VM_DEVICE_BLOCK, .id = STR("a"), .u.block = { .path = STR("/d/a,b") } };
	struct vm_device equals = { .kind = VM_DEVICE_FS,
				    .id = STR("a"),
				    .u.fs = { .tag = STR("t"), .socket = STR("/r/a=b") } };
	struct vm_device user = { .kind = VM_DEVICE_NET, .id = STR("a"), .u.net = { .mode = STR("user") } };
	struct vm_device nobody = { .kind = VM_DEVICE_NET, .id = STR("a"), .u.net = { .mode = STR("tap") } };
	struct vm_device two = { .kind = VM_DEVICE_NET,
				 .id = STR("a"),
				 .u.net = { .mode = STR("tap"), .tap_fds = fds, .n_tap_fds = 2 } };
	struct vm_device ninep = { .kind = VM_DEVICE_9P, .id = STR("a") };
	struct vm_device disks[5], nics[3];

	refused(&comma, 1, "disk a: StratoVirt cannot be told the path \"/d/a,b\"");
	refused(&equals, 1, "shared directory a: StratoVirt cannot be told the path \"/r/a=b\"");
	refused(&user, 1, "StratoVirt has tap devices only, and no mode \"user\"");
	refused(&nobody, 1, "no tap interface is named");
	refused(&ninep, 1, "has no such kind");
	for (size_t i = 0; i < 5; i++)
		disks[i] =
			(struct vm_device){ .kind = VM_DEVICE_BLOCK, .id = STR("d"), .u.block = { .path = STR("/d") } };
	for (size_t i = 0; i < 3; i++)
		nics[i] = (struct vm_device){ .kind = VM_DEVICE_NET,
					      .id = STR("n"),
					      .u.net = { .mode = STR("tap"), .tap = STR("t") } };
	hv.machine_type = STR("microvm");
	refused(disks, 5, "microvm has 4 disks at most");
	refused(nics, 3, "microvm has 2 network cards at most");
	refused(&two, 1, "a card of microvm has one pair of queues");
	hv.firmware = STR("/f/OVMF.fd");
	refused(NULL, 0, "microvm boots a kernel and has no firmware");
}

static void test_configuration(void **state)
{
	static char long_param[2100];
	char *many[] = { long_param, NULL };

	config.memory_mib = 64;
	refused(NULL, 0, "StratoVirt takes 128 to");
	reset(NULL);
	config.image = STR("/i");
	refused(NULL, 0, "both a guest image and an initrd");
	reset(NULL);
	hv.confidential_guest = true;
	refused(NULL, 0, "StratoVirt has no confidential guests");
	reset(NULL);
	config.run_dir = STR("/run/a=b");
	refused(NULL, 0, "the run directory");
	reset(NULL);
	memset(long_param, 'x', sizeof long_param - 1);
	config.kernel_params = (struct strv){ .v = many, .len = 1 };
	refused(NULL, 0, "shorten kernel_params");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_machines, reset), cmocka_unit_test_setup(test_settings, reset),
		cmocka_unit_test_setup(test_images, reset),   cmocka_unit_test_setup(test_devices, reset),
		cmocka_unit_test_setup(test_refusals, reset), cmocka_unit_test_setup(test_configuration, reset),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
