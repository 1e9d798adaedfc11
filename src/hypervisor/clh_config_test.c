/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Cloud Hypervisor is told to start a VM, for a set of sandboxes, against tests/clh/NAME.requests. After an
 * intended change run the test with UPDATE_GOLDEN=1 and read the difference. That the real one takes these requests is
 * tried in the laboratory, that a strict double does in clh_driver_test.c.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hypervisor/clh_vm.h"

#define STR(s) ((char *)(uintptr_t)(s))

static struct config_hypervisor hv;
static struct vm_config config;

static char *params[] = { STR("reboot=k"), STR("caisson.test=1"), NULL };

static int reset(void **state)
{
	hv = (struct config_hypervisor){ .disable_guest_selinux = true,
					 .disable_image_nvdimm = true,
					 .num_queues = 1,
					 .queue_size = 128,
					 .network_queues = 1,
					 .hypervisor_loglevel = 1 };
	config = (struct vm_config){ .id = STR("abc"),
				     .run_dir = STR("/run/caisson/abc"),
				     .kernel = STR("/k/vmlinuz"),
				     .initrd = STR("/k/initrd"),
				     .image = STR(""),
				     .kernel_params = { .v = params, .len = 2 },
				     .vcpus = 1,
				     .max_vcpus = 1,
				     .memory_mib = 256,
				     .max_memory_mib = 256,
				     .hv = &hv };
	return 0;
}

static void add_json(struct buf *b, const char *request, const char *body, size_t n_fds)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *pretty = NULL;

	assert_int_equal(json_parse(body, strlen(body), 65536, &o, NULL), 0);
	pretty = json_write(o, true);
	buf_printf(b, "%s\n%s\n", request, pretty);
	if (n_fds)
		buf_printf(b, "with %zu descriptors\n", n_fds);
}

static int build(struct vm_device *devices, size_t n, struct buf *b, struct err *e)
{
	_cleanup_(clh_plan_fini) struct clh_plan plan = { 0 };
	_cleanup_strv_ struct strv argv = { 0 };
	_cleanup_free_ char *body = NULL;
	int r = clh_plan_init(&plan, &config, e);

	for (size_t i = 0; i < n && r == 0; i++)
		r = clh_plan_device(&plan, &devices[i], e);
	if (r == 0)
		r = clh_argv(&plan, "/usr/bin/cloud-hypervisor", 10, 11, &argv, e);
	if (r == 0)
		r = clh_create_body(&plan, &body, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < argv.len; i++)
		buf_printf(b, "%s%s", i ? " " : "", argv.v[i]);
	buf_puts(b, "\n");
	add_json(b, "vm.create", body, 0);
	for (size_t i = 0; i < plan.n_fd_nets; i++)
		add_json(b, "vm.add-net", plan.fd_nets[i].body, plan.fd_nets[i].n_fds);
	return 0;
}

static void golden_with(const char *name, struct vm_device *devices, size_t n)
{
	_cleanup_free_ char *path = str_printf("%s/tests/clh/%s.requests", getenv("SOURCE_ROOT"), name), *golden = NULL;
	_cleanup_buf_ struct buf b = { 0 };
	struct err e = { 0 };

	if (build(devices, n, &b, &e) < 0)
		fail_msg("%s: %s", name, e.text);
	if (getenv("UPDATE_GOLDEN"))
		assert_int_equal(file_replace(path, b.data, b.len, 0644), 0);
	assert_int_equal(file_read(path, 1 << 16, &golden, NULL), 0);
	assert_string_equal(b.data, golden);
}

static void golden(const char *name)
{
	golden_with(name, NULL, 0);
}

static void refused(struct vm_device *device, const char *part)
{
	_cleanup_buf_ struct buf b = { 0 };
	struct err e = { 0 };

	assert_true(build(device, device ? 1 : 0, &b, &e) < 0);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
	reset(NULL);
}

