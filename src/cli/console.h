/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The host's pty of a process with a terminal. The guest's own pty does all that a terminal does to what passes (echo,
 * ^C, line ends), so this one is raw. Its slave is the stand-in's terminal, which makes changes of its size arrive.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct console {
	int master, slave; /* -1: not open */
	char name[64];     /* of the slave */
};

#define CONSOLE_NONE ((struct console){ .master = -1, .slave = -1 })

/* rows, columns 0: as the kernel makes it. */
int console_open(struct console *c, uint32_t rows, uint32_t columns, struct err *e);
void console_close(struct console *c);
/* Send the master to the Unix socket at path, as OCI runtimes do (--console-socket), and close ours. */
int console_send(struct console *c, const char *path, struct err *e);
