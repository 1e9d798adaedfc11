/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sizing of a BAR (§6.2.5.1) needs no code of its own: the guest writes ones, the bits below the size are not writable
 * and stay 0 (or the flags).
 */
#include "pci/config.h"

#include <errno.h>
#include <string.h>

#include "guestmem/le.h"
#include "state/state.h"

#define CAPABILITIES_BEGIN 0x40

uint16_t pci_config_get16(const struct pci_config *c, unsigned offset)
{
	le16 v;

	memcpy(&v, c->data + offset, sizeof v);
	return le16_get(v);
}

uint32_t pci_config_get32(const struct pci_config *c, unsigned offset)
{
	le32 v;

	memcpy(&v, c->data + offset, sizeof v);
	return le32_get(v);
}

void pci_config_set16(struct pci_config *c, unsigned offset, uint16_t value)
{
	le16 v = le16_of(value);

	memcpy(c->data + offset, &v, sizeof v);
}

void pci_config_set32(struct pci_config *c, unsigned offset, uint32_t value)
{
	le32 v = le32_of(value);

	memcpy(c->data + offset, &v, sizeof v);
}

static void allow32(struct pci_config *c, unsigned offset, uint32_t mask)
{
	le32 v = le32_of(mask);

	pci_config_allow(c, offset, &v, sizeof v);
}

/* What both headers have. */
static void init(struct pci_config *c, const struct pci_identity *id)
{
	*c = (struct pci_config){ .cap_link = PCI_CAPABILITY_LIST, .cap_end = CAPABILITIES_BEGIN };
	pci_config_set16(c, PCI_VENDOR_ID, id->vendor);
	pci_config_set16(c, PCI_DEVICE_ID, id->device);
	pci_config_set32(c, PCI_REVISION, id->class << 8 | id->revision);
	allow32(c, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF);
	/* Scratch registers: they mean nothing here, yet firmware and drivers expect to find what they wrote. */
	allow32(c, PCI_CACHE_LINE, 0xff);
	allow32(c, PCI_INTERRUPT_LINE, 0xff);
}

void pci_config_init(struct pci_config *c, const struct pci_identity *id)
{
	init(c, id);
	pci_config_set16(c, PCI_SUBSYSTEM, id->subsystem_vendor);
	pci_config_set16(c, PCI_SUBSYSTEM + 2, id->subsystem);
}

void pci_config_init_bridge(struct pci_config *c, const struct pci_identity *id)
{
	init(c, id);
	c->data[PCI_HEADER_TYPE] = 1;
	allow32(c, PCI_PRIMARY_BUS, 0x00ffffff);
	allow32(c, PCI_MEMORY_BASE, 0xfff0fff0);
	pci_config_set32(c, PCI_PREFETCH_BASE, 0x00010001); /* of 64 bits */
	allow32(c, PCI_PREFETCH_BASE, 0xfff0fff0);
	allow32(c, PCI_PREFETCH_UPPER, UINT32_MAX);
	allow32(c, PCI_PREFETCH_UPPER + 4, UINT32_MAX);
	allow32(c, PCI_INTERRUPT_LINE, PCI_BRIDGE_RESET << 16 | 0xff);
}

int pci_config_add_bar(struct pci_config *c, unsigned bar, uint64_t size, unsigned flags)
{
	unsigned at = PCI_BAR0 + 4 * bar;
	uint64_t mask = ~(size - 1);

	if (bar >= PCI_BARS || size < 16 || (size & (size - 1)) || c->bars[bar].size)
		return -EINVAL;
	if (bar && c->bars[bar - 1].size && (c->bars[bar - 1].flags & PCI_BAR_64))
		return -EINVAL;
	if (flags & PCI_BAR_64) {
		if (bar + 1 == PCI_BARS || c->bars[bar + 1].size)
			return -EINVAL;
		allow32(c, at + 4, (uint32_t)(mask >> 32));
	} else if (size > 1ULL << 31) {
		return -EINVAL;
	}
	c->bars[bar].size = size;
	c->bars[bar].flags = flags;
	pci_config_set32(c, at, flags);
	allow32(c, at, (uint32_t)mask);
	return 0;
}

