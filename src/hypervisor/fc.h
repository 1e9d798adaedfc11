/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

#include "hypervisor/driver.h"

/* Firecracker, 1.12 and later, with and without its jailer. */
extern const struct hypervisor_driver firecracker_driver;
