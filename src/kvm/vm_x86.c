/* SPDX-License-Identifier: Apache-2.0 */
/* A VM's interrupt controller, timer and clock on x86_64, and their state. */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/vcpu_internal.h"
#include "kvm/vm_internal.h"
#include "state/state.h"

static int make_irqchip(struct kvm_vm *vm, struct err *e)
{
	struct kvm_enable_cap split = { .cap = KVM_CAP_SPLIT_IRQCHIP, .args = { KVM_PINS } };
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	if (vm->split) {
		if (!kvm_capability(vm->kvm, KVM_CAP_SPLIT_IRQCHIP) || !vm->kvm->tsc_deadline)
			return err_set(
				e, ERR_HYPERVISOR, ENOTSUP,
				"this host's KVM lacks KVM_CAP_SPLIT_IRQCHIP or KVM_CAP_TSC_DEADLINE_TIMER, which a "
				"split interrupt controller needs");
		if (ioctl(vm->fd, KVM_ENABLE_CAP, &split) < 0)
			return err_sys(e, errno, "KVM cannot make a split interrupt controller");
		return 0;
	}
	if (ioctl(vm->fd, KVM_CREATE_IRQCHIP, 0) < 0)
		return err_sys(e, errno, "KVM cannot make an interrupt controller");
	/* Guests calibrate the local APIC's timer by it when there is no TSC-deadline timer. */
	if (!vm->kvm->tsc_deadline) {
		if (ioctl(vm->fd, KVM_CREATE_PIT2, &pit) < 0)
			return err_sys(e, errno, "KVM cannot make an interval timer");
		vm->pit = true;
	}
	return 0;
}

int kvm_vm_set_up_arch(struct kvm_vm *vm, const struct kvm_vm_config *c, struct err *e)
{
	uint64_t identity = c->identity_map;

	if (ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0)
		return err_sys(e, errno, "KVM does not take the address of its identity map");
	if (ioctl(vm->fd, KVM_SET_TSS_ADDR, (unsigned long)c->tss) < 0)
		return err_sys(e, errno, "KVM does not take the address of its task state");
	return make_irqchip(vm, e);
}

static const struct {
	uint32_t id;
	const char *name;
} chips[] = {
	{ KVM_IRQCHIP_PIC_MASTER, "pic-master" },
	{ KVM_IRQCHIP_PIC_SLAVE, "pic-slave" },
	{ KVM_IRQCHIP_IOAPIC, "ioapic" },
};

/*
 * The frequency of the TSCs of vCPUs that are made from now on: KVM lets a new one count with the others only if it has
 * theirs. Hosts of one model differ by some kHz, and so does one host from start to start. Before Linux 5.18 KVM has
 * none but the host's, and a vCPU that is plugged into a restored VM has that.
 */
static void save_tsc_khz(struct kvm_vm *vm, struct state *s)
{
	int khz = ioctl(vm->fd, KVM_GET_TSC_KHZ, 0);

	if (khz > 0)
		state_put_u64(s, "tsc-khz", (uint64_t)khz);
}

/* Before there are vCPUs. What cannot be, the vCPUs' own states refuse. */
static void load_tsc_khz(struct kvm_vm *vm, const struct state *s)
{
	struct err absent = { 0 };
	int host = ioctl(vm->fd, KVM_GET_TSC_KHZ, 0);
	uint64_t khz;

	if (host > 0 && state_get_max(s, "tsc-khz", INT32_MAX, &khz, &absent) == 0 &&
	    kvm_tsc_khz_possible(vm->kvm, host, (int64_t)khz))
		ioctl(vm->fd, KVM_SET_TSC_KHZ, (unsigned long)khz);
}

int kvm_vm_save(struct kvm_vm *vm, struct state *s, struct err *e)
{
	struct kvm_clock_data clock = { 0 };
	struct kvm_pit_state2 pit;

	save_tsc_khz(vm, s);

	for (size_t i = 0; !vm->split && i < sizeof chips / sizeof *chips; i++) {
		struct kvm_irqchip chip = { .chip_id = chips[i].id };

		if (ioctl(vm->fd, KVM_GET_IRQCHIP, &chip) < 0)
			return err_sys(e, errno, "cannot read the interrupt controller's state");
		state_put_bytes(s, chips[i].name, &chip, sizeof chip);
	}
	if (vm->pit) {
		if (ioctl(vm->fd, KVM_GET_PIT2, &pit) < 0)
			return err_sys(e, errno, "cannot read the interval timer's state");
		state_put_bytes(s, "pit", &pit, sizeof pit);
	}
	if (ioctl(vm->fd, KVM_GET_CLOCK, &clock) < 0)
		return err_sys(e, errno, "cannot read the guest's clock");
	state_put_bytes(s, "clock", &clock, sizeof clock);
	return 0;
}

static int load_clock(struct kvm_vm *vm, const struct state *s, uint64_t elapsed_ns, struct err *e)
{
	struct kvm_clock_data clock;
	int r = state_get_bytes(s, "clock", &clock, sizeof clock, e);

	if (r < 0)
		return r;
	/* KVM_CLOCK_REALTIME would add the time since the save, but not every host has it, and the TSCs need the same.
	 */
	clock = (struct kvm_clock_data){ .clock = clock.clock + elapsed_ns };
	if (ioctl(vm->fd, KVM_SET_CLOCK, &clock) < 0)
		return err_sys(e, errno, "cannot set the guest's clock");
	return 0;
}

int kvm_vm_load(struct kvm_vm *vm, const struct state *s, uint64_t elapsed_ns, struct err *e)
{
	struct kvm_pit_state2 pit;
	int r;

	load_tsc_khz(vm, s);
	for (size_t i = 0; !vm->split && i < sizeof chips / sizeof *chips; i++) {
		struct kvm_irqchip chip;

		r = state_get_bytes(s, chips[i].name, &chip, sizeof chip, e);
		if (r < 0)
			return r;
		chip.chip_id = chips[i].id;
		if (ioctl(vm->fd, KVM_SET_IRQCHIP, &chip) < 0)
			return err_sys(e, errno, "cannot set the interrupt controller's state");
	}
	if (vm->pit) {
		r = state_get_bytes(s, "pit", &pit, sizeof pit, e);
		if (r < 0)
			return r;
		if (ioctl(vm->fd, KVM_SET_PIT2, &pit) < 0)
			return err_sys(e, errno, "cannot set the interval timer's state");
	}
	return load_clock(vm, s, elapsed_ns, e);
}
