/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts of devices where the I/O APIC is the monitor's: a small guest takes them by its vectors, as edges and as
 * levels, before and after a snapshot.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "boot/layout_x86.h"
#include "guestmem/le.h"
#include "vm/machine.h"
#include "vm/snapshot_fixture.h"

/* Entry n of the guest's interrupt table, at 0x4000: the handler's address is in rax. */
#define GATE(n)                                                                                                        \
	"mov $0x4000 + 16 * " #n ", %rdi\n mov %ax, (%rdi)\n movw $0x10, 2(%rdi)\n movw $0x8e00, 4(%rdi)\n"            \
	"mov %rax, %rdx\n shr $16, %rdx\n mov %dx, 6(%rdi)\n movq $0, 8(%rdi)\n"
/* The chip's address is in rcx. */
#define REGISTER(n, v)   "movl $" #n ", (%rcx)\n movl $" #v ", 0x10(%rcx)\n"
#define END_OF_INTERRUPT "movl $0, 0xb0(%rbp)\n iretq\n"

/*
 * Line 4, the serial port: vector 0x40, an edge. What comes is said again.
 * Line 5, ACPI events: vector 0x41, a level. Says b, and goes on when it may: the number at 0x3000 is how often.
 * Line 6, the first virtio device: vector 0x42, an edge. Says v.
 */
MICRO_GUEST(interrupts,
	    "lea serial(%rip), %rax\n" GATE(0x40) "lea events(%rip), %rax\n" GATE(0x41) "lea virtio(%rip), %rax\n" GATE(
		    0x42) "movw $0xfff, -16(%rsp)\n movq $0x4000, -14(%rsp)\n lidt -16(%rsp)\n"
			  "mov $0xfee00000, %rbp\n movl $0x1ff, 0xf0(%rbp)\n"
			  "mov $0xc0200000, %rbx\n"
			  "mov $0xfec00000, %rcx\n" REGISTER(0x18, 0x40) REGISTER(0x1a, 0x8041) REGISTER(0x1c, 0x42)
	    /* one in all of its ways, to leave it in the first */
	    REGISTER(0x1c, 0x8042) REGISTER(0x1c, 0x10042) REGISTER(
		    0x1c,
		    0x42) "mov $0x3f9, %dx\n mov $1, %al\n out %al, %dx\n" /* tell when there is input */
			  "mov $0x3fc, %dx\n mov $8, %al\n out %al, %dx\n" PRINT(
				  "r") "1: sti\n hlt\n jmp 1b\n"
				       "serial: mov $0x3f8, %dx\n in %dx, %al\n out %al, %dx\n" END_OF_INTERRUPT
				       "events: mov (%rbx), %al\n" PRINT("b") "2: pause\n cmpl $0, 0x3000\n je 2b\n "
									      "lock decl 0x3000\n" END_OF_INTERRUPT
									      "virtio: " PRINT("v") END_OF_INTERRUPT);

struct pipes {
	int in[2], out[2];
};

static void say(const struct pipes *p, const char *text)
{
	assert_int_equal(write(p->in[1], text, strlen(text)), strlen(text));
}

static void hear(const struct pipes *p, char c)
{
	struct pollfd fd = { .fd = p->out[0], .events = POLLIN };
	char is = 0;

	assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
	assert_int_equal(read(p->out[0], &is, 1), 1);
	assert_int_equal(is, c);
}

/* After any number of b. */
static void hear_at_last(const struct pipes *p, char c)
{
	char is = 'b';

	while (is == 'b') {
		struct pollfd fd = { .fd = p->out[0], .events = POLLIN };

		assert_int_equal(poll(&fd, 1, PATIENCE_MS), 1);
		assert_int_equal(read(p->out[0], &is, 1), 1);
	}
	assert_int_equal(is, c);
}

/* The events' interrupt may end so often. */
static void let(struct vmm *vm, unsigned n)
{
	__atomic_fetch_add((uint32_t *)(void *)(vm->memory.ram[0].host + 0x3000), n, __ATOMIC_SEQ_CST);
}

static void press(struct vmm *vm)
{
	struct err e = { 0 };

	ok(vmm_power_button(vm, &e), &e);
}

static void set32(struct vmm *vm, uint64_t at, uint32_t v)
{
	bus_write(vm->mmio, at, &v, sizeof v);
}

