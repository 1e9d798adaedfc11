/* SPDX-License-Identifier: Apache-2.0 */
/* Where things are in the guest-physical address space of the built-in VMM, x86_64. */
#pragma once

#define X86_GDT         0x500  /* null, null, code, data, task: see X86_BOOT_CS */
#define X86_IDT         0x540  /* a null gate */
#define X86_PVH_INFO    0x6000 /* hvm_start_info; its module list follows */
#define X86_ZERO_PAGE   0x7000 /* Linux boot_params, or PVH's memory map */
#define X86_BOOT_STACK  0x8ff0
#define X86_PML4        0x9000
#define X86_PDPT        0xa000
#define X86_PD          0xb000 /* four pages: identity map of the first 4 GiB by 2 MiB pages */
#define X86_CMDLINE     0x20000
#define X86_CMDLINE_MAX 0x1000  /* with the NUL */
#define X86_EBDA        0x9fc00 /* end of low RAM */
#define X86_ACPI        0xa0000 /* RSDP first, then the tables; reserved */
#define X86_ACPI_END    0xfe000
#define X86_VMGENID     0xfe000 /* a page */
#define X86_RESET       0xffff0 /* 16 bytes: where a PC starts in real mode, f000:fff0 */
#define X86_HIGH_RAM    0x100000

/*
 * Selectors of the GDT that boot_load_x86() writes: flat code (64-bit for BOOT_LINUX64, 32-bit for BOOT_PVH), flat
 * data, and a task state segment. The first two have the values of Linux's __BOOT_CS and __BOOT_DS. The page tables are
 * there for BOOT_LINUX64; PVH starts without paging.
 */
#define X86_BOOT_CS       0x10
#define X86_BOOT_DS       0x18
#define X86_BOOT_TSS      0x20
#define X86_BOOT_GDT_SIZE 0x28

#define X86_RAM_LOW_END    0xc0000000ULL /* RAM goes on at 4 GiB */
#define X86_BOOT_TIMER     0xc0000000ULL /* a page, if there is one */
#define X86_VIRTIO_MMIO    0xc0001000ULL /* windows of 0x1000 each, upward */
#define X86_ACPI_EVENTS    0xc0200000ULL /* hw/acpi_events.h */
#define X86_PCI_MMIO32     0xc1000000ULL
#define X86_PCI_MMIO32_END 0xe8000000ULL
#define X86_ECAM           0xe8000000ULL /* bus 0 only: 1 MiB */
#define X86_ECAM_SIZE      0x100000ULL
#define X86_IOAPIC         0xfec00000ULL
#define X86_KVM_IDENTITY   0xfeffc000ULL
#define X86_KVM_TSS        0xfeffd000ULL
#define X86_LAPIC          0xfee00000ULL
#define X86_RAM_HIGH       0x100000000ULL
/* Above RAM, rounded up to 1 GiB: pmem and virtio-mem regions, then the window of 64-bit BARs. */

#define X86_GSI_KEYBOARD    1
#define X86_GSI_SERIAL      4
#define X86_GSI_ACPI_EVENTS 5
#define X86_GSI_VIRTIO      6 /* to X86_GSI_MAX; the RTC's 8 is left out, see the machine */
#define X86_GSI_MAX         23
#define X86_GSI_MSI         24 /* message routes from here */
