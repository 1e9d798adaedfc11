/* SPDX-License-Identifier: Apache-2.0 */
/* Seccomp profile files: OCI's linux.seccomp form, and docker's with archMap and conditions. */
#pragma once

#include <json-c/json.h>

#include "base/err.h"
#include "base/strv.h"

/*
 * Turn a profile into OCI's form. Docker's conditions are decided here: caps (names with CAP_) is what the container
 * will hold; minKernel counts as fulfilled, since the guest's kernel is ours. *ret is a new object in the JSON form of
 * linux.seccomp; it is checked when the spec around it is read.
 */
int oci_seccomp_parse(const char *text, size_t len, const char *origin, const struct strv *caps,
		      struct json_object **ret, struct err *e);
int oci_seccomp_load(const char *path, const struct strv *caps, struct json_object **ret, struct err *e);
