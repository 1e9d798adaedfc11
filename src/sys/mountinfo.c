/* SPDX-License-Identifier: Apache-2.0 */
/* See mountinfo.h. */
#include "sys/mountinfo.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/fd.h"
#include "base/strv.h"

#define FILE_MAX (16 << 20) /* a node with thousands of pods has a mountinfo of some MiB */

void mountinfo_unescape(char *field)
{
	char *to = field;

	for (char *s = field; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' && s[3] >= '0' &&
		    s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* Not /proc/self: another thread may be in another namespace. */
static int read_table(char **ret)
{
	return file_read("/proc/thread-self/mountinfo", FILE_MAX, ret, NULL);
}

/* A line is ID PARENT MAJOR:MINOR ROOT POINT …; the last three stay inside it. */
static int parse_line(char *line, unsigned long long *ret_id, const char **ret_device, const char **ret_root,
		      const char **ret_point)
{
	char *field[5] = { 0 };

	for (size_t i = 0; i < 5; i++)
		field[i] = strsep(&line, " ");
	if (!field[4])
		return -EINVAL;
	mountinfo_unescape(field[3]);
	mountinfo_unescape(field[4]);
	*ret_id = strtoull(field[0], NULL, 10);
	*ret_device = field[2];
	*ret_root = field[3];
	*ret_point = field[4];
	return 0;
}

/* The mount with this id. *ret_root and *ret_point point into text, which is changed. */
static int find_mount(char *text, unsigned long long id, const char **ret_root, const char **ret_point)
{
	char *rest = text, *line;
	unsigned long long other;
	const char *device;

	while ((line = strsep(&rest, "\n")))
		if (strtoull(line, NULL, 10) == id)
			return parse_line(line, &other, &device, ret_root, ret_point);
	return -ENOENT;
}

int mountinfo_place(const char *path, dev_t *ret_dev, char **ret)
{
	_cleanup_free_ char *real = realpath(path, NULL), *text = NULL;
	const char *root = "", *point = "", *below;
	struct statx st;
	int r;

	if (!real || statx(AT_FDCWD, real, AT_SYMLINK_NOFOLLOW, STATX_MNT_ID, &st) < 0)
		return -errno;
	if (!(st.stx_mask & STATX_MNT_ID))
		return -ENOSYS;
	r = read_table(&text);
	if (r == 0)
		r = find_mount(text, st.stx_mnt_id, &root, &point);
	if (r < 0)
		return r;
	below = str_eq(point, "/") ? real : str_after(real, point);
	if (!below || (*below && *below != '/') || str_endswith(root, "//deleted"))
		return -ENOENT;
	*ret = str_eq(root, "/") && *below ? strdup(below) : str_printf("%s%s", root, below);
	if (!*ret)
		return -ENOMEM;
	*ret_dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	return 0;
}

void mountinfo_mount_fini(struct mountinfo_mount *m)
{
	free(m->place);
	free(m->what);
}

void mountinfo_mounts_fini(struct mountinfo_mounts *m)
{
	for (size_t i = 0; i < m->n; i++)
		mountinfo_mount_fini(&m->v[i]);
	free(m->v);
	*m = (struct mountinfo_mounts){ 0 };
}

static int add_mount(struct mountinfo_mounts *m, unsigned long long id, const char *device, const char *root,
		     const char *place)
{
	struct mountinfo_mount *v = reallocarray(m->v, m->n + 1, sizeof *v), *one;

	if (!v)
		return -ENOMEM;
	m->v = v;
	one = &v[m->n++];
	*one = (struct mountinfo_mount){ .id = id, .place = strdup(place), .what = str_printf("%s %s", device, root) };
	return one->place && one->what ? 0 : -ENOMEM;
}

int mountinfo_below(const char *folder, struct mountinfo_mounts *ret)
{
	const char *prefix = str_eq(folder, "/") ? "" : folder, *device, *root, *point, *below;
	_cleanup_free_ char *text = NULL;
	unsigned long long id;
	char *rest, *line;
	int r;

	*ret = (struct mountinfo_mounts){ 0 };
	r = read_table(&text);
	rest = text;
	while (r == 0 && (line = strsep(&rest, "\n")))
		if (*line && (r = parse_line(line, &id, &device, &root, &point)) == 0 &&
		    (below = str_after(point, prefix)) && below[0] == '/' && below[1])
			r = add_mount(ret, id, device, root, below + 1);
	if (r < 0)
		mountinfo_mounts_fini(ret);
	return r;
}
