/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile guest beside another one in the same process: whatever it writes to whichever register, and whatever it
 * does to its queues while they are served, it breaks its devices or ends itself, and the other one answers as before.
 *
 * Most of it is done by threads of the test in the vCPU's place, which use the machine's buses and the guest's memory
 * as vCPUs do, and many times as fast as a guest under a slow KVM. One test is a real guest, whose threads are
 * filtered.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "boot/layout_x86.h"
#include "vm/machine.h"
#include "vm/small_guest.h"

#define DEVICES_MAX 16
#define RINGS       0x200000 /* of guest memory; there is nothing else in it */
#define RINGS_SIZE  0x100000
#define QUEUE_SIZE  16

/* Answers each byte of the serial port with the same byte. */
MICRO_GUEST(echo, "1: pause\n mov $0x3fd, %dx\n in %dx, %al\n test $1, %al\n jz 1b\n mov $0x3f8, %dx\n"
		  "in %dx, %al\n out %al, %dx\n jmp 1b\n");
MICRO_GUEST(idle, "1: cli\n hlt\n jmp 1b\n");

struct pair {
	struct guest good, bad;
	int to_good[2], passt, null;
	char dir[32], passt_path[64];
};

static void ok(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static int sized_file(off_t size)
{
	int fd = memfd_create("disk", MFD_CLOEXEC);

	assert_int_equal(ftruncate(fd, size), 0);
	return fd;
}

/* A passt that never reads. */
static void listen_passt(struct pair *p)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	snprintf(p->passt_path, sizeof p->passt_path, "%s/passt", p->dir);
	strcpy(sa.sun_path, p->passt_path);
	p->passt = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(p->passt, (struct sockaddr *)&sa, sizeof sa), 0);
	assert_int_equal(listen(p->passt, 4), 0);
}

static void add_disk(struct vmm *vm, const char *id, bool uring, bool own_thread)
{
	struct vmm_block c = { .fd = sized_file(1 << 20),
			       .flush = true,
			       .discard = true,
			       .io_uring = uring,
			       .own_thread = own_thread,
			       .queues = 2 };
	struct err e = { 0 };

	ok(vmm_add_block(vm, id, &c, &e), &e);
}

static void add_all(struct pair *p)
{
	struct vmm *vm = p->bad.vm;
	int pmem = sized_file(1 << 20);
	char path[64], uds[64];
	struct err e = { 0 };

	snprintf(path, sizeof path, "/proc/self/fd/%d", pmem);
	snprintf(uds, sizeof uds, "%s/vsock", p->dir);
	add_disk(vm, "plain", false, false);
	add_disk(vm, "thread", false, true);
	add_disk(vm, "ring", true, true);
	ok(vmm_add_pmem(vm, "pmem", &(struct vmm_pmem){ .path = path }, &e), &e);
	ok(vmm_add_rng(vm, "rng", NULL, &e), &e);
	ok(vmm_add_balloon(vm, "balloon", &(struct vmm_balloon){ .free_page_reporting = true, .stats_interval_s = 1 },
			   &e),
	   &e);
	ok(vmm_add_console(vm, "console", &(struct vmm_console){ .in = -1, .out = p->null }, &e), &e);
	ok(vmm_add_memory(vm, "memory", &(struct vmm_memory){ .max = 64 << 20, .requested = 2 << 20 }, &e), &e);
	ok(vmm_add_vsock(vm, "vsock", &(struct vmm_vsock){ .cid = 3, .uds_path = uds }, &e), &e);
	ok(vmm_add_net(vm, "net", &(struct vmm_net){ .socket = p->passt_path }, &e), &e);
	close(pmem);
}

static void make(struct guest *g, const uint8_t *code, const uint8_t *end_of_code, enum vmm_shape shape, int in,
		 int out)
{
	char path[64];
	struct vmm_config c;
	struct err e = { 0 };

	g->kernel = make_kernel(code, (size_t)(end_of_code - code));
	assert_int_equal(pipe(g->console), 0);
	c = small(g, path, sizeof path);
	c.shape = shape;
	c.split_irqchip = shape == VMM_SHAPE_CLOUD;
	c.serial_in = in;
	if (out >= 0)
		c.serial_out = out;
	ok(vmm_new(&c, &g->vm, &e), &e);
}

