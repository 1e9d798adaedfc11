/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a shim is reached: a socket whose name containerd's shims make of containerd's own address, the namespace and
 * the pod, so that any container of a pod finds the shim of its pod.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/* As containerd's clients look for it, whatever containerd's own state directory is. */
#define SHIM_SOCKET_DIR "/run/containerd/s"
#define SHIM_SCHEME     "unix://"

/* "unix:///run/containerd/s/SHA256", to be freed; NULL: no memory. */
char *shim_address(const char *containerd_address, const char *namespace, const char *sandbox);
/* The path of an address; NULL: it is no path. */
const char *shim_address_path(const char *address);

/* Listen there. -EADDRINUSE: a shim lives there. What a dead one left is replaced. */
int shim_listen(const char *address, int *ret_fd, struct err *e);
/* Whether somebody listens there. */
bool shim_is_alive(const char *address);

/* BUNDLE/address: written for containerd, which reads it when it is started again. */
int shim_write_address(const char *bundle, const char *address, struct err *e);
/* To be freed. -ENOENT: there is none. */
int shim_read_address(const char *bundle, char **ret);
