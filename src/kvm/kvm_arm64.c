/* SPDX-License-Identifier: Apache-2.0 */
/* KVM on arm64: the built-in monitor does not run there yet, and says so. */
#include <errno.h>

#include "kvm/kvm.h"

int kvm_open_arch(struct kvm *kvm, struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP,
		       "the built-in monitor does not support arm64 yet: choose another hypervisor");
}
