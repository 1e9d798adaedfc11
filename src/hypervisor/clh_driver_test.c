/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver against the double of Cloud Hypervisor (tests/hypervisors/clh-double): whole lives of VMs, and every way
 * in which it can fail at every step. Each failure must be one message, within its bound, with no process, descriptor
 * or file left. Whether the real one does what the double does is tried in the laboratory.
 */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "hypervisor/clh.h"
#include "hypervisor/clh_vm.h"
#include "hypervisor/short_wait.h"
#include "hypervisor/console.h"

#define STR(s) ((char *)(uintptr_t)(s))

#define PATIENT_MS 60000 /* a double in Python on a busy machine */

static struct config_hypervisor hv;
static struct vm_config config;
static char dir[] = "/tmp/caisson-clh-XXXXXX";
static char run_dir[64], kernel_path[64], double_path[512];
static struct loop *loop;
static struct buf transcript;

/* The double needs no KVM: the linker puts this in place of the driver's question (meson.build). */
bool __wrap_hypervisor_kvm_usable(char *why, size_t size);
bool __wrap_hypervisor_kvm_usable(char *why, size_t size)
{
	if (size)
		why[0] = 0;
	return true;
}

static int set_up(void **state)
{
	char kernel[0x300] = { 0 };

#ifdef __x86_64__
	memcpy(kernel + 0x202, "HdrS", 4);
#else
	memcpy(kernel + 56, "ARM\x64", 4);
#endif
	snprintf(run_dir, sizeof run_dir, "%s/run", dir);
	snprintf(kernel_path, sizeof kernel_path, "%s/kernel", dir);
	snprintf(double_path, sizeof double_path, "%s/tests/hypervisors/clh-double", getenv("SOURCE_ROOT"));
	assert_int_equal(file_replace(kernel_path, kernel, sizeof kernel, 0600), 0);
	mkdir(run_dir, 0700);
	hv = (struct config_hypervisor){
		.path = double_path, .num_queues = 1, .queue_size = 128, .disable_image_nvdimm = true
	};
	config = (struct vm_config){ .id = STR("double"),
				     .run_dir = run_dir,
				     .kernel = kernel_path,
				     .initrd = STR(""),
				     .image = STR(""),
				     .vcpus = 2,
				     .max_vcpus = 4,
				     .memory_mib = 256,
				     .max_memory_mib = 1024,
				     .shared_memory = true,
				     .start_timeout_ms = PATIENT_MS,
				     .hv = &hv };
	unsetenv("CLH_DOUBLE_VERSION");
	unsetenv("CLH_DOUBLE_FEATURES");
	unsetenv("CLH_DOUBLE_FAIL");
	unsetenv("CLH_DOUBLE_GUEST");
	return loop_new(&loop, NULL);
}

static int tear_down(void **state)
{
	loop_free(loop);
	buf_fini(&transcript);
	transcript = (struct buf){ 0 };
	return 0;
}

/* Nothing in the run directory, no child of ours, not one descriptor more. */
static void expect_clean(unsigned fds)
{
	assert_int_equal(count_entries(run_dir), 2);
	assert_int_equal(count_entries("/proc/self/fd"), fds);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
}

static struct vm *prepared(void)
{
	struct err e = { 0 };
	struct vm *vm = NULL;

	if (clh_driver.prepare(loop, &config, &vm, &e) < 0)
		fail_msg("prepare: %s", e.text);
	return vm;
}

static void on_request(void *ctx, const char *method, const char *target, const char *body, size_t n_fds,
		       unsigned status, const char *answer)
{
	if (!status)
		buf_printf(&transcript, "%s %s%s%s%s", method, str_after(target, "/api/v1/"), body ? " " : "",
			   body ? body : "", n_fds ? " (with descriptors)" : "");
	else
		buf_printf(&transcript, " -> %u%s%s\n", status, status == 200 && strstr(target, "add-") ? " " : "",
			   status == 200 && strstr(target, "add-") ? answer : "");
}

static struct vm *started(void)
{
	struct vm *vm = prepared();
	struct err e = { 0 };

	clh_vm_of(vm)->rest.trace = on_request;
	if (clh_driver.start(vm, &e) < 0)
		fail_msg("start: %s", e.text);
	return vm;
}

