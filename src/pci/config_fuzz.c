/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes what it likes into the configuration spaces of three functions, by memory and by ports, and
 * ejects slots: 8-byte steps. What is read-only stays, a BAR is where its registers say or nowhere, and a function that
 * comes finds its places free.
 */
#include "base/log.h"
#include "pci/fake_machine.h"

#define SLOTS 4

struct probe {
	struct pci_function f;
	uint64_t at[PCI_BARS]; /* 0: not mapped */
};

static struct probe *probe(struct pci_function *f)
{
	return (struct probe *)(void *)f;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void bar_read(struct pci_function *f, unsigned bar, uint64_t offset, void *data, uint32_t len)
{
	if (offset >= f->config.bars[bar].size || len > f->config.bars[bar].size - offset)
		abort();
	memset(data, (int)(f->slot << 4 | bar), len);
}

static void bar_mapped(struct pci_function *f, unsigned bar, uint64_t address)
{
	if (probe(f)->at[bar])
		abort();
	probe(f)->at[bar] = address;
}

static void bar_unmapped(struct pci_function *f, unsigned bar, uint64_t address)
{
	if (probe(f)->at[bar] != address)
		abort();
	probe(f)->at[bar] = 0;
}

static void probe_free(struct pci_function *f)
{
	free(f);
}

static void add_probe(struct fake_machine *x, unsigned slot)
{
	static const struct pci_identity id = { .vendor = 0x1234, .device = 0x5678, .class = 0xff0000 };
	static const struct pci_function_ops ops = {
		.bar_read = bar_read,
		.bar_mapped = bar_mapped,
		.bar_unmapped = bar_unmapped,
		.free = probe_free,
	};
	struct probe *p = calloc(1, sizeof *p);

	if (!p)
		abort();
	p->f.ops = &ops;
	p->f.loop = x->loop;
	pci_config_init(&p->f.config, &id);
	if (pci_config_add_bar(&p->f.config, 0, 16U << slot, 0) < 0 ||
	    pci_config_add_bar(&p->f.config, 2, 0x1000U << slot, PCI_BAR_64) < 0 ||
	    pci_config_add_bar(&p->f.config, 5, 0x1000, PCI_BAR_PREFETCH) < 0 ||
	    pci_bus_add(x->pci, &p->f, (int)slot, NULL) != (int)slot)
		abort();
}

static void check(struct fake_machine *x, unsigned slot)
{
	struct pci_function *f = pci_bus_function(x->pci, slot);

	if (fake_config_read(x, slot, 0, 4) != 0x56781234 || fake_config_read(x, slot, 0x100, 4) ||
	    (fake_config_read(x, slot, PCI_BAR0 + 20, 4) & 15) != PCI_BAR_PREFETCH)
		abort();
	for (unsigned i = 0; i < PCI_BARS; i++) {
		uint64_t at = probe(f)->at[i];

		if (!at)
			continue;
		if (!pci_config_memory_enabled(&f->config) || at != pci_config_bar(&f->config, i) ||
		    fake_guest_read(x->mmio, at, 1) != (slot << 4 | i))
			abort();
		if (at >= FAKE_WIN32 + FAKE_WIN32_SZ && at < FAKE_WIN64)
			abort();
	}
}

/* Nobody is in the places of a function that has just come. */
static void check_places(struct fake_machine *x, unsigned slot)
{
	struct pci_function *f = pci_bus_function(x->pci, slot);

	fake_config_write(x, slot, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (f->config.bars[i].size && !probe(f)->at[i])
			abort();
}

static void step(struct fake_machine *x, const uint8_t *op)
{
	unsigned slot = op[1] % SLOTS, reg = op[2] | (op[3] & 15U) << 8;
	uint32_t value, address;

	memcpy(&value, op + 4, sizeof value);
	switch (op[0] % 8) {
	case 0:
		fake_config_write(x, slot, reg, value, 1U << op[3] / 64);
		break;
	case 1: /* somewhere in the windows */
		fake_config_write(x, slot, PCI_BAR0 + op[2] % 6U * 4,
				  op[3] & 1   ? (uint32_t)FAKE_WIN32 + (value & 0x1fffff)
				  : op[3] & 2 ? 0x40
					      : value,
				  4);
		break;
	case 2:
		fake_config_write(x, slot, PCI_COMMAND, value, 2);
		break;
	case 3:
		fake_config_read(x, slot, reg, 1U << op[3] / 64);
		break;
	case 4:
		address = htole32(0x80000000 | slot << 11 | (uint32_t)op[2]);
		bus_write(x->pio, PCI_PORTS, &address, 4);
		bus_write(x->pio, PCI_PORTS + op[3] % 8, &value, 1U << op[3] / 64);
		break;
	case 5:
		fake_guest_read(x->pio, PCI_PORTS + op[3] % 8, 1U << op[3] / 64);
		fake_guest_read(x->mmio, FAKE_WIN32 + (value & 0xfffff), 1U << op[3] / 64);
		break;
	case 6:
		pci_bus_ejected(x->pci, op[1]);
		break;
	case 7:
		if (slot) {
			pci_bus_remove(x->pci, slot);
			add_probe(x, slot);
			check_places(x, slot);
		}
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fake_machine x;

	log_set_level(LOG_LEVEL_ERROR);
	fake_machine_init(&x);
	for (unsigned slot = 1; slot < SLOTS; slot++)
		add_probe(&x, slot);
	for (size_t i = 0; i + 8 <= size && i < 8 * 256; i += 8) {
		step(&x, data + i);
		for (unsigned slot = 1; slot < SLOTS; slot++)
			check(&x, slot);
	}
	fake_machine_fini(&x);
	return 0;
}
