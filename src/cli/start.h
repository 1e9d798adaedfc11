/* SPDX-License-Identifier: Apache-2.0 */
/* Letting a created container run: for `start` and for runc's way of `run`. */
#pragma once

#include "cli/owner_link.h"

int start_container(struct owner_link *l, struct err *e);