static void ok(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static void refused(int r, int code, const struct err *e, const char *part)
{
	if (r != code || !strstr(e->text, part))
		fail_msg("%d, not %d: \"%s\" does not say \"%s\"", r, code, e->text, part);
}

/* The transcript with the temporary folder's name taken out, against tests/clh/NAME.transcript. */
static void golden(const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/tests/clh/%s.transcript", getenv("SOURCE_ROOT"), name), *text = NULL;

	for (char *at; (at = strstr(transcript.data, dir));) {
		memcpy(at, "/D", 2);
		memmove(at + 2, at + strlen(dir), strlen(at + strlen(dir)) + 1);
	}
	if (getenv("UPDATE_GOLDEN"))
		assert_int_equal(file_replace(path, transcript.data, strlen(transcript.data), 0644), 0);
	assert_int_equal(file_read(path, 1 << 16, &text, NULL), 0);
	assert_string_equal(transcript.data, text);
}

static struct vm_device disk(const char *id)
{
	return (struct vm_device){ .kind = VM_DEVICE_BLOCK,
				   .id = STR(id),
				   .u.block = { .path = kernel_path, .readonly = true, .serial = STR("") } };
}

/* A disk of eight sectors beside the VM's folder; its path. */
static char *make_image(void)
{
	static char path[64];

	snprintf(path, sizeof path, "%s/disk", dir);
	assert_int_equal(file_replace(path, "", 0, 0600), 0);
	assert_int_equal(truncate(path, 4096), 0);
	return path;
}

/* --- lives --- */

/* "eth0 write_ops=1" */
static void note_counter(const char *kind, const char *device, const char *name, uint64_t value, void *userdata)
{
	assert_int_equal(buf_printf(userdata, "%s %s=%llu\n", device, name, (unsigned long long)value), 0);
}

static void expect_counters(struct vm *vm, const char *expected)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct err e = { 0 };

	ok(clh_driver.counters(vm, note_counter, &text, &e), &e);
	assert_string_equal(text.data, expected);
}

static void whole_life(const char *version, const char *name)
{
	unsigned fds = count_entries("/proc/self/fd");
	int taps[2] = { open("/dev/null", O_RDWR | O_CLOEXEC), open("/dev/null", O_RDWR | O_CLOEXEC) };
	struct vm_device root = disk("rootfs"), data = disk("data"), other = disk("other");
	struct vm_device nic = {
		.kind = VM_DEVICE_NET,
		.id = STR("eth0"),
		.u.net = { .mode = STR("tap"), .tap_fds = taps, .n_tap_fds = 2, .mac = "02:00:00:00:00:01" }
	};
	struct vm_device late = nic;
	struct vm_process_info info;
	struct err e = { 0 };
	uint32_t vcpus = 0;
	uint64_t mib = 0;
	struct vm *vm;

	setenv("CLH_DOUBLE_VERSION", version, 1);
	other.u.block.path = make_image();
	other.u.block.readonly = false;
	vm = prepared();
	clh_vm_of(vm)->rest.trace = on_request;
	late.id = STR("eth1");
	ok(clh_driver.add_device(vm, &nic, &e), &e);
	ok(clh_driver.add_device(vm, &root, &e), &e);
	assert_string_equal(root.address, "01");
	assert_string_equal(vm->agent_address + strlen("hvsock:") + strlen(run_dir), "/vsock.sock");
	ok(clh_driver.start(vm, &e), &e);
	/* Only the API and the vsock device are left of what the start needs. */
	assert_int_equal(count_entries(run_dir), 4);
	ok(clh_driver.info(vm, &info, &e), &e);
	assert_int_equal(info.n_vcpus, 2);
	assert_true(info.vmm_pid > 0 && info.vcpu_tids[0] > 0);
	ok(clh_driver.add_device(vm, &data, &e), &e);
	assert_int_equal(data.address_kind, VM_ADDRESS_PCI);
	assert_string_equal(data.address, "05"); /* behind eth0, rng, vsock */
	ok(clh_driver.add_device(vm, &late, &e), &e);
	assert_string_equal(late.address, "06");
	refused(clh_driver.add_device(vm, &data, &e), -EEXIST, &e, "the id is in use");
	ok(clh_driver.remove_device(vm, "data", &e), &e);
	refused(clh_driver.remove_device(vm, "data", &e), -ENODEV, &e, "was not plugged");
	ok(clh_driver.add_device(vm, &other, &e), &e);
	assert_string_equal(other.address, "05");
	assert_int_equal(truncate(other.u.block.path, 8192), 0);
	ok(clh_driver.resize_block(vm, &other, &e), &e);
	refused(clh_driver.resize_block(vm, &root, &e), -EINVAL, &e, "no whole number of sectors");
	expect_counters(vm, "rootfs read_bytes=18446744073709551615\nrootfs write_ops=1\n"
			    "eth0 read_bytes=18446744073709551615\neth0 write_ops=2\n"
			    "eth1 read_bytes=18446744073709551615\neth1 write_ops=6\n"
			    "other read_bytes=18446744073709551615\nother write_ops=5\n");
	ok(clh_driver.resize_vcpus(vm, 4, &vcpus, &e), &e);
	assert_int_equal(vcpus, 4);
	ok(clh_driver.resize_vcpus(vm, 1, &vcpus, &e), &e);
	assert_int_equal(vcpus, 1);
	refused(clh_driver.resize_vcpus(vm, 5, &vcpus, &e), -ERANGE, &e, "default_maxvcpus");
	ok(clh_driver.resize_memory(vm, 300, &mib, &e), &e);
	assert_int_equal(mib, 384); /* a memory module of 128 MiB */
	ok(clh_driver.resize_memory(vm, 256, &mib, &e), &e);
	assert_int_equal(mib, 384);
	refused(clh_driver.resize_memory(vm, 2000, &mib, &e), -ERANGE, &e, "default_maxmemory");
	ok(clh_driver.pause(vm, &e), &e);
	refused(clh_driver.pause(vm, &e), -EREMOTEIO, &e, "Invalid transition");
	ok(clh_driver.resume(vm, &e), &e);
	assert_false(vm_wait_exit(vm, 0));
	ok(clh_driver.stop(vm, 60000, &e), &e);
	assert_true(vm_wait_exit(vm, 0));
	refused(clh_driver.pause(vm, &e), -ENOTCONN, &e, "not running");
	ok(clh_driver.stop(vm, 0, &e), &e);
	refused(vm_explain_exit(vm, &e), -EOWNERDEAD, &e, "the guest powered off");
	clh_driver.free(vm);
	close(taps[0]);
	close(taps[1]);
	golden(name);
	expect_clean(fds);
}

