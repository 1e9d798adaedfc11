/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Overlays among the mounts of a spec (podman's -v FOLDER:/x:O and --mount type=image). Their layers are folders of the
 * host: they are mounted here, and the guest gets what they show, as it gets bind mounts.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/strv.h"
#include "proto/oci.pb-c.h"

bool overlay_is(const Grpc__Mount *m);
/* Add the folders of its layers to ret. 0 or -ENOMEM. */
int overlay_layers(const Grpc__Mount *m, struct strv *ret);

/*
 * Mount those of the spec at PREFIX-I, I being the mount's number, and add these places to mounted. The calling
 * process's mount namespace should be its own.
 */
int overlays_mount(const Grpc__Spec *spec, const char *prefix, struct strv *mounted, struct err *e);
/* Also after a failure. */
void overlays_unmount(struct strv *mounted);
/* A copy of that spec has bind mounts of these places. 0 or -ENOMEM. */
int overlays_as_binds(Grpc__Spec *spec, const char *prefix);
