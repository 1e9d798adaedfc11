/* SPDX-License-Identifier: Apache-2.0 */
/* The guest kernel's command line: what is the same for several drivers. */
#pragma once

#include "base/err.h"
#include "base/strv.h"
#include "hypervisor/driver.h"

/* What makes a guest's kernel start faster, and end at once when it panics. None takes a protection away. */
int guest_params_x86(struct strv *p);
int guest_params_any(struct strv *p);
/* SELinux, and how much the kernel says. */
int guest_params_manner(const struct config_hypervisor *hv, struct strv *p);
/* As one line. reserve: bytes that the VMM adds to it by itself. -E2BIG when the kernel would cut it. */
int guest_params_join(const struct strv *p, size_t reserve, struct buf *ret, struct err *e);
