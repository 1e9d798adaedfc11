/* SPDX-License-Identifier: Apache-2.0 */
#include "hw/vmgenid.h"

#include <errno.h>
#include <sys/random.h>

int vmgenid_renew(struct guestmem *mem, gpa_t gpa)
{
	uint8_t id[VMGENID_LEN];

	/* This short, it comes whole. */
	if (getrandom(id, sizeof id, 0) != sizeof id)
		return -EIO;
	return guestmem_write(mem, gpa, id, sizeof id);
}
