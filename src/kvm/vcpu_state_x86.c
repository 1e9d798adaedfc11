/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's state on x86_64, for snapshots. The order matters (Linux Documentation/virt/kvm/api.rst and its history):
 * reading the run state first lets KVM settle a pending start; writing, the special registers carry the APIC's mode
 * and come before the APIC, the APIC before the MSRs (the TSC deadline arms its timer), pending events last.
 *
 * Structures are saved as KVM defines them: its interface keeps them stable.
 */
#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/cpuid_x86.h"
#include "kvm/vcpu_internal.h"
#include "state/state.h"

#define MSR_TSC           0x10
#define MSR_TSC_DEADLINE  0x6e0
#define CPUID_MAX         256
#define MSRS_AT_ONCE      128 /* KVM takes fewer than 256 */
#define TSC_TOLERANCE_PPM 250 /* as KVM itself: clocks are no more exact than that */

static int cannot(const struct kvm_vcpu *v, const char *verb, const char *what, struct err *e)
{
	return err_sys(e, errno, "cannot %s the %s of vCPU %u", verb, what, v->index);
}

/* What is one ioctl each way. */
struct part {
	const char *name;
	unsigned long get, set;
	size_t size;
};

static const struct part run_state = { "mp-state", KVM_GET_MP_STATE, KVM_SET_MP_STATE, sizeof(struct kvm_mp_state) };
static const struct part registers[] = {
	{ "regs", KVM_GET_REGS, KVM_SET_REGS, sizeof(struct kvm_regs) },
	{ "sregs", KVM_GET_SREGS, KVM_SET_SREGS, sizeof(struct kvm_sregs) },
	{ "xcrs", KVM_GET_XCRS, KVM_SET_XCRS, sizeof(struct kvm_xcrs) },
	{ "debugregs", KVM_GET_DEBUGREGS, KVM_SET_DEBUGREGS, sizeof(struct kvm_debugregs) },
	{ "lapic", KVM_GET_LAPIC, KVM_SET_LAPIC, sizeof(struct kvm_lapic_state) },
};
static const struct part events = { "events", KVM_GET_VCPU_EVENTS, KVM_SET_VCPU_EVENTS,
				    sizeof(struct kvm_vcpu_events) };

static int save_part(struct kvm_vcpu *v, const struct part *part, struct state *s, struct err *e)
{
	_cleanup_free_ void *data = calloc(1, part->size);

	if (!data)
		return err_sys(e, ENOMEM, "cannot save vCPU %u", v->index);
	if (ioctl(v->fd, part->get, data) < 0)
		return cannot(v, "read", part->name, e);
	state_put_bytes(s, part->name, data, part->size);
	return 0;
}

static int load_part(struct kvm_vcpu *v, const struct part *part, const struct state *s, struct err *e)
{
	_cleanup_free_ void *data = malloc(part->size);
	int r;

	if (!data)
		return err_sys(e, ENOMEM, "cannot load vCPU %u", v->index);
	r = state_get_bytes(s, part->name, data, part->size, e);
	if (r < 0)
		return r;
	return ioctl(v->fd, part->set, data) < 0 ? cannot(v, "set", part->name, e) : 0;
}

/* Beyond 4 KiB when the host has large registers (AMX). */
static size_t xsave_size(const struct kvm_vcpu *v)
{
	int size = ioctl(kvm_vm_fd(v->vm), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2);

	return size > (int)sizeof(struct kvm_xsave) ? (size_t)size : sizeof(struct kvm_xsave);
}

static int save_xsave(struct kvm_vcpu *v, struct state *s, struct err *e)
{
	size_t size = xsave_size(v);
	_cleanup_free_ void *data = calloc(1, size);

	if (!data)
		return err_sys(e, ENOMEM, "cannot save vCPU %u", v->index);
	if (ioctl(v->fd, size > sizeof(struct kvm_xsave) ? KVM_GET_XSAVE2 : KVM_GET_XSAVE, data) < 0)
		return cannot(v, "read", "floating-point state", e);
	state_put_bytes(s, "xsave", data, size);
	return 0;
}

static int load_xsave(struct kvm_vcpu *v, const struct state *s, struct err *e)
{
	size_t size = xsave_size(v);
	_cleanup_free_ void *data = malloc(size);
	int r;

	if (!data)
		return err_sys(e, ENOMEM, "cannot load vCPU %u", v->index);
	r = state_get_bytes(s, "xsave", data, size, e);
	if (r < 0)
		return r;
	/* KVM_SET_XSAVE takes the size that KVM_CAP_XSAVE2 tells. */
	return ioctl(v->fd, KVM_SET_XSAVE, data) < 0 ? cannot(v, "set", "floating-point state", e) : 0;
}

