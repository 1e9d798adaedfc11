/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Firecracker driver against a double (fc_fake.h): every request as a golden transcript, and a VMM that misbehaves
 * at each step. Transcripts are tests/golden/firecracker/NAME.txt; CAISSON_UPDATE_GOLDEN=1 writes them anew.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
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
#include "hypervisor/fc.h"
#include "hypervisor/fc_fake.h"
#include "hypervisor/fc_vm.h"
#include "hypervisor/short_wait.h"

#define S(s) ((char *)(uintptr_t)(s))
/* What an unresponsive double is given; the others need no time. */
#define SHORT_MS 400

static char dir[] = "/tmp/caisson-fc-XXXXXX";
static char self[256], kernel[64], initrd[64], disk[64], cpu_template[64];
static char *params[] = { S("cgroup_no_v1=all") };
static struct config_hypervisor hv;
static struct vm_config config;
static struct loop *loop;
static unsigned fds_before;

/* The build machine may have no KVM: the double needs none. */
bool __wrap_hypervisor_kvm_usable(char *why, size_t size);
bool __wrap_hypervisor_kvm_usable(char *why, size_t size)
{
	return true;
}

static void make_file(char *path, size_t size, const char *name, const void *data, size_t len)
{
	int fd;

	snprintf(path, size, "%s/%s", dir, name);
	fd = open(path, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, data, len), len);
	close(fd);
}

static int set_up(void **state)
{
	static const char cpu[] = "{ \"kvm_capabilities\": [\"!56\"] }";
	unsigned char elf[64] = "\177ELF\2\1\1";

#ifdef __aarch64__
	memcpy(elf + 56, "ARM\x64", 4);
#else
	elf[18] = 62;
#endif
	make_file(kernel, sizeof kernel, "vmlinux", elf, sizeof elf);
	make_file(initrd, sizeof initrd, "initramfs.img", "x", 1);
	make_file(disk, sizeof disk, "disk.img", "x", 1);
	make_file(cpu_template, sizeof cpu_template, "cpu.json", cpu, sizeof cpu - 1);
	hv = (struct config_hypervisor){ .path = self, .disable_guest_selinux = true, .jailer_path = S("") };
	config = (struct vm_config){ .id = S("some_container.1"),
				     .run_dir = str_printf("%s/run", dir),
				     .kernel = kernel,
				     .initrd = initrd,
				     .image = S(""),
				     .kernel_params = { .v = params, .len = 1 },
				     .vcpus = 1,
				     .max_vcpus = 1,
				     .memory_mib = 256,
				     .max_memory_mib = 256,
				     .fixed_devices = true,
				     .hv = &hv };
	assert_int_equal(mkdir(config.run_dir, 0700), 0);
	setenv(FAKE_VARIABLE, "good:0", 1);
	fds_before = count_entries("/proc/self/fd");
	return loop_new(&loop, NULL);
}

/* Nothing is left: no process, no descriptor, no file but the logs. */
static int tear_down(void **state)
{
	_cleanup_free_ char *folder = str_printf("%s/vmm", config.run_dir);

	loop_free(loop);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(count_entries("/proc/self/fd"), fds_before);
	assert_int_equal(access(folder, F_OK), -1);
	assert_int_equal(dir_remove(config.run_dir), 0);
	free(config.run_dir);
	return 0;
}

static void ok_(int r, const struct err *e, int line)
{
	if (r < 0)
		fail_msg("line %d: %d: %s", line, r, e->text);
}
#define ok(r) ok_((r), &e, __LINE__)

/* ---- transcripts ---- */

static void note(void *ctx, const char *method, const char *target, const char *body, size_t n_fds, unsigned status,
		 const char *answer)
{
	if (!status)
		assert_int_equal(buf_printf(ctx, "%s %s%s%s\n", method, target, body ? " " : "", body ? body : ""), 0);
}

static struct vm *prepare(struct buf *transcript)
{
	struct err e = { 0 };
	struct vm *vm = NULL;

	ok(firecracker_driver.prepare(loop, &config, &vm, &e));
	fc_vm_of(vm)->rest.trace = transcript ? note : NULL;
	fc_vm_of(vm)->rest.trace_ctx = transcript;
	return vm;
}