/* Both VMs, the good one running; the bad one has every kind of device. */
static void setup(struct pair *p, const uint8_t *code, const uint8_t *end_of_code, enum vmm_shape shape)
{
	if (!micro_guest_possible())
		skip();
	*p = (struct pair){ .dir = "/tmp/caisson-hostile-XXXXXX" };
	assert_non_null(mkdtemp(p->dir));
	assert_int_equal(pipe(p->to_good), 0);
	p->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	listen_passt(p);
	make(&p->good, micro_echo, micro_echo_end, VMM_SHAPE_MICRO, p->to_good[0], -1);
	make(&p->bad, code, end_of_code, shape, p->null, p->null);
	add_all(p);
	start(&p->good);
}

static void answers(struct pair *p, char c)
{
	assert_int_equal(write(p->to_good[1], &c, 1), 1);
	assert_int_equal(heard(&p->good), c);
	assert_int_equal(vmm_state(p->good.vm), VMM_RUNNING);
}

static void teardown(struct pair *p)
{
	answers(p, 'z');
	end(&p->bad);
	answers(p, '!');
	end(&p->good);
	close(p->to_good[0]);
	close(p->to_good[1]);
	close(p->passt);
	close(p->null);
	assert_int_equal(dir_remove(p->dir), 0);
}

/* ---- registers ---- */

static const uint64_t patterns[] = {
	0, UINT64_MAX, 1, 2, 4, 7, 0xf, 0x80, 0x8000, 0x80000000, RINGS, 0x0123456789abcdef
};
#define PATTERNS (sizeof patterns / sizeof *patterns)

struct area {
	uint64_t base, len;
};

struct areas {
	struct area list[DEVICES_MAX * 8];
	size_t n;
};

static void add_area(struct areas *a, uint64_t base, uint64_t len)
{
	assert_true(a->n < sizeof a->list / sizeof *a->list);
	a->list[a->n++] = (struct area){ base, len };
}

/* The blocks of the BARs that the machine has placed, and the headers that say where. */
static void add_pci_areas(struct areas *a, struct vmm *vm)
{
	for (uint64_t slot = 0; slot < 32; slot++) {
		uint64_t config = X86_ECAM + (slot << 15), bar = 0;

		add_area(a, config, slot < DEVICES_MAX ? 0x100 : 8);
		bus_read(vm->mmio, config + 0x10, &bar, 4);
		bus_read(vm->mmio, config + 0x14, (uint8_t *)&bar + 4, 4);
		bar &= ~0xfULL;
		for (uint64_t at = 0; bar && bar != ~0xfULL && at < 0x6000; at += 0x1000)
			add_area(a, bar + at, 0x60);
	}
}

static void mmio_areas(struct areas *a, struct vmm *vm, enum vmm_shape shape)
{
	a->n = 0;
	add_area(a, X86_ACPI_EVENTS, 0x200);
	if (vm->ioapic)
		add_area(a, X86_IOAPIC, 0x48);
	if (shape == VMM_SHAPE_CLOUD)
		add_pci_areas(a, vm);
	for (uint64_t i = 0; shape == VMM_SHAPE_MICRO && i < DEVICES_MAX; i++)
		add_area(a, X86_VIRTIO_MMIO + i * 0x1000, 0x140);
}

static void touch(struct bus *bus, uint64_t at, uint64_t pattern, uint32_t max_len)
{
	uint8_t data[8];

	for (uint32_t len = 1; len <= max_len; len *= 2) {
		memcpy(data, &pattern, sizeof data);
		bus_write(bus, at, data, len);
		bus_read(bus, at, data, len);
	}
}

static void each_register(enum vmm_shape shape)
{
	struct areas a;
	struct pair p;

	setup(&p, micro_idle, micro_idle_end, shape);
	start(&p.bad);
	for (size_t k = 0; k < PATTERNS; k++) {
		mmio_areas(&a, p.bad.vm, shape);
		for (size_t i = 0; i < a.n; i++)
			for (uint64_t at = 0; at < a.list[i].len; at++)
				touch(p.bad.vm->mmio, a.list[i].base + at, patterns[k], 8);
		for (uint64_t port = 0; port < 0x10000; port++)
			touch(p.bad.vm->pio, port, patterns[k], 4);
		answers(&p, (char)('a' + k));
	}
	/* A write to one of the ports was a reset, and that is what it says. */
	finish(&p.bad);
	assert_true(p.bad.exit.end == VMM_END_RESET || p.bad.exit.end == VMM_END_POWEROFF ||
		    p.bad.exit.end == VMM_END_PANIC);
	teardown(&p);
}

static void test_each_register_of_a_micro_machine(void **state)
{
	each_register(VMM_SHAPE_MICRO);
}

static void test_each_register_of_a_machine_with_pci(void **state)
{
	each_register(VMM_SHAPE_CLOUD);
}

/*
 * The same by the guest's own instructions: a table of places at 2 MiB, each {base, length}, port numbers first; behind
 * a length of 0 the ones of memory, behind another one the end. Patterns are in front of it. Last, the power goes off.
 */
