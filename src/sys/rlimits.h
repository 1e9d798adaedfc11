/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits by the names of the OCI runtime spec ("RLIMIT_NOFILE"). getrlimit(2). */
#pragma once

#include <stdint.h>

/* RLIMIT_*, or -EINVAL. */
int rlimit_by_name(const char *name);
/* UINT64_MAX is "unlimited". 0 or -errno. */
int rlimit_set(int resource, uint64_t soft, uint64_t hard);
