/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The folder in which Firecracker runs and finds its files.
 *
 * Without a jail it is RUN_DIR/vmm, and files of the host are there as symbolic links. With the jailer it is
 * RUN_DIR/firecracker/vm/root, which the jailer makes the root of a mount namespace, and files of the host are bind
 * mounts. These live in a private mount namespace of our own: they end with our processes, even by SIGKILL. The folder
 * is shared with the jail's namespace, so that a disk that is added later appears there too.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct fc_folder {
	char *path; /* of the folder */
	char *top;  /* what is removed at the end: the folder, or the jail around it */
	bool jailed, made, mounted;
	int host_root; /* jailed: "/" of the mount namespace that was ours before; -1 */
};

/* Only names. program: of Firecracker, from whose name the jailer makes that of its jail. */
int fc_folder_init(struct fc_folder *f, const char *run_dir, bool jailed, const char *program, struct err *e);
int fc_folder_make(struct fc_folder *f, struct err *e);
/* A file, block device or folder of the host appears under name. */
int fc_folder_bring(const struct fc_folder *f, const char *name, const char *host_path, struct err *e);
/* Undo that. Nothing there: nothing to do. */
void fc_folder_drop(const struct fc_folder *f, const char *name);
/* An empty file. */
int fc_folder_touch(const struct fc_folder *f, const char *name, struct err *e);
/* A FIFO, of which *ret_fd reads: it never ends, since it counts as a writer too. */
int fc_folder_fifo(const struct fc_folder *f, const char *name, int *ret_fd, struct err *e);
/* Everything of it is gone. Idempotent. */
void fc_folder_fini(struct fc_folder *f);

#define FC_JAIL_ID "vm"
