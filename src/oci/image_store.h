/* SPDX-License-Identifier: Apache-2.0 */
/* Temporary directories of the image store: locked while in use, so that those of killed processes can be told apart.
 */
#pragma once

#include "base/err.h"

struct store_tmp {
	char *path; /* NULL: none */
	int fd;     /* the directory, locked by flock(2) */
};

/* Open (make) the store; remove temporary directories that nobody holds. *ret: its descriptor. */
int store_open(const char *path, int *ret, struct err *e);

int store_tmp_make(const char *store, struct store_tmp *ret, struct err *e);
/* Remove it with all that is inside. */
void store_tmp_remove(struct store_tmp *t);
#define _cleanup_store_tmp_ __attribute__((cleanup(store_tmp_remove)))
