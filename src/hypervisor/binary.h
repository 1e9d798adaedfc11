/* SPDX-License-Identifier: Apache-2.0 */
/* The program of a VMM on this host: where it is, and what it says of its version. The same for every driver. */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "config/config.h"

#ifdef __aarch64__
#define HOST_ARCH "aarch64"
#else
#define HOST_ARCH "x86_64"
#endif

struct binary {
	const char *vmm;     /* "QEMU", for messages */
	const char *program; /* looked for in PATH when the key path is empty */
	const char *advice;  /* what to do when it is not there */
};

/* The key path, a program in PATH when that has no slash, else b->program. ret: "" when it is not found anywhere. */
int binary_find(const struct config_hypervisor *hv, const struct binary *b, char *ret, size_t size, struct err *e);

/*
 * What `path option` prints on stdout, terminated and cut to size. Runs it, for ten seconds at most; nothing outlives
 * the call.
 */
int binary_version(const char *path, const char *option, char *text, size_t size, struct err *e);
