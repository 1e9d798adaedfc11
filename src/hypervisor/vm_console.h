/* SPDX-License-Identifier: Apache-2.0 */
/* The guest's console of a VMM that writes it into a descriptor: a pipe, by which no short write is lost. */
#pragma once

#include "base/err.h"
#include "hypervisor/driver.h"

/* Makes vm->console, with a log in run_dir when the configuration wants one. The VMM's end is the caller's. */
int vm_open_console(struct vm *vm, struct loop *loop, int *ret_write_end, struct err *e);
