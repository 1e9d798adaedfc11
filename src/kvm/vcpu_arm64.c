/* SPDX-License-Identifier: Apache-2.0 */
/* arm64: not yet; kvm_open() says so first. */
#include <errno.h>
#include <stdio.h>

#include "kvm/vcpu.h"

static int not_yet(struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "the built-in monitor does not support arm64 yet");
}

int kvm_vcpu_reset(struct kvm_vcpu *v, const struct kvm_topology *t, struct err *e)
{
	return not_yet(e);
}

int kvm_vcpu_save(struct kvm_vcpu *v, struct state *s, struct err *e)
{
	return not_yet(e);
}

int kvm_vcpu_load(struct kvm_vcpu *v, const struct state *s, uint64_t elapsed_ns, struct err *e)
{
	return not_yet(e);
}

void kvm_vcpu_describe(struct kvm_vcpu *v, char *buf, size_t size)
{
	snprintf(buf, size, "its registers cannot be read");
}
