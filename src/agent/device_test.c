// SPDX-License-Identifier: Apache-2.0
/* Device resolution against a small copy of what sysfs looks like. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/device.h"
#include "agent/uevent.h"
#include "base/fd.h"

static char root[64], sys[80];

static void make_dir(const char *path)
{
	char full[256];

	snprintf(full, sizeof full, "%s/%s", sys, path);
	assert_int_equal(dir_make(full, 0755), 0);
}

static void make_file(const char *path, const char *text)
{
	char full[256];

	snprintf(full, sizeof full, "%s/%s", sys, path);
	assert_int_equal(file_replace(full, text, strlen(text), 0644), 0);
}

static int setup(void **state)
{
	(void)state;
	strcpy(root, "/tmp/caisson-sysfs-XXXXXX");
	assert_non_null(mkdtemp(root));
	snprintf(sys, sizeof sys, "%s/sys", root);
	make_dir("../dev");
	make_file("../dev/vdb", "");
	make_file("../dev/sdc", "");
	make_dir("bus/pci/devices/0000:00:02.0/pci_bus/0000:01");
	make_dir("bus/pci/devices/0000:01:01.0/virtio3/block/vdb");
	make_dir("bus/pci/devices/0000:00:05.1/virtio1/net/eth0");
	make_dir("bus/pci/devices/0000:00:06.0/virtio7");
	make_dir("bus/pci/devices/0000:00:07.0/nvme/nvme0/nvme0n1");
	make_dir("class/block/vdb");
	make_file("class/block/vdb/dev", "254:16\n");
	make_dir("class/scsi_device/2:0:1:4/device/block/sdc");
	make_dir("class/scsi_device/2:0:11:4");
	make_dir("class/block/sdc");
	make_file("class/block/sdc/dev", "8:32\n");
	make_dir("class/scsi_host/host2");
	make_file("class/scsi_host/host2/scan", "");
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return dir_remove(root);
}

static void test_pci(void **state)
{
	struct device_node n;
	char text[64];

	(void)state;
	assert_int_equal(device_pci_address(sys, "02/01", text), 0);
	assert_string_equal(text, "0000:01:01.0");
	assert_int_equal(device_resolve(root, "blk", "02/01", &n, NULL), 0);
	assert_string_equal(n.path, "/dev/vdb");
	assert_int_equal(n.major, 254);
	assert_int_equal(n.minor, 16);
	assert_true(n.block);
	assert_int_equal(device_pci_net(sys, "05.1", text, sizeof text), 0);
	assert_string_equal(text, "eth0");
	assert_int_equal(device_pci_block(sys, "0000:00:07.0", text, sizeof text), 0);
	assert_string_equal(text, "nvme0n1");
	assert_int_equal(device_resolve(root, "vfio-pci-gk", "02/01", &n, NULL), 0);
	assert_string_equal(n.path, "");
}

static void test_not_there_yet(void **state)
{
	struct device_node n;

	(void)state;
	assert_int_equal(device_resolve(root, "blk", "02/02", &n, NULL), -EAGAIN); /* no such device */
	assert_int_equal(device_resolve(root, "blk", "06", &n, NULL), -EAGAIN);    /* its driver is not ready */
	assert_int_equal(device_resolve(root, "blk", "05/01", &n, NULL), -EAGAIN); /* not a bridge */
	assert_int_equal(device_resolve(root, "scsi", "1:5", &n, NULL), -EAGAIN);
	assert_int_equal(device_resolve(root, "mmioblk", "/dev/caisson-none", &n, NULL), -EAGAIN);
}

/* A node that cannot be opened yet, and none. */
static void test_not_open_yet(void **state)
{
	struct device_node n;
	char node[96];

	(void)state;
	snprintf(node, sizeof node, "%s/dev/vdb", root);
	assert_int_equal(unlink(node), 0);
	assert_int_equal(device_resolve(root, "blk", "02/01", &n, NULL), -EAGAIN);
	if (mknod(node, S_IFBLK | 0600, makedev(4095, 0)) < 0) /* no driver has this number */
		skip();
	assert_int_equal(device_resolve(root, "blk", "02/01", &n, NULL), -EAGAIN);
	assert_int_equal(device_resolve(root, "mmioblk", "/dev/vdb", &n, NULL), -EAGAIN);
	assert_int_equal(unlink(node), 0);
	make_file("../dev/vdb", "");
	assert_int_equal(device_resolve(root, "blk", "02/01", &n, NULL), 0);
}

