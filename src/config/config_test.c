/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Configuration files: those modelled on Kata's, our own, the search, drop-ins, the choice of the hypervisor, mistakes
 * and their exact messages. (annotation_test.c: annotations, flags, printing.)
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "config/value.h"

static const char *source_root(void)
{
	const char *root = getenv("SOURCE_ROOT");

	return root ? root : ".";
}

static struct config *load(const struct config_load_options *o, struct strv *warnings)
{
	struct config *c = NULL;
	struct err e = { 0 };

	if (config_load(o, &c, warnings, &e) < 0)
		fail_msg("%s", e.text);
	return c;
}

static struct config *load_body(const char *body)
{
	struct config_load_options o = { .body = body };

	return load(&o, NULL);
}

static void check_error(const char *body, const char *want)
{
	struct config_load_options o = { .body = body };
	struct config *c = NULL;
	struct err e = { 0 };

	assert_true(config_load(&o, &c, NULL, &e) < 0);
	assert_null(c);
	assert_string_equal(e.text, want);
	assert_int_equal(e.domain, ERR_CONFIG);
}

/* The same text is one warning, or with --strict the error. */
static void check_unknown(const char *body, const char *want)
{
	struct config_load_options o = { .body = body };
	_cleanup_strv_ struct strv warnings = { 0 };
	_cleanup_config_ struct config *c = load(&o, &warnings);
	struct config *none = NULL;
	struct err e = { 0 };

	assert_non_null(c);
	assert_int_equal(warnings.len, 1);
	assert_string_equal(warnings.v[0], want);
	o.strict = true;
	assert_int_equal(config_load(&o, &none, NULL, &e), -EINVAL);
	assert_null(none);
	assert_string_equal(e.text, want);
}

/* ---- a folder for one test ---- */

static char tmp[64];

static int make_tmp(void **state)
{
	strcpy(tmp, "/tmp/config-test-XXXXXX");
	unsetenv("KATA_CONF_FILE");
	return mkdtemp(tmp) ? 0 : -1;
}

static int drop_tmp(void **state)
{
	unsetenv("KATA_CONF_FILE");
	return dir_remove(tmp);
}

static void put(const char *path, const char *text)
{
	_cleanup_free_ char *full = str_printf("%s%s", tmp, path);
	_cleanup_free_ char *dir = strndup(full, (size_t)(strrchr(full, '/') - full));

	assert_int_equal(dir_make(dir, 0700), 0);
	assert_int_equal(file_replace(full, text, strlen(text), 0600), 0);
}

/* ---- whole files ---- */

static bool is_alias_only(const char *name)
{
	/* Set from dial_timeout; the Go files have only that. */
	return !strcmp(name, "reconnect_timeout_ms");
}

/* Keys that Kata's files do not have. */
static bool is_ours(const char *name)
{
	return !strcmp(name, "enable_landlock") || !strcmp(name, "cpu_template");
}

/* Every file of tests/config loads without a word, and together they set every key there is. */
static void test_kata_files(void **state)
{
	_cleanup_free_ char *dir = str_printf("%s/tests/config", source_root());
	_cleanup_free_ bool *seen = calloc(config_key_count(), sizeof *seen);
	_cleanup_closedir_ DIR *d = opendir(dir);
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(d);
	while ((entry = readdir(d))) {
		_cleanup_free_ char *path = str_printf("%s/%s", dir, entry->d_name);
		struct config_load_options o = { .path = path, .strict = true };
		_cleanup_strv_ struct strv warnings = { 0 };
		_cleanup_config_ struct config *c = NULL;

		if (!str_endswith(path, ".toml"))
			continue;
		c = load(&o, &warnings);
		n++;
		if (warnings.len)
			fail_msg("%s", warnings.v[0]);
		assert_non_null(strstr(entry->d_name, c->hypervisor_name));
		for (size_t i = 0; i < config_key_count(); i++)
			seen[i] |= c->origins->of[i].layer == CONFIG_BY_FILE;
	}
	assert_int_equal(n, 11);
	for (size_t i = 0; i < config_key_count(); i++)
		if (!seen[i] && !is_alias_only(config_key_at(i)->name) && !is_ours(config_key_at(i)->name))
			fail_msg("no file sets %s", config_key_at(i)->name);
}

