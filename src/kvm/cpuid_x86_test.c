/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <linux/kvm.h>

#include "kvm/cpuid_x86.h"

#define INTEL 0x6c65746e /* ecx of leaf 0: "ntel" */
#define AMD   0x444d4163 /* "cAMD" */

/* struct kvm_cpuid2 with room for its entries. */
struct supported {
	uint32_t nent, padding;
	struct kvm_cpuid_entry2 entries[32];
};

static void add(struct supported *s, uint32_t leaf, uint32_t sub, uint32_t eax, uint32_t ebx, uint32_t ecx,
		uint32_t edx)
{
	s->entries[s->nent++] = (struct kvm_cpuid_entry2){
		.function = leaf,
		.index = sub,
		.flags = leaf == 7 || leaf == 0xd ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0,
		.eax = eax,
		.ebx = ebx,
		.ecx = ecx,
		.edx = edx,
	};
}

/* Every bit that shall go is set, so that it is seen to go. */
static struct supported host(uint32_t vendor)
{
	struct supported s = { 0 };

	add(&s, 0, 0, 0x1f, 0, vendor, 0);
	add(&s, 1, 0, 0x000906ea, 0xffff0800, 0xffffffff, 0xffffffff);
	add(&s, 4, 0, 0xffffc121, 0, 0, 0); /* data, level 1 */
	add(&s, 4, 3, 0xffffc163, 0, 0, 0); /* unified, level 3 */
	add(&s, 4, 4, 0, 0, 0, 0);          /* no more */
	add(&s, 7, 0, 2, 0xffffffff, 0xffffffff, 0xffffffff);
	add(&s, 7, 1, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff);
	add(&s, 0xd, 0, 0x600e7, 0x2b00, 0x2b00, 0);
	add(&s, 0xd, 1, 0x1f, 0, 0, 0);
	add(&s, 0xd, 2, 0x100, 0x240, 0, 0);
	add(&s, 0xd, 17, 64, 0xac0, 2, 0);
	add(&s, 0xd, 18, 0x2000, 0xb00, 6, 0);
	add(&s, 0x1d, 0, 1, 0, 0, 0);
	add(&s, 0x1d, 1, 0x4002000, 0x80040, 16, 0);
	add(&s, 0x1e, 0, 0, 0x4010, 0, 0);
	add(&s, 0xa, 0, 0x07300404, 0, 0, 0x603);
	add(&s, 0xb, 0, 1, 2, 3, 4);
	add(&s, 0x1f, 0, 1, 2, 3, 4);
	add(&s, 0x40000000, 0, 0x40000001, 0x4b4d564b, 0x564b4d56, 0x4d);
	add(&s, 0x80000001, 0, 0, 0, 0xffffffff, 0);
	add(&s, 0x80000002, 0, 0x11111111, 0x22222222, 0x33333333, 0x44444444);
	add(&s, 0x80000008, 0, 0x3030, 0, 0xffffffff, 0);
	add(&s, 0x8000001d, 3, 0xffffc163, 0, 0, 0);
	add(&s, 0x8000001e, 0, 9, 9, 9, 9);
	add(&s, 0x8000001f, 0, 0x1000f, 0x173, 509, 100); /* SME, SEV, SEV-ES */
	return s;
}

static struct kvm_cpuid2 *build(struct supported *s, uint32_t vcpus, uint32_t threads, uint32_t index, bool deadline)
{
	struct kvm_topology t = { .vcpus = vcpus, .threads_per_core = threads };
	struct kvm_cpuid2 *c = NULL;

	assert_int_equal(cpuid_x86_build((const struct kvm_cpuid2 *)(const void *)s, &t, index, deadline, 2400000, &c),
			 0);
	return c;
}

static const struct kvm_cpuid_entry2 *leaf(const struct kvm_cpuid2 *c, uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *found = NULL;

	for (uint32_t i = 0; i < c->nent; i++) {
		if (c->entries[i].function != function || c->entries[i].index != index)
			continue;
		assert_null(found); /* once */
		found = &c->entries[i];
	}
	assert_non_null(found);
	return found;
}

