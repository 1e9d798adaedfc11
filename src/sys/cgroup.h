/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One cgroup v2 group: made below the root of the hierarchy with all controllers of its ancestors handed down, limited,
 * frozen, killed, removed with what its processes made inside. Linux Documentation/admin-guide/cgroup-v2.rst.
 *
 * Where no cgroup v2 hierarchy is mounted the object exists all the same: it has no directory, and only asking it for
 * something is an error.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

#define CGROUP_ROOT "/sys/fs/cgroup"

struct cgroup;

/*
 * The path below the root for a spec's cgroupsPath: "" is "/kata/ID"; systemd's "slice:prefix:name" becomes
 * "/slice/prefix-name"; ".." , "." and empty components vanish. NULL: no memory.
 */
char *cgroup_path_from_spec(const char *spec_path, const char *id);

/* root: CGROUP_ROOT, or a directory made to look like it in tests. -EBUSY: somebody else's processes are in it. */
int cgroup_create(const char *root, const char *path, struct cgroup **ret, struct err *e);
/* Remove the group, the groups inside it, and the ancestors that are empty then. NULL does nothing. */
void cgroup_free(struct cgroup *cg);

/* O_PATH-like directory descriptor for clone_process(), owned by the group; -1: there is no hierarchy. */
int cgroup_dir_fd(const struct cgroup *cg);
/* The path below the root. */
const char *cgroup_path(const struct cgroup *cg);

/* Write value to file, e.g. "memory.max". controller: named in the error when the kernel or an ancestor lacks it. */
int cgroup_set(struct cgroup *cg, const char *controller, const char *file, const char *value, struct err *e);
bool cgroup_has(const struct cgroup *cg, const char *file);
/* A file of the group as text (caller frees). 0 or -errno. */
int cgroup_read(const struct cgroup *cg, const char *file, char **ret);
/* A file with one number; "max" is UINT64_MAX. 0 or -errno. */
int cgroup_read_u64(const struct cgroup *cg, const char *file, uint64_t *ret);
/* The number behind key in a "key value" file; 0 when it is not there. */
uint64_t cgroup_read_key(const struct cgroup *cg, const char *file, const char *key);
/* Of several: cgroup_dir_keys(). */
struct cgroup_key;
void cgroup_read_keys(const struct cgroup *cg, const char *file, const struct cgroup_key *keys, size_t n);

/* Waits at most timeout_ms until all processes are frozen. */
int cgroup_freeze(struct cgroup *cg, bool freeze, int timeout_ms, struct err *e);
/* SIGKILL to all, the groups inside included. 0 or -errno. */
int cgroup_kill(struct cgroup *cg);
/* signo to all, the groups inside included; *ret_count (may be NULL): to how many. 0 or -errno. */
int cgroup_signal_all(struct cgroup *cg, int signo, size_t *ret_count);
/* Wait until no process is left: 0, -ETIMEDOUT. */
int cgroup_wait_empty(struct cgroup *cg, int timeout_ms);

/* An inotify descriptor that becomes readable when memory.events changes; -errno. Owned by the caller. */
int cgroup_watch_memory(const struct cgroup *cg);

/* ---- devices (cgroup_devices.c) ---- */

#define CGROUP_DEVICE_READ  1u
#define CGROUP_DEVICE_WRITE 2u
#define CGROUP_DEVICE_MKNOD 4u

struct cgroup_device_rule {
	bool allow;
	char type;            /* 'b', 'c', or 'a' for both */
	int64_t major, minor; /* < 0: any */
	unsigned access;      /* CGROUP_DEVICE_* */
};

/*
 * Attach the program that decides about opening and making device nodes: what no rule mentions is denied, and a later
 * rule overrides an earlier one, separately for each kind of access. Replaces what was set before.
 */
int cgroup_set_devices(struct cgroup *cg, const struct cgroup_device_rule *rules, size_t n, struct err *e);

struct bpf_insn;
/* The program itself, for tests. Returns the number of instructions written to *ret (caller frees), or -errno. */
int cgroup_device_program(const struct cgroup_device_rule *rules, size_t n, struct bpf_insn **ret);
