/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host and its Cloud Hypervisor offer. Nothing outlives a call: the one program run is
 * `cloud-hypervisor --version`.
 */
#include <errno.h>
#include <linux/landlock.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "hypervisor/clh_vm.h"
#include "hypervisor/program.h"

/* What Kata 4 pins. Older ones lack fields that are passed over without a word, image_type among them. */
#define CLH_MAJOR_MIN 51

/* Linux 6.2: Landlock knows truncate(2), as Cloud Hypervisor demands. */
#define LANDLOCK_ABI_MIN 3

static const struct program program = {
	.name = "Cloud Hypervisor",
	.file = "cloud-hypervisor",
	.section = "clh",
	.advice = "take it from https://github.com/cloud-hypervisor/cloud-hypervisor/releases",
};

int clh_parse_version(const char *text, struct clh_facts *ret)
{
	text += *text == 'v';
	return sscanf(text, "%u.%u", &ret->major, &ret->minor) == 2 ? 0 : -EINVAL;
}

int clh_check_version(const struct clh_facts *f, struct err *e)
{
	if (f->major < CLH_MAJOR_MIN)
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "%s is Cloud Hypervisor %u.%u, which is too old: %d.0 or newer is needed", f->path,
			       f->major, f->minor, CLH_MAJOR_MIN);
	return 0;
}

static int ask_binary(struct clh_facts *f, struct err *e)
{
	char text[256];
	const char *v;
	int r = program_version(f->path, "--version", PROGRAM_VERSION_MS, text, sizeof text, e);

	if (r < 0)
		return r;
	v = strstr(text, "cloud-hypervisor v");
	if (!v || clh_parse_version(v + strlen("cloud-hypervisor "), f) < 0)
		return err_set(e, ERR_HYPERVISOR, EPROTO, "%s is not Cloud Hypervisor: --version printed \"%.40s\"",
			       f->path, text);
	return clh_check_version(f, e);
}

int clh_probe(const struct config_hypervisor *hv, bool ask_version, struct clh_facts *ret, struct err *e)
{
	int r;

	*ret = (struct clh_facts){ 0 };
	r = program_find(&program, hv->path, ret->path, sizeof ret->path, e);
	return r == 0 && ask_version ? ask_binary(ret, e) : r;
}

bool clh_host_has_landlock(void)
{
	return syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION) >= LANDLOCK_ABI_MIN;
}

void clh_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret)
{
	bool x86 = str_eq(HOST_ARCH, "x86_64"), ordinary = !hv->confidential_guest;

	*ret = (struct vm_capabilities){
		.block = true,
		.block_hotplug = ordinary && !hv->enable_landlock,
		.block_discard = true,
		.block_resize = true,
		.net_hotplug = ordinary,
		.fs_sharing = true,
		.cpu_hotplug = ordinary && x86,
		/* arm64 kernels that are booted without UEFI get no ACPI tables */
		.memory_hotplug = ordinary && (x86 || hv->enable_virtio_mem),
		.pause = true,
		.snapshot = ordinary && !hv->enable_landlock,
		.balloon = true,
		.vfio = access("/dev/vfio/vfio", F_OK) == 0,
		.image_boot = true,
		.initrd_boot = true,
		.multi_queue_net = true,
		.tap_fds = true,
	};
}

int clh_check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e)
{
	struct err why = { 0 };
	struct clh_facts f;

	*ret = (struct vm_host_report){ .architectures = HOST_ARCH };
	if (clh_probe(hv, true, &f, &why) < 0) {
		snprintf(ret->path, sizeof ret->path, "%s", f.path);
		snprintf(ret->reason, sizeof ret->reason, "%s", why.text);
		snprintf(ret->why_not, sizeof ret->why_not, "Cloud Hypervisor itself is not usable");
		return 0;
	}
	snprintf(ret->path, sizeof ret->path, "%s", f.path);
	snprintf(ret->version, sizeof ret->version, "%u.%u", f.major, f.minor);
	if (!hypervisor_kvm_usable(ret->reason, sizeof ret->reason)) {
		snprintf(ret->why_not, sizeof ret->why_not, "it runs guests on KVM only");
		return 0;
	}
	ret->usable = true;
	snprintf(ret->acceleration, sizeof ret->acceleration, "kvm");
	clh_capabilities(hv, &ret->can);
	snprintf(ret->why_not, sizeof ret->why_not,
		 "fs_sharing_9p: use virtio-fs; net_user, net_passt: Cloud Hypervisor has no such network; tdx, "
		 "sev_snp: "
		 "only when built with it and asked for by confidential_guest%s%s%s",
		 ret->can.vfio ? "" : "; vfio: there is no /dev/vfio/vfio",
		 ret->can.block_hotplug ? ""
					: "; block_hotplug, snapshot: not with enable_landlock or confidential_guest",
		 ret->can.memory_hotplug ? "" : "; memory_hotplug: on arm64 with enable_virtio_mem");
	return 0;
}
