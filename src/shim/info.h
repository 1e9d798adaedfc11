/* SPDX-License-Identifier: Apache-2.0 */
/* -info: what containerd (2.0) asks a runtime about itself: options on stdin, a RuntimeInfo on stdout. */
#pragma once

#include "base/err.h"

int shim_info(struct err *e);
