/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "guestmem/le.h"
#include "pci/fake_machine.h"
#include "state/state.h"

#define BAR0_SIZE 0x1000U
#define BAR2_SIZE 0x10000U

/* A function with two BARs that remembers what happened to it. */
struct probe {
	struct pci_function f;
	unsigned bar, resets, pauses, resumes, mapped, unmapped;
	uint64_t offset, value, mapped_at[PCI_BARS];
	bool *freed;
};

static struct probe *probe(struct pci_function *f)
{
	return (struct probe *)(void *)f;
}

static void probe_bar_read(struct pci_function *f, unsigned bar, uint64_t offset, void *data, uint32_t len)
{
	((uint8_t *)data)[0] = (uint8_t)(0xa0 + bar);
}

static void probe_bar_write(struct pci_function *f, unsigned bar, uint64_t offset, const void *data, uint32_t len)
{
	probe(f)->bar = bar;
	probe(f)->offset = offset;
	probe(f)->value = 0;
	memcpy(&probe(f)->value, data, len);
}

static void probe_mapped(struct pci_function *f, unsigned bar, uint64_t address)
{
	probe(f)->mapped++;
	probe(f)->mapped_at[bar] = address;
}

static void probe_unmapped(struct pci_function *f, unsigned bar, uint64_t address)
{
	assert_int_equal(probe(f)->mapped_at[bar], address);
	probe(f)->unmapped++;
}

static void probe_config_read(struct pci_function *f, uint32_t offset, void *data, uint32_t len)
{
	if (offset == 0x100)
		memset(data, 0x11, len);
}

static void probe_reset(struct pci_function *f)
{
	probe(f)->resets++;
}

static void probe_pause(struct pci_function *f)
{
	probe(f)->pauses++;
}

static void probe_resume(struct pci_function *f)
{
	probe(f)->resumes++;
}

static void probe_free(struct pci_function *f)
{
	if (probe(f)->freed)
		*probe(f)->freed = true;
	free(f);
}

static struct probe *new_probe(struct loop *loop)
{
	static const struct pci_identity id = { .vendor = 0x1234, .device = 0x5678, .class = 0xff0000 };
	static const struct pci_function_ops ops = {
		.config_read = probe_config_read,
		.bar_read = probe_bar_read,
		.bar_write = probe_bar_write,
		.bar_mapped = probe_mapped,
		.bar_unmapped = probe_unmapped,
		.reset = probe_reset,
		.pause = probe_pause,
		.resume = probe_resume,
		.free = probe_free,
	};
	struct probe *p = calloc(1, sizeof *p);

	p->f.ops = &ops;
	p->f.loop = loop;
	pci_config_init(&p->f.config, &id);
	assert_int_equal(pci_config_add_bar(&p->f.config, 0, BAR0_SIZE, 0), 0);
	assert_int_equal(pci_config_add_bar(&p->f.config, 2, BAR2_SIZE, PCI_BAR_64), 0);
	return p;
}

struct events {
	uint32_t up, down, gone;
};

static void on_up(void *userdata, unsigned slot)
{
	((struct events *)userdata)->up |= 1U << slot;
}

static void on_down(void *userdata, unsigned slot)
{
	((struct events *)userdata)->down |= 1U << slot;
}

static void on_gone(void *userdata, unsigned slot)
{
	((struct events *)userdata)->gone |= 1U << slot;
}

static const struct pci_hotplug_ops hotplug = { on_up, on_down, on_gone };

static int setup(void **state)
{
	struct fake_machine *x = malloc(sizeof *x);

	log_set_level(LOG_LEVEL_ERROR);
	fake_machine_init(x);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	fake_machine_fini(*state);
	free(*state);
	return 0;
}

static uint32_t port_read(struct fake_machine *x, uint32_t address, unsigned byte, uint32_t len)
{
	le32 a = le32_of(address);

	bus_write(x->pio, PCI_PORTS, &a, 4);
	return (uint32_t)fake_guest_read(x->pio, PCI_PORTS + 4 + byte, len);
}