/* The guest's command line, which is in them, is x86's. */
static void expect_golden(const char *name, const struct buf *text)
{
#ifdef __x86_64__
	_cleanup_free_ char *path = str_printf("%s/tests/golden/firecracker/%s.txt", getenv("SOURCE_ROOT"), name);
	_cleanup_free_ char *expected = NULL;

	if (getenv("CAISSON_UPDATE_GOLDEN"))
		assert_int_equal(file_replace(path, text->data, text->len, 0644), 0);
	if (file_read(path, 1 << 20, &expected, NULL) < 0)
		fail_msg("there is no %s", path);
	assert_string_equal(text->data, expected);
#endif
}

static struct vm_device make_disk(const char *id, bool readonly)
{
	return (struct vm_device){ .kind = VM_DEVICE_BLOCK,
				   .id = S(id),
				   .u.block = { .path = disk, .readonly = readonly, .serial = S("") } };
}

static struct vm_device make_nic(const char *id, const char *tap)
{
	return (struct vm_device){ .kind = VM_DEVICE_NET,
				   .id = S(id),
				   .u.net = { .mode = S("tap"), .tap = S(tap), .mac = "02:00:00:00:00:01" } };
}

static void test_smallest(void **state)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct vm *vm = prepare(&text);
	struct err e = { 0 };

	ok(firecracker_driver.start(vm, &e));
	assert_non_null(str_after(vm->agent_address, "hvsock:"));
	for (unsigned i = 0; i < 600 && !console_find(vm->console, "hello from the double's guest"); i++)
		loop_run_once(loop, 100);
	assert_non_null(console_find(vm->console, "hello from the double's guest"));
	assert_int_equal(firecracker_driver.start(vm, &e), -EALREADY);
	assert_int_equal(firecracker_driver.stop(vm, 0, &e), 0);
	assert_int_equal(firecracker_driver.stop(vm, 0, &e), 0);
	firecracker_driver.free(vm);
	expect_golden("smallest", &text);
}

static void test_everything(void **state)
{
	struct vm_device root = make_disk("root-fs", true), data = make_disk("data", false),
			 nic = make_nic("eth0", "tap7"), late = make_disk("late", true),
			 writable = make_disk("late2", false);
	_cleanup_free_ char *snapshot = str_printf("%s/snap", dir);
	_cleanup_buf_ struct buf text = { 0 };
	struct err e = { 0 };
	struct vm *vm;

	config.image = disk;
	config.initrd = S("");
	config.fixed_devices = false;
	config.vcpus = 4;
	hv.rootfs_type = S("ext4");
	hv.default_bridges = 1;
	hv.enable_hugepages = hv.enable_debug = hv.disable_seccomp = hv.reclaim_guest_freed_memory = true;
	hv.block_device_aio = S("io_uring");
	hv.block_device_cache_set = hv.block_device_cache_noflush = true;
	hv.disk_rate_limiter_bw_max_rate = 80000000;
	hv.disk_rate_limiter_bw_one_time_burst = 8000;
	hv.disk_rate_limiter_ops_max_rate = 1000;
	hv.rx_rate_limiter_max_rate = 8000000;
	hv.tx_rate_limiter_max_rate = 4; /* less than a byte is a limit, and not none */
	hv.cpu_template = cpu_template;
	nic.u.net.mtu = 1400;
	vm = prepare(&text);
	ok(firecracker_driver.add_device(vm, &root, &e));
	assert_string_equal(root.address, "/dev/vdb");
	ok(firecracker_driver.add_device(vm, &data, &e));
	assert_string_equal(data.address, "/dev/vdc");
	ok(firecracker_driver.add_device(vm, &nic, &e));
	ok(firecracker_driver.start(vm, &e));
	ok(firecracker_driver.add_device(vm, &late, &e));
	assert_int_equal(late.address_kind, VM_ADDRESS_DEVICE);
	assert_string_equal(late.address, "/dev/vdh"); /* behind the four that can be written */
	ok(firecracker_driver.add_device(vm, &writable, &e));
	assert_string_equal(writable.address, "/dev/vdd");
	ok(firecracker_driver.resize_block(vm, &data, &e));
	ok(firecracker_driver.resize_block(vm, &late, &e));
	ok(firecracker_driver.remove_device(vm, "late", &e));
	assert_int_equal(firecracker_driver.resize_block(vm, &late, &e), -ENODEV);
	ok(firecracker_driver.pause(vm, &e));
	ok(firecracker_driver.save(vm, snapshot, &e));
	ok(firecracker_driver.resume(vm, &e));
	firecracker_driver.stop(vm, 1, &e);
	firecracker_driver.free(vm);
	expect_golden("everything", &text);
}

