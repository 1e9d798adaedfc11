/* SPDX-License-Identifier: Apache-2.0 */
/* caisson exec --debug: a shell of the guest itself, outside all containers, to look for what is wrong there. */
#pragma once

#include "base/err.h"

/*
 * Connect our streams to a shell in the guest of the container or pod id, until that ends. The guest must have been
 * started with debug_console_enabled. 0 or negative errno.
 */
int exec_debug(const char *root, const char *id, struct err *e);
