/* SPDX-License-Identifier: Apache-2.0 */
/* This layer against the host's own KVM, by small guests. Without /dev/kvm every test is skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <linux/kvm.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "kvm/micro_guest.h"
#include "state/state.h"

static void begin(struct micro_guest *g, unsigned vcpus, bool split, bool dirty, const uint8_t *code,
		  const uint8_t *end)
{
	struct err e = { 0 };

	if (!micro_guest_possible())
		skip();
	if (micro_guest_init(g, vcpus, split, dirty, &e) < 0 || micro_guest_start(g, code, end, &e) < 0)
		fail_msg("%s", e.text);
}

static void go(struct micro_guest *g)
{
	if (!micro_guest_go(g))
		fail_msg("%s%s", g->timed_out ? "timed out: " : "", g->exit.text);
}

/* Records accesses; reads give 0x11223344… */
struct trace {
	char text[256];
};

static void trace_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct trace *t = device;
	size_t n = strlen(t->text);

	memcpy(data, "\x44\x33\x22\x11\x88\x77\x66\x55", len);
	snprintf(t->text + n, sizeof t->text - n, "r%x.%u ", (unsigned)offset, len);
}

static void trace_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct trace *t = device;
	size_t n = strlen(t->text);
	uint64_t v = 0;

	memcpy(&v, data, len);
	snprintf(t->text + n, sizeof t->text - n, "w%x.%u=%llx ", (unsigned)offset, len, (unsigned long long)v);
}

static const struct bus_handler trace_handler = { trace_read, trace_write };

MICRO_GUEST(ports, "mov $0x200, %dx\n"
		   "mov $0x12345678, %eax\n"
		   "out %al, %dx\n"
		   "add $2, %dx\n"
		   "out %ax, %dx\n"
		   "add $2, %dx\n"
		   "out %eax, %dx\n"
		   "xor %eax, %eax\n"
		   "in %dx, %eax\n"
		   "mov $0x201, %dx\n"
		   "out %eax, %dx\n" /* crosses the range's end: nobody */
		   "mov $0x300, %dx\n"
		   "in %dx, %al\n" /* nobody: all ones */
		   "mov $0x200, %dx\n"
		   "out %al, %dx\n" MICRO_END);

static void test_ports(void **state)
{
	struct micro_guest g;
	struct trace t = { 0 };

	begin(&g, 1, false, false, micro_ports, micro_ports_end);
	assert_int_equal(bus_add(g.io.pio, 0x200, 3, &trace_handler, &t, NULL), 0);
	assert_int_equal(bus_add(g.io.pio, 0x203, 8, &trace_handler, &t, NULL), 0);
	go(&g);
	assert_string_equal(t.text, "w0.1=78 w1.4=12345678 r1.4 w0.1=ff ");
	micro_guest_fini(&g);
}

MICRO_GUEST(mmio, "mov $0xd0000000, %rbx\n"
		  "mov $0x1122334455667788, %rax\n"
		  "mov %al, (%rbx)\n"
		  "mov %ax, 2(%rbx)\n"
		  "mov %eax, 4(%rbx)\n"
		  "mov %rax, 8(%rbx)\n"
		  "mov 16(%rbx), %rax\n"
		  "mov %eax, 20(%rbx)\n"
		  "mov 0x1000(%rbx), %eax\n" /* nobody */
		  "mov %eax, 24(%rbx)\n" MICRO_END);

static void test_mmio(void **state)
{
	struct micro_guest g;
	struct trace t = { 0 };

	begin(&g, 1, false, false, micro_mmio, micro_mmio_end);
	assert_int_equal(bus_add(g.io.mmio, 0xd0000000, 0x100, &trace_handler, &t, NULL), 0);
	go(&g);
	assert_string_equal(t.text, "w0.1=88 w2.2=7788 w4.4=55667788 w8.8=1122334455667788 r10.8 w14.4=11223344 "
				    "w18.4=ffffffff ");
	micro_guest_fini(&g);
}

MICRO_GUEST(kicks, "mov $0xd0000050, %rbx\n"
		   "movl $0, (%rbx)\n"
		   "movl $1, (%rbx)\n"
		   "movl $1, (%rbx)\n"
		   "movl $9, (%rbx)\n"
		   "movw $9, 0x10(%rbx)\n"
		   "mov $0x210, %dx\n"
		   "out %ax, %dx\n" MICRO_END);

