/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Looks at what a configuration names on the host, so that a wrong name fails in the request that gave it and not when
 * the VM starts. What is found is left alone: the VM opens it by itself.
 */
#pragma once

#include "base/err.h"

/* "No such file or directory (os error 2)": how the other server writes errno. code: positive. */
#define OS_ERROR_MAX 120
const char *os_error(int code, char text[OS_ERROR_MAX]);

/* Can path be opened with these open(2) flags? 0 or -errno. */
int probe_file(const char *path, int flags);

/* Can the tap device be used? 0 or -errno, and e says what was tried. */
int probe_tap(const char *name, struct err *e);