static void test_malformed(void **state)
{
	static const char *const bad[] = { "", "/", "02/", "/02", "20", "02.8", "02.", "2:1", "zz", "02/../01" };
	struct device_node n;
	struct err e = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(device_resolve(root, "blk", bad[i], &n, NULL), -EINVAL);
	assert_int_equal(device_resolve(root, "scsi", "1", &n, NULL), -EINVAL);
	assert_int_equal(device_resolve(root, "scsi", "a:1", &n, NULL), -EINVAL);
	assert_int_equal(device_resolve(root, "mmioblk", "vda", &n, NULL), -EINVAL);
	assert_int_equal(device_resolve(root, "vfio-ap", "x", &n, &e), -ENOSYS);
	assert_non_null(strstr(e.text, "vfio-ap"));
}

static void test_scsi(void **state)
{
	struct device_node n;

	(void)state;
	assert_int_equal(device_resolve(root, "scsi", "1:4", &n, NULL), 0);
	assert_string_equal(n.path, "/dev/sdc");
	assert_int_equal(n.minor, 32);
}

static void test_rewrite(void **state)
{
	Grpc__LinuxDevice a = GRPC__LINUX_DEVICE__INIT, b = GRPC__LINUX_DEVICE__INIT, *devs[] = { &a, &b };
	Grpc__LinuxDeviceCgroup ra = GRPC__LINUX_DEVICE_CGROUP__INIT, rb = GRPC__LINUX_DEVICE_CGROUP__INIT;
	Grpc__LinuxDeviceCgroup *rules[] = { &ra, &rb };
	Grpc__LinuxResources res = GRPC__LINUX_RESOURCES__INIT;
	Grpc__Linux linux_part = GRPC__LINUX__INIT;
	Grpc__Spec spec = GRPC__SPEC__INIT;
	Grpc__Device da = GRPC__DEVICE__INIT, db = GRPC__DEVICE__INIT, *asked[] = { &da, &db };
	struct device_node nodes[] = { { "/dev/vda", true, 8, 2 }, { "/dev/vdb", true, 254, 0 } };

	(void)state;
	a.path = da.container_path = (char *)"/dev/xvda";
	b.path = db.container_path = (char *)"/dev/xvdb";
	a.major = ra.major = 8, a.minor = ra.minor = 1;
	b.major = rb.major = 8, b.minor = rb.minor = 2;
	ra.type = rb.type = (char *)"b";
	res.devices = rules, res.n_devices = 2;
	linux_part.devices = devs, linux_part.n_devices = 2, linux_part.resources = &res;
	spec.linux = &linux_part;
	assert_int_equal(device_rewrite_spec(&spec, asked, nodes, 2, NULL), 0);
	/* The first device's new numbers are the second one's old ones; each rule follows its own device. */
	assert_int_equal(a.minor, 2);
	assert_int_equal(ra.major, 8);
	assert_int_equal(ra.minor, 2);
	assert_int_equal(b.major, 254);
	assert_int_equal(rb.major, 254);
	assert_int_equal(rb.minor, 0);
	db.container_path = (char *)"/dev/other";
	assert_int_equal(device_rewrite_spec(&spec, asked, nodes, 2, NULL), -EINVAL);
}

static void test_uevent(void **state)
{
	static const char good[] = "add@/devices/x\0ACTION=add\0DEVPATH=/devices/x\0SUBSYSTEM=block\0DEVNAME=vda\0"
				   "MODALIAS=scsi:t-0x00";
	struct uevent ev;

	(void)state;
	assert_int_equal(uevent_parse(good, sizeof good, &ev), 0);
	assert_string_equal(ev.action, "add");
	assert_string_equal(ev.devname, "vda");
	assert_string_equal(ev.modalias, "scsi:t-0x00");
	assert_int_equal(uevent_parse(good, sizeof good - 1, &ev), -EBADMSG); /* not terminated */
	assert_int_equal(uevent_parse("libudev", 8, &ev), -EBADMSG);
	assert_int_equal(uevent_parse("add@/x", 7, &ev), -EBADMSG);
	assert_int_equal(uevent_parse("", 0, &ev), -EBADMSG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_pci),          cmocka_unit_test(test_not_there_yet),
		cmocka_unit_test(test_not_open_yet), cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_scsi),         cmocka_unit_test(test_rewrite),
		cmocka_unit_test(test_uevent),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
