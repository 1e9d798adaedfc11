/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes of VMs, as a table: what is asked for, what is configured, what the host has, and what becomes of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "pod/sizing.h"

#define MIB  ((int64_t)1 << 20)
#define NONE UINT64_MAX
#define VMM  30 /* what the VMM takes, in every row */

struct row {
	const char *what;
	/* asked for */
	double cpus;
	int64_t memory_mib; /* below 0: said to be without limit */
	uint32_t cpuset;
	uint64_t ceiling_mib; /* NONE */
	/* configured: 0 is Kata's default but for default_vcpus and default_memory */
	double default_vcpus;
	uint32_t default_memory;
	uint32_t maxvcpus;
	uint64_t maxmemory;
	uint32_t overhead_memory;
	double overhead_vcpus;
	bool grows; /* dynamic, and the hypervisor can */
	bool hugepages;
	/* what becomes of it, on a host of 8 CPUs and 64 GiB */
	uint32_t want_vcpus, want_max_vcpus;
	uint64_t want_memory, want_max_memory, want_overhead;
	const char *note; /* NULL: none */
};

/* clang-format off */
static const struct row table[] = {
	{ "nothing said", .ceiling_mib = NONE, .default_vcpus = 1, .default_memory = 2048,
	  .want_vcpus = 1, .want_max_vcpus = 1, .want_memory = 2048, .want_max_memory = 2048 },
	{ "said to be without limit", .cpus = -1, .memory_mib = -1, .ceiling_mib = NONE, .default_vcpus = 2,
	  .default_memory = 512, .want_vcpus = 2, .want_max_vcpus = 2, .want_memory = 512, .want_max_memory = 512 },
	{ "a small container", .cpus = 0.5, .memory_mib = 100, .ceiling_mib = NONE, .default_vcpus = 4,
	  .default_memory = 2048, .want_vcpus = 1, .want_max_vcpus = 1, .want_memory = 196, .want_max_memory = 196,
	  .want_overhead = 96 + VMM },
	/* no default is added to what was asked for */
	{ "two and a half CPUs", .cpus = 2.5, .memory_mib = 1024, .ceiling_mib = NONE, .default_vcpus = 1,
	  .default_memory = 2048, .want_vcpus = 3, .want_max_vcpus = 3, .want_memory = 1120, .want_max_memory = 1120,
	  .want_overhead = 96 + VMM + 4 },
	{ "configured overheads", .cpus = 1, .memory_mib = 1024, .ceiling_mib = NONE, .default_vcpus = 1,
	  .default_memory = 2048, .overhead_memory = 32, .overhead_vcpus = 0.2, .want_vcpus = 2, .want_max_vcpus = 2,
	  .want_memory = 1152, .want_max_memory = 1152, .want_overhead = 128 + VMM + 4 },
	/* 1/64 of what is above 2 GiB for the kernel's page structs */
	{ "much memory", .memory_mib = 32768, .ceiling_mib = NONE, .default_vcpus = 1, .default_memory = 2048,
	  .want_vcpus = 1, .want_max_vcpus = 1, .want_memory = 33345, .want_max_memory = 33345,
	  .want_overhead = 33345 + VMM + 130 - 32768 },
	{ "more CPUs than there are", .cpus = 20, .ceiling_mib = NONE, .default_vcpus = 1, .default_memory = 256,
	  .want_vcpus = 8, .want_max_vcpus = 8, .want_memory = 256, .want_max_memory = 256,
	  .note = "20 CPUs were asked for, this host has 8: the guest gets 8" },
	{ "more CPUs than allowed", .cpus = 6, .ceiling_mib = NONE, .default_vcpus = 1, .default_memory = 256,
	  .maxvcpus = 4, .want_vcpus = 4, .want_max_vcpus = 4, .want_memory = 256, .want_max_memory = 256,
	  .note = "6 CPUs were asked for: default_maxvcpus allows 4" },
	{ "all CPUs", .ceiling_mib = NONE, .default_vcpus = -1, .default_memory = 256,
	  .want_vcpus = 8, .want_max_vcpus = 8, .want_memory = 256, .want_max_memory = 256 },
	{ "confined to two CPUs", .cpuset = 2, .ceiling_mib = NONE, .default_vcpus = 4, .default_memory = 256,
	  .want_vcpus = 2, .want_max_vcpus = 2, .want_memory = 256, .want_max_memory = 256 },
	{ "confined to more CPUs than the default", .cpuset = 6, .ceiling_mib = NONE, .default_vcpus = 4,
	  .default_memory = 256, .want_vcpus = 4, .want_max_vcpus = 4, .want_memory = 256, .want_max_memory = 256 },

	/* the VM never outgrows its cgroup */
	{ "a pod with enough overhead", .memory_mib = 384, .ceiling_mib = 384 + 160, .default_vcpus = 1,
	  .default_memory = 2048, .want_vcpus = 1, .want_max_vcpus = 1, .want_memory = 480, .want_max_memory = 480,
	  .want_overhead = 96 + VMM + 1 },
	{ "a pod with too little overhead", .memory_mib = 384, .ceiling_mib = 384 + 64, .default_vcpus = 1,
	  .default_memory = 2048, .want_vcpus = 1, .want_max_vcpus = 1, .want_memory = 416, .want_max_memory = 416,
	  .want_overhead = 32 + VMM + 1,
	  .note = "the pod's limits with the guest's kernel would be 480 MiB of memory; the pod's cgroup allows 448, the "
		  "VMM included: the guest gets 416" },
	{ "default_memory above the limit", .memory_mib = -1, .ceiling_mib = 512, .default_vcpus = 1,
	  .default_memory = 2048, .want_vcpus = 1, .want_max_vcpus = 1, .want_memory = 480, .want_max_memory = 480,
	  .note = "default_memory would be 2048 MiB of memory; the pod's cgroup allows 512, the VMM included: the guest "
		  "gets 480" },
	{ "CRI-O: only the cgroup tells", .ceiling_mib = 4096, .default_vcpus = 1, .default_memory = 2048,
	  .want_vcpus = 1, .want_max_vcpus = 1, .want_memory = 4050, .want_max_memory = 4050 },
	{ "the maximum, too, stays below", .memory_mib = 100, .ceiling_mib = 1024, .default_vcpus = 1,
	  .default_memory = 256, .maxmemory = 8192, .want_vcpus = 1, .want_max_vcpus = 1, .want_memory = 196,
	  .want_max_memory = 990, .want_overhead = 96 + VMM },
	{ "whole huge pages", .memory_mib = 101, .ceiling_mib = NONE, .default_vcpus = 1, .default_memory = 256,
	  .hugepages = true, .want_vcpus = 1, .want_max_vcpus = 1, .want_memory = 196, .want_max_memory = 196,
	  .want_overhead = 95 + VMM },

	/* a VMM refuses more CPUs than its machine knows, and more memory than the processor can address */
	{ "configured for a larger host", .ceiling_mib = NONE, .default_vcpus = 1, .default_memory = 2048,
	  .maxvcpus = 1024, .maxmemory = 1 << 20, .want_vcpus = 1, .want_max_vcpus = 8, .want_memory = 2048,
	  .want_max_memory = 65536 },

	/* dynamic */
	{ "grows", .cpus = 4, .memory_mib = 4096, .ceiling_mib = NONE, .default_vcpus = 1, .default_memory = 256,
	  .grows = true, .want_vcpus = 1, .want_max_vcpus = 8, .want_memory = 256, .want_max_memory = 65536,
	  .want_overhead = 0 },
	{ "grows as far as configured", .ceiling_mib = NONE, .default_vcpus = 2, .default_memory = 256, .maxvcpus = 4,
	  .maxmemory = 2048, .grows = true, .want_vcpus = 2, .want_max_vcpus = 4, .want_memory = 256,
	  .want_max_memory = 2048 },
	{ "grows as far as the pod may", .ceiling_mib = 1024, .default_vcpus = 1, .default_memory = 256, .grows = true,
	  .want_vcpus = 1, .want_max_vcpus = 8, .want_memory = 256, .want_max_memory = 990 },
};
/* clang-format on */