static void test_enumeration(void **state)
{
	struct fake_machine *x = *state;

	assert_int_equal(pci_bus_add(x->pci, &new_probe(x->loop)->f, 5, NULL), 5);
	for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
		uint32_t want = slot == 0 ? 0x00081b36 : slot == 5 ? 0x56781234 : UINT32_MAX;

		assert_int_equal(fake_config_read(x, slot, 0, 4), want);
		assert_int_equal(port_read(x, 0x80000000 | slot << 11, 0, 4), want);
		assert_int_equal(fake_config_read(x, slot, 0x1000, 4), UINT32_MAX); /* function 1 */
	}
	assert_int_equal(fake_config_read(x, 0, 8, 4) >> 8, 0x060000);
	/* 64 bits at once, past the classic space, what is not aligned. */
	assert_int_equal(fake_guest_read(x->mmio, fake_ecam(5, 0), 8), 0x56781234);
	assert_int_equal(fake_config_read(x, 5, 0x104, 4), 0);
	assert_int_equal(fake_config_read(x, 5, 0x100, 4), 0x11111111);
	assert_int_equal(fake_config_read(x, 5, 1, 2), 0xffff);
}

static void test_ports(void **state)
{
	struct fake_machine *x = *state;
	uint8_t byte = 0;

	assert_int_equal(pci_bus_add(x->pci, &new_probe(x->loop)->f, 5, NULL), 5);
	assert_int_equal(port_read(x, 0x80002800, 0, 2), 0x1234);
	assert_int_equal(port_read(x, 0x80002800, 2, 2), 0x5678);
	assert_int_equal(port_read(x, 0x80002800, 3, 1), 0x56);
	assert_int_equal(port_read(x, 0x80002803, 0, 4), 0x56781234); /* bits 1 and 0 are not there */
	assert_int_equal(fake_guest_read(x->pio, PCI_PORTS, 4), 0x80002800);
	assert_int_equal(port_read(x, 0x00002800, 0, 4), UINT32_MAX); /* not enabled */
	assert_int_equal(port_read(x, 0x80012800, 0, 4), UINT32_MAX); /* bus 1 */
	assert_int_equal(port_read(x, 0x80002900, 0, 4), UINT32_MAX); /* function 1 */
	port_read(x, 0x80002800, 0, 4);
	bus_write(x->pio, PCI_PORTS + 1, &byte, 1); /* a reset register on some machines; not the address */
	assert_int_equal(fake_guest_read(x->pio, PCI_PORTS, 4), 0x80002800);
	assert_int_equal(fake_guest_read(x->pio, PCI_PORTS, 2), 0xffff);

	port_read(x, 0x80002804, 0, 4);
	byte = PCI_COMMAND_MEMORY;
	bus_write(x->pio, PCI_PORTS + 4, &byte, 1);
	assert_int_equal(fake_config_read(x, 5, PCI_COMMAND, 2), PCI_COMMAND_MEMORY);
}

