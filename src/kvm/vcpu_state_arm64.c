/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vCPU's state on arm64, for snapshots: all registers that KVM lists (KVM_GET_REG_LIST), which are saved as pairs of
 * name and value, and what is no register. The counter is among them: the guest's time goes on where it stood. To move
 * it forward by the time that has passed (elapsed_ns) would make the guest's watchdogs bark, for which arm64 has no
 * word as KVM's x86 clock has; the date is in the real-time clock.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/strv.h"
#include "kvm/vcpu_internal.h"
#include "state/state.h"

#define REG_MAX 256 /* bytes: KVM_REG_SIZE_U2048 */

static size_t reg_size(uint64_t id)
{
	return (size_t)1 << ((id & KVM_REG_SIZE_MASK) >> KVM_REG_SIZE_SHIFT);
}

static int cannot(const struct kvm_vcpu *v, const char *verb, const char *what, struct err *e)
{
	return err_sys(e, errno, "cannot %s the %s of vCPU %u", verb, what, v->index);
}

static int list_registers(struct kvm_vcpu *v, struct kvm_reg_list **ret, struct err *e)
{
	struct kvm_reg_list count = { 0 };
	_cleanup_free_ struct kvm_reg_list *list = NULL;

	/* It fails, and says how many there are. */
	if (ioctl(v->fd, KVM_GET_REG_LIST, &count) < 0 && errno != E2BIG)
		return cannot(v, "list", "registers", e);
	list = calloc(1, sizeof *list + count.n * sizeof list->reg[0]);
	if (!list)
		return err_sys(e, ENOMEM, "cannot save vCPU %u", v->index);
	list->n = count.n;
	if (ioctl(v->fd, KVM_GET_REG_LIST, list) < 0)
		return cannot(v, "list", "registers", e);
	*ret = take_ptr(list);
	return 0;
}

static int save_registers(struct kvm_vcpu *v, struct state *s, struct err *e)
{
	_cleanup_free_ struct kvm_reg_list *list = NULL;
	_cleanup_buf_ struct buf out = { 0 };
	int r = list_registers(v, &list, e);

	if (r < 0)
		return r;
	for (uint64_t i = 0; i < list->n; i++) {
		uint8_t value[REG_MAX] = { 0 };
		struct kvm_one_reg reg = { .id = list->reg[i], .addr = (uintptr_t)value };

		if (reg_size(reg.id) > sizeof value)
			return err_set(e, ERR_HYPERVISOR, ENOTSUP, "vCPU %u has a register of %zu bytes", v->index,
				       reg_size(reg.id));
		if (ioctl(v->fd, KVM_GET_ONE_REG, &reg) < 0)
			return cannot(v, "read", "registers", e);
		if (buf_append(&out, &reg.id, sizeof reg.id) < 0 || buf_append(&out, value, reg_size(reg.id)) < 0)
			return err_sys(e, ENOMEM, "cannot save vCPU %u", v->index);
	}
	state_put_bytes(s, "registers", out.data, out.len);
	return 0;
}

/* Those that say what the processor is can be set to what they are only. */
static int load_registers(struct kvm_vcpu *v, const struct state *s, struct err *e)
{
	const void *blob;
	const uint8_t *p;
	size_t len;
	int r = state_get_blob(s, "registers", &blob, &len, e);

	if (r < 0)
		return r;
	for (p = blob; len;) {
		uint8_t value[REG_MAX];
		struct kvm_one_reg reg = { .addr = (uintptr_t)value };
		size_t size;

		if (len < sizeof reg.id)
			return err_set(e, ERR_CONFIG, EINVAL, "the registers of vCPU %u are malformed", v->index);
		memcpy(&reg.id, p, sizeof reg.id);
		size = reg_size(reg.id);
		if (size > sizeof value || len - sizeof reg.id < size)
			return err_set(e, ERR_CONFIG, EINVAL, "the registers of vCPU %u are malformed", v->index);
		memcpy(value, p + sizeof reg.id, size);
		p += sizeof reg.id + size;
		len -= sizeof reg.id + size;
		if (ioctl(v->fd, KVM_SET_ONE_REG, &reg) < 0)
			return err_sys(e, errno,
				       "cannot set register 0x%llx of vCPU %u: this host's processor may lack what the "
				       "snapshot's had",
				       reg.id, v->index);
	}
	return 0;
}

int kvm_vcpu_save(struct kvm_vcpu *v, struct state *s, struct err *e)
{
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events = { 0 };
	int r = save_registers(v, s, e);

	if (r < 0)
		return r;
	if (ioctl(v->fd, KVM_GET_MP_STATE, &mp) < 0)
		return cannot(v, "read", "run state", e);
	state_put_bytes(s, "mp-state", &mp, sizeof mp);
	if (ioctl(v->fd, KVM_GET_VCPU_EVENTS, &events) < 0)
		return cannot(v, "read", "pending events", e);
	state_put_bytes(s, "events", &events, sizeof events);
	return 0;
}

int kvm_vcpu_load(struct kvm_vcpu *v, const struct state *s, uint64_t elapsed_ns, struct err *e)
{
	struct kvm_mp_state mp;
	struct kvm_vcpu_events events;
	int r = state_get_bytes(s, "mp-state", &mp, sizeof mp, e);

	if (r == 0)
		r = state_get_bytes(s, "events", &events, sizeof events, e);
	if (r == 0)
		r = load_registers(v, s, e);
	if (r < 0)
		return r;
	if (ioctl(v->fd, KVM_SET_MP_STATE, &mp) < 0)
		return cannot(v, "set", "run state", e);
	return ioctl(v->fd, KVM_SET_VCPU_EVENTS, &events) < 0 ? cannot(v, "set", "pending events", e) : 0;
}