#define GUEST_PATTERNS 3
MICRO_GUEST(sweep, "mov $0x200000, %rsi\n mov $3, %ecx\n"
		   "1: mov (%rsi), %rbx\n add $8, %rsi\n"
		   "mov $0x200018, %rdi\n"
		   /* ports */
		   "2: mov (%rdi), %rdx\n mov 8(%rdi), %rbp\n add $16, %rdi\n test %rbp, %rbp\n jz 4f\n"
		   "3: mov %rbx, %rax\n out %al, %dx\n out %ax, %dx\n out %eax, %dx\n"
		   "in %dx, %al\n in %dx, %ax\n in %dx, %eax\n"
		   "inc %edx\n dec %rbp\n jnz 3b\n jmp 2b\n"
		   /* memory */
		   "4: mov (%rdi), %rdx\n mov 8(%rdi), %rbp\n add $16, %rdi\n test %rbp, %rbp\n jz 6f\n"
		   "5: mov %bl, (%rdx)\n mov %bx, (%rdx)\n mov %ebx, (%rdx)\n mov %rbx, (%rdx)\n"
		   "mov (%rdx), %al\n mov (%rdx), %ax\n mov (%rdx), %eax\n mov (%rdx), %rax\n"
		   "inc %rdx\n dec %rbp\n jnz 5b\n jmp 4b\n"
		   "6: dec %ecx\n jnz 1b\n" POWER_OFF);

static void write_table(struct vmm *vm, enum vmm_shape shape)
{
	/* Not those that end the machine: 0x64, of which 0xfe is a reset, is not written with it. */
	static const struct area ports[] = { { 0x3f8, 8 }, { 0x60, 1 },  { 0x64, 1 },  { 0x70, 2 },
					     { 0x80, 1 },  { 0xcf8, 8 }, { 0x505, 1 }, { 0, 0 } };
	static const uint64_t values[GUEST_PATTERNS] = { UINT64_MAX, 0xf, RINGS + 0x80000 };
	uint8_t *at = vm->memory.ram[0].host + RINGS;
	struct areas a;

	mmio_areas(&a, vm, shape);
	for (size_t i = 0; i < a.n; i++) /* the guest is slower */
		a.list[i].len = a.list[i].len > 0x100 ? 0x78 : 8;
	add_area(&a, 0, 0);
	memcpy(at, values, sizeof values);
	memcpy(at + sizeof values, ports, sizeof ports);
	memcpy(at + sizeof values + sizeof ports, a.list, a.n * sizeof *a.list);
}

static void test_a_guest_that_writes_everything(void **state)
{
	struct pair p;

	for (int shape = 0; shape < 2; shape++) {
		setup(&p, micro_sweep, micro_sweep_end, shape ? VMM_SHAPE_CLOUD : VMM_SHAPE_MICRO);
		write_table(p.bad.vm, shape ? VMM_SHAPE_CLOUD : VMM_SHAPE_MICRO);
		start(&p.bad);
		answers(&p, 'a');
		finish(&p.bad);
		assert_int_equal(p.bad.exit.end, VMM_END_PANIC); /* as it told pvpanic, then it switched itself off */
		teardown(&p);
	}
}

/* ---- queues ---- */

static uint64_t next(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

struct scribbler {
	uint8_t *rings; /* in the guest's memory */
	pthread_t thread;
	bool stop;
	uint64_t seed;
};

/* One descriptor of any ring that might be taken for one; or index and flags of the rings; or anything. */
static void scribble_once(struct scribbler *s)
{
	uint64_t r = next(&s->seed), what = r % 8, at = (r >> 8) % (RINGS_SIZE / 16) * 16;
	uint64_t desc[2] = { RINGS + (next(&s->seed) % (RINGS_SIZE - 4096)), 0 };
	uint8_t *to = s->rings + (what < 6 ? at % 0x40000 : at);

	desc[1] = next(&s->seed) % 2048 | (next(&s->seed) & 3) << 32 | (next(&s->seed) % QUEUE_SIZE) << 48;
	if (what == 0)
		desc[0] = next(&s->seed);
	if (what == 1)
		desc[1] = next(&s->seed);
	__atomic_store_n((uint64_t *)to, desc[0], __ATOMIC_RELAXED);
	__atomic_store_n((uint64_t *)to + 1, desc[1], __ATOMIC_RELAXED);
}

static void *scribble(void *arg)
{
	struct scribbler *s = arg;

	while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED))
		scribble_once(s);
	return NULL;
}

