/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Leaf by leaf: Intel SDM volume 2A "CPUID"; AMD APM volume 3 appendix E; Linux Documentation/virt/kvm/x86/cpuid.rst.
 * All CPUs are in one package; with two threads per core neighbours share one.
 */
#include "kvm/cpuid_x86.h"

#include <errno.h>
#include <linux/kvm.h>
#include <stdlib.h>
#include <string.h>

#define LEAF1_ECX_PDCM         (1u << 15)
#define LEAF1_ECX_VMX          (1u << 5)
#define LEAF1_ECX_TSC_DEADLINE (1u << 24)
#define LEAF1_ECX_HYPERVISOR   (1u << 31)
#define LEAF1_EDX_HTT          (1u << 28)
#define LEAF7_EDX_AMX          (1u << 22 | 1u << 24 | 1u << 25) /* BF16, TILE, INT8 */
#define LEAF7_1_EAX_AMX        (1u << 21)                       /* FP16 */
#define LEAF7_1_EDX_AMX        (1u << 8)                        /* COMPLEX */
#define XCR0_TILECFG           17
#define XCR0_TILEDATA          18
#define AMD1_ECX_CMP_LEGACY    (1u << 1)
#define AMD1_ECX_SVM           (1u << 2)
#define AMD1_ECX_PERF          (1u << 23 | 1u << 24 | 1u << 28) /* core, NB and LLC counters */
#define KVM_LEAF               0x40000000u
#define KVM_LEAF_TIMING        0x40000010u /* as VMware defined it: TSC and APIC bus frequency in kHz */
#define APIC_BUS_KHZ           1000000u    /* KVM's APIC timer counts nanoseconds */
#define VENDOR_AMD             0x444d4163u /* ecx of leaf 0: "cAMD" */
#define VENDOR_HYGON           0x656e6975u /* "uine" */
#define EXTRA_ENTRIES          8

struct builder {
	struct kvm_cpuid2 *c;
	const struct kvm_topology *t;
	uint32_t index;
	unsigned smt_bits, all_bits; /* of an APIC id: thread in core; CPU in package */
	uint32_t max_leaf;
	bool tsc_deadline, amd;
};

static unsigned bits_for(uint32_t n)
{
	unsigned bits = 0;

	while (bits < 31 && 1u << bits < n)
		bits++;
	return bits;
}

/* Leaves that are dropped or made anew below. */
static bool replaced(uint32_t leaf)
{
	return leaf == 0xb || leaf == 0x1f;
}

static struct kvm_cpuid_entry2 *append(struct builder *b, uint32_t leaf, uint32_t sub, bool has_sub)
{
	struct kvm_cpuid_entry2 *n = &b->c->entries[b->c->nent++];

	*n = (struct kvm_cpuid_entry2){ .function = leaf,
					.index = sub,
					.flags = has_sub ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0 };
	return n;
}

static void leaf1(const struct builder *b, struct kvm_cpuid_entry2 *n)
{
	n->ebx &= 0x0000ffff; /* keeps brand index and CLFLUSH line */
	n->ebx |= b->index << 24 | (1u << b->all_bits) << 16;
	n->ecx &= ~(LEAF1_ECX_PDCM | LEAF1_ECX_VMX | LEAF1_ECX_TSC_DEADLINE);
	n->ecx |= LEAF1_ECX_HYPERVISOR | (b->tsc_deadline ? LEAF1_ECX_TSC_DEADLINE : 0);
	n->edx &= ~LEAF1_EDX_HTT;
	if (b->t->vcpus > 1)
		n->edx |= LEAF1_EDX_HTT;
}

/* How many APIC ids share a cache of this level: the threads of a core up to level 2, everybody beyond. */
static uint32_t cache_sharing(const struct builder *b, uint32_t level)
{
	return level <= 2 ? b->t->threads_per_core - 1 : (1u << b->all_bits) - 1;
}

/* Intel's deterministic cache parameters */
static void leaf4(const struct builder *b, struct kvm_cpuid_entry2 *n)
{
	uint32_t cores = 1u << (b->all_bits - b->smt_bits);

	if (!(n->eax & 0x1f))
		return;
	n->eax &= 0x00003fff;
	n->eax |= cache_sharing(b, n->eax >> 5 & 7) << 14 | ((cores - 1) & 0x3f) << 26;
}

static void clear(struct kvm_cpuid_entry2 *n)
{
	n->eax = n->ebx = n->ecx = n->edx = 0;
}

