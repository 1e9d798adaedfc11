/* SPDX-License-Identifier: Apache-2.0 */
/* Annotations and flags over the file, what pods may do, keys without effect, printing, and memory that runs out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/sanitizer.h"
#include "config/value.h"

#define HV "io.katacontainers.config.hypervisor."

/* Load a body with annotations, NULL-terminated. */
static int try_load(const char *body, struct config **ret, struct strv *warnings, struct err *e, va_list ap)
{
	_cleanup_strv_ struct strv annotations = { 0 };
	struct config_load_options o = { .body = body, .annotations = &annotations };
	const char *annotation;

	while ((annotation = va_arg(ap, const char *)))
		strv_add(&annotations, annotation);
	return config_load(&o, ret, warnings, e);
}

static struct config *load(const char *body, ...)
{
	struct config *c = NULL;
	struct err e = { 0 };
	va_list ap;
	int r;

	va_start(ap, body);
	r = try_load(body, &c, NULL, &e, ap);
	va_end(ap);
	if (r < 0)
		fail_msg("%s", e.text);
	return c;
}

static void check_error(int code, const char *want, const char *body, ...)
{
	struct config *c = NULL;
	struct err e = { 0 };
	va_list ap;

	va_start(ap, body);
	assert_int_equal(try_load(body, &c, NULL, &e, ap), code);
	va_end(ap);
	assert_null(c);
	assert_string_equal(e.text, want);
}

static void check_warning(const char *want, const char *body, ...)
{
	_cleanup_strv_ struct strv warnings = { 0 };
	_cleanup_config_ struct config *c = NULL;
	va_list ap;

	va_start(ap, body);
	assert_int_equal(try_load(body, &c, &warnings, NULL, ap), 0);
	va_end(ap);
	assert_int_equal(warnings.len, 1);
	assert_string_equal(warnings.v[0], want);
}

/* ---- annotations ---- */

static void test_allowed(void **state)
{
	_cleanup_config_ struct config *c = load(
		"[hypervisor.qemu]\nkernel_params = 'quiet'\n"
		"enable_annotations = ['kernel_params', 'default_.*', 'virtio_fs_.*|blk_.*', 'cc_init_data', "
		"'enable_mem_prealloc']\n",
		HV "kernel_params=a=b c", HV "default_vcpus=1.5", HV "default_max_vcpus=8", HV "default_memory=512",
		HV "virtio_fs_extra_args=[\"-o\", \"x,y\"]", HV "blk_logical_sector_size=512", HV "cc_init_data=abc",
		HV "enable_mem_prealloc=true", "io.kubernetes.cri.container-name=x", NULL);

	assert_string_equal(c->hypervisor.kernel_params, "quiet a=b c");
	assert_true(c->hypervisor.default_vcpus == 1.5);
	assert_int_equal(c->hypervisor.default_maxvcpus, 8);
	assert_int_equal(c->hypervisor.default_memory, 512);
	assert_int_equal(c->hypervisor.virtio_fs_extra_args.len, 2);
	assert_string_equal(c->hypervisor.virtio_fs_extra_args.v[1], "x,y");
	assert_int_equal(c->hypervisor.block_device_logical_sector_size, 512);
	assert_string_equal(c->hypervisor.initdata, "abc");
	assert_true(c->hypervisor.enable_mem_prealloc);
	assert_string_equal(config_origin(c, CONFIG_HYPERVISOR, "default_maxvcpus"),
			    "annotation " HV "default_max_vcpus");
}

static void test_agent_and_runtime(void **state)
{
	_cleanup_config_ struct config *c =
		load("[hypervisor.qemu]\n", "io.katacontainers.config.agent.kernel_modules=e1000e a=1,2; i915",
		     "io.katacontainers.config.agent.cdh_api_timeout=2",
		     "io.katacontainers.config.agent.container_pipe_size=4096",
		     "io.katacontainers.config.runtime.disable_guest_seccomp=false",
		     "io.katacontainers.config.runtime.sandbox_bind_mounts=/a:ro, /b",
		     "io.katacontainers.enable_vcpus_pinning=1", NULL);

	assert_int_equal(c->agent.kernel_modules.len, 2);
	assert_string_equal(c->agent.kernel_modules.v[0], "e1000e a=1,2");
	assert_string_equal(c->agent.kernel_modules.v[1], "i915");
	assert_int_equal(c->agent.cdh_api_timeout_ms, 2000);
	assert_int_equal(c->agent.container_pipe_size, 4096);
	assert_false(c->runtime.disable_guest_seccomp);
	assert_string_equal(c->runtime.sandbox_bind_mounts.v[1], "/b");
	assert_true(c->runtime.enable_vcpus_pinning);
}

