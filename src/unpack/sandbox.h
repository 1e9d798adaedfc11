/* SPDX-License-Identifier: Apache-2.0 */
/* Give up everything but the target directory and the input. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * Make target_fd the root directory, drop privileges, forbid further system calls. Only input_fd and the standard
 * streams stay open. max_bytes: the largest file. *ret_owners: whether files may be given to others: we are root, not
 * root of a user namespace with one user that was made here.
 */
int sandbox_enter(int target_fd, int input_fd, uint64_t max_bytes, bool *ret_owners, struct err *e);