/*
 * Tiles (AMX) need a permission that a process asks for (arch_prctl(2), ARCH_REQ_XCOMP_GUEST_PERM), and nobody does
 * here. KVM then leaves their state out of leaf 0xd, some versions half of it, but goes on to offer the instructions.
 */
static void leaf7(struct kvm_cpuid_entry2 *n)
{
	if (n->index == 0)
		n->edx &= ~LEAF7_EDX_AMX;
	if (n->index == 1) {
		n->eax &= ~LEAF7_1_EAX_AMX;
		n->edx &= ~LEAF7_1_EDX_AMX;
	}
}

static void leaf_d(struct kvm_cpuid_entry2 *n)
{
	if (n->index == 0)
		n->eax &= ~(1u << XCR0_TILECFG | 1u << XCR0_TILEDATA);
	else if (n->index == XCR0_TILECFG || n->index == XCR0_TILEDATA)
		clear(n);
}

/* AMD's */
static void leaf8000001d(const struct builder *b, struct kvm_cpuid_entry2 *n)
{
	if (!(n->eax & 0x1f))
		return;
	n->eax &= 0x00003fff;
	n->eax |= cache_sharing(b, n->eax >> 5 & 7) << 14;
}

static void leaf8000001e(const struct builder *b, struct kvm_cpuid_entry2 *n)
{
	n->eax = b->index;
	n->ebx = b->index >> b->smt_bits | (b->t->threads_per_core - 1) << 8;
	n->ecx = 0; /* one node */
	n->edx = 0;
}

static void adjust(const struct builder *b, struct kvm_cpuid_entry2 *n)
{
	switch (n->function) {
	case 1:
		leaf1(b, n);
		break;
	case 4:
		leaf4(b, n);
		break;
	case 7:
		leaf7(n);
		break;
	case 0xd:
		leaf_d(n);
		break;
	case 0xa:        /* performance counters */
	case 0x1d:       /* tiles */
	case 0x1e:       /* what multiplies them */
	case 0x8000000a: /* SVM */
	case 0x8000001f: /* encrypted memory, of a host that can make guests with it: this is none */
	case 0x80000022: /* performance counters */
		clear(n);
		break;
	case KVM_LEAF:
		n->eax = KVM_LEAF_TIMING;
		break;
	case 0x80000001:
		n->ecx &= ~(AMD1_ECX_SVM | AMD1_ECX_PERF | (b->t->vcpus == 1 ? AMD1_ECX_CMP_LEGACY : 0));
		break;
	case 0x80000008: /* threads in the package, bits of their ids; Intel reserves it */
		n->ecx = b->amd ? (b->t->vcpus - 1) | b->all_bits << 12 : 0;
		break;
	case 0x8000001d:
		leaf8000001d(b, n);
		break;
	case 0x8000001e:
		leaf8000001e(b, n);
		break;
	}
}

/* Extended topology: level 1 threads of a core, level 2 CPUs of the package. */
static void topology_leaf(struct builder *b, uint32_t leaf)
{
	const struct {
		uint32_t shift, count, type;
	} levels[] = {
		{ b->smt_bits, b->t->threads_per_core, 1 },
		{ b->all_bits, b->t->vcpus, 2 },
		{ 0, 0, 0 },
	};

	for (uint32_t i = 0; i < 3; i++) {
		struct kvm_cpuid_entry2 *n = append(b, leaf, i, true);

		n->eax = levels[i].shift;
		n->ebx = levels[i].count;
		n->ecx = i | levels[i].type << 8;
		n->edx = b->index;
	}
}

int cpuid_x86_build(const struct kvm_cpuid2 *supported, const struct kvm_topology *t, uint32_t index, bool tsc_deadline,
		    uint32_t tsc_khz, struct kvm_cpuid2 **ret)
{
	struct builder b = {
		.t = t,
		.index = index,
		.smt_bits = bits_for(t->threads_per_core),
		.all_bits = bits_for(t->vcpus),
		.tsc_deadline = tsc_deadline,
	};
	struct kvm_cpuid_entry2 *n;

	b.c = calloc(1, sizeof *b.c + (supported->nent + EXTRA_ENTRIES) * sizeof b.c->entries[0]);
	if (!b.c)
		return -ENOMEM;
	for (uint32_t i = 0; i < supported->nent; i++) {
		const struct kvm_cpuid_entry2 *from = &supported->entries[i];

		if (from->function == 0) {
			b.max_leaf = from->eax;
			b.amd = from->ecx == VENDOR_AMD || from->ecx == VENDOR_HYGON;
		}
		if (replaced(from->function) || from->function == KVM_LEAF_TIMING)
			continue;
		n = &b.c->entries[b.c->nent++];
		*n = *from;
		adjust(&b, n);
	}
	if (b.max_leaf >= 0xb)
		topology_leaf(&b, 0xb);
	if (b.max_leaf >= 0x1f)
		topology_leaf(&b, 0x1f);
	n = append(&b, KVM_LEAF_TIMING, 0, false);
	n->eax = tsc_khz;
	n->ebx = APIC_BUS_KHZ;
	*ret = b.c;
	return 0;
}

