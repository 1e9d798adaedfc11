/* SPDX-License-Identifier: Apache-2.0 */
/* The program of a VMM: where it is, and what it says of its version. The same for every driver that runs one. */
#pragma once

#include <stddef.h>

#include "base/err.h"

#ifdef __aarch64__
#define HOST_ARCH "aarch64"
#else
#define HOST_ARCH "x86_64"
#endif

struct program {
	const char *name;    /* "QEMU", for messages */
	const char *file;    /* looked up in PATH when the configuration names none */
	const char *section; /* "qemu": of [hypervisor.qemu] */
	const char *advice;  /* how to come by it: "install it (Debian: apt install qemu-system-x86)" */
};

/*
 * configured: the key path: "", a name for PATH, or a path. ret: the path found. As exec would look it up, but
 * reported: a message says what was looked for and where.
 */
int program_find(const struct program *p, const char *configured, char *ret, size_t size, struct err *e);

/* How long a program may take to tell its version: emulated hosts are slow. */
#define PROGRAM_VERSION_MS 10000

/* What `path option` prints on stdout until timeout_ms are over; the program is gone afterwards. */
int program_version(const char *path, const char *option, unsigned timeout_ms, char *text, size_t size, struct err *e);