/* VirtIO 1.2 §3.1.1: the driver of the first device is ready, and has no queue. */
static void drive(struct vmm *vm)
{
	set32(vm, X86_VIRTIO_MMIO + 0x70, 0);
	set32(vm, X86_VIRTIO_MMIO + 0x70, 3);
	set32(vm, X86_VIRTIO_MMIO + 0x24, 1);
	set32(vm, X86_VIRTIO_MMIO + 0x20, 1); /* VERSION_1 */
	set32(vm, X86_VIRTIO_MMIO + 0x70, 11);
	set32(vm, X86_VIRTIO_MMIO + 0x70, 15);
}

static void make(struct guest *g, struct pipes *p, enum vmm_shape shape, bool split)
{
	struct vmm_config c;
	struct err e = { 0 };
	char path[64];

	if (!micro_guest_possible())
		skip();
	memset(g, 0, sizeof *g);
	g->kernel = make_kernel(micro_interrupts, (size_t)(micro_interrupts_end - micro_interrupts));
	assert_int_equal(pipe(g->console), 0);
	assert_int_equal(pipe(p->in), 0);
	assert_int_equal(pipe(p->out), 0);
	c = small(g, path, sizeof path);
	c.shape = shape;
	c.memory = MEMORY;
	c.split_irqchip = split;
	c.serial_in = p->in[0];
	c.serial_out = p->out[1];
	ok(vmm_new(&c, &g->vm, &e), &e);
	ok(vmm_add_balloon(g->vm, "balloon", &(struct vmm_balloon){ 0 }, &e), &e);
}

static void close_pipes(struct pipes *p)
{
	close(p->in[0]);
	close(p->in[1]);
	close(p->out[0]);
	close(p->out[1]);
}

static void edges_and_levels(bool split)
{
	struct err e = { 0 };
	struct guest g;
	struct pipes p;

	make(&g, &p, VMM_SHAPE_MICRO, split);
	start(&g);
	hear(&p, 'r');
	for (char c = 'c'; c < 'h'; c++) {
		say(&p, (char[]){ c, '\0' });
		hear(&p, c);
	}
	for (int i = 0; i < 3; i++) {
		press(g.vm);
		hear(&p, 'b');
		let(g.vm, 1);
	}
	drive(g.vm);
	for (uint64_t n = 1; n < 4; n++) {
		ok(vmm_set_balloon(g.vm, n << 20, &e), &e);
		hear(&p, 'v');
	}
	end(&g);
	close_pipes(&p);
}

/* KVM's own I/O APIC is the measure. */
static void test_edges_and_levels(void **state)
{
	edges_and_levels(false);
	edges_and_levels(true);
}

/*
 * A level-triggered interrupt is on its way. The one to come is in the chip or in the local APIC: the build machines'
 * KVM tells of the end of an interrupt as soon as it has begun.
 */
static void check_state(const struct place *place)
{
	_cleanup_(state_free_p) struct state *s = read_state(place);
	const struct state *ioapic = state_get_child(state_get_child(s, "board", NULL), "ioapic", NULL);
	le64 table[24];

	assert_int_equal(state_get_bytes(ioapic, "table", table, sizeof table, NULL), 0);
	assert_int_equal(le64_get(table[4]), 0x40);
	assert_int_equal(le64_get(table[5]), 0xc041);
	assert_int_equal(le64_get(table[6]), 0x42);
	assert_int_equal(le64_get(table[7]), 0x10000);
}

static void round_trip(enum vmm_shape shape)
{
	struct vmm_restore c;
	struct pipes p, q;
	struct place place;
	struct guest g;
	struct vmm *vm;

	make(&g, &p, shape, true);
	start(&g);
	hear(&p, 'r');
	press(g.vm);
	hear(&p, 'b');
	/* In the middle of one that is level-triggered, and with one more to come. */
	press(g.vm);
	pause_guest(g.vm);
	make_place(&place);
	take(g.vm, place.state, place.memory, false);
	check_state(&place);
	end(&g);

	assert_int_equal(pipe(q.in), 0);
	assert_int_equal(pipe(q.out), 0);
	c = from(&place);
	c.serial_in = q.in[0];
	c.serial_out = q.out[1];
	vm = restore(&c);
	assert_int_equal(vmm_resume(vm, NULL), 0);
	let(vm, 1);
	hear(&q, 'b');
	/* There may be one more: the new generation id is told by the same line. */
	let(vm, 1000);
	say(&q, "x");
	hear_at_last(&q, 'x');
	vmm_free(vm);
	drop_place(&place);
	close_pipes(&p);
	close_pipes(&q);
}

static void test_round_trip(void **state)
{
	round_trip(VMM_SHAPE_MICRO);
	round_trip(VMM_SHAPE_CLOUD);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_edges_and_levels),
		cmocka_unit_test(test_round_trip),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
