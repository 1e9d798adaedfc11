/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Docker's profile differs from OCI's in three things: architectures hang in a map from the native one to those that it
 * brings along ("archMap"); a rule may have conditions on capabilities, architectures and the kernel's version
 * ("includes", "excludes"); and old files name one system call in "name".
 */
#include "oci/seccomp.h"

#include <errno.h>

#include "base/fd.h"
#include "oci/document.h"

#if defined(__x86_64__)
#define ARCH_GO   "amd64"
#define ARCH_SCMP "SCMP_ARCH_X86_64"
#elif defined(__aarch64__)
#define ARCH_GO   "arm64"
#define ARCH_SCMP "SCMP_ARCH_AARCH64"
#else
#error "unknown architecture"
#endif

/* Is one of the list's strings met? */
static bool any_cap(struct json_object *list, const struct strv *caps)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		const char *s = document_item(list, i);

		if (s && strv_contains(caps, s))
			return true;
	}
	return false;
}

static bool any_arch(struct json_object *list)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++)
		if (str_eq(document_item(list, i), ARCH_GO))
			return true;
	return false;
}

static bool all_caps(struct json_object *list, const struct strv *caps)
{
	for (size_t i = 0; list && i < json_object_array_length(list); i++) {
		const char *s = document_item(list, i);

		if (!s || !strv_contains(caps, s))
			return false;
	}
	return true;
}

static bool rule_applies(struct json_object *rule, const struct strv *caps)
{
	struct json_object *in = document_get(rule, "includes", json_type_object);
	struct json_object *out = document_get(rule, "excludes", json_type_object);
	struct json_object *arches = document_get(in, "arches", json_type_array);

	if (any_arch(document_get(out, "arches", json_type_array)) ||
	    any_cap(document_get(out, "caps", json_type_array), caps))
		return false;
	if (document_string(out, "minKernel"))
		return false;
	if (arches && json_object_array_length(arches) && !any_arch(arches))
		return false;
	return all_caps(document_get(in, "caps", json_type_array), caps);
}

static int add_names(struct json_object *rule)
{
	const char *name = document_string(rule, "name");
	struct json_object *names;

	if (!name || document_get(rule, "names", json_type_array))
		return 0;
	names = json_object_new_array();
	if (!names || json_object_array_add(names, json_object_new_string(name)) < 0 ||
	    json_object_object_add(rule, "names", names) < 0) {
		json_object_put(names);
		return -ENOMEM;
	}
	return 0;
}

static int filter_rules(struct json_object *profile, const struct strv *caps)
{
	struct json_object *rules = document_get(profile, "syscalls", json_type_array), *kept;

	if (!rules)
		return 0;
	kept = json_object_new_array();
	if (!kept)
		return -ENOMEM;
	for (size_t i = 0; i < json_object_array_length(rules); i++) {
		struct json_object *rule = json_object_array_get_idx(rules, i);

		if (!rule_applies(rule, caps))
			continue;
		if (add_names(rule) < 0 || json_object_array_add(kept, json_object_get(rule)) < 0) {
			json_object_put(kept);
			return -ENOMEM;
		}
	}
	return json_object_object_add(profile, "syscalls", kept);
}

/* The entry of archMap for this machine becomes "architectures". */
static int flatten_architectures(struct json_object *profile)
{
	struct json_object *map = document_get(profile, "archMap", json_type_array), *list;

	for (size_t i = 0; map && i < json_object_array_length(map); i++) {
		struct json_object *entry = json_object_array_get_idx(map, i);
		struct json_object *subs = document_get(entry, "subArchitectures", json_type_array);
		const char *arch = document_string(entry, "architecture");

		if (!str_eq(arch, ARCH_SCMP))
			continue;
		list = json_object_new_array();
		if (!list)
			return -ENOMEM;
		json_object_array_add(list, json_object_new_string(arch));
		for (size_t k = 0; subs && k < json_object_array_length(subs); k++)
			json_object_array_add(list, json_object_get(json_object_array_get_idx(subs, k)));
		return json_object_object_add(profile, "architectures", list);
	}
	return 0;
}

int oci_seccomp_parse(const char *text, size_t len, const char *origin, const struct strv *caps,
		      struct json_object **ret, struct err *e)
{
	_cleanup_json_ struct json_object *profile = NULL;
	int r = document_parse(text, len, origin, &profile, e);

	if (r < 0)
		return r;
	if (!document_string(profile, "defaultAction"))
		return err_set(e, ERR_CONFIG, EINVAL, "%s: no defaultAction; this is not a seccomp profile", origin);
	if (flatten_architectures(profile) < 0 || filter_rules(profile, caps) < 0)
		return err_set(e, ERR_SYSTEM, ENOMEM, "%s: out of memory", origin);
	*ret = take_ptr(profile);
	return 0;
}

int oci_seccomp_load(const char *path, const struct strv *caps, struct json_object **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = file_read(path, DOCUMENT_MAX, &text, &len);

	if (r < 0)
		return err_sys(e, -r, "cannot read the seccomp profile %s", path);
	return oci_seccomp_parse(text, len, path, caps, ret, e);
}