static void test_life(void **state)
{
	whole_life("51.1.0", "life-51");
}

/* Newer versions are told the slots of disks, and answer the same requests. */
static void test_life_of_new_version(void **state)
{
	whole_life("53.0.0", "life-53");
}

/* What the last request was given to be answered in (meson.build). */
static uint64_t request_ms;
/* It is given no more. */
static uint64_t request_ms_max = UINT64_MAX;

int __real_rest_call(struct rest *r, const char *method, const char *target, const char *body, const int *fds,
		     size_t n_fds, uint64_t deadline_ms, char **ret, struct err *e);
int __wrap_rest_call(struct rest *r, const char *method, const char *target, const char *body, const int *fds,
		     size_t n_fds, uint64_t deadline_ms, char **ret, struct err *e);

int __wrap_rest_call(struct rest *r, const char *method, const char *target, const char *body, const int *fds,
		     size_t n_fds, uint64_t deadline_ms, char **ret, struct err *e)
{
	request_ms = deadline_ms - clock_ms();
	if (request_ms > request_ms_max)
		deadline_ms = clock_ms() + request_ms_max;
	return __real_rest_call(r, method, target, body, fds, n_fds, deadline_ms, ret, e);
}

/* Some seconds would do for a few GiB only. */
static void test_memory_taken_beforehand(void **state)
{
	struct err e = { 0 };
	uint64_t mib = 0;
	struct vm *vm;

	hv.enable_mem_prealloc = true;
	vm = started();
	ok(clh_driver.resize_memory(vm, 384, &mib, &e), &e);
	assert_int_equal(mib, 384);
	assert_true(request_ms > CLH_PREALLOC_MS);
	clh_driver.free(vm);
}

/* What is not answered in time may be there or not: it can be removed, and plugged once more. */
static void expect_late_plug(const char *fail)
{
	struct vm_device d = disk("data");
	struct err e = { 0 };
	struct vm *vm;

	setenv("CLH_DOUBLE_FAIL", fail, 1);
	vm = started();
	request_ms_max = 300;
	refused(clh_driver.add_device(vm, &d, &e), -ETIMEDOUT, &e, "did not answer");
	request_ms_max = UINT64_MAX;
	if (strstr(fail, "silent"))
		ok(clh_driver.add_device(vm, &d, &e), &e);
	ok(clh_driver.remove_device(vm, "data", &e), &e);
	clh_driver.free(vm);
}

