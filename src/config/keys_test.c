/* SPDX-License-Identifier: Apache-2.0 */
/* The key table is complete, its defaults pass their own checks, and misspelt names find their way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/fd.h"
#include "config/value.h"

struct field {
	enum config_section section;
	const char *name;
	enum config_type type;
};

/* The lists of keys.h that make the structures. */
static const struct field fields[] = {
#define FIELD_H(type, name) { CONFIG_HYPERVISOR, #name, CONFIG_##type },
#define FIELD_A(type, name) { CONFIG_AGENT, #name, CONFIG_##type },
#define FIELD_R(type, name) { CONFIG_RUNTIME, #name, CONFIG_##type },
#define FIELD_F(type, name) { CONFIG_FACTORY, #name, CONFIG_##type },
	CONFIG_HYPERVISOR_KEYS(FIELD_H) CONFIG_AGENT_KEYS(FIELD_A) CONFIG_RUNTIME_KEYS(FIELD_R)
		CONFIG_FACTORY_KEYS(FIELD_F)
};
#define N_FIELDS (sizeof fields / sizeof fields[0])

static void test_complete(void **state)
{
	const struct config_key *key;
	size_t with_field = 0;

	for (size_t i = 0; i < N_FIELDS; i++) {
		int k = config_key_find(fields[i].section, fields[i].name, false, NULL);

		if (k < 0)
			fail_msg("%s is in no key table", fields[i].name);
		assert_int_equal(config_key_at((size_t)k)->type, fields[i].type);
	}
	for (size_t i = 0; (key = config_key_at(i)); i++) {
		with_field += key->type != CONFIG_OPAQUE;
		/* No name twice, as a name or as another key's alias. */
		assert_int_equal(config_key_find(key->section, key->name, true, NULL), i);
		assert_true((key->section == CONFIG_HYPERVISOR) == (key->known != 0));
		if (key->allow)
			assert_true(config_key_find(CONFIG_HYPERVISOR, key->allow, false, NULL) >= 0);
		/* What grants rights to pods is never theirs to set. */
		if (!strncmp(key->name, "valid_", 6) || !strcmp(key->name, "enable_annotations"))
			assert_false(key->annotation);
	}
	assert_int_equal(with_field, N_FIELDS);
	assert_null(config_key_at(config_key_count()));
}

static void test_defaults(void **state)
{
	const char *const *names = config_hypervisor_names();

	for (size_t i = 0; names[i]; i++) {
		_cleanup_config_ struct config *c = NULL;

		assert_int_equal(config_new(names[i], &c), 0); /* every default passes its check */
		assert_string_equal(c->hypervisor_name, names[i]);
		assert_int_equal(config_hypervisor_bit(names[i]), 1u << i);
		assert_string_equal(config_hypervisor_canonical(names[i]), names[i]);
	}
	assert_string_equal(config_hypervisor_canonical("fc"), "firecracker");
	assert_string_equal(config_hypervisor_canonical("cloud-hypervisor"), "clh");
	assert_string_equal(config_hypervisor_canonical("builtin"), "dragonball");
	assert_null(config_hypervisor_canonical("xen"));
}

static void check_default(const char *name, const char *hypervisor, const char *want)
{
	int i = config_key_find(CONFIG_HYPERVISOR, name, false, NULL);
	char text[256];

	assert_true(i >= 0);
	config_key_default(config_key_at((size_t)i), hypervisor, text, sizeof text);
	assert_string_equal(text, want);
}

static void test_default_by_hypervisor(void **state)
{
	check_default("shared_fs", "qemu", "virtio-fs");
	check_default("shared_fs", "firecracker", "none");
	check_default("shared_fs", "dragonball", "inline-virtio-fs");
	check_default("shared_fs", NULL, "virtio-fs");
	check_default("block_device_driver", "stratovirt", "virtio-mmio");
	/* Not Kata's "microvm": Debian's kernel does not find the devices of that machine. */
#ifdef __aarch64__
	check_default("machine_type", "stratovirt", "virt");
#else
	check_default("machine_type", "stratovirt", "q35");
#endif
	check_default("path", "qemu", "");
}

static void test_spellings(void **state)
{
	unsigned scale;
	int i = config_key_find(CONFIG_AGENT, "cdh_api_timeout", false, &scale);

	assert_int_equal(i, config_key_find(CONFIG_AGENT, "cdh_api_timeout_ms", false, NULL));
	assert_int_equal(scale, 1000);
	i = config_key_find(CONFIG_HYPERVISOR, "seccompsandbox", false, &scale);
	assert_string_equal(config_key_at((size_t)i)->name, "seccomp_sandbox");
	assert_int_equal(scale, 1);
	/* Annotations have spellings of their own. */
	assert_int_equal(config_key_find(CONFIG_HYPERVISOR, "default_max_vcpus", false, NULL), -ENOENT);
	i = config_key_find(CONFIG_HYPERVISOR, "default_max_vcpus", true, NULL);
	assert_string_equal(config_key_at((size_t)i)->name, "default_maxvcpus");
	/* A part of an alias is none. */
	assert_int_equal(config_key_find(CONFIG_AGENT, "cdh_api", false, NULL), -ENOENT);
	assert_int_equal(config_key_find(CONFIG_RUNTIME, "path", false, NULL), -ENOENT);
}

static void test_nearest(void **state)
{
	static const char *const words[] = { "alpha", "beta", NULL };
	char longest[300];

	assert_string_equal(config_key_nearest(CONFIG_HYPERVISOR, "kernal"), "kernel");
	assert_string_equal(config_key_nearest(CONFIG_HYPERVISOR, "default_vcpu"), "default_vcpus");
	assert_string_equal(config_key_nearest(CONFIG_HYPERVISOR, "defualt_memory"), "default_memory");
	assert_string_equal(config_key_nearest(CONFIG_RUNTIME, "vfio_moed"), "vfio_mode");
	assert_null(config_key_nearest(CONFIG_HYPERVISOR, "completely_different"));
	assert_string_equal(config_nearest("btea", words), "beta");
	assert_null(config_nearest("gamma_ray", words));
	assert_null(config_nearest("", words));
	memset(longest, 'a', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	assert_null(config_nearest(longest, words));
}

/* The manual names every key, with its default. */
static void test_manual(void **state)
{
	const char *root = getenv("SOURCE_ROOT");
	_cleanup_free_ char *path = str_printf("%s/man/caisson.toml.5.scd", root ? root : ".");
	_cleanup_free_ char *text = NULL;
	const struct config_key *key;

	assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
	for (size_t i = 0; (key = config_key_at(i)); i++) {
		_cleanup_free_ char *head = str_printf("\n*%s*", key->name);

		if (!strstr(text, head))
			fail_msg("%s does not tell of %s", path, key->name);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_complete),
		cmocka_unit_test(test_defaults),
		cmocka_unit_test(test_default_by_hypervisor),
		cmocka_unit_test(test_spellings),
		cmocka_unit_test(test_nearest),
		cmocka_unit_test(test_manual),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