static void set_up(const struct row *r, struct config_hypervisor *hv, struct sizing_request *q)
{
	*hv = (struct config_hypervisor){ .default_vcpus = r->default_vcpus,
					  .default_memory = r->default_memory,
					  .default_maxvcpus = r->maxvcpus,
					  .default_maxmemory = r->maxmemory,
					  .overhead_memory = r->overhead_memory,
					  .overhead_vcpus = r->overhead_vcpus,
					  .enable_hugepages = r->hugepages };
	*q = (struct sizing_request){ .hv = hv,
				      .fixed = !r->grows,
				      .demand = { .cpus = r->cpus,
						  .memory_bytes = r->memory_mib < 0 ? -1 : r->memory_mib * MIB,
						  .cpuset = r->cpuset },
				      .ceiling_bytes = r->ceiling_mib == NONE ? NONE : r->ceiling_mib << 20,
				      .vmm_mib = VMM,
				      .cpu_hotplug = true,
				      .memory_hotplug = true,
				      .host_cpus = 8,
				      .host_memory_mib = 65536 };
}

static void sizes(void **state)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		const struct row *r = &table[i];
		_cleanup_strv_ struct strv notes = { 0 };
		struct config_hypervisor hv;
		struct sizing_request q;
		struct sizing s;
		struct err e = { 0 };

		set_up(r, &hv, &q);
		if (sizing_of_vm(&q, &s, &notes, &e) < 0)
			fail_msg("%s: %s", r->what, e.text);
		if (s.vcpus != r->want_vcpus || s.max_vcpus != r->want_max_vcpus || s.memory_mib != r->want_memory ||
		    s.max_memory_mib != r->want_max_memory || s.overhead_mib != r->want_overhead)
			fail_msg("%s: %u..%u CPUs, %llu..%llu MiB, overhead %llu", r->what, s.vcpus, s.max_vcpus,
				 (unsigned long long)s.memory_mib, (unsigned long long)s.max_memory_mib,
				 (unsigned long long)s.overhead_mib);
		if ((r->note && notes.len != 1) || (!r->note && notes.len) ||
		    (r->note && strcmp(notes.v[0], r->note) != 0))
			fail_msg("%s: %s", r->what, notes.len ? notes.v[0] : "no note");
		/* the rule above all */
		if (r->ceiling_mib != NONE)
			assert_true(s.max_memory_mib + VMM + s.max_memory_mib / 256 <= r->ceiling_mib);
	}
}

