/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The register block behind the ACPI generic event device (ACPI 6.4 §5.6.9): how the machine tells the guest of things
 * that happen, and the contract between this device and the AML of boot/acpi.
 *
 * One MMIO page:
 *   0x000  u8   EVENTS, read: the pending ACPI_EVENT_* bits, which are cleared by the read
 *   0x100  u32  CPU_SELECT, write: which CPU the next register is about
 *   0x104  u8   CPU_FLAGS of the selected CPU, read: ACPI_CPU_*; write: 1 to a pending bit clears it, ACPI_CPU_EJECT
 *               takes the CPU away
 *   0x200  u32  PCI_UP, read: slots that a device was put into, cleared by the read
 *   0x204  u32  PCI_DOWN, read: slots whose device shall go, cleared by the read
 *   0x208  u32  PCI_EJECT, write: the guest let go of the devices in these slots
 */
#pragma once

#include <stdint.h>

#define ACPI_EVENTS_SIZE 0x1000

#define ACPI_EVENTS_PENDING   0x000
#define ACPI_EVENTS_CPU_SEL   0x100
#define ACPI_EVENTS_CPU_FLAGS 0x104
#define ACPI_EVENTS_PCI_UP    0x200
#define ACPI_EVENTS_PCI_DOWN  0x204
#define ACPI_EVENTS_PCI_EJECT 0x208

#define ACPI_EVENT_CPU          0x01
#define ACPI_EVENT_PCI          0x04
#define ACPI_EVENT_POWER_BUTTON 0x08
#define ACPI_EVENT_VMGENID      0x10

#define ACPI_CPU_ENABLED  0x01
#define ACPI_CPU_INSERTED 0x02
#define ACPI_CPU_REMOVE   0x04
#define ACPI_CPU_EJECT    0x08

/*
 * ACPI's hardware-reduced sleep and reset registers (§4.8.3.7, §4.8.3.6) sit in port I/O space: ACPI_SLEEP_PORT takes
 * sleep type 5 with the enable bit, ACPI_RESET_PORT takes ACPI_RESET_VALUE.
 */
#define ACPI_RESET_PORT        0x600
#define ACPI_RESET_VALUE       1
#define ACPI_SLEEP_PORT        0x601 /* control; status is the next port */
#define ACPI_SLEEP_STATUS_PORT 0x602
#define ACPI_SLEEP_TYPE_S5     5
#define ACPI_SLEEP_ENABLE      0x20
#define ACPI_POWER_PORTS       3 /* from ACPI_RESET_PORT */
