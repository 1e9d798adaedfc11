/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that take no events learn by a file, "oom", that a container ran out of memory: CRI-O and podman, for whom
 * conmon writes it. conmon looks at the host's cgroup, where nothing happened; so it is written in its place, where it
 * would have written it: in the bundle, and in the folder that it was told of by --persist-dir (podman 5).
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/*
 * standin: the container's process on the host, whose parent conmon is if any is there; 0: that has ended. always: in
 * the bundle also without one. Failures are logged.
 */
void oom_file_leave(const char *bundle, pid_t standin, bool always);