static void test_restore(void **state)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct vm *vm = prepare(&text);
	struct err e = { 0 };

	ok(firecracker_driver.restore(vm, dir, &e));
	ok(firecracker_driver.resume(vm, &e));
	firecracker_driver.free(vm);
	expect_golden("restore", &text);
}

static void test_description(void **state)
{
	struct vm_device root = make_disk("rootfs", true), *devices[] = { &root };
	_cleanup_strv_ struct strv lines = { 0 };
	_cleanup_buf_ struct buf text = { 0 };
	char long_line[2049] = "", *long_params[] = { long_line };
	struct err e = { 0 };

	root.u.block.path = S("/images/root.erofs");
	config.kernel = S("/guest/vmlinux");
	config.initrd = S("/guest/initramfs.img");
	free(config.run_dir);
	config.run_dir = strdup("/run/caisson/c1");
	hv.path = S("sh"); /* any program of PATH */
	hv.jailer_path = S("/usr/bin/jailer");
	ok(firecracker_driver.describe(&config, devices, 1, &lines, &e));
	for (size_t i = 0; i < lines.len; i++)
		if (!str_endswith(lines.v[i], "/sh") && !str_eq(lines.v[i], "--cgroup-version") &&
		    !str_eq(lines.v[i], "2"))
			assert_int_equal(buf_printf(&text, "%s\n", lines.v[i]), 0);
	expect_golden("description", &text);
	/* The kernel would cut it off. */
	memset(long_line, 'x', sizeof long_line - 1);
	config.kernel_params = (struct strv){ .v = long_params, .len = 1 };
	assert_int_equal(firecracker_driver.describe(&config, devices, 1, &lines, &e), -E2BIG);
	free(config.run_dir);
	config.run_dir = str_printf("%s/run", dir);
}

/* ---- what is refused ---- */

static void test_devices_that_it_has_not(void **state)
{
	struct vm_device nic = make_nic("eth0", ""), fs = { .kind = VM_DEVICE_FS, .id = S("share") };
	struct vm *vm = prepare(NULL);
	struct err e = { 0 };
	uint32_t vcpus;
	uint64_t mib;
	int fd = 0;

	nic.u.net.mode = S("passt");
	assert_int_equal(firecracker_driver.add_device(vm, &nic, &e), -ENOTSUP);
	assert_string_equal(e.text, "network card eth0: Firecracker is connected to tap interfaces only, not to passt");
	nic.u.net.mode = S("tap");
	nic.u.net.tap_fds = &fd;
	nic.u.net.n_tap_fds = 1;
	assert_int_equal(firecracker_driver.add_device(vm, &nic, &e), -ENOTSUP);
	assert_int_equal(firecracker_driver.add_device(vm, &fs, &e), -ENOTSUP);
	assert_string_equal(e.text, "Firecracker shares no files: set shared_fs = \"none\"");
	assert_int_equal(firecracker_driver.remove_device(vm, "x", &e), -ENOTCONN);
	for (unsigned i = 0; i < FC_DRIVES_MAX; i++) {
		struct vm_device d = make_disk("disk", false);

		ok(firecracker_driver.add_device(vm, &d, &e));
	}
	fs = make_disk("seventeenth", false);
	assert_int_equal(firecracker_driver.add_device(vm, &fs, &e), -ENOSPC);
	assert_int_equal(firecracker_driver.resize_vcpus(vm, 2, &vcpus, &e), -ENOTSUP);
	assert_int_equal(firecracker_driver.resize_memory(vm, 512, &mib, &e), -ENOTSUP);
	firecracker_driver.free(vm);
	config.vcpus = 33;
	assert_int_equal(firecracker_driver.prepare(loop, &config, &vm, &e), -ERANGE);
}

static void template_is_refused(const char *content, const char *text)
{
	struct err e = { 0 };
	struct vm *vm;

	make_file(cpu_template, sizeof cpu_template, "cpu.json", content, strlen(content));
	hv.cpu_template = cpu_template;
	assert_true(firecracker_driver.prepare(loop, &config, &vm, &e) < 0);
	if (!str_after(e.text, "cpu_template: ") || !strstr(e.text, text))
		fail_msg("%s", e.text);
}