static void test_plain(void **state)
{
	golden("plain");
	hv.enable_debug = true;
	hv.hypervisor_loglevel = 2;
	hv.disable_seccomp = true;
	hv.disable_guest_selinux = false;
	hv.disable_nested_virtualization = true;
	golden("debug");
}

static void test_memory_and_cpus(void **state)
{
	config.vcpus = 2;
	config.max_vcpus = 8;
	config.max_memory_mib = 1000;
	hv.reclaim_guest_freed_memory = true;
	hv.enable_mem_prealloc = true;
	golden("hotplug-balloon");
	hv.enable_virtio_mem = true;
	hv.enable_hugepages = true;
	hv.hugepage_type = STR("hugetlbfs");
	golden("virtio-mem-hugepages");
	hv.hugepage_type = STR("thp");
	config.max_memory_mib = 300; /* less than one step: no hot-plug */
	golden("thp");
}

static void test_image(void **state)
{
	config.initrd = STR("");
	config.image = STR("/i/kata.img");
	golden("image-disk");
	hv.vm_rootfs_driver = STR("virtio-pmem");
	hv.kernel_verity_params =
		STR("root_hash=ab12,salt=cd,data_blocks=1000,data_block_size=4096,hash_block_size=4096");
	golden("image-pmem-verity");
	hv.vm_rootfs_driver = STR("");
	hv.disable_image_nvdimm = false;
	hv.kernel_verity_params = NULL;
	golden("image-pmem");
}

static void test_image_size(void **state)
{
	char path[] = "/tmp/caisson-clh-image-XXXXXX";
	_cleanup_close_ int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (3 << 20)), 0);
	config.initrd = STR("");
	config.image = path;
	hv.vm_rootfs_driver = STR("virtio-pmem");
	refused(NULL, "its size is no multiple of 2 MiB");
	unlink(path);
}

static void test_disks(void **state)
{
	struct vm_device d[] = {
		{ .kind = VM_DEVICE_BLOCK,
		  .id = STR("rootfs"),
		  .u.block = { .path = STR("/dev/vg/root"), .readonly = true, .serial = STR("rootfs") } },
		{ .kind = VM_DEVICE_BLOCK,
		  .id = STR("data"),
		  .u.block = { .path = STR("/d/data"), .discard = true, .serial = STR("") } }
	};

	golden_with("disks", d, 2);
	assert_int_equal(d[0].address_kind, VM_ADDRESS_PCI);
	assert_string_equal(d[0].address, "01");
	assert_string_equal(d[1].address, "02");
	/* The image is the first disk: /dev/vda. */
	config.initrd = STR("");
	config.image = STR("/i/kata.img");
	config.vcpus = config.max_vcpus = 4;
	hv.num_queues = 8;
	hv.queue_size = 1024;
	hv.block_device_cache_set = hv.block_device_cache_direct = true;
	hv.disk_rate_limiter_bw_max_rate = 8000000;
	hv.disk_rate_limiter_bw_one_time_burst = 16000000;
	hv.disk_rate_limiter_ops_max_rate = 500;
	hv.disk_rate_limiter_ops_one_time_burst = 50;
	golden_with("disks-tuned", d, 2);
	assert_string_equal(d[0].address, "02");
}

static void test_net_and_share(void **state)
{
	int fds[] = { STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO };
	struct vm_device d[] = {
		{ .kind = VM_DEVICE_FS,
		  .id = STR("share"),
		  .u.fs = { .tag = STR("kataShared"), .socket = STR("/run/caisson/abc/fs.sock"), .queue_size = 512 } },
		{ .kind = VM_DEVICE_NET,
		  .id = STR("eth0"),
		  .u.net = { .mode = STR("tap"),
			     .tap_fds = fds,
			     .n_tap_fds = 3,
			     .mac = "02:00:00:00:00:01",
			     .mtu = 1400 } },
		{ .kind = VM_DEVICE_NET, .id = STR("eth1"), .u.net = { .mode = STR("tap"), .tap = STR("tap7") } },
		{ .kind = VM_DEVICE_VFIO,
		  .id = STR("gpu"),
		  .u.vfio = { .path = STR("/sys/bus/pci/devices/0000:01:00.0") } },
	};

	config.shared_memory = true;
	config.vcpus = config.max_vcpus = 2;
	hv.network_queues = 4;
	hv.net_rate_limiter_bw_max_rate = 1;
	hv.net_rate_limiter_ops_max_rate = 1000;
	hv.enable_iommu = true;
	golden_with("net-share-vfio", d, 4);
}