/* Room for features; NULL: no memory. */
static struct kvm_cpuid2 *new_cpuid(void)
{
	struct kvm_cpuid2 *c = calloc(1, sizeof *c + CPUID_MAX * sizeof c->entries[0]);

	if (c)
		c->nent = CPUID_MAX;
	return c;
}

static int save_cpuid(struct kvm_vcpu *v, struct state *s, struct err *e)
{
	_cleanup_free_ struct kvm_cpuid2 *c = new_cpuid();

	if (!c)
		return err_sys(e, ENOMEM, "cannot save vCPU %u", v->index);
	if (ioctl(v->fd, KVM_GET_CPUID2, c) < 0)
		return cannot(v, "read", "features", e);
	state_put_bytes(s, "cpuid", c->entries, c->nent * sizeof c->entries[0]);
	state_put_u64(s, "tsc-khz", (uint64_t)ioctl(v->fd, KVM_GET_TSC_KHZ, 0));
	return 0;
}

/*
 * A guest that measured its TSC once goes wrong with another one. Beyond the tolerance only scaling in hardware helps;
 * what KVM does without it is right at exits only.
 */
static bool tsc_is_near(int64_t host, int64_t khz)
{
	return llabs(host - khz) * 1000000 <= khz * TSC_TOLERANCE_PPM;
}

bool kvm_tsc_khz_possible(const struct kvm *kvm, int64_t host, int64_t khz)
{
	return tsc_is_near(host, khz) || kvm_capability(kvm, KVM_CAP_TSC_CONTROL);
}

static int load_tsc_khz(struct kvm_vcpu *v, uint64_t khz, struct err *e)
{
	int64_t host = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);

	if (host == (int64_t)khz)
		return 0;
	if (!kvm_tsc_khz_possible(kvm_vm_kvm(v->vm), host, (int64_t)khz))
		return err_set(
			e, ERR_HYPERVISOR, ENOTSUP,
			"the TSC of vCPU %u ran at %llu kHz when it was saved, this host's runs at %lld kHz and cannot "
			"be scaled",
			v->index, (unsigned long long)khz, (long long)host);
	if (ioctl(v->fd, KVM_SET_TSC_KHZ, (unsigned long)khz) < 0 && !tsc_is_near(host, (int64_t)khz))
		return cannot(v, "set", "TSC frequency", e);
	return 0;
}

static int load_cpuid(struct kvm_vcpu *v, const struct state *s, struct err *e)
{
	_cleanup_free_ struct kvm_cpuid2 *c = new_cpuid(), *own = new_cpuid();
	const void *entries;
	uint64_t khz;
	size_t len;
	int r;

	if (!c || !own)
		return err_sys(e, ENOMEM, "cannot load vCPU %u", v->index);
	r = state_get_blob(s, "cpuid", &entries, &len, e);
	if (r == 0)
		r = state_get_max(s, "tsc-khz", INT32_MAX, &khz, e);
	if (r < 0)
		return r;
	c->nent = (uint32_t)(len / sizeof c->entries[0]);
	if (len % sizeof c->entries[0] || c->nent > CPUID_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "the features of vCPU %u are malformed", v->index);
	memcpy(c->entries, entries, len);
	/* What the reset gave it is what this host can give. */
	if (ioctl(v->fd, KVM_GET_CPUID2, own) < 0)
		return cannot(v, "read", "features", e);
	r = cpuid_x86_check(own, c, e);
	if (r < 0)
		return r;
	if (ioctl(v->fd, KVM_SET_CPUID2, c) < 0)
		return cannot(v, "set", "features", e);
	return load_tsc_khz(v, khz, e);
}

static bool get_msr(const struct kvm_vcpu *v, uint32_t index, uint64_t *ret)
{
	struct kvm_one_msr one = { .nmsrs = 1, .entry.index = index };

	if (ioctl(v->fd, KVM_GET_MSRS, &one) != 1)
		return false;
	*ret = one.entry.data;
	return true;
}

/* The list names what KVM knows; what this guest's features exclude cannot be read, and is not part of its state. */
static int save_msrs(struct kvm_vcpu *v, struct state *s, struct err *e)
{
	const struct kvm_msr_list *list = kvm_vm_kvm(v->vm)->msrs;
	_cleanup_free_ struct kvm_msr_entry *entries = calloc(list->nmsrs, sizeof *entries);
	size_t n = 0;

	if (!entries)
		return err_sys(e, ENOMEM, "cannot save vCPU %u", v->index);
	for (uint32_t i = 0; i < list->nmsrs; i++) {
		uint64_t value;

		if (!get_msr(v, list->indices[i], &value))
			continue;
		entries[n++] = (struct kvm_msr_entry){ .index = list->indices[i], .data = value };
	}
	state_put_bytes(s, "msrs", entries, n * sizeof *entries);
	return 0;
}