static const struct kvm_cpuid_entry2 *find_leaf(const struct kvm_cpuid2 *c, uint32_t leaf, uint32_t sub)
{
	for (uint32_t i = 0; i < c->nent; i++)
		if (c->entries[i].function == leaf &&
		    (c->entries[i].index == sub || !(c->entries[i].flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return &c->entries[i];
	return NULL;
}

enum reg { EAX, EBX, ECX, EDX };

static uint32_t reg_of(const struct kvm_cpuid_entry2 *n, enum reg reg)
{
	return !n ? 0 : reg == EAX ? n->eax : reg == EBX ? n->ebx : reg == ECX ? n->ecx : n->edx;
}

static void vendor_name(const struct kvm_cpuid_entry2 *leaf0, char ret[13])
{
	const uint32_t parts[3] = { leaf0->ebx, leaf0->edx, leaf0->ecx };

	memcpy(ret, parts, sizeof parts);
	ret[12] = '\0';
}

/*
 * Where each bit is a feature; without those that the guest switches (APIC, OSXSAVE, OSPKE, MONITOR), and without
 * tiles, which earlier versions told of and no guest could use.
 */
static const struct feature_word {
	uint32_t leaf, sub;
	enum reg reg;
	uint32_t mask;
} feature_words[] = {
	{ 1, 0, ECX, ~(1u << 3 | 1u << 27) },
	{ 1, 0, EDX, ~(1u << 9) },
	{ 7, 0, EBX, ~0u },
	{ 7, 0, ECX, ~(1u << 4) },
	{ 7, 0, EDX, ~LEAF7_EDX_AMX },
	{ 7, 1, EAX, ~LEAF7_1_EAX_AMX },
	{ 7, 1, EDX, ~LEAF7_1_EDX_AMX },
	{ 7, 2, EDX, ~0u },
	{ 0xd, 0, EAX, ~(1u << XCR0_TILECFG) },
	{ 0xd, 1, EAX, ~0u },
	{ KVM_LEAF + 1, 0, EAX, ~0u }, /* what an older KVM does not serve: calls would be lost without a word */
	{ 0x80000001, 0, ECX, ~0u },
	{ 0x80000001, 0, EDX, ~(1u << 9) },
	{ 0x80000007, 0, EDX, ~0u },
	{ 0x80000008, 0, EBX, ~0u },
	{ 0x80000021, 0, EAX, ~0u },
};

int cpuid_x86_check(const struct kvm_cpuid2 *own, const struct kvm_cpuid2 *saved, struct err *e)
{
	const struct kvm_cpuid_entry2 *was = find_leaf(saved, 0, 0), *is = find_leaf(own, 0, 0);
	static const char *const names[] = { "eax", "ebx", "ecx", "edx" };
	char was_name[13], is_name[13];

	if (!was || !is)
		return err_set(e, ERR_CONFIG, EINVAL, "a vCPU without a vendor was saved");
	vendor_name(was, was_name);
	vendor_name(is, is_name);
	if (strcmp(was_name, is_name) != 0)
		return err_set(e, ERR_CONFIG, ENOTSUP, "it was saved on a processor of %s, and this host's is of %s",
			       was_name, is_name);
	for (size_t i = 0; i < sizeof feature_words / sizeof *feature_words; i++) {
		const struct feature_word *w = &feature_words[i];
		uint32_t missing = reg_of(find_leaf(saved, w->leaf, w->sub), w->reg) & w->mask &
				   ~reg_of(find_leaf(own, w->leaf, w->sub), w->reg);

		if (missing)
			return err_set(
				e, ERR_CONFIG, ENOTSUP,
				"the guest uses processor features that this host lacks: CPUID leaf 0x%x.%u, %s 0x%x",
				w->leaf, w->sub, names[w->reg], missing);
	}
	return 0;
}
