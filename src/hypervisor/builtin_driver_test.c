/* SPDX-License-Identifier: Apache-2.0 */
/* What the driver asks of the built-in VMM, which is a double here (meson.build): no KVM is needed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "caisson/vmm.h"

#include "hypervisor/builtin.h"

static struct vmm_config made;
static struct vmm_block added;

bool __wrap_hypervisor_kvm_usable(char *why, size_t size);
int __wrap_vmm_new(const struct vmm_config *c, struct vmm **ret, struct err *e);
int __wrap_vmm_add_vsock(struct vmm *vm, const char *id, const struct vmm_vsock *c, struct err *e);
int __wrap_vmm_add_rng(struct vmm *vm, const char *id, const struct vmm_rate *c, struct err *e);
int __wrap_vmm_add_block(struct vmm *vm, const char *id, const struct vmm_block *c, struct err *e);
int __wrap_vmm_pci_path(struct vmm *vm, const char *id, char ret[VMM_PCI_PATH_SIZE]);
void __wrap_vmm_free(struct vmm *vm);

bool __wrap_hypervisor_kvm_usable(char *why, size_t size)
{
	return true;
}

int __wrap_vmm_new(const struct vmm_config *c, struct vmm **ret, struct err *e)
{
	made = *c;
	*ret = NULL;
	return 0;
}

int __wrap_vmm_add_vsock(struct vmm *vm, const char *id, const struct vmm_vsock *c, struct err *e)
{
	return 0;
}

int __wrap_vmm_add_rng(struct vmm *vm, const char *id, const struct vmm_rate *c, struct err *e)
{
	return 0;
}

int __wrap_vmm_add_block(struct vmm *vm, const char *id, const struct vmm_block *c, struct err *e)
{
	added = *c;
	return 0;
}

int __wrap_vmm_pci_path(struct vmm *vm, const char *id, char ret[VMM_PCI_PATH_SIZE])
{
	return -ENOENT;
}

void __wrap_vmm_free(struct vmm *vm)
{
}

/* Guests' flushes are honoured unless both keys say otherwise, as with the other hypervisors. */
static void test_flushes(void **state)
{
	struct config_hypervisor hv = { .block_device_driver = (char *)"virtio-blk-mmio" };
	struct vm_config c = { .id = (char *)"vm", .run_dir = (char *)"/run", .memory_mib = 64, .vcpus = 1, .hv = &hv };
	struct vm_device disk = { .kind = VM_DEVICE_BLOCK,
				  .id = (char *)"disk",
				  .u.block = { .path = (char *)"/disk" } };
	struct loop *loop;
	struct vm *vm;

	c.max_vcpus = c.vcpus;
	c.max_memory_mib = c.memory_mib;
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(builtin_driver.prepare(loop, &c, &vm, NULL), 0);
	for (unsigned i = 0; i < 4; i++) {
		hv.block_device_cache_set = i & 1;
		hv.block_device_cache_noflush = i & 2;
		assert_int_equal(builtin_driver.add_device(vm, &disk, NULL), 0);
		assert_int_equal(added.flush, i != 3);
	}
	builtin_driver.free(vm);
	loop_free(loop);
}

/* Huge pages that were reserved, or those that the host makes. */
static void test_huge_pages(void **state)
{
	struct config_hypervisor hv = { .block_device_driver = (char *)"virtio-blk-mmio" };
	struct vm_config c = { .id = (char *)"vm", .run_dir = (char *)"/run", .memory_mib = 64, .vcpus = 1, .hv = &hv };
	struct loop *loop;
	struct vm *vm;

	c.max_vcpus = c.vcpus;
	c.max_memory_mib = c.memory_mib;
	for (unsigned i = 0; i < 4; i++) {
		bool huge = i & 1, thp = i & 2;

		hv.enable_hugepages = huge;
		hv.hugepage_type = (char *)(thp ? "thp" : "hugetlbfs");
		assert_int_equal(loop_new(&loop, NULL), 0);
		assert_int_equal(builtin_driver.prepare(loop, &c, &vm, NULL), 0);
		builtin_driver.free(vm);
		loop_free(loop);
		assert_int_equal(made.hugepages, huge && !thp);
		assert_int_equal(made.large_pages, huge && thp);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_flushes), cmocka_unit_test(test_huge_pages) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
