/* SPDX-License-Identifier: Apache-2.0 */
/* The slot of a root port, as Linux's driver of such ports (pciehp) goes about it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/log.h"
#include "pci/fake_machine.h"
#include "pci/root_port.h"
#include "state/state.h"

#define PORTS 2
#define PORT  (PCI_SLOTS - PORTS) /* the slot of the first one */

#define LNKCTL   0x10
#define LNKSTA   0x12
#define SLTCAP   0x14
#define SLTCTL   0x18
#define SLTSTA   0x1a
#define BUTTON   0x0001
#define PRESENCE 0x0008
#define PRESENT  0x0040
#define CHANGED  0x0100 /* the link */
#define ACTIVE   0x2000
#define LINK_OFF 0x0010

#define ON        0x0100 /* power indicator */
#define BLINK     0x0200
#define OFF       0x0300
#define POWER_OFF 0x0400
#define TELL      0x1021 /* interrupts for the button and the link */

#define MESSAGE 0x4200
#define BUS     2

struct card {
	struct pci_function f;
	unsigned resets;
	bool *freed;
};

static void card_reset(struct pci_function *f)
{
	((struct card *)(void *)f)->resets++;
}

static void card_free(struct pci_function *f)
{
	*((struct card *)(void *)f)->freed = true;
	free(f);
}

static struct card *new_card(struct loop *loop, bool *freed)
{
	static const struct pci_identity id = { .vendor = 0x1234, .device = 0x5678, .class = 0xff0000 };
	static const struct pci_function_ops ops = { .reset = card_reset, .free = card_free };
	struct card *c = calloc(1, sizeof *c);

	c->f.ops = &ops;
	c->f.loop = loop;
	c->freed = freed;
	*freed = false;
	pci_config_init(&c->f.config, &id);
	assert_int_equal(pci_config_add_bar(&c->f.config, 0, 0x1000, 0), 0);
	return c;
}

struct fixture {
	struct fake_machine x;
	unsigned cap, gone;
	bool freed;
};

static void on_gone(void *userdata, unsigned slot)
{
	((struct fixture *)userdata)->gone = slot;
}

static const struct pci_hotplug_ops hotplug = { .gone = on_gone };

static unsigned reg(struct fixture *f, unsigned offset)
{
	return fake_config_read(&f->x, PORT, f->cap + offset, 2);
}

static void set_reg(struct fixture *f, unsigned offset, unsigned value)
{
	fake_config_write(&f->x, PORT, f->cap + offset, value, 2);
}

static uint32_t behind(struct fixture *f, unsigned bus, unsigned offset)
{
	return (uint32_t)fake_guest_read(f->x.mmio, FAKE_ECAM + bus * PCI_ECAM_SIZE + offset, 4);
}

static void write_behind(struct fixture *f, unsigned offset, uint32_t value, unsigned len)
{
	fake_guest_write(&f->x.platform, f->x.mmio, FAKE_ECAM + BUS * PCI_ECAM_SIZE + offset, value, len);
}

/* Messages since the last look. */
static unsigned messages(struct fixture *f)
{
	struct fake_msi *m = fake_find_msi(&f->x.platform, MESSAGE, 7);

	return m ? fake_interrupts(m->fd) : 0;
}

/* What a guest does with a port at first: a number for the bus, the way of messages, events. */
static void start_guest(struct fixture *f)
{
	unsigned msix = fake_find_capability(&f->x, PORT, 0, PCI_CAP_MSIX);
	uint64_t bar = fake_config_read(&f->x, PORT, PCI_BAR0, 4);

	f->cap = fake_find_capability(&f->x, PORT, 0, PCI_CAP_EXPRESS);
	fake_config_write(&f->x, PORT, PCI_PRIMARY_BUS, BUS << 16 | BUS << 8, 4);
	fake_config_write(&f->x, PORT, PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER, 2);
	fake_guest_write(&f->x.platform, f->x.mmio, bar, MESSAGE, 4);
	fake_guest_write(&f->x.platform, f->x.mmio, bar + 8, 7, 4);
	fake_guest_write(&f->x.platform, f->x.mmio, bar + 12, 0, 4);
	fake_config_write(&f->x, PORT, msix + 2, 0x8000, 2);
	set_reg(f, SLTCTL, TELL | POWER_OFF | OFF);
}

