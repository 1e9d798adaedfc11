/* SPDX-License-Identifier: Apache-2.0 */
/* arm64: not yet; kvm_open() says so first. */
#include <errno.h>

#include "kvm/vm.h"

static int not_yet(struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "the built-in monitor does not support arm64 yet");
}

int kvm_vm_new_arch(struct kvm_vm *vm, const struct kvm_vm_config *c, struct err *e)
{
	return not_yet(e);
}

int kvm_vm_save(struct kvm_vm *vm, struct state *s, struct err *e)
{
	return not_yet(e);
}

int kvm_vm_load(struct kvm_vm *vm, const struct state *s, uint64_t elapsed_ns, struct err *e)
{
	return not_yet(e);
}