static void test_refused(void **state)
{
	check_error(-EPERM,
		    "annotation " HV "kernel: not allowed: no expression of [hypervisor.qemu] enable_annotations "
		    "(config_body:2) matches \"kernel\"; add it there to allow it",
		    "[hypervisor.qemu]\nenable_annotations = ['kernel_params', 'ker', 'x.*']\n", HV "kernel=/k", NULL);
	/* A file that does not speak of it allows nothing. */
	check_error(-EPERM,
		    "annotation " HV
		    "default_vcpus: not allowed: no expression of [hypervisor.qemu] enable_annotations "
		    "(default) matches \"default_vcpus\"; add it there to allow it",
		    "[hypervisor.qemu]\n", HV "default_vcpus=2", NULL);
	/* What grants rights cannot be had by granting. */
	check_error(-EPERM,
		    "annotation " HV
		    "valid_hypervisor_paths: not allowed: only the configuration file can set this key",
		    "[hypervisor.qemu]\nenable_annotations = ['.*']\n", HV "valid_hypervisor_paths=/*", NULL);
	check_error(-EPERM,
		    "annotation " HV "enable_annotations: not allowed: only the configuration file can set this key",
		    "[hypervisor.qemu]\nenable_annotations = ['.*']\n", HV "enable_annotations=.*", NULL);
	check_error(-EOPNOTSUPP,
		    "annotation " HV
		    "kernel_hash: checking the hash of guest files is not supported; remove the annotation",
		    "[hypervisor.qemu]\nenable_annotations = ['.*']\n", HV "kernel_hash=00", NULL);
	check_error(-EOPNOTSUPP,
		    "annotation io.katacontainers.asset_hash_type: checking the hash of guest files is not supported; "
		    "remove "
		    "the annotation",
		    "", "io.katacontainers.asset_hash_type=sha512", NULL);
}

static void test_paths(void **state)
{
#define PATHS                                                                                                          \
	"[hypervisor.qemu]\nenable_annotations = ['path', 'entropy_source']\nvalid_hypervisor_paths = "                \
	"['/opt/*/qemu', '/x']\n"
	static const char *const bad[] = { "/opt/a/b/qemu", "/opt/../qemu", "/opt/.hidden/qemu", "opt/a/qemu", "/y", "",
					   "/x/.." };
	_cleanup_config_ struct config *a = load(PATHS, HV "path=/opt/v1/qemu", NULL);
	_cleanup_config_ struct config *b = load(PATHS, HV "path=/x", HV "entropy_source=/dev/random", NULL);

	assert_string_equal(a->hypervisor.path, "/opt/v1/qemu");
	assert_string_equal(b->hypervisor.path, "/x");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		_cleanup_free_ char *annotation = str_printf(HV "path=%s", bad[i]);
		_cleanup_free_ char *want =
			str_printf("annotation " HV "path = \"%s\": not allowed: no entry of [hypervisor.qemu] "
				   "valid_hypervisor_paths (config_body:3) matches it; add it there to allow it",
				   bad[i]);

		check_error(-EPERM, want, PATHS, annotation, NULL);
	}
}

