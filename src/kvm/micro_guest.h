/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a VM of 2 MiB that runs a few instructions of 64-bit code in ring 0, written as assembly in the test:
 *
 *   MICRO_GUEST(name, "instructions");
 *
 * The code uses no floating point and no INT3, which some hosts' KVM cannot run, and ends with MICRO_END: a write to a
 * port whose handler kicks the vCPU. A run is bounded by an alarm.
 */
#pragma once

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hw/bus.h"
#include "kvm/vcpu.h"
#include "kvm/vcpu_x86.h"
#include "kvm/vm.h"

#define MICRO_RAM      0x200000ULL
#define MICRO_CODE     0x10000
#define MICRO_END_PORT 0xf4
#define MICRO_END      "mov $0xf4, %dx\n out %al, %dx\n"
#define MICRO_VCPUS    4
#define MICRO_SECONDS  60

#define MICRO_GUEST(name, code)                                                                                        \
	extern const uint8_t micro_##name[], micro_##name##_end[];                                                     \
	asm(".pushsection .rodata\n.globl micro_" #name "\nmicro_" #name ":\n" code "\n.globl micro_" #name            \
	    "_end\nmicro_" #name "_end:\n.popsection\n")

struct micro_guest {
	struct kvm *kvm;
	struct kvm_vm *vm;
	struct kvm_vcpu *vcpus[MICRO_VCPUS];
	unsigned n;
	struct kvm_vcpu_io io;
	uint8_t *ram;
	struct kvm_exit exit;
	bool timed_out;
};

static struct micro_guest *micro_running; /* for the alarm's handler */

static inline void micro_alarm(int signo)
{
	(void)signo;
	micro_running->timed_out = true;
	for (unsigned i = 0; i < micro_running->n; i++)
		kvm_vcpu_kick(micro_running->vcpus[i]);
}

static inline void micro_wake(int signo)
{
	(void)signo;
}

static inline void micro_end_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	(void)device, (void)offset, (void)data, (void)len;
}

static inline void micro_end_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct micro_guest *g = device;

	(void)offset, (void)data, (void)len;
	for (unsigned i = 0; i < g->n; i++)
		kvm_vcpu_kick(g->vcpus[i]);
}

/* Can VMs be made here at all? Prints why not. */
static inline bool micro_guest_possible(void)
{
	int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd < 0) {
		fprintf(stderr, "skipped: cannot open /dev/kvm: %s\n", strerror(errno));
		return false;
	}
	close(fd);
	return true;
}

/* Identity map of the first 4 GiB by pages of 2 MiB at 0x9000; descriptors at 0x500. */
static inline void micro_tables(struct micro_guest *g)
{
	uint64_t *pml4 = (void *)(g->ram + 0x9000), *pdpt = (void *)(g->ram + 0xa000), *pd = (void *)(g->ram + 0xb000);
	uint64_t gdt[KVM_GDT_ENTRIES];

	pml4[0] = 0xa003;
	for (uint64_t i = 0; i < 4; i++)
		pdpt[i] = (0xb000 + i * 0x1000) | 3;
	for (uint64_t i = 0; i < 2048; i++)
		pd[i] = i << 21 | 0x83;
	kvm_gdt_x86(true, gdt);
	memcpy(g->ram + 0x500, gdt, sizeof gdt);
}

static inline int micro_vcpus(struct micro_guest *g, unsigned vcpus, struct err *e)
{
	static const struct bus_handler end = { micro_end_read, micro_end_write };
	int r = 0;

	for (; r == 0 && g->n < vcpus; g->n += r == 0)
		r = kvm_vcpu_new(g->vm, g->n, &g->vcpus[g->n], e);
	if (r == 0)
		r = bus_new(&g->io.pio);
	if (r == 0)
		r = bus_new(&g->io.mmio);
	if (r == 0)
		r = bus_add(g->io.pio, MICRO_END_PORT, 1, &end, g, NULL);
	return r;
}

static inline int micro_guest_init(struct micro_guest *g, unsigned vcpus, bool split, bool track_dirty, struct err *e)
{
	struct kvm_vm_config c = { .split_irqchip = split, .identity_map = 0xfeffc000, .tss = 0xfeffd000 };
	int r;

	memset(g, 0, sizeof *g);
	r = kvm_open(NULL, &g->kvm, e);
	if (r == 0)
		r = kvm_vm_new(g->kvm, track_dirty, &g->vm, e);
	if (r < 0)
		return r;
	g->ram = mmap(NULL, MICRO_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (g->ram == MAP_FAILED)
		return -errno;
	r = kvm_vm_map(g->vm, 0, MICRO_RAM, g->ram, track_dirty ? KVM_MAP_LOG : 0);
	if (r == 0)
		r = kvm_vm_set_up(g->vm, &c, e);
	micro_tables(g);
	return r < 0 ? r : micro_vcpus(g, vcpus, e);
}

static inline int micro_guest_start(struct micro_guest *g, const uint8_t *code, const uint8_t *end, struct err *e)
{
	struct kvm_start_x86 start = { .long_mode = true,
				       .pc = MICRO_CODE,
				       .arg = 0x7000,
				       .stack = 0x8ff0,
				       .gdt = 0x500,
				       .idt = 0x600,
				       .pml4 = 0x9000 };
	struct kvm_topology t = { .vcpus = g->n, .threads_per_core = 1 };
	int r = 0;

	memcpy(g->ram + MICRO_CODE, code, (size_t)(end - code));
	for (unsigned i = 0; r == 0 && i < g->n; i++)
		r = kvm_vcpu_reset(g->vcpus[i], &t, e);
	return r < 0 ? r : kvm_vcpu_start_at(g->vcpus[0], &start, e);
}

/* Run vCPU i until it ends; true when it was kicked, as by MICRO_END. */
static inline bool micro_guest_run(struct micro_guest *g, unsigned i, struct kvm_exit *ret)
{
	kvm_vcpu_run(g->vcpus[i], &g->io, ret);
	kvm_vcpu_unkick(g->vcpus[i]);
	return ret->why == KVM_WHY_KICKED && !g->timed_out;
}

/* The first vCPU, in this thread. */
static inline bool micro_guest_go(struct micro_guest *g)
{
	struct sigaction sa = { .sa_handler = micro_alarm };
	bool ended;

	micro_running = g;
	sigaction(SIGALRM, &sa, NULL);
	alarm(MICRO_SECONDS);
	ended = micro_guest_run(g, 0, &g->exit);
	alarm(0);
	return ended;
}

static inline void micro_guest_fini(struct micro_guest *g)
{
	for (unsigned i = 0; i < g->n; i++)
		kvm_vcpu_free(g->vcpus[i]);
	bus_free(g->io.pio);
	bus_free(g->io.mmio);
	kvm_vm_free(g->vm);
	kvm_close(g->kvm);
	if (g->ram && g->ram != MAP_FAILED)
		munmap(g->ram, MICRO_RAM);
}
