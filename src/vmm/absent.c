/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What caisson/vmm.h promises and the library does not have yet: each function says so. The definitions are weak, and
 * the library is linked whole, so that its own take their place as they come; this file goes when all are there.
 */
#include <errno.h>

#include "base/err.h"
#include "caisson/vmm.h"

static int absent(struct err *e, const char *what)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "%s is not supported by this version", what);
}

__attribute__((weak)) int vmm_add_block(struct vmm *vm, const char *id, const struct vmm_block *c, struct err *e)
{
	return absent(e, "a drive");
}

__attribute__((weak)) int vmm_add_net(struct vmm *vm, const char *id, const struct vmm_net *c, struct err *e)
{
	return absent(e, "a network interface");
}

__attribute__((weak)) int vmm_add_rng(struct vmm *vm, const char *id, const struct vmm_rate *c, struct err *e)
{
	return absent(e, "an entropy device");
}

__attribute__((weak)) int vmm_add_balloon(struct vmm *vm, const char *id, const struct vmm_balloon *c, struct err *e)
{
	return absent(e, "a balloon");
}

__attribute__((weak)) int vmm_add_memory(struct vmm *vm, const char *id, const struct vmm_memory *c, struct err *e)
{
	return absent(e, "hot-pluggable memory");
}

__attribute__((weak)) int vmm_add_pmem(struct vmm *vm, const char *id, const struct vmm_pmem *c, struct err *e)
{
	return absent(e, "a pmem device");
}

__attribute__((weak)) int vmm_update_block(struct vmm *vm, const char *id, const char *path,
					   const struct vmm_rate *rate, struct err *e)
{
	return absent(e, "changing a drive");
}

__attribute__((weak)) int vmm_update_net(struct vmm *vm, const char *id, const struct vmm_rate *rx,
					 const struct vmm_rate *tx, struct err *e)
{
	return absent(e, "changing a network interface");
}

__attribute__((weak)) int vmm_update_pmem(struct vmm *vm, const char *id, const struct vmm_rate *rate, struct err *e)
{
	return absent(e, "changing a pmem device");
}

__attribute__((weak)) int vmm_set_balloon(struct vmm *vm, uint64_t bytes, struct err *e)
{
	return absent(e, "a balloon");
}

__attribute__((weak)) int vmm_set_balloon_interval(struct vmm *vm, uint32_t seconds, struct err *e)
{
	return absent(e, "a balloon");
}

__attribute__((weak)) int vmm_balloon_stats(struct vmm *vm, struct vmm_balloon_stats *ret, struct err *e)
{
	return absent(e, "a balloon");
}

__attribute__((weak)) int vmm_set_memory(struct vmm *vm, uint64_t requested, struct err *e)
{
	return absent(e, "hot-pluggable memory");
}

__attribute__((weak)) int vmm_memory_status(struct vmm *vm, struct vmm_memory_status *ret, struct err *e)
{
	return absent(e, "hot-pluggable memory");
}

__attribute__((weak)) int vmm_snapshot(struct vmm *vm, const struct vmm_snapshot *c, struct err *e)
{
	return absent(e, "a snapshot");
}

__attribute__((weak)) int vmm_restore(const struct vmm_restore *c, struct vmm **ret, struct err *e)
{
	return absent(e, "loading a snapshot");
}
