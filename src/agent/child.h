/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What runs between fork and exec.
 *
 *   agent ── clone ──▶ stage ── clone(CLONE_PARENT | new namespaces | into the cgroup) ──▶ the process
 *                      joins namespaces, opens        builds the root, drops privileges,
 *                      bind sources, ends             waits, execs
 *
 * The stage exists because a PID namespace is entered only by being born, and because bind sources and joined
 * namespaces need the privileges that a new user namespace takes away. Thanks to CLONE_PARENT the process is a child
 * of the agent all the same.
 *
 * They talk over a SOCK_SEQPACKET pair: messages up, one byte "go on" down. End of file without a message means that
 * exec succeeded (the socket is close-on-exec) or that the process died; its exit status tells.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/seccomp.h"
#include "base/err.h"
#include "proto/oci.pb-c.h"

enum child_message_kind {
	CHILD_ERROR = 1, /* code, domain, text */
	CHILD_PID,       /* code is the pid of the process; the stage ends */
	CHILD_MAPS,      /* write my ID maps */
	CHILD_HOOKS,     /* namespaces and mounts exist: run prestart and createRuntime hooks */
	CHILD_TTY,       /* the terminal's master comes along */
	CHILD_READY,     /* everything but exec is done; waits */
};

struct child_message {
	uint32_t kind, domain;
	int32_t code;
	char text[ERR_TEXT_MAX];
};

#define CHILD_JOIN_MAX 8

struct child_plan {
	const char *id, *bundle;
	const Grpc__Spec *spec;
	const Grpc__Process *process;
	const struct seccomp_filter *seccomp;
	bool exec; /* into a running container */
	int sync_fd;
	int stdio[3]; /* -1: a terminal is made */
	struct {
		int flag, fd;   /* CLONE_NEW* */
	} join[CHILD_JOIN_MAX]; /* in this order */
	size_t n_join;
	int late_cgroup_ns_fd; /* joined by the process itself, after it was born into the cgroup; -1: none */
	int init_pidfd;        /* exec: join init_flags of it; -1 */
	int init_flags;
	int new_flags;           /* CLONE_NEW* to create */
	int cgroup_fd;           /* -1: none */
	const char *cgroup_path; /* in the file system; NULL */
};

/* In the forked stage; never returns. */
void child_stage(const struct child_plan *plan) __attribute__((noreturn));

/* The agent's side. One message; *ret_fd: a descriptor that came along, or -1. -ENODATA at end of file, -EAGAIN: none.
 */
int child_receive(int sync_fd, struct child_message *ret, int *ret_fd);
/* "Go on". 0 or -errno. */
int child_go_on(int sync_fd);
