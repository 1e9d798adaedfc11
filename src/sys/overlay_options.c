/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/overlay_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

/* How long the name at p is: to the next ':' that is not escaped. */
static size_t name_len(const char *p)
{
	size_t n = 0;

	while (p[n] && p[n] != ':')
		n += p[n] == '\\' && p[n + 1] ? 2 : 1;
	return n;
}

/* The length of the folder, without a slash at its end, in which all are; at least one component of each is left. */
static size_t common_folder(const char *lower)
{
	size_t first = name_len(lower), common = first;

	for (const char *p = lower; *p;) {
		size_t n = name_len(p), same = 0;

		while (same < n && same < common && p[same] == lower[same])
			same++;
		common = same;
		p += n;
		p += *p == ':';
	}
	while (common > 0 && lower[common - 1] != '/')
		common--;
	return common > 0 ? common - 1 : 0;
}

/* The kernel reads "\:" and "\\" in the option; a path has neither. */
static char *unescape(const char *p, size_t n)
{
	char *out = malloc(n + 1), *to = out;

	if (!out)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		if (p[i] == '\\' && i + 1 < n)
			i++;
		*to++ = p[i];
	}
	*to = '\0';
	return out;
}

int overlay_shorten(const char *lower, char **ret_dir, char **ret_lower)
{
	_cleanup_buf_ struct buf out = { 0 };
	_cleanup_free_ char *dir = NULL;
	size_t common;

	for (const char *p = lower; *p; p += p[name_len(p)] == ':' ? name_len(p) + 1 : name_len(p))
		if (*p != '/')
			return -EINVAL;
	common = common_folder(lower);
	if (common == 0)
		return -EINVAL;
	dir = unescape(lower, common);
	if (!dir)
		return -ENOMEM;
	for (const char *p = lower; *p;) {
		size_t n = name_len(p);

		if (n <= common + 1) /* the folder itself, with a slash at its end */
			return -EINVAL;
		if (buf_append(&out, p + common + 1, n - common - 1) < 0 ||
		    (p[n] == ':' && buf_append(&out, ":", 1) < 0))
			return -ENOMEM;
		p += n;
		p += *p == ':';
	}
	*ret_lower = strdup(out.data);
	if (!*ret_lower)
		return -ENOMEM;
	*ret_dir = take_ptr(dir);
	return 0;
}