static void test_go_qemu(void **state)
{
	_cleanup_free_ char *path = str_printf("%s/tests/config/kata-go-qemu.toml", source_root());
	struct config_load_options o = { .path = path };
	_cleanup_config_ struct config *c = load(&o, NULL);

	assert_string_equal(c->hypervisor.path, "/opt/kata/bin/qemu-system-x86_64");
	assert_string_equal(c->hypervisor.kernel, "/opt/kata/share/kata-containers/vmlinux.container");
	assert_string_equal(c->hypervisor.shared_fs, "virtio-fs");
	assert_true(c->hypervisor.default_vcpus == 1);
	assert_int_equal(c->hypervisor.enable_annotations.len, 6);
	assert_string_equal(c->hypervisor.virtio_fs_extra_args.v[2], "announce_submounts");
	assert_int_equal(c->agent.dial_timeout, 60);
	assert_int_equal(c->agent.reconnect_timeout_ms, 60000);
	assert_int_equal(c->agent.cdh_api_timeout_ms, 70000);
	assert_string_equal(c->agent.kernel_modules.v[1], "i915 enable_ppgtt=0");
	assert_false(c->runtime.sandbox_cgroup_only);
	assert_string_equal(c->factory.template_path, "/run/vc/vm/template");
}

static void test_rs_qemu(void **state)
{
	_cleanup_free_ char *path = str_printf("%s/tests/config/kata-rs-qemu.toml", source_root());
	struct config_load_options o = { .path = path };
	_cleanup_config_ struct config *c = load(&o, NULL);

	assert_string_equal(c->hypervisor.extra_monitor_socket, "hmp"); /* dbg_monitor_socket */
	assert_int_equal(c->hypervisor.n_extension_images, 2);
	assert_string_equal(c->hypervisor.extension_images[0].name, "coco");
	assert_string_equal(c->hypervisor.extension_images[0].verity_params, "root_hash=00");
	assert_string_equal(c->hypervisor.extension_images[1].path, "/i/gpu.img");
	assert_string_equal(c->hypervisor.extension_images[1].verity_params, "");
	assert_true(c->factory.enable_template); /* [hypervisor.qemu.factory] */
	assert_string_equal(c->factory.template_path, "/run/t");
	assert_int_equal(c->agent.reconnect_timeout_ms, 3000);
	assert_int_equal(c->agent.create_container_timeout, 30);
	assert_true(c->runtime.sandbox_cgroup_only);
	assert_string_equal(c->runtime.experimental.v[0], "force_guest_pull");
	assert_true(config_is_set(c, CONFIG_AGENT, "mem_agent"));
}

/* Make "#key = value" lines into settings: the comments of our files are TOML too. */
static char *uncomment(const char *text)
{
	struct buf out = { 0 };

	for (const char *line = text; *line;) {
		size_t n = strcspn(line, "\n"), word;

		n += line[n] == '\n';
		word = *line == '#' ? strspn(line + 1, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;
		word = word && !strncmp(line + 1 + word, " = ", 3) ? 1 : 0;
		buf_append(&out, line + word, n - word);
		line += n;
	}
	return buf_take(&out);
}

/* Our files load without a word, as they are and with every key taken out of its comment, and then set the defaults. */
static void test_our_files(void **state)
{
	static const char *const names[][2] = { { "qemu", "qemu" },
						{ "clh", "clh" },
						{ "firecracker", "firecracker" },
						{ "stratovirt", "stratovirt" },
						{ "builtin", "dragonball" } };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		_cleanup_free_ char *path =
			str_printf("%s/data/config/configuration-%s.toml", source_root(), names[i][0]);
		static const char *const none[] = { NULL };
		_cleanup_strv_ struct strv warnings = { 0 };
		_cleanup_config_ struct config *c = NULL, *all = NULL;
		_cleanup_free_ char *text = NULL, *whole = NULL;
		struct config_load_options o = { .path = path, .strict = true };

		c = load(&o, &warnings);
		assert_int_equal(warnings.len, 0);
		assert_string_equal(c->hypervisor_name, names[i][1]);
		assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
		whole = uncomment(text);
		o = (struct config_load_options){ .body = whole, .strict = true };
		all = load(&o, &warnings);
		assert_int_equal(warnings.len, 0);
		assert_true(config_is_set(all, CONFIG_HYPERVISOR, "default_vcpus"));
		assert_true(config_is_set(all, CONFIG_FACTORY, "template_path"));
		/* Nothing differs from the default but what the file sets itself. */
		assert_int_equal(config_warn_ineffective(all, none, none, &warnings), 0);
		assert_int_equal(warnings.len, 0);
	}
}

