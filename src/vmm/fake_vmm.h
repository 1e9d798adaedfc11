/* SPDX-License-Identifier: Apache-2.0 */
/* Tests only: caisson/vmm.h without a VM. It writes down what it is asked to do, one line for each call. */
#pragma once

#include <stddef.h>

/* What was called since the last time, as lines; the caller frees it. */
char *fake_vmm_calls(void);

/* The next call of this function fails with this errno (positive) and the text "FUNCTION is made to fail". */
void fake_vmm_fail(const char *function, int code);

/* What is in the snapshots that are restored from now on; NULL: nothing. Saving one sets it too. */
void fake_vmm_set_note(const char *note);

/* What vmm_stats() tells from now on; borrowed. */
struct vmm_count;
void fake_vmm_set_stats(const struct vmm_count *counts, size_t n);

/* Let the VM of this process end: its exit descriptor becomes readable. */
void fake_vmm_end(void);
