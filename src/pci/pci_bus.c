/* SPDX-License-Identifier: Apache-2.0 */
/* Slots, and the two ways to their configuration spaces. */
#include "pci/pci_bus.h"

#include <errno.h>
#include <string.h>

#include "guestmem/le.h"
#include "pci/host_bridge.h"
#include "pci/root_port.h"
#include "state/state.h"

#define ALL_SLOTS (PCI_SLOTS + PCI_PORTS_MAX)

struct pci_bus {
	struct pci_bus_config config;
	struct pci_window window32, window64;
	struct pci_function *slots[ALL_SLOTS];
	uint32_t removing;  /* bit n: the guest was asked to let go of slot n of the root bus */
	uint32_t address;   /* what was written to 0xcf8 */
	unsigned last_port; /* the one that got a function last */
	const struct pci_hotplug_ops *hotplug;
	void *hotplug_userdata;
	bool ecam_added, ports_added;
};

/* The n-th root port. */
static struct pci_function *port(const struct pci_bus *bus, unsigned n)
{
	return bus->slots[PCI_SLOTS - bus->config.ports + n];
}

/* Host bridge and root ports stay. */
static bool is_bridge(const struct pci_bus *bus, unsigned slot)
{
	return slot == 0 || (slot < PCI_SLOTS && slot >= PCI_SLOTS - bus->config.ports);
}

/* Places of BARs. All of this inside the bus's loop, as is everything that maps a BAR. */

static void release_places(struct pci_bus *bus, struct pci_function *f)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		if (f->bars[i].given) {
			pci_window_give(&bus->window32, f->bars[i].given);
			pci_window_give(&bus->window64, f->bars[i].given);
		}
		f->bars[i].given = 0;
	}
}

static int take_places(struct pci_bus *bus, struct pci_function *f)
{
	for (unsigned i = 0; i < PCI_BARS; i++) {
		uint64_t at, size = f->config.bars[i].size;
		int r = -ENOSPC;

		if (!size)
			continue;
		if (f->config.bars[i].flags & PCI_BAR_64)
			r = pci_window_take(&bus->window64, size, &at);
		if (r < 0)
			r = pci_window_take(&bus->window32, size, &at);
		if (r < 0) {
			release_places(bus, f);
			return r;
		}
		f->bars[i].given = at;
		pci_config_set_bar(&f->config, i, at);
	}
	return 0;
}

/* Let f's BARs that the guest sees keep their places where they are, or those that it does not see. */
static void keep_places(struct pci_bus *bus, struct pci_function *f, bool seen)
{
	for (unsigned i = 0; f && i < PCI_BARS; i++) {
		struct pci_bar_place *b = &f->bars[i];
		uint64_t at = b->mapped ? b->address : b->given, size = f->config.bars[i].size;

		if (!size || b->mapped != seen)
			continue;
		b->given = pci_window_take_at(&bus->window64, at, size) == 0 ||
					   pci_window_take_at(&bus->window32, at, size) == 0
				   ? at
				   : 0;
	}
}

/*
 * What is given to the next function must collide with nothing: the place of a BAR is where the guest sees it, and,
 * while it does not, where it was last. The first ones cannot overlap.
 */
static void follow_bars(struct pci_bus *bus)
{
	bus->window32.n = bus->window64.n = 0;
	for (unsigned i = 0; i < ALL_SLOTS; i++)
		keep_places(bus, bus->slots[i], true);
	for (unsigned i = 0; i < ALL_SLOTS; i++)
		keep_places(bus, bus->slots[i], false);
}

/* Configuration accesses. Nobody there: ones (PCI 3.0 §6.1). No bridge passes on an access that is not aligned. */

/* What is behind the port to this bus. */
static struct pci_function *behind(const struct pci_bus *bus, unsigned number)
{
	for (unsigned i = 0; i < bus->config.ports; i++)
		if (root_port_bus(port(bus, i)) == number)
			return root_port_link(port(bus, i)) ? bus->slots[PCI_SLOTS + i] : NULL;
	return NULL;
}

