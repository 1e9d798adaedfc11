/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver against a double of StratoVirt (tests/hypervisors/stratovirt-double), which is strict and can be told to
 * fail at each step, and against scripts that are no StratoVirt. Every failure must be one message, within its bound,
 * with no process, descriptor or file left. KVM and vhost-vsock are those of the test: the linker puts its functions in
 * the place of the real ones.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "hypervisor/console.h"
#include "hypervisor/short_wait.h"
#include "hypervisor/stratovirt_vm.h"

#define STR(s) ((char *)(uintptr_t)(s))

static struct config_hypervisor hv;
static struct vm_config config;
static char dir[] = "/tmp/caisson-stratovirt-XXXXXX", run_dir[64];
static char double_path[512], fake_path[64], kernel_path[64], initrd_path[64], disk_path[64];
static struct loop *loop;
static const struct hypervisor_driver *driver;

/* What the linker calls instead of hypervisor_kvm_usable() and vhost_vsock_claim(). */
bool __wrap_hypervisor_kvm_usable(char *why, size_t size);
int __wrap_vhost_vsock_claim(struct vm *vm, int *ret_fd, uint32_t *ret_cid, struct err *e);

bool __wrap_hypervisor_kvm_usable(char *why, size_t size)
{
	return true;
}

int __wrap_vhost_vsock_claim(struct vm *vm, int *ret_fd, uint32_t *ret_cid, struct err *e)
{
	*ret_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	*ret_cid = 77;
	snprintf(vm->agent_address, sizeof vm->agent_address, "vsock:77");
	return 0;
}

static void write_file(const char *path, const char *text, size_t len, mode_t mode)
{
	assert_int_equal(file_replace(path, text, len, mode), 0);
}

static int set_up(void **state)
{
	char kernel[0x300] = { 0 };

	memcpy(kernel + 0x202, "HdrS", 4);
	memcpy(kernel + 56, "ARM\x64", 4);
	snprintf(double_path, sizeof double_path, "%s/tests/hypervisors/stratovirt-double", getenv("SOURCE_ROOT"));
	snprintf(run_dir, sizeof run_dir, "%s/run", dir);
	snprintf(fake_path, sizeof fake_path, "%s/fake", dir);
	snprintf(kernel_path, sizeof kernel_path, "%s/kernel", dir);
	snprintf(initrd_path, sizeof initrd_path, "%s/initrd", dir);
	snprintf(disk_path, sizeof disk_path, "%s/disk", dir);
	if (mkdir(run_dir, 0700) < 0 && errno != EEXIST)
		return -1;
	write_file(kernel_path, kernel, sizeof kernel, 0600);
	write_file(initrd_path, "cpio", 4, 0600);
	write_file(disk_path, "disk", 4, 0600);
	hv = (struct config_hypervisor){ .default_bridges = 1, .path = double_path };
	config = (struct vm_config){ .id = STR("test"),
				     .run_dir = run_dir,
				     .kernel = kernel_path,
				     .initrd = initrd_path,
				     .image = STR(""),
				     .vcpus = 2,
				     .max_vcpus = 2,
				     .memory_mib = 256,
				     .max_memory_mib = 256,
				     .start_timeout_ms = 60000,
				     .hv = &hv };
	driver = hypervisor_find("stratovirt");
	unsetenv("DOUBLE");
	unsetenv("DOUBLE_KEEP");
	unsetenv("DOUBLE_PACKAGE");
	return loop_new(&loop, NULL);
}

static int tear_down(void **state)
{
	loop_free(loop);
	return 0;
}

static struct vm *prepared(void)
{
	struct vm *vm = NULL;
	struct err e = { 0 };

	if (driver->prepare(loop, &config, &vm, &e) < 0)
		fail_msg("prepare: %s", e.text);
	return vm;
}

static struct vm *started(void)
{
	struct vm *vm = prepared();
	struct err e = { 0 };

