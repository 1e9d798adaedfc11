/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running a vCPU: enter the guest, serve its accesses by the buses, decode every other reason to leave.
 *
 * An access is complete only when the guest is entered again, so a kick does not stop the loop before that: with
 * immediate_exit set KVM finishes the access and comes back without running the guest.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#include "kvm/vcpu_internal.h"

int kvm_vcpu_new(struct kvm_vm *vm, unsigned index, struct kvm_vcpu **ret, struct err *e)
{
	_cleanup_(kvm_vcpu_free_p) struct kvm_vcpu *v = calloc(1, sizeof *v);

	if (!v)
		return err_sys(e, ENOMEM, "cannot create vCPU %u", index);
	v->vm = vm;
	v->index = index;
	v->run = MAP_FAILED;
	v->fd = ioctl(kvm_vm_fd(vm), KVM_CREATE_VCPU, (unsigned long)index);
	if (v->fd < 0)
		return err_sys(e, errno, "KVM cannot create vCPU %u", index);
	v->run = mmap(NULL, kvm_vm_kvm(vm)->run_size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (v->run == MAP_FAILED)
		return err_sys(e, errno, "cannot map vCPU %u", index);
	*ret = take_ptr(v);
	return 0;
}

void kvm_vcpu_free(struct kvm_vcpu *v)
{
	if (!v)
		return;
	if (v->run != MAP_FAILED)
		munmap(v->run, kvm_vm_kvm(v->vm)->run_size);
	fd_close(&v->fd);
	free(v);
}

void kvm_vcpu_kick(struct kvm_vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 1, __ATOMIC_SEQ_CST);
}

void kvm_vcpu_unkick(struct kvm_vcpu *v)
{
	__atomic_store_n(&v->run->immediate_exit, 0, __ATOMIC_SEQ_CST);
}

void kvm_vcpu_was_paused(struct kvm_vcpu *v)
{
#ifdef __x86_64__
	/* EINVAL: the guest does not use the clock. */
	ioctl(v->fd, KVM_KVMCLOCK_CTRL, 0);
#endif
}

/* There is one writer, so no locked instruction is needed. */
static void count(uint64_t *counter)
{
	__atomic_store_n(counter, *counter + 1, __ATOMIC_RELAXED);
}

void kvm_vcpu_count(const struct kvm_vcpu *v, struct kvm_vcpu_counts *ret)
{
	const struct kvm_vcpu_counts *c = &v->counts;

	*ret = (struct kvm_vcpu_counts){
		.io_in = __atomic_load_n(&c->io_in, __ATOMIC_RELAXED),
		.io_out = __atomic_load_n(&c->io_out, __ATOMIC_RELAXED),
		.mmio_read = __atomic_load_n(&c->mmio_read, __ATOMIC_RELAXED),
		.mmio_write = __atomic_load_n(&c->mmio_write, __ATOMIC_RELAXED),
		.failures = __atomic_load_n(&c->failures, __ATOMIC_RELAXED),
	};
}

static void on_pio(struct kvm_vcpu *v, struct bus *bus)
{
	struct kvm_run *run = v->run;
	uint8_t *data = (uint8_t *)run + run->io.data_offset;

	count(run->io.direction == KVM_EXIT_IO_IN ? &v->counts.io_in : &v->counts.io_out);
	for (uint32_t i = 0; i < run->io.count; i++, data += run->io.size) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			bus_read(bus, run->io.port, data, run->io.size);
		else
			bus_write(bus, run->io.port, data, run->io.size);
	}
}

