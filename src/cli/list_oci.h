/* SPDX-License-Identifier: Apache-2.0 */
/* Containers of OCI clients in listings. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/strv.h"
#include "pod/state.h"

/*
 * Describe one as `caisson run`'s are. *ret_status: a constant. -ENOENT: it is none of an OCI client. command: the
 * bundle.
 */
int list_oci_describe(const char *root, const char *id, struct pod_state *ret, const char **ret_status, struct err *e);
/* Print all containers (ids) as `runc list --format` does. */
int list_as_runc(const char *root, const struct strv *ids, bool json, struct err *e);