static void test_plug_is_late(void **state)
{
	expect_late_plug("vm.add-disk=silent");
	expect_late_plug("vm.add-disk=hang");
}

static void test_virtio_mem(void **state)
{
	struct err e = { 0 };
	uint64_t mib = 0;
	struct vm *vm;

	hv.enable_virtio_mem = true;
	vm = started();
	ok(clh_driver.resize_memory(vm, 300, &mib, &e), &e);
	assert_int_equal(mib, 300);
	ok(clh_driver.resize_memory(vm, 270, &mib, &e), &e);
	assert_int_equal(mib, 272);
	ok(clh_driver.resize_memory(vm, 1024, &mib, &e), &e);
	assert_int_equal(mib, 1024);
	ok(clh_driver.resize_memory(vm, 100, &mib, &e), &e);
	assert_int_equal(mib, 256);
	clh_driver.free(vm);
}

static void test_snapshot(void **state)
{
	unsigned fds = count_entries("/proc/self/fd");
	struct vm_device share = { .kind = VM_DEVICE_FS,
				   .id = STR("share"),
				   .u.fs = { .tag = STR("kataShared"), .socket = STR("/first.sock") } };
	_cleanup_free_ char *saved = str_printf("%s/saved", dir), *clone_dir = str_printf("%s/clone", dir);
	int tap = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct vm_device nic = { .kind = VM_DEVICE_NET,
				 .id = STR("eth0"),
				 .u.net = { .mode = STR("tap"), .tap_fds = &tap, .n_tap_fds = 1 } };
	struct vm *vm = prepared(), *clone;
	struct err e = { 0 };

	assert_int_equal(mkdir(saved, 0700), 0);
	ok(clh_driver.add_device(vm, &share, &e), &e);
	ok(clh_driver.add_device(vm, &nic, &e), &e);
	ok(clh_driver.start(vm, &e), &e);
	refused(clh_driver.save(vm, saved, &e), -EREMOTEIO, &e, "Invalid transition");
	ok(clh_driver.pause(vm, &e), &e);
	ok(clh_driver.save(vm, saved, &e), &e);
	/* Both at once: the clone has sockets of its own. */
	assert_int_equal(mkdir(clone_dir, 0700), 0);
	config.run_dir = clone_dir;
	clone = prepared();
	clh_vm_of(clone)->rest.trace = on_request;
	share.u.fs.socket = STR("/second.sock");
	ok(clh_driver.add_device(clone, &share, &e), &e);
	ok(clh_driver.add_device(clone, &nic, &e), &e);
	ok(clh_driver.restore(clone, saved, &e), &e);
	ok(clh_driver.resume(clone, &e), &e);
	ok(clh_driver.resume(vm, &e), &e);
	assert_int_equal(count_entries(clone_dir), 4);
	clh_driver.free(clone);
	clh_driver.free(vm);
	assert_int_equal(count_entries(clone_dir), 2);
	golden("restore");
	/* A folder that is no snapshot. */
	clone = prepared();
	dir_remove(saved);
	refused(clh_driver.restore(clone, saved, &e), -ENOENT, &e, "snapshot");
	clh_driver.free(clone);
	dir_remove(clone_dir);
	close(tap);
	expect_clean(fds);
}

/* --- how a VM ends --- */

static void expect_end(const char *guest, enum err_domain domain, const char *part)
{
	unsigned fds = count_entries("/proc/self/fd");
	struct err e = { 0 };
	struct vm *vm;

	setenv("CLH_DOUBLE_GUEST", guest, 1);
	vm = started();
	assert_true(vm_wait_exit(vm, PATIENT_MS));
	refused(vm_explain_exit(vm, &e), -EOWNERDEAD, &e, part);
	assert_int_equal(e.domain, domain);
	clh_driver.free(vm);
	expect_clean(fds);
}

static void test_ends(void **state)
{
	expect_end("poweroff", ERR_GUEST, "the guest powered off");
	expect_end("print=last-words reset", ERR_GUEST, "rebooted or crashed (reset); last console lines: last-words");
	expect_end("panic", ERR_GUEST, "the guest kernel panicked: Kernel panic - not syncing: double");
}

