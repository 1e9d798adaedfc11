/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BAR is on the memory bus while the command register says so and its address lies in one of the bus's windows: a
 * guest that moves it elsewhere (over RAM, over the interrupt controller), or on top of another, loses sight of it.
 */
#include "pci/function.h"

#include <string.h>

#include "base/log.h"
#include "state/state.h"

static unsigned bar_index(const struct pci_bar_place *b)
{
	return (unsigned)(b - b->function->bars);
}

static void on_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct pci_bar_place *b = device;

	memset(data, 0, len);
	if (b->function->ops->bar_read)
		b->function->ops->bar_read(b->function, bar_index(b), offset, data, len);
}

static void on_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct pci_bar_place *b = device;

	if (b->function->ops->bar_write)
		b->function->ops->bar_write(b->function, bar_index(b), offset, data, len);
}

static const struct bus_handler handler = { on_read, on_write };

static void unmap(struct pci_bar_place *b)
{
	struct pci_function *f = b->function;

	if (!b->mapped)
		return;
	b->mapped = false;
	if (f->ops->bar_unmapped)
		f->ops->bar_unmapped(f, bar_index(b), b->address);
	bus_remove(f->mmio, b->address);
}

static void map(struct pci_bar_place *b, uint64_t address)
{
	struct pci_function *f = b->function;
	unsigned bar = bar_index(b);
	int r = bus_add(f->mmio, address, f->config.bars[bar].size, &handler, b, f->loop);

	if (r < 0) {
		log_debug("PCI slot %u: the guest puts BAR %u where it cannot be, at %#llx: errno %d", f->slot, bar,
			  (unsigned long long)address, -r);
		return;
	}
	b->mapped = true;
	b->address = address;
	if (f->ops->bar_mapped)
		f->ops->bar_mapped(f, bar, address);
}

static bool may_be_at(const struct pci_function *f, uint64_t address, uint64_t size)
{
	return pci_window_holds(f->windows[0], address, size) || pci_window_holds(f->windows[1], address, size);
}

/* Let the memory bus agree with the registers. */
static void update_bars(struct pci_function *f)
{
	bool on = f->mmio && pci_config_memory_enabled(&f->config);

	for (unsigned i = 0; i < PCI_BARS; i++) {
		uint64_t address, size = f->config.bars[i].size;
		bool want;

		if (!size)
			continue;
		f->bars[i].function = f;
		address = pci_config_bar(&f->config, i);
		want = on && may_be_at(f, address, size);
		if (f->bars[i].mapped && (!want || f->bars[i].address != address))
			unmap(&f->bars[i]);
		if (want && !f->bars[i].mapped)
			map(&f->bars[i], address);
	}
}

void pci_function_config_read(struct pci_function *f, uint32_t offset, void *data, uint32_t len)
{
	pci_config_read(&f->config, offset, data, len);
	if (f->ops->config_read)
		f->ops->config_read(f, offset, data, len);
}

void pci_function_config_write(struct pci_function *f, uint32_t offset, const void *data, uint32_t len)
{
	pci_config_write(&f->config, offset, data, len);
	if (offset < PCI_BAR0 + 4 * PCI_BARS)
		update_bars(f);
	if (f->ops->config_written)
		f->ops->config_written(f, offset, data, len);
}

void pci_function_reset(struct pci_function *f)
{
	pci_config_set16(&f->config, PCI_COMMAND, 0);
	for (unsigned i = 0; i < PCI_BARS; i++)
		if (f->config.bars[i].size)
			pci_config_set_bar(&f->config, i, f->bars[i].given);
	update_bars(f);
	if (f->ops->reset)
		f->ops->reset(f);
}

void pci_function_unmap(struct pci_function *f)
{
	for (unsigned i = 0; i < PCI_BARS; i++)
		unmap(&f->bars[i]);
}

void pci_function_save(struct pci_function *f, struct state *s)
{
	pci_config_save(&f->config, s);
	if (f->ops->save)
		f->ops->save(f, s);
}

int pci_function_load(struct pci_function *f, const struct state *s, struct err *e)
{
	int r = pci_config_load(&f->config, s, e);

	if (r < 0)
		return r;
	update_bars(f);
	return f->ops->load ? f->ops->load(f, s, e) : 0;
}

void pci_function_free(struct pci_function *f)
{
	if (!f)
		return;
	pci_function_unmap(f);
	f->ops->free(f);
}
