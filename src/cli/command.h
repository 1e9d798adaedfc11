/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of the `caisson` program. Each gets the flags in front of it and its own argv (argv[0] is its name), and
 * returns the exit status.
 */
#pragma once

#include "cli/globals.h"

/* Exit statuses of docker run, which scripts know. */
#define EXIT_TIMEOUT        124
#define EXIT_CAISSON        125
#define EXIT_CANNOT_EXECUTE 126
#define EXIT_NOT_FOUND      127
/* Those of runc, for the commands of OCI runtimes. */
#define EXIT_OCI      1
#define EXIT_OCI_EXEC 255

/* For `caisson run` and OCI clients alike. */
int command_run(const struct globals *g, int argc, char **argv);
int command_exec(const struct globals *g, int argc, char **argv);
int command_kill(const struct globals *g, int argc, char **argv);
int command_list(const struct globals *g, int argc, char **argv);
int command_logs(const struct globals *g, int argc, char **argv);
int command_metrics(const struct globals *g, int argc, char **argv);
int command_check(const struct globals *g, int argc, char **argv);
int command_hypervisors(const struct globals *g, int argc, char **argv);
int command_config(const struct globals *g, int argc, char **argv);
int command_version(const struct globals *g, int argc, char **argv);

/* The commands of OCI runtimes. */
int command_create(const struct globals *g, int argc, char **argv);
int command_start(const struct globals *g, int argc, char **argv);
int command_state(const struct globals *g, int argc, char **argv);
int command_delete(const struct globals *g, int argc, char **argv);
int command_ps(const struct globals *g, int argc, char **argv);
int command_pause(const struct globals *g, int argc, char **argv);
int command_resume(const struct globals *g, int argc, char **argv);
int command_update(const struct globals *g, int argc, char **argv);
int command_events(const struct globals *g, int argc, char **argv);
int command_spec(const struct globals *g, int argc, char **argv);
int command_features(const struct globals *g, int argc, char **argv);
/* The process that create leaves behind; see cli/owner.h. */
int command_pod_owner(const struct globals *g, int argc, char **argv);