static void refusals(void **state)
{
	struct row r = { .ceiling_mib = 100, .default_vcpus = 1, .default_memory = 256 };
	_cleanup_strv_ struct strv notes = { 0 };
	struct config_hypervisor hv;
	struct sizing_request q;
	struct sizing s;
	struct err e = { 0 };

	set_up(&r, &hv, &q);
	assert_int_equal(sizing_of_vm(&q, &s, &notes, &e), -ENOMEM);
	assert_non_null(
		strstr(e.text, "allows 100 MiB of memory, and a virtual machine needs 127 MiB at least, 96 of"));
	assert_non_null(strstr(e.text, "pod overhead"));
	q.ceiling_bytes = INT64_C(126) << 20;
	assert_int_equal(sizing_of_vm(&q, &s, &notes, &e), -ENOMEM);
	q.ceiling_bytes = INT64_C(127) << 20;
	assert_int_equal(sizing_of_vm(&q, &s, &notes, &e), 0);
	q.ceiling_bytes = 1;
	assert_int_equal(sizing_of_vm(&q, &s, &notes, &e), -ENOMEM);
	q.ceiling_bytes = NONE;
	hv.default_memory = 95;
	assert_int_equal(sizing_of_vm(&q, &s, &notes, &e), -EINVAL);
	assert_string_equal(e.text, "default_memory = 95 MiB is too little: a guest needs 96 MiB at least");
	q.demand.memory_bytes = INT64_MAX;
	assert_int_equal(sizing_of_vm(&q, &s, &notes, &e), -EINVAL);
	assert_non_null(strstr(e.text, "this host has 65536"));
	q.demand.memory_bytes = 0;
	hv.default_memory = 256;
	q.demand.cpus = 1e300;
	assert_int_equal(sizing_of_vm(&q, &s, &notes, &e), 0);
	assert_int_equal(s.vcpus, 8);
	assert_int_equal(notes.len, 1);
	/* dynamic, and the hypervisor cannot: static, with a word */
	q.demand.cpus = 2;
	q.fixed = q.memory_hotplug = false;
	assert_int_equal(sizing_of_vm(&q, &s, &notes, &e), 0);
	assert_int_equal(s.vcpus, 2);
	assert_int_equal(s.max_vcpus, 2);
	assert_non_null(strstr(notes.v[notes.len - 1], "static_sandbox_resource_mgmt"));
}

