/* SPDX-License-Identifier: Apache-2.0 */
/* What this runtime can do, in the form of the OCI runtime spec (features.md). */
#pragma once

#include <stdbool.h>

/* A JSON document; pretty: in lines, for people. Caller frees. NULL: no memory. */
char *oci_features(bool pretty);
