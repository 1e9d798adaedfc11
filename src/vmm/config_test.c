/* SPDX-License-Identifier: Apache-2.0 */
/* --config-file, and what the transcripts of the API do not reach. */
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

#include "base/cleanup.h"
#include "base/fd.h"
#include "vmm/config_file.h"
#include "vmm/fake_vmm.h"
#include "vmm/probe.h"

int __wrap_probe_tap(const char *name, struct err *e);
int __real_probe_tap(const char *name, struct err *e);

int __wrap_probe_tap(const char *name, struct err *e)
{
	return 0;
}

struct fixture {
	char dir[32];
	struct instance i;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	_cleanup_free_ char *kernel = NULL;
	int fd;

	strcpy(f->dir, "/tmp/caisson-vmm-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	kernel = str_printf("%s/vmlinux", f->dir);
	fd = open(kernel, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	close(fd);
	instance_init(&f->i, "vm");
	f->i.logger.level = LOGGER_OFF;
	free(fake_vmm_calls());
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	instance_fini(&f->i);
	dir_remove(f->dir);
	free(f);
	return 0;
}

/* A document: before, a boot source, after. */
static int apply(struct fixture *f, struct err *e, const char *before, const char *after)
{
	_cleanup_free_ char *text = str_printf("%s{\"kernel_image_path\": \"%s/vmlinux\"}%s", before, f->dir, after);

	return config_text_apply(&f->i, text, strlen(text), e);
}

static void test_file(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = str_printf("%s/config.json", f->dir), *text = NULL, *calls = NULL;
	struct err e = { 0 };

	text = str_printf("{\"boot-source\": {\"kernel_image_path\": \"%s/vmlinux\", \"boot_args\": \"q\"},\n"
			  " \"drives\": [{\"drive_id\": \"d\", \"is_root_device\": true, \"path_on_host\": "
			  "\"%s/vmlinux\"}],\n"
			  " \"machine-config\": {\"vcpu_count\": 2, \"mem_size_mib\": 256},\n"
			  " \"network-interfaces\": [{\"iface_id\": \"n\", \"host_dev_name\": \"tap0\"}],\n"
			  " \"pmem\": [], \"logger\": {\"level\": \"Off\"}, \"cpu-config\": null, \"later\": {}}",
			  f->dir, f->dir);
	assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
	assert_int_equal(config_file_apply(&f->i, path, &e), 0);
	assert_true(f->i.boot_path);
	assert_int_equal(instance_start(&f->i, &e), 0);
	calls = fake_vmm_calls();
	assert_non_null(strstr(calls, "new vm vcpus 2 x1 memory 268435456\n"));
	assert_non_null(strstr(calls, "cmdline q pci=off root=/dev/vda rw\n"));
	assert_non_null(strstr(calls, "net net-n tap tap0 mac - mtu 0\nstart\n"));
}

static void test_file_errors(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(config_file_apply(&f->i, "/nowhere/config.json", &e), -ENOENT);
	assert_string_equal(e.text, "Unable to open or read from the configuration file /nowhere/config.json: No such "
				    "file or directory (os error 2)");
	config_text_apply(&f->i, "{}", 2, &e);
	assert_string_equal(e.text, "Invalid JSON: missing field `drives` at line 1 column 2");
	config_text_apply(&f->i, "{\"drives\": []}", 14, &e);
	assert_string_equal(e.text, "Invalid JSON: missing field `boot-source` at line 1 column 14");
	assert_true(apply(f, &e, "{\"drives\": [], \"boot-source\": ", ", \"mmds-config\": {\"a\": [1]}}") < 0);
	assert_string_equal(e.text, "mmds-config is not supported by this version.");
	assert_true(apply(f, &e,
			  "{\"machine-config\": {\"vcpu_count\": 0, \"mem_size_mib\": 1}, \"drives\": [], "
			  "\"boot-source\": ",
			  "}") < 0);
	assert_non_null(strstr(e.text, "VM config error: The number of vCPUs must"));
	/* The API's rule for ids holds here too. */
	assert_true(apply(f, &e,
			  "{\"drives\": [{\"drive_id\": \"a-b\", \"is_root_device\": false, \"path_on_host\": "
			  "\"/dev/null\"}], \"boot-source\": ",
			  "}") < 0);
	assert_string_equal(e.text, "Block device error: API Resource IDs can only contain alphanumeric characters and "
				    "underscores.");
}

static void test_cmdline_limit(void **state)
{
	struct fixture *f = *state;
	struct boot_source b = { .kernel_image_path = str_printf("%s/vmlinux", f->dir) };
	_cleanup_buf_ struct buf out = { 0 };
	struct err e = { 0 };

	b.boot_args = calloc(1, 2049);
	memset(b.boot_args, 'x', 2048);
	assert_true(config_set_boot_source(&f->i.config, &b, &e) < 0);
	assert_non_null(strstr(e.text, "too long"));
	b.boot_args[2047] = 0;
	assert_int_equal(config_set_boot_source(&f->i.config, &b, &e), 0);
	assert_null(b.boot_args);
	/* It fits, but not with what the machine needs. */
	assert_int_equal(config_cmdline(&f->i.config, true, &out, &e), 0);
	out.len = 0;
	assert_int_equal(config_cmdline(&f->i.config, false, &out, &e), -E2BIG);
}

/* The path is taken from the request on, given to the VM at the start, and free again if it never comes to that. */
static void test_vsock_path(void **state)
{
	struct fixture *f = *state;
	_cleanup_free_ char *path = str_printf("%s/v", f->dir);
	struct vsock v = { .guest_cid = 3, .uds_path = strdup(path) };
	struct config c;
	struct stat st;

	config_init(&c);
	assert_int_equal(config_set_vsock(&c, &v, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISSOCK(st.st_mode));
	v = (struct vsock){ .guest_cid = 4, .uds_path = strdup(path) };
	assert_int_equal(config_set_vsock(&c, &v, NULL), 0);
	config_fini(&c);
	assert_int_equal(stat(path, &st), -1);
}

static void test_tap_name(void **state)
{
	struct err e = { 0 };

	assert_true(__real_probe_tap("sixteen-letters-", &e) < 0);
	assert_string_equal(e.text, "Invalid interface name");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_file),       TEST(test_file_errors), TEST(test_cmdline_limit),
		TEST(test_vsock_path), TEST(test_tap_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
