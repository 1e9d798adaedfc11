/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Building a VM on a command line in QEMU's dialect: options, slots, names. For every driver whose VMM speaks it (QEMU,
 * StratoVirt).
 */
#pragma once

#include <stdint.h>

#include "base/strv.h"
#include "hypervisor/driver.h"

#define SLOTS_MAX 32

/* "OPTION" and its value, formatted, as two arguments; errors stick in *r, and nothing is done once there is one. */
void option_add(struct strv *args, int *r, const char *option, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* All of more; errors stick in *r. */
void option_add_all(struct strv *args, const struct strv *more, int *r);

/* Take the lowest free slot >= first of a map of 32 (the last one is never given away); -ENOSPC. */
int slot_take(uint32_t *map, unsigned first);

/* Choose a MAC from the ids when it is "". */
void net_choose_mac(const struct vm_config *c, const char *id, struct vm_net *net);

/* Is the id of a device as driver.h says? */
int device_check_id(const struct vm_device *d, struct err *e);
/* Is the tag of a shared directory one that its device can carry? */
int device_check_tag(const struct vm_device *d, struct err *e);
/* Is the serial number of a disk one that its device can carry? */
int device_check_serial(const struct vm_device *d, struct err *e);
