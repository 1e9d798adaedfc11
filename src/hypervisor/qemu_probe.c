/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host and its QEMU offer: found where, which version, accelerated or not. Nothing outlives a call: the one
 * program run is `qemu --version`.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/strv.h"
#include "hypervisor/program.h"
#include "hypervisor/qemu_vm.h"
#include "sys/tsc.h"

/* The netdev type "stream" (passt) came with 7.2; what is older than 7.0 is not tested. */
#define QEMU_MAJOR_MIN 7

#ifdef __aarch64__
#define HOST_PACKAGE "qemu-system-arm"
#else
#define HOST_PACKAGE "qemu-system-x86"
#endif

static const struct program program = { .name = "QEMU",
					.file = "qemu-system-" HOST_ARCH,
					.section = "qemu",
					.advice = "install it (Debian: apt install " HOST_PACKAGE ")" };

int qemu_check_version(const struct qemu_facts *f, struct err *e)
{
	if (f->major < QEMU_MAJOR_MIN)
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "%s is QEMU %u.%u, which is too old: %d.0 or newer is needed", f->path, f->major,
			       f->minor, QEMU_MAJOR_MIN);
	return 0;
}

static int ask_binary(struct qemu_facts *f, struct err *e)
{
	char text[512];
	const char *v;
	int r = program_version(f->path, "--version", PROGRAM_VERSION_MS, text, sizeof text, e);

	if (r < 0)
		return r;
	v = strstr(text, "QEMU emulator version ");
	if (!v || sscanf(v, "QEMU emulator version %u.%u", &f->major, &f->minor) != 2)
		return err_set(e, ERR_HYPERVISOR, EPROTO, "%s is not QEMU: --version printed \"%.40s\"", f->path, text);
	return qemu_check_version(f, e);
}

int qemu_probe(const struct config_hypervisor *hv, bool ask_version, struct qemu_facts *ret, struct err *e)
{
	int r;

	*ret = (struct qemu_facts){ .arch = HOST_ARCH };
	r = program_find(&program, hv->path, ret->path, sizeof ret->path, e);
	if (r == 0 && ask_version)
		r = ask_binary(ret, e);
	if (r < 0)
		return r;
	ret->kvm = hypervisor_kvm_usable(ret->kvm_why, sizeof ret->kvm_why);
	if (!ret->kvm)
		ret->tsc_khz = tsc_measure_khz();
	ret->vhost_net = access("/dev/vhost-net", R_OK | W_OK) == 0;
	return 0;
}

void qemu_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret)
{
	enum qemu_machine machine = QEMU_Q35;
	bool pci_hotplug, scsi;

	*ret = (struct vm_capabilities){ 0 };
	if (qemu_machine_parse(hv, HOST_ARCH, &machine, NULL) < 0)
		return;
	pci_hotplug = machine == QEMU_Q35 && hv->default_bridges > 0;
	scsi = qemu_block_is_scsi(hv, machine);
	*ret = (struct vm_capabilities){
		.block = true,
		.block_hotplug = pci_hotplug || scsi,
		.block_discard = true,
		.block_resize = true,
		.net_hotplug = pci_hotplug,
		.net_user = true,
		.net_passt = true,
		.fs_sharing = true,
		.fs_sharing_9p = true,
		.cpu_hotplug = machine == QEMU_Q35,
		.memory_hotplug = machine == QEMU_Q35,
		.pause = true,
		.balloon = true,
		.image_boot = true,
		.initrd_boot = true,
		.multi_queue_net = true,
		.tap_fds = true,
	};
}

int qemu_check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e)
{
	struct qemu_facts f;
	struct err why = { 0 };
	bool micro = str_eq(hv->machine_type, "microvm");

	*ret = (struct vm_host_report){ .architectures = HOST_ARCH };
	if (qemu_probe(hv, true, &f, &why) < 0) {
		snprintf(ret->path, sizeof ret->path, "%s", f.path);
		snprintf(ret->reason, sizeof ret->reason, "%s", why.text);
		snprintf(ret->why_not, sizeof ret->why_not, "QEMU itself is not usable");
		return 0;
	}
	ret->usable = true;
	snprintf(ret->path, sizeof ret->path, "%s", f.path);
	snprintf(ret->version, sizeof ret->version, "%u.%u", f.major, f.minor);
	snprintf(ret->acceleration, sizeof ret->acceleration, "%s", f.kvm ? "kvm" : "emulated");
	snprintf(ret->reason, sizeof ret->reason, "%s", f.kvm ? "" : f.kvm_why);
	qemu_capabilities(hv, &ret->can);
	if (f.major == 7 && f.minor < 2)
		ret->can.net_passt = false;
	snprintf(ret->why_not, sizeof ret->why_not,
		 "snapshot, vfio, tdx, sev_snp: not supported by this driver yet%s%s%s",
		 ret->can.net_passt ? "" : "; net_passt: needs QEMU 7.2",
		 ret->can.block_hotplug ? "" : "; block_hotplug: needs default_bridges >= 1 or virtio-scsi on q35",
		 micro ? "; net, cpu and memory hotplug: the machine microvm has none"
		       : (ret->can.net_hotplug ? "" : "; net_hotplug: needs default_bridges >= 1"));
	return 0;
}
