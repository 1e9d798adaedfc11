/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runtime options: what containerd's configuration and clients give a runtime beside the bundle, as an Any in the
 * Create request and on the stdin of `start`, there since containerd 2.3 inside a BootstrapParams message. Three types
 * are known: runtimeoptions.v1.Options (CRI, `ctr --runtime-config-path`), the same of older containerds as
 * cri.runtimeoptions.v1.Options, and containerd.runc.v1.Options, which clients send to whatever runtime there is; of
 * the last nothing concerns a VM, so it is read and passed over.
 */
#pragma once

#include <stddef.h>

#include "base/err.h"
#include "proto/any.pb-c.h"

struct task_options {
	char *config_path; /* the configuration file; NULL: none given */
	char *config_body; /* or the text itself; NULL: none given */
};

/* any NULL or without a type: no options. -EINVAL: a type that is not known, or bytes that are no such message. */
int task_options_parse(const Google__Protobuf__Any *any, struct task_options *ret, struct err *e);
/* The same for what comes on stdin, a packed BootstrapParams or Any; none for no bytes. */
int task_options_read(const void *data, size_t n, struct task_options *ret, struct err *e);
void task_options_fini(struct task_options *o);
#define _cleanup_task_options_ __attribute__((cleanup(task_options_fini)))