	if (driver->start(vm, &e) < 0)
		fail_msg("start: %s", e.text);
	return vm;
}

#define must(call)                                                                                                     \
	do {                                                                                                           \
		struct err must_err = { 0 }, *e = &must_err;                                                           \
		if ((call) < 0)                                                                                        \
			fail_msg("%s: %s", #call, e->text);                                                            \
	} while (0)

#define must_fail(call, part)                                                                                          \
	do {                                                                                                           \
		struct err must_err = { 0 }, *e = &must_err;                                                           \
		assert_true((call) < 0);                                                                               \
		if (!strstr(e->text, part))                                                                            \
			fail_msg("\"%s\" does not say \"%s\"", e->text, part);                                         \
	} while (0)

/* --- a life --- */

static void life(const char *machine)
{
	unsigned fds = count_entries("/proc/self/fd");
	struct vm_device disk = { .kind = VM_DEVICE_BLOCK,
				  .id = STR("rootfs"),
				  .u.block = { .path = disk_path, .readonly = true, .serial = STR("rootfs") } };
	struct vm_device share = { .kind = VM_DEVICE_FS,
				   .id = STR("share"),
				   .u.fs = { .tag = STR("kataShared"), .socket = STR("/run/fs.sock") } };
	struct vm_process_info info;
	struct vm *vm;

	hv.machine_type = STR(machine);
	config.shared_memory = true;
	vm = prepared();
	assert_string_equal(vm->agent_address, "vsock:77");
	must(driver->add_device(vm, &disk, e));
	must(driver->add_device(vm, &share, e));
	must(driver->start(vm, e));
	must_fail(driver->start(vm, e), "was started before");
	must(driver->info(vm, &info, e));
	assert_int_equal(info.n_vcpus, 2);
	assert_int_equal(info.vcpu_tids[1], info.vmm_pid);
	must(driver->pause(vm, e));
	must_fail(driver->pause(vm, e), "stop was refused");
	must(driver->resume(vm, e));
	assert_false(vm_wait_exit(vm, 0));
	console_drain(vm->console);
	assert_non_null(console_find(vm->console, "the double of a guest: "));
	must(driver->stop(vm, 0, e));
	assert_true(vm_wait_exit(vm, 0));
	must(driver->stop(vm, 0, e));
	driver->free(vm);
	assert_int_equal(count_entries("/proc/self/fd"), fds);
	assert_int_equal(count_entries(run_dir), 2);
}

static void test_life(void **state)
{
	life("microvm");
	life("");
	config.shared_memory = false;
}

/* Everything that the driver may put on a command line is taken. */
static void test_options(void **state)
{
	struct vm *vm;

	config.initrd = STR("");
	config.image = disk_path;
	hv.reclaim_guest_freed_memory = hv.enable_mem_prealloc = hv.enable_hugepages = true;
	hv.disable_seccomp = hv.enable_debug = true;
	hv.block_device_cache_set = hv.block_device_cache_direct = true;
	hv.firmware = hv.firmware_volume = disk_path;
	vm = started();
	driver->free(vm);
	hv.firmware = hv.firmware_volume = NULL;
	hv.machine_type = STR("microvm");
	vm = started();
	driver->free(vm);
	assert_int_equal(count_entries(run_dir), 2);
}

/* --- plugging --- */

static void plug_disk(struct vm *vm, const char *id, const char *address)
{
	struct vm_device d = { .kind = VM_DEVICE_BLOCK,
			       .id = STR(id),
			       .u.block = { .path = disk_path, .serial = STR("S1"), .discard = true } };

	must(driver->add_device(vm, &d, e));
	assert_string_equal(d.address, address);
}

static void plug_nic(struct vm *vm, const char *id, const char *address)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct vm_device d = { .kind = VM_DEVICE_NET,
			       .id = STR(id),
			       .u.net = { .mode = STR("tap"), .tap_fds = &fd, .n_tap_fds = 1 } };

	must(driver->add_device(vm, &d, e));
	assert_string_equal(d.address, address);
	close(fd);
}

