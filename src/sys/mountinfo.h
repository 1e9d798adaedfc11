/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of mounts: proc_pid_mountinfo(5). */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* A field as it is meant: "\040" is a space. In place. */
void mountinfo_unescape(char *field);

/*
 * Where path, links followed, is inside its file system: for a bind mount of /srv/data/x on /mnt, with a file system on
 * /srv, both "/mnt/y" and "/srv/data/x/y" give "/data/x/y". ret_dev: which file system. 0, or -errno; -ENOENT also when
 * it is not in its file system any more.
 */
int mountinfo_place(const char *path, dev_t *ret_dev, char **ret);

/*
 * A mount below a folder. place: from the folder on, without a slash in front. what: its file system's device, and
 * which part of that it is; the kernel gives the id of a mount that is gone to the next one.
 */
struct mountinfo_mount {
	unsigned long long id;
	char *place, *what;
};

struct mountinfo_mounts {
	struct mountinfo_mount *v;
	size_t n;
};

/*
 * The mounts below folder, an absolute path without links, as the calling thread sees them; a folder's own is not among
 * them. In the kernel's order: what is mounted on another one comes behind it. 0 or -errno; on failure *ret is empty.
 */
int mountinfo_below(const char *folder, struct mountinfo_mounts *ret);
void mountinfo_mount_fini(struct mountinfo_mount *m);
void mountinfo_mounts_fini(struct mountinfo_mounts *m);
#define _cleanup_mountinfo_mounts_ __attribute__((cleanup(mountinfo_mounts_fini)))