/* id: bus, device and function. */
static struct pci_function *target(const struct pci_bus *bus, unsigned id, uint32_t offset, uint32_t len)
{
	if ((id & 7) || (offset & (len - 1)))
		return NULL;
	return id < PCI_SLOTS << 3 ? bus->slots[id >> 3] : id & 0xff ? NULL : behind(bus, id >> 8);
}

static void config_read(struct pci_bus *bus, unsigned id, uint32_t offset, void *data, uint32_t len)
{
	struct pci_function *f = target(bus, id, offset, len);

	memset(data, 0xff, len);
	if (!f)
		return;
	loop_enter(f->loop);
	pci_function_config_read(f, offset, data, len);
	loop_leave(f->loop);
}

static void config_write(struct pci_bus *bus, unsigned id, uint32_t offset, const void *data, uint32_t len)
{
	struct pci_function *f = target(bus, id, offset, len);

	if (!f)
		return;
	loop_enter(f->loop);
	f->bus = (uint8_t)(id >> 8); /* §2.2.6.2: a function learns the number by being written to */
	pci_function_config_write(f, offset, data, len);
	loop_leave(f->loop);
	if (offset < PCI_BAR0 + 4 * PCI_BARS)
		follow_bars(bus);
}

/* PCI Express 6.0 §7.2.2: bus, device, function in bits 27 to 12. */
static void ecam_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	config_read(device, (unsigned)(offset >> 12), offset & 0xfff, data, len);
}

static void ecam_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	config_write(device, (unsigned)(offset >> 12), offset & 0xfff, data, len);
}

/* PCI 3.0 §3.2.2.3.2: the address port takes 32 bits at once, the data port any part of the word. */
static bool ports_selected(const struct pci_bus *bus, uint64_t offset)
{
	return offset >= 4 && (bus->address & 0x80ff0000) == 0x80000000; /* enabled, bus 0 */
}

static uint32_t ports_offset(const struct pci_bus *bus, uint64_t offset)
{
	return (bus->address & 0xfc) + (uint32_t)(offset & 3);
}

static void ports_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct pci_bus *bus = device;
	le32 address = le32_of(bus->address);

	memset(data, 0xff, len);
	if (offset == 0 && len == 4)
		memcpy(data, &address, sizeof address);
	else if (ports_selected(bus, offset))
		config_read(bus, bus->address >> 8 & 0xff, ports_offset(bus, offset), data, len);
}

static void ports_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct pci_bus *bus = device;
	le32 address;

	if (offset == 0 && len == 4) {
		memcpy(&address, data, sizeof address);
		bus->address = le32_get(address) & 0x80fffffc;
	} else if (ports_selected(bus, offset)) {
		config_write(bus, bus->address >> 8 & 0xff, ports_offset(bus, offset), data, len);
	}
}

/* Slots. */

/* Behind ports each has its turn: a guest is not done yet with the one that was emptied last. */
static int free_port(const struct pci_bus *bus)
{
	for (unsigned i = 1; i <= bus->config.ports; i++) {
		unsigned n = (bus->last_port + i) % bus->config.ports;

		if (!bus->slots[PCI_SLOTS + n])
			return (int)(PCI_SLOTS + n);
	}
	return -ENOSPC;
}

static int first_free(const struct pci_bus *bus)
{
	if (bus->hotplug && bus->config.ports)
		return free_port(bus);
	for (int i = 0; i < PCI_SLOTS; i++)
		if (!bus->slots[i])
			return i;
	return -ENOSPC;
}

