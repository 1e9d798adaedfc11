/* SPDX-License-Identifier: Apache-2.0 */
/* The commands of the `caisson` program. Each gets its own argv (argv[0] is its name) and returns the exit status. */
#pragma once

/* Exit statuses of docker run, which scripts know. */
#define EXIT_TIMEOUT        124
#define EXIT_CAISSON        125
#define EXIT_CANNOT_EXECUTE 126
#define EXIT_NOT_FOUND      127

int command_run(int argc, char **argv);
int command_exec(int argc, char **argv);
int command_kill(int argc, char **argv);
int command_list(int argc, char **argv);
int command_logs(int argc, char **argv);
int command_metrics(int argc, char **argv);
int command_check(int argc, char **argv);
int command_hypervisors(int argc, char **argv);
int command_config(int argc, char **argv);
int command_version(int argc, char **argv);