uint64_t pci_config_bar(const struct pci_config *c, unsigned bar)
{
	uint64_t address = pci_config_get32(c, PCI_BAR0 + 4 * bar) & ~15U;

	if (c->bars[bar].flags & PCI_BAR_64)
		address |= (uint64_t)pci_config_get32(c, PCI_BAR0 + 4 * bar + 4) << 32;
	return address;
}

void pci_config_set_bar(struct pci_config *c, unsigned bar, uint64_t address)
{
	pci_config_set32(c, PCI_BAR0 + 4 * bar, (uint32_t)address | c->bars[bar].flags);
	if (c->bars[bar].flags & PCI_BAR_64)
		pci_config_set32(c, PCI_BAR0 + 4 * bar + 4, (uint32_t)(address >> 32));
}

bool pci_config_memory_enabled(const struct pci_config *c)
{
	return pci_config_get16(c, PCI_COMMAND) & PCI_COMMAND_MEMORY;
}

bool pci_config_master_enabled(const struct pci_config *c)
{
	return pci_config_get16(c, PCI_COMMAND) & PCI_COMMAND_MASTER;
}

int pci_config_add_capability(struct pci_config *c, uint8_t id, const void *body, size_t len)
{
	uint16_t at = c->cap_end;

	if (len > PCI_CONFIG_SIZE || at + 2 + len > PCI_CONFIG_SIZE)
		return -ENOSPC;
	c->data[c->cap_link] = (uint8_t)at;
	c->data[at] = id;
	memcpy(c->data + at + 2, body, len);
	c->cap_link = (uint8_t)(at + 1);
	c->cap_end = (uint16_t)((at + 2 + len + 3) & ~3U); /* §6.7: aligned */
	pci_config_set16(c, PCI_STATUS, pci_config_get16(c, PCI_STATUS) | PCI_STATUS_CAPABILITIES);
	return at;
}

void pci_config_allow(struct pci_config *c, unsigned offset, const void *mask, size_t len)
{
	memcpy(c->writable + offset, mask, len);
}

void pci_config_read(const struct pci_config *c, uint32_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
	if (offset < PCI_CONFIG_SIZE)
		memcpy(data, c->data + offset, len < PCI_CONFIG_SIZE - offset ? len : PCI_CONFIG_SIZE - offset);
}

static void set_writable(struct pci_config *c, unsigned at, uint8_t value)
{
	c->data[at] = (uint8_t)((c->data[at] & ~c->writable[at]) | (value & c->writable[at]));
}

void pci_config_write(struct pci_config *c, uint32_t offset, const void *data, uint32_t len)
{
	for (uint32_t i = 0; i < len && offset < PCI_CONFIG_SIZE && i < PCI_CONFIG_SIZE - offset; i++)
		set_writable(c, offset + i, ((const uint8_t *)data)[i]);
}

void pci_config_save(const struct pci_config *c, struct state *s)
{
	state_put_bytes(s, "config", c->data, sizeof c->data);
}

int pci_config_load(struct pci_config *c, const struct state *s, struct err *e)
{
	struct pci_config saved;
	int r = state_get_bytes(s, "config", saved.data, sizeof saved.data, e);

	if (r < 0)
		return r;
	if (pci_config_get32(&saved, PCI_VENDOR_ID) != pci_config_get32(c, PCI_VENDOR_ID))
		return err_set(e, ERR_CONFIG, EINVAL, "a function %04x:%04x was saved, this one is %04x:%04x",
			       pci_config_get16(&saved, PCI_VENDOR_ID), pci_config_get16(&saved, PCI_DEVICE_ID),
			       pci_config_get16(c, PCI_VENDOR_ID), pci_config_get16(c, PCI_DEVICE_ID));
	for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
		set_writable(c, i, saved.data[i]);
	return 0;
}
