/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel tells of mounts: proc_pid_mountinfo(5). */
#pragma once

#include <sys/types.h>

/* A field as it is meant: "\040" is a space. In place. */
void mountinfo_unescape(char *field);

/*
 * Where path, links followed, is inside its file system: for a bind mount of /srv/data/x on /mnt, with a file system on
 * /srv, both "/mnt/y" and "/srv/data/x/y" give "/data/x/y". ret_dev: which file system. 0, or -errno; -ENOENT also when
 * it is not in its file system any more.
 */
int mountinfo_place(const char *path, dev_t *ret_dev, char **ret);