/* ---- finding files ---- */

static void test_nothing(void **state)
{
	struct config_load_options o = { .root = tmp };
	_cleanup_strv_ struct strv warnings = { 0 };
	_cleanup_config_ struct config *c = load(&o, &warnings);

	assert_int_equal(warnings.len, 0);
	assert_null(c->path);
	assert_string_equal(c->hypervisor_name, "");
	assert_string_equal(c->hypervisor.kernel, "");
	assert_int_equal(c->hypervisor.default_memory, 2048);
	assert_true(c->hypervisor.default_vcpus == 1);
	assert_string_equal(c->hypervisor.shared_fs, "virtio-fs");
	assert_int_equal(c->hypervisor.enable_annotations.len, 6);
	assert_string_equal(config_origin(c, CONFIG_HYPERVISOR, "kernel"), "default");
	assert_null(config_origin(c, CONFIG_HYPERVISOR, "nothing"));
}

static void test_search_order(void **state)
{
	const char *const *paths = config_search_paths();
	struct config_load_options o = { .root = tmp };
	size_t n = 0;

	while (paths[n])
		n++;
	assert_int_equal(n, 8);
	/* From the weakest to the strongest: each new file is the one that is read. */
	while (n-- > 0) {
		_cleanup_config_ struct config *c = NULL;
		_cleanup_free_ char *text = str_printf("[hypervisor.qemu]\ndefault_memory = %zu\n", n + 1);

		put(paths[n], text);
		c = load(&o, NULL);
		assert_int_equal(c->hypervisor.default_memory, n + 1);
		assert_true(str_endswith(c->path, paths[n]));
	}
}

static void test_environment_and_flag(void **state)
{
	_cleanup_free_ char *env = str_printf("%s/env.toml", tmp), *flag = str_printf("%s/flag.toml", tmp);
	_cleanup_free_ char *want = NULL;
	struct config_load_options o = { .root = tmp };
	_cleanup_config_ struct config *a = NULL, *b = NULL;
	struct config *c = NULL;
	struct err e = { 0 };

	put("/etc/caisson/configuration.toml", "[hypervisor.qemu]\ndefault_memory = 1\n");
	put("/env.toml", "[hypervisor.qemu]\ndefault_memory = 2\n");
	put("/flag.toml", "[hypervisor.qemu]\ndefault_memory = 3\n");
	setenv("KATA_CONF_FILE", env, 1);
	a = load(&o, NULL);
	assert_int_equal(a->hypervisor.default_memory, 2);
	o.path = flag;
	b = load(&o, NULL);
	assert_int_equal(b->hypervisor.default_memory, 3);
	assert_int_equal(unlink(flag), 0);
	assert_int_equal(config_load(&o, &c, NULL, &e), -ENOENT);
	want = str_printf("cannot find the configuration file %s, named by --config: No such file or directory", flag);
	assert_string_equal(e.text, want);
	o.path = NULL;
	assert_int_equal(unlink(env), 0);
	assert_int_equal(config_load(&o, &c, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.text, "named by KATA_CONF_FILE"));
	o.path = tmp; /* a folder */
	assert_int_equal(config_load(&o, &c, NULL, &e), -EISDIR);
	assert_non_null(strstr(e.text, "cannot read the configuration file"));
}

