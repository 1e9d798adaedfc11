/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The configuration space of a function (PCI 3.0 §6): type 0 header, or type 1 of a bridge, base address registers,
 * capability list. What the guest may write is a bit mask beside the bytes; everything else is as it was made.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define PCI_CONFIG_SIZE 256
#define PCI_BARS        6

#define PCI_VENDOR_ID       0x00
#define PCI_DEVICE_ID       0x02
#define PCI_COMMAND         0x04
#define PCI_STATUS          0x06
#define PCI_REVISION        0x08
#define PCI_CLASS           0x09
#define PCI_CACHE_LINE      0x0c
#define PCI_HEADER_TYPE     0x0e
#define PCI_BAR0            0x10
#define PCI_SUBSYSTEM       0x2c
#define PCI_CAPABILITY_LIST 0x34
#define PCI_INTERRUPT_LINE  0x3c

/* Of a bridge's header (PCI-to-PCI Bridge Architecture 1.2 §3.2.5). */
#define PCI_PRIMARY_BUS     0x18
#define PCI_SECONDARY_BUS   0x19
#define PCI_SUBORDINATE_BUS 0x1a
#define PCI_MEMORY_BASE     0x20
#define PCI_PREFETCH_BASE   0x24
#define PCI_PREFETCH_UPPER  0x28
#define PCI_BRIDGE_CONTROL  0x3e

#define PCI_BRIDGE_RESET 0x0040 /* of the secondary bus */

#define PCI_COMMAND_MEMORY      0x0002
#define PCI_COMMAND_MASTER      0x0004
#define PCI_COMMAND_INTX_OFF    0x0400
#define PCI_STATUS_CAPABILITIES 0x0010

#define PCI_CAP_VENDOR  0x09
#define PCI_CAP_EXPRESS 0x10
#define PCI_CAP_MSIX    0x11

/* Memory BARs; there are no others. */
#define PCI_BAR_64       4U /* takes the next BAR's place too */
#define PCI_BAR_PREFETCH 8U

struct state;

struct pci_identity {
	uint16_t vendor, device, subsystem_vendor, subsystem;
	uint32_t class; /* 24 bits: class, subclass, programming interface */
	uint8_t revision;
};

struct pci_config {
	uint8_t data[PCI_CONFIG_SIZE];
	uint8_t writable[PCI_CONFIG_SIZE]; /* bits that the guest may change */
	struct {
		uint64_t size; /* 0: none */
		unsigned flags;
	} bars[PCI_BARS];
	uint8_t cap_link; /* where the next capability's offset goes */
	uint16_t cap_end; /* first free byte for capabilities */
};

void pci_config_init(struct pci_config *c, const struct pci_identity *id);
/* With the header of a bridge, which has BARs 0 and 1 only, no subsystem, and no window of ports. */
void pci_config_init_bridge(struct pci_config *c, const struct pci_identity *id);

/* size: a power of two, 16 at least. -EINVAL: not so, or there is no such place. */
int pci_config_add_bar(struct pci_config *c, unsigned bar, uint64_t size, unsigned flags);
/* The address that the register holds now. */
uint64_t pci_config_bar(const struct pci_config *c, unsigned bar);
void pci_config_set_bar(struct pci_config *c, unsigned bar, uint64_t address);
/* Does the function answer at its BARs' addresses? */
bool pci_config_memory_enabled(const struct pci_config *c);
/* May it read and write memory by itself, and send messages? */
bool pci_config_master_enabled(const struct pci_config *c);

/* body: what follows the id and the link. Returns the capability's offset, or -ENOSPC. */
int pci_config_add_capability(struct pci_config *c, uint8_t id, const void *body, size_t len);
void pci_config_allow(struct pci_config *c, unsigned offset, const void *mask, size_t len);

/* The guest's accesses; beyond the space reads give 0 and writes do nothing. */
void pci_config_read(const struct pci_config *c, uint32_t offset, void *data, uint32_t len);
void pci_config_write(struct pci_config *c, uint32_t offset, const void *data, uint32_t len);

/* For the function itself, read-only fields too. */
uint16_t pci_config_get16(const struct pci_config *c, unsigned offset);
uint32_t pci_config_get32(const struct pci_config *c, unsigned offset);
void pci_config_set16(struct pci_config *c, unsigned offset, uint16_t value);
void pci_config_set32(struct pci_config *c, unsigned offset, uint32_t value);

/* What the guest may write; the rest comes from the function, which must be of the same kind. */
void pci_config_save(const struct pci_config *c, struct state *s);
int pci_config_load(struct pci_config *c, const struct state *s, struct err *e);
