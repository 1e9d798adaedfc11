/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/guest_files.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strv.h"

/*
 * bzImage: "HdrS" at 0x202 (Linux x86 boot protocol); ELF (PVH note, x86); arm64 Image: "ARM\x64" at 56, maybe inside
 * gzip or an EFI zboot wrapper, which QEMU unpacks.
 */
static int check_kernel(const char *path, const char *arch, struct err *e)
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

int guest_files_check(const struct vm_config *c, const char *arch, struct err *e)
{
	struct {
		const char *what, *path;
	} files[] = { { "initrd", c->initrd }, { "guest image", c->image } };
	int r = check_kernel(c->kernel, arch, e);

	for (size_t i = 0; i < 2 && r == 0; i++) {
		struct stat st;

		if (str_empty(files[i].path))
			continue;
		if (access(files[i].path, R_OK) < 0 || stat(files[i].path, &st) < 0)
			return err_sys(e, errno, "cannot read the %s %s", files[i].what, files[i].path);
		if (i == 0 && (!S_ISREG(st.st_mode) || st.st_size == 0))
			return err_set(e, ERR_CONFIG, EINVAL, "the initrd %s is empty or not a file", c->initrd);
	}
	return r;
}