static void test_confidential(void **state)
{
	hv.confidential_guest = true;
	hv.firmware = STR("/f/tdvf.fd");
	config.max_vcpus = 4;
	config.max_memory_mib = 4096;
	golden("tdx");
	hv.sev_snp_guest = true;
	hv.firmware = STR("/f/stage0.igvm");
	golden("snp");
	hv.enable_landlock = true;
	golden("landlock");
}

static void test_refusals(void **state)
{
	struct vm_device d = { .kind = VM_DEVICE_9P, .id = STR("share"), .u.fs = { .tag = STR("x") } };
	static char many[2100];

	refused(&d, "has no 9p");
	d.id = STR("Share");
	refused(&d, "device id \"Share\"");
	d = (struct vm_device){ .kind = VM_DEVICE_FS,
				.id = STR("a"),
				.u.fs = { .tag = STR("x"), .socket = STR("/s") } };
	refused(&d, "not planned with shared memory");
	d = (struct vm_device){ .kind = VM_DEVICE_NET, .id = STR("a"), .u.net = { .mode = STR("passt") } };
	refused(&d, "use a tap");
	d.u.net.mode = STR("tap");
	refused(&d, "no tap interface is named");
	d.u.net.mode = STR("bridge");
	refused(&d, "knows no mode \"bridge\"");
	d = (struct vm_device){ .kind = VM_DEVICE_BLOCK,
				.id = STR("a"),
				.u.block = { .path = STR("/proc/1/fd/3"), .serial = STR("123456789012345678901") } };
	refused(&d, "more than 20 characters");
	d.u.block.serial = STR("");
	hv.enable_landlock = true;
	refused(&d, "enable_landlock");
	d.u.block.path = STR("");
	refused(&d, "no path");
	hv.firmware = STR("/f/ovmf.fd");
	refused(NULL, "leave firmware empty");
	hv.confidential_guest = true;
	refused(NULL, "set firmware to");
	hv.sev_snp_guest = true;
	refused(NULL, "needs confidential_guest");
	config.run_dir = many;
	memset(many, 'x', 110);
	refused(NULL, "at most 107 bytes");
	memset(many, 'x', sizeof many - 1);
	params[1] = many;
	refused(NULL, "shorten kernel_params");
	params[1] = STR("caisson.test=1");
}

static void test_full_bus(void **state)
{
	_cleanup_(clh_plan_fini) struct clh_plan plan = { 0 };
	struct vm_device d = { .kind = VM_DEVICE_BLOCK, .id = STR("a"), .u.block = { .path = STR("/d") } };
	struct err e = { 0 };

	assert_int_equal(clh_plan_init(&plan, &config, &e), 0);
	for (unsigned i = 0; i < 30; i++)
		assert_int_equal(clh_plan_device(&plan, &d, &e), 0);
	assert_string_equal(d.address, "1e");
	assert_int_equal(clh_plan_device(&plan, &d, &e), 0);
	assert_string_equal(d.address, "1f");
	assert_int_equal(clh_plan_device(&plan, &d, &e), -ENOSPC);
}