static int add(struct pci_bus *bus, struct pci_function *f, int slot)
{
	int r = 0;

	if (slot < 0)
		slot = first_free(bus);
	if (slot < 0 || slot >= PCI_SLOTS + (int)bus->config.ports)
		return -ENOSPC;
	if (bus->slots[slot])
		return -EBUSY;
	if (slot < PCI_SLOTS)
		r = take_places(bus, f);
	else
		bus->last_port = (unsigned)slot - PCI_SLOTS;
	if (r < 0)
		return r;
	f->slot = (unsigned)slot;
	f->mmio = bus->config.mmio;
	f->windows[0] = &bus->window32;
	f->windows[1] = &bus->window64;
	bus->slots[slot] = f;
	if (f->ops->placed)
		f->ops->placed(f);
	return slot;
}

static void announce(struct pci_bus *bus, unsigned slot)
{
	if (slot >= PCI_SLOTS)
		root_port_insert(port(bus, slot - PCI_SLOTS), bus->hotplug);
	else if (bus->hotplug && bus->hotplug->up)
		bus->hotplug->up(bus->hotplug_userdata, slot);
}

int pci_bus_add(struct pci_bus *bus, struct pci_function *f, int slot, struct err *e)
{
	bool ports;
	int r;

	loop_enter(bus->config.loop);
	ports = bus->hotplug && bus->config.ports;
	loop_enter(f->loop);
	r = add(bus, f, slot);
	loop_leave(f->loop);
	if (r >= 0)
		announce(bus, (unsigned)r);
	loop_leave(bus->config.loop);
	if (r == -EBUSY)
		return err_set(e, ERR_CONFIG, EBUSY, "PCI slot %d is taken", slot);
	if (r == -ENOSPC && ports)
		return err_set(e, ERR_LIMIT, ENOSPC,
			       "each of the %u PCI slots for devices that come while the machine runs is taken",
			       bus->config.ports);
	return r < 0 ? err_sys(e, -r, "no free PCI slot or no address space left for the device") : r;
}

/* tell: as the guest was asked to let it. */
static void remove_locked(struct pci_bus *bus, unsigned slot, bool tell)
{
	struct pci_function *f = take_ptr(bus->slots[slot]);
	struct loop *loop = f->loop;

	if (slot < PCI_SLOTS)
		bus->removing &= ~(1U << slot);
	else
		root_port_take(port(bus, slot - PCI_SLOTS));
	loop_enter(loop);
	pci_function_free(f);
	/* Whoever enters the function's loop next must know. */
	if (tell && bus->hotplug)
		bus->hotplug->gone(bus->hotplug_userdata, slot);
	loop_leave(loop);
	follow_bars(bus);
}

static void reset_slot(struct pci_bus *bus, unsigned slot)
{
	struct pci_function *f = bus->slots[slot];

	loop_enter(f->loop);
	pci_function_reset(f);
	loop_leave(f->loop);
	follow_bars(bus);
}

int pci_bus_remove(struct pci_bus *bus, unsigned slot)
{
	int r = -ENOENT;

	loop_enter(bus->config.loop);
	if (slot < ALL_SLOTS && bus->slots[slot]) {
		remove_locked(bus, slot, false);
		r = 0;
	}
	loop_leave(bus->config.loop);
	return r;
}

/* From its slot of the root bus. */
static int request_down(struct pci_bus *bus, unsigned slot)
{
	if (!bus->hotplug->down)
		return -EPERM;
	bus->removing |= 1U << slot;
	bus->hotplug->down(bus->hotplug_userdata, slot);
	return 0;
}

int pci_bus_request_removal(struct pci_bus *bus, unsigned slot)
{
	int r = 0;

	loop_enter(bus->config.loop);
	if (!bus->hotplug || is_bridge(bus, slot))
		r = -EPERM;
	else if (slot >= ALL_SLOTS || !bus->slots[slot])
		r = -ENOENT;
	else if (slot < PCI_SLOTS)
		r = request_down(bus, slot);
	else if (root_port_ask(port(bus, slot - PCI_SLOTS)))
		remove_locked(bus, slot, true);
	loop_leave(bus->config.loop);
	return r;
}

