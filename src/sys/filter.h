/* SPDX-License-Identifier: Apache-2.0 */
/* Load a compiled seccomp filter on the calling thread. seccomp(2). */
#pragma once

#include <stddef.h>

#include "base/err.h"

/*
 * program: an array of struct sock_filter, size in bytes. flags: SECCOMP_FILTER_FLAG_*. Needs no_new_privs or
 * CAP_SYS_ADMIN.
 */
int filter_load(const void *program, size_t size, unsigned flags, struct err *e);
