/* SPDX-License-Identifier: Apache-2.0 */
/* Where a container's root comes from (a folder, an image, a block device), and where its writes go. */
#pragma once

#include "pod/plan.h"

int plan_rootfs(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e);
