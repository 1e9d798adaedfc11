/* SPDX-License-Identifier: Apache-2.0 */
/* What this host and its Firecracker offer. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "hypervisor/fc_vm.h"
#include "hypervisor/guest_files.h"
#include "hypervisor/program.h"

/* What is older is out of its makers' support, and lacks fields that are sent. */
#define MAJOR_MIN 1
#define MINOR_MIN 12
/* virtio-balloon's free page reporting. */
#define MINOR_REPORTING 14
/* VIRTIO_NET_F_MTU. */
#define MINOR_MTU 16

int fc_find(const struct config_hypervisor *hv, char *ret, size_t size, struct err *e)
{
	static const struct program program = { .name = "Firecracker",
						.file = "firecracker",
						.section = "firecracker",
						.advice = "install it from its releases" };

	return program_find(&program, hv->path, ret, size, e);
}

int fc_version_parse(const char *text, struct fc_version *ret)
{
	struct fc_version v;

	if (sscanf(text, "%u.%u", &v.major, &v.minor) != 2)
		return -EPROTO;
	*ret = v;
	return 0;
}

int fc_version_check(const struct fc_version *v, const struct config_hypervisor *hv, const char *program, struct err *e)
{
	if (v->major < MAJOR_MIN || (v->major == MAJOR_MIN && v->minor < MINOR_MIN))
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "%s is Firecracker %u.%u, which is too old: %d.%d or newer is needed", program, v->major,
			       v->minor, MAJOR_MIN, MINOR_MIN);
	if (hv->reclaim_guest_freed_memory && v->major == MAJOR_MIN && v->minor < MINOR_REPORTING)
		return err_set(
			e, ERR_CONFIG, ENOTSUP,
			"reclaim_guest_freed_memory needs Firecracker %d.%d or newer, and %s is %u.%u: set it to false",
			MAJOR_MIN, MINOR_REPORTING, program, v->major, v->minor);
	return 0;
}

bool fc_version_has_mtu(const struct fc_version *v)
{
	return v->major > MAJOR_MIN || v->minor >= MINOR_MTU;
}

static int ask_binary(const char *path, struct fc_version *ret, char *version, size_t size, struct err *e)
{
	char text[512];
	const char *v;
	int r = program_version(path, "--version", PROGRAM_VERSION_MS, text, sizeof text, e);

	if (r < 0)
		return r;
	v = str_after(text, "Firecracker v");
	if (!v || fc_version_parse(v, ret) < 0)
		return err_set(e, ERR_HYPERVISOR, EPROTO, "%s is not Firecracker: --version printed \"%.40s\"", path,
			       text);
	snprintf(version, size, "%.*s", (int)strcspn(v, "\n"), v);
	return 0;
}

/* On x86 it loads the ELF file only (its src/vmm, "Invalid Elf magic number"). */
int fc_check_files(const struct vm_config *c, struct err *e)
{
	int r = guest_files_check(c, HOST_ARCH, e);
#ifdef __x86_64__
	_cleanup_close_ int fd = r == 0 ? open(c->kernel, O_RDONLY | O_CLOEXEC) : -1;
	char magic[4] = "";

	if (fd >= 0 && (pread(fd, magic, sizeof magic, 0) != sizeof magic || memcmp(magic, "\177ELF", 4) != 0))
		return err_set(e, ERR_CONFIG, ENOEXEC,
			       "the guest kernel %s is compressed, and Firecracker boots the ELF file (vmlinux) only: "
			       "unpack it with extract-vmlinux of the kernel's sources",
			       c->kernel);
#endif
	return r;
}

void fc_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret)
{
	*ret = (struct vm_capabilities){
		.block = true,
		.block_resize = true,
		.block_hotplug = hv->default_bridges > 0, /* by placeholder drives */
		.pause = true,
		.snapshot = true,
		.balloon = true,
		.image_boot = true,
		.initrd_boot = true,
	};
}

int fc_check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e)
{
	struct fc_version v;
	struct err why = { 0 };
	int r;

	*ret = (struct vm_host_report){ .architectures = HOST_ARCH };
	r = fc_find(hv, ret->path, sizeof ret->path, &why);
	if (r == 0)
		r = ask_binary(ret->path, &v, ret->version, sizeof ret->version, &why);
	if (r == 0)
		r = fc_version_check(&v, hv, ret->path, &why);
	if (r < 0) {
		snprintf(ret->reason, sizeof ret->reason, "%s", why.text);
		snprintf(ret->why_not, sizeof ret->why_not, "Firecracker itself is not usable");
		return 0;
	}
	if (!hypervisor_kvm_usable(ret->reason, sizeof ret->reason)) {
		snprintf(ret->why_not, sizeof ret->why_not, "it runs guests on KVM only");
		return 0;
	}
	ret->usable = true;
	snprintf(ret->acceleration, sizeof ret->acceleration, "kvm");
	fc_capabilities(hv, &ret->can);
	snprintf(ret->why_not, sizeof ret->why_not,
		 "fs_sharing, fs_sharing_9p, net_user, net_passt, net_hotplug, cpu_hotplug, memory_hotplug, "
		 "block_discard, multi_queue_net, tap_fds, vfio, tdx, sev_snp: Firecracker has none of it%s",
		 ret->can.block_hotplug ? "" : "; block_hotplug: needs default_bridges >= 1");
	return 0;
}
