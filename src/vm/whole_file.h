/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files that appear whole or not at all: written under a temporary name beside the right one, made durable, renamed.
 */
#pragma once

#include "base/cleanup.h"
#include "base/err.h"

struct whole_file {
	const char *path; /* borrowed; NULL: nothing to drop */
	char *temporary;
	int fd;
};

/* Only its owner may read it. */
int whole_file_create(struct whole_file *f, const char *path, struct err *e);
/* Everything written is on the disk. */
int whole_file_sync(struct whole_file *f, struct err *e);
/* Give it its name; what had it is gone. The file is closed. */
int whole_file_publish(struct whole_file *f, struct err *e);
/* Unless it was published: remove it. */
void whole_file_drop(struct whole_file *f);