static void test_plug_ports(void **state)
{
	struct vm_device fifth = { .kind = VM_DEVICE_BLOCK, .id = STR("e"), .u.block = { .path = disk_path } };
	struct vm_device gone = { .kind = VM_DEVICE_BLOCK, .id = STR("f"), .u.block = { .path = STR("/none") } };
	struct vm_device share = { .kind = VM_DEVICE_FS, .id = STR("g") };
	struct vm *vm = started();

	plug_disk(vm, "a", "01/00");
	plug_nic(vm, "b", "02/00");
	must_fail(driver->add_device(vm, &gone, e), "cannot plug in device f: StratoVirt: blockdev-add was refused");
	must_fail(driver->add_device(vm, &share, e), "shared directories cannot be added");
	plug_disk(vm, "c", "03/00");
	plug_disk(vm, "d", "04/00");
	must_fail(driver->add_device(vm, &fifth, e), "raise default_bridges");
	fifth.id = STR("a");
	must_fail(driver->add_device(vm, &fifth, e), "the id is in use");
	must(driver->remove_device(vm, "b", e));
	must_fail(driver->remove_device(vm, "b", e), "was not plugged");
	plug_disk(vm, "e", "02/00");
	driver->free(vm);
}

static void test_plug_places(void **state)
{
	struct vm_device cold = { .kind = VM_DEVICE_BLOCK, .id = STR("rootfs"), .u.block = { .path = disk_path } };
	struct vm_device more = { .kind = VM_DEVICE_BLOCK, .id = STR("e"), .u.block = { .path = disk_path } };
	struct vm *vm;

	hv.machine_type = STR("microvm");
	vm = prepared();
	must(driver->add_device(vm, &cold, e));
	must(driver->start(vm, e));
	plug_disk(vm, "a", "/dev/vdb");
	plug_disk(vm, "b", "/dev/vdc");
	plug_disk(vm, "c", "/dev/vdd");
	must_fail(driver->add_device(vm, &more, e), "microvm has 4 disks, and all are taken");
	plug_nic(vm, "n", "");
	plug_nic(vm, "m", "");
	must(driver->remove_device(vm, "b", e));
	plug_disk(vm, "d", "/dev/vdc");
	must(driver->remove_device(vm, "n", e));
	plug_nic(vm, "n", "");
	driver->free(vm);
}

static void test_guest_keeps_it(void **state)
{
	struct vm *vm;

	setenv("DOUBLE_KEEP", "1", 1);
	vm = started();
	stratovirt_vm_of(vm)->unplug_ms = 200;
	plug_disk(vm, "a", "01/00");
	must_fail(driver->remove_device(vm, "a", e), "cannot unplug device a: the guest did not release it");
	driver->free(vm);
}

/* --- failures --- */

static void expect_start_failure(const char *how, int code, const char *part)
{
	unsigned fds = count_entries("/proc/self/fd");
	struct err e = { 0 };
	struct vm *vm = prepared();
	uint64_t t = clock_ms();
	int r;

	setenv("DOUBLE", how, 1);
	r = driver->start(vm, &e);
	if (r != code)
		fail_msg("%s: %d and not %d: %s", how, r, code, e.text);
	if (!strstr(e.text, part))
		fail_msg("%s: \"%s\" does not say \"%s\"", how, e.text, part);
	assert_true(clock_ms() - t < config.start_timeout_ms + 15000);
	assert_int_equal(vm->exit_fd, -1);
	driver->free(vm);
	assert_int_equal(count_entries("/proc/self/fd"), fds);
	assert_int_equal(count_entries(run_dir), 2);
}

