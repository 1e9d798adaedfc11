/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passwd(5) and group(5) of an image. The image is hostile: /etc/passwd may be a link to anywhere (openat2 keeps it
 * inside the root), a FIFO or a device (only regular files are read), huge (1 MiB is read) or full of nonsense (lines
 * that do not parse are skipped).
 */
#include "oci/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/strv.h"
#include "sys/inroot.h"

#define ACCOUNTS_MAX (1u << 20)
#define ID_MAX       (UINT32_MAX - 1) /* (uid_t)-1 means "leave as it is" to the kernel */

/* Cut the next field off *rest, which is one line of fields between colons. NULL: there are no more. */
static char *next_field(char **rest)
{
	return *rest ? strsep(rest, ":") : NULL;
}

static bool parse_id(const char *s, uint32_t *ret)
{
	uint64_t v;

	if (!s || str_to_u64(s, 10, &v) < 0 || v > ID_MAX)
		return false;
	*ret = (uint32_t)v;
	return true;
}

struct account {
	const char *name;
	uint32_t uid, gid;
};

/* name:password:uid:gid:gecos:home:shell. The line is cut in place. */
static bool parse_passwd_line(char *line, struct account *a)
{
	char *uid, *gid;

	a->name = next_field(&line);
	next_field(&line);
	uid = next_field(&line);
	gid = next_field(&line);
	return !str_empty(a->name) && parse_id(uid, &a->uid) && parse_id(gid, &a->gid);
}

static int read_accounts(int rootfs_fd, const char *path, char **ret, struct err *e)
{
	int r = rootfs_fd < 0 ? -ENOENT : inroot_read(rootfs_fd, path, ACCOUNTS_MAX, ret, NULL);

	if (r == -ENOENT || r == -ENOTDIR) {
		*ret = strdup("");
		return *ret ? 0 : err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	}
	return r < 0 ? err_sys(e, -r, "cannot read /%s of the root file system", path) : 0;
}

/* The account whose name, or number when numeric, is who. who "" never matches. */
static bool find_account(char *passwd, const char *who, bool numeric, uint32_t number, struct account *ret)
{
	char *line;

	while ((line = strsep(&passwd, "\n")))
		if (parse_passwd_line(line, ret) && (numeric ? ret->uid == number : str_eq(ret->name, who)))
			return true;
	return false;
}

static bool is_member(char *members, const char *name)
{
	char *m;

	while ((m = strsep(&members, ",")))
		if (str_eq(m, name))
			return true;
	return false;
}

/* name:password:gid:members. */
static void add_groups_of(char *group, const char *user, struct oci_user *u)
{
	char *line;

	while ((line = strsep(&group, "\n")) && u->n_groups < OCI_USER_GROUPS_MAX) {
		const char *name = next_field(&line);
		uint32_t gid;

		next_field(&line);
		if (str_empty(name) || !parse_id(next_field(&line), &gid) || !line)
			continue;
		if (is_member(next_field(&line), user))
			u->groups[u->n_groups++] = gid;
	}
}

static bool find_group(char *group, const char *who, uint32_t *ret)
{
	char *line;

	while ((line = strsep(&group, "\n"))) {
		const char *name = next_field(&line);

		next_field(&line);
		if (str_eq(name, who) && parse_id(next_field(&line), ret))
			return true;
	}
	return false;
}

static int resolve_user(const char *who, int rootfs_fd, struct oci_user *u, char **ret_name, struct err *e)
{
	_cleanup_free_ char *passwd = NULL;
	bool numeric = parse_id(who, &u->uid);
	struct account a;
	int r = read_accounts(rootfs_fd, "etc/passwd", &passwd, e);

	if (r < 0)
		return r;
	if (find_account(passwd, who, numeric, u->uid, &a)) {
		u->uid = a.uid;
		u->gid = a.gid;
		*ret_name = strdup(a.name);
		return *ret_name ? 0 : err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	}
	if (numeric)
		return 0;
	if (str_eq(who, "root")) {
		u->uid = 0;
		return 0;
	}
	return err_set(e, ERR_CONFIG, EINVAL,
		       rootfs_fd < 0 ? "user \"%.100s\": the root file system is not visible here, so its names are "
				       "not known; give a number"
				     : "user \"%.100s\": /etc/passwd of the root file system has no such name",
		       who);
}

static int resolve_group(const char *who, int rootfs_fd, struct oci_user *u, struct err *e)
{
	_cleanup_free_ char *group = NULL;
	int r;

	if (parse_id(who, &u->gid))
		return 0;
	r = read_accounts(rootfs_fd, "etc/group", &group, e);
	if (r < 0)
		return r;
	if (find_group(group, who, &u->gid))
		return 0;
	if (str_eq(who, "root")) {
		u->gid = 0;
		return 0;
	}
	return err_set(e, ERR_CONFIG, EINVAL, "group \"%.100s\": /etc/group of the root file system has no such name",
		       who);
}

int oci_user_resolve(const char *s, int rootfs_fd, struct oci_user *ret, struct err *e)
{
	_cleanup_free_ char *copy = strdup(str_empty(s) ? "0" : s), *name = NULL, *group = NULL;
	struct oci_user u = { 0 };
	char *colon;
	int r;

	if (!copy)
		return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	colon = strchr(copy, ':');
	if (colon)
		*colon++ = '\0';
	r = resolve_user(*copy ? copy : "0", rootfs_fd, &u, &name, e);
	if (r < 0)
		return r;
	if (!str_empty(colon)) {
		r = resolve_group(colon, rootfs_fd, &u, e);
	} else if (name) {
		r = read_accounts(rootfs_fd, "etc/group", &group, e);
		if (r == 0)
			add_groups_of(group, name, &u);
	}
	if (r < 0)
		return r;
	*ret = u;
	return 0;
}
