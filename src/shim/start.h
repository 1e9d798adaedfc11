/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `start`: containerd calls it in a container's bundle, with the runtime options on stdin, and wants the address of the
 * shim that serves the container: that of the container's pod, where it lives already, else a new one, which goes on in
 * the background.
 */
#pragma once

#include "base/err.h"
#include "shim/flags.h"

/* Writes the address to stdout, and nothing else. Returns in the caller only; the new shim ends by _exit(2). */
int shim_start(const struct shim_flags *flags, struct err *e);