static void test_features(void **state)
{
	struct supported s = host(INTEL);
	struct kvm_cpuid2 *c = build(&s, 1, 1, 0, true);
	const struct kvm_cpuid_entry2 *one = leaf(c, 1, 0);

	assert_int_equal(one->eax, 0x000906ea);
	assert_int_equal(one->ebx, 0x00010800);
	assert_int_equal(one->ecx & (1u << 5 | 1u << 15), 0); /* VMX, PDCM */
	assert_true(one->ecx >> 24 & 1);
	assert_true(one->ecx >> 31);
	assert_false(one->edx >> 28 & 1); /* one CPU */
	assert_int_equal(leaf(c, 0xa, 0)->eax, 0);
	assert_int_equal(leaf(c, 0x80000001, 0)->ecx & (1u << 1 | 1u << 2 | 1u << 23 | 1u << 24 | 1u << 28), 0);
	assert_int_equal(leaf(c, 0x80000002, 0)->ebx, 0x22222222); /* the processor's name */
	assert_int_equal(leaf(c, 0x40000000, 0)->eax, 0x40000010);
	assert_int_equal(leaf(c, 0x40000010, 0)->eax, 2400000);
	assert_int_equal(leaf(c, 0x40000010, 0)->ebx, 1000000);
	free(c);
	c = build(&s, 1, 1, 0, false);
	assert_false(leaf(c, 1, 0)->ecx >> 24 & 1);
	free(c);
}

static void expect_empty(const struct kvm_cpuid2 *c, uint32_t function, uint32_t index)
{
	const struct kvm_cpuid_entry2 *n = leaf(c, function, index);

	assert_int_equal(n->eax | n->ebx | n->ecx | n->edx, 0);
}

/* What KVM offers and nobody has asked the kernel for. */
static void test_no_tiles_and_no_encryption(void **state)
{
	struct supported s = host(AMD);
	struct kvm_cpuid2 *c = build(&s, 1, 1, 0, true);

	assert_int_equal(leaf(c, 7, 0)->edx, ~(1u << 22 | 1u << 24 | 1u << 25));
	assert_int_equal(leaf(c, 7, 0)->ebx & leaf(c, 7, 0)->ecx, 0xffffffff);
	assert_int_equal(leaf(c, 7, 1)->eax, ~(1u << 21));
	assert_int_equal(leaf(c, 7, 1)->edx, ~(1u << 8));
	assert_int_equal(leaf(c, 0xd, 0)->eax, 0xe7);
	assert_int_equal(leaf(c, 0xd, 1)->eax, 0x1f);
	assert_int_equal(leaf(c, 0xd, 2)->eax, 0x100);
	expect_empty(c, 0xd, 17);
	expect_empty(c, 0xd, 18);
	expect_empty(c, 0x1d, 0);
	expect_empty(c, 0x1d, 1);
	expect_empty(c, 0x1e, 0);
	expect_empty(c, 0x8000001f, 0);
	free(c);
}

/* A guest that was told of tiles by an earlier version has not used them, and goes on. */
static void test_tiles_are_not_missed(void **state)
{
	struct supported s = host(INTEL);
	struct kvm_cpuid2 *c = build(&s, 1, 1, 0, true);
	struct supported saved = { 0 };
	struct err e = { 0 };

	add(&saved, 0, 0, 0x1f, 0, INTEL, 0);
	add(&saved, 7, 0, 2, 0, 0, 1u << 24);
	add(&saved, 0xd, 0, 0x200e7, 0, 0, 0);
	assert_int_equal(cpuid_x86_check(c, (const struct kvm_cpuid2 *)(const void *)&saved, &e), 0);
	free(c);
}

static void test_topology_with_threads(void **state)
{
	struct supported s = host(INTEL);
	struct kvm_cpuid2 *c = build(&s, 6, 2, 5, true);

	assert_int_equal(leaf(c, 1, 0)->ebx, 0x05080800); /* APIC id 5, 8 ids in the package */
	assert_true(leaf(c, 1, 0)->edx >> 28 & 1);
	assert_int_equal(leaf(c, 4, 0)->eax, 0x121 | 1 << 14 | 3u << 26);
	assert_int_equal(leaf(c, 4, 3)->eax, 0x163 | 7 << 14 | 3u << 26);
	assert_int_equal(leaf(c, 4, 4)->eax, 0);
	for (uint32_t l = 0xb; l <= 0x1f; l += 0x1f - 0xb) {
		assert_int_equal(leaf(c, l, 0)->eax, 1);
		assert_int_equal(leaf(c, l, 0)->ebx, 2);
		assert_int_equal(leaf(c, l, 0)->ecx, 0x100);
		assert_int_equal(leaf(c, l, 1)->eax, 3);
		assert_int_equal(leaf(c, l, 1)->ebx, 6);
		assert_int_equal(leaf(c, l, 1)->ecx, 0x201);
		assert_int_equal(leaf(c, l, 2)->ecx, 2);
		assert_int_equal(leaf(c, l, 2)->edx, 5);
	}
	assert_int_equal(leaf(c, 0x80000008, 0)->ecx, 0);
	free(c);
}