static void test_killed(void **state)
{
	unsigned fds = count_entries("/proc/self/fd");
	struct vm_process_info info;
	struct err e = { 0 };
	struct vm *vm = started();

	ok(clh_driver.info(vm, &info, &e), &e);
	kill(info.vmm_pid, SIGKILL);
	assert_true(vm_wait_exit(vm, PATIENT_MS));
	refused(clh_driver.pause(vm, &e), -EOWNERDEAD, &e, "killed by signal 9");
	refused(vm_explain_exit(vm, &e), -EOWNERDEAD, &e, "Cloud Hypervisor was killed by signal 9");
	assert_int_equal(e.domain, ERR_HYPERVISOR);
	clh_driver.free(vm);
	expect_clean(fds);
}

/* A guest that does not care for the button is stopped all the same. */
static void test_stubborn_guest(void **state)
{
	unsigned fds = count_entries("/proc/self/fd");
	struct vm_device d = disk("data");
	struct err e = { 0 };
	struct vm *vm;

	setenv("CLH_DOUBLE_GUEST", "ignores-button keeps-devices", 1);
	vm = started();
	clh_vm_of(vm)->unplug_ms = 1000;
	ok(clh_driver.add_device(vm, &d, &e), &e);
	refused(clh_driver.remove_device(vm, "data", &e), -EBUSY, &e, "did not release it within 1 s");
	/* It may let go later; then the id is free again. */
	clh_hotplug_gone(clh_vm_of(vm), "_virtio-pci-dev-data");
	ok(clh_driver.remove_device(vm, "data", &e), &e);
	ok(clh_driver.stop(vm, 100, &e), &e);
	refused(vm_explain_exit(vm, &e), -EOWNERDEAD, &e, "the VM ended: Cloud Hypervisor");
	clh_driver.free(vm);
	expect_clean(fds);
}

/* --- failures of the start, each at each step --- */

static void expect_start_failure(const char *fail, int code, const char *part)
{
	unsigned fds = count_entries("/proc/self/fd");
	int tap = open("/dev/null", O_RDWR | O_CLOEXEC);
	struct vm_device d = disk("rootfs"), nic = { .kind = VM_DEVICE_NET,
						     .id = STR("eth0"),
						     .u.net = { .mode = STR("tap"), .tap_fds = &tap, .n_tap_fds = 1 } };
	struct vm *vm = prepared();
	struct err e = { 0 };
	uint64_t t = clock_ms();

	setenv("CLH_DOUBLE_FAIL", fail, 1);
	ok(clh_driver.add_device(vm, &d, &e), &e);
	ok(clh_driver.add_device(vm, &nic, &e), &e);
	refused(clh_driver.start(vm, &e), code, &e, part);
	assert_true(clock_ms() - t < config.start_timeout_ms + 10000);
	assert_int_equal(vm->exit_fd, -1);
	assert_int_equal(count_entries(run_dir), 2);
	clh_driver.free(vm);
	close(tap);
	expect_clean(fds);
}

static void test_dies(void **state)
{
	expect_start_failure("start=die", -EIO, "exited with status 1: Error: Cloud Hypervisor exited with");
	expect_start_failure("vmm.ping=die", -EIO,
			     "did not start: Cloud Hypervisor exited with status 3: double: dies");
	expect_start_failure("vm.create=die", -EIO, "exited with status 3");
	expect_start_failure("vm.add-net=die", -EIO, "exited with status 3");
	expect_start_failure("vm.boot=die", -EIO, "exited with status 3");
	expect_start_failure("vm.boot=die-after", -EIO, "exited with status 3");
	expect_start_failure("vm.info=die", -EIO, "exited with status 3");
}

static void test_refuses(void **state)
{
	expect_start_failure("vm.create=refuse", -EREMOTEIO, "Error from API: vm.create is refused: as it was told");
	expect_start_failure("vm.add-net=refuse", -EREMOTEIO, "vm.add-net is refused");
	expect_start_failure("vm.boot=refuse", -EREMOTEIO, "vm.boot is refused");
}

static void test_garbage(void **state)
{
	expect_start_failure("vm.create=cut", -EPIPE, "in the middle of its answer");
	short_wait = true; /* it stays */
	expect_start_failure("vmm.ping=garbage", -EPROTO, "answers GET /api/v1/vmm.ping wrongly");
	expect_start_failure("vm.create=garbage", -EPROTO, "answers PUT /api/v1/vm.create wrongly");
	expect_start_failure("vm.boot=interim", -EPROTO, "interim");
	expect_start_failure("vm.info=big", -EFBIG, "vm.info");
	expect_start_failure("vm.info=cut", -EPIPE, "in the middle of its answer");
	expect_start_failure("vm.boot=close", -EPIPE, "instead of answering");
	short_wait = false;
}

