/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver against fake QEMUs: scripts that answer --version and then fail in one way each. Every failure must be one
 * message, within its bound, with no process, descriptor or file left.
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
#include "hypervisor/driver.h"
#include "hypervisor/program.h"
#include "hypervisor/short_wait.h"

#define STR(s) ((char *)(uintptr_t)(s))

static struct config_hypervisor hv;
static struct vm_config config;
static char dir[] = "/tmp/caisson-qemu-fake-XXXXXX";
static char qemu_path[64], kernel_path[64], initrd_path[64], pid_path[64];
static struct loop *loop;
static const struct hypervisor_driver *driver;

/* How long a program that does not tell its version is waited for here; the others need no time. */
#define VERSION_MS 300

int __real_program_version(const char *path, const char *option, unsigned timeout_ms, char *text, size_t size,
			   struct err *e);
int __wrap_program_version(const char *path, const char *option, unsigned timeout_ms, char *text, size_t size,
			   struct err *e);

static bool silent_program;

int __wrap_program_version(const char *path, const char *option, unsigned timeout_ms, char *text, size_t size,
			   struct err *e)
{
	assert_int_equal(timeout_ms, PROGRAM_VERSION_MS);
	return __real_program_version(path, option, silent_program ? VERSION_MS : timeout_ms, text, size, e);
}

static void write_file(const char *path, const char *text, size_t len, mode_t mode)
{
	assert_int_equal(file_replace(path, text, len, mode), 0);
}

static int set_up(void **state)
{
	char kernel[0x300] = { 0 };

	memcpy(kernel + 0x202, "HdrS", 4);
	snprintf(qemu_path, sizeof qemu_path, "%s/qemu", dir);
	snprintf(kernel_path, sizeof kernel_path, "%s/kernel", dir);
	snprintf(initrd_path, sizeof initrd_path, "%s/initrd", dir);
	snprintf(pid_path, sizeof pid_path, "%s/pid", dir);
	write_file(kernel_path, kernel, sizeof kernel, 0600);
	write_file(initrd_path, "cpio", 4, 0600);
	hv = (struct config_hypervisor){ .default_bridges = 1, .path = qemu_path };
	config = (struct vm_config){ .id = STR("fake"),
				     .run_dir = dir,
				     .kernel = kernel_path,
				     .initrd = initrd_path,
				     .image = STR(""),
				     .vcpus = 1,
				     .max_vcpus = 1,
				     .memory_mib = 256,
				     .max_memory_mib = 256,
				     .start_timeout_ms = 1000,
				     .hv = &hv };
	driver = hypervisor_find("qemu");
	return loop_new(&loop, NULL);
}

static int tear_down(void **state)
{
	loop_free(loop);
	return 0;
}

/* body runs as QEMU; $m is the descriptor of the monitor. */
static void fake_qemu(const char *body)
{
	_cleanup_free_ char *text =
		str_printf("#!/bin/bash\n"
			   "[ \"$1\" = --version ] && { echo 'QEMU emulator version 7.2.0'; exit 0; }\n"
			   "echo $$ > %s\n"
			   "args=\"$*\"; m=${args#*socket,id=monitor,fd=}; m=${m%%%% *}\n"
			   "greet() { echo '{\"QMP\":{}}' >&$m; read -r line <&$m; }\n"
			   "%s\n",
			   pid_path, body);

	write_file(qemu_path, text, strlen(text), 0700);
	unlink(pid_path);
}

static void expect_start_failure(const char *body, int code, const char *part)
{
	unsigned fds = count_entries("/proc/self/fd"), files;
	_cleanup_free_ char *pid = NULL;
	struct err e = { 0 };
	struct vm *vm = NULL;
	char proc[64];
	uint64_t t;

	fake_qemu(body);
	files = count_entries(dir);
	if (driver->prepare(loop, &config, &vm, &e) < 0)
		fail_msg("prepare: %s", e.text);
	t = clock_ms();
	assert_int_equal(driver->start(vm, &e), code);
	assert_true(clock_ms() - t < 15000);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
	assert_int_equal(vm->exit_fd, -1);
	driver->free(vm);
	assert_int_equal(count_entries("/proc/self/fd"), fds);
	/* The fake's pid file is the one thing that is new. */
	assert_int_equal(count_entries(dir), files + 1);
	assert_int_equal(file_read(pid_path, 32, &pid, NULL), 0);
	snprintf(proc, sizeof proc, "/proc/%d", atoi(pid));
	assert_int_equal(access(proc, F_OK), -1);
}

static void test_exits(void **state)
{
	expect_start_failure("exit 3", -EIO, "QEMU exited with status 3");
	expect_start_failure("echo 'Could not set up KVM' >&2; exit 1", -EIO, "status 1: Could not set up KVM");
	expect_start_failure("kill -SEGV $$", -EIO, "killed by signal 11");
	expect_start_failure("greet; exit 1", -EIO, "QEMU exited with status 1");
	expect_start_failure("printf '{\"QMP\":' >&$m; exit 0", -EIO, "QEMU exited with status 0");
}

static void test_hangs(void **state)
{
	expect_start_failure("exec sleep 1000", -ETIMEDOUT, "no answer from the monitor in time");
	config.start_timeout_ms = 300;
	expect_start_failure("greet; exec sleep 1000", -ETIMEDOUT, "no answer from the monitor in time");
	expect_start_failure("trap '' TERM; while :; do sleep 0.1; done", -ETIMEDOUT, "no answer");
	config.start_timeout_ms = 1000;
	/* The monitor is closed, the process stays. */
	expect_start_failure("eval \"exec $m>&-\"; exec sleep 1000", -EPIPE, "closed the connection");
}