static void test_drop_ins(void **state)
{
	_cleanup_free_ char *link = str_printf("%s/etc/caisson/configuration.toml", tmp), *origin = NULL;
	struct config_load_options o = { .root = tmp };
	_cleanup_strv_ struct strv warnings = { 0 };
	_cleanup_config_ struct config *c = NULL;

	put("/share/configuration-qemu.toml", "[hypervisor.qemu]\nkernel = '/k'\ndefault_vcpus = 1\n"
					      "enable_annotations = ['a', 'b']\n[runtime]\nenable_debug = true\n");
	put("/etc/caisson/config.d/1", "[hypervisor.qemu]\nkernel = '/not this one'\n"); /* beside the link only */
	assert_int_equal(symlink("../../share/configuration-qemu.toml", link), 0);
	/* No suffix is needed; order is by name; a hidden directory of Kubernetes is passed over. */
	put("/share/config.d/10-a", "[hypervisor.qemu]\ndefault_vcpus = 2\ndefault_memory = 100\n");
	put("/share/config.d/20-b.toml", "[hypervisor.qemu]\n\ndefault_vcpus = 3\nenable_annotations = ['c']\n");
	put("/share/config.d/..data/x", "nonsense");
	c = load(&o, &warnings);
	assert_int_equal(warnings.len, 0);
	assert_string_equal(c->hypervisor.kernel, "/k");
	assert_true(c->hypervisor.default_vcpus == 3);
	assert_int_equal(c->hypervisor.default_memory, 100);
	assert_int_equal(c->hypervisor.enable_annotations.len, 1);
	assert_string_equal(c->hypervisor.enable_annotations.v[0], "c");
	assert_true(c->runtime.enable_debug);
	origin = str_printf("%s/share/config.d/20-b.toml:3", tmp);
	assert_string_equal(config_origin(c, CONFIG_HYPERVISOR, "default_vcpus"), origin);
}

static void test_bad_drop_ins(void **state)
{
	_cleanup_free_ char *main_file = str_printf("%s/c.toml", tmp), *want = NULL, *want2 = NULL;
	struct config_load_options o = { .path = main_file };
	struct config *c = NULL;
	struct err e = { 0 };

	put("/c.toml", "");
	put("/config.d/folder/file", "");
	assert_int_equal(config_load(&o, &c, NULL, &e), -EINVAL);
	want = str_printf("%s/config.d/folder is not a file; remove it: config.d holds configuration files only", tmp);
	assert_string_equal(e.text, want);
	put("/config.d/bad", "a =\n");
	assert_int_equal(config_load(&o, &c, NULL, &e), -EINVAL);
	want2 = str_printf("%s/config.d/bad:1:4: expected a value", tmp);
	assert_string_equal(e.text, want2);
}

/* ---- which hypervisor ---- */

static void check_choice(const char *body, const char *flag, const char *annotation, const char *want)
{
	_cleanup_strv_ struct strv annotations = { 0 };
	struct config_load_options o = { .body = body, .hypervisor = flag, .annotations = &annotations };
	_cleanup_config_ struct config *c = NULL;

	if (annotation)
		strv_addf(&annotations, "io.katacontainers.config.runtime.hypervisor_name=%s", annotation);
	c = load(&o, NULL);
	assert_string_equal(c->hypervisor_name, want);
}

static void test_choice(void **state)
{
	static const char two[] = "[hypervisor.qemu]\n[hypervisor.clh]\n";
	static const char named[] = "[runtime]\nhypervisor_name='clh'\n[hypervisor.qemu]\n[hypervisor.clh]\n";

	check_choice("", NULL, NULL, "");
	check_choice("[hypervisor.fc]\n", NULL, NULL, "firecracker");
	check_choice("[hypervisor.builtin]\n", NULL, NULL, "dragonball");
	check_choice("[hypervisor.nonsense]\n[hypervisor.qemu]\n", NULL, NULL, "qemu");
	check_choice(two, NULL, NULL, "");
	check_choice(two, "cloud-hypervisor", NULL, "clh");
	check_choice(two, "fc", NULL, "firecracker");
	check_choice(two, NULL, "qemu", "qemu");
	check_choice(named, NULL, NULL, "clh");
	check_choice(named, NULL, "qemu", "qemu");
	check_choice(named, "remote", "qemu", "remote");
}

