/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this host and its QEMU offer: found where, which version, accelerated or not; and whether a file is a kernel
 * that QEMU can boot. Nothing outlives a call: the one program run is `qemu --version`, for VERSION_MS at most.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "hypervisor/qemu_vm.h"

/* The netdev type "stream" (passt) came with 7.2; what is older than 7.0 is not tested. */
#define QEMU_MAJOR_MIN 7

/* It takes milliseconds; on a busy host whose processors are emulated, with hundreds of libraries to link, seconds. */
#define VERSION_MS 10000

#ifdef __aarch64__
#define HOST_ARCH "aarch64"
#else
#define HOST_ARCH "x86_64"
#endif

/* As exec would look it up, but reported. */
static int find_in_path(const char *name, char *ret, size_t size)
{
	const char *path = getenv("PATH");
	_cleanup_free_ char *copy = strdup(path && *path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin");
	char *save = NULL;

	for (char *dir = copy ? strtok_r(copy, ":", &save) : NULL; dir; dir = strtok_r(NULL, ":", &save)) {
		if (snprintf(ret, size, "%s/%s", dir, name) < (int)size && access(ret, X_OK) == 0)
			return 0;
	}
	return -ENOENT;
}

static int find_binary(const struct config_hypervisor *hv, char *ret, size_t size, struct err *e)
{
	if (!str_empty(hv->path) && !strchr(hv->path, '/')) {
		if (find_in_path(hv->path, ret, size) == 0)
			return 0;
		ret[0] = 0;
		return err_set(e, ERR_CONFIG, ENOENT, "there is no %s in PATH (key path)", hv->path);
	}
	if (!str_empty(hv->path)) {
		if (snprintf(ret, size, "%s", hv->path) >= (int)size)
			return err_set(e, ERR_CONFIG, ENAMETOOLONG, "QEMU's path %s is too long", hv->path);
		if (access(ret, X_OK) < 0)
			return err_sys(e, errno, "there is no QEMU at %s (key path)", ret);
		return 0;
	}
	if (find_in_path("qemu-system-" HOST_ARCH, ret, size) == 0)
		return 0;
	ret[0] = 0;
	return err_set(e, ERR_HYPERVISOR, ENOENT,
		       "qemu-system-" HOST_ARCH
		       " is not in PATH: install it (Debian: apt install qemu-system-%s) or set "
		       "path in [hypervisor.qemu]",
		       str_eq(HOST_ARCH, "x86_64") ? "x86" : "arm");
}

/* Output of `path --version`. */
static int read_version(const char *path, char *text, size_t size, struct err *e)
{
	const char *const argv[] = { path, "--version", NULL };
	_cleanup_close_ int r_fd = -1, w_fd = -1, pidfd = -1;
	uint64_t deadline = clock_ms() + VERSION_MS;
	struct spawn s = { .path = path,
			   .argv = (char *const *)(uintptr_t)argv,
			   .stdin_fd = -1,
			   .stderr_fd = -1,
			   .die_with_parent = true };
	size_t n = 0;
	pid_t pid;
	int p[2], r;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot run %s --version", path);
	r_fd = p[0];
	w_fd = p[1];
	s.stdout_fd = w_fd;
	r = spawn_start(&s, &pid, &pidfd, e);
	if (r < 0)
		return r;
	fd_close(&w_fd);
	while (n + 1 < size) {
		struct pollfd w = { .fd = r_fd, .events = POLLIN };
		uint64_t now = clock_ms();
		ssize_t k;

		if (now >= deadline || poll(&w, 1, (int)(deadline - now)) == 0) {
			spawn_stop(pid, pidfd, 0);
			return err_set(e, ERR_HYPERVISOR, ETIMEDOUT, "%s --version does not answer", path);
		}
		k = read(r_fd, text + n, size - 1 - n);
		if (k <= 0)
			break;
		n += (size_t)k;
	}
	text[n] = 0;
	spawn_stop(pid, pidfd, 500);
	return 0;
}

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
	int r = read_version(f->path, text, sizeof text, e);

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
	r = find_binary(hv, ret->path, sizeof ret->path, e);
	if (r == 0 && ask_version)
		r = ask_binary(ret, e);
	if (r < 0)
		return r;
	ret->kvm = hypervisor_kvm_usable(ret->kvm_why, sizeof ret->kvm_why);
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

/*
 * bzImage: "HdrS" at 0x202 (Linux x86 boot protocol); ELF (PVH note, x86); arm64 Image: "ARM\x64" at 56, maybe inside
 * gzip or an EFI zboot wrapper, which QEMU unpacks.
 */
int qemu_check_kernel(const char *path, const char *arch, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	unsigned char head[0x210] = { 0 };
	struct stat st;
	bool x86 = str_eq(arch, "x86_64");

	if (fd < 0)
		return err_sys(e, errno, "cannot read the guest kernel %s", path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_CONFIG, EINVAL, "the guest kernel %s is not a file", path);
	if (pread(fd, head, sizeof head, 0) < 0)
		return err_sys(e, errno, "cannot read the guest kernel %s", path);
	if (x86 && !memcmp(head + 0x202, "HdrS", 4))
		return 0;
	if (x86 && !memcmp(head, "\177ELF\2", 5)) {
		if (head[18] == 62 && head[19] == 0) /* EM_X86_64 */
			return 0;
		return err_set(e, ERR_CONFIG, ENOEXEC,
			       "the guest kernel %s is an ELF file for another architecture than %s", path, arch);
	}
	if (!memcmp(head + 56, "ARM\x64", 4) ||
	    (!x86 && (!memcmp(head, "\x1f\x8b", 2) || !memcmp(head + 4, "zimg", 4))))
		return x86 ? err_set(e, ERR_CONFIG, ENOEXEC, "the guest kernel %s is for aarch64, the guest is x86_64",
				     path)
			   : 0;
	return err_set(e, ERR_CONFIG, ENOEXEC, "%s is not a Linux kernel for %s (expected %s)", path, arch,
		       x86 ? "a bzImage or an ELF vmlinux" : "an arm64 Image");
}