static void test_cpu_templates(void **state)
{
	template_is_refused("{\"a\"", cpu_template);
	template_is_refused("[]", "is no JSON object");
	unlink(cpu_template);
	template_is_refused("", cpu_template);
}

/* 1.15 refuses a field that it does not know. */
static void test_an_old_one_is_told_no_mtu(void **state)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct vm_device nic = make_nic("eth0", "tap7");
	struct vm *vm = prepare(&text);
	struct err e = { 0 };

	setenv(FAKE_VARIABLE, "1.15:1", 1);
	nic.u.net.mtu = 1400;
	ok(firecracker_driver.add_device(vm, &nic, &e));
	ok(firecracker_driver.start(vm, &e));
	firecracker_driver.free(vm);
	assert_non_null(strstr(text.data, "PUT /network-interfaces/eth0 "));
	assert_null(strstr(text.data, "mtu"));
}

static void test_slots_run_out(void **state)
{
	struct vm_device nic = make_nic("eth1", "tap8"), d;
	struct err e = { 0 };
	struct vm *vm;

	vm = prepare(NULL);
	ok(firecracker_driver.start(vm, &e));
	d = make_disk("late", false);
	assert_int_equal(firecracker_driver.add_device(vm, &d, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "default_bridges = 1"));
	firecracker_driver.free(vm);
	config.fixed_devices = false;
	hv.default_bridges = 1;
	vm = prepare(NULL);
	ok(firecracker_driver.start(vm, &e));
	assert_int_equal(firecracker_driver.add_device(vm, &nic, &e), -ENOTSUP);
	for (unsigned i = 0; i < FC_SLOTS; i++) {
		char id[16];

		snprintf(id, sizeof id, "late%u", i);
		d = make_disk(id, false);
		ok(firecracker_driver.add_device(vm, &d, &e));
	}
	d = make_disk("one-more", false);
	assert_int_equal(firecracker_driver.add_device(vm, &d, &e), -ENOSPC);
	assert_int_equal(firecracker_driver.remove_device(vm, "one-more", &e), -ENOENT);
	ok(firecracker_driver.remove_device(vm, "late2", &e));
	ok(firecracker_driver.add_device(vm, &d, &e));
	assert_string_equal(d.address, "/dev/vdc");
	firecracker_driver.free(vm);
}

/* Each key that Kata's file for Firecracker has is acted upon, or known to have no effect. */
static void test_keys(void **state)
{
	static const char *const no_effect[] = { "memory_slots",
						 "memory_offset",
						 "enable_mem_prealloc",
						 "num_queues",
						 "queue_size",
						 "network_queues",
						 "enable_iommu",
						 "disable_nesting_checks",
						 "disable_selinux",
						 "entropy_source",
						 "valid_entropy_sources",
						 "msize_9p",
						 "default_maxvcpus",
						 "default_maxmemory",
						 "initdata" };
	const struct config_key *key;

	for (size_t i = 0; (key = config_key_at(i)); i++) {
		bool known = key->section == CONFIG_HYPERVISOR && (key->known & CONFIG_F) && key->type != CONFIG_OPAQUE;
		unsigned found = 0;

		for (const char *const *k = firecracker_driver.honoured_keys; known && *k; k++)
			found += str_eq(*k, key->name);
		for (size_t k = 0; known && k < sizeof no_effect / sizeof *no_effect; k++)
			found += str_eq(no_effect[k], key->name);
		if (known && found != 1)
			fail_msg("%s is found %u times", key->name, found);
	}
}

static void test_versions(void **state)
{
	struct fc_version v = { 0 };
	struct err e = { 0 };

	assert_int_equal(fc_version_parse("1.17.0-dev", &v), 0);
	assert_int_equal(v.minor, 17);
	assert_int_equal(fc_version_parse("dev", &v), -EPROTO);
	v = (struct fc_version){ 1, 12 };
	assert_int_equal(fc_version_check(&v, &hv, "/fc", &e), 0);
	hv.reclaim_guest_freed_memory = true;
	assert_int_equal(fc_version_check(&v, &hv, "/fc", &e), -ENOTSUP);
	v = (struct fc_version){ 1, 11 };
	assert_int_equal(fc_version_check(&v, &hv, "/fc", &e), -ENOTSUP);
	assert_string_equal(e.text, "/fc is Firecracker 1.11, which is too old: 1.12 or newer is needed");
}

