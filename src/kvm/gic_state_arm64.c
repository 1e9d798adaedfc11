/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of the interrupt controller, for snapshots. KVM gives it register by register
 * (Documentation/virt/kvm/devices/arm-vgic-v3.rst, arm-vgic-its.rst); one walk over them, in the order in which they
 * must be set, serves both directions, and the saved form is the values in the order of the walk. What sets and what
 * clears bits are two registers: into a new controller, which is all zeroes, the first kind is enough.
 *
 * What the guest's MSIs are is in tables in guest memory: saving writes them there, so it comes before memory is saved,
 * and loading reads them, so it comes after memory is there.
 */
#include <errno.h>
#include <sys/ioctl.h>

#include "base/strv.h"
#include "kvm/vm_arm64.h"
#include "kvm/vm_internal.h"
#include "state/state.h"

/* Arm IHI 0069, §12.9 distributor, §12.11 redistributor, §12.18 ITS. */
enum {
	GICD_CTLR = 0x0000,
	GICD_IIDR = 0x0008,
	GICD_IROUTER = 0x6000,
	GICR_CTLR = 0x0000,
	GICR_PROPBASER = 0x0070,
	GICR_PENDBASER = 0x0078,
	GICR_PRIVATE = 0x10000, /* the frame of the CPU's own interrupts, laid out as the distributor */
	GITS_CTLR = 0x0000,
	GITS_IIDR = 0x0004,
	GITS_CBASER = 0x0080,
	GITS_CWRITER = 0x0088,
	GITS_CREADR = 0x0090,
	GITS_BASER = 0x0100,
};
#define GITS_BASERS 8

/* Registers that have some bits for each interrupt, both in the distributor and in the redistributors. */
static const struct {
	uint32_t offset, bits;
} per_interrupt[] = {
	{ 0x080, 1 }, /* group */
	{ 0xc00, 2 }, /* edge or level */
	{ 0x400, 8 }, /* priority */
	{ 0x100, 1 }, /* enabled */
	{ 0x200, 1 }, /* pending */
	{ 0x300, 1 }, /* active */
};

/* The CPU interface (§12.2). SRE and control come first: the others depend on them. */
#define ICC(crm, op2) (ARM64_SYS_REG(3, 0, 12, crm, op2) & KVM_DEV_ARM_VGIC_SYSREG_INSTR_MASK)
#define ICC_SRE       ICC(12, 5)
#define ICC_CTLR      ICC(12, 4)
#define ICC_AP0R(n)   ICC(8, 4 + (n))
#define ICC_AP1R(n)   ICC(9, n)
#define ICC_PMR       (ARM64_SYS_REG(3, 0, 4, 6, 0) & KVM_DEV_ARM_VGIC_SYSREG_INSTR_MASK)
static const uint64_t interface[] = { ICC_PMR, ICC(8, 3), ICC(12, 3), ICC(12, 6), ICC(12, 7) };

struct walk {
	bool load;
	struct buf out;     /* save */
	const uint64_t *in; /* load */
	size_t n, at;
	int failed; /* the first failure: -errno */
};

/* One register: saved or loaded. The 32-bit groups use half of the value. Returns it. */
static uint64_t visit(struct walk *w, int device, uint32_t group, uint64_t attr)
{
	uint64_t v = 0;
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)&v };

	if (w->failed)
		return 0;
	if (w->load && w->at == w->n) {
		w->failed = -EINVAL;
		return 0;
	}
	if (w->load)
		v = w->in[w->at++];
	if (ioctl(device, w->load ? KVM_SET_DEVICE_ATTR : KVM_GET_DEVICE_ATTR, &a) < 0)
		w->failed = -errno;
	else if (!w->load && buf_append(&w->out, &v, sizeof v) < 0)
		w->failed = -ENOMEM;
	return v;
}

static void control(struct walk *w, int device, uint64_t attr)
{
	struct kvm_device_attr a = { .group = KVM_DEV_ARM_VGIC_GRP_CTRL, .attr = attr };

	if (!w->failed && ioctl(device, KVM_SET_DEVICE_ATTR, &a) < 0)
		w->failed = -errno;
}

/* The registers of interrupts first to end-1, whose bank begins at base. */
static void walk_interrupts(struct walk *w, int gic, uint32_t group, uint64_t base, uint32_t first, uint32_t end)
{
	for (size_t i = 0; i < sizeof per_interrupt / sizeof *per_interrupt; i++) {
		uint32_t bits = per_interrupt[i].bits;

		for (uint32_t n = first; n < end; n += 32 / bits)
			visit(w, gic, group, base + per_interrupt[i].offset + n * bits / 8);
	}
}

static void walk_lines(struct walk *w, int gic, uint64_t cpu, uint32_t first, uint32_t end)
{
	for (uint32_t n = first; n < end; n += 32)
		visit(w, gic, KVM_DEV_ARM_VGIC_GRP_LEVEL_INFO,
		      cpu | VGIC_LEVEL_INFO_LINE_LEVEL << KVM_DEV_ARM_VGIC_LINE_LEVEL_INFO_SHIFT | n);
}

