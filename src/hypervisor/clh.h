/* SPDX-License-Identifier: Apache-2.0 */
/* The Cloud Hypervisor driver, to be listed in registry.c. */
#pragma once

#include "hypervisor/driver.h"

extern const struct hypervisor_driver clh_driver;
