/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The generation id of a VM (Microsoft, "Virtual Machine Generation ID"): 16 random bytes in guest memory that change
 * whenever a snapshot is restored, so that the guest's random numbers do too. ACPI tells the guest where they are.
 */
#pragma once

#include "guestmem/guestmem.h"

#define VMGENID_LEN 16

/* Write a new one at gpa; the caller then raises ACPI_EVENT_VMGENID in a guest that runs. 0 or -errno. */
int vmgenid_renew(struct guestmem *mem, gpa_t gpa);