static void on_mmio(struct kvm_vcpu *v, struct bus *bus)
{
	struct kvm_run *run = v->run;

	count(run->mmio.is_write ? &v->counts.mmio_write : &v->counts.mmio_read);
	if (run->mmio.is_write)
		bus_write(bus, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
	else
		bus_read(bus, run->mmio.phys_addr, run->mmio.data, run->mmio.len);
}

static void failed(struct kvm_vcpu *v, enum kvm_why why, struct kvm_exit *ret, const char *what)
{
	int n = snprintf(ret->text, sizeof ret->text, "vCPU %u: %s; ", v->index, what);

	if (why == KVM_WHY_FAILED)
		count(&v->counts.failures);
	ret->why = why;
	kvm_vcpu_describe(v, ret->text + n, sizeof ret->text - (size_t)n);
}

static void internal_error(struct kvm_vcpu *v, struct kvm_exit *ret)
{
	struct kvm_run *run = v->run;
	char what[160], *p = what;

	p += sprintf(p, "KVM internal error %u", run->internal.suberror);
	if (run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
		p += sprintf(p, ", an instruction that it cannot emulate");
		if (run->emulation_failure.ndata >= 3 &&
		    (run->emulation_failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES))
			for (unsigned i = 0; i < run->emulation_failure.insn_size && i < 15; i++)
				p += sprintf(p, "%s%02x", i ? " " : ": ", run->emulation_failure.insn_bytes[i]);
	} else {
		for (unsigned i = 0; i < run->internal.ndata && i < 4; i++)
			p += sprintf(p, "%s0x%llx", i ? " " : ": ", run->internal.data[i]);
	}
	failed(v, KVM_WHY_FAILED, ret, what);
}

static void on_system_event(struct kvm_vcpu *v, struct kvm_exit *ret)
{
	char what[64];

	switch (v->run->system_event.type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		ret->why = KVM_WHY_POWEROFF;
		return;
	case KVM_SYSTEM_EVENT_RESET:
		ret->why = KVM_WHY_RESET;
		return;
	case KVM_SYSTEM_EVENT_CRASH:
		ret->why = KVM_WHY_CRASH;
		return;
	}
	snprintf(what, sizeof what, "KVM told of system event %u", v->run->system_event.type);
	failed(v, KVM_WHY_FAILED, ret, what);
}

/* True: the guest may go on. */
static bool on_exit_reason(struct kvm_vcpu *v, const struct kvm_vcpu_io *io, struct kvm_exit *ret)
{
	struct kvm_run *run = v->run;
	char what[96];

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		on_pio(v, io->pio);
		return true;
	case KVM_EXIT_MMIO:
		on_mmio(v, io->mmio);
		return true;
	case KVM_EXIT_IOAPIC_EOI:
		if (io->eoi)
			io->eoi(io->userdata, run->eoi.vector);
		return true;
	case KVM_EXIT_IRQ_WINDOW_OPEN:
	case KVM_EXIT_SET_TPR:
		return true;
	case KVM_EXIT_INTR:
		ret->why = KVM_WHY_KICKED;
		return false;
	case KVM_EXIT_SHUTDOWN:
		failed(v, KVM_WHY_SHUTDOWN, ret, "triple fault");
		return false;
	case KVM_EXIT_SYSTEM_EVENT:
		on_system_event(v, ret);
		return false;
	case KVM_EXIT_INTERNAL_ERROR:
		internal_error(v, ret);
		return false;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(what, sizeof what, "the processor refused to enter the guest, reason 0x%llx",
			 run->fail_entry.hardware_entry_failure_reason);
		failed(v, KVM_WHY_FAILED, ret, what);
		return false;
	case KVM_EXIT_HLT: /* only without an interrupt controller in the kernel: nothing would wake it */
		failed(v, KVM_WHY_FAILED, ret, "halted for ever");
		return false;
	}
	snprintf(what, sizeof what, "KVM left the guest for reason %u, which the monitor does not know",
		 run->exit_reason);
	failed(v, KVM_WHY_FAILED, ret, what);
	return false;
}

void kvm_vcpu_run(struct kvm_vcpu *v, const struct kvm_vcpu_io *io, struct kvm_exit *ret)
{
	ret->text[0] = '\0';
	for (;;) {
		if (ioctl(v->fd, KVM_RUN, 0) == 0) {
			if (!on_exit_reason(v, io, ret))
				return;
			continue;
		}
		if (errno == EAGAIN) /* a CPU that waited for its start was started */
			continue;
		if (errno == EINTR) {
			ret->why = KVM_WHY_KICKED;
		} else {
			char what[96];

			snprintf(what, sizeof what, "KVM cannot run the guest: %s", strerrordesc_np(errno));
			failed(v, KVM_WHY_FAILED, ret, what);
		}
		return;
	}
}
