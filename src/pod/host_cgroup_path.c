/* SPDX-License-Identifier: Apache-2.0 */
/* Where a spec's cgroupsPath is (OCI runtime spec 1.1, config-linux.md "Cgroups Path"; systemd.slice(5)). */
#include <errno.h>
#include <stdlib.h>

#include "pod/host_cgroup_internal.h"

/* The parts without "", "." and "..": never above where it begins. */
static int append_clean(struct buf *b, char *path)
{
	char *part;

	while ((part = strsep(&path, "/")))
		if (*part && !str_eq(part, ".") && !str_eq(part, "..") && buf_printf(b, "/%s", part) < 0)
			return -ENOMEM;
	return 0;
}

/* "a-b.slice" is "/a.slice/a-b.slice": each dash is a level. "-.slice" is the root. */
static int append_slice(struct buf *b, const char *slice, struct err *e)
{
	size_t n = strlen(slice);

	if (str_eq(slice, "-.slice"))
		return 0;
	if (!str_endswith(slice, ".slice") || n == strlen(".slice") || *slice == '-' || strchr(slice, '/') ||
	    strstr(slice, "--") || slice[n - strlen(".slice") - 1] == '-')
		return err_set(e, ERR_CONFIG, EINVAL, "\"%s\" is no name of a systemd slice", slice);
	for (const char *dash = strchr(slice, '-'); dash; dash = strchr(dash + 1, '-'))
		if (buf_printf(b, "/%.*s.slice", (int)(dash - slice), slice) < 0)
			return err_sys(e, ENOMEM, "cgroupsPath");
	return buf_printf(b, "/%s", slice) < 0 ? err_sys(e, ENOMEM, "cgroupsPath") : 0;
}

/* slice:prefix:name. A name that is itself a slice is one, everything else a scope. */
static int systemd_path(char *text, const char *id, struct buf *b, struct err *e)
{
	const char *slice = strsep(&text, ":"), *prefix = strsep(&text, ":"), *name = *text ? text : id;
	int r = append_slice(b, *slice ? slice : "system.slice", e);

	if (r < 0)
		return r;
	if (str_endswith(name, ".slice"))
		r = buf_printf(b, "/%s", name);
	else
		r = buf_printf(b, "/%s%s%s.scope", prefix, *prefix ? "-" : "", name);
	return r < 0 ? err_sys(e, ENOMEM, "cgroupsPath") : 0;
}

/* Exactly two colons, and no slash: kubelet's and podman's form with their systemd cgroup manager. */
static bool is_systemd_form(const char *path)
{
	const char *first = strchr(path, ':'), *second = first ? strchr(first + 1, ':') : NULL;

	return second && !strchr(second + 1, ':') && !strchr(path, '/');
}

int host_cgroup_path(const char *spec_path, const char *id, char **ret, bool *ret_relative, bool *ret_systemd,
		     struct err *e)
{
	_cleanup_free_ char *copy = strdup(spec_path ? spec_path : "");
	_cleanup_buf_ struct buf b = { 0 };
	int r;

	if (!copy)
		return err_sys(e, ENOMEM, "cgroupsPath");
	*ret_systemd = is_systemd_form(copy);
	*ret_relative = !*ret_systemd && *copy && *copy != '/';
	r = *ret_systemd ? systemd_path(copy, id, &b, e) : append_clean(&b, copy);
	if (*ret_systemd && r < 0) {
		err_wrap(e, "cgroupsPath \"%s\"", spec_path);
		return r;
	}
	if (r == 0 && !b.len) {
		*ret_relative = false;
		r = buf_printf(&b, HOST_CGROUP_OWN "/%s", id);
	}
	if (r < 0 || !(*ret = buf_take(&b)))
		return err_sys(e, ENOMEM, "cgroupsPath");
	return 0;
}