static void test_addresses(void **state)
{
	static const char *const cases[][2] = {
		{ "0000:00:05.0", "05" }, { "0000:00:1f.0", "1f" }, { "0001:00:05.0", "" },  { "0000:01:05.0", "" },
		{ "0000:00:05.1", "" },   { "0000:00:20.0", "" },   { "0000:00:05.0x", "" }, { "", "" },
	};
	struct vm_device d = { 0 };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		clh_give_address(&d, cases[i][0]);
		assert_string_equal(d.address, cases[i][1]);
		assert_int_equal(d.address_kind, cases[i][1][0] ? VM_ADDRESS_PCI : VM_ADDRESS_NONE);
	}
	clh_give_address(&d, NULL);
	assert_int_equal(d.address_kind, VM_ADDRESS_NONE);
}

static void count_event(const char *source, const char *event, struct json_object *properties, void *userdata)
{
	struct buf *b = userdata;
	const char *id = json_get_str(properties, "id");

	buf_printf(b, "%s/%s(%s) ", source, event, id ? id : "");
}

/* In one piece and byte by byte; rubbish between events is passed over, an event without end is not. */
static void test_events(void **state)
{
	static const char text[] = "{\n  \"timestamp\": {\n    \"secs\": 1,\n    \"nanos\": 2\n  },\n  \"source\": "
				   "\"vmm\",\n  \"event\": \"starting\",\n"
				   "  \"properties\": null\n}\n\n"
				   "rubbish\n\n{\"source\":1,\"event\":\"x\"}\n\n[]\n\n"
				   "{\"source\":\"vm\",\"event\":\"device-removed\",\"properties\":{\"id\":\"_virtio-"
				   "pci-dev-a\",\"bdf\":\"0000:00:06.0\"}}\n\n"
				   "{\"source\":\"vm\",\"event\":\"rebooting\"";
	static const char expected[] = "vmm/starting() vm/device-removed(_virtio-pci-dev-a) ";
	_cleanup_buf_ struct buf pending = { 0 }, one = { 0 }, all = { 0 };
	_cleanup_free_ char *much = calloc(1, CLH_EVENT_MAX + 2);

	assert_int_equal(clh_events_feed(&pending, text, sizeof text - 1, count_event, &all), 0);
	assert_string_equal(all.data, expected);
	buf_fini(&pending);
	pending = (struct buf){ 0 };
	for (size_t i = 0; i < sizeof text - 1; i++)
		assert_int_equal(clh_events_feed(&pending, text + i, 1, count_event, &one), 0);
	assert_string_equal(one.data, expected);
	assert_non_null(much);
	memset(much, 'x', CLH_EVENT_MAX + 1);
	assert_int_equal(clh_events_feed(&pending, much, CLH_EVENT_MAX + 1, count_event, &one), -EFBIG);
}

static void test_versions(void **state)
{
	struct clh_facts f = { .path = "/x" };
	struct err e = { 0 };

	assert_int_equal(clh_parse_version("v51.1.0", &f), 0);
	assert_int_equal(clh_check_version(&f, &e), 0);
	assert_int_equal(clh_parse_version("53.0.0", &f), 0);
	assert_int_equal(f.major, 53);
	assert_int_equal(clh_parse_version("50.2", &f), 0);
	assert_int_equal(clh_check_version(&f, &e), -ENOTSUP);
	assert_string_equal(e.text, "/x is Cloud Hypervisor 50.2, which is too old: 51.0 or newer is needed");
	assert_int_equal(clh_parse_version("dev", &f), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_plain, reset),
		cmocka_unit_test_setup(test_memory_and_cpus, reset),
		cmocka_unit_test_setup(test_image, reset),
		cmocka_unit_test_setup(test_image_size, reset),
		cmocka_unit_test_setup(test_disks, reset),
		cmocka_unit_test_setup(test_net_and_share, reset),
		cmocka_unit_test_setup(test_confidential, reset),
		cmocka_unit_test_setup(test_refusals, reset),
		cmocka_unit_test_setup(test_full_bus, reset),
		cmocka_unit_test_setup(test_addresses, reset),
		cmocka_unit_test(test_events),
		cmocka_unit_test(test_versions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
