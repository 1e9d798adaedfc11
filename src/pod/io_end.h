/* SPDX-License-Identifier: Apache-2.0 */
/* What one name of struct pod_io stands for, opened. See pod/io.h. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct io_end {
	int fd;   /* for the pump; -1: nothing there */
	int hold; /* the other end of a FIFO, held open so that the stream does not end with its client; -1: none */
	bool fifo;
};

#define IO_END_NONE                                                                                                    \
	{                                                                                                              \
		.fd = -1, .hold = -1                                                                                   \
	}

/* name: NULL and "" give an empty end. writing: the process's output goes there. Not for binary://. */
int io_end_open(const char *name, bool writing, struct io_end *ret, struct err *e);
/* Whether the name is that of a FIFO, which is there. */
bool io_end_is_fifo(const char *name);
void io_end_close(struct io_end *end);

/* Part of a URI, %XX decoded; to be freed. NULL: no memory, or it holds a NUL byte. */
char *io_uri_decode(const char *text, size_t n);
