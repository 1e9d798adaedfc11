/* SPDX-License-Identifier: Apache-2.0 */
/* Option strings, detached mounts, attaching. See mounts.h. */
#include "sys/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/overlay_options.h"

#ifndef MOUNT_ATTR_NOSYMFOLLOW
#define MOUNT_ATTR_NOSYMFOLLOW 0x00200000
#endif
#ifndef MS_NOSYMFOLLOW
#define MS_NOSYMFOLLOW 256
#endif

#define DATA_MAX 256 /* options of one mount; more than any file system knows */

/* What one option word does. The atime words are one field of the kernel's: setting one clears the others. */
struct option_word {
	const char *name;
	uint64_t attr;    /* MOUNT_ATTR_* */
	unsigned long sb; /* MS_* of the superblock */
	bool clear;       /* the word takes away */
	bool has_r;       /* OCI 1.1: an "r" in front applies it recursively */
};

/* OCI runtime spec 1.1, config.md "Linux mount options"; mount(8) for the rest. */
static const struct option_word words[] = {
	{ "ro", MOUNT_ATTR_RDONLY, MS_RDONLY, false, true },
	{ "rw", MOUNT_ATTR_RDONLY, MS_RDONLY, true, true },
	{ "nosuid", MOUNT_ATTR_NOSUID, 0, false, true },
	{ "suid", MOUNT_ATTR_NOSUID, 0, true, true },
	{ "nodev", MOUNT_ATTR_NODEV, 0, false, true },
	{ "dev", MOUNT_ATTR_NODEV, 0, true, true },
	{ "noexec", MOUNT_ATTR_NOEXEC, 0, false, true },
	{ "exec", MOUNT_ATTR_NOEXEC, 0, true, true },
	{ "nodiratime", MOUNT_ATTR_NODIRATIME, 0, false, true },
	{ "diratime", MOUNT_ATTR_NODIRATIME, 0, true, true },
	{ "nosymfollow", MOUNT_ATTR_NOSYMFOLLOW, 0, false, true },
	{ "symfollow", MOUNT_ATTR_NOSYMFOLLOW, 0, true, true },
	{ "sync", 0, MS_SYNCHRONOUS, false, false },
	{ "async", 0, MS_SYNCHRONOUS, true, false },
	{ "dirsync", 0, MS_DIRSYNC, false, false },
	{ "mand", 0, MS_MANDLOCK, false, false },
	{ "nomand", 0, MS_MANDLOCK, true, false },
	{ "iversion", 0, MS_I_VERSION, false, false },
	{ "noiversion", 0, MS_I_VERSION, true, false },
	{ "lazytime", 0, MS_LAZYTIME, false, false },
	{ "nolazytime", 0, MS_LAZYTIME, true, false },
	{ "silent", 0, MS_SILENT, false, false },
	{ "loud", 0, MS_SILENT, true, false },
};

static const struct {
	const char *name;
	uint64_t attr;
	bool clear; /* back to the kernel's default (relatime), whichever was set */
} atime_words[] = {
	{ "noatime", MOUNT_ATTR_NOATIME, false },         { "atime", 0, true },
	{ "relatime", MOUNT_ATTR_RELATIME, false },       { "norelatime", 0, true },
	{ "strictatime", MOUNT_ATTR_STRICTATIME, false }, { "nostrictatime", 0, true },
};

/* Words of fstab that concern mount(8) or init, not the kernel. */
static const char *const ignored_words[] = { "",       "defaults", "auto",    "noauto", "user",
					     "nouser", "users",    "_netdev", "nofail", "owner" };

bool mount_propagation_parse(const char *name, unsigned long *ret_type, bool *ret_recursive)
{
	static const struct {
		const char *name;
		unsigned long type;
	} types[] = { { "shared", MS_SHARED },
		      { "slave", MS_SLAVE },
		      { "private", MS_PRIVATE },
		      { "unbindable", MS_UNBINDABLE } };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		bool r = name[0] == 'r' && !strcmp(name + 1, types[i].name);

		if (r || !strcmp(name, types[i].name)) {
			*ret_type = types[i].type;
			*ret_recursive = r;
			return true;
		}
	}
	return false;
}

static void set_attr(struct mount_options *o, uint64_t attr, uint64_t mask, bool clear, bool recursive)
{
	uint64_t *set = recursive ? &o->rattr_set : &o->attr_set, *clr = recursive ? &o->rattr_clr : &o->attr_clr;

	*set &= ~mask;
	*clr &= ~mask;
	if (clear)
		*clr |= mask;
	else
		*set |= attr;
	/* The kernel wants the whole atime field cleared whenever it changes (mount_setattr(2)). */
	if (mask == MOUNT_ATTR__ATIME)
		*clr |= MOUNT_ATTR__ATIME;
}