#ifdef __x86_64__
static void test_a_compressed_kernel(void **state)
{
	unsigned char image[0x210] = { 0 };
	struct err e = { 0 };
	struct vm *vm;

	memcpy(image + 0x202, "HdrS", 4);
	make_file(kernel, sizeof kernel, "vmlinux", image, sizeof image);
	assert_int_equal(firecracker_driver.prepare(loop, &config, &vm, &e), -ENOEXEC);
	assert_non_null(strstr(e.text, "extract-vmlinux"));
}
#endif

/* ---- the jail ---- */

static void make_jailer(char *path, size_t size)
{
	/* In place of the jailer: no root directory of its own, which a double that is linked dynamically could not
	 * use. */
	static const char script[] =
		"#!/bin/sh\n"
		"while [ \"$1\" != -- ]; do\n"
		"case $1 in\n"
		"--id) id=$2 ;;\n"
		"--exec-file) program=$2 ;;\n"
		"--chroot-base-dir) base=$2 ;;\n"
		"--uid | --gid) [ $2 = 0 ] || exit 1 ;;\n"
		"esac\n"
		"shift 2\n"
		"done\n"
		"cd \"$base/$(basename \"$program\")/$id/root\" && exec \"$program\" --id \"$id\" \"$@\"\n";

	make_file(path, size, "jailer", script, sizeof script - 1);
	assert_int_equal(chmod(path, 0700), 0);
}

static bool same_file(const char *a, const char *b)
{
	struct stat x, y;

	return stat(a, &x) == 0 && lstat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* In a process of its own, whose mount namespace may change. Exit status 0: all is well; else the line. */
static void live_in_the_jail(void)
{
	char jailer[64], *root_path;
	int nameless = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	struct vm_device root = make_disk("rootfs", true), late = make_disk("late", false);
	struct err e = { 0 };
	struct vm *vm;

#define expect(x)                                                                                                      \
	if (!(x)) {                                                                                                    \
		fprintf(stderr, "line %d: %s\n", __LINE__, e.text);                                                    \
		_exit(1);                                                                                              \
	}
	make_jailer(jailer, sizeof jailer);
	hv.jailer_path = jailer;
	hv.default_bridges = 1;
	config.fixed_devices = false;
	root_path = str_printf("/proc/%d/fd/%d", (int)getpid(), nameless);
	root.u.block.path = nameless >= 0 ? root_path : disk;
	expect(firecracker_driver.prepare(loop, &config, &vm, &e) == 0);
	expect(firecracker_driver.add_device(vm, &root, &e) == 0);
	expect(firecracker_driver.start(vm, &e) == 0);
	expect(firecracker_driver.add_device(vm, &late, &e) == 0);
	expect(chdir(fc_vm_of(vm)->folder.path) == 0);
	expect(same_file(kernel, "kernel") && same_file(root.u.block.path, "rootfs") && same_file(disk, "disk0"));
	expect(access("vsock", F_OK) < 0 && access("api", F_OK) == 0);
	expect(firecracker_driver.remove_device(vm, "late", &e) == 0);
	expect(access("disk0", F_OK) < 0 && access(disk, F_OK) == 0);
	expect(chdir("/") == 0);
	firecracker_driver.free(vm);
	expect(access(disk, F_OK) == 0 && access(kernel, F_OK) == 0);
	_exit(0);
#undef expect
}

static void test_jail(void **state)
{
	_cleanup_free_ char *top = str_printf("%s/%s", config.run_dir, strrchr(self, '/') + 1);
	int status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	pid = fork();
	if (pid == 0)
		live_in_the_jail();
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(access(top, F_OK), -1);
}

/* ---- a VMM that misbehaves ---- */

static int start_with(const char *behaviour, unsigned at, struct err *e)
{
	_cleanup_free_ char *value = str_printf("%s:%u", behaviour, at);
	struct vm *vm;
	int r;

	setenv(FAKE_VARIABLE, value, 1);
	config.start_timeout_ms = str_eq(behaviour, "hang") ? SHORT_MS : 60000;
	vm = prepare(NULL);
	r = firecracker_driver.start(vm, e);
	if (r < 0) {
		/* Already now: not only when the VM is freed. */
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		assert_int_equal(vm->exit_fd, -1);
	}
	firecracker_driver.free(vm);
	return r;
}

static void test_misbehaviour_at_each_step(void **state)
{
	static const struct {
		const char *behaviour;
		int r;
		const char *text;
		bool before; /* also before it listens */
		bool stays;  /* when it has closed the connection */
	} cases[] = {
		{ "hang", -ETIMEDOUT, "in time", true },
		{ "die", -EIO, "Firecracker exited with status 7: the double dies", true },
		{ "seccomp", -EIO, "exited with status 148 (its system call filter stopped it)", true },
		{ "garbage", -EPROTO, "wrongly" },
		{ "refuse", -EREMOTEIO, "not willing (status 400)" },
		{ "cut", -EPIPE, "in the middle of its answer", .stays = true },
		{ "close", -EPIPE, "instead of answering", .stays = true },
		{ "gibibyte", -EFBIG, "1073741824 bytes is too large" },
	};
	struct err e = { 0 };
	unsigned steps = 0;

	/* Until the step is behind the last one. */
	for (int r = -1; r < 0; steps++)
		r = start_with("refuse", steps + 1, &e);
	assert_true(steps > 5);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		/* Before it listens, the version, a setting, the last. */
		const unsigned at[] = { 0, 1, 2, steps - 1 };

		for (size_t k = cases[i].before ? 0 : 1; k < sizeof at / sizeof *at; k++) {
			int r;

			e = (struct err){ 0 };
			short_wait = cases[i].stays && at[k] > 1;
			r = start_with(cases[i].behaviour, at[k], &e);
			short_wait = false;
			if (r != cases[i].r || !strstr(e.text, cases[i].text) || !str_after(e.text, "Firecracker (") ||
			    strchr(e.text, '\n'))
				fail_msg("%s at %u: %d, \"%s\"", cases[i].behaviour, at[k], r, e.text);
		}
	}
	assert_int_equal(start_with("old", 1, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "is Firecracker 1.11, which is too old"));
}

