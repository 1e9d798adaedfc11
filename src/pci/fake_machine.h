/* SPDX-License-Identifier: Apache-2.0 */
/* A machine with a PCI bus and nothing else, for tests and fuzzers only, and the guest's accesses to it. */
#pragma once

#include "hw/fake_platform.h"
#include "pci/pci_bus.h"

#define FAKE_RAM      0x40000
#define FAKE_ECAM     0xe8000000ULL
#define FAKE_WIN32    0xc1000000ULL
#define FAKE_WIN32_SZ 0x100000ULL
#define FAKE_WIN64    0x4000000000ULL
#define FAKE_WIN64_SZ 0x100000000ULL

struct fake_machine {
	struct loop *loop;
	struct bus *mmio, *pio;
	struct fake_platform platform;
	struct guestmem *mem;
	uint8_t *ram;
	struct pci_bus *pci;
};

static inline void fake_machine_add_bus_with_ports(struct fake_machine *x, unsigned ports)
{
	const struct pci_bus_config config = {
		.mmio = x->mmio,
		.pio = x->pio,
		.loop = x->loop,
		.ecam = FAKE_ECAM,
		.ports = ports,
		.platform = &x->platform.platform,
		.window32 = FAKE_WIN32,
		.window32_size = FAKE_WIN32_SZ,
		.window64 = FAKE_WIN64,
		.window64_size = FAKE_WIN64_SZ,
	};

	if (pci_bus_new(&config, &x->pci, NULL) < 0)
		abort();
}

static inline void fake_machine_add_bus(struct fake_machine *x)
{
	fake_machine_add_bus_with_ports(x, 0);
}

static inline void fake_machine_init(struct fake_machine *x)
{
	*x = (struct fake_machine){ 0 };
	fake_platform_init(&x->platform);
	x->ram = aligned_alloc(4096, FAKE_RAM);
	if (!x->ram || loop_new(&x->loop, NULL) < 0 || bus_new(&x->mmio) < 0 || bus_new(&x->pio) < 0 ||
	    guestmem_new(&x->mem) < 0 || guestmem_add_buffer(x->mem, 0, FAKE_RAM, x->ram) < 0)
		abort();
	memset(x->ram, 0, FAKE_RAM);
	fake_machine_add_bus(x);
}

static inline void fake_machine_fini(struct fake_machine *x)
{
	pci_bus_free(x->pci);
	if (fake_platform_kicks(&x->platform) || fake_platform_msis(&x->platform))
		abort(); /* something stayed attached */
	bus_free(x->mmio);
	bus_free(x->pio);
	loop_free(x->loop);
	guestmem_free(x->mem);
	free(x->ram);
}

static inline uint64_t fake_ecam(unsigned slot, unsigned reg)
{
	return FAKE_ECAM + slot * 0x8000ULL + reg;
}

static inline uint32_t fake_config_read(struct fake_machine *x, unsigned slot, unsigned reg, uint32_t len)
{
	return (uint32_t)fake_guest_read(x->mmio, fake_ecam(slot, reg), len);
}

static inline void fake_config_write(struct fake_machine *x, unsigned slot, unsigned reg, uint32_t value, uint32_t len)
{
	fake_guest_write(&x->platform, x->mmio, fake_ecam(slot, reg), value, len);
}

/* The first capability with this id behind the one at `from` (0: from the begin); 0: none. */
static inline unsigned fake_find_capability(struct fake_machine *x, unsigned slot, unsigned from, uint8_t id)
{
	unsigned at = fake_config_read(x, slot, from ? from + 1 : PCI_CAPABILITY_LIST, 1);

	for (int i = 0; at && i < 48; i++, at = fake_config_read(x, slot, at + 1, 1))
		if (fake_config_read(x, slot, at, 1) == id)
			return at;
	return 0;
}
