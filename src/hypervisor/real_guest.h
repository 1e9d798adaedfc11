/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of drivers with their real hypervisors and a real guest share: a VM's configuration that each test
 * begins with and changes, a loop, a folder, and the guest's console, on which the guest (tests/qemu/make-initrd) tells
 * what it sees.
 *
 * CAISSON_TEST_KERNEL and CAISSON_TEST_INITRD name the guest. CAISSON_TEST_ONLY=test_life (wildcards allowed) and
 * CAISSON_TEST_VERBOSE=1 are for people. A test program includes this once, behind cmocka.h.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/entries.h"
#include "base/fd.h"
#include "base/log.h"
#include "hypervisor/console.h"
#include "hypervisor/driver.h"

#define STR(s) ((char *)(uintptr_t)(s))

/* Only to catch a hang: where processors are emulated twice, on a busy machine, a guest takes minutes to boot. */
#define PATIENCE_MS 600000

static struct config_hypervisor hv;
static struct vm_config config;
static char dir[] = "/tmp/caisson-real-XXXXXX"; /* of all tests */
static char run_dir[64];                        /* the VM's, in it */
static char *params[4];
static struct loop *loop;
static const struct hypervisor_driver *driver;
static unsigned fds_before;

/* For each test: the smallest VM. given: what this hypervisor's configuration says in all of them. */
static inline int real_guest_set_up(const char *name, const struct config_hypervisor *given)
{
	hv = *given;
	params[0] = STR("loglevel=3");
	snprintf(run_dir, sizeof run_dir, "%s/run", dir);
	config = (struct vm_config){ .id = STR("test"),
				     .run_dir = run_dir,
				     .kernel = getenv("CAISSON_TEST_KERNEL"),
				     .initrd = getenv("CAISSON_TEST_INITRD"),
				     .image = STR(""),
				     .kernel_params = { .v = params, .len = 1 },
				     .vcpus = 1,
				     .max_vcpus = 1,
				     .memory_mib = 256,
				     .max_memory_mib = 256,
				     .console_log = true,
				     .start_timeout_ms = PATIENCE_MS,
				     .hv = &hv };
	driver = hypervisor_find(name);
	dir_remove(run_dir); /* of a test that failed */
	if (mkdir(run_dir, 0700) < 0)
		return -1;
	fds_before = count_entries("/proc/self/fd");
	return loop_new(&loop, NULL);
}

/* No descriptor is left, and so no process, for each has its pidfd. What the VM logged goes. */
static int tear_down(void **state)
{
	loop_free(loop);
	assert_int_equal(count_entries("/proc/self/fd"), fds_before);
	return dir_remove(run_dir);
}

static inline void ok_(int r, const struct err *e, int line)
{
	if (r < 0)
		fail_msg("line %d: %d: %s", line, r, e->text);
}
#define ok(r) ok_((r), &e, __LINE__)

static inline struct vm *prepared(void)
{
	struct err e = { 0 };
	struct vm *vm = NULL;

	ok(driver->prepare(loop, &config, &vm, &e));
	return vm;
}

static inline struct vm *boot(void)
{
	struct vm *vm = prepared();
	struct err e = { 0 };

	ok(driver->start(vm, &e));
	assert_true(vm->exit_fd >= 0);
	return vm;
}

/* Run the loop until the console says so. */
static inline void expect_console(struct vm *vm, const char *text)
{
	uint64_t deadline = clock_ms() + PATIENCE_MS;
	char lines[2048];

	while (!console_find(vm->console, text)) {
		struct err e = { 0 };

		loop_run_once(loop, 100);
		if (clock_ms() < deadline && !vm_wait_exit(vm, 0))
			continue;
		console_drain(vm->console);
		if (console_find(vm->console, text))
			break;
		console_last_lines(vm->console, 8, lines, sizeof lines);
		if (vm_wait_exit(vm, 0))
			vm_explain_exit(vm, &e);
		fail_msg("the guest never said \"%s\" but: %s (%s)", text, lines, e.text);
	}
}

static inline void expect_end(struct vm *vm)
{
	uint64_t deadline = clock_ms() + PATIENCE_MS;

	while (!vm_wait_exit(vm, 0)) {
		loop_run_once(loop, 50);
		assert_true(clock_ms() < deadline);
	}
}

/* A guest that is told to end by word; how it ended is said, as its own doing. */
static inline void expect_death(const char *word, const char *text, const char *more)
{
	struct err e = { 0 };
	struct vm *vm;

	params[1] = STR(word);
	config.kernel_params.len = 2;
	vm = boot();
	expect_end(vm);
	assert_int_equal(vm_explain_exit(vm, &e), -EOWNERDEAD);
	if (e.domain != ERR_GUEST || !strstr(e.text, text) || !strstr(e.text, more))
		fail_msg("%s: domain %s: %s", word, err_domain_name(e.domain), e.text);
	ok(driver->stop(vm, 1000, &e));
	driver->free(vm);
}

/*
 * An empty disk of 16 MiB, beside the VM's own folder; and what the guest's "SIZES" line says of it, before and after
 * expect_growth().
 */
#define IMAGE_SECTORS "32768"
#define GROWN_SECTORS "65536"

static inline char *make_image(const char *name)
{
	char *path = str_printf("%s/%s", dir, name);
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0 && ftruncate(fd, 16 << 20) == 0);
	close(fd);
	return path;
}

/* The disk's image gets twice as large; the guest sees it: sizes, "SIZES vda=65536.". */
static inline void expect_growth(struct vm *vm, const struct vm_device *disk, const char *sizes)
{
	struct err e = { 0 };

	assert_int_equal(truncate(disk->u.block.path, 32 << 20), 0);
	ok(driver->resize_block(vm, disk, &e));
	expect_console(vm, sizes);
}

/* name: "" lets the kernel choose. more_flags: of TUNSETIFF. */
static inline int open_tap(const char *name, short more_flags)
{
	struct ifreq ifr = { .ifr_flags = (short)(IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | more_flags) };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);

	snprintf(ifr.ifr_name, sizeof ifr.ifr_name, "%s", name);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &ifr) < 0)
		fail_msg("no tap %s", name);
	return fd;
}

/* Nobody in this guest listens, which its driver says itself: the device works. And the deadline holds. */
static inline void expect_vsock_refused(struct vm *vm, unsigned timeout_ms)
{
	uint64_t started = clock_ms();
	struct err e = { 0 };
	int fd;

	assert_int_equal(vm_connect(vm, 1024, started + timeout_ms, &fd, &e), -ETIMEDOUT);
	assert_true(clock_ms() - started < timeout_ms + 10000);
	/* The host kernel's vsock calls it a reset. */
	if (!strstr(e.text, "Connection refused") && !strstr(e.text, "Connection reset"))
		fail_msg("%s", e.text);
}

/* 77, "skipped" to meson, where a variable of the list is not set. For main(). */
static inline int real_guest_run(const char *const *needed, const struct CMUnitTest *tests, size_t n)
{
	int r;

	for (; *needed; needed++)
		if (str_empty(getenv(*needed))) {
			printf("skipped: %s is not set\n", *needed);
			return 77;
		}
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (getenv("CAISSON_TEST_VERBOSE"))
		log_set_level(LOG_LEVEL_DEBUG);
	if (getenv("CAISSON_TEST_ONLY"))
		cmocka_set_test_filter(getenv("CAISSON_TEST_ONLY"));
	if (!mkdtemp(dir))
		return 1;
	r = _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
	dir_remove(dir);
	return r;
}