static uint32_t get32(struct vmm *vm, uint64_t at)
{
	uint32_t v;

	bus_read(vm->mmio, at, &v, sizeof v);
	return v;
}

static void set32(struct vmm *vm, uint64_t at, uint32_t v)
{
	bus_write(vm->mmio, at, &v, sizeof v);
}

/* VirtIO 1.2 §3.1.1, by virtio-mmio: reset, all features, every queue of 16 entries in 4 KiB of its own. */
static void drive(struct vmm *vm, unsigned device, uint64_t features)
{
	uint64_t base = X86_VIRTIO_MMIO + device * 0x1000ULL, offered = 0;

	set32(vm, base + 0x70, 0);
	set32(vm, base + 0x70, 3);
	for (uint32_t i = 0; i < 2; i++) {
		set32(vm, base + 0x14, i);
		offered |= (uint64_t)get32(vm, base + 0x10) << 32 * i;
	}
	features = (offered & features) | (1ULL << 32); /* VERSION_1 */
	for (uint32_t i = 0; i < 2; i++) {
		set32(vm, base + 0x24, i);
		set32(vm, base + 0x20, (uint32_t)(features >> 32 * i));
	}
	set32(vm, base + 0x70, 11);
	for (uint32_t q = 0; q < 8; q++) {
		uint32_t ring = RINGS + device * 0x8000 % 0x40000 + q * 0x1000;

		set32(vm, base + 0x30, q);
		if (!get32(vm, base + 0x34))
			break;
		set32(vm, base + 0x38, QUEUE_SIZE);
		set32(vm, base + 0x80, ring);
		set32(vm, base + 0x84, 0);
		set32(vm, base + 0x90, ring + 0x400);
		set32(vm, base + 0x94, 0);
		set32(vm, base + 0xa0, ring + 0x800);
		set32(vm, base + 0xa4, 0);
		set32(vm, base + 0x44, 1);
	}
	set32(vm, base + 0x70, 15);
}

/* A driver that knows how many buffers there are, now and then: else most of what is scribbled is a broken index. */
static void offer(struct scribbler *s, unsigned device, uint32_t queue, uint16_t avail)
{
	uint8_t *ring = s->rings + device * 0x8000 % 0x40000 + queue * 0x1000;

	__atomic_store_n((uint16_t *)(ring + 0x400) + 1, avail, __ATOMIC_RELAXED);
}

static void test_rings_scribbled_over_while_they_are_served(void **state)
{
	unsigned broken[DEVICES_MAX] = { 0 };
	uint16_t avail[DEVICES_MAX] = { 0 };
	struct scribbler s = { .seed = 88172645463325252ULL };
	uint64_t seed = 362436069, start_ms;
	unsigned n = 10, rounds = 0;
	struct pair p;

#ifdef __SANITIZE_THREAD__
	print_message("not under the thread sanitizer: these races with the guest's memory are meant\n");
	skip();
#endif
	setup(&p, micro_idle, micro_idle_end, VMM_SHAPE_MICRO);
	start(&p.bad);
	s.rings = p.bad.vm->memory.ram[0].host + RINGS;
	assert_int_equal(pthread_create(&s.thread, NULL, scribble, &s), 0);
	for (unsigned i = 0; i < n; i++)
		drive(p.bad.vm, i, UINT64_MAX);
	for (start_ms = clock_ms(); rounds < 200000 && clock_ms() - start_ms < 5000; rounds++) {
		unsigned device = rounds % n;
		uint32_t queue = (uint32_t)(next(&seed) % 6);
		uint64_t base = X86_VIRTIO_MMIO + device * 0x1000ULL;

		if (get32(p.bad.vm, base + 0x70) & 64) { /* DEVICE_NEEDS_RESET */
			broken[device]++;
			avail[device] = 0;
			for (uint32_t q = 0; q < 8; q++)
				offer(&s, device, q, 0);
			drive(p.bad.vm, device, next(&seed));
		}
		offer(&s, device, queue, ++avail[device]);
		set32(p.bad.vm, base + 0x50, queue);
		if (rounds % 1000 == 0)
			answers(&p, 'q');
	}
	__atomic_store_n(&s.stop, true, __ATOMIC_RELAXED);
	pthread_join(s.thread, NULL);
	/* The test is worth nothing if devices take no notice. */
	for (unsigned i = 0; i < n; i++)
		assert_true(broken[i] > 0);
	teardown(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_register_of_a_micro_machine),
		cmocka_unit_test(test_each_register_of_a_machine_with_pci),
		cmocka_unit_test(test_a_guest_that_writes_everything),
		cmocka_unit_test(test_rings_scribbled_over_while_they_are_served),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