/* Some may be read only; then the value must be right already. */
static int check_msr(const struct kvm_vcpu *v, const struct kvm_msr_entry *entry, struct err *e)
{
	uint64_t value;

	if (get_msr(v, entry->index, &value) && value == entry->data)
		return 0;
	return err_set(e, ERR_HYPERVISOR, EINVAL, "KVM does not take MSR 0x%x of vCPU %u", entry->index, v->index);
}

/* All in their order, in as few calls as may be: KVM takes them up to the first that it refuses. */
static int set_msrs(const struct kvm_vcpu *v, const struct kvm_msr_entry *entries, size_t n, struct err *e)
{
	_cleanup_free_ struct kvm_msrs *m = malloc(sizeof *m + MSRS_AT_ONCE * sizeof *entries);

	if (!m)
		return err_sys(e, ENOMEM, "cannot load vCPU %u", v->index);
	for (size_t at = 0; at < n;) {
		size_t want = n - at < MSRS_AT_ONCE ? n - at : MSRS_AT_ONCE;
		int done, r;

		*m = (struct kvm_msrs){ .nmsrs = (uint32_t)want };
		memcpy(m->entries, entries + at, want * sizeof *entries);
		done = ioctl(v->fd, KVM_SET_MSRS, m);
		at += done > 0 ? (size_t)done : 0;
		if (done == (int)want)
			continue;
		r = check_msr(v, &entries[at++], e);
		if (r < 0)
			return r;
	}
	return 0;
}

/* How much the guest's TSC counts in that time; its frequency is set. */
static uint64_t tsc_cycles(const struct kvm_vcpu *v, uint64_t ns)
{
	int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0);

	return khz > 0 ? (uint64_t)((unsigned __int128)ns * (unsigned)khz / 1000000) : 0;
}

/*
 * The TSC goes on where the guest's clock does. The deadline of the local APIC's timer counts on it and comes last; an
 * expired timer whose interrupt was not delivered yet reads as no deadline, and gets one that is over, which is at
 * worst an interrupt too many. Where the timer is in another mode, or off, KVM takes no notice.
 */
static int load_msrs(struct kvm_vcpu *v, const struct state *s, uint64_t elapsed_ns, struct err *e)
{
	struct kvm_msr_entry deadline = { 0 };
	_cleanup_free_ struct kvm_msr_entry *entries = NULL;
	uint64_t tsc = 0;
	const void *blob;
	size_t len, n = 0;
	int r = state_get_blob(s, "msrs", &blob, &len, e);

	if (r < 0)
		return r;
	if (len % sizeof *entries)
		return err_set(e, ERR_CONFIG, EINVAL, "the MSRs of vCPU %u are malformed", v->index);
	entries = malloc(len + 1);
	if (!entries)
		return err_sys(e, ENOMEM, "cannot load vCPU %u", v->index);
	memcpy(entries, blob, len);
	for (size_t i = 0; i < len / sizeof *entries; i++) {
		if (entries[i].index == MSR_TSC_DEADLINE) {
			deadline = entries[i];
			continue;
		}
		if (entries[i].index == MSR_TSC)
			tsc = entries[i].data += tsc_cycles(v, elapsed_ns);
		entries[i].reserved = 0;
		entries[n++] = entries[i];
	}
	r = set_msrs(v, entries, n, e);
	if (!deadline.data)
		deadline.data = tsc;
	if (r == 0 && deadline.index && deadline.data)
		r = set_msrs(v, &deadline, 1, e);
	return r;
}

int kvm_vcpu_save(struct kvm_vcpu *v, struct state *s, struct err *e)
{
	int r = save_part(v, &run_state, s, e);

	if (r == 0)
		r = save_cpuid(v, s, e);
	for (size_t i = 0; r == 0 && i < sizeof registers / sizeof *registers; i++)
		r = save_part(v, &registers[i], s, e);
	if (r == 0)
		r = save_xsave(v, s, e);
	if (r == 0)
		r = save_msrs(v, s, e);
	return r < 0 ? r : save_part(v, &events, s, e);
}

int kvm_vcpu_load(struct kvm_vcpu *v, const struct state *s, uint64_t elapsed_ns, struct err *e)
{
	int r = load_cpuid(v, s, e);

	if (r == 0)
		r = load_part(v, &run_state, s, e);
	for (size_t i = 0; r == 0 && i < sizeof registers / sizeof *registers; i++)
		r = load_part(v, &registers[i], s, e);
	if (r == 0)
		r = load_xsave(v, s, e);
	if (r == 0)
		r = load_msrs(v, s, elapsed_ns, e);
	return r < 0 ? r : load_part(v, &events, s, e);
}
