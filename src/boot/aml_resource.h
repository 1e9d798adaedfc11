/* SPDX-License-Identifier: Apache-2.0 */
/* Resource descriptors (ACPI 6.4 §6.4), between aml_resources() and aml_end(). */
#pragma once

#include "boot/aml.h"

/* Ports base to base+len-1, decoded by 16 bits. */
void aml_io(struct aml *a, uint16_t base, uint8_t len);
/* A writable memory range: Memory32Fixed, or QWordMemory where that cannot say it. */
void aml_memory(struct aml *a, uint64_t base, uint64_t len);
/* An edge-triggered, active-high interrupt that nobody shares. */
void aml_interrupt(struct aml *a, uint32_t gsi);

/* What a host bridge hands on to the devices behind it; ends are exclusive. */
void aml_bus_window(struct aml *a, uint8_t first, uint8_t last);
void aml_memory_window32(struct aml *a, uint32_t base, uint32_t end);
void aml_memory_window64(struct aml *a, uint64_t base, uint64_t end);