static void test_an_interrupted_start(void **state)
{
	struct vm *vm = prepare(NULL);
	struct err e = { 0 };
	int p[2];

	setenv(FAKE_VARIABLE, "hang:2", 1);
	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	close(p[1]);
	vm->interrupt_fd = p[0];
	assert_int_equal(firecracker_driver.start(vm, &e), -ECANCELED);
	firecracker_driver.free(vm);
	close(p[0]);
}

/* What the smallest VM needs, the question for the version included; the double ends at the next one. */
#define SMALLEST_REQUESTS 6

static void end_with(const char *behaviour, enum err_domain domain, const char *text)
{
	_cleanup_free_ char *value = str_printf("%s:%d", behaviour, SMALLEST_REQUESTS + 1);
	struct err e = { 0 };
	struct vm *vm;

	setenv(FAKE_VARIABLE, value, 1);
	vm = prepare(NULL);
	ok(firecracker_driver.start(vm, &e));
	assert_int_equal(firecracker_driver.pause(vm, &e), -EOWNERDEAD);
	if (e.domain != domain || !strstr(e.text, text))
		fail_msg("%s", e.text);
	assert_true(vm_wait_exit(vm, 60000));
	firecracker_driver.free(vm);
}

static void test_ends(void **state)
{
	end_with("end", ERR_GUEST, "the VM ended: the guest powered off, rebooted or crashed (reset); last console");
	end_with("die", ERR_HYPERVISOR, "the VM ended: Firecracker exited with status 7: the double dies");
	end_with("seccomp", ERR_HYPERVISOR, "148 (its system call filter stopped it)");
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
		T(test_smallest),
		T(test_everything),
		T(test_restore),
		T(test_description),
		T(test_devices_that_it_has_not),
		T(test_cpu_templates),
		T(test_an_old_one_is_told_no_mtu),
		T(test_slots_run_out),
		T(test_keys),
		T(test_versions),
#ifdef __x86_64__
		T(test_a_compressed_kernel),
#endif
		T(test_jail),
		T(test_misbehaviour_at_each_step),
		T(test_an_interrupted_start),
		T(test_ends),
	};
	ssize_t n;
	int r;

	if (getenv(FAKE_VARIABLE))
		return fake_main(argc, argv);
	n = readlink("/proc/self/exe", self, sizeof self - 1);
	if (n < 0 || !mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dir_remove(dir);
	return r;
}
