/* SPDX-License-Identifier: Apache-2.0 */
/* What this host and its StratoVirt offer: found where, which version, what it can do. Nothing outlives a call. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strv.h"
#include "hypervisor/program.h"
#include "hypervisor/stratovirt_vm.h"

/* What Kata Containers uses. Older ones have another command line. */
#define MAJOR_MIN 2
#define MINOR_MIN 3

static const struct program program = {
	.name = "StratoVirt",
	.file = "stratovirt",
	.section = "stratovirt",
	.advice = "build it with the features vhost_vsock and virtio_rng,",
};

int stratovirt_find(const struct config_hypervisor *hv, struct stratovirt_facts *ret, struct err *e)
{
	*ret = (struct stratovirt_facts){ .arch = HOST_ARCH };
	return program_find(&program, hv->path, ret->path, sizeof ret->path, e);
}

int stratovirt_take_version(struct stratovirt_facts *f, const char *version, struct err *e)
{
	if (!version || sscanf(version, "%u.%u", &f->major, &f->minor) != 2)
		return -EPROTO;
	if (f->major < MAJOR_MIN || (f->major == MAJOR_MIN && f->minor < MINOR_MIN))
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "%s is StratoVirt %u.%u, which is too old: %d.%d or newer is needed", f->path, f->major,
			       f->minor, MAJOR_MIN, MINOR_MIN);
	return 0;
}

int stratovirt_ask_version(struct stratovirt_facts *f, struct err *e)
{
	char text[512];
	int r = program_version(f->path, "-version", PROGRAM_VERSION_MS, text, sizeof text, e);

	if (r < 0)
		return r;
	r = stratovirt_take_version(f, str_after(text, "StratoVirt "), e);
	return r == -EPROTO ? err_set(e, ERR_HYPERVISOR, EPROTO, "%s is not StratoVirt: -version printed \"%.40s\"",
				      f->path, text)
			    : r;
}

void stratovirt_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret)
{
	enum stratovirt_machine machine;
	bool micro;

	*ret = (struct vm_capabilities){ 0 };
	if (stratovirt_machine_parse(hv, HOST_ARCH, &machine, NULL) < 0)
		return;
	micro = machine == STRATOVIRT_MICROVM;
	*ret = (struct vm_capabilities){
		.block = true,
		.block_hotplug = micro || hv->default_bridges > 0,
		.block_discard = true,
		.net_hotplug = micro || hv->default_bridges > 0,
		.fs_sharing = true,
		.pause = true,
		.balloon = true,
		.image_boot = true,
		.initrd_boot = true,
		.multi_queue_net = !micro,
		.tap_fds = true,
	};
}

/* A clause for everything that is missing. */
static void explain(const struct config_hypervisor *hv, const struct vm_capabilities *can, char *ret, size_t size)
{
	snprintf(ret, size,
		 "vfio: not supported by this driver yet; block_resize, tdx, sev_snp, net_user, net_passt, 9p: "
		 "StratoVirt has none; "
		 "cpu and memory hotplug, snapshot: not supported by this driver yet%s%s",
		 can->block_hotplug ? "" : "; block and net hotplug: needs default_bridges >= 1",
		 can->multi_queue_net ? "" : "; multi_queue_net: not on the machine microvm");
}

int stratovirt_check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e)
{
	struct stratovirt_facts f;
	struct err why = { 0 };
	char kvm[160];

	*ret = (struct vm_host_report){ .architectures = HOST_ARCH };
	stratovirt_capabilities(hv, &ret->can);
	explain(hv, &ret->can, ret->why_not, sizeof ret->why_not);
	if (stratovirt_find(hv, &f, &why) < 0 || stratovirt_ask_version(&f, &why) < 0) {
		snprintf(ret->path, sizeof ret->path, "%s", f.path);
		snprintf(ret->reason, sizeof ret->reason, "%s", why.text);
		ret->can = (struct vm_capabilities){ 0 };
		snprintf(ret->why_not, sizeof ret->why_not, "StratoVirt itself is not usable");
		return 0;
	}
	snprintf(ret->path, sizeof ret->path, "%s", f.path);
	snprintf(ret->version, sizeof ret->version, "%u.%u", f.major, f.minor);
	if (!hypervisor_kvm_usable(kvm, sizeof kvm)) {
		snprintf(ret->reason, sizeof ret->reason, "%s", kvm);
		return 0;
	}
	snprintf(ret->acceleration, sizeof ret->acceleration, "kvm");
	if (access("/dev/vhost-vsock", R_OK | W_OK) < 0) {
		snprintf(ret->reason, sizeof ret->reason,
			 "/dev/vhost-vsock cannot be opened (%s), and StratoVirt has no other vsock device: "
			 "modprobe vhost_vsock",
			 strerror(errno));
		return 0;
	}
	ret->usable = true;
	return 0;
}

int stratovirt_check_kernel(const struct vm_config *c, const char *arch, struct err *e)
{
	_cleanup_close_ int fd = open(c->kernel, O_RDONLY | O_CLOEXEC);
	char magic[4] = "";

	/* It would put any file into memory and jump there. */
	if (str_eq(arch, "x86_64") && str_empty(c->hv->firmware) && fd >= 0 && pread(fd, magic, 4, 0) == 4 &&
	    !memcmp(magic, "\177ELF", 4))
		return err_set(
			e, ERR_CONFIG, ENOEXEC,
			"the guest kernel %s is an ELF file, and StratoVirt boots a bzImage: use vmlinuz instead",
			c->kernel);
	return 0;
}
