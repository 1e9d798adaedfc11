/* SPDX-License-Identifier: Apache-2.0 */
/* For tests of plans: a fake driver that describes what it is given, and a request that each test changes. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "oci/spec.h"
#include "pod/plan.h"
#include "pod/plan_network.h"
#include "pod/rootfs_image.h"

/* Each test uses what it needs. */
#pragma GCC diagnostic ignored "-Wunused-function"

/* ---- a fake driver ---- */

static struct vm_capabilities can;

static void fake_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret)
{
	*ret = can;
}

static int describe_device(const struct vm_device *d, struct strv *ret)
{
	switch (d->kind) {
	case VM_DEVICE_BLOCK:
		return strv_addf(ret, "block:%s,%s%s,serial=%s", d->id, d->u.block.path,
				 d->u.block.readonly ? ",readonly" : "", d->u.block.serial);
	case VM_DEVICE_NET:
		if (strv_addf(ret, "net:%s,%s,%s,%s,mac=%s", d->id, d->u.net.mode, d->u.net.tap ? d->u.net.tap : "",
			      d->u.net.socket ? d->u.net.socket : "", d->u.net.mac) < 0)
			return -ENOMEM;
		for (size_t i = 0; i < d->u.net.publish.len; i++)
			if (strv_addf(ret, "publish:%s", d->u.net.publish.v[i]) < 0)
				return -ENOMEM;
		return 0;
	case VM_DEVICE_FS:
		return strv_addf(ret, "fs:%s,%s,%s,queue=%u", d->id, d->u.fs.tag, d->u.fs.socket, d->u.fs.queue_size);
	default:
		return strv_addf(ret, "9p:%s,%s,%s", d->id, d->u.fs.tag, d->u.fs.path);
	}
}

static int fake_describe(const struct vm_config *c, struct vm_device *const *devices, size_t n, struct strv *ret,
			 struct err *e)
{
	int r = 0;

	r |= strv_add(ret, "fake-vmm");
	r |= strv_addf(ret, "cpus=%u..%u", c->vcpus, c->max_vcpus);
	r |= strv_addf(ret, "memory=%llu..%llu%s", (unsigned long long)c->memory_mib,
		       (unsigned long long)c->max_memory_mib, c->shared_memory ? ",shared" : "");
	for (size_t i = 0; i < n; i++)
		r |= describe_device(devices[i], ret);
	r |= strv_add(ret, "append");
	for (size_t i = 0; i < c->kernel_params.len; i++)
		r |= strv_add(ret, c->kernel_params.v[i]);
	return r ? err_sys(e, ENOMEM, "cannot describe") : 0;
}

static const struct hypervisor_driver fake_driver = {
	.name = "fake",
	.capabilities = fake_capabilities,
	.describe = fake_describe,
};

/* ---- what is asked for: defaults that a test changes ---- */

#define SPEC_HEAD                                                                                                      \
	"{\"ociVersion\":\"1.1.0\",\"process\":{\"cwd\":\"/\",\"args\":[\"/bin/true\",\"a b\",\"it's\",\"\"]},"
#define SPEC_PLAIN                                                                                                     \
	SPEC_HEAD "\"root\":{\"path\":\"rootfs\"},\"mounts\":[{\"destination\":\"/proc\",\"type\":\"proc\","           \
		  "\"source\":\"proc\"}],\"linux\":{}}"

static struct {
	char *dir; /* of the test; "$TMP" in golden files */
	const char *toml, *spec;
	struct plan_request q;
	struct strv publish;
} t;

static void put(const char *name, const void *data, size_t n)
{
	_cleanup_free_ char *path = str_printf("%s/%s", t.dir, name);

	assert_int_equal(file_replace(path, data, n, 0755), 0);
}

static char *tmp(const char *name)
{
	static char path[4][PATH_MAX];
	static unsigned next;
	char *p = path[next++ % 4];

	snprintf(p, PATH_MAX, "%s/%s", t.dir, name);
	return p;
}

static void put_image(const char *name, size_t offset, const char *magic, size_t n)
{
	char data[4096] = { 0 };

	memcpy(data + offset, magic, n);
	put(name, data, sizeof data);
}

static int set_up(void **state)
{
	char dir[] = "/tmp/plan-test-XXXXXX";

	t.dir = strdup(mkdtemp(dir));
	t.toml = "";
	t.spec = SPEC_PLAIN;
	can = (struct vm_capabilities){ .block = true, .net_user = true, .fs_sharing = true, .fs_sharing_9p = true };
	assert_int_equal(mkdir(tmp("guest"), 0755), 0);
	put("guest/vmlinuz", "k", 1);
	put("guest/initramfs.img", "i", 1);
	put("virtiofsd", "#!/bin/sh\n", 10);
	assert_int_equal(mkdir(tmp("root"), 0755), 0);
	assert_int_equal(mkdir(tmp("data"), 0755), 0);
	put("file", "f", 1);
	setenv("CAISSON_GUEST_DIR", tmp("guest"), 1);
	t.q = (struct plan_request){ .id = "c1", .driver = &fake_driver, .rootfs = strdup(tmp("root")) };
	t.q.run_dir = "/run/caisson-test/c1";
	t.q.publish = &t.publish;
	return 0;
}

static int tear_down(void **state)
{
	dir_remove(t.dir);
	free(t.dir);
	free((char *)t.q.rootfs);
	strv_fini(&t.publish);
	return 0;
}

static void set_rootfs(const char *name)
{
	free((char *)t.q.rootfs);
	t.q.rootfs = strdup(tmp(name));
}

static struct config *load_config(void)
{
	_cleanup_free_ char *body =
		str_printf("[hypervisor.qemu]\nvirtio_fs_daemon = \"%s/virtiofsd\"\ndefault_memory = 256\n"
			   "default_vcpus = 1\n%s",
			   t.dir, t.toml);
	struct config_load_options o = { .body = body };
	struct config *c = NULL;
	struct err e = { 0 };

	if (config_load(&o, &c, NULL, &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

static int build(const struct config *c, struct plan **ret, struct err *e)
{
	struct plan_request q = t.q;
	struct err parse = { 0 };

	q.config = c;
	if (oci_spec_parse(t.spec, strlen(t.spec), "config.json", &q.spec, NULL, &parse) < 0)
		fail_msg("%s", parse.text);
	return plan_build(&q, ret, e);
}

static void refused(int code, const char *text)
{
	_cleanup_config_ struct config *c = load_config();
	struct plan *p = NULL;
	struct err e = { 0 };
	int r = build(c, &p, &e);

	if (r >= 0)
		fail_msg("planned, instead of: %s", text);
	assert_null(p);
	assert_string_equal(e.text, text);
	assert_int_equal(r, -code);
	assert_int_equal(e.code, code);
}
