/* SPDX-License-Identifier: Apache-2.0 */
/* Namespaces by their names in the OCI runtime spec. */
#pragma once

#include <sys/types.h>

/*
 * "pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time": CLONE_NEW*; 0: no such type. The names under
 * /proc/PID/ns are known, too: Kata's Rust runtime sends "mnt" and "net".
 */
int namespace_flag(const char *type);
/* The name under /proc/PID/ns, e.g. "mnt"; NULL: no such flag. */
const char *namespace_proc_name(int flag);
/* Descriptor of a process's namespace (0: the caller's), by its name under /proc/PID/ns. -errno. */
int namespace_open(pid_t pid, const char *name);
/* The spec's name; NULL: no such flag. */
const char *namespace_type(int flag);

/*
 * clone3(2) that behaves as fork(2) with flags (CLONE_NEW*, CLONE_PARENT). cgroup_fd: directory of the cgroup v2 group
 * to be born in, or -1. 0 in the child; the pid, or -errno. No atfork handlers run: for single-threaded programs.
 */
pid_t clone_process(unsigned long long flags, int cgroup_fd);
/* pidfd_open(2), close-on-exec: descriptor or -errno. */
int pidfd_of(pid_t pid);
