/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The directory of one cgroup, of whichever version: what is done to it by its descriptor. cgroup.h makes objects of v2
 * groups out of this; who has to do with v1, too, works with the directories (cgroup_layout.h finds them).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/*
 * Make path ("/a/b") below root_fd, the root of a hierarchy or of what is mounted of it. On the way down v2 groups get
 * all controllers that can be handed down; new v1 groups of cpuset get the CPUs and memory nodes of their parent,
 * without which no process may enter them. *ret_made (may be NULL): how many of the last components were not there
 * before. Returns a descriptor of the directory, or -errno.
 */
int cgroup_dir_make(int root_fd, const char *path, unsigned *ret_made, struct err *e);

/* Move a process with all its threads into it. 0 or -errno. */
int cgroup_dir_enter(int dir_fd, pid_t pid);
/* Whether pid is a member, the groups inside not counted. */
bool cgroup_dir_has(int dir_fd, pid_t pid);

/*
 * signo to all processes in it and in the groups inside. *count is raised by how many there were. Never to process 1 or
 * to processes outside this PID namespace. 0 or -errno.
 */
int cgroup_dir_signal(int dir_fd, int signo, size_t *count);

/* A file with one number; "max" is UINT64_MAX. 0 or -errno. */
int cgroup_dir_u64(int dir_fd, const char *file, uint64_t *ret);
/* The number behind key in a file of "key value" lines; 0 when either is missing. */
uint64_t cgroup_dir_key(int dir_fd, const char *file, const char *key);
/* The same of several keys in one file, which the kernel makes anew each time that it is read. */
struct cgroup_key {
	const char *key;
	uint64_t *value;
};
void cgroup_dir_keys(int dir_fd, const char *file, const struct cgroup_key *keys, size_t n);

/* Remove the groups inside, as far as no process is left in them. */
void cgroup_dir_remove_below(int dir_fd);
/* Remove the group at path below root_fd with the groups inside: 0, -EBUSY: there are processes left. */
int cgroup_dir_remove(int root_fd, const char *path);
/* Remove the last `made` groups of path, as cgroup_dir_make() told them, until one is in use. */
void cgroup_dir_remove_made(int root_fd, const char *path, unsigned made);
