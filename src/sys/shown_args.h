/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a child of a fork shows as its command line (/proc/PID/cmdline, `ps`, `podman top`): prctl(2), PR_SET_MM_MAP,
 * for which nobody needs privileges. Where the kernel cannot (no CONFIG_CHECKPOINT_RESTORE) it stays its parent's.
 */
#pragma once

#include <linux/prctl.h>
#include <stddef.h>

struct shown_args {
	char *text; /* NULL: nothing is to change */
	struct prctl_mm_map map;
};

/* Before the fork. args: SHOWN_ARGS_MAX bytes count. The text stays the caller's, to be freed. */
#define SHOWN_ARGS_MAX 4096
void shown_args_prepare(struct shown_args *ret, char *const *args, size_t n);
/* In the child. Safe after fork(2); the text is to stay. */
void shown_args_set(const struct shown_args *a);
void shown_args_fini(struct shown_args *a);
#define _cleanup_shown_args_ __attribute__((cleanup(shown_args_fini)))
