/* SPDX-License-Identifier: Apache-2.0 */
/* The files that a VM starts from, handed to the architecture's loader. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "boot/boot.h"
#include "vm/machine.h"

static int open_file(const char *path, const char *what, int *ret, struct err *e)
{
	*ret = open(path, O_RDONLY | O_CLOEXEC);
	return *ret < 0 ? err_sys(e, errno, "cannot open the %s %s", what, path) : 0;
}

/*
 * Can nobody change the file's bytes or cut it off? A page of it that is gone would kill this process by SIGBUS, and
 * one that changes would change the guest under its feet. Sealed memory files, fs-verity and chattr +i promise that it
 * stays; for any other file only the caller can.
 */
static bool is_constant(int fd)
{
	const int sealed = F_SEAL_SHRINK | F_SEAL_WRITE;
	int seals = fcntl(fd, F_GET_SEALS);
	struct statx st;

	if (seals >= 0 && (seals & sealed) == sealed)
		return true;
	return statx(fd, "", AT_EMPTY_PATH, STATX_TYPE, &st) == 0 &&
	       st.stx_attributes & (STATX_ATTR_VERITY | STATX_ATTR_IMMUTABLE);
}

/* May pages of the file take the place of guest memory's own? */
static bool can_map(const struct vmm *vm, int fd)
{
	const struct vmm_config *c = &vm->config;
	struct statfs fs;

	/* Other processes have to see what the guest writes; large pages are not of that size; and who wants all memory
	 * to be there wants it to be its own. */
	if (c->shared_memory || c->hugepages || c->large_pages || c->prealloc || vm->memory.base >= 0)
		return false;
	return (c->kernel_constant || is_constant(fd)) && fstatfs(fd, &fs) == 0 && fs.f_type != HUGETLBFS_MAGIC;
}

int machine_load_kernel(struct vmm *vm, boot_loader *load, const struct boot_config *place, struct boot_entry *ret,
			struct err *e)
{
	_cleanup_close_ int kernel = -1, initrd = -1;
	struct boot_ram ram[RAM_MAX];
	struct boot_config c = *place;
	int r;

	if (!vm->config.kernel)
		return err_set(e, ERR_CONFIG, EINVAL, "a virtual machine needs a kernel to start");
	c.kernel_path = vm->config.kernel;
	c.initrd_path = vm->config.initrd;
	c.cmdline = vm->config.cmdline;
	c.ram = ram;
	c.n_ram = machine_boot_ram(vm, ram);
	r = open_file(c.kernel_path, "kernel", &kernel, e);
	if (r == 0 && c.initrd_path)
		r = open_file(c.initrd_path, "initrd", &initrd, e);
	if (r < 0)
		return r;
	c.kernel_fd = kernel;
	c.initrd_fd = initrd;
	c.kernel_constant = can_map(vm, kernel);
	r = load(vm->mem, &c, ret, e);
	if (r == 0 && c.kernel_constant) {
		vm->memory.mapped = ret->kernel;
		vm->memory.mapped_size = ret->kernel_size;
	}
	return r;
}

size_t machine_boot_ram(const struct vmm *vm, struct boot_ram *ret)
{
	size_t n = 0;

	for (unsigned i = 0; i < vm->memory.n; i++)
		if (!vm->memory.ram[i].block)
			ret[n++] = (struct boot_ram){ vm->memory.ram[i].gpa, vm->memory.ram[i].size };
	return n;
}
