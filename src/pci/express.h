/* SPDX-License-Identifier: Apache-2.0 */
/* The PCI Express capability (PCI Express 6.0 §7.5.3): what root ports and the functions behind them have in common. */
#pragma once

#include "pci/config.h"

/* Registers by their distance from the capability's begin. */
#define EXPRESS_LNKCTL 0x10
#define EXPRESS_LNKSTA 0x12
#define EXPRESS_SLTCAP 0x14
#define EXPRESS_SLTCTL 0x18
#define EXPRESS_SLTSTA 0x1a
#define EXPRESS_RTCTL  0x1c

/* Version 2. */
#define EXPRESS_ENDPOINT  0x0002
#define EXPRESS_ROOT_PORT 0x0142 /* with a slot, and interrupt 0 */

/* A link of one lane at its slowest: nothing depends on its speed. Bits of link capabilities besides. */
#define EXPRESS_LINK        0x11
#define EXPRESS_LINK_STATUS 0x00100000 /* tells whether the link is active */

/* Returns its offset, or -ENOSPC. What link control lets be written: power management, without an effect. */
int express_add(struct pci_config *c, uint16_t kind, uint32_t link_capabilities);