static void grows(void **state)
{
	struct row r = {
		.ceiling_mib = NONE, .default_vcpus = 1, .default_memory = 256, .maxmemory = 4096, .grows = true
	};
	struct sizing_demand c[] = { { .cpus = 1.5, .memory_bytes = 512 * MIB },
				     { .cpus = 1, .memory_bytes = 256 * MIB },
				     { .cpus = -1 } };
	struct config_hypervisor hv;
	struct sizing_request q;
	struct sizing start;
	struct sizing_now now;

	set_up(&r, &hv, &q);
	assert_int_equal(sizing_of_vm(&q, &start, NULL, NULL), 0);
	sizing_of_containers(&q, &start, NULL, 0, &now);
	assert_int_equal(now.vcpus, 1);
	assert_int_equal(now.memory_mib, 256);
	sizing_of_containers(&q, &start, c, 1, &now);
	assert_int_equal(now.vcpus, 2);
	assert_int_equal(now.memory_mib, 512 + 96);
	sizing_of_containers(&q, &start, c, 2, &now);
	assert_int_equal(now.vcpus, 3);
	assert_int_equal(now.memory_mib, 768 + 96);
	sizing_of_containers(&q, &start, c, 3, &now);
	assert_int_equal(now.vcpus, 4);
	assert_int_equal(now.memory_mib, 768 + 96 + 256);
	/* CPUs of its own without a quota; those that all share tell nothing */
	c[1] = (struct sizing_demand){ .cpus = -1, .cpuset = 3 };
	sizing_of_containers(&q, &start, c, 2, &now);
	assert_int_equal(now.vcpus, 5);
	c[1].cpus = 0;
	sizing_of_containers(&q, &start, c, 2, &now);
	assert_int_equal(now.vcpus, 3);
	c[0] = (struct sizing_demand){ .cpus = 100, .memory_bytes = INT64_MAX };
	c[1] = c[0];
	sizing_of_containers(&q, &start, c, 2, &now);
	assert_int_equal(now.vcpus, 8);
	assert_int_equal(now.memory_mib, 4096);
}

/* ---- where it is read from ---- */

static void demands(void **state)
{
	Grpc__LinuxMemory memory = GRPC__LINUX_MEMORY__INIT;
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;
	Grpc__LinuxResources all = GRPC__LINUX_RESOURCES__INIT;
	struct sizing_demand d;

	sizing_from_resources(NULL, &d);
	assert_int_equal(d.memory_bytes, 0);
	sizing_from_resources(&all, &d);
	assert_true(d.cpus == 0);
	all.memory = &memory;
	all.cpu = &cpu;
	memory.limit = 5;
	cpu.quota = 150000;
	cpu.period = 100000;
	cpu.cpus = (char *)"0-3,8";
	sizing_from_resources(&all, &d);
	assert_true(d.cpus == 1.5);
	assert_int_equal(d.memory_bytes, 5);
	assert_int_equal(d.cpuset, 5);
	cpu.quota = -1;
	cpu.period = 0;
	sizing_from_resources(&all, &d);
	assert_true(d.cpus < 0);
	cpu.quota = 250000; /* docker run --cpu-quota; the kernel's own period */
	sizing_from_resources(&all, &d);
	assert_true(d.cpus == 2.5);
	cpu.quota = 0;
	sizing_from_resources(&all, &d);
	assert_true(d.cpus == 0);
}

static void annotate(Grpc__Spec *spec, Grpc__Spec__AnnotationsEntry *entry, const char *key, const char *value)
{
	*entry = (Grpc__Spec__AnnotationsEntry)GRPC__SPEC__ANNOTATIONS_ENTRY__INIT;
	entry->key = (char *)key;
	entry->value = (char *)value;
	spec->annotations[spec->n_annotations++] = entry;
}

