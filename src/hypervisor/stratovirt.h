/* SPDX-License-Identifier: Apache-2.0 */
/* The StratoVirt driver, to be listed in registry.c. */
#pragma once

#include "hypervisor/driver.h"

extern const struct hypervisor_driver stratovirt_driver;
