/* SPDX-License-Identifier: Apache-2.0 */
/* The function in slot 0 that stands for the way to the processor; it has no registers of its own. */
#pragma once

#include "pci/function.h"

int pci_host_bridge_new(struct loop *loop, struct pci_function **ret);
