/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Between the eventfds of devices, the chip that the guest programs, and KVM's table of routes, in which the first 24
 * interrupts are the lines of this chip.
 *
 * KVM tells of the end of an interrupt only while a route says that it is level-triggered. So level-triggered lines
 * have their route even when they are masked, but no irqfd.
 */
#include "vm/ioapic_lines.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "hw/ioapic.h"

struct line {
	int fd; /* -1: nobody has it */
	bool level;
	struct loop_source *watch; /* of a level-triggered line that somebody has */
};

struct ioapic_lines {
	struct vmm *vm;
	struct ioapic *chip;
	struct line lines[IOAPIC_PINS];
};

/* The guest set a line up, and the host cannot: its devices would never be heard again. */
static void fail(struct ioapic_lines *l, unsigned pin, int code)
{
	char why[96];

	snprintf(why, sizeof why, "KVM cannot connect interrupt line %u: %s", pin, strerrordesc_np(-code));
	machine_end(l->vm, VMM_END_ERROR, false, why);
}

static void take_pulse(struct ioapic_lines *l, unsigned pin)
{
	uint64_t n;

	/* How many there were does not matter: what the device has to say is all there when the guest looks. */
	if (read(l->lines[pin].fd, &n, sizeof n) == (ssize_t)sizeof n)
		ioapic_raise(l->chip, pin);
}

static void on_pulse(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct ioapic_lines *l = userdata;

	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		if (l->lines[i].watch == source)
			take_pulse(l, i);
}

/* Let pulses come to where the line's trigger mode wants them. */
static int connect(struct ioapic_lines *l, unsigned pin)
{
	struct line *line = &l->lines[pin];

	if (line->fd < 0)
		return 0;
	if (!line->level)
		return kvm_vm_irqfd(l->vm->kvm_vm, pin, line->fd, true);
	return loop_add_io(l->vm->loop, line->fd, EPOLLIN, on_pulse, l, &line->watch);
}

static void disconnect(struct ioapic_lines *l, unsigned pin)
{
	struct line *line = &l->lines[pin];

	if (line->fd < 0)
		return;
	loop_source_free(line->watch);
	line->watch = NULL;
	if (!line->level)
		kvm_vm_irqfd(l->vm->kvm_vm, pin, line->fd, false);
}

/* The new route is there before pulses can take it, and the old one as long as they may. */
static void set_line(struct ioapic_lines *l, unsigned pin, bool level, const struct ioapic_message *m)
{
	struct line *line = &l->lines[pin];
	bool changes = line->level != level;
	int r;

	if (changes)
		disconnect(l, pin);
	line->level = level;
	r = kvm_vm_route_pin(l->vm->kvm_vm, pin, m != NULL, m ? m->address : 0, m ? m->data : 0);
	if (r == 0 && changes)
		r = connect(l, pin);
	if (r < 0)
		fail(l, pin, r);
}

static void on_edge(void *userdata, unsigned pin, const struct ioapic_message *m)
{
	set_line(userdata, pin, false, m);
}

static void on_level(void *userdata, unsigned pin, const struct ioapic_message *m)
{
	set_line(userdata, pin, true, m);
}

static void on_send(void *userdata, const struct ioapic_message *m)
{
	struct ioapic_lines *l = userdata;

	/* It fails where the guest has no such CPU, which is its business. */
	kvm_vm_signal_msi(l->vm->kvm_vm, m->address, m->data, 0);
}

static const struct ioapic_ops ops = { on_edge, on_level, on_send };

int ioapic_lines_new(struct vmm *vm, uint64_t base, struct ioapic_lines **ret, struct err *e)
{
	struct ioapic_lines *l = calloc(1, sizeof *l);
	int r = l ? ioapic_new(&ops, l, &l->chip) : -ENOMEM;

	if (r == 0) {
		l->vm = vm;
		for (unsigned i = 0; i < IOAPIC_PINS; i++)
			l->lines[i].fd = -1;
		r = bus_add(vm->mmio, base, IOAPIC_SIZE, &ioapic_bus, l->chip, vm->loop);
	}
	if (r < 0) {
		if (l)
			ioapic_free(l->chip);
		free(l);
		return err_sys(e, -r, "cannot make the I/O APIC");
	}
	*ret = l;
	return 0;
}

void ioapic_lines_free(struct ioapic_lines *l)
{
	if (!l)
		return;
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		loop_source_free(l->lines[i].watch);
	ioapic_free(l->chip);
	free(l);
}

int ioapic_lines_attach(struct ioapic_lines *l, uint32_t gsi, int fd)
{
	int r;

	if (gsi >= IOAPIC_PINS)
		return -EINVAL;
	if (l->lines[gsi].fd >= 0)
		return -EEXIST;
	l->lines[gsi].fd = fd;
	r = connect(l, gsi);
	if (r < 0)
		l->lines[gsi].fd = -1;
	return r;
}

void ioapic_lines_detach(struct ioapic_lines *l, uint32_t gsi, int fd)
{
	if (gsi >= IOAPIC_PINS || l->lines[gsi].fd != fd)
		return;
	disconnect(l, gsi);
	l->lines[gsi].fd = -1;
}

void ioapic_lines_end_of_interrupt(void *lines, uint8_t vector)
{
	struct ioapic_lines *l = lines;

	loop_enter(l->vm->loop);
	ioapic_end_of_interrupt(l->chip, vector);
	loop_leave(l->vm->loop);
}

void ioapic_lines_save(struct ioapic_lines *l, struct state *s)
{
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		if (l->lines[i].watch)
			take_pulse(l, i);
	ioapic_save(l->chip, s);
}

int ioapic_lines_load(struct ioapic_lines *l, const struct state *s, struct err *e)
{
	int r, committed;

	kvm_vm_route_hold(l->vm->kvm_vm);
	r = ioapic_load(l->chip, s, e);
	committed = kvm_vm_route_release(l->vm->kvm_vm);
	if (r == 0 && committed < 0)
		r = err_sys(e, -committed, "KVM does not take the table of interrupts");
	return r;
}
