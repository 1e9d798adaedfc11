/* SPDX-License-Identifier: Apache-2.0 */
/* See user.h. */
#include "agent/user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

#define DEFAULT_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define PASSWD_MAX   (4u << 20)
#define GROUPS_LIMIT 65536 /* NGROUPS_MAX */

static uint64_t set_from_spec(char *const *names, size_t n)
{
	uint64_t set = 0;
	int last = cap_last();

	for (size_t i = 0; i < n; i++) {
		int cap = cap_by_name(names[i]);

		if (cap < 0 || cap > last)
			log_warn("capability %s is unknown here and skipped", names[i]);
		else
			set |= CAP_BIT(cap);
	}
	return set;
}

void caps_from_spec(const Grpc__LinuxCapabilities *spec, struct caps *ret)
{
	*ret = (struct caps){ 0 };
	if (!spec)
		return;
	ret->bounding = set_from_spec(spec->bounding, spec->n_bounding);
	ret->effective = set_from_spec(spec->effective, spec->n_effective);
	ret->inheritable = set_from_spec(spec->inheritable, spec->n_inheritable);
	ret->permitted = set_from_spec(spec->permitted, spec->n_permitted);
	ret->ambient = set_from_spec(spec->ambient, spec->n_ambient);
}

static int set_groups(const Grpc__User *user, struct err *e)
{
	_cleanup_free_ gid_t *groups = NULL;
	size_t n = user ? user->n_additionalgids : 0;

	if (n > GROUPS_LIMIT)
		return err_set(e, ERR_CONFIG, E2BIG, "%zu additional groups are more than the kernel's %d", n,
			       GROUPS_LIMIT);
	groups = calloc(n + 1, sizeof(*groups));
	if (!groups)
		return err_sys(e, ENOMEM, "set additional groups");
	for (size_t i = 0; i < n; i++)
		groups[i] = user->additionalgids[i];
	/* EPERM without groups: a user namespace where setgroups is denied; there is nothing to give up there. */
	if (setgroups(n, groups) < 0 && (n || errno != EPERM))
		return err_sys(e, errno, "set additional groups");
	return 0;
}

int user_become(const Grpc__Process *process, const struct caps *caps, struct err *e)
{
	uid_t uid = process->user ? process->user->uid : 0;
	gid_t gid = process->user ? process->user->gid : 0;
	int r;

	r = caps_limit_bounding(caps->bounding, e);
	if (r == 0)
		r = caps_keep(true, e);
	if (r == 0)
		r = set_groups(process->user, e);
	if (r < 0)
		return r;
	if (setresgid(gid, gid, gid) < 0)
		return err_sys(e, errno, "become group %u", gid);
	if (setresuid(uid, uid, uid) < 0)
		return err_sys(e, errno, "become user %u", uid);
	r = caps_keep(false, e);
	return r < 0 ? r : caps_apply(caps, e);
}

/* name:password:uid:gid:gecos:home:shell */
static char *home_of(char *passwd, uint32_t uid)
{
	char *line;

	while ((line = strsep(&passwd, "\n"))) {
		char *field[7] = { 0 };
		uint64_t id;
		int n = 0;

		while (n < 7 && (field[n] = strsep(&line, ":")))
			n++;
		if (n >= 6 && str_to_u64(field[2], 10, &id) == 0 && id == uid && field[5][0] == '/')
			return field[5];
	}
	return NULL;
}

int user_set_home(struct strv *env, uint32_t uid)
{
	/* O_NONBLOCK: the image may have put a FIFO there. */
	_cleanup_close_ int fd = open("/etc/passwd", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	_cleanup_free_ char *passwd = NULL;
	_cleanup_free_ char *entry = NULL;
	const char *home = strv_get_env(env, "HOME");
	struct stat st;

	if (!str_empty(home))
		return 0;
	home = NULL;
	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_size <= PASSWD_MAX) {
		passwd = calloc(1, (size_t)st.st_size + 1);
		if (passwd && fd_read_full(fd, passwd, (size_t)st.st_size) == 0)
			home = home_of(passwd, uid);
	}
	entry = str_printf("HOME=%s", home ? home : "/");
	return entry ? strv_set_env(env, entry) : -ENOMEM;
}

/* Whether the caller could execute it: regular, and the permission bits allow it for our effective ids. */
static int executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	/* EPERM is no answer: a seccomp profile does not know the call. execve(2) will tell. */
	if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0 && errno != EPERM)
		return -errno;
	/* Root passes the check above with any one x bit; without any, execve(2) says EACCES to all. */
	return st.st_mode & 0111 ? 0 : -EACCES;
}

int program_exec_error(const char *path, int code, struct err *e)
{
	switch (code) {
	case ENOENT:
		return err_set(e, ERR_CONFIG, ENOENT, "exec %s: no such file or directory", path);
	case EACCES:
	case EISDIR:
	case EPERM:
		return err_set(e, ERR_CONFIG, EACCES, "exec: \"%s\": permission denied", path);
	case ENOEXEC:
		return err_set(e, ERR_CONFIG, ENOEXEC, "exec %s: exec format error", path);
	default:
		return err_sys(e, code, "exec %s", path);
	}
}

int program_find(const char *name, const struct strv *env, char **ret_path, struct err *e)
{
	const char *path = strv_get_env(env, "PATH");
	_cleanup_free_ char *copy = strdup(path ? path : DEFAULT_PATH);
	char *rest = copy, *dir, *full;
	int r, denied = 0;

	if (!copy)
		return err_sys(e, ENOMEM, "look for %s", name);
	if (strchr(name, '/')) {
		r = executable(name);
		if (r == -ENOENT || r == -ENOTDIR)
			return err_set(e, ERR_CONFIG, ENOENT, "exec: \"%s\": stat %s: no such file or directory", name,
				       name);
		if (r < 0)
			return program_exec_error(name, -r, e);
		*ret_path = strdup(name);
		return *ret_path ? 0 : err_sys(e, ENOMEM, "look for %s", name);
	}
	while (*name && (dir = strsep(&rest, ":"))) {
		full = str_printf("%s/%s", *dir ? dir : ".", name);
		if (!full)
			return err_sys(e, ENOMEM, "look for %s", name);
		r = executable(full);
		if (r == 0) {
			*ret_path = full;
			return 0;
		}
		free(full);
		if (r == -EACCES)
			denied = 1;
	}
	if (denied)
		return program_exec_error(name, EACCES, e);
	return err_set(e, ERR_CONFIG, ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
}
