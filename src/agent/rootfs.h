/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's view of the file system, made by its init before exec. Three steps in two processes:
 *
 *   stage (privileged, in the agent's namespaces)  rootfs_open_sources: what is bind-mounted is copied as detached
 * mounts init (in its own namespaces)                   rootfs_build: root, mounts, devices rootfs_finish: read-only,
 * masked paths rootfs_enter: "/" is the container's root, nothing else is reachable
 *
 * The image is hostile: nothing inside the root is ever named by a path that is walked without sys/inroot.h.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "proto/oci.pb-c.h"

struct rootfs {
	const Grpc__Spec *spec;
	int root_fd;         /* the root's mount; detached first */
	int *source_fds;     /* one per spec->mounts: a prepared detached mount, or -1 */
	int *device_fds;     /* one per default and spec device when we have a user namespace; else NULL */
	int late_ro_fds[16]; /* mounts that become read-only at the end, when everything in them is made */
	size_t n_late_ro;
	bool user_ns, cgroup_ns;
	const char *cgroup_path; /* absolute path of the container's cgroup, for binds; NULL: none */
	const char *bundle;
};

/* Is the container to see its cgroups there? */
bool rootfs_is_cgroup(const Grpc__Mount *m);

int rootfs_open_sources(struct rootfs *r, struct err *e);
/*
 * Stage, in the IPC namespace that is the container's: message queues of a namespace which a container with a user
 * namespace shares. Its root may not mount them.
 */
int rootfs_open_queues(struct rootfs *r, struct err *e);
int rootfs_build(struct rootfs *r, struct err *e);
/* Make the working directory where it is missing. Before rootfs_finish. */
int rootfs_make_cwd(struct rootfs *r, const char *cwd, struct err *e);
/* Bind the terminal to /dev/console. */
int rootfs_bind_console(struct rootfs *r, int tty_fd, struct err *e);
int rootfs_finish(struct rootfs *r, struct err *e);
int rootfs_enter(struct rootfs *r, struct err *e);
/*
 * For a process that needs no files: "/" is an empty read-only directory, and nothing else is reachable. The caller has
 * a mount namespace of its own. place: any directory, to be mounted upon on the way.
 */
int rootfs_enter_empty(const char *place, struct err *e);

/* nodes.c */
int rootfs_make_devices(struct rootfs *r, struct err *e);
int rootfs_open_devices(struct rootfs *r, struct err *e);
/* In the agent: remove what rootfs_open_devices() left in the bundle. */
void rootfs_forget_devices(const Grpc__Spec *spec, const char *bundle);

/* copyup.c: copy the tree of directory from_fd into to_fd: files, directories, links, owners, modes. 0 or -errno. */
int copy_tree(int from_fd, int to_fd);
