/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of the built-in VMM. For registry.c only. */
#pragma once

#include "hypervisor/driver.h"

#ifdef __aarch64__
#define BUILTIN_ARCH    "aarch64"
#define BUILTIN_HOTPLUG false /* of vCPUs and PCI devices: that machine has no ACPI */
#else
#define BUILTIN_ARCH    "x86_64"
#define BUILTIN_HOTPLUG true
#endif
#define BUILTIN_CONSOLE "console=ttyS0" /* a 16550A on both */

extern const struct hypervisor_driver builtin_driver;
