/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `delete`: containerd calls it in a container's bundle when the connection to its shim has ended, be it that the shim
 * has ended as it should or that it died. Whatever of the container is left then goes.
 */
#pragma once

#include "base/err.h"
#include "shim/flags.h"

/* Writes a DeleteResponse to stdout. */
int shim_delete(const struct shim_flags *flags, struct err *e);