static void walk_distributor(struct walk *w, int gic)
{
	const uint32_t end = KVM_GIC_PRIVATE + KVM_PINS;

	walk_interrupts(w, gic, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, 0, KVM_GIC_PRIVATE, end);
	for (uint32_t n = KVM_GIC_PRIVATE; n < end; n++) {
		visit(w, gic, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, GICD_IROUTER + 8 * n);
		visit(w, gic, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, GICD_IROUTER + 8 * n + 4);
	}
}

/* The tables' addresses before the control register, which makes KVM read them. */
static void walk_redistributor(struct walk *w, int gic, uint64_t cpu)
{
	static const uint32_t regs[] = { GICR_PROPBASER, GICR_PROPBASER + 4, GICR_PENDBASER, GICR_PENDBASER + 4,
					 GICR_CTLR };

	for (size_t i = 0; i < sizeof regs / sizeof *regs; i++)
		visit(w, gic, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, cpu | regs[i]);
	walk_interrupts(w, gic, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, cpu | GICR_PRIVATE, 0, KVM_GIC_PRIVATE);
}

static void walk_interface(struct walk *w, int gic, uint64_t cpu)
{
	const uint32_t group = KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS;
	uint64_t priority_bits;
	unsigned active = 1;

	visit(w, gic, group, cpu | ICC_SRE);
	priority_bits = (visit(w, gic, group, cpu | ICC_CTLR) >> 8 & 7) + 1;
	for (size_t i = 0; i < sizeof interface / sizeof *interface; i++)
		visit(w, gic, group, cpu | interface[i]);
	/* How many registers of active priorities there are: §4.8.6. */
	if (priority_bits > 5)
		active = priority_bits > 6 ? 4 : 2;
	for (unsigned i = 0; i < active; i++) {
		visit(w, gic, group, cpu | ICC_AP0R(i));
		visit(w, gic, group, cpu | ICC_AP1R(i));
	}
}

/* arm-vgic-its.rst: the command queue's address resets its pointers, the tables are read before it is switched on. */
static void walk_its(struct walk *w, int its)
{
	const uint32_t group = KVM_DEV_ARM_VGIC_GRP_ITS_REGS;

	if (!w->load)
		control(w, its, KVM_DEV_ARM_ITS_SAVE_TABLES);
	visit(w, its, group, GITS_IIDR);
	visit(w, its, group, GITS_CBASER);
	visit(w, its, group, GITS_CREADR);
	visit(w, its, group, GITS_CWRITER);
	for (unsigned i = 0; i < GITS_BASERS; i++)
		visit(w, its, group, GITS_BASER + 8 * i);
	if (w->load)
		control(w, its, KVM_DEV_ARM_ITS_RESTORE_TABLES);
	visit(w, its, group, GITS_CTLR);
}

static void walk(struct walk *w, struct kvm_vm *vm)
{
	if (!w->load)
		control(w, vm->gic, KVM_DEV_ARM_VGIC_SAVE_PENDING_TABLES);
	visit(w, vm->gic, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, GICD_IIDR);
	visit(w, vm->gic, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, GICD_CTLR);
	for (unsigned i = 0; i < vm->n_mpidr; i++) {
		/* As the attributes want it: affinity level 3 moves down to the others. */
		uint64_t mpidr = vm->mpidr[i], cpu = ((mpidr & 0xffffff) | (mpidr >> 8 & 0xff000000))
						     << KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT;

		walk_redistributor(w, vm->gic, cpu);
		walk_interface(w, vm->gic, cpu);
		walk_lines(w, vm->gic, cpu, 0, KVM_GIC_PRIVATE);
	}
	walk_distributor(w, vm->gic);
	walk_lines(w, vm->gic, 0, KVM_GIC_PRIVATE, KVM_GIC_PRIVATE + KVM_PINS);
	if (vm->its >= 0)
		walk_its(w, vm->its);
}

int kvm_vm_save(struct kvm_vm *vm, struct state *s, struct err *e)
{
	struct walk w = { 0 };

	walk(&w, vm);
	if (!w.failed)
		state_put_bytes(s, "gic", w.out.data, w.out.len);
	buf_fini(&w.out);
	return w.failed ? err_sys(e, -w.failed, "cannot read the interrupt controller's state") : 0;
}

int kvm_vm_load(struct kvm_vm *vm, const struct state *s, uint64_t elapsed_ns, struct err *e)
{
	_cleanup_free_ uint64_t *values = NULL;
	struct walk w = { .load = true };
	const void *blob;
	size_t len;
	int r = state_get_blob(s, "gic", &blob, &len, e);

	if (r < 0)
		return r;
	values = malloc(len + 1);
	if (!values)
		return err_sys(e, ENOMEM, "cannot load the interrupt controller's state");
	memcpy(values, blob, len);
	w.in = values;
	w.n = len / sizeof *values;
	walk(&w, vm);
	if (w.failed)
		return err_sys(e, -w.failed, "cannot set the interrupt controller's state");
	if (w.at * sizeof *values != len)
		return err_set(e, ERR_CONFIG, EINVAL, "the interrupt controller's state is another machine's");
	return 0;
}