static bool parse_attribute(struct mount_options *o, const char *word)
{
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
		const struct option_word *w = &words[i];
		bool r = w->has_r && word[0] == 'r' && !strcmp(word + 1, w->name);

		if (!r && strcmp(word, w->name))
			continue;
		if (w->attr)
			set_attr(o, w->attr, w->attr, w->clear, r);
		if (w->sb && !r)
			o->sb_flags = w->clear ? o->sb_flags & ~w->sb : o->sb_flags | w->sb;
		return true;
	}
	for (size_t i = 0; i < sizeof(atime_words) / sizeof(atime_words[0]); i++) {
		bool r = word[0] == 'r' && !strcmp(word + 1, atime_words[i].name);

		if (!r && strcmp(word, atime_words[i].name))
			continue;
		set_attr(o, atime_words[i].attr, MOUNT_ATTR__ATIME, atime_words[i].clear, r);
		return true;
	}
	return false;
}

static int parse_word(struct mount_options *o, const char *word, struct err *e)
{
	unsigned long type;
	bool recursive;

	for (size_t i = 0; i < sizeof(ignored_words) / sizeof(ignored_words[0]); i++)
		if (!strcmp(word, ignored_words[i]))
			return 0;
	for (const char *p = word; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			return err_set(e, ERR_CONFIG, EINVAL, "a mount option contains a control character");
	if (str_eq(word, "bind") || str_eq(word, "rbind")) {
		o->bind = true;
		o->recursive = o->recursive || word[0] == 'r';
	} else if (str_eq(word, "remount")) {
		o->remount = true;
	} else if (str_eq(word, "tmpcopyup")) {
		o->tmpcopyup = true;
	} else if (str_eq(word, "idmap") || str_eq(word, "ridmap")) {
		o->idmap = true;
	} else if (mount_propagation_parse(word, &type, &recursive)) {
		if (o->n_propagation == MOUNT_PROPAGATION_MAX)
			return err_set(e, ERR_CONFIG, E2BIG, "more than %d propagation options for one mount",
				       MOUNT_PROPAGATION_MAX);
		o->propagation[o->n_propagation].type = type;
		o->propagation[o->n_propagation++].recursive = recursive;
	} else if (!parse_attribute(o, word)) {
		if (o->data.len >= DATA_MAX)
			return err_set(e, ERR_CONFIG, E2BIG, "more than %d options for one mount", DATA_MAX);
		if (strv_add(&o->data, word) < 0)
			return err_sys(e, ENOMEM, "parse mount options");
	}
	return 0;
}

int mount_options_parse(char *const *options, size_t n, struct mount_options *ret, struct err *e)
{
	struct mount_options o = { 0 };
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		_cleanup_free_ char *copy = strdup(options[i]);
		char *rest = copy, *word;

		if (!copy)
			r = err_sys(e, ENOMEM, "parse mount options");
		while (r == 0 && (word = strsep(&rest, ",")))
			r = parse_word(&o, word, e);
	}
	if (r == 0 && o.idmap)
		r = err_set(e, ERR_CONFIG, EOPNOTSUPP, "mount option idmap: ID-mapped mounts are not supported");
	if (r < 0) {
		mount_options_fini(&o);
		*ret = (struct mount_options){ 0 };
		return r;
	}
	*ret = o;
	return 0;
}

void mount_options_fini(struct mount_options *o)
{
	strv_fini(&o->data);
	*o = (struct mount_options){ 0 };
}

int mount_clone_at(int dirfd, const char *path, bool recursive)
{
	int fd = open_tree(dirfd, path,
			   OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0 : AT_EMPTY_PATH) |
				   (recursive ? AT_RECURSIVE : 0));

	return fd < 0 ? -errno : fd;
}

static int setattr(int fd, uint64_t set, uint64_t clr, uint64_t propagation, bool recursive)
{
	struct mount_attr attr = { .attr_set = set, .attr_clr = clr, .propagation = propagation };

	if (!set && !clr && !propagation)
		return 0;
	return mount_setattr(fd, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof(attr)) < 0 ? -errno
													      : 0;
}

int mount_apply_attributes(int mount_fd, const struct mount_options *o, struct err *e)
{
	int r = setattr(mount_fd, o->attr_set, o->attr_clr, 0, false);

	if (r == 0)
		r = setattr(mount_fd, o->rattr_set, o->rattr_clr, 0, true);
	if (r < 0)
		return err_sys(e, -r, "set mount attributes");
	for (size_t i = 0; i < o->n_propagation; i++) {
		r = setattr(mount_fd, 0, 0, o->propagation[i].type, o->propagation[i].recursive);
		if (r < 0)
			return err_sys(e, -r, "set mount propagation");
	}
	return 0;
}