/* Only the table of the chosen one counts, but typing errors are found in all. */
static void test_other_tables(void **state)
{
	static const char body[] =
		"[hypervisor.qemu]\ndefault_memory = 1\n[hypervisor.clh]\ndefault_memory = 2\nkernl = 1\n";
	struct config_load_options o = { .body = body, .hypervisor = "qemu" };
	_cleanup_strv_ struct strv warnings = { 0 };
	_cleanup_config_ struct config *c = load(&o, &warnings);

	assert_int_equal(c->hypervisor.default_memory, 1);
	assert_int_equal(warnings.len, 1);
	assert_string_equal(warnings.v[0],
			    "config_body:5: [hypervisor.clh] unknown key \"kernl\"; did you mean \"kernel\"?");
}

static void test_choice_without_table(void **state)
{
	struct config_load_options o = { .body = "[hypervisor.qemu]\n", .hypervisor = "clh" };
	_cleanup_strv_ struct strv warnings = { 0 };
	_cleanup_config_ struct config *a = load(&o, &warnings), *b = NULL;

	assert_string_equal(a->hypervisor_name, "clh");
	assert_int_equal(warnings.len, 0);
	o = (struct config_load_options){ .body = "[runtime]\nhypervisor_name = 'clh'\n" };
	b = load(&o, &warnings);
	assert_string_equal(b->hypervisor_name, "clh");
	assert_int_equal(warnings.len, 1);
	assert_string_equal(warnings.v[0], "config_body: no [hypervisor.clh] table; its defaults are used");
}

static void test_choice_errors(void **state)
{
	struct config_load_options o = { .body = "", .hypervisor = "xen" };
	struct config *c = NULL;
	struct err e = { 0 };

	assert_int_equal(config_load(&o, &c, NULL, &e), -EINVAL);
	assert_string_equal(e.text,
			    "--hypervisor: unknown hypervisor \"xen\"; known are qemu, clh, firecracker, dragonball, "
			    "stratovirt, remote, openvmm");
	check_error("[runtime]\nhypervisor_name = 'xen'\n",
		    "config_body:2:19: [runtime] hypervisor_name: unknown hypervisor \"xen\"; known are qemu, clh, "
		    "firecracker, dragonball, stratovirt, remote, openvmm");
}

/* ---- mistakes ---- */

static void test_unknown(void **state)
{
	check_unknown(
		"[hypervisor.qemu]\n\ndefualt_vcpus = 1\n",
		"config_body:3: [hypervisor.qemu] unknown key \"defualt_vcpus\"; did you mean \"default_vcpus\"?");
	check_unknown("[hypervisor.qemu]\nfrobnication_level = 1\n",
		      "config_body:2: [hypervisor.qemu] unknown key \"frobnication_level\"; it is ignored");
	check_unknown("[hypervisor.qemu]\nvfio_mode = 'vfio'\n",
		      "config_body:2: [hypervisor.qemu] unknown key \"vfio_mode\"; it belongs in [runtime]");
	check_unknown("[agent.kata]\ndebug_console = true\n",
		      "config_body:2: [agent.kata] unknown key \"debug_console\"; it is ignored");
	check_unknown(
		"[agent.kata.mem_agent]\ncompact_ordr = 1\n",
		"config_body:2: [agent.kata.mem_agent] unknown key \"compact_ordr\"; did you mean \"compact_order\"?");
	check_unknown("[runtime]\nenable_debg = true\n",
		      "config_body:2: [runtime] unknown key \"enable_debg\"; did you mean \"enable_debug\"?");
	check_unknown("[factory]\ntemplate = 1\n", "config_body:2: [factory] unknown key \"template\"; it is ignored");
	check_unknown("[hypervisor.qmu]\n",
		      "config_body:1: unknown hypervisor [hypervisor.qmu]; did you mean [hypervisor.qemu]?");
	check_unknown("[agent.kta]\n", "config_body:1: unknown agent [agent.kta]; did you mean [agent.kata]?");
	check_unknown("[runtme]\n", "config_body:1: unknown table [runtme]; did you mean [runtime]?");
	check_unknown("[image]\nx = 1\n", "config_body:1: unknown table [image]; it is ignored");
	/* Keys of the annotations' spelling are not keys of files. */
	check_unknown("[hypervisor.qemu]\ncc_init_data = ''\n",
		      "config_body:2: [hypervisor.qemu] unknown key \"cc_init_data\"; did you mean \"initdata\"?");
}