static void test_bad_values(void **state)
{
#define ALL "[hypervisor.qemu]\nenable_annotations = ['.*']\n"
	check_error(-EINVAL,
		    "annotation " HV "default_memory: default_memory: expected an integer from 0, found \"1G\"", ALL,
		    HV "default_memory=1G", NULL);
	check_error(-EINVAL, "annotation " HV "enable_iommu: enable_iommu: expected true or false, found \"yes\"", ALL,
		    HV "enable_iommu=yes", NULL);
	check_error(-EINVAL, "annotation " HV "pcie_root_port: pcie_root_port: 17 is not from 0 to 16", ALL,
		    HV "pcie_root_port=17", NULL);
	check_error(-EINVAL,
		    "annotation " HV
		    "virtio_fs_extra_args: virtio_fs_extra_args: expected a list like [\"a\", \"b\"] or a,b",
		    ALL, HV "virtio_fs_extra_args=[\"a\"", NULL);
	check_error(-EINVAL, "annotation \"nonsense\": expected KEY=VALUE", ALL, "nonsense", NULL);
}

static void test_unknown(void **state)
{
	check_warning("annotation " HV "default_vcpu: unknown key; did you mean \"default_vcpus\"?", ALL,
		      HV "default_vcpu=1", NULL);
	check_warning("annotation " HV "blubb_blubb: unknown key; it is ignored", ALL, HV "blubb_blubb=1", NULL);
	check_warning("annotation io.katacontainers.config.agnt.policy: unknown; it is ignored", ALL,
		      "io.katacontainers.config.agnt.policy=", NULL);
	check_warning(
		"annotation io.katacontainers.config_path has no effect: a pod cannot choose the configuration file",
		ALL, "io.katacontainers.config_path=/x", NULL);
}

static void test_choice(void **state)
{
	check_error(
		-EPERM,
		"annotation io.katacontainers.config.runtime.hypervisor_name = \"fc\": not allowed: the configuration "
		"given has no [hypervisor.firecracker] table; add one to allow it",
		ALL, "io.katacontainers.config.runtime.hypervisor_name=fc", NULL);
	check_error(-EINVAL,
		    "annotation io.katacontainers.config.runtime.hypervisor_name: unknown hypervisor \"xen\"; known "
		    "are qemu, "
		    "clh, firecracker, dragonball, stratovirt, remote, openvmm",
		    ALL, "io.katacontainers.config.runtime.hypervisor_name=xen", NULL);
}

static void test_image_or_initrd(void **state)
{
	static const char body[] = ALL "image = '/i'\n";
	_cleanup_config_ struct config *c = load(body, HV "initrd=/r", NULL);
	struct err e = { 0 };

	assert_string_equal(c->hypervisor.initrd, "/r");
	assert_string_equal(c->hypervisor.image, ""); /* the annotation is the stronger */
	check_error(-EINVAL,
		    "annotation " HV "image sets image and annotation " HV
		    "initrd sets initrd, but a guest has one or the other; remove one of them",
		    body, HV "initrd=/r", HV "image=/x", NULL);
	assert_int_equal(config_override(c, "hypervisor", "image", "/flag", "--image", &e), 0);
	assert_string_equal(c->hypervisor.image, "/flag");
	assert_string_equal(c->hypervisor.initrd, "");
	assert_int_equal(config_override(c, "hypervisor", "initrd", "/flag", "--initrd", &e), -EINVAL);
	assert_string_equal(
		e.text,
		"--image sets image and --initrd sets initrd, but a guest has one or the other; remove one of them");
}

/* ---- flags ---- */

static void test_override(void **state)
{
	_cleanup_config_ struct config *c = load("[hypervisor.qemu]\nkernel = '/k'\n", NULL);
	struct err e = { 0 };

	assert_int_equal(config_override(c, "hypervisor", "kernel", "/boot/k", "--kernel", &e), 0);
	assert_string_equal(c->hypervisor.kernel, "/boot/k");
	assert_string_equal(config_origin(c, CONFIG_HYPERVISOR, "kernel"), "--kernel");
	assert_int_equal(config_override(c, "agent", "kernel_modules", "[]", "-x", &e), 0);
	assert_int_equal(config_override(c, "hypervisor", "default_memory", "many", "--memory", &e), -EINVAL);
	assert_string_equal(e.text, "--memory: default_memory: expected an integer from 0, found \"many\"");
	assert_int_equal(c->hypervisor.default_memory, 2048);
	assert_int_equal(config_override(c, "hypervisor", "blubb", "", "--x", &e), -EINVAL);
	assert_string_equal(e.text, "--x: there is no configuration key hypervisor.blubb");
	assert_int_equal(config_override(c, "blubb", "kernel", "", "--x", &e), -EINVAL);
}

