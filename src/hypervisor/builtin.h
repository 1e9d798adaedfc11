/* SPDX-License-Identifier: Apache-2.0 */
/* The driver of the built-in VMM. For registry.c only. */
#pragma once

#include "hypervisor/driver.h"

#ifdef __aarch64__
#define BUILTIN_ARCH        "aarch64"
#define BUILTIN_CPU_HOTPLUG false /* Linux needs ACPI for that, and KVM takes none once its GIC runs */
#else
#define BUILTIN_ARCH        "x86_64"
#define BUILTIN_CPU_HOTPLUG true
#endif
#define BUILTIN_CONSOLE "console=ttyS0" /* a 16550A on both */

extern const struct hypervisor_driver builtin_driver;