static void test_garbage(void **state)
{
	config.start_timeout_ms = 300;
	expect_start_failure("head -c 100000 /dev/zero >&$m; exec sleep 1000", -ETIMEDOUT, "no answer");
	config.start_timeout_ms = 60000;
	expect_start_failure("echo hello >&$m; exec sleep 1000", -EPROTO, "not QMP");
	expect_start_failure("while :; do echo '[1,2' >&$m; done", -EPROTO, "not QMP");
	expect_start_failure("yes | tr -d '\\n' >&$m", -EPROTO, "not QMP");
	expect_start_failure(
		"greet; echo '{\"error\":{\"class\":\"GenericError\",\"desc\":\"no\"}}' >&$m; exec sleep 1000",
		-EREMOTEIO, "qmp_capabilities was refused: no");
}

/* A guest that prints without end, and a VMM that does. */
static void test_flood(void **state)
{
	expect_start_failure("yes noise >&2", -ETIMEDOUT, "noise");
}

static void expect_prepare_failure(int code, const char *part)
{
	unsigned fds = count_entries("/proc/self/fd");
	struct err e = { 0 };
	struct vm *vm = NULL;

	assert_int_equal(driver->prepare(loop, &config, &vm, &e), code);
	if (!strstr(e.text, part))
		fail_msg("\"%s\" does not say \"%s\"", e.text, part);
	assert_null(vm);
	assert_int_equal(count_entries("/proc/self/fd"), fds);
	tear_down(NULL);
	set_up(NULL);
}

static void test_inputs(void **state)
{
	_cleanup_free_ char *elf = calloc(1, 0x300);

	fake_qemu("exit 0");
	memcpy(elf, "\177ELF\2", 5);
	elf[18] = (char)183; /* EM_AARCH64 */
	config.kernel = STR("/nonexistent/vmlinuz");
	expect_prepare_failure(-ENOENT, "cannot read the guest kernel /nonexistent/vmlinuz");
	config.kernel = initrd_path;
	expect_prepare_failure(-ENOEXEC, "is not a Linux kernel");
	config.kernel = dir;
	expect_prepare_failure(-EINVAL, "is not a file");
#ifdef __x86_64__
	write_file(kernel_path, elf, 0x300, 0600);
	expect_prepare_failure(-ENOEXEC, "another architecture");
#endif
	config.initrd = STR("/nonexistent/initrd");
	expect_prepare_failure(-ENOENT, "cannot read the initrd /nonexistent/initrd");
	write_file(initrd_path, "", 0, 0600);
	expect_prepare_failure(-EINVAL, "is empty");
	hv.path = STR("/nonexistent/qemu");
	expect_prepare_failure(-ENOENT, "there is no QEMU at /nonexistent/qemu");
	hv.path = STR("qemu-system-of-nobody");
	expect_prepare_failure(-ENOENT, "no qemu-system-of-nobody in PATH");
	hv.confidential_guest = true;
	expect_prepare_failure(-ENOTSUP, "confidential_guest");
}

static void test_check(void **state)
{
	static const char old[] = "#!/bin/sh\necho 'QEMU emulator version 5.2.0 (Debian)'\n";
	static const char other[] = "#!/bin/sh\necho 'bash 5'\n";
	static const char hangs[] = "#!/bin/sh\nexec sleep 1000\n";
	struct vm_host_report report;
	struct err e = { 0 };

	fake_qemu("exit 0");
	assert_int_equal(driver->check(&hv, &report, &e), 0);
	assert_true(report.usable);
	assert_string_equal(report.version, "7.2");
	assert_true(report.can.block_hotplug && report.can.fs_sharing && !report.can.snapshot);
	assert_non_null(strstr(report.why_not, "snapshot"));
	write_file(qemu_path, old, sizeof old - 1, 0700);
	assert_int_equal(driver->check(&hv, &report, &e), 0);
	assert_false(report.usable);
	assert_non_null(strstr(report.reason, "too old: 7.0 or newer"));
	write_file(qemu_path, other, sizeof other - 1, 0700);
	assert_int_equal(driver->check(&hv, &report, &e), 0);
	assert_non_null(strstr(report.reason, "is not QEMU"));
	write_file(qemu_path, hangs, sizeof hangs - 1, 0700);
	silent_program = true;
	assert_int_equal(driver->check(&hv, &report, &e), 0);
	silent_program = false;
	assert_non_null(strstr(report.reason, "does not answer"));
	hv.machine_type = STR("microvm");
	driver->capabilities(&hv, &report.can);
	assert_true(report.can.block && !report.can.block_hotplug && !report.can.cpu_hotplug);
}

static void test_registry(void **state)
{
	const struct hypervisor_driver *const *all = hypervisor_list();
	char why[200];

	for (size_t i = 0; all[i]; i++)
		assert_ptr_equal(hypervisor_find(all[i]->name), all[i]);
	assert_ptr_equal(hypervisor_find("dragonball"), hypervisor_find("builtin"));
	assert_string_equal(hypervisor_find("qemu")->name, "qemu");
	/* What needs KVM is taken only where there is one that will do. */
	assert_true(!hypervisor_default()->needs_kvm || hypervisor_kvm_usable(NULL, 0));
	assert_null(hypervisor_find("bochs"));
	assert_null(hypervisor_find(""));
	assert_true(hypervisor_kvm_usable(why, sizeof why) == !why[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_exits, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hangs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_flood, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_inputs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_check, set_up, tear_down),
		cmocka_unit_test(test_registry),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dir_remove(dir);
	return r;
}