static void new_bus(struct fixture *f)
{
	fake_machine_add_bus_with_ports(&f->x, PORTS);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	log_set_level(LOG_LEVEL_ERROR);
	fake_machine_init(&f->x);
	pci_bus_free(f->x.pci);
	new_bus(f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	fake_machine_fini(&f->x);
	free(f);
	return 0;
}

/* Plug a card into the first port, and do as the guest does. */
static struct card *plug(struct fixture *f)
{
	struct card *c = new_card(f->x.loop, &f->freed);

	assert_int_equal(pci_bus_add(f->x.pci, &c->f, PCI_SLOTS, NULL), PCI_SLOTS);
	return c;
}

static void power_on(struct fixture *f)
{
	set_reg(f, SLTSTA, reg(f, SLTSTA));
	set_reg(f, SLTCTL, TELL | POWER_OFF | BLINK);
	set_reg(f, SLTCTL, TELL | BLINK);
	set_reg(f, SLTSTA, CHANGED);
	set_reg(f, SLTCTL, TELL | ON);
}

static void test_registers(void **state)
{
	struct fixture *f = *state;

	for (unsigned slot = 1; slot < PCI_SLOTS; slot++)
		assert_int_equal(fake_config_read(&f->x, slot, 0, 4), slot < PORT ? UINT32_MAX : 0x000c1b36);
	assert_int_equal(fake_config_read(&f->x, PORT, 8, 4) >> 8, 0x060400);
	assert_int_equal(fake_config_read(&f->x, PORT, PCI_HEADER_TYPE, 1), 1);
	start_guest(f);
	assert_int_equal(reg(f, 2), 0x0142); /* a root port with a slot */
	assert_int_equal(fake_config_read(&f->x, PORT, f->cap + SLTCAP, 4), 1 << 19 | 0x4005b);
	assert_int_equal(fake_config_read(&f->x, PORT + 1, f->cap + SLTCAP, 4), 2 << 19 | 0x4005b);
	assert_int_equal(reg(f, SLTSTA), 0);
	assert_int_equal(reg(f, LNKSTA), 0x11);
	/* Windows hold what is written; there is none of ports, and the granularity is a MiB. */
	fake_config_write(&f->x, PORT, PCI_MEMORY_BASE, 0x1fff1234, 4);
	assert_int_equal(fake_config_read(&f->x, PORT, PCI_MEMORY_BASE, 4), 0x1ff01230);
	fake_config_write(&f->x, PORT, PCI_PREFETCH_BASE, UINT32_MAX, 4);
	assert_int_equal(fake_config_read(&f->x, PORT, PCI_PREFETCH_BASE, 4), 0xfff1fff1);
	fake_config_write(&f->x, PORT, 0x1c, UINT32_MAX, 4);
	assert_int_equal(fake_config_read(&f->x, PORT, 0x1c, 4), 0);
	/* An empty bus. */
	for (unsigned bus = 1; bus <= PORTS; bus++)
		assert_int_equal(behind(f, bus, 0), UINT32_MAX);
}

static void test_coming(void **state)
{
	struct fixture *f = *state;
	struct card *c;

	start_guest(f);
	pci_bus_set_hotplug(f->x.pci, &hotplug, f);
	c = plug(f);
	assert_int_equal(reg(f, SLTSTA), PRESENT | PRESENCE | BUTTON);
	assert_int_equal(messages(f), 1);
	assert_int_equal(behind(f, BUS, 0), UINT32_MAX);      /* no power */
	assert_int_equal(pci_config_bar(&c->f.config, 0), 0); /* the guest gives it a place */

	/* An event goes when it is written to; the message is sent again when all had gone. */
	set_reg(f, SLTSTA, PRESENCE);
	assert_int_equal(reg(f, SLTSTA), PRESENT | BUTTON);
	set_reg(f, SLTSTA, PRESENT);
	assert_int_equal(reg(f, SLTSTA), PRESENT | BUTTON);
	assert_int_equal(messages(f), 0);
	set_reg(f, SLTCTL, TELL | POWER_OFF | BLINK);
	set_reg(f, SLTSTA, BUTTON);
	set_reg(f, SLTCTL, TELL | BLINK);
	assert_int_equal(reg(f, LNKSTA), ACTIVE | 0x11);
	assert_int_equal(reg(f, SLTSTA), PRESENT | CHANGED);
	assert_int_equal(messages(f), 1);
	assert_int_equal(behind(f, BUS, 0), 0x56781234);
	assert_int_equal(behind(f, BUS, 0x8000), UINT32_MAX); /* device 1 */
	assert_int_equal(behind(f, BUS - 1, 0), UINT32_MAX);

	/* It is known by the number of its bus, and its BAR is where the guest says. */
	write_behind(f, PCI_BAR0, (uint32_t)FAKE_WIN32 + 0x8000, 4);
	write_behind(f, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(pci_function_requester(&c->f), BUS << 8);
	assert_int_equal(fake_guest_read(f->x.mmio, FAKE_WIN32 + 0x8000, 1), 0);
	assert_int_equal(fake_guest_read(f->x.mmio, FAKE_WIN32 + 0xf000, 1), 0xff);
}

static void test_going(void **state)
{
	struct fixture *f = *state;

	start_guest(f);
	pci_bus_set_hotplug(f->x.pci, &hotplug, f);
	plug(f);
	power_on(f);
	messages(f);
	assert_int_equal(pci_bus_request_removal(f->x.pci, PCI_SLOTS), 0);
	assert_int_equal(reg(f, SLTSTA), PRESENT | BUTTON);
	assert_int_equal(messages(f), 1);
	/* A second press would take it back: not before the guest has seen the first, nor while it is at work. */
	set_reg(f, SLTCTL, TELL | BLINK);
	set_reg(f, SLTSTA, BUTTON);
	assert_int_equal(pci_bus_request_removal(f->x.pci, PCI_SLOTS), 0);
	assert_int_equal(reg(f, SLTSTA), PRESENT);
	assert_int_equal(behind(f, BUS, 0), 0x56781234);
	assert_false(f->freed);
	set_reg(f, SLTCTL, TELL | BLINK | POWER_OFF);
	assert_true(f->freed);
	assert_int_equal(f->gone, PCI_SLOTS);
	assert_int_equal(reg(f, SLTSTA), CHANGED | PRESENCE);
	assert_int_equal(reg(f, LNKSTA), 0x11);
	assert_int_equal(behind(f, BUS, 0), UINT32_MAX);
	assert_int_equal(pci_bus_request_removal(f->x.pci, PCI_SLOTS), -ENOENT);

	/* Nobody asked for the next one. */
	plug(f);
	power_on(f);
	set_reg(f, SLTCTL, TELL | POWER_OFF | OFF);
	assert_false(f->freed);
}

/* While the guest is busy, or has the slot off. */
static void test_asked_at_other_times(void **state)
{
	struct fixture *f = *state;

	start_guest(f);
	pci_bus_set_hotplug(f->x.pci, &hotplug, f);
	plug(f);
	assert_int_equal(pci_bus_request_removal(f->x.pci, PCI_SLOTS), 0); /* it has not come yet */
	assert_true(f->freed);
	assert_int_equal(f->gone, PCI_SLOTS);

	plug(f);
	set_reg(f, SLTSTA, reg(f, SLTSTA));
	set_reg(f, SLTCTL, TELL | BLINK);
	set_reg(f, SLTSTA, CHANGED);
	assert_int_equal(pci_bus_request_removal(f->x.pci, PCI_SLOTS), 0);
	assert_int_equal(reg(f, SLTSTA), PRESENT);
	set_reg(f, SLTCTL, TELL | ON); /* done: it is asked now */
	assert_int_equal(reg(f, SLTSTA), PRESENT | BUTTON);
	assert_false(f->freed);

	assert_int_equal(pci_bus_request_removal(f->x.pci, PORT), -EPERM);
	assert_int_equal(pci_bus_request_removal(f->x.pci, PCI_SLOTS + 1), -ENOENT);
	assert_int_equal(pci_bus_request_removal(f->x.pci, PCI_SLOTS + PCI_PORTS_MAX), -ENOENT);
	pci_bus_ejected(f->x.pci, PORT);
	pci_bus_ejected(f->x.pci, PCI_SLOTS);
	assert_false(f->freed);
}

/* Without power, without its link, and after a reset of the bus a function starts anew. */
static void test_resets(void **state)
{
	struct fixture *f = *state;
	struct card *c;

	start_guest(f);
	pci_bus_set_hotplug(f->x.pci, &hotplug, f);
	c = plug(f);
	power_on(f);
	write_behind(f, PCI_COMMAND, PCI_COMMAND_MASTER, 2);
	set_reg(f, LNKCTL, LINK_OFF);
	assert_int_equal(c->resets, 1);
	assert_int_equal(reg(f, SLTSTA), PRESENT | CHANGED);
	assert_int_equal(behind(f, BUS, 0), UINT32_MAX);
	set_reg(f, LNKCTL, 0);
	assert_int_equal(behind(f, BUS, PCI_COMMAND), 0);
	fake_config_write(&f->x, PORT, PCI_BRIDGE_CONTROL, PCI_BRIDGE_RESET, 2);
	assert_int_equal(c->resets, 2);
	fake_config_write(&f->x, PORT, PCI_BRIDGE_CONTROL, 0, 2);
	assert_int_equal(c->resets, 2);
	set_reg(f, SLTCTL, POWER_OFF);
	assert_int_equal(c->resets, 3);
	fake_config_write(&f->x, PORT, PCI_BRIDGE_CONTROL, PCI_BRIDGE_RESET, 2);
	assert_int_equal(c->resets, 3);
	set_reg(f, SLTCTL, 0);
	assert_int_equal(behind(f, BUS, 0), 0x56781234);
}

static void test_places(void **state)
{
	struct fixture *f = *state;
	static bool freed[PORTS + 2]; /* until the bus goes */
	struct err e = { 0 };
	struct card *more;

	/* At first on the root bus, then behind the ports, each in its turn. */
	assert_int_equal(pci_bus_add(f->x.pci, &new_card(f->x.loop, &freed[0])->f, -1, NULL), 1);
	pci_bus_set_hotplug(f->x.pci, &hotplug, f);
	assert_int_equal(pci_bus_request_removal(f->x.pci, 1), -EPERM);
	assert_int_equal(pci_bus_add(f->x.pci, &new_card(f->x.loop, &freed[1])->f, -1, NULL), PCI_SLOTS + 1);
	assert_int_equal(pci_bus_request_removal(f->x.pci, PCI_SLOTS + 1), 0);
	assert_true(freed[1]);
	assert_int_equal(pci_bus_add(f->x.pci, &new_card(f->x.loop, &freed[1])->f, -1, NULL), PCI_SLOTS);
	assert_int_equal(pci_bus_add(f->x.pci, &new_card(f->x.loop, &freed[2])->f, -1, NULL), PCI_SLOTS + 1);
	more = new_card(f->x.loop, &freed[3]);
	assert_int_equal(pci_bus_add(f->x.pci, &more->f, -1, &e), -ENOSPC);
	assert_non_null(strstr(e.text, "each of the 2 PCI slots"));
	assert_int_equal(pci_bus_add(f->x.pci, &more->f, PCI_SLOTS, &e), -EBUSY);
	assert_int_equal(pci_bus_add(f->x.pci, &more->f, PCI_SLOTS + PORTS, &e), -ENOSPC);
	assert_int_equal(pci_bus_port(f->x.pci, 1), -ENOENT);
	assert_int_equal(pci_bus_port(f->x.pci, PCI_SLOTS + 1), PORT + 1);
	pci_function_free(&more->f);
}

static void test_move(void **state)
{
	struct fixture *f = *state;
	struct state *s;
	struct card *c;
	struct err e = { 0 };

	start_guest(f);
	pci_bus_set_hotplug(f->x.pci, &hotplug, f);
	plug(f);
	power_on(f);
	write_behind(f, PCI_BAR0, (uint32_t)FAKE_WIN32 + 0x8000, 4);
	write_behind(f, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(pci_bus_request_removal(f->x.pci, PCI_SLOTS), 0);
	pci_bus_pause(f->x.pci);
	assert_int_equal(state_new(&s), 0);
	pci_bus_save(f->x.pci, s);
	pci_bus_free(f->x.pci);

	new_bus(f);
	assert_int_equal(pci_bus_load(f->x.pci, s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "PCI slot 32 is empty"));
	c = plug(f);
	assert_int_equal(pci_bus_load(f->x.pci, s, NULL), 0);
	pci_bus_set_hotplug(f->x.pci, &hotplug, f);
	assert_int_equal(reg(f, SLTCTL), TELL | ON);
	assert_int_equal(reg(f, SLTSTA), PRESENT | BUTTON);
	assert_int_equal(reg(f, LNKSTA), ACTIVE | 0x11);
	assert_int_equal(behind(f, BUS, 0), 0x56781234);
	assert_int_equal(pci_function_requester(&c->f), BUS << 8);
	assert_int_equal(fake_guest_read(f->x.mmio, FAKE_WIN32 + 0x8000, 1), 0);
	messages(f);
	pci_bus_resume(f->x.pci);
	assert_int_equal(messages(f), 1); /* the one that was sent may be lost */
	/* The question goes on. */
	set_reg(f, SLTCTL, TELL | POWER_OFF | OFF);
	assert_true(f->freed);
	assert_int_equal(f->gone, PCI_SLOTS);
	state_free(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_coming, setup, teardown),
		cmocka_unit_test_setup_teardown(test_going, setup, teardown),
		cmocka_unit_test_setup_teardown(test_asked_at_other_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_resets, setup, teardown),
		cmocka_unit_test_setup_teardown(test_places, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
