/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that comes and goes by blocks, under a guest that uses it whether it may or not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>

#include <cmocka.h>
#include <sys/mman.h>

#include "guestmem/smaps_fixture.h"
#include "vm/machine.h"
#include "vm/small_guest.h"

#define BLOCK  MEMORY_LARGE_PAGE
#define BLOCKS 4
#define REGION 0x100000000ULL /* of virtio-mem; the guest sees its first block at 1 GiB */

/* Writes each byte that it hears to the region's first byte, and answers with what is there then. */
MICRO_GUEST(poke, "mov $0x100000083, %rax\n mov %rax, 0xc000\n mov %cr3, %rax\n mov %rax, %cr3\n" PRINT(
			  "r") "1: pause\n mov $0x3fd, %dx\n in %dx, %al\n test $1, %al\n jz 1b\n"
			       "mov $0x3f8, %dx\n in %dx, %al\n"
			       "mov $0x40000000, %rbx\n mov %al, (%rbx)\n mov (%rbx), %al\n out %al, %dx\n jmp 1b\n");

struct fixture {
	struct guest g;
	int in[2];
	struct ram *ram;
};

static void ok(int r, const struct err *e)
{
	if (r < 0)
		fail_msg("%s", e->text);
}

static void setup(struct fixture *f, bool shared)
{
	struct vmm_memory m = { .max = BLOCKS * BLOCK, .requested = BLOCK };
	struct vmm_config c;
	struct err e = { 0 };
	char path[64];

	if (!micro_guest_possible())
		skip();
	*f = (struct fixture){ 0 };
	f->g.kernel = make_kernel(micro_poke, (size_t)(micro_poke_end - micro_poke));
	assert_int_equal(pipe(f->g.console), 0);
	assert_int_equal(pipe(f->in), 0);
	c = small(&f->g, path, sizeof path);
	c.serial_in = f->in[0];
	c.shared_memory = shared;
	c.track_dirty = true;
	ok(vmm_new(&c, &f->g.vm, &e), &e);
	ok(vmm_add_memory(f->g.vm, "memory", &m, &e), &e);
	start(&f->g);
	assert_int_equal(heard(&f->g), 'r');
	f->ram = &f->g.vm->memory.ram[f->g.vm->memory.n - 1];
	assert_true(f->ram->gpa == REGION);
}

static void teardown(struct fixture *f)
{
	end(&f->g);
	close(f->in[0]);
	close(f->in[1]);
}

static uint8_t poke(struct fixture *f, char c)
{
	assert_int_equal(write(f->in[1], &c, 1), 1);
	return (uint8_t)heard(&f->g);
}

static int change(struct fixture *f, unsigned first, unsigned n, bool plug)
{
	struct vmm *vm = f->g.vm;
	int r;

	loop_enter(vm->loop);
	r = (plug ? memory_plug : memory_unplug)(vm, REGION + first * BLOCK, n * BLOCK);
	loop_leave(vm->loop);
	return r;
}

/* Does the host hold anything of the region? */
static bool held(struct fixture *f)
{
	static unsigned char pages[BLOCKS * BLOCK / 4096];

	assert_int_equal(mincore(f->ram->host, f->ram->size, pages), 0);
	for (size_t i = 0; i < f->ram->size / memory_page(); i++)
		if (pages[i] & 1)
			return true;
	return false;
}

/* Pages of the first block that are told as written; of the others none may be. */
static unsigned written(struct fixture *f)
{
	uint64_t map[BLOCKS * BLOCK / 4096 / 64] = { 0 };
	struct memory *m = &f->g.vm->memory;
	unsigned n = 0;

	assert_int_equal(memory_take_dirty(f->g.vm, m->n - 1, map, memory_words(f->ram)), 0);
	for (uint64_t i = 0; i < f->ram->size / memory_page(); i++) {
		bool is = map[i / 64] >> i % 64 & 1;

		assert_false(is && i >= BLOCK / memory_page());
		n += is;
	}
	return n;
}

static void come_and_go(bool shared)
{
	struct fixture f;

	setup(&f, shared);
	/* Not plugged: not there, and nothing of the host's is taken. */
	assert_int_equal(poke(&f, 'a'), 0xff);
	assert_false(held(&f));
	assert_int_equal(change(&f, 0, 1, true), 0);
	assert_int_equal(poke(&f, 'b'), 'b');
	assert_int_equal(f.ram->host[0], 'b');
	assert_int_equal(written(&f), 1);
	assert_int_equal(written(&f), 0);
	assert_int_equal(change(&f, 0, 1, false), 0);
	assert_false(held(&f));
	assert_int_equal(poke(&f, 'c'), 0xff);
	assert_false(held(&f));
	/* What was written is gone, of which a difference has to tell. */
	assert_int_equal(written(&f), BLOCK / memory_page());
	/* Its neighbours do not open it. */
	assert_int_equal(change(&f, 1, 3, true), 0);
	assert_int_equal(poke(&f, 'd'), 0xff);
	assert_false(held(&f));
	/* One of a range is there already: nothing changes. */
	assert_int_equal(change(&f, 0, 2, true), -EEXIST);
	assert_int_equal(poke(&f, 'e'), 0xff);
	assert_int_equal(kvm_vm_unmap(f.g.vm->kvm_vm, REGION + BLOCK, BLOCK), 0);
	assert_int_equal(change(&f, 0, 1, true), 0);
	assert_int_equal(poke(&f, 'f'), 'f');
	assert_int_equal(change(&f, 4, 1, true), -EINVAL);
	assert_int_equal(change(&f, 3, 2, false), -EINVAL);
	teardown(&f);
}

static void test_private_memory(void **state)
{
	come_and_go(false);
}

