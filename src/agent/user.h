/* SPDX-License-Identifier: Apache-2.0 */
/* Who a container process is: capabilities, user, groups, HOME; and which file its argv[0] means. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/strv.h"
#include "proto/oci.pb-c.h"
#include "sys/caps.h"

/* The spec's sets; names that this kernel or we do not know are logged and skipped. NULL: no capabilities at all. */
void caps_from_spec(const Grpc__LinuxCapabilities *spec, struct caps *ret);

/* Bounding set, groups, user, remaining capabilities, in the order the kernel wants. The caller has all it needs. */
int user_become(const Grpc__Process *process, const struct caps *caps, struct err *e);

/* Set HOME from /etc/passwd of the root we are in, or "/", unless env has one that is not empty. 0 or -ENOMEM. */
int user_set_home(struct strv *env, uint32_t uid);

/*
 * The file that args[0] means to the calling process, looked up in the PATH of env when it has no slash. Errors are
 * worded so that the command line can tell "not found" (127) from "cannot be executed" (126): -ENOENT and -EACCES.
 */
int program_find(const char *name, const struct strv *env, char **ret_path, struct err *e);
/* The error of a failed execve(2), worded the same way. Returns -code. */
int program_exec_error(const char *path, int code, struct err *e);
