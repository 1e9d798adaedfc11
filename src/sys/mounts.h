/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounting: the option strings of fstab, of the OCI runtime spec and of Kata's storages become flags, attributes,
 * propagation and file system data; then a mount is made detached (it has no place yet) and attached to a directory or
 * file given by descriptor. A detached mount gets all its attributes before anybody can reach it, and attaching by
 * descriptor leaves no path for a hostile root file system to redirect.
 *
 * Needs Linux 5.12 (mount_setattr(2)). (Not called mount.h: <sys/mount.h> is the C library's.)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"

#define MOUNT_PROPAGATION_MAX 8

struct mount_options {
	bool bind, recursive;          /* bind or rbind was asked for */
	bool remount;                  /* only change what is mounted at the destination */
	bool tmpcopyup;                /* tmpfs: begin with a copy of what it covers */
	bool idmap;                    /* idmap or ridmap was asked for */
	uint64_t attr_set, attr_clr;   /* MOUNT_ATTR_* of the mount itself */
	uint64_t rattr_set, rattr_clr; /* the same for it and everything below (rro, rnosuid …) */
	unsigned long sb_flags;        /* MS_RDONLY, MS_SYNCHRONOUS …: flags of a new file system */
	struct {
		unsigned long type; /* MS_SHARED, MS_SLAVE, MS_PRIVATE or MS_UNBINDABLE */
		bool recursive;
	} propagation[MOUNT_PROPAGATION_MAX];
	size_t n_propagation;
	struct strv data; /* what is left: "key=value" or "flag" for the file system */
};

/*
 * Parse n options, each of which may be a comma-separated list itself. "defaults" and "" mean nothing. An option that
 * is not known here goes to data. -EINVAL: a contradiction or a control character; -E2BIG: too many. On failure *ret
 * is empty.
 */
int mount_options_parse(char *const *options, size_t n, struct mount_options *ret, struct err *e);
void mount_options_fini(struct mount_options *o);
#define _cleanup_mount_options_ __attribute__((cleanup(mount_options_fini)))

/* The name of a propagation ("shared", "rslave" …). False: no such thing. */
bool mount_propagation_parse(const char *name, unsigned long *ret_type, bool *ret_recursive);

/*
 * A copy of the mount at dirfd/path ("" with a descriptor: what it refers to), detached, attributes as they were.
 * Returns a descriptor or -errno.
 */
int mount_clone_at(int dirfd, const char *path, bool recursive);

/* Give a mount (detached or not) the attributes and propagation of o. */
int mount_apply_attributes(int mount_fd, const struct mount_options *o, struct err *e);

/*
 * A new file system, or for o->bind a copy of source, detached, with everything of o applied. fstype may be "" for
 * binds. *ret_fd: the mount. Options too long for fsconfig(2) (256 bytes) give -E2BIG: see mount_at_path().
 */
int mount_detached(const char *source, const char *fstype, const struct mount_options *o, int *ret_fd, struct err *e);

/* Put a detached mount on top of the directory or file that target_fd refers to (O_PATH will do). 0 or -errno. */
int mount_attach(int mount_fd, int target_fd);
/* The same for a path, which is followed. */
int mount_attach_path(int mount_fd, const char *target);

/*
 * mount(8) as storages need it: source of type fstype on the existing directory or file target, with o: new file
 * system (option strings up to a page; an overlay of many layers that lie in one folder also beyond), bind, or remount.
 */
int mount_at_path(const char *source, const char *target, const char *fstype, const struct mount_options *o,
		  struct err *e);