static void test_shared_memory(void **state)
{
	come_and_go(true);
}

static void test_blocks(void **state)
{
	const struct {
		uint64_t max, block;
		int r;
		uint64_t chosen;
	} cases[] = {
		{ 2ULL << 30, 0, 0, 2 << 20 },       { 2ULL << 30, 64 << 20, 0, 64 << 20 },
		{ 16ULL << 30, 0, 0, 16 << 20 },     { (16ULL << 30) + (2 << 20), 0, 0, 2 << 20 }, /* whole blocks */
		{ 1ULL << 30, 1 << 20, -EINVAL, 0 }, { 1ULL << 30, 3 << 20, -EINVAL, 0 },
		{ 96 << 20, 64 << 20, -EINVAL, 0 },  { 0, 0, -EINVAL, 0 },
		{ 64ULL << 30, 2 << 20, -E2BIG, 0 },
	};
	const struct vmm_config c = { .vcpus = 1, .memory = 4 << 20, .serial_in = -1, .serial_out = -1 };

	if (!micro_guest_possible())
		skip();
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct vmm_memory_status status;
		struct err e = { 0 };
		struct vmm *vm;

		ok(vmm_new(&c, &vm, &e), &e);
		if (kvm_vm_slots_max(vm->kvm_vm) == KVM_SLOTS_MAX) {
			assert_int_equal(vmm_add_memory(vm, "memory",
							&(struct vmm_memory){ cases[i].max, cases[i].block, 0 }, &e),
					 cases[i].r);
			if (cases[i].r == 0) {
				ok(vmm_memory_status(vm, &status, &e), &e);
				assert_true(status.block == cases[i].chosen);
			}
		}
		vmm_free(vm);
	}
}

/* More large pages than the host has: said when the VM is made, not by a fault of it later. */
static void test_too_few_large_pages(void **state)
{
	for (int shared = 0; shared < 2; shared++) {
		const struct vmm_config c = { .vcpus = 1,
					      .memory = 1ULL << 37,
					      .hugepages = true,
					      .shared_memory = shared,
					      .serial_in = -1,
					      .serial_out = -1 };
		struct err e = { 0 };
		struct vmm *vm = NULL;

		if (!micro_guest_possible())
			skip();
		assert_int_equal(vmm_new(&c, &vm, &e), -ENOMEM);
		assert_non_null(strstr(e.text, "vm.nr_hugepages"));
	}
}

/* Who shares memory asks for large pages, which the administrator may give; of private memory, who is told to. */
static void test_large_pages(void **state)
{
	for (int i = 0; i < 4; i++) {
		const struct vmm_config c = { .vcpus = 1,
					      .memory = 4 << 20,
					      .shared_memory = i & 1,
					      .large_pages = i & 2,
					      .serial_in = -1,
					      .serial_out = -1 };
		struct err e = { 0 };
		struct vmm *vm = NULL;

		if (!micro_guest_possible() || !large_pages_possible())
			skip();
		ok(vmm_new(&c, &vm, &e), &e);
		assert_int_equal(large_asked(vm->memory.ram[0].host), i != 0);
		vmm_free(vm);
	}
}

/* RAM ends before the window of BARs, or where there is none before the last address. */
static void test_too_much_memory(void **state)
{
	static const uint64_t gib = 1ULL << 30;
	static const struct {
		unsigned bits;
		enum vmm_shape shape;
		uint64_t most;
	} cases[] = {
		{ 39, VMM_SHAPE_CLOUD, 255 * gib }, /* of 512, half is for memory, and 1 is the hole below 4 */
		{ 39, VMM_SHAPE_MICRO, 511 * gib },
		{ 36, VMM_SHAPE_CLOUD, 31 * gib },
		{ 52, VMM_SHAPE_CLOUD, 1ULL << 44 },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct kvm kvm = { .phys_bits = cases[i].bits };
		struct vmm vm = { .kvm = &kvm, .config = { .shape = cases[i].shape, .memory = cases[i].most } };
		struct err e = { 0 };
		char most[40];

		ok(memory_place(&vm, &e), &e);
		if (cases[i].bits == 52)
			continue; /* nobody may ask for more */
		vm.config.memory += MEMORY_LARGE_PAGE;
		assert_int_equal(memory_place(&vm, &e), -E2BIG);
		snprintf(most, sizeof most, "can have %llu MiB", (unsigned long long)cases[i].most >> 20);
		assert_non_null(strstr(e.text, most));
	}
}

/* The processor of this test (meson.build). */
static unsigned fake_bits;

int __real_kvm_open(const char *path, struct kvm **ret, struct err *e);
int __wrap_kvm_open(const char *path, struct kvm **ret, struct err *e);

int __wrap_kvm_open(const char *path, struct kvm **ret, struct err *e)
{
	int r = __real_kvm_open(path, ret, e);

	if (r == 0 && fake_bits)
		(*ret)->phys_bits = fake_bits;
	return r;
}

static void test_too_much_memory_for_this_host(void **state)
{
	const struct vmm_config c = {
		.vcpus = 1, .shape = VMM_SHAPE_CLOUD, .memory = 32ULL << 30, .serial_in = -1, .serial_out = -1
	};
	struct err e = { 0 };
	struct vmm *vm;

	if (!micro_guest_possible())
		skip();
	fake_bits = 36;
	assert_int_equal(vmm_new(&c, &vm, &e), -E2BIG);
	fake_bits = 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_large_pages),
		cmocka_unit_test(test_private_memory),
		cmocka_unit_test(test_shared_memory),
		cmocka_unit_test(test_blocks),
		cmocka_unit_test(test_too_few_large_pages),
		cmocka_unit_test(test_too_much_memory),
		cmocka_unit_test(test_too_much_memory_for_this_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