static void test_strict_counts(void **state)
{
	struct config_load_options o = { .body = "[a]\n[b]\n[c]\n", .strict = true };
	struct config *c = NULL;
	struct err e = { 0 };

	assert_int_equal(config_load(&o, &c, NULL, &e), -EINVAL);
	assert_string_equal(e.text, "config_body:1: unknown table [a]; it is ignored (and 2 more like this)");
}

static void test_types(void **state)
{
	check_error("[hypervisor.qemu]\ndefault_memory = \"1G\"\n",
		    "config_body:2:18: [hypervisor.qemu] default_memory: expected an integer from 0, found a string");
	check_error("[hypervisor.qemu]\ndefault_memory = -1\n",
		    "config_body:2:18: [hypervisor.qemu] default_memory: expected an integer from 0, found -1");
	check_error("[hypervisor.qemu]\ndefault_memory = 4294967296\n",
		    "config_body:2:18: [hypervisor.qemu] default_memory: 4294967296 is larger than 4294967295");
	check_error("[hypervisor.qemu]\ndefault_vcpus = true\n",
		    "config_body:2:17: [hypervisor.qemu] default_vcpus: expected a number, found a boolean");
	check_error("[hypervisor.qemu]\ndefault_vcpus = nan\n",
		    "config_body:2:17: [hypervisor.qemu] default_vcpus: expected a finite number");
	check_error("[runtime]\nenable_debug = 1\n",
		    "config_body:2:16: [runtime] enable_debug: expected a boolean (true or false), found 1");
	check_error("[hypervisor.qemu]\nkernel = 1979-05-27\n",
		    "config_body:2:10: [hypervisor.qemu] kernel: expected a string, found a local date");
	check_error("[hypervisor.qemu]\nkernel = \"a\\u0000b\"\n",
		    "config_body:2:10: [hypervisor.qemu] kernel: the string has a NUL character in it");
	check_error("[hypervisor.qemu]\npflashes = 'x'\n",
		    "config_body:2:12: [hypervisor.qemu] pflashes: expected an array of strings, found a string");
	check_error(
		"[hypervisor.qemu]\npflashes = ['x', 1]\n",
		"config_body:2:12: [hypervisor.qemu] pflashes: expected an array of strings, found an integer in it");
	check_error("[hypervisor]\nqemu = 1\n",
		    "config_body:2:8: [hypervisor.qemu]: expected a table, found an integer");
	check_error("hypervisor = 1\n", "config_body:1:14: [hypervisor]: expected a table, found an integer");
	check_error("agent.kata = []\n", "config_body:1:14: [agent.kata]: expected a table, found an array");
	check_error("[hypervisor.qemu]\nguest_extension_images = 1\n",
		    "config_body:2:26: [hypervisor.qemu] guest_extension_images: expected an array of tables");
	check_error("[[hypervisor.qemu.guest_extension_images]]\nname = 'x'\n",
		    "config_body:1:19: [hypervisor.qemu] guest_extension_images: each table needs the strings name and "
		    "path");
	check_error("[agent.kata]\ncdh_api_timeout = 4294968\n",
		    "config_body:2:19: [agent.kata] cdh_api_timeout: 4294968000 is larger than 4294967295");
}