/* What the file system's driver has to say about the failure is read from the context: "e …" or "w …" lines. */
static int fs_error(struct err *e, int fs_fd, int code, const char *fstype, const char *what)
{
	char message[256];
	ssize_t n = read(fs_fd, message, sizeof(message) - 1);

	if (n > 2 && (message[0] == 'e' || message[0] == 'w')) {
		message[n] = '\0';
		message[strcspn(message, "\n")] = '\0';
		return err_sys(e, code, "mount %s: %s: %s", fstype, what, message + 2);
	}
	return err_sys(e, code, "mount %s: %s", fstype, what);
}

static int configure_fs(int fs_fd, const char *source, const char *fstype, const struct mount_options *o, struct err *e)
{
	static const struct {
		unsigned long flag;
		const char *name;
	} sb[] = { { MS_RDONLY, "ro" },     { MS_SYNCHRONOUS, "sync" },  { MS_DIRSYNC, "dirsync" },
		   { MS_MANDLOCK, "mand" }, { MS_LAZYTIME, "lazytime" }, { MS_I_VERSION, "iversion" } };

	if (!str_empty(source) && fsconfig(fs_fd, FSCONFIG_SET_STRING, "source", source, 0) < 0)
		return fs_error(e, fs_fd, errno, fstype, source);
	for (size_t i = 0; i < sizeof(sb) / sizeof(sb[0]); i++)
		if ((o->sb_flags & sb[i].flag) && fsconfig(fs_fd, FSCONFIG_SET_FLAG, sb[i].name, NULL, 0) < 0)
			return fs_error(e, fs_fd, errno, fstype, sb[i].name);
	for (size_t i = 0; i < o->data.len; i++) {
		_cleanup_free_ char *key = strdup(o->data.v[i]);
		char *value = key ? strchr(key, '=') : NULL;
		int r;

		if (!key)
			return err_sys(e, ENOMEM, "mount %s", fstype);
		if (value)
			*value++ = '\0';
		if (value && strlen(value) > 255)
			return err_set(e, ERR_CONFIG, E2BIG, "mount %s: the value of option %s is too long", fstype,
				       key);
		r = value && *value ? fsconfig(fs_fd, FSCONFIG_SET_STRING, key, value, 0)
				    : fsconfig(fs_fd, FSCONFIG_SET_FLAG, key, NULL, 0);
		if (r < 0)
			return fs_error(e, fs_fd, errno, fstype, o->data.v[i]);
	}
	if (fsconfig(fs_fd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return fs_error(e, fs_fd, errno, fstype, str_empty(source) ? "create" : source);
	return 0;
}

static int new_fs(const char *source, const char *fstype, const struct mount_options *o, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fs = fsopen(fstype, FSOPEN_CLOEXEC), fd = -1;
	struct mount_options rest = *o;
	int r;

	if (fs < 0 && errno == ENODEV)
		return err_set(e, ERR_SYSTEM, ENODEV, "mount %s: the kernel has no file system of that name", fstype);
	if (fs < 0)
		return err_sys(e, errno, "open file system %s", fstype);
	r = configure_fs(fs, source, fstype, o, e);
	if (r < 0)
		return r;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, (unsigned)o->attr_set);
	if (fd < 0)
		return fs_error(e, fs, errno, fstype, "mount");
	rest.attr_set = rest.attr_clr = 0;
	r = mount_apply_attributes(fd, &rest, e);
	if (r < 0) {
		err_wrap(e, "mount %s", fstype);
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

int mount_detached(const char *source, const char *fstype, const struct mount_options *o, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (!o->bind)
		return new_fs(source, fstype, o, ret_fd, e);
	fd = mount_clone_at(AT_FDCWD, source, o->recursive);
	if (fd < 0)
		return err_sys(e, -fd, "bind mount %s", source);
	r = mount_apply_attributes(fd, o, e);
	if (r < 0) {
		err_wrap(e, "bind mount %s", source);
		return r;
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

int mount_attach(int mount_fd, int target_fd)
{
	return move_mount(mount_fd, "", target_fd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0 ? -errno
													      : 0;
}

int mount_attach_path(int mount_fd, const char *target)
{
	return move_mount(mount_fd, "", AT_FDCWD, target, MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) < 0 ? -errno
													       : 0;
}

/* The MS_* flags that mean the same as attributes, for mount(2). */
static unsigned long ms_flags(const struct mount_options *o)
{
	unsigned long f = o->sb_flags;

	f |= o->attr_set & MOUNT_ATTR_RDONLY ? MS_RDONLY : 0;
	f |= o->attr_set & MOUNT_ATTR_NOSUID ? MS_NOSUID : 0;
	f |= o->attr_set & MOUNT_ATTR_NODEV ? MS_NODEV : 0;
	f |= o->attr_set & MOUNT_ATTR_NOEXEC ? MS_NOEXEC : 0;
	f |= o->attr_set & MOUNT_ATTR_NODIRATIME ? MS_NODIRATIME : 0;
	f |= o->attr_set & MOUNT_ATTR_NOSYMFOLLOW ? MS_NOSYMFOLLOW : 0;
	f |= o->attr_set & MOUNT_ATTR_NOATIME ? MS_NOATIME : 0;
	f |= o->attr_set & MOUNT_ATTR_STRICTATIME ? MS_STRICTATIME : 0;
	return f;
}

#define PAGE 4096

static int join_options(const struct mount_options *o, const char *lower, struct buf *ret)
{
	for (size_t i = 0; i < o->data.len; i++) {
		const char *option = o->data.v[i];
		int r = lower && str_after(option, "lowerdir=") ? buf_printf(ret, "%slowerdir=%s", i ? "," : "", lower)
								: buf_printf(ret, "%s%s", i ? "," : "", option);

		if (r < 0)
			return r;
	}
	return 0;
}

/* In a process of its own, because the working directory is one for all threads. 0 or -errno. */
static int mount_in_folder(const char *dir, const char *source, const char *target, const char *fstype,
			   unsigned long flags, const char *data)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(chdir(dir) < 0 || mount(source, target, fstype, flags, data) < 0 ? errno & 0xff : 0);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* An overlay of more layers than their full names fit into a page. target: absolute. */
static int mount_overlay_of_many(const char *source, const char *target, const struct mount_options *o, struct err *e)
{
	_cleanup_free_ char *dir = NULL, *lower = NULL;
	_cleanup_buf_ struct buf data = { 0 };
	const char *full = NULL;
	int r;

	for (size_t i = 0; i < o->data.len && !full; i++)
		full = str_after(o->data.v[i], "lowerdir=");
	r = full && target[0] == '/' ? overlay_shorten(full, &dir, &lower) : -EINVAL;
	if (r == 0)
		r = join_options(o, lower, &data);
	if (r == -ENOMEM)
		return err_sys(e, ENOMEM, "mount overlay");
	if (r < 0 || data.len >= PAGE)
		return err_set(e, ERR_CONFIG, E2BIG, "mount overlay on %s: the options are longer than a page", target);
	r = mount_in_folder(dir, source, target, "overlay", ms_flags(o), data.data);
	return r < 0 ? err_sys(e, -r, "mount overlay on %s (in %s)", target, dir) : 0;
}

static int mount_by_options(const char *source, const char *target, const char *fstype, const struct mount_options *o,
			    struct err *e)
{
	_cleanup_buf_ struct buf data = { 0 };

	if (join_options(o, NULL, &data) < 0)
		return err_sys(e, ENOMEM, "mount %s", fstype);
	if (data.len >= PAGE && str_eq(fstype, "overlay"))
		return mount_overlay_of_many(source, target, o, e);
	if (data.len >= PAGE)
		return err_set(e, ERR_CONFIG, E2BIG, "mount %s on %s: the options are longer than a page", fstype,
			       target);
	if (mount(source, target, fstype, ms_flags(o), data.data) < 0)
		return err_sys(e, errno, "mount %s (%s) on %s", source, fstype, target);
	return 0;
}

static int classic_mount(const char *source, const char *target, const char *fstype, const struct mount_options *o,
			 struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct mount_options rest = *o;
	int r = mount_by_options(source, target, fstype, o, e);

	if (r < 0)
		return r;
	if (!o->n_propagation && !o->rattr_set && !o->rattr_clr)
		return 0;
	fd = open(target, O_PATH | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "open %s", target);
	rest.attr_set = rest.attr_clr = 0;
	return mount_apply_attributes(fd, &rest, e);
}

int mount_at_path(const char *source, const char *target, const char *fstype, const struct mount_options *o,
		  struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (o->remount) {
		fd = open(target, O_PATH | O_CLOEXEC);
		if (fd < 0)
			return err_sys(e, errno, "remount %s", target);
		r = mount_apply_attributes(fd, o, e);
		if (r < 0)
			err_wrap(e, "remount %s", target);
		return r;
	}
	if (!o->bind)
		return classic_mount(str_empty(source) ? fstype : source, target, fstype, o, e);
	r = mount_detached(source, fstype, o, &fd, e);
	if (r < 0) {
		err_wrap(e, "mount on %s", target);
		return r;
	}
	r = mount_attach_path(fd, target);
	return r < 0 ? err_sys(e, -r, "mount %s on %s", source, target) : 0;
}
