/* SPDX-License-Identifier: Apache-2.0 */
/* The program of a VMM: where it is, and what it says of its version. The same for every driver that runs one. */
#pragma once

#include <stddef.h>

#include "base/err.h"

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

/* What `path --version` prints on stdout; the program is bounded in time and gone afterwards. */
int program_version(const char *path, char *text, size_t size, struct err *e);