static void annotations(void **state)
{
	Grpc__Spec__AnnotationsEntry e[4], *list[4];
	Grpc__Spec spec = GRPC__SPEC__INIT;
	struct sizing_demand d;

	spec.annotations = list;
	assert_false(sizing_from_annotations(NULL, &d));
	assert_false(sizing_from_annotations(&spec, &d));
	annotate(&spec, &e[0], "io.kubernetes.cri.sandbox-memory", "209715200");
	assert_true(sizing_from_annotations(&spec, &d));
	assert_int_equal(d.memory_bytes, 209715200);
	assert_true(d.cpus == 0);
	annotate(&spec, &e[1], "io.kubernetes.cri.sandbox-cpu-quota", "250000");
	annotate(&spec, &e[2], "io.kubernetes.cri.sandbox-cpu-period", "100000");
	assert_true(sizing_from_annotations(&spec, &d));
	assert_true(d.cpus == 2.5);
	e[0].value = e[1].value = (char *)"0"; /* containerd: no limit */
	assert_true(sizing_from_annotations(&spec, &d));
	assert_true(d.cpus < 0);
	assert_int_equal(d.memory_bytes, -1);
	/* kubelet: containers with CPUs of their own have no quota, but what they request */
	annotate(&spec, &e[3], "io.kubernetes.cri.sandbox-cpu-shares", "3584");
	assert_true(sizing_from_annotations(&spec, &d));
	assert_true(d.cpus < 0);
	e[1].value = (char *)"-1";
	assert_true(sizing_from_annotations(&spec, &d));
	assert_true(d.cpus == 3.5);
	e[3].value = (char *)"2";
	assert_true(sizing_from_annotations(&spec, &d));
	assert_true(d.cpus < 0);
	e[0].value = (char *)"2M";
	e[1].value = (char *)"99999999999999999999";
	assert_false(sizing_from_annotations(&spec, &d));
}

/* As CRI-O has put it together, under either name. */
static void annotations_of_crio(void **state)
{
	Grpc__Spec__AnnotationsEntry e[1], *list[1];
	Grpc__Spec spec = GRPC__SPEC__INIT;
	struct sizing_demand d;

	spec.annotations = list;
	annotate(
		&spec, &e[0], "pod-linux-resources.crio.io",
		"{\"cpu_period\":100000,\"cpu_quota\":250000,\"cpu_shares\":2048,\"memory_limit_in_bytes\":209715200}");
	assert_true(sizing_from_annotations(&spec, &d));
	assert_true(d.cpus == 2.5);
	assert_int_equal(d.memory_bytes, 209715200);
	e[0].key = (char *)"io.kubernetes.cri-o.PodLinuxResources";
	e[0].value = (char *)"{\"cpu_shares\":2}"; /* no limit */
	assert_true(sizing_from_annotations(&spec, &d));
	assert_true(d.cpus < 0);
	assert_int_equal(d.memory_bytes, -1);
	e[0].value = (char *)"{\"cpu_period\":100000,\"cpu_quota\":-1,\"cpu_shares\":2048}";
	assert_true(sizing_from_annotations(&spec, &d));
	assert_true(d.cpus == 2);
	e[0].value = (char *)"null";
	assert_false(sizing_from_annotations(&spec, &d));
	assert_true(d.cpus == 0 && d.memory_bytes == 0);
}

static void cpu_lists(void **state)
{
	assert_int_equal(sizing_count_cpus(NULL), 0);
	assert_int_equal(sizing_count_cpus(""), 0);
	assert_int_equal(sizing_count_cpus("0"), 1);
	assert_int_equal(sizing_count_cpus("0-3,8"), 5);
	assert_int_equal(sizing_count_cpus("3-1"), 0);
	assert_int_equal(sizing_count_cpus("1-"), 0);
	assert_int_equal(sizing_count_cpus("-1"), 0);
	assert_int_equal(sizing_count_cpus("1;2"), 0);
	assert_int_equal(sizing_count_cpus("0-99999999999999999999"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes),     cmocka_unit_test(refusals),    cmocka_unit_test(grows),
		cmocka_unit_test(demands),   cmocka_unit_test(annotations), cmocka_unit_test(annotations_of_crio),
		cmocka_unit_test(cpu_lists),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
