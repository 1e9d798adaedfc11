/* SPDX-License-Identifier: Apache-2.0 */
/* The spec's seccomp profile as a program for the kernel: compiled once per container, loaded by each of its processes.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "proto/oci.pb-c.h"

struct seccomp_filter {
	void *program; /* struct sock_filter array; NULL: no filter */
	size_t size;   /* bytes */
	unsigned flags;
};

/*
 * Compile. System calls that the kernel headers do not know are skipped (a profile may be newer than we), unknown
 * actions, operators, flags and architectures are errors. profile may be NULL.
 */
int seccomp_compile(const Grpc__LinuxSeccomp *profile, struct seccomp_filter *ret, struct err *e);
void seccomp_filter_fini(struct seccomp_filter *f);