/* A bound that runs out before the double is up means the same; twice what it took now, it seldom does. */
static void test_hangs(void **state)
{
	uint64_t t = clock_ms();

	clh_driver.free(started());
	config.start_timeout_ms = 2 * (uint32_t)(clock_ms() - t);
	expect_start_failure("vmm.ping=hang", -ETIMEDOUT, "did not answer");
	expect_start_failure("vm.create=hang", -ETIMEDOUT, "did not answer");
	expect_start_failure("vm.add-net=hang", -ETIMEDOUT, "did not answer");
	expect_start_failure("vm.boot=hang", -ETIMEDOUT, "did not answer");
}

static void test_interrupted(void **state)
{
	unsigned fds = count_entries("/proc/self/fd");
	struct vm *vm = prepared();
	struct err e = { 0 };
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	assert_int_equal(write(p[1], "x", 1), 1);
	vm->interrupt_fd = p[0];
	setenv("CLH_DOUBLE_FAIL", "vm.boot=hang", 1);
	refused(clh_driver.start(vm, &e), -ECANCELED, &e, "interrupted");
	clh_driver.free(vm);
	close(p[0]);
	close(p[1]);
	expect_clean(fds);
}

/* A request that is given up may have been done, and its device would be forgotten. */
static void test_not_interrupted_once_it_runs(void **state)
{
	struct vm_device data = disk("data");
	struct vm *vm = prepared();
	struct err e = { 0 };
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	vm->interrupt_fd = p[0];
	ok(clh_driver.start(vm, &e), &e);
	assert_int_equal(write(p[1], "x", 1), 1);
	ok(clh_driver.add_device(vm, &data, &e), &e);
	clh_driver.free(vm);
	close(p[0]);
	close(p[1]);
}

static void test_versions(void **state)
{
	struct vm_host_report report;
	struct err e = { 0 };

	setenv("CLH_DOUBLE_VERSION", "48.0.0", 1);
	expect_start_failure("", -ENOTSUP, "Cloud Hypervisor 48.0, which is too old: 51.0 or newer is needed");
	assert_int_equal(clh_driver.check(&hv, &report, &e), 0);
	assert_false(report.usable);
	assert_non_null(strstr(report.reason, "too old"));
	setenv("CLH_DOUBLE_VERSION", "51.1.0", 1);
	assert_int_equal(clh_driver.check(&hv, &report, &e), 0);
	assert_true(report.usable && report.can.snapshot && report.can.block_hotplug && !report.can.net_user);
	assert_string_equal(report.version, "51.1");
	hv.enable_landlock = true;
	clh_driver.capabilities(&hv, &report.can);
	assert_false(report.can.block_hotplug || report.can.snapshot);
	hv.enable_landlock = false;
	/* It would start an ordinary VM and not say so. */
	hv.confidential_guest = true;
	hv.firmware = kernel_path;
	expect_start_failure("", -ENOTSUP, "was built without tdx");
	hv = (struct config_hypervisor){ .path = STR("/bin/true") };
	assert_int_equal(clh_driver.check(&hv, &report, &e), 0);
	assert_non_null(strstr(report.reason, "is not Cloud Hypervisor"));
	hv.path = STR("/nonexistent/clh");
	assert_int_equal(clh_driver.check(&hv, &report, &e), 0);
	assert_non_null(strstr(report.reason, "there is no Cloud Hypervisor at /nonexistent/clh"));
}

static void test_describe(void **state)
{
	struct vm_device d = disk("rootfs"), *devices[] = { &d };
	_cleanup_strv_ struct strv lines = { 0 };
	struct err e = { 0 };

	ok(clh_driver.describe(&config, devices, 1, &lines, &e), &e);
	assert_string_equal(lines.v[0], double_path);
	assert_non_null(str_after(lines.v[lines.len - 2], "PUT /api/v1/vm.create {"));
	assert_string_equal(lines.v[lines.len - 1], "PUT /api/v1/vm.boot");
	assert_ptr_equal(hypervisor_find("cloud-hypervisor"), &clh_driver);
	assert_ptr_equal(hypervisor_find("clh"), &clh_driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_life, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_life_of_new_version, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_memory_taken_beforehand, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_plug_is_late, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_virtio_mem, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_snapshot, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ends, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_killed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stubborn_guest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_dies, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refuses, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_garbage, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_hangs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_interrupted, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_not_interrupted_once_it_runs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_versions, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_describe, set_up, tear_down),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dir_remove(dir);
	return r;
}