static void test_topology_of_amd(void **state)
{
	struct supported s = host(AMD);
	struct kvm_cpuid2 *c = build(&s, 4, 1, 3, true);

	assert_true(leaf(c, 0x80000001, 0)->ecx & 2); /* cores without threads */
	assert_int_equal(leaf(c, 0x80000008, 0)->ecx, 3 | 2 << 12);
	assert_int_equal(leaf(c, 0x8000001d, 3)->eax, 0x163 | 3 << 14);
	assert_int_equal(leaf(c, 0x8000001e, 0)->eax, 3);
	assert_int_equal(leaf(c, 0x8000001e, 0)->ebx, 3);
	free(c);
	c = build(&s, 4, 2, 3, true);
	assert_int_equal(leaf(c, 0x8000001e, 0)->ebx, 1 | 1 << 8);
	free(c);
}

static void test_an_old_processor_gets_no_new_leaves(void **state)
{
	struct supported s = host(AMD);
	struct kvm_cpuid2 *c;

	s.entries[0].eax = 0xa;
	c = build(&s, 2, 1, 0, true);
	for (uint32_t i = 0; i < c->nent; i++)
		assert_true(c->entries[i].function != 0xb && c->entries[i].function != 0x1f);
	free(c);
}

/* A guest does not move to where one of the features that it may use is missing. */
static void test_a_lack_is_found(void **state)
{
	static const struct {
		uint32_t leaf, sub;
		enum { A, B, C, D } reg;
		const char *name;
	} cases[] = {
		{ 1, 0, C, "leaf 0x1.0, ecx 0x4" },
		{ 7, 0, B, "leaf 0x7.0, ebx 0x4" },
		{ 7, 1, D, "leaf 0x7.1, edx 0x4" },
		{ 7, 2, D, "leaf 0x7.2, edx 0x4" },
		{ 0x40000001, 0, A, "leaf 0x40000001.0, eax 0x4" },
		{ 0x80000008, 0, B, "leaf 0x80000008.0, ebx 0x4" },
		{ 0x80000021, 0, A, "leaf 0x80000021.0, eax 0x4" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct supported own = { 0 }, saved = { 0 };
		const struct kvm_cpuid2 *is = (const struct kvm_cpuid2 *)(const void *)&own,
					*was = (const struct kvm_cpuid2 *)(const void *)&saved;
		struct err e = { 0 };
		uint32_t r[4] = { 0 };

		add(&own, 0, 0, 0x1f, 0, INTEL, 0);
		add(&saved, 0, 0, 0x1f, 0, INTEL, 0);
		r[cases[i].reg] = 3;
		add(&own, cases[i].leaf, cases[i].sub, r[A], r[B], r[C], r[D]);
		r[cases[i].reg] = 7;
		add(&saved, cases[i].leaf, cases[i].sub, r[A], r[B], r[C], r[D]);
		own.entries[1].flags = saved.entries[1].flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
		assert_int_equal(cpuid_x86_check(is, was, &e), -ENOTSUP);
		assert_non_null(strstr(e.text, cases[i].name));
		assert_int_equal(cpuid_x86_check(was, is, &e), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_features),
		cmocka_unit_test(test_topology_with_threads),
		cmocka_unit_test(test_topology_of_amd),
		cmocka_unit_test(test_an_old_processor_gets_no_new_leaves),
		cmocka_unit_test(test_a_lack_is_found),
		cmocka_unit_test(test_no_tiles_and_no_encryption),
		cmocka_unit_test(test_tiles_are_not_missed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
