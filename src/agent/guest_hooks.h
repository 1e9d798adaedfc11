/* SPDX-License-Identifier: Apache-2.0 */
/* Hooks that the guest image brings: the programs in DIR/prestart, DIR/poststart and DIR/poststop run for each
 * container. */
#pragma once

#include "base/err.h"
#include "proto/oci.pb-c.h"

/* Append those of dir to the spec's hooks, in the order of their names. No such folder: none. -EINVAL, -ENOMEM, -E2BIG.
 */
int guest_hooks_add(Grpc__Spec *spec, const char *dir, struct err *e);
