/* SPDX-License-Identifier: Apache-2.0 */
#include "shim/flags.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "base/strv.h"

static const struct flag {
	const char *name;
	bool is_bool;
	size_t offset;
} flags[] = {
	{ "namespace", false, offsetof(struct shim_flags, namespace) },
	{ "id", false, offsetof(struct shim_flags, id) },
	{ "bundle", false, offsetof(struct shim_flags, bundle) },
	{ "address", false, offsetof(struct shim_flags, address) },
	{ "publish-binary", false, offsetof(struct shim_flags, publish_binary) },
	{ "debug", true, offsetof(struct shim_flags, debug) },
	{ "info", true, offsetof(struct shim_flags, info) },
	{ "v", true, offsetof(struct shim_flags, version) },
	{ "version", true, offsetof(struct shim_flags, version) },
	{ "h", true, offsetof(struct shim_flags, help) },
	{ "help", true, offsetof(struct shim_flags, help) },
};

static const struct flag *find(const char *name, size_t n)
{
	for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
		if (strlen(flags[i].name) == n && !strncmp(flags[i].name, name, n))
			return &flags[i];
	return NULL;
}

static int set_bool(const char *flag, const char *value, bool *ret, struct err *e)
{
	if (!value || str_eq(value, "true") || str_eq(value, "1"))
		*ret = true;
	else if (str_eq(value, "false") || str_eq(value, "0"))
		*ret = false;
	else
		return err_set(e, ERR_CONFIG, EINVAL, "%s: expected true or false", flag);
	return 0;
}

int shim_flags_parse(int argc, char **argv, struct shim_flags *ret, struct err *e)
{
	int i;

	*ret = (struct shim_flags){ 0 };
	for (i = 1; i < argc && argv[i][0] == '-' && argv[i][1]; i++) {
		const char *name = argv[i] + (argv[i][1] == '-' ? 2 : 1), *eq = strchr(name, '='),
			   *value = eq ? eq + 1 : NULL;
		const struct flag *f = find(name, eq ? (size_t)(eq - name) : strlen(name));
		int r = 0;

		if (!f)
			return err_set(e, ERR_CONFIG, EINVAL, "%s: there is no such flag", argv[i]);
		if (f->is_bool)
			r = set_bool(argv[i], value, (bool *)((char *)ret + f->offset), e);
		else if (!value && i + 1 >= argc)
			r = err_set(e, ERR_CONFIG, EINVAL, "%s: a value is missing", argv[i]);
		else
			*(const char **)((char *)ret + f->offset) = value ? value : argv[++i];
		if (r < 0)
			return r;
	}
	if (i < argc)
		ret->action = argv[i++];
	if (i < argc)
		return err_set(e, ERR_CONFIG, EINVAL, "\"%s\" behind \"%s\": nothing is expected there", argv[i],
			       ret->action);
	return 0;
}
