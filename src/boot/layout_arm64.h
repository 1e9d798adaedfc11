/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are in the guest-physical address space of the built-in VMM, arm64. */
#pragma once

/* Below 1 GiB: devices. The redistributors grow with the number of CPUs. */
#define ARM64_GIC_DIST        0x08000000ULL
#define ARM64_GIC_DIST_SIZE   0x10000ULL
#define ARM64_GIC_ITS         0x08080000ULL
#define ARM64_GIC_ITS_SIZE    0x20000ULL
#define ARM64_GIC_REDIST      0x080a0000ULL
#define ARM64_GIC_REDIST_SIZE 0x20000ULL /* of one CPU */
#define ARM64_SERIAL          0x09000000ULL
#define ARM64_RTC             0x09010000ULL
#define ARM64_BOOT_TIMER      0x09020000ULL /* if there is one */
#define ARM64_GPIO            0x09030000ULL
#define ARM64_PVPANIC         0x09040000ULL
#define ARM64_DEVICE_SIZE     0x1000ULL
#define ARM64_VIRTIO_MMIO     0x0a000000ULL /* windows of 0x1000 each, upward */
#define ARM64_PCI_MMIO32      0x10000000ULL
#define ARM64_PCI_MMIO32_END  0x3f000000ULL
#define ARM64_ECAM            0x3f000000ULL
#define ARM64_ECAM_SIZE       0x900000ULL /* 1 MiB for each bus: the root's, and those behind 8 ports */

/* RAM: the device tree; the generation id, which the kernel leaves alone; the kernel 2 MiB up; the initrd at the end.
 */
#define ARM64_RAM          0x40000000ULL
#define ARM64_FDT          ARM64_RAM
#define ARM64_FDT_MAX      0x1f0000ULL
#define ARM64_VMGENID      (ARM64_FDT + ARM64_FDT_MAX)
#define ARM64_VMGENID_SIZE 0x10000ULL /* the largest page */

/* Interrupts as the GIC numbers them (INTID): PPIs from 16, SPIs from 32. KVM's line number (GSI) of an SPI is 32 less.
 */
#define ARM64_PPI_TIMER_SECURE  29
#define ARM64_PPI_TIMER         30
#define ARM64_PPI_TIMER_VIRTUAL 27
#define ARM64_PPI_TIMER_HYP     26
#define ARM64_SPI_FIRST         32
#define ARM64_SPI_SERIAL        33
#define ARM64_SPI_RTC           34
#define ARM64_SPI_VMGENID       35
#define ARM64_SPI_GPIO          36
#define ARM64_SPI_VIRTIO        48 /* to ARM64_SPI_MAX */
#define ARM64_SPI_MAX           159
