/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes what it likes into the configuration spaces of root ports and of what is behind them, while the
 * host plugs and asks: 8-byte steps. A function answers while its slot has power and a link, it goes only when it was
 * asked to, and no BAR is outside of the windows.
 */
#include "base/log.h"
#include "pci/fake_machine.h"

#define PORTS  2
#define PORT   (PCI_SLOTS - PORTS)
#define LNKSTA 0x12
#define SLTCTL 0x18
#define SLTSTA 0x1a

#define ACTIVE    0x2000
#define PRESENT   0x0040
#define POWER_OFF 0x0400

struct card {
	struct pci_function f;
	uint64_t at; /* 0: not mapped */
};

struct machine {
	struct fake_machine x;
	unsigned cap;
	uint32_t asked; /* bit n: for what is behind port n */
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void bar_mapped(struct pci_function *f, unsigned bar, uint64_t address)
{
	((struct card *)(void *)f)->at = address;
}

static void bar_unmapped(struct pci_function *f, unsigned bar, uint64_t address)
{
	((struct card *)(void *)f)->at = 0;
}

static void card_free(struct pci_function *f)
{
	free(f);
}

static void plug(struct machine *m)
{
	static const struct pci_identity id = { .vendor = 0x1234, .device = 0x5678, .class = 0xff0000 };
	static const struct pci_function_ops ops = { .bar_mapped = bar_mapped,
						     .bar_unmapped = bar_unmapped,
						     .free = card_free };
	struct card *c = calloc(1, sizeof *c);

	if (!c)
		abort();
	c->f.ops = &ops;
	c->f.loop = m->x.loop;
	pci_config_init(&c->f.config, &id);
	if (pci_config_add_bar(&c->f.config, 0, 0x1000, 0) < 0)
		abort();
	if (pci_bus_add(m->x.pci, &c->f, -1, NULL) < 0)
		pci_function_free(&c->f);
}

static void on_gone(void *userdata, unsigned slot)
{
	struct machine *m = userdata;

	if (slot < PCI_SLOTS || !(m->asked & 1U << (slot - PCI_SLOTS)))
		abort();
	m->asked &= ~(1U << (slot - PCI_SLOTS));
}

static void ask(struct machine *m, unsigned n)
{
	m->asked |= 1U << n;
	if (pci_bus_request_removal(m->x.pci, PCI_SLOTS + n) < 0)
		m->asked &= ~(1U << n);
}

static void check(struct machine *m, unsigned n)
{
	struct pci_function *f = pci_bus_function(m->x.pci, PCI_SLOTS + n);
	unsigned control = fake_config_read(&m->x, PORT + n, m->cap + SLTCTL, 2),
		 status = fake_config_read(&m->x, PORT + n, m->cap + SLTSTA, 2),
		 link = fake_config_read(&m->x, PORT + n, m->cap + LNKSTA, 2);
	uint64_t at = f ? ((struct card *)(void *)f)->at : 0;

	if (fake_config_read(&m->x, PORT + n, 0, 4) != 0x000c1b36 || !f != !(status & PRESENT))
		abort();
	if ((link & ACTIVE) && (!f || (control & POWER_OFF)))
		abort();
	if (f && !(link & ACTIVE) && pci_config_memory_enabled(&f->config))
		abort();
	if (at && (at < FAKE_WIN32 || at > FAKE_WIN32 + FAKE_WIN32_SZ - 0x1000))
		abort();
}

static void step(struct machine *m, const uint8_t *op)
{
	unsigned n = op[1] % PORTS, len = 1U << op[3] / 64, offset = op[2] | (op[3] & 15U) << 8;
	uint64_t behind = FAKE_ECAM + (1 + op[1] / 2 % PORTS) * PCI_ECAM_SIZE;
	uint32_t value;

	memcpy(&value, op + 4, sizeof value);
	switch (op[0] % 8) {
	case 0:
		fake_config_write(&m->x, PORT + n, offset, value, len);
		break;
	case 1: /* the registers of the slot */
		fake_config_write(&m->x, PORT + n, m->cap + (op[2] & 0x3c), value, 4);
		break;
	case 2:
		fake_config_write(&m->x, PORT + n, PCI_SECONDARY_BUS, value % 4, 1);
		break;
	case 3:
		fake_guest_write(&m->x.platform, m->x.mmio, behind + offset, value, len);
		break;
	case 4:
		fake_guest_write(&m->x.platform, m->x.mmio, behind + PCI_BAR0,
				 (uint32_t)FAKE_WIN32 + (value & 0x1fffff), 4);
		fake_guest_write(&m->x.platform, m->x.mmio, behind + PCI_COMMAND, value >> 24, 2);
		break;
	case 5:
		fake_guest_write(&m->x.platform, m->x.mmio, FAKE_WIN32 + (value & 0x1fff), value >> 16, len);
		fake_guest_read(m->x.mmio, FAKE_WIN32 + (value & 0x1fff), len);
		break;
	case 6:
		plug(m);
		break;
	case 7:
		ask(m, n);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct pci_hotplug_ops hotplug = { .gone = on_gone };
	struct machine m = { 0 };

	log_set_level(LOG_LEVEL_ERROR);
	fake_machine_init(&m.x);
	pci_bus_free(m.x.pci);
	fake_machine_add_bus_with_ports(&m.x, PORTS);
	pci_bus_set_hotplug(m.x.pci, &hotplug, &m);
	m.cap = fake_find_capability(&m.x, PORT, 0, PCI_CAP_EXPRESS);
	for (size_t i = 0; i + 8 <= size && i < 8 * 256; i += 8) {
		step(&m, data + i);
		for (unsigned n = 0; n < PORTS; n++)
			check(&m, n);
	}
	fake_machine_fini(&m.x);
	return 0;
}