static void test_start_fails(void **state)
{
	expect_start_failure("start:die", -EIO, "StratoVirt exited with status 3: the double dies as it was told to");
	expect_start_failure("listen:die", -EIO, "StratoVirt exited with status 3");
	expect_start_failure("greeting:die", -EIO, "StratoVirt exited with status 3");
	expect_start_failure("qmp_capabilities:die", -EIO, "StratoVirt exited with status 3");
	expect_start_failure("greeting:garbage", -EPROTO, "not QMP");
	expect_start_failure("qmp_capabilities:garbage", -EPROTO, "not QMP");
	expect_start_failure("greeting:half", -EPIPE, "closed the connection");
	short_wait = true; /* it stays */
	expect_start_failure("qmp_capabilities:half", -EPIPE, "closed the connection");
	short_wait = false;
	expect_start_failure("greeting:flood", -EPROTO, "not QMP");
	expect_start_failure("qmp_capabilities:flood", -EPROTO, "not QMP");
	config.start_timeout_ms = 500;
	expect_start_failure("start:hang", -ETIMEDOUT, "no answer from the monitor in time");
	expect_start_failure("listen:hang", -ETIMEDOUT, "no answer from the monitor in time");
}

static void expect_command_failure(const char *how, const char *part)
{
	unsigned fds = count_entries("/proc/self/fd");
	struct vm *vm;
	uint64_t t;

	setenv("DOUBLE", how, 1);
	vm = started();
	assert_int_equal(stratovirt_vm_of(vm)->command_ms, STRATOVIRT_COMMAND_MS);
	if (strstr(how, ":hang"))
		stratovirt_vm_of(vm)->command_ms = 300;
	t = clock_ms();
	must_fail(driver->pause(vm, e), part);
	assert_true(clock_ms() - t < STRATOVIRT_COMMAND_MS + 15000);
	driver->free(vm);
	assert_int_equal(count_entries("/proc/self/fd"), fds);
	assert_int_equal(count_entries(run_dir), 2);
}

static void test_command_fails(void **state)
{
	expect_command_failure("stop:die", "stop: the VM ended: StratoVirt exited with status 3");
	expect_command_failure("stop:garbage", "not QMP");
	expect_command_failure("stop:half", "closed the connection");
	expect_command_failure("stop:flood", "not QMP");
	expect_command_failure("stop:hang", "no answer from the monitor in time");
}

static void test_quit_hangs(void **state)
{
	struct vm *vm;

	setenv("DOUBLE", "quit:hang", 1);
	vm = started();
	must(driver->stop(vm, 0, e));
	assert_true(vm_wait_exit(vm, 0));
	driver->free(vm);
	assert_int_equal(count_entries(run_dir), 2);
}

static void test_plug_fails(void **state)
{
	struct vm_device d = { .kind = VM_DEVICE_BLOCK, .id = STR("a"), .u.block = { .path = disk_path } };
	struct vm *vm;

	setenv("DOUBLE", "device_add:die", 1);
	vm = started();
	must_fail(driver->add_device(vm, &d, e), "cannot plug in device a: device_add: the VM ended");
	driver->free(vm);
	setenv("DOUBLE", "device_del:die", 1);
	vm = started();
	plug_disk(vm, "a", "01/00");
	must_fail(driver->remove_device(vm, "a", e), "cannot unplug device a: device_del: the VM ended");
	driver->free(vm);
}

/* What is not answered in time may be there all the same: nothing else gets its port, and it comes out first. */
static void expect_late_plug(const char *command)
{
	struct vm_device d = { .kind = VM_DEVICE_BLOCK, .id = STR("a"), .u.block = { .path = disk_path } };
	struct vm *vm;

	setenv("DOUBLE", command, 1);
	vm = started();
	stratovirt_vm_of(vm)->command_ms = 300;
	must_fail(driver->add_device(vm, &d, e), "no answer from the monitor in time");
	stratovirt_vm_of(vm)->command_ms = STRATOVIRT_COMMAND_MS;
	plug_disk(vm, "b", "02/00");
	plug_disk(vm, "a", "01/00");
	must(driver->remove_device(vm, "a", e));
	driver->free(vm);
}

