/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a spec must have before anything is made of it: the rest of the container code relies on it (process.args is
 * not empty, root and linux are there, each namespace is known and named once). -EINVAL with a message; -EOPNOTSUPP for
 * what would have to confine a process and cannot.
 */
#pragma once

#include "base/err.h"
#include "proto/oci.pb-c.h"

int spec_check(const Grpc__Spec *spec, struct err *e);
/* A process alone, as exec has it. May be NULL, which is refused. */
int spec_check_process(const Grpc__Process *p, struct err *e);
