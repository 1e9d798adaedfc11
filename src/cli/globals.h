/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Flags in front of the command: caisson's own, and those of runc that clients of OCI runtimes give. What the latter
 * would change has no meaning here, or is found out without them, so they are taken and do nothing: --criu, --rootless,
 * --systemd-cgroup (a cgroupsPath of systemd's form says it, too).
 */
#pragma once

#include <limits.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/log.h"

struct globals {
	char root[PATH_MAX];   /* where state is kept */
	char config[PATH_MAX]; /* configuration file; "": the search order */
	const char *log;       /* file; NULL: stderr */
	enum log_format log_format;
	enum log_level log_level;
	bool help, version;
};

/* *ret_at: index of the command in argv; argc when there is none. */
int globals_parse(struct globals *g, int argc, char **argv, int *ret_at, struct err *e);
/* Let the log go where the flags want it. Errors go to stderr in any case. */
int globals_open_log(const struct globals *g, struct err *e);

extern const char globals_help[];