/* ---- keys without effect ---- */

static void test_ineffective(void **state)
{
	static const char *const driver[] = { "kernel", "default_vcpus", NULL };
	static const char *const others[] = { "agent.log_level", "runtime.vfio_mode", NULL };
	_cleanup_strv_ struct strv warnings = { 0 };
	_cleanup_config_ struct config *c = load(
		"[hypervisor.qemu]\nkernel = '/k'\nfirmware_volume = '/f'\nfirmware = ''\nenable_annotations = ['.*']\n"
		"[agent.kata]\nlog_level = 'debug'\nserver_port = 5\ndial_timeout = 3\n[agent.kata.mem_agent]\nenable "
		"= true\n"
		"[runtime]\nlog_level = 'debug'\nhypervisor_name = 'qemu'\n[factory]\nvm_cache_number = 0\n",
		HV "numa_mapping=0-1", NULL);

	assert_int_equal(config_override(c, "hypervisor", "cpu_features", "+x", "--flag", NULL), 0);
	assert_int_equal(config_warn_ineffective(c, driver, others, &warnings), 0);
	assert_int_equal(warnings.len, 7);
	assert_string_equal(warnings.v[0],
			    "config_body:3: [hypervisor.qemu] firmware_volume has no effect with this hypervisor");
	assert_string_equal(warnings.v[1], "--flag: [hypervisor.qemu] cpu_features has no effect with this hypervisor");
	assert_string_equal(warnings.v[2],
			    "annotation " HV
			    "numa_mapping: [hypervisor.qemu] numa_mapping has no effect with this hypervisor");
	assert_string_equal(warnings.v[3], "config_body:9: [agent.kata] reconnect_timeout_ms has no effect");
	assert_string_equal(warnings.v[4], "config_body:8: [agent.kata] server_port has no effect");
	assert_string_equal(warnings.v[5], "config_body:10: [agent.kata] mem_agent has no effect");
	assert_string_equal(warnings.v[6], "config_body:13: [runtime] log_level has no effect");
	strv_fini(&warnings);
	assert_int_equal(config_warn_ineffective(c, NULL, NULL, &warnings), 0);
	assert_int_equal(warnings.len, 0);
}

/* ---- printing ---- */

static void test_table(void **state)
{
	_cleanup_config_ struct config *c =
		load(ALL "kernel = \"/k \\\"\"\ndefault_vcpus = 1.5\n[runtime]\njaeger_password = 'secret'\n",
		     HV "default_memory=5", NULL);
	_cleanup_buf_ struct buf out = { 0 };

	assert_int_equal(config_print(c, false, &out), 0);
	assert_non_null(str_after(out.data, "# file: none\n# hypervisor: qemu\n\n[hypervisor.qemu]\n"));
	assert_non_null(strstr(out.data, "\nkernel  "));
	assert_non_null(strstr(out.data, "  \"/k \\\"\"  "));
	assert_non_null(strstr(out.data, "  config_body:3\n"));
	assert_non_null(strstr(out.data, "  1.5  "));
	assert_non_null(strstr(out.data, "  [\".*\"]  "));
	assert_non_null(strstr(out.data, "  annotation " HV "default_memory\n"));
	assert_non_null(strstr(out.data, "\n\n[agent.kata]\n"));
	assert_non_null(strstr(out.data, "\n\n[runtime]\n"));
	assert_non_null(strstr(out.data, "\n\n[factory]\n"));
	assert_null(strstr(out.data, "secret"));
	/* A key of other hypervisors that nobody set. */
	assert_null(strstr(out.data, "jailer_path"));
}