void pci_bus_ejected(struct pci_bus *bus, unsigned slot)
{
	loop_enter(bus->config.loop);
	if (slot < PCI_SLOTS && !is_bridge(bus, slot) && bus->slots[slot]) {
		if (bus->removing & 1U << slot)
			remove_locked(bus, slot, true);
		else
			reset_slot(bus, slot);
	}
	loop_leave(bus->config.loop);
}

/* A function behind a port lost its link. */
static void on_link_down(void *userdata, unsigned number)
{
	struct pci_bus *bus = userdata;
	unsigned slot = PCI_SLOTS + number;

	if (!bus->slots[slot])
		return;
	if (root_port_released(port(bus, number)))
		remove_locked(bus, slot, true);
	else
		reset_slot(bus, slot);
}

int pci_bus_port(const struct pci_bus *bus, unsigned slot)
{
	return slot < PCI_SLOTS ? -ENOENT : (int)(slot - bus->config.ports);
}

struct pci_function *pci_bus_function(struct pci_bus *bus, unsigned slot)
{
	struct pci_function *f;

	loop_enter(bus->config.loop);
	f = slot < ALL_SLOTS ? bus->slots[slot] : NULL;
	loop_leave(bus->config.loop);
	return f;
}

void pci_bus_set_hotplug(struct pci_bus *bus, const struct pci_hotplug_ops *ops, void *userdata)
{
	loop_enter(bus->config.loop);
	bus->hotplug = ops;
	bus->hotplug_userdata = userdata;
	loop_leave(bus->config.loop);
}

/* Life of the bus. */

static int add_ports(struct pci_bus *bus)
{
	static const struct root_port_ops ops = { on_link_down };
	unsigned n = bus->config.ports;
	int r = n <= PCI_PORTS_MAX ? 0 : -EINVAL;

	for (unsigned i = 0; r >= 0 && i < n; i++) {
		struct pci_function *f;

		r = root_port_new(bus->config.platform, bus->config.loop, i, &ops, bus, &f);
		if (r == 0)
			r = add(bus, f, (int)(PCI_SLOTS - n + i));
		if (r == -ENOSPC)
			pci_function_free(f);
	}
	return r;
}

static int build(struct pci_bus *bus)
{
	static const struct bus_handler ecam = { ecam_read, ecam_write }, ports = { ports_read, ports_write };
	const struct pci_bus_config *c = &bus->config;
	struct pci_function *bridge;
	int r = bus_add(c->mmio, c->ecam, (1 + c->ports) * PCI_ECAM_SIZE, &ecam, bus, c->loop);

	bus->ecam_added = r == 0;
	if (r == 0 && c->pio) {
		r = bus_add(c->pio, PCI_PORTS, PCI_PORTS_LEN, &ports, bus, c->loop);
		bus->ports_added = r == 0;
	}
	if (r == 0)
		r = pci_host_bridge_new(c->loop, &bridge);
	if (r == 0)
		r = add(bus, bridge, 0);
	return r < 0 ? r : add_ports(bus);
}

int pci_bus_new(const struct pci_bus_config *config, struct pci_bus **ret, struct err *e)
{
	struct pci_bus *bus = calloc(1, sizeof *bus);
	int r;

	if (!bus)
		return err_sys(e, ENOMEM, "cannot make the PCI bus");
	bus->config = *config;
	pci_window_init(&bus->window32, config->window32, config->window32_size);
	pci_window_init(&bus->window64, config->window64, config->window64_size);
	r = build(bus);
	if (r < 0) {
		pci_bus_free(bus);
		return err_sys(e, -r, "cannot make the PCI bus");
	}
	*ret = bus;
	return 0;
}

void pci_bus_free(struct pci_bus *bus)
{
	if (!bus)
		return;
	if (bus->ecam_added)
		bus_remove(bus->config.mmio, bus->config.ecam);
	if (bus->ports_added)
		bus_remove(bus->config.pio, PCI_PORTS);
	for (unsigned i = ALL_SLOTS; i-- > 0;) /* a port after what is behind it */
		pci_bus_remove(bus, i);
	free(bus);
}