static uint64_t counted(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof n) == sizeof n ? n : 0;
}

static void test_kicks_do_not_reach_the_bus(void **state)
{
	const uint64_t queue[] = { 0, 1 };
	struct micro_guest g;
	struct trace t = { 0 };
	int fds[4];

	begin(&g, 1, false, false, micro_kicks, micro_kicks_end);
	for (int i = 0; i < 4; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(bus_add(g.io.mmio, 0xd0000000, 0x100, &trace_handler, &t, NULL), 0);
	assert_int_equal(kvm_vm_ioeventfd(g.vm, BUS_MMIO, 0xd0000050, 4, &queue[0], fds[0], true), 0);
	assert_int_equal(kvm_vm_ioeventfd(g.vm, BUS_MMIO, 0xd0000050, 4, &queue[1], fds[1], true), 0);
	assert_int_equal(kvm_vm_ioeventfd(g.vm, BUS_MMIO, 0xd0000060, 0, NULL, fds[2], true), 0);
	assert_int_equal(kvm_vm_ioeventfd(g.vm, BUS_PIO, 0x210, 2, NULL, fds[3], true), 0);
	assert_int_equal(kvm_vm_ioeventfd(g.vm, BUS_PIO, 0x210, 2, NULL, fds[3], true), -EEXIST);
	go(&g);
	assert_int_equal(counted(fds[0]), 1);
	assert_int_equal(counted(fds[1]), 2);
	assert_int_equal(counted(fds[2]), 1);
	assert_int_equal(counted(fds[3]), 1);
	assert_string_equal(t.text, "w50.4=9 ");
	assert_int_equal(kvm_vm_ioeventfd(g.vm, BUS_MMIO, 0xd0000050, 4, &queue[1], fds[1], false), 0);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
	micro_guest_fini(&g);
}

/*
 * Three interrupts: line 6 by the I/O APIC to vector 0x40, messages to vectors 0x41 and 0x42. The handlers count at
 * 0x3000, and the guest ends after the third. Gates are at 0x4000.
 */
MICRO_GUEST(interrupts, "lea handler(%rip), %rax\n"
			"mov $0x4400, %rbx\n" /* vector 0x40 */
			"mov $3, %ecx\n"
			"1: mov %ax, (%rbx)\n"
			"movw $0x10, 2(%rbx)\n"
			"movw $0x8e00, 4(%rbx)\n"
			"mov %rax, %rdx\n"
			"shr $16, %rdx\n"
			"mov %dx, 6(%rbx)\n"
			"movq $0, 8(%rbx)\n"
			"add $16, %rbx\n"
			"dec %ecx\n"
			"jnz 1b\n"
			"movw $0xfff, -16(%rsp)\n"
			"movq $0x4000, -14(%rsp)\n"
			"lidt -16(%rsp)\n"
			"mov $0xfee00000, %rbx\n"
			"movl $0x1ff, 0xf0(%rbx)\n" /* enable the local APIC */
			"mov $0xfec00000, %rcx\n"
			"movl $0x1c, (%rcx)\n" /* line 6, low half: vector 0x40, edge, unmasked */
			"movl $0x40, 0x10(%rcx)\n"
			"mov $0x80, %dx\n"
			"out %al, %dx\n" /* ready */
			"2: sti\n"
			"hlt\n"
			"cli\n"
			"cmpl $3, 0x3000\n"
			"jb 2b\n" MICRO_END "handler: incl 0x3000\n"
			"push %rbx\n"
			"mov $0xfee00000, %rbx\n"
			"movl $0, 0xb0(%rbx)\n" /* end of interrupt */
			"pop %rbx\n"
			"iretq\n");

struct raise {
	struct micro_guest *g;
	int fds[2];
};

static void raise_all(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct raise *r = device;
	uint64_t one = 1;

	for (int i = 0; i < 2; i++)
		assert_int_equal(write(r->fds[i], &one, sizeof one), sizeof one);
	assert_int_equal(kvm_vm_signal_msi(r->g->vm, 0xfee00000, 0x42, 0), 0);
}

static void test_interrupts(void **state)
{
	static const struct bus_handler ready = { trace_read, raise_all };
	struct micro_guest g;
	struct raise r = { .g = &g };
	uint32_t gsi;

	begin(&g, 1, false, false, micro_interrupts, micro_interrupts_end);
	for (int i = 0; i < 2; i++)
		r.fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(kvm_vm_irqfd(g.vm, 6, r.fds[0], true), 0);
	kvm_vm_route_hold(g.vm);
	assert_int_equal(kvm_vm_route_add(g.vm, 0xfee00000, 0x99, 0, &gsi), 0);
	assert_int_equal(kvm_vm_irqfd(g.vm, gsi, r.fds[1], true), 0);
	assert_int_equal(kvm_vm_route_update(g.vm, gsi, 0xfee00000, 0x41), 0);
	assert_int_equal(kvm_vm_route_release(g.vm), 0);
	assert_true(gsi >= KVM_PINS);
	assert_int_equal(bus_add(g.io.pio, 0x80, 1, &ready, &r, NULL), 0);
	go(&g);
	assert_int_equal(g.ram[0x3000], 3);
	kvm_vm_route_remove(g.vm, gsi);
	assert_int_equal(kvm_vm_route_update(g.vm, gsi, 0, 0), -ENOENT);
	for (int i = 0; i < 2; i++)
		close(r.fds[i]);
	micro_guest_fini(&g);
}

struct split {
	struct micro_guest *g;
	int pins[2];
	uint8_t ended;
};

static void on_end(void *userdata, uint8_t vector)
{
	struct split *s = userdata;

	s->ended = vector;
}

static void raise_split(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct split *s = device;
	uint64_t one = 1;

	/* Of the second pin the route is away again. */
	assert_int_equal(kvm_vm_route_pin(s->g->vm, 6, true, 0xfee00000, 0x4040), 0);
	assert_int_equal(kvm_vm_route_pin(s->g->vm, 7, true, 0xfee00000, 0x4041), 0);
	assert_int_equal(kvm_vm_route_pin(s->g->vm, 7, false, 0, 0), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(write(s->pins[i], &one, sizeof one), sizeof one);
	assert_int_equal(kvm_vm_route_pin(s->g->vm, 7, true, 0xfee00000, 0x4041), 0);
	assert_int_equal(write(s->pins[1], &one, sizeof one), sizeof one);
	/* Level-triggered: KVM tells of its end as the route of a pin says so. */
	assert_int_equal(kvm_vm_route_pin(s->g->vm, 8, true, 0xfee00000, 0xc042), 0);
	assert_int_equal(kvm_vm_signal_msi(s->g->vm, 0xfee00000, 0xc042, 0), 0);
}

static void test_split_interrupt_controller(void **state)
{
	static const struct bus_handler ready = { trace_read, raise_split };
	struct micro_guest g;
	struct split s = { .g = &g };
	struct trace t = { 0 };

	begin(&g, 1, true, false, micro_interrupts, micro_interrupts_end);
	for (int i = 0; i < 2; i++) {
		s.pins[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		assert_int_equal(kvm_vm_irqfd(g.vm, 6 + (uint32_t)i, s.pins[i], true), 0);
	}
	assert_int_equal(kvm_vm_route_pin(g.vm, KVM_PINS, true, 0xfee00000, 0x4040), -EINVAL);
	g.io.eoi = on_end;
	g.io.userdata = &s;
	assert_int_equal(bus_add(g.io.mmio, 0xfec00000, 0x1000, &trace_handler, &t, NULL), 0);
	assert_int_equal(bus_add(g.io.pio, 0x80, 1, &ready, &s, NULL), 0);
	go(&g);
	/* The registers are the monitor's. */
	assert_string_equal(t.text, "w0.4=1c w10.4=40 ");
	assert_int_equal(g.ram[0x3000], 3);
	assert_int_equal(s.ended, 0x42);
	for (int i = 0; i < 2; i++)
		close(s.pins[i]);
	micro_guest_fini(&g);
}

/* The others start at 0x2000 in real mode, add themselves at 0x3000 and halt. */
MICRO_GUEST(smp, "mov $0xfee00000, %rbx\n"
		 "movl $0x1ff, 0xf0(%rbx)\n"
		 "movl $0xc4500, 0x300(%rbx)\n" /* INIT, all but self */
		 "movl $0xc4602, 0x300(%rbx)\n" /* start at page 2 */
		 "1: pause\n"
		 "cmpl $3, 0x3000\n"
		 "jb 1b\n" MICRO_END);
MICRO_GUEST(ap, ".code16\n"
		"xor %ax, %ax\n"
		"mov %ax, %ds\n"
		"lock incl 0x3000\n"
		"1: cli\n"
		"hlt\n"
		"jmp 1b\n"
		".code64\n");

struct cpu_thread {
	struct micro_guest *g;
	unsigned index;
	struct kvm_exit exit;
	pthread_t thread;
};

static void *run_cpu(void *arg)
{
	struct cpu_thread *t = arg;

	micro_guest_run(t->g, t->index, &t->exit);
	return NULL;
}

static void test_smp(void **state)
{
	struct sigaction sa = { .sa_handler = micro_wake };
	struct cpu_thread threads[4];
	struct micro_guest g;

	begin(&g, 4, false, false, micro_smp, micro_smp_end);
	memcpy(g.ram + 0x2000, micro_ap, (size_t)(micro_ap_end - micro_ap));
	sigaction(SIGUSR1, &sa, NULL);
	for (unsigned i = 1; i < 4; i++) {
		threads[i] = (struct cpu_thread){ .g = &g, .index = i };
		assert_int_equal(pthread_create(&threads[i].thread, NULL, run_cpu, &threads[i]), 0);
	}
	go(&g);
	assert_int_equal(g.ram[0x3000], 3);
	for (unsigned i = 1; i < 4; i++) {
		pthread_kill(threads[i].thread, SIGUSR1);
		pthread_join(threads[i].thread, NULL);
		assert_int_equal(threads[i].exit.why, KVM_WHY_KICKED);
	}
	micro_guest_fini(&g);
}

MICRO_GUEST(triple, "ud2\n");

static void test_triple_fault(void **state)
{
	struct micro_guest g;

	begin(&g, 1, false, false, micro_triple, micro_triple_end);
	assert_false(micro_guest_go(&g));
	assert_false(g.timed_out);
	assert_int_equal(g.exit.why, KVM_WHY_SHUTDOWN);
	assert_non_null(strstr(g.exit.text, "vCPU 0: triple fault; rip "));
	micro_guest_fini(&g);
}

MICRO_GUEST(spin, "mov $0x80, %dx\n"
		  "out %al, %dx\n"
		  "1: pause\n"
		  "jmp 1b\n");

struct kicker {
	struct micro_guest *g;
	pthread_t target;
};

static void *kick(void *arg)
{
	struct kicker *k = arg;

	kvm_vcpu_kick(k->g->vcpus[0]);
	pthread_kill(k->target, SIGUSR1);
	return NULL;
}

static pthread_t kick_thread;

static void start_kicker(void *device, uint64_t offset, const void *data, uint32_t len)
{
	assert_int_equal(pthread_create(&kick_thread, NULL, kick, device), 0);
}

static void test_a_kick_stops_a_spinning_guest(void **state)
{
	static const struct bus_handler handler = { trace_read, start_kicker };
	struct sigaction sa = { .sa_handler = micro_wake };
	struct micro_guest g;
	struct kicker k = { &g, pthread_self() };

	begin(&g, 1, false, false, micro_spin, micro_spin_end);
	sigaction(SIGUSR1, &sa, NULL);
	assert_int_equal(bus_add(g.io.pio, 0x80, 1, &handler, &k, NULL), 0);
	go(&g);
	pthread_join(kick_thread, NULL);
	/* And one that comes before the run. */
	kvm_vcpu_kick(g.vcpus[0]);
	go(&g);
	micro_guest_fini(&g);
}

/* Counts in rbx and tells each number; the third port write of each round ends the run. */
MICRO_GUEST(count, "mov $0x1000, %rbx\n"
		   "mov $0x80, %dx\n"
		   "1: inc %rbx\n"
		   "mov %ebx, %eax\n"
		   "out %eax, %dx\n"
		   "jmp 1b\n");

struct counter {
	struct micro_guest *g;
	uint32_t last;
	unsigned n;
};

static void count_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct counter *c = device;

	memcpy(&c->last, data, 4);
	if (++c->n % 3 == 0)
		kvm_vcpu_kick(c->g->vcpus[0]);
}

static const struct bus_handler count_handler = { trace_read, count_write };

static void save_guest(struct micro_guest *g, struct state *s)
{
	struct err e = { 0 };

	if (kvm_vm_save(g->vm, state_child(s, "vm"), &e) < 0 ||
	    kvm_vcpu_save(g->vcpus[0], state_child_n(s, "vcpu", 0), &e) < 0)
		fail_msg("%s", e.text);
}

static void load_guest(struct micro_guest *g, const struct state *s)
{
	const struct kvm_topology t = { .vcpus = 1, .threads_per_core = 1 };
	struct err e = { 0 };

	if (kvm_vcpu_reset(g->vcpus[0], &t, &e) < 0 || kvm_vm_load(g->vm, state_get_child(s, "vm", &e), 0, &e) < 0 ||
	    kvm_vcpu_load(g->vcpus[0], state_get_child_n(s, "vcpu", 0, &e), 0, &e) < 0)
		fail_msg("%s", e.text);
}

static void test_state_moves_to_another_vm(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL, *again = NULL;
	struct micro_guest a, b;
	struct counter c = { .g = &a };
	struct err e = { 0 };

	begin(&a, 1, false, false, micro_count, micro_count_end);
	assert_int_equal(bus_add(a.io.pio, 0x80, 4, &count_handler, &c, NULL), 0);
	go(&a);
	assert_int_equal(c.last, 0x1003);
	assert_int_equal(state_new(&s), 0);
	save_guest(&a, s);

	assert_int_equal(micro_guest_init(&b, 1, false, false, &e), 0);
	memcpy(b.ram, a.ram, MICRO_RAM);
	micro_guest_fini(&a);
	load_guest(&b, s);
	c.g = &b;
	assert_int_equal(bus_add(b.io.pio, 0x80, 4, &count_handler, &c, NULL), 0);
	assert_int_equal(state_new(&again), 0);
	go(&b);
	assert_int_equal(c.last, 0x1006);
	micro_guest_fini(&b);
}

static uint64_t tsc_khz(const struct state *s)
{
	struct err e = { 0 };
	uint64_t khz = 0;

	if (!s || state_get_u64(s, "tsc-khz", &khz, &e) < 0)
		fail_msg("%s", e.text);
	return khz;
}

/* A vCPU that is plugged into a VM from another host has the TSC of those that came with it. */
static void test_later_vcpus_have_the_tsc_of_the_others(void **state)
{
	const struct kvm_topology t = { .vcpus = 2, .threads_per_core = 1 };
	_cleanup_(state_free_p) struct state *s = NULL;
	struct micro_guest a, b;
	struct kvm_vcpu *later = NULL;
	struct err e = { 0 };
	uint64_t khz;
	bool has;

	begin(&a, 1, false, false, micro_count, micro_count_end);
	assert_int_equal(state_new(&s), 0);
	save_guest(&a, s);
	has = ioctl(kvm_vm_fd(a.vm), KVM_GET_TSC_KHZ, 0) > 0;
	micro_guest_fini(&a);
	if (!has) /* before Linux 5.18 */
		skip();
	khz = tsc_khz(state_get_child_n(s, "vcpu", 0, &e)) + 1; /* as near as those of two hosts of one model */
	assert_int_equal(tsc_khz(state_get_child(s, "vm", &e)), khz - 1);
	state_put_u64(state_child(s, "vm"), "tsc-khz", khz);
	state_put_u64(state_child_n(s, "vcpu", 0), "tsc-khz", khz);

	assert_int_equal(micro_guest_init(&b, 0, false, false, &e), 0);
	if (kvm_vm_load(b.vm, state_get_child(s, "vm", &e), 0, &e) < 0 || kvm_vcpu_new(b.vm, 0, &b.vcpus[0], &e) < 0 ||
	    kvm_vcpu_reset(b.vcpus[0], &t, &e) < 0 ||
	    kvm_vcpu_load(b.vcpus[0], state_get_child_n(s, "vcpu", 0, &e), 0, &e) < 0 ||
	    kvm_vcpu_new(b.vm, 1, &later, &e) < 0 || kvm_vcpu_reset(later, &t, &e) < 0 ||
	    kvm_vcpu_save(later, state_child_n(s, "vcpu", 1), &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(tsc_khz(state_get_child_n(s, "vcpu", 1, &e)), khz);
	kvm_vcpu_free(later);
	kvm_vcpu_free(b.vcpus[0]);
	micro_guest_fini(&b);
}

MICRO_GUEST(dirty, "mov $0x80, %dx\n"
		   "movb $1, 0x100000\n"
		   "movb $1, 0x105fff\n"
		   "out %al, %dx\n"
		   "movb $1, 0x1ff000\n" MICRO_END);

static void end_now(void *device, uint64_t offset, const void *data, uint32_t len)
{
	kvm_vcpu_kick(((struct micro_guest *)device)->vcpus[0]);
}

static bool bit(const uint64_t *map, uint64_t page)
{
	return map[page / 64] >> page % 64 & 1;
}

static void test_dirty_log(void **state)
{
	static const struct bus_handler handler = { trace_read, end_now };
	uint64_t map[8];
	struct micro_guest g;

	begin(&g, 1, false, true, micro_dirty, micro_dirty_end);
	assert_int_equal(bus_add(g.io.pio, 0x80, 1, &handler, &g, NULL), 0);
	assert_int_equal(kvm_vm_dirty_get(g.vm, 0, map, 8), 0);
	assert_int_equal(kvm_vm_dirty_clear(g.vm, 0, map, 8), 0);
	go(&g);
	assert_int_equal(kvm_vm_dirty_get(g.vm, 0, map, 7), -EINVAL);
	assert_int_equal(kvm_vm_dirty_get(g.vm, 0x1000, map, 8), -EINVAL);
	for (int i = 0; i < 2; i++) { /* stays until it is cleared */
		assert_int_equal(kvm_vm_dirty_get(g.vm, 0, map, 8), 0);
		assert_true(bit(map, 0x100) && bit(map, 0x105));
		assert_false(bit(map, 0x101) || bit(map, 0x1ff));
	}
	assert_int_equal(kvm_vm_dirty_clear(g.vm, 0, map, 8), 0);
	go(&g);
	assert_int_equal(kvm_vm_dirty_get(g.vm, 0, map, 8), 0);
	assert_true(bit(map, 0x1ff));
	assert_false(bit(map, 0x100) || bit(map, 0x105));
	micro_guest_fini(&g);
}

static void test_slots(void **state)
{
	struct micro_guest g;
	uint8_t *page;

	begin(&g, 1, false, false, micro_ports, micro_ports_end);
	page = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_int_equal(kvm_vm_map(g.vm, 0x1000, 0x1000, page, 0), -EEXIST);
	assert_int_equal(kvm_vm_map(g.vm, 0xd0000000, 0x1000, page, KVM_MAP_READONLY), 0);
	assert_int_equal(kvm_vm_unmap(g.vm, 0xd0000000, 0x2000), -ENOENT);
	assert_int_equal(kvm_vm_unmap(g.vm, 0xd0000000, 0x1000), 0);
	assert_int_equal(kvm_vm_unmap(g.vm, 0xd0000000, 0x1000), -ENOENT);
	assert_int_equal(kvm_vm_map(g.vm, 0xd0000000, 0, page, 0), -EINVAL);
	munmap(page, 0x1000);
	micro_guest_fini(&g);
}

static void test_open_errors(void **state)
{
	struct kvm *kvm = NULL;
	struct err e = { 0 };

	assert_int_equal(kvm_open("/nowhere/kvm", &kvm, &e), -ENOENT);
	assert_non_null(strstr(e.text, "there is no /nowhere/kvm"));
	assert_int_equal(kvm_open("/dev/null", &kvm, &e), -ENOTSUP);
	assert_non_null(strstr(e.text, "/dev/null is not KVM"));
	assert_null(kvm);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_open_errors),
		cmocka_unit_test(test_ports),
		cmocka_unit_test(test_mmio),
		cmocka_unit_test(test_kicks_do_not_reach_the_bus),
		cmocka_unit_test(test_interrupts),
		cmocka_unit_test(test_split_interrupt_controller),
		cmocka_unit_test(test_smp),
		cmocka_unit_test(test_triple_fault),
		cmocka_unit_test(test_a_kick_stops_a_spinning_guest),
		cmocka_unit_test(test_state_moves_to_another_vm),
		cmocka_unit_test(test_later_vcpus_have_the_tsc_of_the_others),
		cmocka_unit_test(test_dirty_log),
		cmocka_unit_test(test_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