static void test_json(void **state)
{
	struct config_load_options o = { .body = ALL "kernel = '/k'\npflashes = ['a', 'b']\ndefault_vcpus = 2\n" };
	_cleanup_buf_ struct buf out = { 0 };
	struct json_object *root, *values, *v;
	unsigned found = 0;

	assert_int_equal(config_command_print(&o, true, &out, NULL, NULL), 0);
	root = json_tokener_parse(out.data);
	assert_non_null(root);
	assert_string_equal(json_object_get_string(json_object_object_get(root, "hypervisor")), "qemu");
	values = json_object_object_get(root, "values");
	for (size_t i = 0; i < json_object_array_length(values); i++) {
		struct json_object *o2 = json_object_array_get_idx(values, i);
		const char *key = json_object_get_string(json_object_object_get(o2, "key"));

		v = json_object_object_get(o2, "value");
		if (!strcmp(key, "kernel")) {
			assert_string_equal(json_object_get_string(v), "/k");
			assert_string_equal(json_object_get_string(json_object_object_get(o2, "origin")),
					    "config_body:3");
			assert_string_equal(json_object_get_string(json_object_object_get(o2, "section")),
					    "hypervisor.qemu");
			assert_false(json_object_get_boolean(json_object_object_get(o2, "default")));
			found++;
		} else if (!strcmp(key, "pflashes")) {
			assert_int_equal(json_object_array_length(v), 2);
			found++;
		} else if (!strcmp(key, "default_memory")) {
			assert_int_equal(json_object_get_int(v), 2048);
			assert_true(json_object_get_boolean(json_object_object_get(o2, "default")));
			found++;
		}
	}
	assert_int_equal(found, 3);
	json_object_put(root);
}

/* ---- memory that runs out ---- */

#if !SANITIZED
static long countdown = -1; /* the allocation that fails, and none if below 0 */
static long live;

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

static bool fails(void)
{
	return countdown >= 0 && countdown-- == 0;
}

void *malloc(size_t size)
{
	void *p = fails() ? NULL : __libc_malloc(size);

	live += p != NULL;
	if (!p)
		errno = ENOMEM;
	return p;
}

void *calloc(size_t n, size_t size)
{
	void *p = fails() ? NULL : __libc_calloc(n, size);

	live += p != NULL;
	if (!p)
		errno = ENOMEM;
	return p;
}

void *realloc(void *old, size_t size)
{
	void *p = fails() ? NULL : __libc_realloc(old, size);

	live += p && !old;
	if (!p)
		errno = ENOMEM;
	return p;
}

void free(void *p)
{
	live -= p != NULL;
	__libc_free(p);
}

/*
 * Each allocation of a load fails once: an error, and nothing is left behind. No regular expression is in it: libc's
 * regcomp() itself leaks when memory is short.
 */
static void test_no_memory(void **state)
{
	static const char body[] = "[hypervisor.qemu]\nkernel = '/k'\npflashes = ['a']\n"
				   "kernl = 1\n[[hypervisor.qemu.guest_extension_images]]\nname = 'n'\npath = 'p'\n"
				   "[agent.kata]\ndial_timeout = 1\n";
	char annotation[] = "io.katacontainers.config.agent.kernel_modules=a;b",
	     *annotations_v[] = { annotation, NULL };
	struct strv annotations = { annotations_v, 1 };
	struct config_load_options o = { .body = body, .annotations = &annotations };
	bool fired = true;
	long n;

	for (n = 0; fired; n++) {
		struct strv warnings = { 0 };
		struct config *c = NULL;
		struct buf out = { 0 };
		struct err e = { 0 };
		long before = live;
		int r;

		countdown = n;
		r = config_load(&o, &c, &warnings, &e);
		r = r < 0 ? r : config_print(c, false, &out);
		fired = countdown < 0; /* libc lives with the failure of a few */
		countdown = -1;
		assert_true(fired || r == 0);
		config_free(c);
		strv_fini(&warnings);
		buf_fini(&out);
		if (live != before)
			fail_msg("allocation %ld failed and %ld were leaked", n, live - before);
	}
	assert_true(n > 500);
}
#else
static void test_no_memory(void **state)
{
	skip(); /* the sanitizer has its own malloc() */
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowed),    cmocka_unit_test(test_agent_and_runtime),
		cmocka_unit_test(test_refused),    cmocka_unit_test(test_paths),
		cmocka_unit_test(test_bad_values), cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_choice),     cmocka_unit_test(test_image_or_initrd),
		cmocka_unit_test(test_override),   cmocka_unit_test(test_ineffective),
		cmocka_unit_test(test_table),      cmocka_unit_test(test_json),
		cmocka_unit_test(test_no_memory),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