/* Pause and snapshot. */

static void call_each(struct pci_bus *bus, bool pause)
{
	loop_enter(bus->config.loop);
	for (unsigned i = 0; i < ALL_SLOTS; i++) {
		struct pci_function *f = bus->slots[i];
		void (*fn)(struct pci_function *) = !f ? NULL : pause ? f->ops->pause : f->ops->resume;

		if (fn) {
			loop_enter(f->loop);
			fn(f);
			loop_leave(f->loop);
		}
	}
	loop_leave(bus->config.loop);
}

void pci_bus_pause(struct pci_bus *bus)
{
	call_each(bus, true);
}

void pci_bus_resume(struct pci_bus *bus)
{
	call_each(bus, false);
}

void pci_bus_save(struct pci_bus *bus, struct state *s)
{
	uint64_t there = 0;

	loop_enter(bus->config.loop);
	for (unsigned i = 0; i < ALL_SLOTS; i++) {
		struct pci_function *f = bus->slots[i];

		if (!f)
			continue;
		there |= 1ULL << i;
		loop_enter(f->loop);
		pci_function_save(f, state_child_n(s, "slot", i));
		loop_leave(f->loop);
	}
	state_put_u64(s, "slots", there);
	state_put_u64(s, "removing", bus->removing);
	state_put_u64(s, "config-address", bus->address);
	loop_leave(bus->config.loop);
}

static int load_slot(struct pci_bus *bus, unsigned slot, bool there, const struct state *s, struct err *e)
{
	struct pci_function *f = bus->slots[slot];
	const struct state *child;
	int r;

	if (there != !!f)
		return err_set(e, ERR_CONFIG, EINVAL, "PCI slot %u %s", slot,
			       f ? "was empty in the snapshot" : "is empty, and was not in the snapshot");
	if (!f)
		return 0;
	child = state_get_child_n(s, "slot", slot, e);
	if (!child)
		return -ENOENT;
	loop_enter(f->loop);
	if (slot >= PCI_SLOTS) /* the port was loaded before */
		f->bus = root_port_bus(port(bus, slot - PCI_SLOTS));
	r = pci_function_load(f, child, e);
	loop_leave(f->loop);
	if (r < 0)
		err_wrap(e, "PCI slot %u", slot);
	return r;
}

/* The guest may have its BARs elsewhere than a new machine gives them. */
static void take_loaded_places(struct pci_bus *bus)
{
	for (unsigned i = 0; i < ALL_SLOTS; i++) {
		struct pci_function *f = bus->slots[i];

		for (unsigned bar = 0; f && bar < PCI_BARS; bar++)
			f->bars[bar].given = pci_config_bar(&f->config, bar);
	}
	follow_bars(bus);
}

static int load(struct pci_bus *bus, const struct state *s, struct err *e)
{
	uint64_t there, removing, address;
	int r = state_get_max(s, "slots", (1ULL << ALL_SLOTS) - 1, &there, e);

	if (r == 0)
		r = state_get_max(s, "removing", UINT32_MAX, &removing, e);
	if (r == 0)
		r = state_get_max(s, "config-address", UINT32_MAX, &address, e);
	for (unsigned i = 0; r == 0 && i < ALL_SLOTS; i++)
		r = load_slot(bus, i, there & 1ULL << i, s, e);
	if (r < 0)
		return r;
	take_loaded_places(bus);
	bus->removing = (uint32_t)(removing & there & ~1ULL);
	bus->address = (uint32_t)address & 0x80fffffc;
	return 0;
}

int pci_bus_load(struct pci_bus *bus, const struct state *s, struct err *e)
{
	int r;

	loop_enter(bus->config.loop);
	r = load(bus, s, e);
	loop_leave(bus->config.loop);
	return r;
}