static void test_ranges(void **state)
{
	check_error(
		"[hypervisor.qemu]\nshared_fs = \"nfs\"\n",
		"config_body:2:13: [hypervisor.qemu] shared_fs: \"nfs\" is not one of \"virtio-fs\", \"virtio-9p\", "
		"\"virtio-fs-nydus\", \"inline-virtio-fs\", \"none\"");
	check_error("[hypervisor.qemu]\npcie_root_port = 17\n",
		    "config_body:2:18: [hypervisor.qemu] pcie_root_port: 17 is not from 0 to 16");
	check_error("[hypervisor.qemu]\nblock_device_logical_sector_size = 513\n",
		    "config_body:2:36: [hypervisor.qemu] block_device_logical_sector_size: 513 is neither 0 nor a "
		    "power of two "
		    "from 512 to 65536");
	check_error(
		"[hypervisor.qemu]\nenable_annotations = ['(']\n",
		"config_body:2:22: [hypervisor.qemu] enable_annotations: \"(\" is not an extended regular expression "
		"(regex(7))");
	check_error("[runtime]\nvfio_mode = 'pci'\n",
		    "config_body:2:13: [runtime] vfio_mode: \"pci\" is not one of \"vfio\", \"guest-kernel\"");
	check_error("[hypervisor.qemu]\noverhead_vcpus = -0.5\n",
		    "config_body:2:18: [hypervisor.qemu] overhead_vcpus: -0.5 is not from 0 to 1024");
}

static void test_accepted(void **state)
{
	_cleanup_config_ struct config *c =
		load_body("[hypervisor.qemu]\ndefault_vcpus = -1\noverhead_vcpus = 0.25\nmachine_type = ''\n"
			  "block_device_logical_sector_size = 4096\nextra_monitor_socket = ''\n");

	assert_true(c->hypervisor.default_vcpus == -1);
	assert_true(c->hypervisor.overhead_vcpus == 0.25);
	assert_int_equal(c->hypervisor.block_device_logical_sector_size, 4096);
	/* Empty means default. */
	assert_true(!str_empty(c->hypervisor.machine_type));
	assert_false(config_is_set(c, CONFIG_HYPERVISOR, "machine_type"));
}

/* The key's own name wins over its other spelling, wherever it stands. */
static void test_two_spellings(void **state)
{
	_cleanup_config_ struct config *c = load_body("[agent.kata]\ncdh_api_timeout_ms = 5\ncdh_api_timeout = 7\n"
						      "dial_timeout = 9\nreconnect_timeout_ms = 11\n");

	assert_int_equal(c->agent.cdh_api_timeout_ms, 5);
	assert_string_equal(config_origin(c, CONFIG_AGENT, "cdh_api_timeout_ms"), "config_body:2");
	assert_int_equal(c->agent.reconnect_timeout_ms, 11);
}

static void test_image_and_initrd(void **state)
{
	check_error("[hypervisor.qemu]\nimage = '/i'\n\ninitrd = '/r'\n",
		    "config_body:2 sets image and config_body:4 sets initrd, but a guest has one or the other; remove "
		    "one of "
		    "them");
}

static void test_not_toml(void **state)
{
	check_error("[hypervisor.qemu]\nkernel = /boot/x\n", "config_body:2:10: expected a value; strings need quotes");
}

#define tmp_test(f) cmocka_unit_test_setup_teardown(f, make_tmp, drop_tmp)

int main(void)
{
	const struct CMUnitTest tests[] = {
		tmp_test(test_kata_files),
		tmp_test(test_go_qemu),
		tmp_test(test_rs_qemu),
		tmp_test(test_our_files),
		tmp_test(test_nothing),
		tmp_test(test_search_order),
		tmp_test(test_environment_and_flag),
		tmp_test(test_drop_ins),
		tmp_test(test_bad_drop_ins),
		cmocka_unit_test(test_choice),
		cmocka_unit_test(test_other_tables),
		cmocka_unit_test(test_choice_without_table),
		cmocka_unit_test(test_choice_errors),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_strict_counts),
		cmocka_unit_test(test_types),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_two_spellings),
		cmocka_unit_test(test_image_and_initrd),
		cmocka_unit_test(test_not_toml),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