static void test_plug_is_late(void **state)
{
	expect_late_plug("device_add:silent");
	expect_late_plug("blockdev-add:silent");
}

/* --- how it ends --- */

static void fake(const char *version, const char *body)
{
	_cleanup_free_ char *text =
		str_printf("#!/bin/sh\n[ \"$1\" = -version ] && { %s; exit 0; }\n%s\n", version, body);

	write_file(fake_path, text, strlen(text), 0700);
	hv.path = fake_path;
}

/* What its monitor says. */
static void test_greeted_versions(void **state)
{
	config.start_timeout_ms = 60000;
	setenv("DOUBLE_PACKAGE", "StratoVirt-2.2.0", 1);
	expect_start_failure("", -ENOTSUP, "is StratoVirt 2.2, which is too old: 2.3 or newer is needed");
	setenv("DOUBLE_PACKAGE", "v7.2.0", 1);
	expect_start_failure("", -EPROTO, "is not StratoVirt: its monitor greets as \"v7.2.0\"");
}

static void fails_to_start(const char *part)
{
	struct vm *vm = prepared();

	must_fail(driver->start(vm, e), part);
	driver->free(vm);
}

/* What one says that does not come so far. */
static void test_versions(void **state)
{
	struct vm_host_report report;
	struct vm *vm;

	fake("echo 'StratoVirt 2.2.0 commit-id x'", "echo 'unknown option' >&2; exit 1");
	fails_to_start("is StratoVirt 2.2, which is too old: 2.3 or newer is needed");
	must(driver->check(&hv, &report, e));
	assert_false(report.usable);
	assert_non_null(strstr(report.reason, "too old"));
	fake("echo hello", "");
	fails_to_start("is not StratoVirt: -version printed \"hello");
	fake("echo 'StratoVirt 2.4.0'", "echo 'no firmware' >&2; exit 1");
	fails_to_start("no firmware; this StratoVirt boots q35 from UEFI firmware only");
	hv.path = STR("/none/stratovirt");
	must_fail(driver->prepare(loop, &config, &vm, e), "there is no StratoVirt at /none/stratovirt");
}

static void test_advice(void **state)
{
	struct vm *vm;

	fake("echo 'StratoVirt 2.5.0'", "echo 'Unsupported device: \"vhost-vsock-pci\"' >&2; exit 1");
	vm = prepared();
	must_fail(driver->start(vm, e), "build StratoVirt with the features vhost_vsock and virtio_rng");
	driver->free(vm);
	fake("echo 'StratoVirt 2.5.0'", "echo 'Failed to load linux: No FwCfg provided' >&2; exit 1");
	vm = prepared();
	must_fail(driver->start(vm, e), "this StratoVirt boots q35 from UEFI firmware only");
	driver->free(vm);
}

static void test_elf_kernel(void **state)
{
	struct vm *vm;

#ifdef __x86_64__
	char elf[64] = "\177ELF\2";

	elf[18] = 62;
	write_file(kernel_path, elf, sizeof elf, 0600);
	must_fail(driver->prepare(loop, &config, &vm, e), "is an ELF file, and StratoVirt boots a bzImage");
#endif
	unlink(kernel_path);
	must_fail(driver->prepare(loop, &config, &vm, e), "cannot read the guest kernel");
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
		TEST(test_life),          TEST(test_options),        TEST(test_plug_ports),
		TEST(test_plug_places),   TEST(test_guest_keeps_it), TEST(test_start_fails),
		TEST(test_command_fails), TEST(test_quit_hangs),     TEST(test_plug_fails),
		TEST(test_plug_is_late),  TEST(test_versions),       TEST(test_greeted_versions),
		TEST(test_advice),        TEST(test_elf_kernel),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