static void test_bars(void **state)
{
	struct fake_machine *x = *state;
	struct probe *p = new_probe(x->loop);
	uint64_t bar0, bar2;

	assert_int_equal(pci_bus_add(x->pci, &p->f, -1, NULL), 1);
	bar0 = fake_config_read(x, 1, PCI_BAR0, 4);
	bar2 = (uint64_t)fake_config_read(x, 1, PCI_BAR0 + 12, 4) << 32 | fake_config_read(x, 1, PCI_BAR0 + 8, 4);
	assert_int_equal(bar0, FAKE_WIN32);
	assert_int_equal(bar2, FAKE_WIN64 | PCI_BAR_64);
	bar2 &= ~15ULL;
	assert_int_equal(fake_guest_read(x->mmio, bar0, 1), 0xff); /* decoding is off */
	fake_config_write(x, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(fake_guest_read(x->mmio, bar0 + 8, 4), 0xa0);
	assert_int_equal(fake_guest_read(x->mmio, bar2 + BAR2_SIZE - 4, 4), 0xa2);
	fake_guest_write(&x->platform, x->mmio, bar2 + 0x128, 0x1234, 2);
	assert_int_equal(p->bar, 2);
	assert_int_equal(p->offset, 0x128);
	assert_int_equal(p->value, 0x1234);

	/* Moved within the window; nothing is left behind. */
	fake_config_write(x, 1, PCI_BAR0, FAKE_WIN32 + 0x20000, 4);
	assert_int_equal(fake_guest_read(x->mmio, bar0, 1), 0xff);
	assert_int_equal(fake_guest_read(x->mmio, FAKE_WIN32 + 0x20000, 1), 0xa0);
	/* Outside of the windows, on top of another, out of sight; and back. */
	for (int i = 0; i < 3; i++) {
		static const uint32_t bad[] = { 0x1000, (uint32_t)FAKE_ECAM, 0xfee00000 };

		fake_config_write(x, 1, PCI_BAR0, bad[i], 4);
		assert_int_equal(p->mapped - p->unmapped, 1);
		assert_int_not_equal(fake_guest_read(x->mmio, bad[i], 1), 0xa0);
	}
	fake_config_write(x, 1, PCI_BAR0, (uint32_t)bar0, 4);
	assert_int_equal(fake_guest_read(x->mmio, bar0, 1), 0xa0);
	fake_config_write(x, 1, PCI_COMMAND, 0, 2);
	assert_int_equal(p->mapped, p->unmapped);
	assert_int_equal(fake_guest_read(x->mmio, bar2, 1), 0xff);
}

static void test_overlap(void **state)
{
	struct fake_machine *x = *state;
	struct probe *a = new_probe(x->loop), *b = new_probe(x->loop);

	assert_int_equal(pci_bus_add(x->pci, &a->f, 1, NULL), 1);
	assert_int_equal(pci_bus_add(x->pci, &b->f, 2, NULL), 2);
	fake_config_write(x, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	fake_config_write(x, 2, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	fake_config_write(x, 2, PCI_BAR0, (uint32_t)FAKE_WIN32, 4);
	assert_int_equal(b->mapped - b->unmapped, 1);
	fake_guest_write(&x->platform, x->mmio, FAKE_WIN32, 7, 4);
	assert_int_equal(a->value, 7);
	/* When the first leaves, a write to the registers shows the second. */
	fake_config_write(x, 1, PCI_COMMAND, 0, 2);
	fake_config_write(x, 2, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	fake_guest_write(&x->platform, x->mmio, FAKE_WIN32, 8, 4);
	assert_int_equal(b->value, 8);
}

static uint64_t new_place(struct fake_machine *x, int slot)
{
	struct probe *p = new_probe(x->loop);

	assert_int_equal(pci_bus_add(x->pci, &p->f, slot, NULL), slot);
	return pci_config_bar(&p->f.config, 0);
}

/* What the guest moves its BARs to is not given to others, and what it leaves is. */
static void test_places_follow_the_guest(void **state)
{
	struct fake_machine *x = *state;

	assert_int_equal(new_place(x, 1), FAKE_WIN32);
	fake_config_write(x, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	fake_config_write(x, 1, PCI_BAR0, (uint32_t)FAKE_WIN32 + BAR0_SIZE, 4);
	assert_int_equal(new_place(x, 2), FAKE_WIN32);
	assert_int_equal(new_place(x, 3), FAKE_WIN32 + 2 * BAR0_SIZE);
	/* The second one of 64 bits, by two writes. */
	fake_config_write(x, 1, PCI_BAR0 + 8, (uint32_t)FAKE_WIN64 + 3 * BAR2_SIZE, 4);
	assert_int_equal(new_place(x, 4), FAKE_WIN32 + 3 * BAR0_SIZE);
	assert_int_equal(pci_config_bar(&pci_bus_function(x->pci, 4)->config, 2), FAKE_WIN64);
	/* Out of sight, for sizing or for good: the last place that was seen counts. */
	fake_config_write(x, 1, PCI_BAR0, UINT32_MAX, 4);
	fake_config_write(x, 1, PCI_COMMAND, 0, 2);
	assert_int_equal(new_place(x, 5), FAKE_WIN32 + 4 * BAR0_SIZE);
	assert_int_equal(pci_bus_remove(x->pci, 1), 0);
	assert_int_equal(new_place(x, 6), FAKE_WIN32 + BAR0_SIZE);
}

/* A guest that puts one BAR on another's place, and lets that one go: the place is not free. */
static void test_places_on_top_of_each_other(void **state)
{
	struct fake_machine *x = *state;

	assert_int_equal(new_place(x, 1), FAKE_WIN32);
	assert_int_equal(new_place(x, 2), FAKE_WIN32 + BAR0_SIZE);
	fake_config_write(x, 2, PCI_BAR0, (uint32_t)FAKE_WIN32, 4);
	fake_config_write(x, 2, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(fake_guest_read(x->mmio, FAKE_WIN32, 1), 0xa0);
	assert_int_equal(pci_bus_remove(x->pci, 1), 0);
	assert_int_equal(new_place(x, 1), FAKE_WIN32 + BAR0_SIZE);
}

static void test_full(void **state)
{
	struct fake_machine *x = *state;
	struct probe *p;
	struct err e = { 0 };

	for (int i = 1; i < PCI_SLOTS; i++)
		assert_int_equal(pci_bus_add(x->pci, &new_probe(x->loop)->f, -1, NULL), i);
	p = new_probe(x->loop);
	assert_int_equal(pci_bus_add(x->pci, &p->f, -1, &e), -ENOSPC);
	assert_int_equal(pci_bus_add(x->pci, &p->f, 3, &e), -EBUSY);
	assert_int_equal(pci_bus_add(x->pci, &p->f, 32, &e), -ENOSPC);
	assert_int_equal(pci_bus_remove(x->pci, 3), 0);
	assert_int_equal(pci_bus_remove(x->pci, 3), -ENOENT);
	assert_int_equal(pci_bus_remove(x->pci, 77), -ENOENT);
	assert_null(pci_bus_function(x->pci, 3));
	assert_int_equal(pci_bus_add(x->pci, &p->f, -1, &e), 3);
	assert_ptr_equal(pci_bus_function(x->pci, 3), &p->f);
	/* The place came back with the slot. */
	assert_int_equal(pci_config_bar(&p->f.config, 0), FAKE_WIN32 + 2 * BAR0_SIZE);
}

static void test_no_address_space(void **state)
{
	struct fake_machine *x = *state;
	struct probe *p = new_probe(x->loop);

	/* The second does not fit any more: the first is given back. */
	assert_int_equal(pci_config_add_bar(&p->f.config, 1, FAKE_WIN32_SZ, 0), 0);
	assert_int_equal(pci_bus_add(x->pci, &p->f, -1, NULL), -ENOSPC);
	pci_function_free(&p->f);
	p = new_probe(x->loop);
	assert_int_equal(pci_bus_add(x->pci, &p->f, -1, NULL), 1);
	assert_int_equal(pci_config_bar(&p->f.config, 0), FAKE_WIN32);
}

static void test_hotplug(void **state)
{
	struct fake_machine *x = *state;
	struct events ev = { 0 };
	struct probe *p = new_probe(x->loop);
	bool freed = false;

	p->freed = &freed;
	assert_int_equal(pci_bus_add(x->pci, &new_probe(x->loop)->f, 1, NULL), 1);
	assert_int_equal(pci_bus_request_removal(x->pci, 1), -EPERM); /* no hot-plug yet */
	pci_bus_set_hotplug(x->pci, &hotplug, &ev);
	assert_int_equal(pci_bus_add(x->pci, &p->f, -1, NULL), 2);
	assert_int_equal(ev.up, 1 << 2);
	fake_config_write(x, 2, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);

	assert_int_equal(pci_bus_request_removal(x->pci, 0), -EPERM);
	assert_int_equal(pci_bus_request_removal(x->pci, 9), -ENOENT);
	assert_int_equal(pci_bus_request_removal(x->pci, 32), -ENOENT);
	assert_int_equal(ev.down, 0);
	assert_int_equal(pci_bus_request_removal(x->pci, 2), 0);
	assert_int_equal(pci_bus_request_removal(x->pci, 2), 0);
	assert_int_equal(ev.down, 1 << 2);
	/* It works on until the guest lets go. */
	assert_int_equal(fake_guest_read(x->mmio, FAKE_WIN32 + BAR0_SIZE, 1), 0xa0);
	assert_false(freed);
	pci_bus_ejected(x->pci, 2);
	assert_true(freed);
	assert_int_equal(ev.gone, 1 << 2);
	assert_int_equal(fake_config_read(x, 2, 0, 4), UINT32_MAX);
	assert_int_equal(fake_guest_read(x->mmio, FAKE_WIN32 + BAR0_SIZE, 1), 0xff);
	pci_bus_ejected(x->pci, 2);
	pci_bus_ejected(x->pci, 32);
	assert_int_equal(ev.gone, 1 << 2);

	/* A slot that was asked for once is not asked for with its next function. */
	p = new_probe(x->loop);
	assert_int_equal(pci_bus_add(x->pci, &p->f, 2, NULL), 2);
	pci_bus_ejected(x->pci, 2);
	assert_int_equal(p->resets, 1);
}

/* ---- who looks at a function while it goes ---- */

struct watcher {
	struct loop *loop; /* the function's */
	pthread_t thread;
	bool freed, told;
	atomic_bool began, missed;
};

/* As whoever has something to do with the function: by what is known inside its loop. */
static void *look(void *arg)
{
	struct watcher *w = arg;

	atomic_store(&w->began, true);
	loop_enter(w->loop);
	atomic_store(&w->missed, w->freed && !w->told);
	loop_leave(w->loop);
	return NULL;
}

static void on_watched_gone(void *userdata, unsigned slot)
{
	struct watcher *w = userdata;

	assert_true(w->freed);
	assert_int_equal(pthread_create(&w->thread, NULL, look, w), 0);
	while (!atomic_load(&w->began))
		usleep(1000);
	usleep(20000);
	w->told = true;
}

/* Nobody finds a function freed and has not been told. */
static void test_told_before_anybody_looks(void **state)
{
	static const struct pci_hotplug_ops watched = { on_up, on_down, on_watched_gone };
	struct fake_machine *x = *state;
	struct events ev = { 0 };
	struct watcher w = { 0 };
	struct probe *p;

	assert_int_equal(loop_new(&w.loop, NULL), 0);
	p = new_probe(w.loop);
	p->freed = &w.freed;
	assert_int_equal(pci_bus_add(x->pci, &p->f, 1, NULL), 1);
	pci_bus_set_hotplug(x->pci, &hotplug, &ev);
	assert_int_equal(pci_bus_request_removal(x->pci, 1), 0);
	pci_bus_set_hotplug(x->pci, &watched, &w);
	pci_bus_ejected(x->pci, 1);
	pthread_join(w.thread, NULL);
	assert_true(w.told);
	assert_false(atomic_load(&w.missed));
	loop_free(w.loop);
}

static void test_unasked_eject(void **state)
{
	struct fake_machine *x = *state;
	struct events ev = { 0 };
	struct probe *p = new_probe(x->loop);

	pci_bus_set_hotplug(x->pci, &hotplug, &ev);
	assert_int_equal(pci_bus_add(x->pci, &p->f, 1, NULL), 1);
	fake_config_write(x, 1, PCI_BAR0, FAKE_WIN32 + 0x10000, 4);
	fake_config_write(x, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	pci_bus_ejected(x->pci, 1);
	assert_int_equal(p->resets, 1);
	assert_int_equal(p->mapped, p->unmapped);
	assert_int_equal(ev.gone, 0);
	assert_int_equal(fake_config_read(x, 1, PCI_BAR0, 4), FAKE_WIN32 + 0x10000); /* its place is there now */
	pci_bus_ejected(x->pci, 0);
	assert_int_equal(fake_config_read(x, 0, 0, 4), 0x00081b36);
}

static void test_move(void **state)
{
	struct fake_machine *x = *state;
	struct events ev = { 0 };
	struct probe *p;
	struct state *s;
	struct err e = { 0 };

	/* After some coming and going the addresses are not those of a new machine. */
	assert_int_equal(pci_bus_add(x->pci, &new_probe(x->loop)->f, 1, NULL), 1);
	assert_int_equal(pci_bus_add(x->pci, &new_probe(x->loop)->f, 2, NULL), 2);
	assert_int_equal(pci_bus_remove(x->pci, 1), 0);
	pci_bus_set_hotplug(x->pci, &hotplug, &ev);
	assert_int_equal(pci_bus_request_removal(x->pci, 2), 0);
	fake_config_write(x, 2, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	port_read(x, 0x80001000, 0, 4);
	pci_bus_pause(x->pci);
	assert_int_equal(state_new(&s), 0);
	pci_bus_save(x->pci, s);
	pci_bus_free(x->pci);

	fake_machine_add_bus(x);
	assert_int_equal(pci_bus_load(x->pci, s, &e), -EINVAL);
	assert_non_null(strstr(e.text, "PCI slot 2 is empty"));
	p = new_probe(x->loop);
	assert_int_equal(pci_bus_add(x->pci, &p->f, 2, NULL), 2);
	assert_int_equal(pci_config_bar(&p->f.config, 0), FAKE_WIN32);
	assert_int_equal(pci_bus_load(x->pci, s, NULL), 0);
	assert_int_equal(pci_config_bar(&p->f.config, 0), FAKE_WIN32 + BAR0_SIZE);
	assert_int_equal(fake_guest_read(x->mmio, FAKE_WIN32 + BAR0_SIZE, 1), 0xa0);
	assert_int_equal(fake_guest_read(x->pio, PCI_PORTS, 4), 0x80001000);
	pci_bus_resume(x->pci);
	assert_int_equal(p->resumes, 1);
	/* The next two functions get what is free. */
	for (int i = 3; i < 5; i++) {
		struct probe *other = new_probe(x->loop);

		assert_int_equal(pci_bus_add(x->pci, &other->f, i, NULL), i);
		assert_int_not_equal(pci_config_bar(&other->f.config, 0), FAKE_WIN32 + BAR0_SIZE);
		assert_int_not_equal(pci_config_bar(&other->f.config, 2), pci_config_bar(&p->f.config, 2));
	}
	/* The request goes on. */
	pci_bus_ejected(x->pci, 2);
	assert_null(pci_bus_function(x->pci, 2));
	assert_int_equal(pci_bus_load(x->pci, s, &e), -EINVAL);
	state_free(s);
}

static void test_loop_of_its_own(void **state)
{
	struct fake_machine *x = *state;
	struct loop *other;
	struct probe *p;

	assert_int_equal(loop_new(&other, NULL), 0);
	p = new_probe(other);
	assert_int_equal(pci_bus_add(x->pci, &p->f, 1, NULL), 1);
	fake_config_write(x, 1, PCI_COMMAND, PCI_COMMAND_MEMORY, 2);
	assert_int_equal(fake_guest_read(x->mmio, FAKE_WIN32, 1), 0xa0);
	pci_bus_pause(x->pci);
	pci_bus_resume(x->pci);
	assert_int_equal(p->pauses + p->resumes, 2);
	assert_int_equal(pci_bus_remove(x->pci, 1), 0);
	loop_free(other);
}

static void *read_bar(void *arg)
{
	struct fake_machine *x = arg;
	size_t seen = 0;

	for (int i = 0; i < 5000; i++) {
		uint64_t v = fake_guest_read(x->mmio, FAKE_WIN32, 1);

		if (v != 0xff && v != 0xa0)
			return NULL;
		seen++;
	}
	return (void *)seen;
}

/* One processor moves the BAR about while others read it: a read sees it or does not. */
static void test_moves_under_way(void **state)
{
	struct fake_machine *x = *state;
	struct probe *p = new_probe(x->loop);
	pthread_t threads[2];
	void *seen;

	assert_int_equal(pci_bus_add(x->pci, &p->f, 1, NULL), 1);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, read_bar, x), 0);
	for (int i = 0; i < 2000; i++)
		fake_config_write(x, 1, i & 1 ? PCI_COMMAND : PCI_BAR0,
				  i & 1 ? (i & 2 ? PCI_COMMAND_MEMORY : 0)
					: (uint32_t)FAKE_WIN32 + (i & 4 ? BAR0_SIZE : 0),
				  i & 1 ? 2 : 4);
	assert_int_equal(pci_bus_remove(x->pci, 1), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(pthread_join(threads[i], &seen), 0);
		assert_int_equal((size_t)seen, 5000);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_enumeration, setup, teardown),
		cmocka_unit_test_setup_teardown(test_ports, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bars, setup, teardown),
		cmocka_unit_test_setup_teardown(test_overlap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_places_follow_the_guest, setup, teardown),
		cmocka_unit_test_setup_teardown(test_places_on_top_of_each_other, setup, teardown),
		cmocka_unit_test_setup_teardown(test_full, setup, teardown),
		cmocka_unit_test_setup_teardown(test_no_address_space, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hotplug, setup, teardown),
		cmocka_unit_test_setup_teardown(test_told_before_anybody_looks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unasked_eject, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_loop_of_its_own, setup, teardown),
		cmocka_unit_test_setup_teardown(test_moves_under_way, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
